/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock: what happens to one connection: data, credit, ends. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "vsock-guest.h"
#include "vsock-mux.h"

#define PORT 52u
#define RCV  VIRTIO_VSOCK_SHUTDOWN_RCV
#define SEND VIRTIO_VSOCK_SHUTDOWN_SEND

struct fixture {
	struct vg g;
	int listenfd;
	struct vg_packet p;
	uint8_t data[VG_DATA_MAX], back[VG_DATA_MAX];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	vg_open(&f->g, VIRTIO_COMMON_FEATURES, 128, VG_RX_BYTES);
	f->listenfd = vg_host_listen(&f->g, PORT, 128);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->listenfd);
	vg_close(&f->g);
	free(f);
	return 0;
}

static const struct vsock_counters *counters(struct fixture *f)
{
	return vsock_counters(f->g.v);
}

static struct vg_conn conn(uint32_t guest_port, uint32_t alloc)
{
	return (struct vg_conn){ PORT, guest_port, .alloc = alloc };
}

static int call(struct fixture *f, struct vg_conn *c)
{
	int fd;

	vg_call(&f->g, c, f->listenfd, &fd);
	return fd;
}

/* The device's own view of it. */
static struct vsock_conn *inner(struct fixture *f, const struct vg_conn *c)
{
	return vsock_mux_find(
		container_of(f->g.v, struct vsock, v), c->host_port, c->guest_port);
}

static void expect_op(struct fixture *f, unsigned op, unsigned flags)
{
	assert_true(vg_wait(&f->g, &f->p));
	assert_int_equal(f->p.h.op, op);
	assert_int_equal(f->p.h.flags, flags);
}

static void expect_silence(struct fixture *f)
{
	drv_poll(&f->g.loop);
	assert_false(vg_take(&f->g, &f->p));
}

static void expect_end(struct fixture *f, int fd)
{
	ssize_t n = vg_host_read(&f->g, fd, f->back, 1);

	assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
}

static void shut(struct fixture *f, struct vg_conn *c, unsigned flags)
{
	vg_send(&f->g, c, VIRTIO_VSOCK_OP_SHUTDOWN, flags, NULL, 0);
}

/* Waits until a connection has nothing in flight any more. */
static bool wait_ended(struct fixture *f)
{
	uint64_t end = loop_now_ns() + 10 * NSEC_PER_SEC;

	while (f->g.v->inflight > 0 && loop_now_ns() < end)
		loop_poll(&f->g.loop, 20);
	return f->g.v->inflight == 0;
}

/* -- whole streams --------------------------------------------------------------------------- */

/* What byte `at` of every stream is. */
static uint8_t pattern(uint32_t at)
{
	return (uint8_t)(at * 2654435761u >> 13);
}

static void fill(uint8_t *buf, uint32_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = pattern(at + (uint32_t)i);
}

static void check(const uint8_t *buf, uint32_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (buf[i] != pattern(at + (uint32_t)i))
			fail_msg("byte %u of the stream is wrong", at + (uint32_t)i);
}

struct stream {
	struct vg_conn c;
	int fd;
	uint32_t base_sent, base_got; /* the guest's counters at the start */
	uint32_t told;		      /* c.fwd as the device knows it */
	uint32_t host_sent, host_got;
	bool update;
};

static void open_stream(struct fixture *f, struct stream *s, uint32_t guest_port, uint32_t alloc)
{
	*s = (struct stream){ .c = conn(guest_port, alloc) };
	s->fd = call(f, &s->c);
}

static void guest_sends(struct fixture *f, struct stream *s, uint16_t op, uint32_t len)
{
	fill(f->data, s->c.sent - s->base_sent, len);
	vg_send(&f->g, &s->c, op, 0, f->data, len);
	s->told = s->c.fwd;
	s->update = false;
}

