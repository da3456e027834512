/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock: the Unix socket, the CONNECT line, limits and deadlines. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "vsock-guest.h"
#include "vsock-mux.h"

#define PORT 52u

struct fixture {
	struct vg g;
	struct vg_packet p;
	struct rlimit files;
	struct vg_conn conns[VSOCK_CONNECTIONS];
	int fds[VSOCK_CONNECTIONS];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct rlimit most;

	getrlimit(RLIMIT_NOFILE, &f->files);
	most = (struct rlimit){ MIN(f->files.rlim_max, 8192u), f->files.rlim_max };
	setrlimit(RLIMIT_NOFILE, &most);
	vg_open(&f->g, VIRTIO_COMMON_FEATURES, 128, VG_RX_BYTES);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vg_close(&f->g);
	setrlimit(RLIMIT_NOFILE, &f->files);
	free(f);
	return 0;
}

static const struct vsock_counters *counters(struct fixture *f)
{
	return vsock_counters(f->g.v);
}

static struct vsock *device(struct fixture *f)
{
	return container_of(f->g.v, struct vsock, v);
}

static struct vg_conn conn(uint32_t host_port, uint32_t guest_port)
{
	return (struct vg_conn){ host_port, guest_port, .alloc = 4096 };
}

static void expect_op(struct fixture *f, unsigned op)
{
	assert_true(vg_wait(&f->g, &f->p));
	assert_int_equal(f->p.h.op, op);
}

static void expect_end(struct fixture *f, int fd)
{
	char byte;
	bool end;

	assert_int_equal(vg_host_expect(&f->g, fd, &byte, 1, &end), 0);
	close(fd);
}

static void say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* -- the file -------------------------------------------------------------------------------- */

static void expect_refusal(const char *path, int code, const char *why)
{
	struct volt_err err = { 0 };

	assert_int_equal(vsock_listen(path, &err), -code);
	if (!strstr(err.msg, why) || (*path && !strstr(err.msg, path)))
		fail_msg("'%s' does not say '%s'", err.msg, why);
}

static void listens_only_where_it_may(void **state)
{
	struct fixture *f = *state;
	char path[200], longest[200];
	struct stat st;
	int fd;

	expect_refusal(f->g.path, EADDRINUSE, "in use by another process");
	assert_int_equal(lstat(f->g.path, &st), 0); /* and is still there */
	snprintf(path, sizeof(path), "%s/file", f->g.dir);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	expect_refusal(path, EEXIST, "not a socket");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("nowhere", path), 0);
	expect_refusal(path, EEXIST, "not a socket");
	unlink(path);
	snprintf(path, sizeof(path), "%s/absent/v.sock", f->g.dir);
	expect_refusal(path, ENOENT, "No such file");
	expect_refusal("", ENAMETOOLONG, "1 to 107");
	snprintf(longest, sizeof(longest), "%s/%0*d", f->g.dir, 106 - (int)strlen(f->g.dir), 0);
	assert_int_equal(strlen(longest), 107);
	fd = vsock_listen(longest, NULL);
	assert_true(fd >= 0);
	close(fd);
	snprintf(path, sizeof(path), "%s0", longest);
	expect_refusal(path, ENAMETOOLONG, "108 characters");
	/* Nobody listens on it any more. */
	fd = vsock_listen(longest, NULL);
	assert_true(fd >= 0);
	close(fd);
}

static void a_path_too_long_for_a_port_is_a_refusal(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(UINT32_MAX, 1);

	memset(device(f)->path, 'x', LIMIT_SOCKET_PATH - 2);
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
	expect_op(f, VIRTIO_VSOCK_OP_RST);
}

/* -- the line -------------------------------------------------------------------------------- */

static void understands_the_connect_line(void **state)
{
	static const struct {
		const char *line;
		uint32_t port;
	} good[] = {
		{ "CONNECT 52\n", 52 },
		{ "connect 0\n", 0 },
		{ "CoNnEcT \t 00052 \r\n", 52 },
		{ "CONNECT 4294967295\n", UINT32_MAX },
		{ "CONNECT 00000000000000000000001\n", 1 }, /* 32 bytes */
	};
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		int fd = vg_host_connect(&f->g);

		say(fd, good[i].line);
		expect_op(f, VIRTIO_VSOCK_OP_REQUEST);
		assert_int_equal(f->p.h.dst_port, good[i].port);
		close(fd);
		expect_op(f, VIRTIO_VSOCK_OP_RST);
	}
	assert_int_equal(counters(f)->bad_requests, 0);
}

