/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of virtio-vsock: the Unix socket that programs connect to, what they say first,
 * and the sockets that the guest's connections lead to. Loop thread with the device's lock held;
 * vsock_listen(): before the sandbox.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "vsock-mux.h"

#define ACCEPTS 32 /* at once, before others have their turn */

/* -- the listening socket -------------------------------------------------------------------- */

static int open_socket(void)
{
	/* #syscalls loop: socket=AF_UNIX */
	return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* Removes a socket file behind which nobody listens; else says why it cannot be had. */
static int remove_stale(const struct sockaddr_un *addr, struct volt_err *err)
{
	_cleanup_close_ int fd = open_socket();
	struct stat st;

	if (fd < 0)
		return volt_err_set(err, errno, "socket: %m");
	if (lstat(addr->sun_path, &st) < 0)
		return volt_err_set(err, errno, "%m");
	if (!S_ISSOCK(st.st_mode))
		return volt_err_set(err, EEXIST,
			"there is a file that is not a socket; remove it or name another path");
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
		return volt_err_set(err, EADDRINUSE,
			"in use by another process; end that, or name another path");
	if (errno != ECONNREFUSED)
		return volt_err_set(err, errno, "a socket is there that does not answer: %m");
	if (unlink(addr->sun_path) < 0)
		return volt_err_set(err, errno, "remove a socket that nobody listens on: %m");
	return 0;
}

static int bind_to(int fd, const struct sockaddr_un *addr, struct volt_err *err)
{
	int r;

	if (bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return volt_err_set(err, errno, "bind: %m");
	r = remove_stale(addr, err);
	if (r < 0)
		return r;
	if (bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		return volt_err_set(err, errno, "bind again: %m");
	return 0;
}

int vsock_listen(const char *path, struct volt_err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(addr.sun_path))
		return volt_err_set(err, ENAMETOOLONG,
			"vsock socket '%s': the path has %zu characters, 1 to %zu are possible",
			path, len, sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, len + 1);
	fd = open_socket();
	if (fd < 0)
		return volt_err_set(err, errno, "vsock socket '%s': socket: %m", path);
	if (bind_to(fd, &addr, err) < 0)
		return volt_err_wrap(err, "vsock socket '%s'", path);
	if (listen(fd, SOMAXCONN) < 0)
		return volt_err_set(err, errno, "vsock socket '%s': listen: %m", path);
	return take_fd(&fd);
}

void vsock_host_listen(struct vsock *s)
{
	if (s->listener.fd < 0 && !s->accept_ns)
		loop_add(s->loop, &s->listener, s->listenfd, EPOLLIN);
}

/* There is no descriptor or no memory: the next program waits in the backlog. */
static void pause_accepting(struct vsock *s, int e)
{
	virtio_count(&s->counters.accept_errors);
	log_guest(LOG_WARN, "vsock: accept: %s; trying again in a while", strerror(e));
	loop_del(s->loop, &s->listener);
	s->accept_ns = loop_now_ns() + VSOCK_PAUSE_NS;
	vsock_mux_arm(s, s->accept_ns);
}

static void take_in(struct vsock *s, int fd)
{
	struct vsock_conn *c = vsock_mux_add(s);

	if (!c) {
		virtio_count(&s->counters.connections_refused);
		fd_close(fd);
		return;
	}
	c->fd = fd;
	if (vsock_mux_watch(c) < 0) {
		virtio_count(&s->counters.connections_refused);
		vsock_mux_free(c);
		return;
	}
	vsock_mux_deadline(c, VSOCK_TIMEOUT_NS);
}

static void accept_some(struct vsock *s)
{
	for (unsigned i = 0; i < ACCEPTS; i++) {
		/* #syscalls loop: accept4 */
		int fd = accept4(s->listenfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			take_in(s, fd);
		else if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		else
			return pause_accepting(s, errno);
	}
}

void vsock_host_accept(struct loop_src *src, uint32_t events)
{
	struct vsock *s = container_of(src, struct vsock, listener);

	(void)events;
	if (vsock_mux_enter(s))
		accept_some(s);
	vsock_mux_leave(s);
}

/* -- host to guest --------------------------------------------------------------------------- */

static size_t blanks(const char *p, const char *end)
{
	size_t n = 0;

	while (p + n < end && (p[n] == ' ' || p[n] == '\t' || p[n] == '\r'))
		n++;
	return n;
}

/* "CONNECT PORT", any letter case, blanks between and behind. */
static bool parse_line(const char *p, const char *end, uint32_t *ret_port)
{
	static const char word[] = "connect";
	uint64_t port = 0;
	const char *digits;
	size_t n;

	if ((size_t)(end - p) < sizeof(word) - 1 || strncasecmp(p, word, sizeof(word) - 1) != 0)
		return false;
	p += sizeof(word) - 1;
	n = blanks(p, end);
	if (n == 0)
		return false;
	digits = p += n;
	for (; p < end && *p >= '0' && *p <= '9' && port <= UINT32_MAX; p++)
		port = port * 10 + (uint64_t)(*p - '0');
	*ret_port = (uint32_t)port;
	return p > digits && port <= UINT32_MAX && p + blanks(p, end) == end;
}

/* A host port that no connection has. There are more of them than connections. */
static uint32_t take_port(struct vsock *s)
{
	for (;;) {
		uint32_t port = s->next_port;
		bool used = false;

		s->next_port = port == VSOCK_HOST_PORT_LAST ? VSOCK_HOST_PORT : port + 1;
		for (unsigned i = 0; i < s->n_fresh && !used; i++)
			used = s->conns[i].state != VSOCK_FREE && s->conns[i].host_port == port;
		if (!used)
			return port;
	}
}

static void refuse_greeting(struct vsock_conn *c)
{
	virtio_count(&c->s->counters.bad_requests);
	vsock_mux_free(c);
}

/* What comes behind the line is not ours: it stays in the socket. */
void vsock_host_greet(struct vsock_conn *c)
{
	char line[VSOCK_LINE_MAX];
	/* #syscalls loop: recvfrom */
	ssize_t n = recv(c->fd, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
	const char *end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;
	ssize_t bytes;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (!end && n > 0 && n < VSOCK_LINE_MAX && !c->half && !c->gone)
		return;
	if (!end || !parse_line(line, end, &c->guest_port)) {
		refuse_greeting(c);
		return;
	}
	bytes = end + 1 - line;
	if (recv(c->fd, line, (size_t)bytes, MSG_DONTWAIT) != bytes || c->gone) {
		refuse_greeting(c);
		return;
	}
	c->host_port = take_port(c->s);
	c->state = VSOCK_REQUESTED;
	c->want = VSOCK_WANT_REQUEST;
	vsock_mux_insert(c);
	vsock_mux_enqueue(c, &c->s->urgent);
	vsock_mux_deadline(c, VSOCK_TIMEOUT_NS);
}

/* -- guest to host --------------------------------------------------------------------------- */

static int connect_to_port(struct vsock_conn *c)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t size = sizeof(addr.sun_path);
	int n = snprintf(addr.sun_path, size, "%s_%u", c->s->path, c->host_port);

	if (n < 0 || (size_t)n >= size)
		return -ENAMETOOLONG;
	if (c->fd < 0)
		c->fd = open_socket();
	if (c->fd < 0)
		return -errno;
	/* #syscalls loop: connect */
	return connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
}

void vsock_host_call(struct vsock_conn *c)
{
	int r = connect_to_port(c);

	/* A backlog that is full: Unix sockets do not wait by themselves. */
	if ((r == -EAGAIN || r == -EINTR) && loop_now_ns() < c->give_up_ns) {
		vsock_mux_deadline(c, VSOCK_RETRY_NS);
		return;
	}
	if (r == 0)
		r = vsock_mux_watch(c);
	if (r < 0) {
		virtio_count(&c->s->counters.connections_refused);
		vsock_conn_end(c);
		return;
	}
	c->want = VSOCK_WANT_RESPONSE;
	vsock_conn_open(c);
}
