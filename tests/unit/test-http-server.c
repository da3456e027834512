/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server on a real Unix socket in a real loop. Server and clients share the test's thread:
 * a client's read gives the loop a round whenever there is nothing to read.
 */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http-server.h"
#include "log.h"
#include "loop.h"

#define LIMIT_NS (20 * NSEC_PER_SEC)
#define MAX_BODY 51200

#define HEAD	   "\r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
#define NO_CONTENT "HTTP/1.1 204 " HEAD "\r\n"
#define JSON	   HEAD "Content-Type: application/json\r\n"
#define DROPPED	   "\nAll previous unanswered requests will be dropped.\" }"
#define FULL                                                                                       \
	"HTTP/1.1 503\r\nServer: Firecracker API\r\nConnection: close\r\n"                         \
	"Content-Length: 40\r\n\r\n{ \"error\": \"Too many open connections\" }"

struct world {
	struct loop loop;
	struct http_server *s;
	const struct http_server_counters *counters;
	struct sockaddr_un addr;
	char dir[64];
	unsigned fds;	   /* before */
	char served[4096]; /* the paths, in order */
};

/* GET /bytes/N: so many bytes; PUT: the body again; else 204. */
static void serve(void *owner, const struct http_request *req, struct http_response *resp)
{
	struct world *w = owner;

	assert_int_equal(resp->status, 0);
	strncat(w->served, req->path, sizeof(w->served) - strlen(w->served) - 1);
	if (strncmp(req->path, "/bytes/", 7) == 0) {
		resp->status = 200;
		resp->body_len = atoi(req->path + 7);
		resp->body = malloc(resp->body_len + 1);
		for (size_t i = 0; i < resp->body_len; i++)
			resp->body[i] = (char)('a' + i % 26);
	} else if (req->body) {
		resp->status = 200;
		resp->body_len = req->body_len;
		resp->body = malloc(resp->body_len + 1);
		memcpy(resp->body, req->body, req->body_len);
	}
}

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct http_server_params params = { "Firecracker API", MAX_BODY, serve, w };
	int fd;

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	w->fds = count_fds();
	strcpy(w->dir, "/tmp/test-http-server-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->addr.sun_family = AF_UNIX;
	snprintf(w->addr.sun_path, sizeof(w->addr.sun_path), "%s/s", w->dir);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&w->addr, sizeof(w->addr)), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(loop_init(&w->loop, NULL), 0);
	assert_int_equal(http_server_open(&w->loop, fd, &params, &w->s, NULL), 0);
	w->counters = http_server_counters(w->s);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	http_server_close(w->s);
	loop_done(&w->loop);
	unlink(w->addr.sun_path);
	rmdir(w->dir);
	assert_int_equal(count_fds(), w->fds);
	free(w);
	return 0;
}

/* -- a client -------------------------------------------------------------------------------- */

static void round_of(struct world *w)
{
	assert_int_equal(loop_poll(&w->loop, 10), 0);
}

static int connect_to(struct world *w)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&w->addr, sizeof(w->addr)), 0);
	return fd;
}

/* Until the server has taken so many. */
static void until_accepted(struct world *w, unsigned n)
{
	uint64_t end = loop_now_ns() + LIMIT_NS;

	while (w->counters->accepted < n) {
		assert_true(loop_now_ns() < end);
		round_of(w);
	}
}

static void put_n(struct world *w, int fd, const char *bytes, size_t len)
{
	uint64_t end = loop_now_ns() + LIMIT_NS;

	while (len > 0) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		assert_true(n > 0 || (n < 0 && errno == EAGAIN));
		assert_true(loop_now_ns() < end);
		if (n < 0)
			round_of(w);
		bytes += n > 0 ? n : 0;
		len -= n > 0 ? n : 0;
	}
}

static void put(struct world *w, int fd, const char *bytes)
{
	put_n(w, fd, bytes, strlen(bytes));
}

