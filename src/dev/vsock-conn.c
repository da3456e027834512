/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to one connection of virtio-vsock (virtio 1.2, section 5.10.6). Loop thread with the
 * device's lock held.
 *
 *	GREETING -- CONNECT line --> REQUESTED -- RESPONSE --.
 *	                                                      >-- OPEN --> ENDED -- RST --> free
 *	CALLING -- connect() --------------------------------'
 *
 * The two directions of an OPEN connection end one by one. `shut_due` is what the guest is to know:
 * SEND, when all that the host sent was delivered and the end was read; RCV, when the host takes
 * nothing any more. `shut_got` is what the guest said; its SEND is passed on when the buffer is
 * empty, its RCV at once. It ends
 *
 *	- when the guest has shut down both directions and the buffer is empty: RST, which tells the
 *	  guest that its ports are free again;
 *	- when the guest was told of both and has not reset it in VSOCK_TIMEOUT_NS: RST;
 *	- by a RST of the guest. If what it sent was complete (SEND), a buffer that the host has not
 *	  emptied yet is still delivered, in state LINGER, out of the guest's sight; else at once.
 *
 * No wake-up is lost: epoll is edge-triggered, an edge sets a flag, and only EAGAIN or a transfer
 * that fell short (which is the same, but for an end that was seen) clears it. Whatever changes a
 * flag, the credit or the state calls settle(), which queues what is to be done for the
 * guest; if the guest has no buffers, the queues wait for its kick.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vsock-mux.h"

#define SHUT_BOTH    (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)
#define CREDIT_STEP  (VSOCK_BUFFER_BYTES / 4) /* the guest is told when it has won so much */
#define PACKET_BYTES 65536u		      /* read from the host at once */

/* Bytes in the buffer. */
static uint32_t buffered(const struct vsock_conn *c)
{
	return c->received - c->forwarded;
}

/* Bytes that the guest has room for (5.10.6.3). Its numbers may be nonsense: then there is none. */
static uint32_t credit(const struct vsock_conn *c)
{
	uint32_t under_way = c->sent - c->peer_fwd;

	return under_way < c->peer_alloc ? c->peer_alloc - under_way : 0;
}

static bool can_read(const struct vsock_conn *c)
{
	return c->state == VSOCK_OPEN && c->readable && !c->at_end;
}

uint32_t vsock_conn_room(const struct vsock_conn *c)
{
	return can_read(c) ? MIN(credit(c), PACKET_BYTES) : 0;
}

/* -- the host's end -------------------------------------------------------------------------- */

/* Nothing will be read any more. */
static void set_at_end(struct vsock_conn *c)
{
	c->at_end = true;
	c->shut_due |= VIRTIO_VSOCK_SHUTDOWN_SEND;
}

/* The host takes nothing any more: what is buffered, and what is still to come, is dropped. */
static void set_deaf(struct vsock_conn *c)
{
	c->deaf = true;
	c->forwarded = c->received;
	c->shut_due |= VIRTIO_VSOCK_SHUTDOWN_RCV;
}

/* A transfer failed with this errno; false if it only has to wait. */
static bool is_error(int e, _Atomic uint64_t *counter)
{
	if (e == EAGAIN || e == EINTR)
		return false;
	if (e != EPIPE && e != ECONNRESET)
		virtio_count(counter);
	return true;
}

/* Sends what the socket takes: the bytes taken. Less than all: wait for the next EPOLLOUT. */
static size_t send_some(struct vsock_conn *c, struct iovec *iov, unsigned n, size_t bytes)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t sent;

	if (c->deaf || !c->writable)
		return 0;
	/* #syscalls loop: sendmsg */
	sent = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0 && errno == EINTR)
		sent = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0 && is_error(errno, &c->s->counters.host_write_errors)) {
		set_deaf(c);
		return 0;
	}
	c->writable = sent >= 0 && (size_t)sent == bytes;
	return sent > 0 ? (size_t)sent : 0;
}

static void flush(struct vsock_conn *c)
{
	uint32_t bytes = buffered(c), at = c->forwarded % VSOCK_BUFFER_BYTES;
	uint32_t first = MIN(bytes, VSOCK_BUFFER_BYTES - at);
	struct iovec iov[2] = { { c->buffer + at, first }, { c->buffer, bytes - first } };

	if (bytes)
		c->forwarded += (uint32_t)send_some(c, iov, bytes > first ? 2 : 1, bytes);
}

