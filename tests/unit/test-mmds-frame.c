/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: whose they are, every length that lies, options, what is written; see mmds-guest.h. */
#include "test.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "mmds-guest.h"

#define ETH 14u
#define IP  (ETH + 20u)
#define TCP (IP + 20u)

static uint8_t frame[MMDS_GUEST_FRAME];
static struct mmds_frame_peer peer;
static struct mmds_frame_segment segment;

static struct mmds_guest_tcp client(void)
{
	return (struct mmds_guest_tcp){ .port = 1234, .to = 80, .seq = 7, .ack = 9, .window = 11 };
}

static size_t syn(const void *options, size_t n)
{
	struct mmds_guest_tcp t = client();
	size_t bytes = mmds_guest_segment(frame, MMDS_IPV4, &t, TH_SYN, options, n);

	frame[IP + 12] = (uint8_t)((5 + n / 4) << 4); /* what follows are options */
	return bytes;
}

static bool wants(size_t n)
{
	return mmds_frame_wants(frame, MIN(n, MMDS_FRAME_HEAD), MMDS_IPV4);
}

static enum mmds_frame_kind kind(size_t n)
{
	/* At the end of an allocation, so that ASan sees a byte too many. */
	uint8_t *copy = malloc(n);
	enum mmds_frame_kind k;

	memcpy(copy, frame, n);
	k = mmds_frame_read(copy, n, &peer, &segment);
	free(copy);
	return k;
}

static void only_our_address_is_wanted(void **state)
{
	struct mmds_guest_tcp t = client();

	(void)state;
	assert_true(wants(mmds_guest_arp(frame, MMDS_IPV4)));
	frame[ETH + 7] = 2; /* a reply */
	assert_false(wants(42));
	assert_false(wants(mmds_guest_arp(frame, MMDS_IPV4 + 1)));
	mmds_guest_arp(frame, MMDS_IPV4);
	assert_false(wants(41));
	assert_true(wants(mmds_guest_segment(frame, MMDS_IPV4, &t, TH_ACK, NULL, 0)));
	assert_false(wants(33));
	assert_true(wants(34));
	frame[ETH + 9] = IPPROTO_UDP; /* by its address all the same */
	assert_true(wants(TCP));
	frame[12] = 0x86; /* IPv6 */
	frame[13] = 0xdd;
	assert_false(wants(TCP));
	assert_false(wants(mmds_guest_segment(frame, MMDS_IPV4 - 1, &t, TH_ACK, NULL, 0)));
	assert_false(wants(0));
}

static void arp_requests_are_read(void **state)
{
	size_t n = mmds_guest_arp(frame, MMDS_IPV4);

	(void)state;
	assert_int_equal(kind(n), MMDS_FRAME_ARP);
	assert_memory_equal(peer.mac, mmds_guest_mac, 6);
	assert_int_equal(peer.ipv4, MMDS_GUEST_IPV4);
	for (size_t i = ETH; i < n; i++)
		assert_int_equal(kind(i), MMDS_FRAME_BROKEN);
	for (size_t i = 0; i < ETH; i++)
		assert_int_equal(kind(i), MMDS_FRAME_SHORT);
	for (size_t i = ETH; i < ETH + 8; i++) { /* types, lengths, operation */
		frame[i] ^= 4;
		assert_int_equal(kind(n), MMDS_FRAME_BROKEN);
		frame[i] ^= 4;
	}
}

static void segments_are_read(void **state)
{
	struct mmds_guest_tcp t = client();
	size_t n = mmds_guest_segment(frame, MMDS_IPV4, &t, TH_ACK | TH_FIN, "hello", 5);

	(void)state;
	assert_int_equal(kind(n), MMDS_FRAME_TCP);
	assert_int_equal(peer.ipv4, MMDS_GUEST_IPV4);
	assert_int_equal(peer.port, 1234);
	assert_memory_equal(peer.mac, mmds_guest_mac, 6);
	assert_int_equal(segment.port, 80);
	assert_int_equal(segment.seq, 7);
	assert_int_equal(segment.ack, 9);
	assert_int_equal(segment.window, 11);
	assert_int_equal(segment.flags, MMDS_FRAME_ACK | MMDS_FRAME_FIN);
	assert_int_equal(segment.len, 5);
	/* Padding of the link is no data. */
	assert_int_equal(kind(n + 10), MMDS_FRAME_TCP);
	assert_int_equal(segment.len, 5);
	for (size_t i = ETH; i < n; i++)
		assert_int_equal(kind(i), MMDS_FRAME_BROKEN);
}

static void lengths_that_lie_are_broken(void **state)
{
	struct mmds_guest_tcp t = client();
	size_t n = mmds_guest_segment(frame, MMDS_IPV4, &t, TH_ACK, "hello", 5);

	(void)state;
	for (unsigned ihl = 0; ihl < 16; ihl++) {
		frame[ETH] = (uint8_t)(0x40 | ihl);
		if (ihl != 5) /* what then is at the place of TCP's length is too small or large */
			assert_int_equal(kind(n), MMDS_FRAME_BROKEN);
	}
	frame[ETH] = 0x65;
	assert_int_equal(kind(n), MMDS_FRAME_BROKEN);
	frame[ETH] = 0x45;
	for (unsigned off = 0; off < 16; off++) {
		frame[IP + 12] = (uint8_t)(off << 4);
		assert_int_equal(kind(n), off == 5 || off == 6 ? MMDS_FRAME_TCP :
								 MMDS_FRAME_BROKEN);
	}
	frame[IP + 12] = 5 << 4;
	for (unsigned total = 0; total < 65536; total += 5) {
		frame[ETH + 2] = (uint8_t)(total >> 8);
		frame[ETH + 3] = (uint8_t)total;
		assert_int_equal(kind(n), total < 40 || total > n - ETH ? MMDS_FRAME_BROKEN :
									  MMDS_FRAME_TCP);
	}
}

