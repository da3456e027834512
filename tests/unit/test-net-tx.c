/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net, from the guest: headers, layouts, a full back end, the rate limit; see nic.h. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "nic.h"
#include "num.h"

#define MIN_FRAME NET_ETH_BYTES

static uint8_t frame[NETIF_FRAME_MAX + 1], back[NET_PACKET_MAX + 1];

static struct nic *start(struct net_params params, unsigned offloads, uint64_t features)
{
	struct nic *f = calloc(1, sizeof(*f));

	nic_make(f, params, sock_netif_create("tap", 1, offloads));
	assert_int_equal(drv_start(&f->d, features, 3, 256), 0xf);
	drv_poll(&f->loop);
	return f;
}

static int setup(void **state)
{
	*state = start((struct net_params){ 0 }, NIC_ALL_OFFLOADS, ~0ull);
	return 0;
}

static int setup_plain(void **state)
{
	*state = start((struct net_params){ 0 }, NIC_ALL_OFFLOADS, 0);
	return 0;
}

static int teardown(void **state)
{
	nic_done(*state);
	free(*state);
	return 0;
}

static void run(struct nic *f)
{
	drv_kick(&f->d, 1);
	drv_poll(&f->loop);
}

/* Every chain comes back with nothing written. */
static unsigned completed(struct nic *f)
{
	unsigned n = 0;
	uint32_t id, len;

	for (; drv_used(&f->d, 1, &id, &len); n++)
		assert_int_equal(len, 0);
	return n;
}

static void assert_wire(struct nic *f, const uint8_t *header, const uint8_t *want, size_t bytes)
{
	static const uint8_t zero[NETIF_HEADER_BYTES];

	assert_int_equal(sock_netif_get(f->s, 0, back, sizeof(back)), NETIF_HEADER_BYTES + bytes);
	assert_memory_equal(back, header ? header : zero, NETIF_HEADER_BYTES);
	assert_memory_equal(back + NETIF_HEADER_BYTES, want, bytes);
}

static void assert_wire_empty(struct nic *f)
{
	assert_int_equal(sock_netif_get(f->s, 0, back, sizeof(back)), -1);
}

static void frames_of_all_lengths_arrive(void **state)
{
	static const size_t lengths[] = { MIN_FRAME, 15, 59, 60, 1514, 1518, 9014, 65549,
		NETIF_FRAME_MAX };
	struct nic *f = *state;
	uint64_t sum = 0;

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		nic_fill(frame, lengths[i], i);
		nic_tx(f, 1, NULL, frame, lengths[i]);
		run(f);
		assert_wire(f, NULL, frame, lengths[i]);
		sum += lengths[i];
	}
	assert_int_equal(completed(f), ARRAY_SIZE(lengths));
	assert_int_equal(f->c->tx_packets, ARRAY_SIZE(lengths));
	assert_int_equal(f->c->tx_bytes, sum);
	assert_int_equal(f->c->tx_spoofed_mac, 0);
	assert_int_equal(nic_drops(f), 0);
}

static void frames_of_bad_length_are_dropped(void **state)
{
	static const size_t lengths[] = { 1, 13, NETIF_FRAME_MAX + 1 };
	struct nic *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		nic_tx(f, 1, NULL, frame, lengths[i]);
		run(f);
	}
	/* Not even a header. */
	drv_add(&f->d, 1, &(struct drv_buf){ NIC_TX, 11, false }, 1);
	drv_add(&f->d, 1, &(struct drv_buf){ NIC_TX, 1, false }, 1);
	run(f);
	assert_wire_empty(f);
	assert_int_equal(completed(f), ARRAY_SIZE(lengths) + 2);
	assert_int_equal(f->c->tx_dropped_malformed, ARRAY_SIZE(lengths) + 2);
	assert_int_equal(nic_drops(f), ARRAY_SIZE(lengths) + 2);
	assert_int_equal(drv_status(&f->d), 0xf);
}

/* Cuts a packet of 512 bytes into pieces of `piece` bytes; `first` for the first. */
static void add_split(struct nic *f, unsigned first, unsigned piece, bool indirect)
{
	struct drv_buf bufs[LIMIT_SEGS];
	unsigned n = 0;

	for (unsigned at = 0; at < 512; n++) {
		unsigned len = MIN(n ? piece : first, 512 - at);

		bufs[n] = (struct drv_buf){ NIC_TX + at, len, false };
		at += len;
	}
	if (indirect)
		drv_add_indirect(&f->d, 1, bufs, n);
	else
		drv_add(&f->d, 1, bufs, n);
}