/* Is there something to read, or the end? For when nothing can be read, as there is no credit. */
static void peek(struct vsock_conn *c)
{
	uint8_t byte;
	/* #syscalls loop: recvfrom */
	ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n == 0 || (n < 0 && is_error(errno, &c->s->counters.host_read_errors)))
		set_at_end(c);
	else if (n < 0 && errno == EAGAIN)
		c->readable = false;
}

size_t vsock_conn_read(struct vsock_conn *c, const struct iovec *iov, unsigned n, size_t room)
{
	/* #syscalls loop: readv */
	ssize_t got = readv(c->fd, iov, (int)n);

	if (got == 0 || (got < 0 && is_error(errno, &c->s->counters.host_read_errors)))
		set_at_end(c);
	c->bulk = got > 0 && (size_t)got == room;
	/* Short: it is empty and an edge will come, unless the end was seen: that was the last. */
	if (!c->bulk && !c->half)
		c->readable = false;
	if (got <= 0)
		return 0;
	c->sent += (uint32_t)got;
	return (size_t)got;
}

/* -- ends ------------------------------------------------------------------------------------ */

void vsock_conn_end(struct vsock_conn *c)
{
	vsock_mux_close(c);
	vsock_mux_deadline(c, 0);
	c->state = VSOCK_ENDED;
	c->forwarded = c->received;
	c->want = VSOCK_WANT_RST;
	vsock_mux_enqueue(c, &c->s->urgent);
}

void vsock_conn_abort(struct vsock_conn *c)
{
	if (c->state == VSOCK_ENDED)
		return;
	virtio_count(&c->s->counters.connections_reset);
	vsock_conn_end(c);
}

/* The guest does not expect this packet. */
static void refuse_packet(struct vsock_conn *c)
{
	virtio_count(&c->s->counters.tx_malformed);
	vsock_conn_abort(c);
}

/* A request to the guest that is not wanted any more. */
static void withdraw(struct vsock_conn *c)
{
	if (c->want & VSOCK_WANT_REQUEST) /* it has not heard of it */
		vsock_mux_free(c);
	else
		vsock_conn_end(c);
}

/* The guest has reset it. */
static void got_reset(struct vsock_conn *c)
{
	if (buffered(c) == 0 || !(c->shut_got & VIRTIO_VSOCK_SHUTDOWN_SEND)) {
		vsock_mux_free(c);
		return;
	}
	vsock_mux_remove(c);
	vsock_mux_enqueue(c, NULL);
	vsock_mux_deadline(c, 0);
	c->want = 0;
	c->state = VSOCK_LINGER;
	/* #syscalls loop: shutdown */
	shutdown(c->fd, SHUT_RD);
}

/* -- what follows from the state ------------------------------------------------------------- */

static void settle_open(struct vsock_conn *c)
{
	bool complete = buffered(c) == 0 && (c->shut_got & VIRTIO_VSOCK_SHUTDOWN_SEND);

	if (complete && c->shut_got == SHUT_BOTH) {
		vsock_conn_end(c);
		return;
	}
	if (complete && !c->fin) {
		c->fin = true;
		shutdown(c->fd, SHUT_WR);
	}
	if (can_read(c) && credit(c) == 0 && (c->half || !c->credit_asked))
		peek(c);
	if (can_read(c) && credit(c) == 0 && !c->credit_asked) {
		c->want |= VSOCK_WANT_CREDIT_REQUEST;
		c->credit_asked = true;
	}
	if (c->forwarded - c->told >= CREDIT_STEP && !c->deaf)
		c->want |= VSOCK_WANT_CREDIT_UPDATE;
	if (c->shut_due & ~c->shut_told)
		c->want |= VSOCK_WANT_SHUTDOWN;
	if (c->want)
		vsock_mux_enqueue(c, &c->s->urgent);
	else
		vsock_mux_enqueue(c, vsock_conn_room(c) ? &c->s->bulk : NULL);
}

