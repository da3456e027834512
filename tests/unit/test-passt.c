/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames on passt's stream, with the test at the other end: whole frames whatever the pieces,
 * order, a full socket, nonsense, and the end. Real passt processes: test-passt-proc.c.
 */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop.h"
#include "passt.h"

#define HDR NETIF_HEADER_BYTES

static struct fixture {
	struct loop loop;
	struct netif *n;
	int peer;
	unsigned downs;
	uint8_t in[HDR + NETIF_FRAME_MAX], out[HDR + NETIF_FRAME_MAX];
	uint8_t stream[8 << 20];
	size_t n_stream;
} f;

static void on_link(void *owner, bool up)
{
	assert_ptr_equal(owner, &f);
	assert_false(up);
	f.downs++;
}

static int setup(void **state)
{
	int pair[2], small = 4096;

	(void)state;
	memset(&f, 0, sizeof(f));
	assert_int_equal(loop_init(&f.loop, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	assert_int_equal(passt_from_fd(pair[0], &f.loop, &f.n, NULL), 0);
	f.n->events.link = on_link;
	f.n->events.owner = &f;
	f.peer = pair[1];
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	netif_destroy(f.n);
	if (f.peer >= 0)
		close(f.peer);
	loop_done(&f.loop);
	return 0;
}

/* Frame number i: its bytes depend on it and on their place. */
static void make_frame(uint8_t *p, size_t len, unsigned i)
{
	for (size_t k = 0; k < len; k++)
		p[k] = (uint8_t)(i * 31 + k * 7 + (k >> 8));
}

static int send_frame(size_t len, unsigned i)
{
	struct iovec iov[3];

	memset(f.out, 0xee, HDR); /* ignored */
	make_frame(f.out + HDR, len, i);
	iov[0] = (struct iovec){ f.out, HDR + 1 };
	iov[1] = (struct iovec){ f.out + HDR + 1, len / 3 };
	iov[2] = (struct iovec){ f.out + HDR + 1 + len / 3, len - 1 - len / 3 };
	return f.n->ops->send(f.n, 0, iov, 3, HDR + len);
}

static ssize_t recv_frame(size_t room)
{
	struct iovec iov[3] = { { f.in, 5 }, { f.in + 5, 0 }, { f.in + 5, room - 5 } };

	memset(f.in, 0xaa, sizeof(f.in));
	return f.n->ops->recv(f.n, 0, iov, 3);
}

static void assert_frame(const uint8_t *p, size_t len, unsigned i)
{
	static uint8_t want[NETIF_FRAME_MAX];

	make_frame(want, len, i);
	assert_memory_equal(p, want, len);
}

/* Everything that the peer can read now. */
static void drain(void)
{
	ssize_t n;

	while ((n = recv(f.peer, f.stream + f.n_stream, sizeof(f.stream) - f.n_stream,
			MSG_DONTWAIT)) > 0)
		f.n_stream += (size_t)n;
	assert_int_equal(errno, EAGAIN);
}

static void peer_writes(const void *p, size_t len)
{
	assert_int_equal(send(f.peer, p, len, MSG_NOSIGNAL), len);
}

static void peer_sends_frame(size_t len, unsigned i)
{
	uint32_t length = htonl((uint32_t)len);

	make_frame(f.out, len, i);
	peer_writes(&length, 4);
	peer_writes(f.out, len);
}

static void close_peer(void)
{
	close(f.peer);
	f.peer = -1;
}

static void a_frame_goes_out_behind_its_length(void **state)
{
	(void)state;
	assert_int_equal(send_frame(14, 1), 0);
	assert_int_equal(send_frame(1514, 2), 0);
	drain();
	assert_int_equal(f.n_stream, 4 + 14 + 4 + 1514);
	assert_memory_equal(f.stream, "\0\0\0\16", 4);
	assert_frame(f.stream + 4, 14, 1);
	assert_memory_equal(f.stream + 18, "\0\0\5\xea", 4);
	assert_frame(f.stream + 22, 1514, 2);
	assert_int_equal(send_frame(13, 3), -EMSGSIZE);
	drain();
	assert_int_equal(f.n_stream, 4 + 14 + 4 + 1514);
}

static void what_it_is_can_be_read_from_it(void **state)
{
	int pair[2];
	struct netif *n;
	struct volt_err err = { 0 };

	(void)state;
	assert_string_equal(f.n->ops->name, "passt");
	assert_false(f.n->ops->can_vhost);
	assert_int_equal(f.n->n_queues, 1);
	assert_int_equal(f.n->offloads, 0);
	assert_true(f.n->link_up);
	assert_int_equal(f.n->fds[1], -1);
	assert_int_equal(f.n->ops->set_offloads(f.n, 0), 0);
	assert_int_equal(f.n->ops->set_offloads(f.n, NETIF_CSUM), -EINVAL);
	assert_int_equal(f.n->ops->set_queues(f.n, 1), 0);
	assert_int_equal(f.n->ops->set_queues(f.n, 2), -EINVAL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	assert_int_equal(passt_from_fd(pair[0], &f.loop, &n, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "not a stream socket"));
	assert_int_equal(close(pair[0]), 0); /* still ours */
	close(pair[1]);
}

/* Checks the stream from *at on and returns the number of whole frames in it. */
static unsigned check_stream(size_t len)
{
	unsigned i = 0;

	for (size_t at = 0; at + 4 + len <= f.n_stream; at += 4 + len, i++) {
		uint32_t length;

		memcpy(&length, f.stream + at, 4);
		assert_int_equal(ntohl(length), len);
		assert_frame(f.stream + at + 4, len, i);
	}
	return i;
}

static void a_part_that_did_not_fit_follows_without_another_send(void **state)
{
	const size_t len = 60000;
	unsigned sent = 0, cut = 0, r;

	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		while ((r = (unsigned)send_frame(len, sent)) == 0)
			sent++;
		assert_int_equal((int)r, -EAGAIN);
		drain();
		if (f.n_stream % (4 + len) == 0)
			continue;
		cut++;
		assert_int_equal(loop_poll(&f.loop, 1000), 0);
		for (unsigned k = 0; k < 100 && f.n_stream < sent * (4 + len); k++) {
			drain();
			assert_int_equal(loop_poll(&f.loop, 10), 0);
		}
		drain();
		assert_int_equal(f.n_stream, sent * (4 + len));
	}
	assert_true(cut > 0);
	assert_int_equal(check_stream(len), sent);
	/* Nothing is kept back: nothing is watched. */
	assert_int_equal(loop_poll(&f.loop, 0), 0);
	assert_int_equal(f.downs, 0);
}

static void a_send_flushes_what_was_kept_back_first(void **state)
{
	const size_t len = 50000;
	unsigned sent = 0;

	(void)state;
	while (sent < 100) {
		if (send_frame(len, sent) == 0)
			sent++;
		else
			drain();
	}
	for (unsigned k = 0; k < 10; k++) {
		loop_poll(&f.loop, 10);
		drain();
	}
	assert_int_equal(f.n_stream, sent * (4 + len));
	assert_int_equal(check_stream(len), sent);
}

static void frames_come_in_behind_a_header_of_zeros(void **state)
{
	static const uint8_t zeros[HDR];

	(void)state;
	assert_int_equal(recv_frame(sizeof(f.in)), -EAGAIN);
	peer_sends_frame(60, 1);
	peer_sends_frame(14, 2);
	peer_sends_frame(NETIF_FRAME_MAX, 3);
	assert_int_equal(recv_frame(sizeof(f.in)), HDR + 60);
	assert_memory_equal(f.in, zeros, HDR);
	assert_frame(f.in + HDR, 60, 1);
	assert_int_equal(recv_frame(sizeof(f.in)), HDR + 14);
	assert_frame(f.in + HDR, 14, 2);
	assert_int_equal(recv_frame(sizeof(f.in)), HDR + NETIF_FRAME_MAX);
	assert_memory_equal(f.in, zeros, HDR);
	assert_frame(f.in + HDR, NETIF_FRAME_MAX, 3);
	assert_int_equal(recv_frame(sizeof(f.in)), -EAGAIN);
}

static void frames_may_come_byte_by_byte(void **state)
{
	uint8_t wire[2 * (4 + 40)] = { [3] = 40, [44 + 3] = 40 };

	(void)state;
	make_frame(wire + 4, 40, 1);
	make_frame(wire + 44 + 4, 40, 2);
	for (size_t i = 0; i < sizeof(wire); i++) {
		peer_writes(wire + i, 1);
		if (i % 44 != 43) {
			assert_int_equal(recv_frame(sizeof(f.in)), -EAGAIN);
			continue;
		}
		assert_int_equal(recv_frame(sizeof(f.in)), HDR + 40);
		assert_frame(f.in + HDR, 40, i < 44 ? 1 : 2);
	}
}

static void a_frame_longer_than_the_room_is_lost_alone(void **state)
{
	(void)state;
	peer_sends_frame(1514, 1);
	peer_sends_frame(60, 2);
	assert_int_equal(recv_frame(HDR + 1513), -EMSGSIZE);
	assert_int_equal(recv_frame(HDR + 60), HDR + 60);
	assert_frame(f.in + HDR, 60, 2);
	assert_int_equal(f.downs, 0);
}

/* Marsaglia's xorshift. */
static uint64_t next(uint64_t x)
{
	x ^= x << 13;
	x ^= x >> 7;
	return x ^ x << 17;
}

/* More than the buffer holds, in sizes of all kinds, read while it is written. */
static void a_long_stream_arrives_whole(void **state)
{
	enum { N = 3000 };
	static size_t len[N];
	size_t at = 0, end = 0;
	unsigned got = 0;
	uint64_t x = 88172645463325252;
	ssize_t n;

	(void)state;
	for (unsigned i = 0; i < N && end + 4 + NETIF_FRAME_MAX < sizeof(f.stream); i++) {
		uint32_t be;

		x = next(x);
		len[i] = 14 + x % (x & 0x700000 ? 1501 : NETIF_FRAME_MAX - 13);
		be = htonl((uint32_t)len[i]);
		memcpy(f.stream + end, &be, 4);
		make_frame(f.stream + end + 4, len[i], i);
		end += 4 + len[i];
	}
	while (at < end) {
		n = send(f.peer, f.stream + at, MIN(end - at, 1 + x % 90000), MSG_DONTWAIT);
		x = next(x);
		at += (size_t)MAX(n, 0);
		while ((n = recv_frame(sizeof(f.in))) > 0) {
			assert_int_equal(n, HDR + len[got]);
			assert_frame(f.in + HDR, len[got], got);
			got++;
		}
		assert_int_equal(n, -EAGAIN);
	}
	assert_true(got > 100);
	assert_true(got == N || len[got] == 0);
	assert_int_equal(f.downs, 0);
}

static void assert_dead(void)
{
	assert_int_equal(f.downs, 1);
	assert_false(f.n->link_up);
	assert_int_equal(recv_frame(sizeof(f.in)), -EAGAIN);
	assert_int_equal(send_frame(60, 1), -EPIPE);
	assert_int_equal(loop_poll(&f.loop, 0), 0);
	assert_int_equal(f.downs, 1);
}

static void nonsense_takes_the_link_down(void **state)
{
	static const uint32_t bad[] = { 0, 13, NETIF_FRAME_MAX + 1, 0x7fffffff, 0xffffffff };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint32_t length = htonl(bad[i]);

		if (i > 0) {
			teardown(state);
			setup(state);
		}
		peer_sends_frame(60, 1);
		peer_writes(&length, 4);
		assert_int_equal(recv_frame(sizeof(f.in)), HDR + 60);
		assert_int_equal(recv_frame(sizeof(f.in)), -EPROTO);
		assert_dead();
	}
}

static void the_end_takes_the_link_down(void **state)
{
	(void)state;
	peer_sends_frame(60, 1);
	peer_writes("\0\0", 2);
	close_peer();
	assert_int_equal(recv_frame(sizeof(f.in)), HDR + 60);
	assert_int_equal(recv_frame(sizeof(f.in)), -EPIPE);
	assert_dead();
}

static void sending_into_the_end_takes_the_link_down(void **state)
{
	(void)state;
	close_peer();
	assert_int_equal(send_frame(60, 1), -EPIPE);
	assert_dead();
}

static void the_end_with_something_kept_back_takes_the_link_down(void **state)
{
	(void)state;
	while (send_frame(60000, 1) == 0)
		;
	close_peer();
	assert_int_equal(loop_poll(&f.loop, 1000), 0);
	assert_dead();
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_it_is_can_be_read_from_it),
		TEST(a_frame_goes_out_behind_its_length),
		TEST(a_part_that_did_not_fit_follows_without_another_send),
		TEST(a_send_flushes_what_was_kept_back_first),
		TEST(frames_come_in_behind_a_header_of_zeros),
		TEST(frames_may_come_byte_by_byte),
		TEST(a_frame_longer_than_the_room_is_lost_alone),
		TEST(a_long_stream_arrives_whole),
		TEST(nonsense_takes_the_link_down),
		TEST(the_end_takes_the_link_down),
		TEST(sending_into_the_end_takes_the_link_down),
		TEST(the_end_with_something_kept_back_takes_the_link_down),
	};

	return cmocka_run_group_tests_name("passt", tests, NULL, NULL);
}