static void closes_on_any_other_line(void **state)
{
	static const char *const bad[] = {
		"\n", "CONNECT\n", "CONNECT \n", "CONNECT52\n", "CONNEC 52\n", "CONNECT 52 53\n",
		"CONNECT -1\n", "CONNECT +1\n", "CONNECT 0x10\n", "CONNECT 4294967296\n",
		"CONNECT 99999999999999999999\n", "CONNECT 1a\n", " CONNECT 1\n",
		"GET / HTTP/1.1\r\n",
		"CONNECT 000000000000000000000001\n", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
	};
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = vg_host_connect(&f->g);

		say(fd, bad[i]);
		expect_end(f, fd);
		assert_int_equal(counters(f)->bad_requests, i + 1);
	}
	assert_int_equal(f->g.v->inflight, 0);
	assert_int_equal(counters(f)->rx_packets, 0);
	assert_int_equal(counters(f)->connections_added, 0);
}

static void the_line_may_come_in_pieces(void **state)
{
	struct fixture *f = *state;
	int fd = vg_host_connect(&f->g), gives_up = vg_host_connect(&f->g);

	for (const char *p = "CONNECT 777"; *p; p++) {
		assert_int_equal(write(fd, p, 1), 1);
		drv_poll(&f->g.loop);
	}
	say(gives_up, "CONNECT 7");
	drv_poll(&f->g.loop);
	assert_int_equal(f->g.v->inflight, 2);
	shutdown(gives_up, SHUT_WR);
	expect_end(f, gives_up);
	say(fd, "\nabc");
	shutdown(fd, SHUT_WR); /* it may say at once that this is all */
	expect_op(f, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(f->p.h.dst_port, 777);
	close(fd);
}

static void who_says_nothing_is_closed(void **state)
{
	struct fixture *f = *state;
	uint64_t start = loop_now_ns();
	int silent = vg_host_connect(&f->g), slow = vg_host_connect(&f->g), asks;

	say(slow, "CONN");
	asks = vg_host_connect(&f->g);
	say(asks, "CONNECT 5\n"); /* and the guest does not answer */
	expect_op(f, VIRTIO_VSOCK_OP_REQUEST);
	expect_end(f, silent);
	expect_end(f, slow);
	expect_end(f, asks);
	assert_in_range(loop_now_ns() - start, VSOCK_TIMEOUT_NS, VSOCK_TIMEOUT_NS * 2);
	expect_op(f, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(counters(f)->bad_requests, 2);
	assert_int_equal(counters(f)->connections_refused, 1);
	assert_int_equal(f->g.v->inflight, 0);
}

static void guest_refuses(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(0, 5);
	int fd = vg_host_connect(&f->g);

	say(fd, "CONNECT 5\n");
	expect_op(f, VIRTIO_VSOCK_OP_REQUEST);
	c.host_port = f->p.h.src_port;
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
	expect_end(f, fd);
	assert_int_equal(f->g.v->inflight, 0);
	/* It answers with something else. */
	fd = vg_host_connect(&f->g);
	say(fd, "CONNECT 5\n");
	expect_op(f, VIRTIO_VSOCK_OP_REQUEST);
	c.host_port = f->p.h.src_port;
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RW, 0, "x", 1);
	expect_op(f, VIRTIO_VSOCK_OP_RST);
	expect_end(f, fd);
	assert_int_equal(counters(f)->tx_malformed, 1);
}

static void a_request_nobody_wants_is_withdrawn(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(VSOCK_HOST_PORT, 5);
	int fd;

	drv_reset(&f->g.d);
	vg_start(&f->g, VIRTIO_COMMON_FEATURES, 0, VG_RX_BYTES);
	fd = vg_host_connect(&f->g);
	say(fd, "CONNECT 5\n");
	drv_poll(&f->g.loop);
	/* An answer to what was not asked yet. */
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RESPONSE, 0, NULL, 0);
	assert_int_equal(counters(f)->tx_malformed, 1);
	expect_end(f, fd);
	fd = vg_host_connect(&f->g);
	say(fd, "CONNECT 5\n");
	drv_poll(&f->g.loop);
	assert_int_equal(f->g.v->inflight, 2); /* a RST is owed for the first */
	close(fd);
	drv_poll(&f->g.loop);
	assert_int_equal(f->g.v->inflight, 1);
	vg_post(&f->g, 10);
	expect_op(f, VIRTIO_VSOCK_OP_RST);
	drv_poll(&f->g.loop);
	assert_false(vg_take(&f->g, &f->p));
}

static void host_ports_are_unique(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c[3] = { 0 };
	int fds[3];

	device(f)->next_port = VSOCK_HOST_PORT_LAST;
	fds[0] = vg_answer(&f->g, &c[0], 5);
	fds[1] = vg_answer(&f->g, &c[1], 5);
	device(f)->next_port = VSOCK_HOST_PORT_LAST;
	fds[2] = vg_answer(&f->g, &c[2], 6);
	assert_int_equal(c[0].host_port, VSOCK_HOST_PORT_LAST);
	assert_int_equal(c[1].host_port, VSOCK_HOST_PORT);
	assert_int_equal(c[2].host_port, VSOCK_HOST_PORT + 1);
	for (unsigned i = 0; i < 3; i++)
		close(fds[i]);
}