/* The guest takes what has come, and grants new credit for it. */
static void guest_reads(struct fixture *f, struct stream *streams, unsigned n)
{
	while (vg_take(&f->g, &f->p)) {
		struct stream *s = &streams[f->p.h.dst_port - streams[0].c.guest_port];

		assert_true(f->p.h.op != VIRTIO_VSOCK_OP_RST);
		check(f->p.data, s->c.got - s->base_got, f->p.h.len);
		vg_account(&s->c, &f->p);
		assert_true(s->c.got - s->told <= s->c.alloc);
		s->c.fwd = s->c.got;
		s->update |= f->p.h.len > 0 || f->p.h.op == VIRTIO_VSOCK_OP_CREDIT_REQUEST;
	}
	for (unsigned i = 0; i < n; i++)
		if (streams[i].update)
			guest_sends(f, &streams[i], VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
}

/* Both sides of a stream go on as far as they can, to `total` bytes each way; true: done. */
static bool step(struct fixture *f, struct stream *s, uint32_t total)
{
	uint32_t left = total - s->host_sent, sent = s->c.sent - s->base_sent;
	ssize_t n;

	if (left > 0) {
		fill(f->data, s->host_sent, MIN(left, 30000u));
		n = write(s->fd, f->data, MIN(left, 30000u));
		s->host_sent += n > 0 ? (uint32_t)n : 0;
	}
	while ((n = read(s->fd, f->back, 20000)) > 0) {
		check(f->back, s->host_got, (size_t)n);
		s->host_got += (uint32_t)n;
	}
	left = MIN(total - sent, vg_credit(&s->c));
	if (left > 0)
		guest_sends(f, s, VIRTIO_VSOCK_OP_RW, left);
	drv_poll(&f->g.loop);
	return s->host_got == total && s->c.got - s->base_got == total;
}

static void run_streams(struct fixture *f, struct stream *streams, unsigned n, uint32_t total)
{
	uint64_t end = loop_now_ns() + 60 * NSEC_PER_SEC;
	unsigned done = 0;

	while (done < n) {
		assert_true(loop_now_ns() < end);
		done = 0;
		for (unsigned i = 0; i < n; i++)
			done += step(f, &streams[i], total);
		guest_reads(f, streams, n);
	}
	for (unsigned i = 0; i < n; i++)
		close(streams[i].fd);
}

static void streams_are_exact_under_tiny_credit(void **state)
{
	struct fixture *f = *state;
	struct stream s;

	open_stream(f, &s, 5000, 333);
	run_streams(f, &s, 1, MIB);
	assert_int_equal(counters(f)->rx_bytes, MIB);
	assert_int_equal(counters(f)->tx_bytes, MIB);
	assert_int_equal(counters(f)->tx_over_credit, 0);
}

static void buffers_of_any_size_hold_the_stream(void **state)
{
	static const uint32_t sizes[] = { 45, 46, 100, 4095, 65536 + 44, 100000 };
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct stream s;

		drv_reset(&f->g.d);
		vg_start(&f->g, i & 1 ? VIRTIO_COMMON_FEATURES : 0, i & 2 ? 3 : 100, sizes[i]);
		open_stream(f, &s, 5000, 256 * 1024);
		run_streams(f, &s, 1, sizes[i] < 200 ? 20000 : MIB);
		vg_send(&f->g, &s.c, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
		assert_int_equal(f->g.v->inflight, 0);
	}
}

static void a_hundred_at_once_share_fairly(void **state)
{
	struct fixture *f = *state;
	struct stream s[100];
	uint32_t total = 2 * VG_DATA_MAX, least = 0, most = 0;
	int size = (int)total;

	for (unsigned i = 0; i < 100; i++)
		open_stream(f, &s[i], 5000 + i, total);
	/* All have something before there are buffers, and then there are few. */
	f->g.repost = false;
	while (vg_take(&f->g, &f->p))
		;
	for (unsigned i = 0; i < 100; i++) {
		setsockopt(s[i].fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		while (s[i].host_sent < total) {
			fill(f->data, s[i].host_sent, 65536);
			assert_int_equal(write(s[i].fd, f->data, 65536), 65536);
			s[i].host_sent += 65536;
		}
		drv_poll(&f->g.loop);
	}
	guest_reads(f, s, 100);
	f->g.repost = true;
	vg_post(&f->g, 40);
	while (least < total) {
		drv_poll(&f->g.loop);
		guest_reads(f, s, 100);
		least = UINT32_MAX;
		for (unsigned i = 0; i < 100; i++) {
			least = MIN(least, s[i].c.got);
			most = MAX(most, s[i].c.got);
		}
		if (most < total)
			assert_true(most - least <= 2 * 65536);
	}
	run_streams(f, s, 100, total);
	assert_int_equal(counters(f)->connections_added, 100);
}

static void counters_wrap(void **state)
{
	struct fixture *f = *state;
	struct vsock_conn *c;
	struct stream s;

	open_stream(f, &s, 5000, 256 * 1024);
	c = inner(f, &s.c);
	/* As after 4 GiB less a bit, each way. */
	c->sent = s.c.got = s.c.fwd = s.told = s.base_got = c->peer_fwd = 0u - 300000;
	c->received = c->forwarded = c->told = 0u - 500001;
	s.c.sent = s.c.peer_fwd = s.base_sent = 0u - 500001;
	run_streams(f, &s, 1, MIB);
	assert_true(s.c.sent < MIB && s.c.got < MIB);
	assert_int_equal(counters(f)->tx_over_credit, 0);
}

/* -- credit ---------------------------------------------------------------------------------- */

/* Fills the host's socket and our buffer. */
static void stall(struct fixture *f, struct stream *s)
{
	do {
		guest_reads(f, s, 1);
		if (vg_credit(&s->c) > 0)
			guest_sends(f, s, VIRTIO_VSOCK_OP_RW, MIN(vg_credit(&s->c), 10000u));
		drv_poll(&f->g.loop);
		guest_reads(f, s, 1);
	} while (vg_credit(&s->c) > 0);
}

static uint32_t buffered(struct fixture *f, const struct stream *s)
{
	return inner(f, &s->c)->received - inner(f, &s->c)->forwarded;
}

static void read_all(struct fixture *f, struct stream *s)
{
	uint32_t total = s->c.sent - s->base_sent;
	bool end;

	while (s->host_got < total) {
		size_t n = vg_host_expect(&f->g, s->fd, f->back, MIN(total - s->host_got, 9999u),
			&end);

		assert_true(n > 0);
		check(f->back, s->host_got, n);
		s->host_got += (uint32_t)n;
	}
}

static void stalled_reader_costs_one_buffer(void **state)
{
	struct fixture *f = *state;
	struct stream s;

	open_stream(f, &s, 5000, 4096);
	for (unsigned round = 0; round < 3; round++) {
		stall(f, &s);
		assert_true(buffered(f, &s) > VSOCK_BUFFER_BYTES - VSOCK_BUFFER_BYTES / 4);
		assert_true(buffered(f, &s) <= VSOCK_BUFFER_BYTES);
		expect_silence(f);
		read_all(f, &s);
		assert_int_equal(buffered(f, &s), 0);
		expect_op(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
		vg_account(&s.c, &f->p);
	}
	close(s.fd);
}

static void too_much_is_a_reset(void **state)
{
	struct fixture *f = *state;
	struct stream s;

	open_stream(f, &s, 5000, 4096);
	stall(f, &s);
	vg_send(&f->g, &s.c, VIRTIO_VSOCK_OP_RW, 0, f->data, VSOCK_BUFFER_BYTES + 1);
	expect_op(f, VIRTIO_VSOCK_OP_RST, 0);
	assert_int_equal(counters(f)->tx_over_credit, 1);
	assert_int_equal(counters(f)->connections_reset, 1);
	assert_int_equal(f->g.v->inflight, 0);
	close(s.fd);
}

static void credit_is_told_and_asked_for(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(5000, 10);
	int fd = call(f, &c);

	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0, NULL, 0);
	expect_op(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	/* A quarter. */
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RW, 0, f->data, VSOCK_BUFFER_BYTES / 4 - 1);
	expect_silence(f);
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RW, 0, f->data, 1);
	expect_op(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	assert_int_equal(f->p.h.fwd_cnt, VSOCK_BUFFER_BYTES / 4);
	/* The other way: ten bytes, then it asks once. */
	assert_int_equal(write(fd, "0123456789abcdef", 16), 16);
	expect_op(f, VIRTIO_VSOCK_OP_RW, 0);
	assert_int_equal(f->p.h.len, 10);
	expect_op(f, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
	expect_silence(f);
	/* Numbers that make no sense are no credit. */
	c.fwd = 11;
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
	expect_silence(f);
	c.fwd = 4;
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
	expect_op(f, VIRTIO_VSOCK_OP_RW, 0);
	assert_int_equal(f->p.h.len, 4);
	assert_memory_equal(f->p.data, "abcd", 4);
	/* Credit that is taken back while data waits stops it, and nobody else. */
	c.alloc = 0;
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RW, 0, NULL, 0);
	expect_op(f, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
	expect_silence(f);
	close(fd);
}

/* -- ends ------------------------------------------------------------------------------------ */

static void host_shuts_down_writing(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(5000, 4096);
	int fd = call(f, &c);

	assert_int_equal(write(fd, "last", 4), 4);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	expect_op(f, VIRTIO_VSOCK_OP_RW, 0);
	assert_int_equal(f->p.h.len, 4);
	expect_op(f, VIRTIO_VSOCK_OP_SHUTDOWN, SEND);
	expect_silence(f);
	for (unsigned i = 0; i < 3; i++) { /* the other direction goes on */
		vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RW, 0, "more", 4);
		assert_int_equal(vg_host_read(&f->g, fd, f->back, 10), 4);
	}
	shut(f, &c, SEND);
	expect_end(f, fd);
	/* Both directions are over, though nobody has closed. */
	expect_op(f, VIRTIO_VSOCK_OP_SHUTDOWN, RCV | SEND);
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
	assert_int_equal(f->g.v->inflight, 0);
	close(fd);
}

static void host_shuts_down_reading(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(5000, 4096);
	int fd = call(f, &c);

	assert_int_equal(shutdown(fd, SHUT_RD), 0);
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RW, 0, "lost", 4);
	expect_op(f, VIRTIO_VSOCK_OP_SHUTDOWN, RCV);
	for (unsigned i = 0; i < 3; i++)
		vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RW, 0, f->data, 60000);
	assert_int_equal(write(fd, "still", 5), 5);
	expect_op(f, VIRTIO_VSOCK_OP_RW, 0);
	assert_int_equal(f->p.h.len, 5);
	close(fd);
	expect_op(f, VIRTIO_VSOCK_OP_SHUTDOWN, RCV | SEND);
}

