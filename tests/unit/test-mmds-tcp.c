/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection: opening, answers longer than segment and window, order, loss in both directions, a
 * window of zero, wrap-around, half-close, resets, hostile segments. Times are the test's.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "mmds-guest.h"

#define REQUEST "GET /big HTTP/1.1\r\n\r\n"
#define BIG	20000u

static int setup(void **state)
{
	struct mmds_guest *g = calloc(1, sizeof(*g));
	char *json = calloc(1, BIG + 64);

	mmds_guest_open(g, 51200);
	strcpy(json, "{\"small\":\"s\",\"big\":\"");
	for (unsigned i = 0; i < BIG; i++)
		strncat(json + 20 + i, &"abcdefghijklmnopqrstuvwxyz0123456789"[i % 36], 1);
	strcat(json, "\"}");
	mmds_guest_put(g, json);
	free(json);
	mmds_guest_tcp(g, 1000);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	mmds_guest_close(*state);
	free(*state);
	return 0;
}

static struct mmds_guest_tcp *connected(struct mmds_guest *g)
{
	assert_true(mmds_guest_connect(g, g->tcps[0]));
	return g->tcps[0];
}

static void ask(struct mmds_guest *g, struct mmds_guest_tcp *t, const char *request)
{
	mmds_guest_send(g, t, TH_ACK | TH_PUSH, request, strlen(request));
}

static void assert_big(const struct mmds_guest_tcp *t)
{
	const char *body = strstr(t->in, "\r\n\r\n");

	assert_non_null(body);
	assert_int_equal(strlen(body + 4), BIG);
	for (unsigned i = 0; i < BIG; i++)
		assert_int_equal(body[4 + i], "abcdefghijklmnopqrstuvwxyz0123456789"[i % 36]);
}

static void the_service_opens_with_its_mss_and_window(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);

	assert_int_equal(t->mss, 1460);
	assert_int_equal(t->their_window, 2500);
	assert_int_equal(t->segments, 1);
	assert_int_equal(mmds_guest_fetch(g), 0); /* our ACK needs none */
	assert_int_equal(mmds_stack_due_ns(g->s), MMDS_TCP_NEVER);
}

static void long_answers_come_in_segments_of_536(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);

	assert_non_null(mmds_guest_ask(g, t, REQUEST));
	assert_big(t);
	assert_int_equal(t->longest, 536);
	assert_int_equal(g->m->counters.tx_errors, 0);
	/* And again on the same connection. */
	mmds_guest_ask(g, t, REQUEST);
	assert_big(t);
}

static void the_window_is_kept_to(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);

	t->window = 1000;
	ask(g, t, REQUEST);
	mmds_guest_fetch(g);
	assert_int_equal(t->in_len, 1000);
	t->window = 100;
	mmds_guest_send(g, t, TH_ACK, NULL, 0);
	mmds_guest_fetch(g);
	assert_int_equal(t->in_len, 1100);
	t->window = 65535;
	mmds_guest_send(g, t, TH_ACK, NULL, 0);
	mmds_guest_settle(g, t);
	assert_big(t);
}

static void lost_answers_come_again(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);
	uint64_t due;

	g->deaf = true;
	ask(g, t, REQUEST);
	assert_true(mmds_guest_fetch(g) > 30);
	for (unsigned i = 0; i < 3; i++) {
		due = mmds_stack_due_ns(g->s);
		assert_true(due > g->now_ns && due <= g->now_ns + MMDS_TCP_RTO_NS);
		g->now_ns = due;
		g->deaf = i < 2;
		assert_true(mmds_guest_fetch(g) > 30);
	}
	mmds_guest_settle(g, t);
	assert_big(t);
}

static void a_lost_segment_in_the_middle_comes_again(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);
	uint8_t frame[MMDS_STACK_FRAME];

	ask(g, t, REQUEST);
	assert_true(mmds_stack_give(g->s, frame, g->now_ns) > 0); /* lost: all behind it is early */
	mmds_guest_fetch(g);
	assert_int_equal(t->in_len, 0);
	mmds_guest_send(g, t, TH_ACK, NULL, 0);
	mmds_guest_fetch(g);
	g->now_ns += MMDS_TCP_RTO_NS;
	mmds_guest_settle(g, t);
	assert_big(t);
}

