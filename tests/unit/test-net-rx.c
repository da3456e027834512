/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net, to the guest: buffers, headers, waiting for the guest, the rate limit; see nic.h. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "nic.h"
#include "num.h"

#define APART 64 /* bytes from segment to segment */
#define GSO   (NIC_F(GUEST_CSUM) | NIC_F(GUEST_TSO4))
#define NEEDS VIRTIO_NET_HDR_F_NEEDS_CSUM
#define VALID VIRTIO_NET_HDR_F_DATA_VALID

static uint8_t frame[NETIF_FRAME_MAX + 1], back[NET_PACKET_MAX + 1];

static struct nic *start(struct net_params params, uint64_t features, uint16_t size)
{
	struct nic *f = calloc(1, sizeof(*f));

	nic_make(f, params, sock_netif_create("tap", 1, NIC_ALL_OFFLOADS));
	assert_int_equal(drv_start(&f->d, features, 3, size), 0xf);
	drv_poll(&f->loop);
	return f;
}

static void stop(struct nic *f)
{
	nic_done(f);
	free(f);
}

static int setup(void **state)
{
	*state = start((struct net_params){ 0 }, ~0ull, 256);
	return 0;
}

static int setup_plain(void **state)
{
	*state = start((struct net_params){ 0 }, 0, 256);
	return 0;
}

static int setup_big(void **state) /* no merging, but offloads: buffers of 64 KiB */
{
	*state = start((struct net_params){ 0 }, VIRTIO_COMMON_FEATURES | GSO, 256);
	return 0;
}

static int setup_mtu(void **state)
{
	*state = start((struct net_params){ .mtu = 1500 }, NIC_F(MRG_RXBUF) | NIC_F(MTU), 256);
	return 0;
}

static int teardown(void **state)
{
	stop(*state);
	return 0;
}

static unsigned prepared(const struct nic *f)
{
	return virtq_in_flight(&f->v->queues[0]);
}

static void run(struct nic *f)
{
	drv_kick(&f->d, 0);
	drv_poll(&f->loop);
}

static void put(struct nic *f, size_t bytes, unsigned seed)
{
	nic_fill(frame, bytes, seed);
	nic_put(f, 0, NULL, frame, bytes);
	drv_poll(&f->loop);
}

/*
 * The next packet, out of the buffers that the used ring names, each `size` bytes from NIC_RX on in
 * the order of their heads. Bytes, or 0; it is in `back`. The buffers are posted again if wanted.
 */
static size_t get(struct nic *f, uint32_t size, bool repost)
{
	size_t bytes = 0;
	uint32_t id, len;
	unsigned n = 1;

	for (unsigned i = 0; i < n; i++) {
		if (!drv_used(&f->d, 0, &id, &len)) {
			assert_int_equal(i, 0); /* all buffers of a frame are there, or none */
			return 0;
		}
		assert_true(len > 0 && len <= size && bytes + len <= sizeof(back));
		assert_int_equal(gmem_read(&f->mem, GPA(NIC_RX + (uint64_t)id * size), back + bytes,
					 len), 0);
		if (i == 0)
			n = num_get_le16(back + NET_HDR_BUFFERS);
		assert_true(i + 1 == n || len == size); /* all but the last are full */
		bytes += len;
		if (repost) {
			f->d.q[0].next_desc = (uint16_t)id;
			nic_post(f, 0, NIC_RX + (uint64_t)id * size, size);
		}
	}
	return bytes;
}

static void assert_packet(struct nic *f, uint32_t size, bool repost, size_t bytes, unsigned seed)
{
	static const uint8_t zero[NET_HDR_BUFFERS];

	assert_int_equal(get(f, size, repost), NETIF_HEADER_BYTES + bytes);
	nic_fill(frame, bytes, seed);
	assert_memory_equal(back, zero, sizeof(zero));
	assert_memory_equal(back + NETIF_HEADER_BYTES, frame, bytes);
}

static const size_t lengths[] = { 14, 15, 60, 1012, 1013, 1514, 1518, 2036, 2037, 9014, 65549,
	NETIF_FRAME_MAX };