static void settle(struct vsock_conn *c)
{
	if (c->state == VSOCK_OPEN)
		settle_open(c);
	else if (c->state == VSOCK_LINGER && buffered(c) == 0)
		vsock_mux_free(c);
}

void vsock_conn_turn_done(struct vsock_conn *c)
{
	vsock_mux_enqueue(c, NULL);
	settle(c);
}

void vsock_conn_open(struct vsock_conn *c)
{
	vsock_mux_deadline(c, 0);
	c->state = VSOCK_OPEN;
	c->readable = c->writable = true;
	settle(c);
}

void vsock_conn_event(struct vsock_conn *c, uint32_t events)
{
	c->gone = c->gone || (events & (EPOLLHUP | EPOLLERR));
	c->half = c->half || c->gone || (events & EPOLLRDHUP);
	c->readable = c->readable || c->half || (events & EPOLLIN);
	c->writable = c->writable || (events & EPOLLOUT);
	switch (c->state) {
	case VSOCK_GREETING:
		vsock_host_greet(c);
		return;
	case VSOCK_REQUESTED:
		if (c->gone)
			withdraw(c);
		return;
	case VSOCK_OPEN:
	case VSOCK_LINGER:
		if (c->gone) {
			set_deaf(c);
			if (can_read(c))
				peek(c); /* most often one SHUTDOWN says it all */
		}
		flush(c);
		settle(c);
		return;
	default:
		return;
	}
}

void vsock_conn_expire(struct vsock_conn *c)
{
	switch (c->state) {
	case VSOCK_GREETING:
		virtio_count(&c->s->counters.bad_requests);
		vsock_mux_free(c);
		return;
	case VSOCK_REQUESTED:
		virtio_count(&c->s->counters.connections_refused);
		withdraw(c);
		return;
	case VSOCK_CALLING:
		vsock_host_call(c);
		return;
	default: /* the guest was told that both directions have ended, and does not answer */
		vsock_conn_abort(c);
	}
}

/* -- packets from the guest ------------------------------------------------------------------ */

/* RESPONSE: the host program is told, then it is a plain stream. */
static void got_response(struct vsock_conn *c)
{
	char line[16];
	int n = snprintf(line, sizeof(line), "OK %u\n", c->host_port);
	struct iovec iov = { line, (size_t)n };

	c->writable = true;
	if (send_some(c, &iov, 1, iov.iov_len) != iov.iov_len) {
		vsock_conn_end(c); /* nobody there: a socket that was just accepted has room */
		return;
	}
	vsock_conn_open(c);
}

/* Payload of `bytes` from byte `off` of the chain's payload on goes into the buffer. */
static void keep(struct vsock_conn *c, const struct virtq_chain *chain, uint32_t off,
	uint32_t bytes)
{
	uint32_t at = (c->received - bytes) % VSOCK_BUFFER_BYTES;
	uint32_t first = MIN(bytes, VSOCK_BUFFER_BYTES - at);
	uint64_t from = VSOCK_HEADER_BYTES + (uint64_t)off;
	bool ok = virtq_read(chain, from, c->buffer + at, first);

	if (bytes > first)
		ok = virtq_read(chain, from + first, c->buffer, bytes - first) && ok;
	assert(ok); /* the caller compared the lengths */
	c->buffer_used = true;
}

static void got_data(struct vsock_conn *c, const struct virtio_vsock_hdr *h,
	const struct virtq_chain *chain)
{
	struct iovec iov[LIMIT_SEGS];
	bool empty = buffered(c) == 0;
	uint32_t taken = 0;
	unsigned n;

	if (c->shut_got & VIRTIO_VSOCK_SHUTDOWN_SEND) {
		refuse_packet(c);
		return;
	}
	if (h->len > VSOCK_BUFFER_BYTES - buffered(c)) {
		virtio_count(&c->s->counters.tx_over_credit);
		vsock_conn_abort(c);
		return;
	}
	atomic_fetch_add_explicit(&c->s->counters.tx_bytes, h->len, memory_order_relaxed);
	c->received += h->len;
	if (empty && !c->deaf && h->len > 0) {
		n = virtq_slice(chain, VIRTQ_OUT, VSOCK_HEADER_BYTES, h->len, iov);
		taken = (uint32_t)send_some(c, iov, n, h->len);
		c->forwarded += taken;
	}
	if (c->deaf)
		c->forwarded = c->received;
	else if (taken < h->len)
		keep(c, chain, taken, h->len - taken);
	settle(c);
}