static void any_layout_of_descriptors_is_the_same_frame(void **state)
{
	uint8_t header[NETIF_HEADER_BYTES] = { VIRTIO_NET_HDR_F_NEEDS_CSUM, 1, 54, 0, 100, 0, 34, 0,
		16, 0, 0, 0 };
	struct nic *f = *state;

	nic_fill(frame, 500, 3);
	nic_tx(f, 1, header, frame, 500);
	run(f);
	assert_wire(f, header, frame, 500);
	for (unsigned first = 1; first < 40; first++)
		for (unsigned piece = 4; piece < 30; piece += 5) {
			add_split(f, first, piece, false);
			run(f);
			assert_wire(f, header, frame, 500);
			add_split(f, first, piece, true);
			f->d.heap -= 4096; /* the same table for all */
			run(f);
			assert_wire(f, header, frame, 500);
			completed(f);
		}
	assert_int_equal(nic_drops(f), 0);
}

static void a_chain_must_be_readable(void **state)
{
	static const struct drv_buf shapes[][2] = {
		{ { NIC_TX, 100, false }, { NIC_TX, 1, true } },
		{ { NIC_TX, 100, true }, { NIC_TX, 100, true } },
		{ { NIC_TX, 0, false }, { NIC_TX, 0, false } },
	};
	struct nic *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		drv_add(&f->d, 1, shapes[i], 2);
		run(f);
		assert_int_equal(drv_status(&f->d), 0x4f);
		assert_int_equal(completed(f), 0);
		drv_reset(&f->d);
		assert_int_equal(drv_start(&f->d, ~0ull, 3, 256), 0xf);
		nic_tx(f, 1, NULL, frame, 60);
		run(f);
		assert_wire(f, NULL, frame, 60);
		assert_int_equal(completed(f), 1);
	}
}

struct header_case {
	const char *what;
	uint8_t flags, gso;
	uint16_t hdr_len, gso_size, start, offset;
	bool sent;
	uint8_t out_flags, out_gso; /* what leaves, if it does */
	uint16_t out_hdr_len, out_gso_size, out_start, out_offset;
};

#define NEEDS VIRTIO_NET_HDR_F_NEEDS_CSUM
#define FRAME 500

static void assert_headers(struct nic *f, const struct header_case *cases, size_t n)
{
	uint64_t refused = 0;

	nic_fill(frame, FRAME, 1);
	for (size_t i = 0; i < n; i++) {
		const struct header_case *c = &cases[i];
		uint8_t in[12] = { c->flags, c->gso }, out[12] = { c->out_flags, c->out_gso };

		num_put_le16(in + 2, c->hdr_len);
		num_put_le16(in + 4, c->gso_size);
		num_put_le16(in + 6, c->start);
		num_put_le16(in + 8, c->offset);
		num_put_le16(in + 10, 0x5555); /* num_buffers: not the driver's to set */
		num_put_le16(out + 2, c->out_hdr_len);
		num_put_le16(out + 4, c->out_gso_size);
		num_put_le16(out + 6, c->out_start);
		num_put_le16(out + 8, c->out_offset);
		nic_tx(f, 1, in, frame, FRAME);
		run(f);
		assert_int_equal(completed(f), 1);
		if (c->sent)
			assert_wire(f, out, frame, FRAME);
		else
			assert_wire_empty(f);
		refused += !c->sent;
		if (f->c->tx_dropped_offload != refused)
			fail_msg("%s", c->what);
	}
	assert_int_equal(nic_drops(f), refused);
	assert_int_equal(f->c->tx_packets, n - refused);
}