static void a_guest_that_is_silent_is_given_up(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);
	unsigned rounds = 0;

	g->deaf = true;
	ask(g, t, "GET /small HTTP/1.1\r\n\r\n");
	for (; mmds_stack_due_ns(g->s) != MMDS_TCP_NEVER; rounds++) {
		g->deaf = rounds < MMDS_TCP_TRIES;
		mmds_guest_fetch(g);
		if (mmds_stack_due_ns(g->s) != MMDS_TCP_NEVER)
			g->now_ns = mmds_stack_due_ns(g->s);
	}
	assert_in_range(rounds, MMDS_TCP_TRIES, MMDS_TCP_TRIES + 2);
	assert_int_equal(g->m->counters.connections_destroyed, 1);
}

static void a_shut_window_is_probed(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);

	t->window = 0;
	ask(g, t, REQUEST);
	mmds_guest_fetch(g);
	assert_int_equal(t->in_len, 0);
	for (unsigned i = 0; i < 3 * MMDS_TCP_TRIES; i++) {
		uint32_t ack = t->ack;

		g->now_ns = mmds_stack_due_ns(g->s);
		t->longest = 0;
		assert_int_equal(mmds_guest_fetch(g), 1);
		assert_int_equal(t->longest, 1);
		t->ack = ack; /* not taken: there is no room */
		t->in_len = 0;
		mmds_guest_send(g, t, TH_ACK, NULL, 0);
		assert_int_equal(mmds_guest_fetch(g), 0);
	}
	t->window = 65535; /* who answers is not given up, and opens at once */
	mmds_guest_send(g, t, TH_ACK, NULL, 0);
	mmds_guest_settle(g, t);
	assert_big(t);
}

static void a_probe_may_be_taken(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);

	t->window = 0;
	ask(g, t, REQUEST);
	mmds_guest_fetch(g);
	for (unsigned i = 0; i < 3; i++) {
		g->now_ns += MMDS_TCP_RTO_NS;
		mmds_guest_settle(g, t);
		assert_int_equal(t->in_len, i + 1);
	}
	t->window = 65535;
	mmds_guest_send(g, t, TH_ACK, NULL, 0);
	mmds_guest_settle(g, t);
	assert_big(t);
}

/* The request in pieces, each twice, some early: only what is in order counts. */
static void pieces_are_put_in_order(void **state)
{
	static const char request[] = "GET /small HTTP/1.1\r\nX: yyyyyyyyyyyyyyyyyyyy\r\n\r\n";
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);
	uint32_t begin = t->seq;

	for (size_t i = 0; i < sizeof(request) - 1; i += 3) {
		size_t n = MIN(sizeof(request) - 1 - i, (size_t)3);

		t->seq = begin + (uint32_t)i + 1; /* early */
		if (n > 1)
			mmds_guest_send(g, t, TH_ACK, request + i + 1, n - 1);
		t->seq = begin + (uint32_t)i;
		mmds_guest_send(g, t, TH_ACK, request + i, n);
		t->seq = begin; /* all again */
		mmds_guest_send(g, t, TH_ACK, request, i + n);
	}
	mmds_guest_settle(g, t);
	assert_string_equal(strstr(t->in, "\r\n\r\n") + 4, "s");
	assert_int_equal(g->m->counters.rx_no_token, 1); /* one request */
}

static void requests_can_be_sent_ahead(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);
	const char *one = "GET /small HTTP/1.1\r\n\r\n", *at = t->in;
	char many[2400] = "";

	for (unsigned i = 0; i < 90; i++)
		strcat(many, one);
	ask(g, t, many);
	mmds_guest_settle(g, t);
	for (unsigned i = 0; i < 90; i++) {
		at = strstr(at, "\r\n\r\ns");
		assert_non_null(at);
		at += 5;
	}
	assert_string_equal(at, "");
	assert_int_equal(t->their_window, 2500);
}