static void guest_shuts_down_sending(void **state)
{
	struct fixture *f = *state;
	struct stream s;

	open_stream(f, &s, 5000, 4096);
	stall(f, &s);
	shut(f, &s.c, SEND); /* behind what is buffered */
	read_all(f, &s);
	expect_end(f, s.fd);
	assert_int_equal(write(s.fd, "answer", 6), 6);
	while (vg_wait(&f->g, &f->p) && f->p.h.op != VIRTIO_VSOCK_OP_RW)
		;
	assert_int_equal(f->p.h.len, 6);
	/* More data would be against its word. */
	vg_send(&f->g, &s.c, VIRTIO_VSOCK_OP_RW, 0, "x", 1);
	expect_op(f, VIRTIO_VSOCK_OP_RST, 0);
	assert_int_equal(counters(f)->tx_malformed, 1);
	close(s.fd);
}

static void guest_shuts_down_receiving(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(5000, 0);
	int fd = call(f, &c);

	assert_int_equal(write(fd, "unwanted", 8), 8);
	expect_op(f, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
	shut(f, &c, RCV);
	expect_op(f, VIRTIO_VSOCK_OP_SHUTDOWN, SEND);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RW, 0, "yet", 3);
	assert_int_equal(vg_host_read(&f->g, fd, f->back, 10), 3);
	close(fd);
	expect_op(f, VIRTIO_VSOCK_OP_SHUTDOWN, RCV | SEND);
}