static void frames_of_all_lengths_are_merged(void **state)
{
	static const uint32_t sizes[] = { 512, 1024, 1536, 4096 };

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct nic *f = start((struct net_params){ 0 }, ~0ull, 256);
		uint64_t sum = 0;

		nic_post_many(f, 0, 256, sizes[s]);
		run(f);
		for (size_t i = 0; i < 4 * ARRAY_SIZE(lengths); i++) {
			put(f, lengths[i % ARRAY_SIZE(lengths)], i);
			assert_packet(f, sizes[s], true, lengths[i % ARRAY_SIZE(lengths)], i);
			sum += lengths[i % ARRAY_SIZE(lengths)];
		}
		assert_int_equal(f->c->rx_packets, 4 * ARRAY_SIZE(lengths));
		assert_int_equal(f->c->rx_bytes, sum);
		assert_int_equal(nic_drops(f), 0);
		stop(f);
	}
}

static void without_merging_each_frame_has_a_buffer(void **state)
{
	struct nic *f = *state;

	nic_post_many(f, 0, 16, NET_PACKET_MAX);
	run(f);
	assert_int_equal(prepared(f), 1);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		put(f, lengths[i], i);
		assert_packet(f, NET_PACKET_MAX, true, lengths[i], i);
	}
	assert_int_equal(f->c->rx_packets, ARRAY_SIZE(lengths));
	assert_int_equal(nic_drops(f), 0);
}

/* The first bytes of a chain whose segments are APART, into `back`; the rest must be untouched. */
static void gather(struct nic *f, const struct drv_buf *bufs, unsigned n, size_t bytes)
{
	uint8_t *to = back;

	for (unsigned i = 0; i < n; i++) {
		size_t part = MIN(bufs[i].len, bytes);

		assert_int_equal(gmem_read(&f->mem, GPA(bufs[i].gpa), to, part), 0);
		for (size_t k = part; i + 1 < n && k < APART; k++)
			assert_int_equal(drv_get8(&f->d, bufs[i].gpa + k), 0xee);
		to += part;
		bytes -= part;
	}
	assert_int_equal(bytes, 0);
}

/* The header, and num_buffers in it, over several segments and several buffers. */
static void any_layout_of_descriptors_takes_the_same_frame(void **state)
{
	struct nic *f = *state;
	struct drv_buf bufs[16];
	uint32_t id, len;

	for (unsigned first = 1; first < 16; first++)
		for (unsigned indirect = 0; indirect < 2; indirect++) {
			unsigned n = 0;

			for (unsigned part = first; n < 12; part = first % 5 + n, n++)
				bufs[n] = (struct drv_buf){ NIC_RX + APART * n, part, true };
			bufs[n] = (struct drv_buf){ NIC_RX + APART * n, NET_PACKET_MAX, true };
			n++;
			assert_int_equal(gmem_fill(&f->mem, GPA(NIC_RX), 0xee, 4096), 0);
			if (indirect)
				drv_add_indirect(&f->d, 0, bufs, n);
			else
				drv_add(&f->d, 0, bufs, n);
			f->d.heap -= indirect ? 4096 : 0;
			run(f);
			put(f, 300, first);
			assert_true(drv_used(&f->d, 0, &id, &len) && len == 312);
			gather(f, bufs, n, 312);
			assert_memory_equal(back + 12, frame, 300);
			assert_int_equal(num_get_le16(back + NET_HDR_BUFFERS), 1);
		}
	assert_int_equal(nic_drops(f), 0);
}

static void headers_over_several_buffers(void **state)
{
	struct nic *f = *state;

	/* 12 bytes each: the header fills the first, and is followed by 22 more. */
	nic_post_many(f, 0, 256, 12);
	run(f);
	put(f, 250, 1);
	assert_packet(f, 12, true, 250, 1);
	assert_int_equal(num_get_le16(back + NET_HDR_BUFFERS), 22);
}