/* -- limits ---------------------------------------------------------------------------------- */

static void so_many_and_no_more(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(PORT, 1), *conns = f->conns;
	int *fds = f->fds, more;

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < VSOCK_CONNECTIONS; i++) {
			conns[i] = conn(0, 0);
			fds[i] = vg_answer(&f->g, &conns[i], i % 7);
		}
		more = vg_host_connect(&f->g);
		expect_end(f, more);
		vg_send(&f->g, &c, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
		expect_op(f, VIRTIO_VSOCK_OP_RST);
		assert_int_equal(counters(f)->connections_refused, 2 * (round + 1));
		for (unsigned i = 0; i < VSOCK_CONNECTIONS; i++) {
			say(fds[i], "x");
			expect_op(f, VIRTIO_VSOCK_OP_RW);
			assert_int_equal(f->p.h.src_port, conns[i].host_port);
			vg_send(&f->g, &conns[i], VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
			expect_end(f, fds[i]);
		}
		assert_int_equal(f->g.v->inflight, 0);
	}
	assert_int_equal(counters(f)->connections_added, 2 * VSOCK_CONNECTIONS);
	assert_int_equal(counters(f)->connections_ended, 2 * VSOCK_CONNECTIONS);
}

static void waits_for_a_descriptor(void **state)
{
	struct fixture *f = *state;
	int a = vg_host_connect(&f->g), b = vg_host_connect(&f->g), next = dup(a);
	struct rlimit few = { (rlim_t)next, f->files.rlim_max };
	uint64_t rounds = 0, end;

	close(next);
	setrlimit(RLIMIT_NOFILE, &few);
	say(a, "CONNECT 1\n");
	say(b, "CONNECT 2\n");
	for (end = loop_now_ns() + NSEC_PER_SEC / 2; loop_now_ns() < end; rounds++)
		loop_poll(&f->g.loop, 20);
	assert_in_range(counters(f)->accept_errors, 2, 8); /* it did not spin */
	assert_in_range(rounds, 10, 80);
	setrlimit(RLIMIT_NOFILE, &f->files);
	expect_op(f, VIRTIO_VSOCK_OP_REQUEST);
	expect_op(f, VIRTIO_VSOCK_OP_REQUEST);
	close(a);
	close(b);
}

static void waits_for_a_backlog(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c[3];
	int listenfd = vg_host_listen(&f->g, PORT, 0), fds[3];

	/* Room for one. */
	for (unsigned i = 0; i < 3; i++) {
		c[i] = conn(PORT, 1 + i);
		vg_send(&f->g, &c[i], VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
	}
	expect_op(f, VIRTIO_VSOCK_OP_RESPONSE);
	assert_false(vg_take(&f->g, &f->p));
	for (unsigned i = 0; i < 2; i++) {
		fds[i] = accept(listenfd, NULL, NULL);
		assert_true(fds[i] >= 0);
		expect_op(f, VIRTIO_VSOCK_OP_RESPONSE);
	}
	fds[2] = accept(listenfd, NULL, NULL);
	for (unsigned i = 0; i < 3; i++)
		close(fds[i]);
	close(listenfd);
}

static void does_not_wait_for_ever(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c[4];
	int listenfd = vg_host_listen(&f->g, PORT, 0);
	uint64_t start = loop_now_ns();

	for (unsigned i = 0; i < 4; i++) {
		c[i] = conn(PORT, 1 + i);
		vg_send(&f->g, &c[i], VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
	}
	expect_op(f, VIRTIO_VSOCK_OP_RESPONSE);
	vg_send(&f->g, &c[1], VIRTIO_VSOCK_OP_RST, 0, NULL, 0); /* these do not wait */
	vg_send(&f->g, &c[2], VIRTIO_VSOCK_OP_SHUTDOWN, 3, NULL, 0);
	expect_op(f, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(f->p.h.dst_port, 3);
	expect_op(f, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(f->p.h.dst_port, 4);
	assert_in_range(loop_now_ns() - start, VSOCK_TIMEOUT_NS, VSOCK_TIMEOUT_NS * 2);
	assert_int_equal(counters(f)->connections_refused, 1);
	close(listenfd);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(listens_only_where_it_may),
		T(a_path_too_long_for_a_port_is_a_refusal),
		T(understands_the_connect_line),
		T(closes_on_any_other_line),
		T(the_line_may_come_in_pieces),
		T(who_says_nothing_is_closed),
		T(guest_refuses),
		T(a_request_nobody_wants_is_withdrawn),
		T(host_ports_are_unique),
		T(so_many_and_no_more),
		T(waits_for_a_descriptor),
		T(waits_for_a_backlog),
		T(does_not_wait_for_ever),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("vsock-host", tests, NULL, NULL);
}
