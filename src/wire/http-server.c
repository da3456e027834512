/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server, see http-server.h. Loop thread.
 *
 * A connection has one turn a round: it looks at what the socket holds (MSG_PEEK), feeds the parser
 * until the budget or the room for output is spent, and takes from the socket what was fed. So the
 * rest waits in the kernel, where epoll sees it and the client's writes stop it, and nothing is
 * kept here but the request that is being read and the output that was not taken.
 */
#include "http-server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "log.h"
#include "loop.h"

#define READ_BYTES   16384u
#define ACCEPTS	     16			 /* in one round */
#define PAUSE_NS     (NSEC_PER_SEC / 10) /* until accept() is tried again */
#define FULL_MESSAGE "{ \"error\": \"Too many open connections\" }"

struct conn {
	struct http_server *s;
	struct loop_src src; /* .fd is -1: free */
	struct http_parser *parser;
	uint32_t events; /* that the loop watches for */
	bool at_end;	 /* the client sends no more */
	bool broken;	 /* nothing more can be read or written */
	char *out;	 /* owned; out_len bytes that the socket did not take yet, from out_at on */
	size_t out_at, out_len, out_size;
};

struct http_server {
	struct loop *loop;
	struct http_server_params params;
	struct loop_src listener, timer;
	int listenfd, timerfd; /* owned */
	struct http_server_counters counters;
	struct conn conns[HTTP_SERVER_CONNECTIONS];
	char buf[READ_BYTES]; /* of the connection whose turn it is */
};

static void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* -- output ---------------------------------------------------------------------------------- */

static bool has_room(const struct conn *c)
{
	return c->out_len < HTTP_SERVER_OUTPUT_MAX;
}

static void append(struct conn *c, const char *bytes, size_t len)
{
	if (c->out_at + c->out_len + len > c->out_size) {
		size_t size = MAX(c->out_len + len, 2 * c->out_size);
		char *out = malloc(size);

		if (!out) {
			c->broken = true;
			return;
		}
		if (c->out_len)
			memcpy(out, c->out + c->out_at, c->out_len);
		free(c->out);
		c->out = out;
		c->out_at = 0;
		c->out_size = size;
	}
	memcpy(c->out + c->out_at + c->out_len, bytes, len);
	c->out_len += len;
}

static void answer(struct conn *c, const struct http_response *resp, unsigned minor)
{
	size_t len = 0;
	_cleanup_free_ char *bytes =
		http_response_bytes(resp, minor, c->s->params.server, &len);

	if (bytes)
		append(c, bytes, len);
	else
		c->broken = true;
}

static void flush(struct conn *c)
{
	ssize_t n;

	if (c->out_len == 0 || c->broken)
		return;
	/* #syscalls loop: sendto */
	n = send(c->src.fd, c->out + c->out_at, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0) {
		c->broken = errno != EAGAIN && errno != EINTR;
		if (c->broken)
			count(&c->s->counters.io_errors);
		return;
	}
	c->out_at += (size_t)n;
	c->out_len -= (size_t)n;
	if (c->out_len == 0) {
		free(c->out);
		c->out = NULL;
		c->out_at = c->out_size = 0;
	}
}

/* -- requests -------------------------------------------------------------------------------- */

static void serve(struct conn *c)
{
	const struct http_server_params *params = &c->s->params;
	struct http_response resp = { 0 };

	count(&c->s->counters.requests);
	params->serve(params->owner, http_parser_request(c->parser), &resp);
	if (!resp.status)
		resp.status = 204;
	answer(c, &resp, 1);
	free(resp.body);
}

static void refuse(struct conn *c)
{
	char body[HTTP_FAULT_BYTES + 80]; /* a raw newline in the text: micro-http's form */
	int n = snprintf(body, sizeof(body),
		"{ \"error\": \"%s\nAll previous unanswered requests will be dropped.\" }",
		http_parser_fault(c->parser));

	count(&c->s->counters.faults);
	answer(c,
		&(struct http_response){ .status = 400, .body = body, .body_len = (size_t)n }, 1);
}

/* Feeds what is in buf; the bytes that were taken. */
static size_t feed(struct conn *c, size_t len)
{
	size_t at = 0, taken;

	for (int i = 0; i < HTTP_SERVER_BUDGET && at < len && has_room(c) && !c->broken; i++) {
		enum http_event event =
			http_parser_feed(c->parser, c->s->buf + at, len - at, &taken);

		at += taken;
		if (event == HTTP_REQUEST)
			serve(c);
		else if (event == HTTP_FAULT)
			refuse(c);
		else if (event == HTTP_CONTINUE)
			answer(c, &(struct http_response){ .status = 100 },
				http_parser_request(c->parser)->minor);
	}
	return at;
}

/* What the socket has; false: nothing, or the end. */
static bool receive(struct conn *c, size_t len, int flags, size_t *ret_len)
{
	/* #syscalls loop: recvfrom */
	ssize_t n = recv(c->src.fd, c->s->buf, len, flags | MSG_DONTWAIT);

	*ret_len = n > 0 ? (size_t)n : 0;
	if (n == 0)
		c->at_end = true;
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		c->broken = true;
		count(&c->s->counters.io_errors);
	}
	return n > 0;
}

static void take_turn(struct conn *c)
{
	size_t len, left;

	if (c->at_end || !has_room(c) || !receive(c, READ_BYTES, MSG_PEEK, &len))
		return;
	for (left = feed(c, len); left > 0; left -= len)
		if (!receive(c, left, 0, &len)) {
			c->broken = true; /* it would be fed again */
			return;
		}
}

