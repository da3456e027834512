/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The netif over passt's stream socket, see passt.h and netif.h. Each way has a buffer of bounded
 * size: what is received is read in large pieces and handed out frame by frame; of what is sent at
 * most one frame is kept back, when the socket took only its first part, and nothing follows it
 * before its rest is out. When the stream ends or makes no sense, the link goes down for good.
 * Loop thread.
 */
#include "passt.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "log.h"
#include "loop.h"
#include "passt-proc.h"

#define LENGTH_BYTES 4
#define FRAME_MIN    14 /* an Ethernet header */
#define SLOT_BYTES   (LENGTH_BYTES + NETIF_FRAME_MAX)
#define RX_BYTES     (65536 + SLOT_BYTES)

struct passt {
	struct netif n;
	struct loop *loop; /* borrowed */
	bool failed;	   /* nothing is sent or received any more */
	struct loop_src flush_src; /* watched while something is kept back */
	int flushfd; /* owned; a duplicate: epoll takes a descriptor once, and has the device's */
	size_t tx_at, tx_end; /* what is kept back, in tx */
	size_t rx_at, rx_end; /* what was read and not handed out, in rx */
	struct passt_proc proc;
	struct loop_src proc_src, err_src;
	uint8_t tx[SLOT_BYTES];
	uint8_t rx[RX_BYTES];
};

static void take_link_down(struct passt *p)
{
	if (p->failed)
		return;
	p->failed = true;
	loop_del(p->loop, &p->flush_src);
	p->n.link_up = false;
	if (p->n.events.link)
		p->n.events.link(p->n.events.owner, false);
}

/* The stream has ended. If there is a process, the line of the log is left to its end. */
static void hang_up(struct passt *p)
{
	if (!p->failed && p->proc.pid == 0)
		log_error("passt closed the connection; the link is down");
	take_link_down(p);
}

/* ---- sending ---- */