static void headers_that_lie_are_dropped(void **state)
{
	static const struct header_case cases[] = {
		{ "checksum", NEEDS, 0, 0, 0, 34, 6, true, NEEDS, 0, 0, 0, 34, 6 },
		{ "checksum at the end", NEEDS, 0, 0, 0, 498, 0, true, NEEDS, 0, 0, 0, 498, 0 },
		{ "checksum behind the end", NEEDS, 0, 0, 0, 499, 0, false },
		{ "checksum behind the end", NEEDS, 0, 0, 0, 34, 465, false },
		{ "checksum, sum wraps", NEEDS, 0, 0, 0, 65535, 3, false },
		{ "checksum, both huge", NEEDS, 0, 0, 0, 65535, 65535, false },
		{ "checksum of the Ethernet header", NEEDS, 0, 0, 0, 13, 6, false },
		{ "offsets without the flag", 0, 0, 77, 77, 9999, 9999, true },
		{ "unknown flags", 0xfe, 0, 0, 0, 34, 6, true },
		{ "unknown flags", 0xff, 0, 0, 0, 34, 6, true, NEEDS, 0, 0, 0, 34, 6 },
		{ "TSO4", NEEDS, 1, 54, 100, 34, 16, true, NEEDS, 1, 54, 100, 34, 16 },
		{ "TSO6", NEEDS, 4, 54, 100, 34, 16, true, NEEDS, 4, 54, 100, 34, 16 },
		{ "TSO4 with ECN", NEEDS, 0x81, 54, 1, 34, 16, true, NEEDS, 0x81, 54, 1, 34, 16 },
		{ "USO", NEEDS, 5, 42, 100, 34, 6, true, NEEDS, 5, 42, 100, 34, 6 },
		{ "USO with ECN", NEEDS, 0x85, 42, 100, 34, 6, false },
		{ "UFO", NEEDS, 3, 42, 100, 34, 6, false },
		{ "ECN of nothing", NEEDS, 0x80, 42, 100, 34, 6, false },
		{ "unknown type", NEEDS, 2, 42, 100, 34, 6, false },
		{ "unknown type", NEEDS, 0x7f, 42, 100, 34, 6, false },
		{ "TSO without size", NEEDS, 1, 54, 0, 34, 16, false },
		{ "TSO without checksum", 0, 1, 54, 100, 34, 16, false },
		{ "TSO, checksum behind the end", NEEDS, 1, 54, 100, 490, 16, false },
		{ "hdr_len all of it", NEEDS, 1, 500, 100, 34, 16, true, NEEDS, 1, 500, 100, 34,
			16 },
		{ "hdr_len too long", NEEDS, 1, 501, 100, 34, 16, true, NEEDS, 1, 0, 100, 34, 16 },
		{ "huge segments", NEEDS, 1, 54, 65535, 34, 16, true, NEEDS, 1, 54, 65535, 34,
			16 },
	};

	assert_headers(*state, cases, ARRAY_SIZE(cases));
}

static void what_was_not_negotiated_is_dropped(void **state)
{
	static const struct header_case plain[] = {
		{ "nothing", 0, 0, 0, 0, 0, 0, true },
		{ "checksum", NEEDS, 0, 0, 0, 34, 6, false },
		{ "TSO4", NEEDS, 1, 54, 100, 34, 16, false },
		{ "TSO4", 0, 1, 54, 100, 34, 16, false },
		{ "USO", NEEDS, 5, 42, 100, 34, 6, false },
	};
	static const struct header_case tso4[] = {
		{ "checksum", NEEDS, 0, 0, 0, 34, 6, true, NEEDS, 0, 0, 0, 34, 6 },
		{ "TSO4", NEEDS, 1, 54, 100, 34, 16, true, NEEDS, 1, 54, 100, 34, 16 },
		{ "TSO6", NEEDS, 4, 54, 100, 34, 16, false },
		{ "ECN", NEEDS, 0x81, 54, 100, 34, 16, false },
		{ "USO", NEEDS, 5, 42, 100, 34, 6, false },
	};
	struct nic *f = start((struct net_params){ 0 }, NIC_ALL_OFFLOADS, 0);

	(void)state;
	assert_headers(f, plain, ARRAY_SIZE(plain));
	nic_done(f);
	free(f);
	f = start((struct net_params){ 0 }, NIC_ALL_OFFLOADS, NIC_F(CSUM) | NIC_F(HOST_TSO4));
	assert_headers(f, tso4, ARRAY_SIZE(tso4));
	nic_done(f);
	free(f);
}