/* What the guest sends while it does not take an answer fills our window, and no more. */
static void our_window_shuts_and_opens(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);
	static char filler[4000];
	uint32_t begin;

	memset(filler, '\n', sizeof(filler));
	memcpy(filler + 2500 - strlen(REQUEST), REQUEST, strlen(REQUEST));
	t->window = 0;
	ask(g, t, REQUEST);
	mmds_guest_fetch(g);
	begin = t->seq;
	mmds_guest_send(g, t, TH_ACK, filler, sizeof(filler));
	mmds_guest_fetch(g);
	assert_int_equal(t->their_window, 0);
	assert_false(t->rst);
	t->seq = begin + 2500; /* the rest was not taken */
	mmds_guest_send(g, t, TH_ACK, "x", 1);
	mmds_guest_fetch(g);
	assert_int_equal(t->their_window, 0);
	t->seq = begin + 2500;
	t->window = 65535;
	mmds_guest_send(g, t, TH_ACK, NULL, 0);
	mmds_guest_settle(g, t);
	assert_true(t->their_window > 0);
}

static void requests_that_are_too_long_are_reset(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);
	char line[101];

	ask(g, t, "GET / HTTP/1.1\r\n");
	memset(line, 'x', sizeof(line));
	line[1] = ':';
	memcpy(line + 98, "\r\n", 3);
	for (unsigned i = 0; i < 30 && !t->rst; i++) {
		ask(g, t, line);
		mmds_guest_fetch(g);
	}
	assert_true(t->rst);
	assert_int_equal(g->m->counters.connections_destroyed, 1);
}

/* nc: the request, and at once the end of what is sent. */
static void half_closed_connections_are_answered(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);

	mmds_guest_send(g, t, TH_ACK | TH_PUSH | TH_FIN, REQUEST, strlen(REQUEST));
	mmds_guest_settle(g, t);
	assert_big(t);
	assert_true(t->fin);
	assert_int_equal(g->m->counters.connections_destroyed, 1);
	assert_int_equal(mmds_stack_due_ns(g->s), MMDS_TCP_NEVER);
}

static void a_close_is_answered_by_one(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);
	uint32_t fin;

	mmds_guest_ask(g, t, "GET /small HTTP/1.1\r\n\r\n");
	fin = t->seq;
	g->deaf = true;
	mmds_guest_send(g, t, TH_ACK | TH_FIN, NULL, 0);
	assert_int_equal(mmds_guest_fetch(g), 1); /* lost */
	t->seq = fin;
	mmds_guest_send(g, t, TH_ACK | TH_FIN, NULL, 0); /* again: acknowledged again */
	assert_int_equal(mmds_guest_fetch(g), 1);
	g->deaf = false;
	g->now_ns += MMDS_TCP_RTO_NS;
	mmds_guest_fetch(g);
	assert_true(t->fin);
	assert_int_equal(g->m->counters.connections_destroyed, 0);
	mmds_guest_send(g, t, TH_ACK, NULL, 0);
	assert_int_equal(g->m->counters.connections_destroyed, 1);
	/* What comes behind it belongs to nothing. */
	mmds_guest_send(g, t, TH_ACK, NULL, 0);
	mmds_guest_fetch(g);
	assert_true(t->rst);
}

static void lost_openings_are_repeated(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = g->tcps[0];
	uint32_t seq = t->seq;

	g->deaf = true;
	mmds_guest_send(g, t, TH_SYN, NULL, 0);
	assert_int_equal(mmds_guest_fetch(g), 1);
	t->seq = seq;
	mmds_guest_send(g, t, TH_SYN, NULL, 0); /* the guest's again: an answer at once */
	assert_int_equal(mmds_guest_fetch(g), 1);
	g->deaf = false;
	g->now_ns += MMDS_TCP_RTO_NS; /* and ours by itself */
	assert_int_equal(mmds_guest_fetch(g), 1);
	assert_true(t->synced);
	mmds_guest_send(g, t, TH_ACK, NULL, 0);
	assert_string_equal(strstr(mmds_guest_ask(g, t, "GET /small HTTP/1.0\r\n\r\n"), "\r\n\r\n"),
		"\r\n\r\ns");
	assert_int_equal(g->m->counters.connections_created, 1);
}