static void got_shutdown(struct vsock_conn *c, uint32_t flags)
{
	c->shut_got |= flags & SHUT_BOTH;
	if (flags & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		shutdown(c->fd, SHUT_RD); /* who writes to us learns it */
		set_at_end(c);
	}
	settle(c);
}

static void packet_for_open(struct vsock_conn *c, const struct virtio_vsock_hdr *h,
	const struct virtq_chain *chain)
{
	switch (h->op) {
	case VIRTIO_VSOCK_OP_RW:
		got_data(c, h, chain);
		return;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		c->want |= VSOCK_WANT_CREDIT_UPDATE;
		settle(c);
		return;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		settle(c);
		return;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		got_shutdown(c, h->flags);
		return;
	default:
		refuse_packet(c);
	}
}

void vsock_conn_packet(struct vsock_conn *c, const struct virtio_vsock_hdr *h,
	const struct virtq_chain *chain)
{
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	if (credit(c) > 0)
		c->credit_asked = false;
	if (h->op == VIRTIO_VSOCK_OP_RST) {
		if (c->state == VSOCK_REQUESTED)
			virtio_count(&c->s->counters.connections_refused);
		got_reset(c);
		return;
	}
	switch (c->state) {
	case VSOCK_REQUESTED:
		if (h->op == VIRTIO_VSOCK_OP_RESPONSE && !(c->want & VSOCK_WANT_REQUEST))
			got_response(c);
		else
			refuse_packet(c);
		return;
	case VSOCK_CALLING:
		if (h->op == VIRTIO_VSOCK_OP_SHUTDOWN) /* it does not want to wait */
			vsock_conn_end(c);
		else
			refuse_packet(c);
		return;
	case VSOCK_OPEN:
		packet_for_open(c, h, chain);
		return;
	default: /* ENDED: the RST is on its way */
		return;
	}
}

/* -- packets to the guest -------------------------------------------------------------------- */

void vsock_conn_header(struct vsock_conn *c, uint16_t op, uint32_t len,
	struct virtio_vsock_hdr *ret)
{
	*ret = (struct virtio_vsock_hdr){
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = c->s->config.guest_cid,
		.src_port = c->host_port,
		.dst_port = c->guest_port,
		.len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = VSOCK_BUFFER_BYTES,
		.fwd_cnt = c->forwarded,
	};
	c->told = c->forwarded;
	c->want &= ~(unsigned)VSOCK_WANT_CREDIT_UPDATE;
}

static const struct {
	unsigned want;
	uint16_t op;
} controls[] = {
	{ VSOCK_WANT_REQUEST, VIRTIO_VSOCK_OP_REQUEST },
	{ VSOCK_WANT_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE },
	{ VSOCK_WANT_CREDIT_UPDATE, VIRTIO_VSOCK_OP_CREDIT_UPDATE },
	{ VSOCK_WANT_CREDIT_REQUEST, VIRTIO_VSOCK_OP_CREDIT_REQUEST },
	{ VSOCK_WANT_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN },
	{ VSOCK_WANT_RST, VIRTIO_VSOCK_OP_RST },
};

void vsock_conn_control(struct vsock_conn *c, struct virtio_vsock_hdr *ret)
{
	size_t i = 0;

	while (!(c->want & controls[i].want))
		i++;
	c->want &= ~controls[i].want;
	vsock_conn_header(c, controls[i].op, 0, ret);
	if (controls[i].want == VSOCK_WANT_RST) {
		vsock_mux_free(c);
		return;
	}
	if (controls[i].want == VSOCK_WANT_SHUTDOWN) {
		ret->flags = c->shut_told = c->shut_due;
		if (c->shut_told == SHUT_BOTH)
			vsock_mux_deadline(c, VSOCK_TIMEOUT_NS);
	}
	vsock_mux_enqueue(c, NULL); /* it had its turn */
	if (c->want)
		vsock_mux_enqueue(c, &c->s->urgent);
	settle(c);
}