static void spoofed_sources_are_counted_and_sent(void **state)
{
	struct nic *f = *state;

	nic_fill(frame, 60, 1);
	frame[6] ^= 4;
	nic_tx(f, 1, NULL, frame, 60);
	run(f);
	assert_wire(f, NULL, frame, 60);
	assert_int_equal(f->c->tx_spoofed_mac, 1);
	assert_int_equal(f->c->tx_packets, 1);
}

static void what_the_back_end_refuses_is_counted(void **state)
{
	struct nic *f = *state;

	nic_fill(frame, 60, 1);
	frame[NET_MAC_BYTES] ^= 4;
	f->s->send_error = -EIO;
	for (unsigned i = 0; i < 3; i++)
		nic_tx(f, 1, NULL, frame, 60);
	run(f);
	assert_int_equal(completed(f), 3);
	assert_int_equal(f->c->tx_dropped_backend, 3);
	assert_int_equal(f->c->tx_spoofed_mac, 0); /* none was sent */
	assert_int_equal(f->c->tx_packets, 0);
	f->s->send_error = 0;
	nic_tx(f, 1, NULL, frame, 60);
	run(f);
	assert_wire(f, NULL, frame, 60);
}

static void a_full_back_end_loses_nothing(void **state)
{
	struct nic *f = *state;
	unsigned sent = 0, got = 0;
	uint64_t kicks;

	for (unsigned i = 0; i < 200; i++) { /* 200 frames of 9000 bytes do not fit */
		nic_fill(frame, 9000, i);
		assert_int_equal(gmem_write(&f->mem, GPA(NIC_RX + i * 9216 + 12), frame, 9000), 0);
		drv_add(&f->d, 1, &(struct drv_buf){ NIC_RX + i * 9216, 9012, false }, 1);
	}
	run(f);
	sent = completed(f);
	assert_in_range(sent, 1, 199);
	assert_int_equal(f->c->tx_blocked, 1);
	kicks = f->v->counters.kicks;
	run(f); /* a kick is no reason to try again */
	assert_int_equal(f->c->tx_blocked, 1);
	assert_int_equal(f->v->counters.kicks, kicks + 1);
	for (; got < 200; got++) {
		nic_fill(frame, 9000, got);
		assert_wire(f, NULL, frame, 9000);
		drv_poll(&f->loop);
		sent += completed(f);
		assert_in_range(sent - got, 1, 199);
	}
	assert_int_equal(sent, 200);
	assert_wire_empty(f);
	assert_int_equal(f->c->tx_packets, 200);
	assert_int_equal(nic_drops(f), 0);
	assert_true(f->c->tx_events > 0 && f->c->tx_events <= f->c->tx_blocked);
}

static void reset_while_the_back_end_is_full(void **state)
{
	struct nic *f = *state;

	for (unsigned i = 0; i < 100; i++)
		nic_tx(f, 1, NULL, frame, 9000);
	run(f);
	assert_int_equal(f->c->tx_blocked, 1);
	drv_reset(&f->d);
	while (sock_netif_get(f->s, 0, back, sizeof(back)) > 0)
		;
	drv_poll(&f->loop);
	assert_int_equal(drv_start(&f->d, ~0ull, 3, 256), 0xf);
	nic_tx(f, 1, NULL, frame, 60);
	run(f);
	assert_wire(f, NULL, frame, 60);
	assert_int_equal(completed(f), 1);
}

static void a_flood_takes_turns(void **state)
{
	struct nic *f = *state;

	for (unsigned i = 0; i < 200; i++)
		nic_tx(f, 1, NULL, frame, 60);
	virtio_lock(f->v);
	virtio_kick(f->v, 1);
	virtio_unlock(f->v);
	assert_int_equal(f->c->tx_packets, VIRTIO_BATCH);
	drv_poll(&f->loop); /* the rest without another kick of the driver */
	assert_int_equal(f->c->tx_packets, 200);
	assert_int_equal(completed(f), 200);
}

/* Sends for at least `seconds` as fast as it may; how long it was. */
static double pump(struct nic *f, double seconds, size_t bytes, uint64_t *ret_packets)
{
	uint64_t begin = loop_now_ns(), end = begin + (uint64_t)(seconds * 1e9);
	unsigned queued = 0;

	*ret_packets = 0;
	while (loop_now_ns() < end) {
		while (queued < 64) {
			nic_tx(f, 1, NULL, frame, bytes);
			queued++;
		}
		drv_kick(&f->d, 1);
		loop_poll(&f->loop, 1);
		queued -= completed(f);
		while (sock_netif_get(f->s, 0, back, sizeof(back)) > 0)
			(*ret_packets)++;
	}
	return (double)(loop_now_ns() - begin) / 1e9;
}