static void resets_must_be_in_the_window(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);
	uint32_t seq = t->seq;

	t->seq = seq - 1;
	mmds_guest_send(g, t, TH_RST, NULL, 0);
	t->seq = seq + 2501;
	mmds_guest_send(g, t, TH_RST | TH_ACK, NULL, 0);
	assert_int_equal(g->m->counters.connections_destroyed, 0);
	t->seq = seq + 2500;
	mmds_guest_send(g, t, TH_RST, NULL, 0);
	assert_int_equal(g->m->counters.connections_destroyed, 1);
	assert_int_equal(mmds_guest_fetch(g), 0);
}

static void a_syn_in_a_connection_is_challenged(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);
	uint32_t seq = t->seq, ack = t->ack;

	t->seq = seq + 5000;
	mmds_guest_send(g, t, TH_SYN, NULL, 0);
	t->segments = t->empty = 0;
	assert_int_equal(mmds_guest_fetch(g), 1);
	assert_int_equal(t->empty, 1);
	assert_false(t->rst);
	t->seq = seq;
	t->ack = ack;
	assert_non_null(strstr(mmds_guest_ask(g, t, "GET /small HTTP/1.0\r\n\r\n"), " 200 "));
}

static void acknowledgements_of_nothing_are_ignored(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);
	uint32_t ack = t->ack;

	for (unsigned i = 1; i < 32; i++) {
		t->ack = ack + (1u << i);
		mmds_guest_send(g, t, TH_ACK, NULL, 0);
		t->ack = ack - (1u << i);
		mmds_guest_send(g, t, TH_ACK, NULL, 0);
	}
	t->ack = ack;
	mmds_guest_fetch(g);
	assert_non_null(strstr(mmds_guest_ask(g, t, "GET /small HTTP/1.0\r\n\r\n"), " 200 "));
}

static void a_wrong_first_acknowledgement_is_reset(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = g->tcps[0];

	mmds_guest_send(g, t, TH_SYN, NULL, 0);
	mmds_guest_fetch(g);
	t->ack += 1;
	mmds_guest_send(g, t, TH_ACK, NULL, 0);
	mmds_guest_fetch(g);
	assert_true(t->rst);
	assert_int_equal(g->m->counters.connections_destroyed, 1);
}

static void keep_alives_are_answered(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = connected(g);

	t->seq--;
	mmds_guest_send(g, t, TH_ACK, NULL, 0);
	assert_int_equal(mmds_guest_fetch(g), 1);
	assert_int_equal(t->empty, 2);
	assert_false(t->rst);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_service_opens_with_its_mss_and_window),
		T(long_answers_come_in_segments_of_536),
		T(the_window_is_kept_to),
		T(lost_answers_come_again),
		T(a_lost_segment_in_the_middle_comes_again),
		T(a_guest_that_is_silent_is_given_up),
		T(a_shut_window_is_probed),
		T(a_probe_may_be_taken),
		T(pieces_are_put_in_order),
		T(requests_can_be_sent_ahead),
		T(our_window_shuts_and_opens),
		T(requests_that_are_too_long_are_reset),
		T(half_closed_connections_are_answered),
		T(a_close_is_answered_by_one),
		T(lost_openings_are_repeated),
		T(resets_must_be_in_the_window),
		T(a_syn_in_a_connection_is_challenged),
		T(acknowledgements_of_nothing_are_ignored),
		T(a_wrong_first_acknowledgement_is_reset),
		T(keep_alives_are_answered),
	};

	return cmocka_run_group_tests_name("mmds-tcp", tests, NULL, NULL);
}