/* 0: nothing is kept back any more; else -errno, -EAGAIN: the socket is full. */
static int flush(struct passt *p)
{
	while (p->tx_at < p->tx_end) {
		/* #syscalls loop: sendto */
		ssize_t n = send(p->n.fds[0], p->tx + p->tx_at, p->tx_end - p->tx_at,
			MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		p->tx_at += (size_t)n;
	}
	loop_del(p->loop, &p->flush_src);
	return 0;
}

/* A frame is out in part, and its other part cannot follow: nobody could read the stream now. */
static int flush_or_fail(struct passt *p)
{
	int r = flush(p);

	if (r < 0 && r != -EAGAIN && r != -ENOMEM && r != -ENOBUFS && r != -EINTR) {
		hang_up(p);
		return -EPIPE;
	}
	return r < 0 ? -EAGAIN : 0;
}

static void on_writable(struct loop_src *src, uint32_t events)
{
	struct passt *p = container_of(src, struct passt, flush_src);

	(void)events;
	flush_or_fail(p);
}

/* Keeps what follows the first `sent` bytes of iov. */
static void keep_back(struct passt *p, const struct iovec *iov, size_t n_iov, size_t sent)
{
	p->tx_at = p->tx_end = 0;
	for (size_t i = 0; i < n_iov; i++) {
		size_t skip = MIN(sent, iov[i].iov_len), len = iov[i].iov_len - skip;

		memcpy(p->tx + p->tx_end, (uint8_t *)iov[i].iov_base + skip, len);
		p->tx_end += len;
		sent -= skip;
	}
	/* If that fails, the next send() flushes. */
	loop_add(p->loop, &p->flush_src, p->flushfd, EPOLLOUT);
}

static int passt_send(struct netif *n, unsigned queue, const struct iovec *iov, unsigned n_iov,
	size_t bytes)
{
	struct passt *p = container_of(n, struct passt, n);
	struct iovec vec[LIMIT_SEGS + 1];
	struct msghdr msg = { .msg_iov = vec, .msg_iovlen = 1 + n_iov };
	uint32_t length;
	ssize_t sent;
	int r;

	(void)queue;
	if (p->failed)
		return -EPIPE;
	if (n_iov == 0 || n_iov > LIMIT_SEGS || iov[0].iov_len < NETIF_HEADER_BYTES ||
		bytes < NETIF_HEADER_BYTES + FRAME_MIN ||
		bytes > NETIF_HEADER_BYTES + NETIF_FRAME_MAX)
		return -EMSGSIZE;
	r = flush_or_fail(p);
	if (r < 0)
		return r;
	length = htonl((uint32_t)(bytes - NETIF_HEADER_BYTES));
	memcpy(vec + 1, iov, n_iov * sizeof(*iov));
	vec[0] = (struct iovec){ &length, LENGTH_BYTES };
	vec[1].iov_base = (uint8_t *)vec[1].iov_base + NETIF_HEADER_BYTES;
	vec[1].iov_len -= NETIF_HEADER_BYTES;
	/* #syscalls loop: sendmsg */
	sent = sendmsg(n->fds[0], &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0) {
		r = -errno;
		if (r == -EPIPE || r == -ECONNRESET)
			hang_up(p);
		return r;
	}
	if ((size_t)sent < LENGTH_BYTES + bytes - NETIF_HEADER_BYTES)
		keep_back(p, vec, msg.msg_iovlen, (size_t)sent);
	return 0;
}

/* ---- receiving ---- */

/* Copies to iov at offset `at`; false if there is not enough room. */
static bool scatter(const struct iovec *iov, unsigned n_iov, size_t at, const void *from,
	size_t len)
{
	const uint8_t *src = from;

	for (unsigned i = 0; i < n_iov && len > 0; i++) {
		size_t skip = MIN(at, iov[i].iov_len), now = MIN(len, iov[i].iov_len - skip);

		memcpy((uint8_t *)iov[i].iov_base + skip, src, now);
		src += now;
		len -= now;
		at -= skip;
	}
	return len == 0;
}

/* Reads more behind what is there. 0 or -errno. */
static int fill(struct passt *p)
{
	size_t have = p->rx_end - p->rx_at;
	ssize_t n;

	if (have == 0 || p->rx_at + SLOT_BYTES > sizeof(p->rx)) {
		memmove(p->rx, p->rx + p->rx_at, have);
		p->rx_at = 0;
		p->rx_end = have;
	}
	/* #syscalls loop: recvfrom */
	n = recv(p->n.fds[0], p->rx + p->rx_end, sizeof(p->rx) - p->rx_end, MSG_DONTWAIT);
	if (n > 0) {
		p->rx_end += (size_t)n;
		return 0;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOMEM))
		return -EAGAIN;
	hang_up(p);
	return -EPIPE;
}

static ssize_t passt_recv(struct netif *n, unsigned queue, const struct iovec *iov, unsigned n_iov)
{
	static const uint8_t header[NETIF_HEADER_BYTES];
	struct passt *p = container_of(n, struct passt, n);

	(void)queue;
	while (!p->failed) {
		size_t have = p->rx_end - p->rx_at;
		const uint8_t *frame = p->rx + p->rx_at + LENGTH_BYTES;
		uint32_t len = 0;
		int r;

		if (have >= LENGTH_BYTES) {
			memcpy(&len, p->rx + p->rx_at, LENGTH_BYTES);
			len = ntohl(len);
			if (len < FRAME_MIN || len > NETIF_FRAME_MAX) {
				log_error("passt sent a frame of %u bytes, which is none; the link "
					  "is down", len);
				take_link_down(p);
				return -EPROTO;
			}
			if (have >= LENGTH_BYTES + len) {
				p->rx_at += LENGTH_BYTES + len;
				if (!scatter(iov, n_iov, 0, header, sizeof(header)) ||
					!scatter(iov, n_iov, sizeof(header), frame, len))
					return -EMSGSIZE;
				return (ssize_t)(sizeof(header) + len);
			}
		}
		r = fill(p);
		if (r < 0)
			return r;
	}
	return -EAGAIN;
}

/* ---- the rest of the table ---- */

static int passt_set_offloads(struct netif *n, unsigned offloads)
{
	(void)n;
	return offloads ? -EINVAL : 0;
}

static int passt_set_queues(struct netif *n, unsigned n_active)
{
	return n_active != n->n_queues ? -EINVAL : 0;
}