static void fragments_and_others_are_no_segments(void **state)
{
	struct mmds_guest_tcp t = client();
	size_t n = mmds_guest_segment(frame, MMDS_IPV4, &t, TH_ACK, NULL, 0);

	(void)state;
	frame[ETH + 6] = 0x20; /* more fragments */
	assert_int_equal(kind(n), MMDS_FRAME_OTHER);
	frame[ETH + 6] = 0x00;
	frame[ETH + 7] = 1; /* an offset */
	assert_int_equal(kind(n), MMDS_FRAME_OTHER);
	frame[ETH + 6] = 0x40; /* "don't fragment" says nothing */
	frame[ETH + 7] = 0;
	assert_int_equal(kind(n), MMDS_FRAME_TCP);
	frame[ETH + 9] = IPPROTO_ICMP;
	assert_int_equal(kind(n), MMDS_FRAME_OTHER);
	frame[12] = 0x86;
	assert_int_equal(kind(n), MMDS_FRAME_OTHER);
}

/* A segment of 64 KiB, as segmentation offload makes them: what was cut off is missing. */
static void long_frames_are_cut(void **state)
{
	static uint8_t data[60000];
	struct mmds_guest_tcp t = client();

	(void)state;
	mmds_guest_segment(frame, MMDS_IPV4, &t, TH_ACK | TH_FIN, data, sizeof(data));
	assert_int_equal(kind(MMDS_FRAME_MAX), MMDS_FRAME_TCP);
	assert_int_equal(segment.len, MMDS_FRAME_MAX - TCP);
	assert_int_equal(segment.flags, MMDS_FRAME_ACK);
	assert_int_equal(kind(MMDS_FRAME_MAX - 1), MMDS_FRAME_BROKEN);
	/* One that fits just so is whole. */
	mmds_guest_segment(frame, MMDS_IPV4, &t, TH_ACK | TH_FIN, data, MMDS_FRAME_MAX - TCP);
	assert_int_equal(kind(MMDS_FRAME_MAX), MMDS_FRAME_TCP);
	assert_int_equal(segment.flags, MMDS_FRAME_ACK | MMDS_FRAME_FIN);
}

static void the_mss_is_found_among_the_options(void **state)
{
	static const struct {
		uint8_t bytes[12];
		uint16_t mss;
	} options[] = {
		{ { 2, 4, 0x05, 0xb4 }, 1460 },
		{ { 1, 1, 1, 2, 4, 0x02, 0x18 }, 536 },
		{ { 3, 3, 7, 1, 2, 4, 0xff, 0xff }, 65535 },
		{ { 0, 2, 4, 5, 0xb4 }, 0 }, /* behind the end */
		{ { 2, 3, 5, 2, 4, 5, 0xb4 }, 1460 }, /* of no such length */
		{ { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2 }, 0 }, /* cut off */
		{ { 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 5 }, 0 },
		{ { 5, 0, 2, 4, 5, 0xb4 }, 0 }, /* a length that would not end */
		{ { 5, 1, 2, 4, 5, 0xb4 }, 0 },
		{ { 5, 200, 2, 4, 5, 0xb4 }, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		assert_int_equal(kind(syn(options[i].bytes, 12)), MMDS_FRAME_TCP);
		assert_int_equal(segment.mss, options[i].mss);
		assert_int_equal(segment.len, 0);
	}
}

static void what_is_written_is_right(void **state)
{
	static const char data[] = "an odd number of bytes.";
	struct mmds_frame_peer to = { .port = 999, .ipv4 = MMDS_GUEST_IPV4 };
	struct mmds_frame_segment s = { .seq = 0xffffffff, .ack = 3, .port = 80, .window = 2500,
		.flags = MMDS_FRAME_SYN | MMDS_FRAME_ACK, .mss = 1460 };
	struct mmds_guest_seen seen;
	size_t n;

	(void)state;
	memcpy(to.mac, mmds_guest_mac, 6);
	n = mmds_frame_write_arp(frame, MMDS_IPV4, &to);
	mmds_guest_check(frame, n, MMDS_IPV4, &seen);
	assert_true(seen.arp);
	assert_memory_equal(frame, mmds_guest_mac, 6);
	n = mmds_frame_write_tcp(frame, MMDS_IPV4, &to, &s);
	mmds_guest_check(frame, n, MMDS_IPV4, &seen);
	assert_int_equal(seen.mss, 1460);
	s.mss = 0;
	s.flags = MMDS_FRAME_ACK | MMDS_FRAME_PSH;
	s.data = (const uint8_t *)data;
	for (s.len = 0; s.len < sizeof(data); s.len++) {
		n = mmds_frame_write_tcp(frame, MMDS_IPV4, &to, &s);
		mmds_guest_check(frame, n, MMDS_IPV4, &seen);
		assert_int_equal(seen.len, s.len);
		assert_memory_equal(seen.data, data, s.len);
		assert_int_equal(ntohl(seen.tcp.seq), 0xffffffff);
		assert_int_equal(ntohs(seen.tcp.dest), 999);
		assert_int_equal(ntohs(seen.tcp.source), 80);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_our_address_is_wanted),
		cmocka_unit_test(arp_requests_are_read),
		cmocka_unit_test(segments_are_read),
		cmocka_unit_test(lengths_that_lie_are_broken),
		cmocka_unit_test(fragments_and_others_are_no_segments),
		cmocka_unit_test(long_frames_are_cut),
		cmocka_unit_test(the_mss_is_found_among_the_options),
		cmocka_unit_test(what_is_written_is_right),
	};

	return cmocka_run_group_tests_name("mmds-frame", tests, NULL, NULL);
}
