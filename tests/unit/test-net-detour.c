/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net with a service beside the back end (net.h): which frames it gets, that its own come in
 * every kind of buffer, first, and beside the rate limits, and when they wait. The service is the
 * test's.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "nic.h"
#include "num.h"

#define OURS 0x88 /* first byte of frames that the service wants */
#define ROOM 32

struct service {
	unsigned wanted, taken; /* calls */
	size_t head, bytes;	/* of the last */
	uint8_t frame[NET_DETOUR_TAKE_MAX];
	unsigned answers; /* frames that are due */
	size_t answer_bytes;
	uint64_t due_ns; /* of them */
	bool reply; /* each frame that is taken makes one due */
	unsigned given;
};

static struct service s;
static uint8_t frame[NETIF_FRAME_MAX], back[NET_PACKET_MAX];

static bool wants(void *owner, const uint8_t *head, size_t n)
{
	assert_ptr_equal(owner, &s);
	assert_true(n <= NET_DETOUR_HEAD);
	s.wanted++;
	s.head = n;
	return head[0] == OURS;
}

static void take(void *owner, const uint8_t *data, size_t n, uint64_t now_ns)
{
	assert_ptr_equal(owner, &s);
	assert_true(n <= sizeof(s.frame) && now_ns > 0);
	memcpy(s.frame, data, n);
	s.bytes = n;
	s.taken++;
	s.answers += s.reply;
}

static uint64_t due_ns(void *owner)
{
	assert_ptr_equal(owner, &s);
	return s.answers ? s.due_ns : NET_DETOUR_NEVER;
}

static size_t give(void *owner, uint8_t *data, uint64_t now_ns)
{
	assert_ptr_equal(owner, &s);
	if (s.answers == 0 || s.due_ns > now_ns)
		return 0;
	s.answers--;
	nic_fill(data, s.answer_bytes, 1000 + s.given++);
	return s.answer_bytes;
}

static const struct net_detour_ops ops = { wants, take, give, due_ns };

static struct nic *start(struct net_params params, uint64_t features, uint16_t size)
{
	struct nic *f = calloc(1, sizeof(*f));