static void passt_destroy(struct netif *n)
{
	struct passt *p = container_of(n, struct passt, n);

	loop_del(p->loop, &p->flush_src);
	loop_del(p->loop, &p->err_src);
	loop_del(p->loop, &p->proc_src);
	fd_close(p->flushfd);
	fd_close(n->fds[0]); /* passt ends */
	passt_proc_done(&p->proc);
	free(p);
}

static const struct netif_ops passt_ops = {
	.name = "passt",
	.send = passt_send,
	.recv = passt_recv,
	.set_offloads = passt_set_offloads,
	.set_queues = passt_set_queues,
	.destroy = passt_destroy,
};

/* ---- the process ---- */

static void on_stderr(struct loop_src *src, uint32_t events)
{
	struct passt *p = container_of(src, struct passt, err_src);

	(void)events;
	if (!passt_proc_read(&p->proc))
		loop_del(p->loop, src);
	if (p->proc.said[0])
		log_guest(LOG_WARN, "passt says: %s", p->proc.said);
	p->proc.said[0] = 0;
}

static void on_end(struct loop_src *src, uint32_t events)
{
	struct passt *p = container_of(src, struct passt, proc_src);
	pid_t pid = p->proc.pid;
	char how[40];

	(void)events;
	if (!passt_proc_reap(&p->proc, how, sizeof(how)))
		return;
	loop_del(p->loop, src);
	passt_proc_read(&p->proc);
	log_error("passt (pid %d) has ended, %s%s%s; the link is down", (int)pid, how,
		p->proc.said[0] ? ": " : "", p->proc.said);
	take_link_down(p);
}

/* fd stays the caller's on failure. */
static int create(int fd, struct loop *loop, struct passt **ret, struct volt_err *err)
{
	_cleanup_free_ struct passt *p = calloc(1, sizeof(*p));
	int type = 0;
	socklen_t len = sizeof(type);

	if (!p)
		return volt_err_set(err, ENOMEM, "passt: %m");
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM)
		return volt_err_set(
			err, EINVAL, "passt: descriptor %d is not a stream socket", fd);
	p->n = (struct netif){ .ops = &passt_ops, .n_queues = 1, .link_up = true };
	for (unsigned i = 0; i < LIMIT_NET_PAIRS; i++)
		p->n.fds[i] = -1;
	p->loop = loop;
	p->flush_src = (struct loop_src){ .fn = on_writable, .name = "passt.flush", .fd = -1 };
	p->err_src = (struct loop_src){ .fn = on_stderr, .name = "passt.stderr", .fd = -1 };
	p->proc_src = (struct loop_src){ .fn = on_end, .name = "passt.end", .fd = -1 };
	p->proc.pidfd = p->proc.errfd = -1;
	p->flushfd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (p->flushfd < 0)
		return volt_err_set(err, errno, "passt: dup: %m");
	p->n.fds[0] = fd;
	*ret = take_ptr(&p);
	return 0;
}

int passt_from_fd(int fd, struct loop *loop, struct netif **ret, struct volt_err *err)
{
	struct passt *p;
	int r = create(fd, loop, &p, err);

	if (r < 0)
		return r;
	*ret = &p->n;
	return 0;
}

int passt_start(const char *ports, uint16_t mtu, struct loop *loop, struct netif **ret,
	struct volt_err *err)
{
	_cleanup_close_ int theirs = -1;
	struct passt *p;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return volt_err_set(err, errno, "passt: socketpair: %m");
	theirs = pair[1];
	r = create(pair[0], loop, &p, err);
	if (r < 0) {
		fd_close(pair[0]);
		return r;
	}
	r = passt_proc_start(ports, mtu, theirs, &p->proc, err);
	if (r == 0)
		r = loop_add(loop, &p->err_src, p->proc.errfd, EPOLLIN);
	if (r == 0)
		r = loop_add(loop, &p->proc_src, p->proc.pidfd, EPOLLIN);
	if (r < 0) {
		theirs = fd_close(theirs);
		passt_destroy(&p->n);
		return volt_err_set(err, -r, "passt: watch the process: %m");
	}
	passt_proc_read(&p->proc);
	log_info("passt runs (pid %d)%s%s", (int)p->proc.pid, p->proc.said[0] ? "; it says: " : "",
		p->proc.said);
	p->proc.said[0] = 0;
	*ret = &p->n;
	return 0;
}
