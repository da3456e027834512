/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock: queues, packets and life of the device; the other side is a driver by hand. */
#include "test.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev.h"
#include "log.h"
#include "vsock-guest.h"
#include "vsock.h"

#define PORT 52u

struct fixture {
	struct vg g;
	int listenfd;
	struct vg_packet p;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	vg_open(&f->g, VIRTIO_COMMON_FEATURES, 64, VG_RX_BYTES);
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

static struct vg_conn conn(uint32_t host_port, uint32_t guest_port)
{
	return (struct vg_conn){ host_port, guest_port, .alloc = 256 * 1024 };
}

static int call(struct fixture *f, struct vg_conn *c)
{
	int fd;

	vg_call(&f->g, c, f->listenfd, &fd);
	return fd;
}

static void expect_op(struct fixture *f, const struct vg_conn *c, unsigned op)
{
	assert_true(vg_wait(&f->g, &f->p));
	assert_int_equal(f->p.h.op, op);
	assert_int_equal(f->p.h.src_port, c->host_port);
	assert_int_equal(f->p.h.dst_port, c->guest_port);
}

static void expect_silence(struct fixture *f)
{
	drv_poll(&f->g.loop);
	assert_false(vg_take(&f->g, &f->p));
}

static void expect_end(struct fixture *f, int fd)
{
	char byte;
	ssize_t n = vg_host_read(&f->g, fd, &byte, 1);

	assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
	close(fd);
}

static void expect_text(struct fixture *f, int fd, const char *text)
{
	char buf[64] = "";
	bool end;

	assert_int_equal(vg_host_expect(&f->g, fd, buf, strlen(text), &end), strlen(text));
	assert_string_equal(buf, text);
}

static void is_what_the_specification_says(void **state)
{
	struct fixture *f = *state;
	uint8_t cid[8];

	assert_int_equal(drv_get(&f->g.d, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_VSOCK);
	drv_read(&f->g.d, VIRTIO_MMIO_CONFIG, cid, 8);
	assert_int_equal(cid[0], VG_CID);
	for (unsigned i = 1; i < 8; i++)
		assert_int_equal(cid[i], 0);
	assert_int_equal(f->g.v->features, VIRTIO_COMMON_FEATURES);
	assert_int_equal(f->g.v->n_queues, 3);
}

static void host_program_reaches_the_guest(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(0, 1234), d = conn(0, 1234);
	int fd = vg_host_connect(&f->g), other;

	assert_int_equal(write(fd, "CONNECT 1234\nright behind", 25), 25);
	assert_true(vg_wait(&f->g, &f->p));
	assert_int_equal(f->p.h.op, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(f->p.h.type, VIRTIO_VSOCK_TYPE_STREAM);
	assert_int_equal(f->p.h.dst_port, 1234);
	assert_int_equal(f->p.h.src_port, 1u << 30);
	c.host_port = f->p.h.src_port;
	expect_silence(f);
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RESPONSE, 0, NULL, 0);
	expect_text(f, fd, "OK 1073741824\n");
	expect_op(f, &c, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(f->p.h.len, 12);
	assert_memory_equal(f->p.data, "right behind", 12);
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RW, 0, "hello", 5);
	expect_text(f, fd, "hello");
	other = vg_answer(&f->g, &d, 1234);
	assert_int_equal(d.host_port, (1u << 30) + 1);
	assert_int_equal(counters(f)->connections_added, 2);
	assert_int_equal(counters(f)->rx_bytes, 12);
	assert_int_equal(counters(f)->tx_bytes, 5);
	close(fd);
	close(other);
}

static void guest_reaches_a_host_program(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(PORT, 5000);
	int fd = call(f, &c);

	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RW, 0, "ping", 4);
	expect_text(f, fd, "ping");
	assert_int_equal(write(fd, "pong", 4), 4);
	expect_op(f, &c, VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(f->p.data, "pong", 4);
	assert_int_equal(f->p.h.fwd_cnt, 4);
	close(fd);
}

static void nobody_listens(void **state)
{
	struct fixture *f = *state;
	struct vg_conn absent = conn(PORT + 1, 5000), refused = conn(PORT, 5001);

	vg_send(&f->g, &absent, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
	expect_op(f, &absent, VIRTIO_VSOCK_OP_RST);
	close(f->listenfd);
	f->listenfd = -1;
	vg_send(&f->g, &refused, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
	expect_op(f, &refused, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(counters(f)->connections_refused, 2);
	assert_int_equal(f->g.v->inflight, 0);
}

static void strangers_are_reset_and_forgers_ignored(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(PORT, 6000);
	struct virtio_vsock_hdr h;

	for (unsigned op = 0; op <= 9; op++) {
		if (op == VIRTIO_VSOCK_OP_REQUEST || op == VIRTIO_VSOCK_OP_RST)
			continue;
		vg_send(&f->g, &c, (uint16_t)op, 0, NULL, 0);
		expect_op(f, &c, VIRTIO_VSOCK_OP_RST);
		assert_int_equal(f->p.h.type, VIRTIO_VSOCK_TYPE_STREAM);
	}
	assert_int_equal(counters(f)->tx_malformed, 3); /* 0, 8, 9 */
	vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
	expect_silence(f);
	h = vg_header(&c, VIRTIO_VSOCK_OP_REQUEST, 0, 0);
	h.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	vg_send_raw(&f->g, &h, sizeof(h), NULL, 0);
	expect_op(f, &c, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(f->p.h.type, VIRTIO_VSOCK_TYPE_SEQPACKET);
	/* Forged: source, destination, and the halves that a careless check would not see. */
	for (unsigned i = 0; i < 4; i++) {
		h = vg_header(&c, VIRTIO_VSOCK_OP_REQUEST, 0, 0);
		h.src_cid += i & 1 ? 0 : i & 2 ? 1ull << 32 : 1;
		h.dst_cid += i & 1 ? i & 2 ? 1ull << 32 : 1 : 0;
		vg_send_raw(&f->g, &h, sizeof(h), NULL, 0);
		expect_silence(f);
	}
	assert_int_equal(counters(f)->tx_forged, 4);
	assert_int_equal(counters(f)->connections_added, 0);
}

static void senseless_packets_reset_their_connection(void **state)
{
	static const struct {
		uint16_t op;
		uint32_t len, real;
	} cases[] = {
		{ VIRTIO_VSOCK_OP_INVALID, 0, 0 },
		{ VIRTIO_VSOCK_OP_REQUEST, 0, 0 },
		{ VIRTIO_VSOCK_OP_RESPONSE, 0, 0 },
		{ VIRTIO_VSOCK_OP_CREDIT_REQUEST + 1, 0, 0 },
		{ UINT16_MAX, 0, 0 },
		{ VIRTIO_VSOCK_OP_RW, 5, 4 },
		{ VIRTIO_VSOCK_OP_RW, 4, 5 },
		{ VIRTIO_VSOCK_OP_RW, UINT32_MAX, 4 },
		{ VIRTIO_VSOCK_OP_RW, 0, 1 },
		{ VIRTIO_VSOCK_OP_CREDIT_UPDATE, 1, 1 },
		{ VIRTIO_VSOCK_OP_SHUTDOWN, 3, 3 },
	};
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vg_conn c = conn(PORT, 7000 + i);
		int fd = call(f, &c);
		struct virtio_vsock_hdr h = vg_header(&c, cases[i].op, 3, cases[i].len);

		vg_send_raw(&f->g, &h, sizeof(h), "garbage", cases[i].real);
		expect_op(f, &c, VIRTIO_VSOCK_OP_RST);
		expect_end(f, fd);
		assert_int_equal(counters(f)->tx_malformed, i + 1);
		assert_int_equal(counters(f)->connections_reset, i + 1);
	}
	assert_int_equal(f->g.v->inflight, 0);
}

static void truncated_headers_are_counted(void **state)
{
	struct fixture *f = *state;
	uint8_t zero[43] = { 0 };
	struct vg_conn c = conn(PORT, 5000);

	for (unsigned len = 0; len < 44; len += 43)
		vg_send_raw(&f->g, zero, len, NULL, 0);
	expect_silence(f);
	assert_int_equal(counters(f)->tx_malformed, 2);
	assert_int_equal(drv_status(&f->g.d), 0xf);
	close(call(f, &c));
}

static void bad_rx_buffers_fail_the_device(void **state)
{
	static const struct drv_buf bad[] = {
		{ 0x800000, 44, true }, { 0x800000, 4096, false }, { 1ull << 40, 4096, true }
	};
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vg_conn c = conn(PORT, 5000);
		int fd;

		drv_reset(&f->g.d);
		vg_start(&f->g, VIRTIO_COMMON_FEATURES, 1, VG_RX_BYTES);
		f->g.repost = false;
		fd = call(f, &c);
		drv_add(&f->g.d, 0, &bad[i], 1);
		assert_int_equal(write(fd, "x", 1), 1);
		drv_poll(&f->g.loop);
		assert_int_equal(drv_status(&f->g.d), 0x4f);
		expect_end(f, fd);
		assert_int_equal(f->g.v->inflight, 0);
	}
	assert_int_equal(f->g.v->counters.failures, ARRAY_SIZE(bad));
}

static void packets_wait_for_rx_buffers(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c[20];
	int fds[20];

	drv_reset(&f->g.d);
	vg_start(&f->g, 0, 0, VG_RX_BYTES);
	for (unsigned i = 0; i < 20; i++) {
		c[i] = conn(PORT, 5000 + i);
		vg_send(&f->g, &c[i], VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
		fds[i] = accept(f->listenfd, NULL, NULL);
		assert_int_equal(write(fds[i], "data", 4), 4);
	}
	expect_silence(f);
	f->g.repost = false;
	vg_post(&f->g, 7);
	for (unsigned i = 0; i < 7; i++)
		expect_op(f, &c[i], VIRTIO_VSOCK_OP_RESPONSE);
	expect_silence(f);
	vg_post(&f->g, 33);
	for (unsigned i = 7; i < 20; i++)
		expect_op(f, &c[i], VIRTIO_VSOCK_OP_RESPONSE);
	for (unsigned i = 0; i < 20; i++) {
		assert_true(vg_wait(&f->g, &f->p));
		assert_int_equal(f->p.h.op, VIRTIO_VSOCK_OP_RW);
		assert_int_equal(f->p.h.len, 4);
	}
	expect_silence(f);
	for (unsigned i = 0; i < 20; i++)
		close(fds[i]);
}

static void resets_of_strangers_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c;

	drv_reset(&f->g.d);
	vg_start(&f->g, VIRTIO_COMMON_FEATURES, 0, VG_RX_BYTES);
	for (unsigned i = 0; i < 200; i++) {
		c = conn(PORT, i);
		vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RW, 0, "x", 1);
	}
	assert_int_equal(counters(f)->rx_resets_lost, 72);
	vg_post(&f->g, 64);
	for (unsigned i = 0; i < 128; i++) {
		c = conn(PORT, i);
		expect_op(f, &c, VIRTIO_VSOCK_OP_RST);
	}
	expect_silence(f);
}

static void *run_until_reset(void *arg)
{
	struct fixture *f = arg;

	while (drv_status(&f->g.d) != 0)
		loop_poll(&f->g.loop, 10);
	return NULL;
}

static void driver_reset_closes_all(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(PORT, 5000), d = conn(0, 1);
	int a = call(f, &c), b = vg_answer(&f->g, &d, 1), early, greeting = vg_host_connect(&f->g);
	uint64_t ended = counters(f)->connections_ended;

	pthread_t loop;

	drv_poll(&f->g.loop);
	assert_int_equal(f->g.v->inflight, 3);
	/* The reset comes on another thread than the loop's, and waits for that. */
	assert_int_equal(pthread_create(&loop, NULL, run_until_reset, f), 0);
	drv_reset(&f->g.d);
	assert_int_equal(f->g.v->inflight, 0);
	pthread_join(loop, NULL);
	expect_end(f, a);
	expect_end(f, b);
	expect_end(f, greeting);
	assert_int_equal(counters(f)->connections_ended, ended + 2);
	/* Who comes while there is no driver waits for it. */
	early = vg_host_connect(&f->g);
	assert_int_equal(write(early, "CONNECT 9\n", 10), 10);
	drv_poll(&f->g.loop);
	vg_start(&f->g, VIRTIO_COMMON_FEATURES, 64, VG_RX_BYTES);
	assert_true(vg_wait(&f->g, &f->p));
	assert_int_equal(f->p.h.op, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(f->p.h.dst_port, 9);
	close(early);
}

static void failed_by_the_driver_drops_all(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(PORT, 5000);
	int fd = call(f, &c);

	drv_set(&f->g.d, VIRTIO_MMIO_STATUS, 0x8f);
	assert_int_equal(write(fd, "x", 1), 1);
	expect_end(f, fd);
	assert_int_equal(f->g.v->inflight, 0);
}

static void transport_reset_tells_the_guest(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(PORT, 5000);
	struct drv_buf b = { drv_alloc(&f->g.d, 4096), 4, true };
	uint32_t id, len;
	int fd = call(f, &c);

	drv_put8(&f->g.d, b.gpa, 0xff);
	vsock_transport_reset(f->g.v);
	expect_end(f, fd);
	expect_silence(f);
	drv_add(&f->g.d, 2, &b, 1);
	drv_kick(&f->g.d, 2);
	assert_true(drv_wait(&f->g.d, &f->g.loop, 2, &id, &len));
	assert_int_equal(len, 4);
	assert_int_equal(drv_get8(&f->g.d, b.gpa), VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	close(call(f, &c));
}

static void guests_without_features_are_served(void **state)
{
	struct fixture *f = *state;
	struct vg_conn c = conn(PORT, 5000);
	int fd;

	drv_reset(&f->g.d);
	vg_start(&f->g, 0, 1, VG_RX_BYTES);
	fd = call(f, &c);
	for (unsigned i = 0; i < 300; i++) {
		assert_int_equal(write(fd, "0123456789", 10), 10);
		expect_op(f, &c, VIRTIO_VSOCK_OP_RW);
		assert_int_equal(f->p.h.len, 10);
		vg_send(&f->g, &c, VIRTIO_VSOCK_OP_RW, 0, "abc", 3);
		expect_text(f, fd, "abc");
	}
	close(fd);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(is_what_the_specification_says),
		T(host_program_reaches_the_guest),
		T(guest_reaches_a_host_program),
		T(nobody_listens),
		T(strangers_are_reset_and_forgers_ignored),
		T(senseless_packets_reset_their_connection),
		T(truncated_headers_are_counted),
		T(bad_rx_buffers_fail_the_device),
		T(packets_wait_for_rx_buffers),
		T(resets_of_strangers_are_bounded),
		T(driver_reset_closes_all),
		T(failed_by_the_driver_drops_all),
		T(transport_reset_tells_the_guest),
		T(guests_without_features_are_served),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("vsock", tests, NULL, NULL);
}