static void bad_buffers_fail_the_device(void **state)
{
	struct {
		struct nic *f;
		struct drv_buf bufs[2];
	} cases[] = {
		{ start((struct net_params){ 0 }, ~0ull, 256), { { NIC_RX, 11, true } } },
		{ start((struct net_params){ 0 }, ~0ull, 256),
			{ { NIC_RX, 100, false }, { NIC_RX, 2000, true } } },
		{ start((struct net_params){ 0 }, 0, 256), { { NIC_RX, 1525, true } } },
		{ start((struct net_params){ 0 }, GSO, 256),
			{ { NIC_RX, NET_PACKET_MAX - 1, true } } },
		{ start((struct net_params){ 0 }, 0, 256), { { NIC_RX, 1526, false } } },
		{ start((struct net_params){ .mtu = 600 }, 0, 256), { { NIC_RX, 625, true } } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nic *f = cases[i].f;

		drv_add(&f->d, 0, cases[i].bufs, cases[i].bufs[1].len ? 2 : 1);
		run(f);
		assert_int_equal(drv_status(&f->d), 0x4f);
		put(f, 100, 1); /* a failed device takes nothing */
		assert_int_equal(f->c->rx_packets + nic_drops(f), 0);
		drv_reset(&f->d);
		assert_int_equal(drv_start(&f->d, 0, 3, 256), 0xf);
		nic_post(f, 0, NIC_RX, NET_PACKET_MAX);
		run(f);
		assert_packet(f, NET_PACKET_MAX, false, 100, 1);
		stop(f);
	}
}

static void small_buffers_are_enough_without_offloads(void **state)
{
	struct nic *f = *state;

	nic_post_many(f, 0, 4, 1526);
	run(f);
	put(f, 1514, 1);
	assert_packet(f, 1526, false, 1514, 1);
	put(f, 1515, 2); /* lost, and the buffer stays */
	assert_int_equal(f->c->rx_dropped_too_long, 1);
	put(f, 100, 3);
	assert_packet(f, 1526, false, 100, 3);
	assert_int_equal(drv_status(&f->d), 0xf);
}

static void frames_wait_for_buffers(void **state)
{
	struct nic *f = *state;

	for (unsigned i = 0; i < 10; i++)
		put(f, 100 + i, i);
	assert_int_equal(f->c->rx_no_buffers, 1);
	for (unsigned i = 0; i < 10; i++) {
		/* One at a time, each with the kick that the device asks for. */
		nic_post(f, 0, NIC_RX + (uint64_t)i * NET_PACKET_MAX, NET_PACKET_MAX);
		run(f);
		assert_packet(f, NET_PACKET_MAX, false, 100 + i, i);
	}
	assert_int_equal(nic_drops(f), 0);
	assert_int_equal(f->c->rx_packets, 10);
}

/* A segment of 64 KiB does not fit into what is there: it must not be lost. */
static void a_frame_waits_for_all_the_buffers_it_may_need(void **state)
{
	struct nic *f = *state;

	nic_post_many(f, 0, 10, 2048);
	run(f);
	put(f, NETIF_FRAME_MAX, 1);
	assert_int_equal(get(f, 2048, false), 0);
	assert_int_equal(f->c->rx_no_buffers, 1);
	for (unsigned i = 10; i < 33; i++) {
		nic_post(f, 0, NIC_RX + i * 2048, 2048);
		run(f);
		assert_int_equal(f->c->rx_packets, i == 32);
	}
	assert_packet(f, 2048, false, NETIF_FRAME_MAX, 1);
	assert_int_equal(nic_drops(f), 0);
}

/* A driver that never posts as much: it waits once, and loses what is too long. */
static void few_buffers_are_used_in_the_end(void **state)
{
	struct nic *f = *state;
	uint64_t begin = loop_now_ns(), end = begin + 5 * NSEC_PER_SEC;

	nic_post_many(f, 0, 3, 2048);
	run(f);
	put(f, 1000, 1);
	assert_int_equal(f->c->rx_packets, 0);
	while (f->c->rx_packets == 0 && loop_now_ns() < end)
		loop_poll(&f->loop, 100);
	assert_in_range(loop_now_ns() - begin, NSEC_PER_SEC / 20, 5 * NSEC_PER_SEC);
	assert_packet(f, 2048, false, 1000, 1);
	put(f, 4084, 2); /* no more waiting: 2 x 2048 bytes are there */
	assert_packet(f, 2048, false, 4084, 2);
	for (unsigned i = 3; i < 6; i++)
		nic_post(f, 0, NIC_RX + i * 2048, 2048);
	run(f);
	put(f, 6133, 3); /* one byte too long */
	assert_int_equal(f->c->rx_dropped_too_long, 1);
	put(f, 6132, 4);
	assert_packet(f, 2048, false, 6132, 4);
	/* With enough of them it is patient again. */
	for (unsigned i = 6; i < 40; i++)
		nic_post(f, 0, NIC_RX + i * 2048, 2048);
	run(f);
	put(f, 65000, 5);
	assert_packet(f, 2048, false, 65000, 5);
	put(f, 1000, 6);
	assert_int_equal(get(f, 2048, false), 0);
	assert_int_equal(nic_drops(f), 1);
}

/* All that the ring has room for: there is nothing to wait for. */
static void a_small_ring_does_not_wait(void **state)
{
	struct nic *f = start((struct net_params){ 0 }, ~0ull, 4);

	(void)state;
	nic_post_many(f, 0, 4, 2048);
	run(f);
	put(f, 8180, 1);
	assert_packet(f, 2048, true, 8180, 1);
	run(f);
	put(f, 8181, 2);
	assert_int_equal(f->c->rx_dropped_too_long, 1);
	put(f, 60, 3);
	assert_packet(f, 2048, true, 60, 3);
	stop(f);
}

/* Buffers in so many pieces that a read takes only two and a half of them. */
static void buffers_in_many_pieces(void **state)
{
	struct nic *f = *state;
	struct drv_buf bufs[100];

	for (unsigned i = 0; i < 6; i++) {
		for (unsigned k = 0; k < 100; k++)
			bufs[k] = (struct drv_buf){ NIC_RX + i * 2000 + 20 * k, 20, true };
		drv_add_indirect(&f->d, 0, bufs, 100);
	}
	run(f);
	assert_int_equal(prepared(f), 2);
	for (unsigned i = 0; i < 2; i++) {
		put(f, 3000, i);
		assert_packet(f, 2000, false, 3000, i);
	}
	assert_int_equal(prepared(f), 2);
	assert_int_equal(nic_drops(f), 0);
	assert_int_equal(drv_status(&f->d), 0xf);
}

static void no_more_buffers_are_taken_than_a_frame_may_need(void **state)
{
	struct nic *f = *state;

	nic_post_many(f, 0, 100, 1024);
	run(f);
	assert_int_equal(prepared(f), 2); /* 12 + 14 + 4 + 1500 */
	put(f, 1518, 1);
	assert_packet(f, 1024, false, 1518, 1);
	put(f, 60, 2);
	assert_packet(f, 1024, false, 60, 2);
	assert_int_equal(prepared(f), 2);
	put(f, 2037, 3);
	assert_int_equal(f->c->rx_dropped_too_long, 1);
}

static void a_flood_takes_turns_and_ends(void **state)
{
	struct nic *f = *state;
	unsigned got = 0;

	nic_fill(frame, 100, 1);
	for (unsigned i = 0; i < 150; i++)
		nic_put(f, 0, NULL, frame, 100);
	nic_post_many(f, 0, 256, 1536);
	virtio_lock(f->v);
	virtio_kick(f->v, 0);
	virtio_unlock(f->v);
	assert_int_equal(f->c->rx_packets, VIRTIO_BATCH);
	drv_poll(&f->loop); /* the rest without a kick of the driver */
	while (get(f, 1536, false))
		got++;
	assert_int_equal(got, 150);
	assert_int_equal(nic_drops(f), 0);
}

static void errors_of_the_back_end_end_with_the_next_event(void **state)
{
	struct nic *f = *state;

	nic_post_many(f, 0, 100, 1536);
	f->s->recv_error = -EIO;
	put(f, 100, 1);
	put(f, 100, 2);
	assert_in_range(f->c->rx_errors, 1, 3);
	f->s->recv_error = 0;
	put(f, 100, 3);
	for (unsigned i = 1; i <= 3; i++)
		assert_packet(f, 1536, false, 100, i);
}

struct header_case {
	uint64_t offloads; /* that are on */
	uint8_t flags, gso;
	bool delivered;
	uint8_t out_flags;
};

static void headers_of_the_host_are_judged(void **state)
{
	static const uint64_t csum = NIC_F(GUEST_CSUM), tso = csum | NIC_F(GUEST_TSO4);
	static const struct header_case cases[] = {
		{ 0, 0, 0, true, 0 },
		{ 0, VALID, 0, true, 0 },
		{ 0, NEEDS, 0, false },
		{ 0, 0, 1, false },
		{ 0, NEEDS, 1, false },
		{ 0, 0, 0x80, false },
		{ csum, VALID, 0, true, VALID },
		{ csum, NEEDS, 0, true, NEEDS },
		{ csum, 0xff, 0, true, NEEDS | VALID },
		{ csum, NEEDS, 1, false },
		{ csum, NEEDS, 5, false },
		{ tso, NEEDS, 1, true, NEEDS },
		{ tso, NEEDS, 0x81, false },
		{ tso, NEEDS, 4, false },
		{ tso, NEEDS, 3, false },
		{ csum | NIC_F(GUEST_TSO6), NEEDS, 4, true, NEEDS },
		{ tso | NIC_F(GUEST_ECN), NEEDS, 0x81, true, NEEDS },
		{ tso | NIC_F(GUEST_ECN), NEEDS, 0x80, false },
		{ csum | NIC_F(GUEST_USO4) | NIC_F(GUEST_USO6), NEEDS, 5, true, NEEDS },
		{ csum | NIC_F(GUEST_USO4) | NIC_F(GUEST_USO6), NEEDS, 0x85, false },
		{ csum | NIC_F(GUEST_USO4), NEEDS, 5, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct header_case *c = &cases[i];
		uint8_t header[12] = { c->flags, c->gso, 54, 0, 100, 0, 34, 0, 16, 0, 0x77, 0x77 };
		struct nic *f = start((struct net_params){ 0 }, NIC_F(MRG_RXBUF) | c->offloads,
			256);

		nic_post_many(f, 0, 100, 1024);
		run(f);
		nic_fill(frame, 500, 1);
		nic_put(f, 0, header, frame, 500);
		drv_poll(&f->loop);
		assert_int_equal(f->c->rx_dropped_malformed, !c->delivered);
		assert_int_equal(get(f, 1024, false), c->delivered ? 512 : 0);
		if (c->delivered) {
			header[0] = c->out_flags;
			num_put_le16(header + NET_HDR_BUFFERS, 1);
			assert_memory_equal(back, header, sizeof(header));
		}
		nic_put(f, 0, NULL, frame, 60); /* the buffers of a dropped frame are used again */
		drv_poll(&f->loop);
		assert_int_equal(get(f, 1024, false), 72);
		stop(f);
	}
}

static void runts_are_dropped(void **state)
{
	struct nic *f = *state;

	nic_post_many(f, 0, 100, 1536);
	run(f);
	assert_true(sock_netif_put(f->s, 0, frame, 5));
	drv_poll(&f->loop);
	put(f, 1, 1);
	put(f, 13, 1);
	assert_int_equal(f->c->rx_dropped_malformed, 3);
	assert_int_equal(get(f, 1536, false), 0);
}

static void offloads_that_are_switched_off_are_off_at_once(void **state)
{
	uint8_t command[10] = { VIRTIO_NET_CTRL_GUEST_OFFLOADS,
		VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET };
	const uint8_t header[12] = { NEEDS, 1, 54, 0, 100, 0, 34, 0, 16, 0 };
	struct nic *f = *state;
	uint32_t len;

	nic_post_many(f, 0, 100, 1536);
	run(f);
	nic_fill(frame, 500, 1);
	nic_put(f, 0, header, frame, 500);
	drv_poll(&f->loop);
	assert_int_equal(get(f, 1536, false), 512);
	assert_int_equal(nic_ctrl(f, 2, command, sizeof(command), &len), VIRTIO_NET_OK);
	nic_put(f, 0, header, frame, 500);
	drv_poll(&f->loop);
	assert_int_equal(f->c->rx_dropped_malformed, 1);
}

/* What was prepared, or held back, is forgotten; every buffer of the new run is as good as new. */
static void reset_with_buffers_in_hand(void **state)
{
	struct net_params p = { .rx = { .ops = { 1, 50, 0 } } };
	struct nic *f = start(p, ~0ull, 64);
	uint64_t end = loop_now_ns() + 10 * NSEC_PER_SEC;
	size_t bytes;

	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		nic_post_many(f, 0, 64, 2048);
		run(f);
		assert_in_range(prepared(f), 33, 36);
		for (unsigned i = 0; i < 3; i++)
			put(f, 100, i);
		while (round == 3 && (bytes = get(f, 2048, false)) == 0 && loop_now_ns() < end)
			loop_poll(&f->loop, 10);
		drv_reset(&f->d);
		assert_int_equal(prepared(f), 0);
		assert_int_equal(drv_start(&f->d, ~0ull, 3, 64), 0xf);
		drv_poll(&f->loop);
	}
	assert_int_equal(bytes, 112);
	assert_int_equal(nic_drops(f), 0);
	assert_in_range(f->c->rx_dropped_reset, 1, 4);
	stop(f);
}

/* What is received in a second or more must be what is allowed, see test-net-tx. */
static void assert_rate(struct nic *f, size_t bytes, double burst, double rate, double unit)
{
	uint64_t begin = loop_now_ns(), end = begin + NSEC_PER_SEC, packets = 0;
	double want;

	memset(frame, 0, sizeof(frame));
	while (loop_now_ns() < end) {
		while (sock_netif_put(f->s, 0, frame, NETIF_HEADER_BYTES + bytes))
			;
		loop_poll(&f->loop, 1);
		while (get(f, 2048, true))
			packets++;
		drv_kick(&f->d, 0);
	}
	want = burst + rate * (double)(loop_now_ns() - begin) / 1e9;
	assert_true((double)packets * unit < want * 1.05 && (double)packets * unit > want * 0.5);
}

static void rates_are_limited(void **state)
{
	struct net_params bandwidth = { .rx = { .bandwidth = { 100000, 100, 500000 } } };
	struct net_params ops = { .rx = { .ops = { 100, 100, 300 } } };
	struct nic *f = start(bandwidth, ~0ull, 128);

	(void)state;
	nic_post_many(f, 0, 128, 2048);
	assert_rate(f, 1500, 500000 + 100000, 1e6, 1500);
	assert_true(f->c->rx_throttled > 10);
	assert_int_equal(nic_drops(f), 0);
	stop(f);
	f = start(ops, ~0ull, 128);
	nic_post_many(f, 0, 128, 2048);
	assert_rate(f, 60, 300 + 100, 1000, 1);
	stop(f);
}

/* In both directions, and none where the kernel would have to keep it. */
static void limits_can_be_changed(void **state)
{
	static const struct bucket_params two = { 2, 3600000, 0 }, none;
	const struct limiter_change limit = { .ops = &two }, open = { .ops = &none }, same = { 0 };
	struct nic *f = start((struct net_params){ 0 }, ~0ull, 128);
	uint8_t frame[100];

	(void)state;
	nic_fill(frame, sizeof(frame), 1);
	nic_post_many(f, 0, 128, 2048);
	drv_kick(&f->d, 0);
	assert_int_equal(net_set_limiters(f->v, &limit, &limit, NULL), 0);
	for (unsigned i = 0; i < 5; i++) {
		nic_put(f, 0, NULL, frame, sizeof(frame));
		nic_tx(f, 1, NULL, frame, sizeof(frame));
		drv_kick(&f->d, 1);
	}
	drv_poll(&f->loop);
	assert_int_equal(f->c->rx_packets, 2);
	assert_int_equal(f->c->tx_packets, 2);
	assert_int_equal(net_set_limiters(f->v, &open, &same, NULL), 0);
	drv_poll(&f->loop);
	assert_int_equal(f->c->rx_packets, 5);
	assert_int_equal(f->c->tx_packets, 2);
	assert_int_equal(net_set_limiters(f->v, &same, &open, NULL), 0);
	drv_poll(&f->loop);
	assert_int_equal(f->c->tx_packets, 5);
	assert_int_equal(f->c->rx_limiter_events, 1);
	assert_int_equal(f->c->tx_limiter_events, 1);
	stop(f);
}

int main(void)
{
#define T(fn, how) { #fn "/" #how, fn, how, teardown, NULL }
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_of_all_lengths_are_merged),
		T(without_merging_each_frame_has_a_buffer, setup_plain),
		T(without_merging_each_frame_has_a_buffer, setup_big),
		T(any_layout_of_descriptors_takes_the_same_frame, setup),
		T(any_layout_of_descriptors_takes_the_same_frame, setup_big),
		T(headers_over_several_buffers, setup),
		cmocka_unit_test(bad_buffers_fail_the_device),
		T(small_buffers_are_enough_without_offloads, setup_plain),
		T(frames_wait_for_buffers, setup),
		T(frames_wait_for_buffers, setup_plain),
		T(a_frame_waits_for_all_the_buffers_it_may_need, setup),
		T(few_buffers_are_used_in_the_end, setup),
		cmocka_unit_test(a_small_ring_does_not_wait),
		T(buffers_in_many_pieces, setup),
		T(no_more_buffers_are_taken_than_a_frame_may_need, setup_mtu),
		T(a_flood_takes_turns_and_ends, setup),
		T(errors_of_the_back_end_end_with_the_next_event, setup),
		cmocka_unit_test(headers_of_the_host_are_judged),
		T(runts_are_dropped, setup),
		T(offloads_that_are_switched_off_are_off_at_once, setup),
		cmocka_unit_test(reset_with_buffers_in_hand),
		cmocka_unit_test(rates_are_limited),
		cmocka_unit_test(limits_can_be_changed),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("net-rx", tests, NULL, NULL);
}