/* Reads up to len bytes, or to the end; how many. */
static size_t get_n(struct world *w, int fd, char *buf, size_t len)
{
	uint64_t end = loop_now_ns() + LIMIT_NS;
	size_t at = 0;

	while (at < len) {
		ssize_t n = read(fd, buf + at, len - at);

		if (n == 0 || (n < 0 && errno == ECONNRESET))
			break;
		assert_true(n > 0 || errno == EAGAIN);
		assert_true(loop_now_ns() < end);
		if (n < 0)
			round_of(w);
		at += n > 0 ? n : 0;
	}
	return at;
}

/* These bytes come next. */
static void gets(struct world *w, int fd, const char *want)
{
	static char buf[8192];
	size_t n = get_n(w, fd, buf, strlen(want));

	buf[n] = '\0';
	assert_string_equal(buf, want);
}

/* "/bytes/N" is answered next. */
static void gets_bytes(struct world *w, int fd, size_t n)
{
	char head[256], *body = malloc(n);

	snprintf(head, sizeof(head), "HTTP/1.1 200 " JSON "Content-Length: %zu\r\n\r\n", n);
	gets(w, fd, head);
	assert_int_equal(get_n(w, fd, body, n), n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(body[i], 'a' + i % 26);
	free(body);
}

static void is_ended(struct world *w, int fd)
{
	char byte;

	assert_int_equal(get_n(w, fd, &byte, 1), 0);
}

/* What is there without another round. */
static size_t peek(int fd)
{
	static char buf[1 << 20];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_PEEK);

	return n < 0 ? 0 : n;
}

/* -- tests ----------------------------------------------------------------------------------- */

static void a_connection_is_kept(void **state)
{
	struct world *w = *state;
	int fd = connect_to(w);

	for (int i = 0; i < 3; i++) {
		put(w, fd, "GET /a HTTP/1.1\r\nConnection: close\r\n\r\n");
		gets(w, fd, NO_CONTENT);
		put(w, fd, "PUT /b HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}");
		gets(w, fd, "HTTP/1.1 200 " JSON "Content-Length: 2\r\n\r\n{}");
	}
	assert_string_equal(w->served, "/a/b/a/b/a/b");
	assert_int_equal(w->counters->requests, 6);
	close(fd);
}

static void the_eleventh_is_turned_away(void **state)
{
	struct world *w = *state;
	int fds[HTTP_SERVER_CONNECTIONS], more;

	for (int i = 0; i < HTTP_SERVER_CONNECTIONS; i++)
		fds[i] = connect_to(w);
	until_accepted(w, HTTP_SERVER_CONNECTIONS);
	for (int i = 0; i < 3; i++) {
		more = connect_to(w);
		gets(w, more, FULL);
		is_ended(w, more);
		close(more);
	}
	assert_int_equal(w->counters->refused, 3);
	for (int i = 0; i < HTTP_SERVER_CONNECTIONS; i++) {
		put(w, fds[i], "GET / HTTP/1.1\r\n\r\n");
		gets(w, fds[i], NO_CONTENT);
	}
	close(fds[4]);
	round_of(w);
	more = connect_to(w);
	put(w, more, "GET / HTTP/1.1\r\n\r\n");
	gets(w, more, NO_CONTENT);
	assert_int_equal(w->counters->accepted, HTTP_SERVER_CONNECTIONS + 1);
	fds[4] = more;
	for (int i = 0; i < HTTP_SERVER_CONNECTIONS; i++)
		close(fds[i]);
}

static void a_hundred_requests_in_one_write_are_answered_in_order(void **state)
{
	struct world *w = *state;
	int fd = connect_to(w);
	char bytes[100 * 40 + 1] = "";

	for (int i = 0; i < 100; i++)
		snprintf(bytes + strlen(bytes), 41, "GET /bytes/%d HTTP/1.1\r\n\r\n", i);
	put(w, fd, bytes);
	for (int i = 0; i < 100; i++)
		gets_bytes(w, fd, i);
	assert_int_equal(w->counters->requests, 100);
	close(fd);
}

static void bytes_may_come_one_by_one(void **state)
{
	static const char request[] = "PUT /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
	struct world *w = *state;
	int fd = connect_to(w);

	for (size_t i = 0; i < strlen(request); i++) {
		assert_int_equal(w->counters->requests, 0);
		put_n(w, fd, request + i, 1);
		round_of(w);
	}
	gets(w, fd, "HTTP/1.1 200 " JSON "Content-Length: 5\r\n\r\nhello");
	close(fd);
}