/*
 * Never more than allowed; less only because others have the processor. That the arithmetic is
 * exact is the matter of test-bucket, on a clock of its own.
 */
static void assert_rate(double got, double burst, double rate, double seconds)
{
	assert_true(got < (burst + rate * seconds) * 1.05);
	assert_true(got > (burst + rate * seconds) * 0.5);
}

static void bandwidth_is_limited(void **state)
{
	struct net_params p = { .tx = { .bandwidth = { 100000, 100, 500000 } } };
	struct nic *f = start(p, 0, 0);
	uint64_t packets;
	double seconds;

	(void)state;
	nic_fill(frame, 1500, 1);
	seconds = pump(f, 1.0, 1500, &packets);
	assert_rate((double)packets * 1500, 500000 + 100000, 1e6, seconds);
	assert_true(f->c->tx_throttled > 10);
	assert_int_equal(nic_drops(f), 0);
	nic_done(f);
	free(f);
}

static void operations_are_limited(void **state)
{
	struct net_params p = { .tx = { .ops = { 100, 100, 300 } } };
	struct nic *f = start(p, 0, 0);
	uint64_t packets;
	double seconds = pump(f, 1.0, 60, &packets);

	(void)state;
	assert_rate((double)packets, 300 + 100, 1000, seconds);
	drv_reset(&f->d); /* is no way to another burst */
	assert_int_equal(drv_start(&f->d, 0, 3, 256), 0xf);
	seconds = pump(f, 0.5, 60, &packets);
	assert_rate((double)packets, 100, 1000, seconds);
	nic_done(f);
	free(f);
}

static void frames_larger_than_the_bucket_pass_at_the_rate(void **state)
{
	struct net_params p = { .tx = { .bandwidth = { 1000, 10, 0 } } }; /* 100 kB/s */
	struct nic *f = start(p, 0, 0);
	uint64_t packets;
	double seconds = pump(f, 1.0, 5000, &packets);

	(void)state;
	assert_rate((double)packets, 1, 20, seconds);
	nic_done(f);
	free(f);
}

/* A frame that the limit has let pass, and the back end has not, pays once. */
static void a_blocked_frame_pays_once(void **state)
{
	struct net_params p = { .tx = { .ops = { 1000, 3600000, 0 } } };
	struct nic *f = start(p, 0, 0);
	unsigned sent = 0;

	(void)state;
	for (unsigned i = 0; i < 200; i++)
		nic_tx(f, 1, NULL, frame, 9000);
	run(f);
	assert_true(f->c->tx_blocked > 0);
	while (sent < 200) {
		while (sock_netif_get(f->s, 0, back, sizeof(back)) > 0)
			sent++;
		drv_poll(&f->loop);
	}
	assert_int_equal(container_of(f->v, struct net, v)->tx.throttle.limiter.ops.tokens, 800);
	nic_done(f);
	free(f);
}

int main(void)
{
#define T(fn, how) { #fn "/" #how, fn, how, teardown, NULL }
#define BOTH(fn) T(fn, setup), T(fn, setup_plain)
	const struct CMUnitTest tests[] = {
		BOTH(frames_of_all_lengths_arrive),
		BOTH(frames_of_bad_length_are_dropped),
		T(any_layout_of_descriptors_is_the_same_frame, setup),
		BOTH(a_chain_must_be_readable),
		T(headers_that_lie_are_dropped, setup),
		cmocka_unit_test(what_was_not_negotiated_is_dropped),
		T(spoofed_sources_are_counted_and_sent, setup),
		T(what_the_back_end_refuses_is_counted, setup),
		BOTH(a_full_back_end_loses_nothing),
		BOTH(reset_while_the_back_end_is_full),
		BOTH(a_flood_takes_turns),
		cmocka_unit_test(bandwidth_is_limited),
		cmocka_unit_test(operations_are_limited),
		cmocka_unit_test(frames_larger_than_the_bucket_pass_at_the_rate),
		cmocka_unit_test(a_blocked_frame_pays_once),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("net-tx", tests, NULL, NULL);
}