/* -- connections ----------------------------------------------------------------------------- */

static void drop(struct conn *c)
{
	int fd = c->src.fd;

	loop_del(c->s->loop, &c->src);
	fd_close(fd);
	http_parser_free(c->parser);
	free(c->out);
	*c = (struct conn){ .s = c->s, .src = { .fd = -1 } };
}

/* After each turn: what is to be waited for, or the end. There is always one of these. */
static void settle(struct conn *c)
{
	uint32_t events = 0;

	if (!c->at_end && has_room(c))
		events |= EPOLLIN;
	if (c->out_len > 0)
		events |= EPOLLOUT;
	if (c->broken || !events) {
		drop(c);
	} else if (events != c->events) {
		c->events = events;
		if (loop_mod(c->s->loop, &c->src, events) < 0)
			drop(c);
	}
}

static void on_conn(struct loop_src *src, uint32_t events)
{
	struct conn *c = container_of(src, struct conn, src);

	(void)events; /* a peer that is gone shows in reading or writing, one of which is done */
	if (c->out_len > 0)
		flush(c);
	if (!c->broken)
		take_turn(c);
	flush(c);
	settle(c);
}

static bool take_in(struct http_server *s, int fd)
{
	struct conn *c = s->conns;

	while (c < s->conns + HTTP_SERVER_CONNECTIONS && c->src.fd >= 0)
		c++;
	if (c == s->conns + HTTP_SERVER_CONNECTIONS)
		return false;
	c->parser = http_parser_new(s->params.max_body);
	if (!c->parser)
		return false;
	c->src = (struct loop_src){ .fn = on_conn, .name = "http-conn", .fd = -1 };
	c->events = EPOLLIN;
	if (loop_add(s->loop, &c->src, fd, c->events) < 0) {
		http_parser_free(take_ptr(&c->parser));
		return false;
	}
	count(&s->counters.accepted);
	return true;
}

/* One try, and no wait for the client: micro-http's bytes, which are not those of an answer. */
static void turn_away(struct http_server *s, int fd)
{
	char bytes[256];
	int n = snprintf(bytes, sizeof(bytes),
		"HTTP/1.1 503\r\nServer: %s\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
		s->params.server, sizeof(FULL_MESSAGE) - 1, FULL_MESSAGE);

	count(&s->counters.refused);
	if (send(fd, bytes, MIN((size_t)n, sizeof(bytes) - 1), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		count(&s->counters.io_errors);
	fd_close(fd);
}

/* There is no descriptor or no memory: who connects waits in the backlog, and we do not spin. */
static void pause_accepting(struct http_server *s, int e)
{
	count(&s->counters.io_errors);
	log_guest(LOG_WARN, "http: accept: %s; trying again in a while", strerror(e));
	loop_del(s->loop, &s->listener);
	loop_timer_set(s->timerfd, PAUSE_NS, 0);
}

static void on_listener(struct loop_src *src, uint32_t events)
{
	struct http_server *s = container_of(src, struct http_server, listener);

	(void)events;
	for (int i = 0; i < ACCEPTS; i++) {
		/* #syscalls loop: accept4 */
		int fd = accept4(s->listenfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			if (!take_in(s, fd))
				turn_away(s, fd);
		} else if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) {
			return;
		} else {
			pause_accepting(s, errno);
			return;
		}
	}
}

static void on_timer(struct loop_src *src, uint32_t events)
{
	struct http_server *s = container_of(src, struct http_server, timer);

	(void)events;
	loop_drain(s->timerfd);
	if (loop_add(s->loop, &s->listener, s->listenfd, EPOLLIN) < 0)
		loop_timer_set(s->timerfd, PAUSE_NS, 0);
}

/* -- life ------------------------------------------------------------------------------------ */

static int start(struct http_server *s, int listenfd, struct volt_err *err)
{
	int r;

	s->timerfd = loop_timer_open(err);
	if (s->timerfd < 0)
		return s->timerfd;
	r = loop_add(s->loop, &s->timer, s->timerfd, EPOLLIN);
	if (r == 0)
		r = loop_add(s->loop, &s->listener, listenfd, EPOLLIN);
	return r < 0 ? volt_err_set(err, -r, "http: watch the socket: %m") : 0;
}

int http_server_open(struct loop *loop, int listenfd, const struct http_server_params *params,
	struct http_server **ret, struct volt_err *err)
{
	struct http_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return volt_err_set(err, ENOMEM, "http: %m");
	s->loop = loop;
	s->params = *params;
	s->listenfd = -1;
	s->listener = (struct loop_src){ .fn = on_listener, .name = "http-listen", .fd = -1 };
	s->timer = (struct loop_src){ .fn = on_timer, .name = "http-timer", .fd = -1 };
	for (int i = 0; i < HTTP_SERVER_CONNECTIONS; i++)
		s->conns[i] = (struct conn){ .s = s, .src = { .fd = -1 } };
	r = start(s, listenfd, err);
	if (r < 0) {
		http_server_close(s);
		return r;
	}
	s->listenfd = listenfd;
	*ret = s;
	return 0;
}

void http_server_close(struct http_server *s)
{
	if (!s)
		return;
	for (int i = 0; i < HTTP_SERVER_CONNECTIONS; i++)
		if (s->conns[i].src.fd >= 0)
			drop(&s->conns[i]);
	loop_del(s->loop, &s->listener);
	loop_del(s->loop, &s->timer);
	fd_close(s->listenfd);
	fd_close(s->timerfd);
	free(s);
}

const struct http_server_counters *http_server_counters(const struct http_server *s)
{
	return &s->counters;
}