static void garbage_is_a_fault_and_no_end(void **state)
{
	struct world *w = *state;
	int fd = connect_to(w);

	put(w, fd, "hello\r\n\r\n");
	gets(w, fd, "HTTP/1.1 400 " JSON "Content-Length: 81\r\n\r\n"
		    "{ \"error\": \"Invalid request." DROPPED);
	put(w, fd, "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}GET /a HTTP/1.1\r\n\r\n");
	gets(w, fd, "HTTP/1.1 400 " JSON "Content-Length: 110\r\n\r\n"
		    "{ \"error\": \"Invalid HTTP Method: Unsupported HTTP method." DROPPED);
	gets(w, fd, NO_CONTENT);
	assert_int_equal(w->counters->faults, 2);
	assert_string_equal(w->served, "/a");
	close(fd);
}

static void much_garbage_is_harmless(void **state)
{
	struct world *w = *state;
	int fd = connect_to(w), other = connect_to(w);
	static char bytes[1 << 20], buf[4096];
	uint32_t x = 1;
	ssize_t n;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)((x = x * 1664525 + 1013904223) >> 24);
	for (size_t at = 0; at < sizeof(bytes);) {
		n = send(fd, bytes + at, sizeof(bytes) - at, MSG_NOSIGNAL);
		at += n > 0 ? n : 0;
		round_of(w);
		while (read(fd, buf, sizeof(buf)) > 0)
			;
	}
	put(w, other, "GET / HTTP/1.1\r\n\r\n");
	gets(w, other, NO_CONTENT);
	assert_true(w->counters->faults > 0);
	assert_int_equal(w->counters->requests, 1);
	close(fd);
	close(other);
}

static void expect_is_answered_before_the_body(void **state)
{
	struct world *w = *state;
	int fd = connect_to(w);

	put(w, fd, "PUT /a HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
	gets(w, fd, "HTTP/1.0 100 " HEAD "\r\n");
	assert_int_equal(w->counters->requests, 0);
	put(w, fd, "hello");
	gets(w, fd, "HTTP/1.1 200 " JSON "Content-Length: 5\r\n\r\nhello");
	close(fd);
}

static void too_large_a_body_is_refused_by_its_header(void **state)
{
	struct world *w = *state;
	int fd = connect_to(w);
	char *body = malloc(MAX_BODY + 1);

	put(w, fd, "PUT /a HTTP/1.1\r\nContent-Length: 51201\r\n\r\n");
	gets(w, fd, "HTTP/1.1 400 " JSON "Content-Length: 149\r\n\r\n"
		    "{ \"error\": \"Request payload with size 51201 is larger than the limit of "
		    "51200 allowed by server." DROPPED);
	/* What comes of it is not taken for requests. */
	memset(body, '\n', MAX_BODY + 1);
	put_n(w, fd, body, MAX_BODY + 1);
	put(w, fd, "PUT /b HTTP/1.1\r\nContent-Length: 51200\r\n\r\n");
	memset(body, 'a', MAX_BODY);
	put_n(w, fd, body, MAX_BODY);
	gets(w, fd, "HTTP/1.1 200 " JSON "Content-Length: 51200\r\n\r\naaaa");
	assert_int_equal(w->counters->faults, 1);
	assert_string_equal(w->served, "/b");
	free(body);
	close(fd);
}

/* The slot is free again, nothing is served. */
static void a_client_may_vanish_in_a_body(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < 3 * HTTP_SERVER_CONNECTIONS; i++) {
		int fd = connect_to(w);

		put(w, fd, "PUT /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhell");
		if (i % 2)
			until_accepted(w, i + 1);
		close(fd);
		round_of(w);
	}
	until_accepted(w, 3 * HTTP_SERVER_CONNECTIONS);
	assert_int_equal(w->counters->refused, 0);
	assert_int_equal(w->counters->requests, 0);
}