static void guest_closes_what_is_buffered(void **state)
{
	struct fixture *f = *state;
	struct stream s;

	open_stream(f, &s, 5000, 4096);
	stall(f, &s);
	shut(f, &s.c, RCV | SEND);
	while (vg_take(&f->g, &f->p))
		assert_true(f->p.h.op != VIRTIO_VSOCK_OP_RST);
	read_all(f, &s);
	expect_end(f, s.fd);
	do
		assert_true(vg_wait(&f->g, &f->p));
	while (f->p.h.op != VIRTIO_VSOCK_OP_RST);
	assert_int_equal(f->g.v->inflight, 0);
	assert_int_equal(counters(f)->connections_reset, 0);
	close(s.fd);
}

static void guest_that_does_not_wait_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct vg_conn again = conn(5000, 4096);
	struct stream s;

	open_stream(f, &s, 5000, 4096);
	stall(f, &s);
	shut(f, &s.c, RCV | SEND);
	vg_send(&f->g, &s.c, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
	assert_int_equal(f->g.v->inflight, 1);
	while (vg_take(&f->g, &f->p))
		;
	close(call(f, &again)); /* the ports are free */
	read_all(f, &s);
	expect_end(f, s.fd);
	close(s.fd);
	expect_op(f, VIRTIO_VSOCK_OP_SHUTDOWN, RCV | SEND);
	vg_send(&f->g, &again, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
	assert_true(wait_ended(f));
}

static void guest_reset_closes_at_once(void **state)
{
	struct fixture *f = *state;
	struct stream s;

	open_stream(f, &s, 5000, 4096);
	stall(f, &s);
	vg_send(&f->g, &s.c, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
	assert_int_equal(f->g.v->inflight, 0);
	while (read(s.fd, f->back, sizeof(f->back)) > 0)
		;
	expect_end(f, s.fd);
	expect_silence(f);
	close(s.fd);
}

static void host_is_killed(void **state)
{
	struct fixture *f = *state;
	struct stream s;
	uint64_t start;

	open_stream(f, &s, 5000, 4096);
	stall(f, &s);
	assert_int_equal(write(s.fd, "before", 6), 6);
	start = loop_now_ns();
	close(s.fd); /* with data unread on both sides: nothing of ours may be lost */
	do
		assert_true(vg_wait(&f->g, &f->p));
	while (f->p.h.op != VIRTIO_VSOCK_OP_RW);
	assert_int_equal(f->p.h.len, 6);
	do
		assert_true(vg_wait(&f->g, &f->p));
	while (f->p.h.op != VIRTIO_VSOCK_OP_SHUTDOWN || f->p.h.flags != (RCV | SEND));
	assert_true(loop_now_ns() - start < NSEC_PER_SEC);
	/* What was on its way is swallowed. */
	vg_send(&f->g, &s.c, VIRTIO_VSOCK_OP_RW, 0, f->data, 60000);
	assert_int_equal(buffered(f, &s), 0);
	/* It does not answer. */
	expect_op(f, VIRTIO_VSOCK_OP_RST, 0);
	assert_in_range(loop_now_ns() - start, VSOCK_TIMEOUT_NS, VSOCK_TIMEOUT_NS * 2);
	assert_int_equal(f->g.v->inflight, 0);
}

static void end_is_seen_without_credit(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(5000, 4), d = conn(5001, 0);
	int a = call(f, &c), b = call(f, &d);

	assert_int_equal(write(a, "four", 4), 4);
	expect_op(f, VIRTIO_VSOCK_OP_RW, 0);
	shutdown(a, SHUT_WR);
	shutdown(b, SHUT_WR);
	expect_op(f, VIRTIO_VSOCK_OP_SHUTDOWN, SEND);
	expect_op(f, VIRTIO_VSOCK_OP_SHUTDOWN, SEND);
	close(a);
	close(b);
}

static void host_is_killed_while_the_guest_stalls(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(5000, 4);
	int fd = call(f, &c);

	assert_int_equal(write(fd, "fourfour", 8), 8);
	expect_op(f, VIRTIO_VSOCK_OP_RW, 0);
	expect_op(f, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
	close(fd);
	expect_op(f, VIRTIO_VSOCK_OP_SHUTDOWN, RCV); /* it need not send any more */
	expect_silence(f);
	c.fwd = 4;
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
	expect_op(f, VIRTIO_VSOCK_OP_RW, 0);
	assert_memory_equal(f->p.data, "four", 4);
	expect_op(f, VIRTIO_VSOCK_OP_SHUTDOWN, RCV | SEND);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(streams_are_exact_under_tiny_credit),
		T(buffers_of_any_size_hold_the_stream),
		T(a_hundred_at_once_share_fairly),
		T(counters_wrap),
		T(stalled_reader_costs_one_buffer),
		T(too_much_is_a_reset),
		T(credit_is_told_and_asked_for),
		T(host_shuts_down_writing),
		T(host_shuts_down_reading),
		T(guest_shuts_down_sending),
		T(guest_shuts_down_receiving),
		T(guest_closes_what_is_buffered),
		T(guest_that_does_not_wait_loses_nothing),
		T(guest_reset_closes_at_once),
		T(host_is_killed),
		T(end_is_seen_without_credit),
		T(host_is_killed_while_the_guest_stalls),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("vsock-conn", tests, NULL, NULL);
}