	s = (struct service){ .answer_bytes = 1514 };
	params.detour = &ops;
	params.detour_owner = &s;
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

static void run(struct nic *f, unsigned q)
{
	drv_kick(&f->d, q);
	drv_poll(&f->loop);
}

static void send(struct nic *f, uint8_t first, size_t bytes)
{
	nic_fill(frame, bytes, 1);
	frame[0] = first;
	nic_tx(f, 1, NULL, frame, bytes);
	run(f, 1);
}

static void put(struct nic *f, size_t bytes, unsigned seed)
{
	nic_fill(frame, bytes, seed);
	nic_put(f, 0, NULL, frame, bytes);
	drv_poll(&f->loop);
}

/* The next packet is one of `bytes`, of this seed, in buffers of `size` from NIC_RX on. */
static void assert_got(struct nic *f, uint32_t size, size_t bytes, unsigned seed)
{
	size_t got = 0;
	uint32_t id, len;
	unsigned n = 1;

	for (unsigned i = 0; i < n; i++) {
		assert_true(drv_used(&f->d, 0, &id, &len));
		assert_int_equal(
			gmem_read(&f->mem, GPA(NIC_RX + (uint64_t)id * size), back + got, len), 0);
		if (i == 0)
			n = num_get_le16(back + NET_HDR_BUFFERS);
		got += len;
	}
	assert_int_equal(got, NETIF_HEADER_BYTES + bytes);
	nic_fill(frame, bytes, seed);
	assert_memory_equal(back + NETIF_HEADER_BYTES, frame, bytes);
	for (unsigned i = 0; i < NET_HDR_BUFFERS; i++)
		assert_int_equal(back[i], 0);
}

static void assert_nothing(struct nic *f)
{
	uint32_t id, len;

	assert_false(drv_used(&f->d, 0, &id, &len));
}

static void it_gets_what_it_wants_and_the_wire_the_rest(void **state)
{
	struct nic *f = start((struct net_params){ 0 }, ~0ull, 256);
	ssize_t n;

	(void)state;
	send(f, OURS, 60);
	assert_int_equal(s.taken, 1);
	assert_int_equal(s.bytes, 60);
	assert_memory_equal(s.frame, frame, 60);
	assert_int_equal(sock_netif_get(f->s, 0, back, sizeof(back)), -1);
	send(f, 0, 60);
	assert_int_equal(s.taken, 1);
	assert_int_equal(s.wanted, 2);
	n = sock_netif_get(f->s, 0, back, sizeof(back));
	assert_int_equal(n, NETIF_HEADER_BYTES + 60);
	send(f, OURS, NET_ETH_BYTES); /* shorter than what it looks at */
	assert_int_equal(s.head, NET_ETH_BYTES);
	assert_int_equal(s.bytes, NET_ETH_BYTES);
	send(f, OURS, NETIF_FRAME_MAX);
	assert_int_equal(s.bytes, NET_DETOUR_TAKE_MAX);
	assert_memory_equal(s.frame, frame, NET_DETOUR_TAKE_MAX);
	assert_int_equal(f->c->tx_detoured, 3);
	assert_int_equal(f->c->tx_packets, 1);
	stop(f);
}

static void it_answers_in_any_buffers(void **state)
{
	static const struct {
		uint64_t features;
		uint32_t size;
	} kinds[] = {
		{ ~0ull, 2048 }, { ~0ull, 300 }, { ~0ull, 12 }, { 0, 1526 },
		{ VIRTIO_COMMON_FEATURES | NIC_F(GUEST_CSUM) | NIC_F(GUEST_TSO4), NET_PACKET_MAX },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct nic *f = start((struct net_params){ 0 }, kinds[i].features, 256);

		s.reply = true;
		nic_post_many(f, 0, kinds[i].size > 4096 ? 16 : 250, kinds[i].size);
		run(f, 0);
		s.answer_bytes = 42;
		send(f, OURS, 60);
		assert_got(f, kinds[i].size, 42, 1000);
		s.answer_bytes = 1514;
		send(f, OURS, 60);
		assert_got(f, kinds[i].size, 1514, 1001);
		assert_int_equal(f->c->rx_detoured, 2);
		assert_int_equal(f->c->rx_packets, 0);
		assert_int_equal(nic_drops(f), 0);
		stop(f);
	}
}

/* Few buffers, with which frames of the wire would wait, are enough for it. */
static void it_needs_room_for_its_own_frame_only(void **state)
{
	struct nic *f = start((struct net_params){ 0 }, ~0ull, 256);

	(void)state;
	nic_post_many(f, 0, 4, 2048);
	run(f, 0);
	put(f, 100, 1);
	assert_int_equal(f->c->rx_no_buffers, 1);
	assert_nothing(f);
	s.answers = 3;
	run(f, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_got(f, 2048, 1514, 1000 + i);
	assert_int_equal(s.answers, 0);
	for (unsigned i = 4; i < 40; i++)
		nic_post(f, 0, NIC_RX + i * 2048, 2048);
	run(f, 0);
	assert_got(f, 2048, 100, 1);
	stop(f);
}

/* Without buffers it waits for the driver, and nothing turns in a circle. */
static void it_waits_for_buffers(void **state)
{
	struct nic *f = start((struct net_params){ 0 }, ~0ull, 256);

	(void)state;
	s.reply = true;
	send(f, OURS, 60);
	assert_int_equal(s.answers, 1);
	assert_int_equal(loop_poll(&f->loop, 50), 0);
	nic_post(f, 0, NIC_RX, 700); /* not enough */
	run(f, 0);
	assert_int_equal(s.answers, 1);
	nic_post(f, 0, NIC_RX + 700, 700);
	run(f, 0);
	assert_int_equal(s.answers, 1);
	nic_post(f, 0, NIC_RX + 1400, 700);
	run(f, 0);
	assert_int_equal(s.answers, 0);
	assert_got(f, 700, 1514, 1000);
	stop(f);
}

static void it_comes_before_the_wire(void **state)
{
	struct nic *f = start((struct net_params){ 0 }, ~0ull, 256);

	(void)state;
	put(f, 100, 1);
	put(f, 101, 2);
	s.answers = 2;
	nic_post_many(f, 0, 40, 2048);
	run(f, 0);
	assert_got(f, 2048, 1514, 1000);
	assert_got(f, 2048, 1514, 1001);
	assert_got(f, 2048, 100, 1);
	assert_got(f, 2048, 101, 2);
	stop(f);
}

/* The limits hold a frame of the wire back in the buffers; the service goes past it. */
static void no_limit_holds_it_up(void **state)
{
	static const uint64_t kinds[] = { ~0ull, 0 };
	static const struct bucket_params none;
	static const struct limiter_change off = { .ops = &none };
	struct net_params params = { .rx.ops = { 1, 3600000 }, .tx.ops = { 1, 3600000 } };
	uint64_t end = loop_now_ns() + 10 * NSEC_PER_SEC;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct nic *f = start(params, kinds[i], 256);

		nic_post_many(f, 0, 120, 2048);
		run(f, 0);
		put(f, 100, 1);
		assert_got(f, 2048, 100, 1);
		put(f, 1500, 2); /* held for an hour */
		assert_nothing(f);
		assert_int_equal(f->c->rx_throttled, 1);
		s.reply = true;
		for (unsigned k = 0; k < 50; k++) {
			send(f, OURS, 60);
			assert_got(f, 2048, 1514, 1000 + k);
		}
		assert_int_equal(f->c->tx_throttled, 0);
		assert_nothing(f);
		/* What was held is as it was. */
		assert_int_equal(net_set_limiters(f->v, &off, &off, NULL), 0);
		while (f->c->rx_packets < 2 && loop_now_ns() < end)
			loop_poll(&f->loop, 100);
		assert_got(f, 2048, 1500, 2);
		stop(f);
	}
}

/* No room but what a held frame has: the held one must get out all the same. */
static void a_held_frame_is_not_locked_in(void **state)
{
	struct net_params params = { .rx.ops = { 1, 50 } };
	struct nic *f = start(params, 0, 256);
	uint64_t end = loop_now_ns() + 10 * NSEC_PER_SEC;

	(void)state;
	nic_post_many(f, 0, 2, 2048);
	run(f, 0);
	put(f, 100, 1);
	put(f, 101, 2); /* held in the last buffer */
	assert_int_equal(f->c->rx_packets, 1);
	s.answers = 1;
	run(f, 0);
	while (f->c->rx_packets < 2 && loop_now_ns() < end)
		loop_poll(&f->loop, 100);
	assert_got(f, 2048, 100, 1);
	assert_got(f, 2048, 101, 2);
	assert_int_equal(s.answers, 1);
	nic_post(f, 0, NIC_RX + 2 * 2048, 2048);
	run(f, 0);
	assert_got(f, 2048, 1514, 1000);
	stop(f);
}

static void what_is_due_later_has_a_timer(void **state)
{
	struct nic *f = start((struct net_params){ 0 }, ~0ull, 256);
	uint64_t begin = loop_now_ns(), end = begin + 10 * NSEC_PER_SEC;

	(void)state;
	nic_post_many(f, 0, 40, 2048);
	run(f, 0);
	s.reply = true;
	s.due_ns = begin + NSEC_PER_SEC / 10;
	send(f, OURS, 60);
	assert_int_equal(s.answers, 1);
	while (s.answers > 0 && loop_now_ns() < end)
		loop_poll(&f->loop, 1000);
	assert_true(loop_now_ns() >= s.due_ns);
	assert_got(f, 2048, 1514, 1000);
	stop(f);
}

static void what_does_not_fit_is_dropped_and_counted(void **state)
{
	struct nic *f = start((struct net_params){ .mtu = 600 }, 0, 256);

	(void)state;
	nic_post_many(f, 0, 4, 626);
	run(f, 0);
	s.answers = 1;
	run(f, 0);
	assert_nothing(f);
	assert_int_equal(f->c->rx_dropped_too_long, 1);
	assert_int_equal(f->c->rx_detoured, 0);
	s.answer_bytes = 614;
	s.answers = 1;
	run(f, 0);
	assert_got(f, 626, 614, 1001);
	stop(f);
}

static void a_reset_forgets_nothing_of_it(void **state)
{
	struct nic *f = start((struct net_params){ 0 }, ~0ull, 256);

	(void)state;
	s.answers = 1;
	run(f, 0);
	drv_reset(&f->d);
	assert_int_equal(drv_start(&f->d, ~0ull, 3, 256), 0xf);
	nic_post_many(f, 0, 4, 2048);
	run(f, 0);
	assert_got(f, 2048, 1514, 1000);
	stop(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_gets_what_it_wants_and_the_wire_the_rest),
		cmocka_unit_test(it_answers_in_any_buffers),
		cmocka_unit_test(it_needs_room_for_its_own_frame_only),
		cmocka_unit_test(it_waits_for_buffers),
		cmocka_unit_test(it_comes_before_the_wire),
		cmocka_unit_test(no_limit_holds_it_up),
		cmocka_unit_test(a_held_frame_is_not_locked_in),
		cmocka_unit_test(what_is_due_later_has_a_timer),
		cmocka_unit_test(what_does_not_fit_is_dropped_and_counted),
		cmocka_unit_test(a_reset_forgets_nothing_of_it),
	};

	return cmocka_run_group_tests_name("net-detour", tests, NULL, NULL);
}