static void what_came_before_a_half_close_is_answered(void **state)
{
	struct world *w = *state;
	int fd = connect_to(w);

	for (int i = 0; i < 40; i++)
		put(w, fd, "GET /bytes/100000 HTTP/1.1\r\n\r\n");
	put(w, fd, "GET /half");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	for (int i = 0; i < 40; i++)
		gets_bytes(w, fd, 100000);
	is_ended(w, fd);
	assert_int_equal(w->counters->requests, 40);
	close(fd);
}

/* It wants no answer, or cannot have one any more. */
static void what_came_before_a_close_is_served(void **state)
{
	struct world *w = *state;
	int fd = connect_to(w);
	uint64_t end = loop_now_ns() + LIMIT_NS;

	put(w, fd, "PUT /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
	close(fd);
	while (w->counters->requests == 0) {
		assert_true(loop_now_ns() < end);
		round_of(w);
	}
	assert_string_equal(w->served, "/a");
	assert_int_equal(w->counters->io_errors, 1);
}

static void a_client_that_never_reads_stops_only_itself(void **state)
{
	struct world *w = *state;
	int fd = connect_to(w), other = connect_to(w);
	unsigned sent = 0, served;
	ssize_t n = 0;

	/* As long as any of it is taken. */
	for (int quiet = 0; quiet < 50; quiet++) {
		while ((n = send(fd, "GET /bytes/5000 HTTP/1.1\r\n\r\n", 28, MSG_NOSIGNAL)) == 28) {
			sent++;
			quiet = 0;
		}
		assert_true(n < 0 && errno == EAGAIN);
		loop_poll(&w->loop, 0);
	}
	served = w->counters->requests;
	assert_in_range(served, HTTP_SERVER_OUTPUT_MAX / 5300,
		(HTTP_SERVER_OUTPUT_MAX + (1 << 20)) / 5000);
	assert_true(served < sent);
	for (int i = 0; i < 3; i++) {
		put(w, other, "GET / HTTP/1.1\r\n\r\n");
		gets(w, other, NO_CONTENT);
	}
	assert_int_equal(w->counters->requests, served + 3);
	/* Nothing was lost. */
	for (unsigned i = 0; i < sent; i++)
		gets_bytes(w, fd, 5000);
	assert_int_equal(w->counters->requests, sent + 3);
	close(fd);
	close(other);
}

/* With output that waits, it is not read from: its end is seen all the same. */
static void a_client_that_never_read_may_vanish(void **state)
{
	struct world *w = *state;
	int fd = connect_to(w), more;

	put(w, fd, "GET /bytes/3000000 HTTP/1.1\r\n\r\n");
	while (w->counters->requests == 0)
		round_of(w);
	close(fd);
	while (w->counters->io_errors == 0)
		round_of(w);
	for (int i = 0; i < HTTP_SERVER_CONNECTIONS; i++) {
		more = connect_to(w);
		until_accepted(w, i + 2);
		close(more);
		round_of(w);
	}
	assert_int_equal(w->counters->refused, 0);
}

static void a_large_answer_comes_whole(void **state)
{
	struct world *w = *state;
	int fd = connect_to(w);

	put(w, fd, "GET /bytes/3000000 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n");
	gets_bytes(w, fd, 3000000);
	gets(w, fd, NO_CONTENT);
	close(fd);
}

/* Many requests of one, a half of one of another, none of a third: all in one round. */
static void each_client_has_its_turn(void **state)
{
	struct world *w = *state;
	int busy = connect_to(w), slow = connect_to(w), quiet = connect_to(w), other;
	char many[200 * 20] = "";

	until_accepted(w, 3);
	other = connect_to(w);
	until_accepted(w, 4);
	for (int i = 0; i < 200; i++)
		strcat(many, "GET /b HTTP/1.1\r\n\r\n");
	put(w, busy, many);
	put(w, slow, "PUT /s HTTP/1.1\r\nContent-Length: 5\r\n\r\nh");
	put(w, other, "GET /o HTTP/1.1\r\n\r\n");
	assert_int_equal(loop_poll(&w->loop, 0), 0);
	assert_int_equal(peek(other), strlen(NO_CONTENT));
	assert_int_equal(peek(busy), HTTP_SERVER_BUDGET * strlen(NO_CONTENT));
	assert_int_equal(w->counters->requests, HTTP_SERVER_BUDGET + 1);
	for (int i = 0; i < 200; i++)
		gets(w, busy, NO_CONTENT);
	put(w, slow, "ello");
	gets(w, slow, "HTTP/1.1 200 " JSON "Content-Length: 5\r\n\r\nhello");
	close(busy);
	close(slow);
	close(quiet);
	close(other);
}

/* Descriptors that are sent along do not stay with us, nor do they part the bytes. */
static void descriptors_are_not_kept(void **state)
{
	struct world *w = *state;
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	static char request[] = "GET /a HTTP/1.1\r\n\r\nGET /b ";
	struct iovec iov = { request, strlen(request) };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int fd = connect_to(w);
	unsigned before;

	until_accepted(w, 1);
	before = count_fds();
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	assert_int_equal(sendmsg(fd, &m, 0), iov.iov_len);
	put(w, fd, "HTTP/1.1\r\n\r\n");
	gets(w, fd, NO_CONTENT NO_CONTENT);
	assert_string_equal(w->served, "/a/b");
	assert_int_equal(count_fds(), before);
	close(fd);
}

/* Who connects waits; the loop rests meanwhile. */
static void without_descriptors_it_waits_and_does_not_spin(void **state)
{
	struct world *w = *state;
	struct rlimit old, none;
	int fd = connect_to(w), lowest = dup(fd);
	struct pollfd p = { .fd = w->loop.epollfd, .events = POLLIN };
	uint64_t end = loop_now_ns() + LIMIT_NS;

	close(lowest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ (rlim_t)lowest, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	while (w->counters->io_errors == 0 && loop_now_ns() < end)
		loop_poll(&w->loop, 10);
	assert_int_equal(poll(&p, 1, 0), 0); /* nothing is ready, though one waits */
	while (w->counters->io_errors < 3 && loop_now_ns() < end)
		loop_poll(&w->loop, 10);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(w->counters->io_errors, 3);
	assert_int_equal(w->counters->accepted, 0);
	put(w, fd, "GET / HTTP/1.1\r\n\r\n");
	gets(w, fd, NO_CONTENT);
	close(fd);
}

static void closing_ends_connections(void **state)
{
	struct world *w = *state;
	int fd = connect_to(w), waiting;

	until_accepted(w, 1);
	put(w, fd, "GET /bytes/3000000 HTTP/1.1\r\n\r\n");
	round_of(w);
	waiting = connect_to(w);
	http_server_close(w->s);
	w->s = NULL;
	http_server_close(w->s);
	is_ended(w, waiting);
	close(waiting);
	close(fd);
}

static void a_socket_that_cannot_be_watched_stays_the_callers(void **state)
{
	struct world *w = *state;
	struct http_server_params params = { "x", 1, serve, w };
	struct http_server *s = NULL;
	struct volt_err err = { 0 };
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/file", w->dir);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(http_server_open(&w->loop, fd, &params, &s, &err), -EPERM);
	assert_null(s);
	assert_non_null(strstr(err.msg, "http: watch the socket"));
	assert_int_equal(close(fd), 0);
	unlink(path);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_connection_is_kept),
		TEST(the_eleventh_is_turned_away),
		TEST(a_hundred_requests_in_one_write_are_answered_in_order),
		TEST(bytes_may_come_one_by_one),
		TEST(garbage_is_a_fault_and_no_end),
		TEST(much_garbage_is_harmless),
		TEST(expect_is_answered_before_the_body),
		TEST(too_large_a_body_is_refused_by_its_header),
		TEST(a_client_may_vanish_in_a_body),
		TEST(what_came_before_a_half_close_is_answered),
		TEST(what_came_before_a_close_is_served),
		TEST(a_client_that_never_reads_stops_only_itself),
		TEST(a_client_that_never_read_may_vanish),
		TEST(a_large_answer_comes_whole),
		TEST(each_client_has_its_turn),
		TEST(descriptors_are_not_kept),
		TEST(without_descriptors_it_waits_and_does_not_spin),
		TEST(closing_ends_connections),
		TEST(a_socket_that_cannot_be_watched_stays_the_callers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
