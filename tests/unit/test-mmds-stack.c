/* SPDX-License-Identifier: Apache-2.0 */
/* The stack: ARP, limits of connections and of refusals, eviction, other ports, other protocols. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "mmds-guest.h"

static int setup(void **state)
{
	struct mmds_guest *g = calloc(1, sizeof(*g));

	mmds_guest_open(g, 51200);
	mmds_guest_put(g, "{\"a\":\"b\"}");
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	mmds_guest_close(*state);
	free(*state);
	return 0;
}

static void take(struct mmds_guest *g, const uint8_t *frame, size_t n)
{
	mmds_stack_take(g->s, frame, n, g->now_ns);
}

static void arp_is_answered(void **state)
{
	struct mmds_guest *g = *state;
	uint8_t frame[64];

	take(g, frame, mmds_guest_arp(frame, g->ipv4));
	take(g, frame, mmds_guest_arp(frame, g->ipv4));
	assert_int_equal(mmds_stack_due_ns(g->s), 0);
	assert_int_equal(mmds_guest_fetch(g), 1); /* one that waits is enough */
	assert_int_equal(g->arps, 1);
	assert_int_equal(g->m->counters.rx_accepted, 2);
	assert_int_equal(g->m->counters.tx_frames, 1);
	assert_int_equal(g->m->counters.tx_bytes, 42);
}

static void the_address_can_be_another(void **state)
{
	struct mmds_guest *g = *state;
	uint8_t frame[64];

	mmds_stack_destroy(g->s);
	g->ipv4 = 0xa9fe1234;
	assert_int_equal(mmds_stack_create(g->m, g->ipv4, 0, &g->s, NULL), 0);
	mmds_guest_arp(frame, MMDS_IPV4);
	assert_false(mmds_stack_wants(g->s, frame, 42));
	take(g, frame, mmds_guest_arp(frame, g->ipv4));
	assert_int_equal(mmds_guest_fetch(g), 1);
	assert_true(mmds_guest_connect(g, mmds_guest_tcp(g, 1)));
	assert_non_null(strstr(mmds_guest_ask(g, g->tcps[0], "GET /a HTTP/1.0\r\n\r\n"), " 200 "));
}

static void small_links_get_small_segments(void **state)
{
	struct mmds_guest *g = *state;

	mmds_stack_destroy(g->s);
	assert_int_equal(mmds_stack_create(g->m, g->ipv4, 200, &g->s, NULL), 0);
	assert_true(mmds_guest_connect(g, mmds_guest_tcp(g, 1)));
	assert_int_equal(g->tcps[0]->mss, 160);
	mmds_guest_ask(g, g->tcps[0], "GET /cccccccccccccccccccccccccccccccccccccccccccccccccccccc"
		"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc HTTP/1.0\r\n\r\n");
	assert_int_equal(g->tcps[0]->longest, 160);
}

static void other_ports_are_refused(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = mmds_guest_tcp(g, 1);
	uint32_t seq = t->seq;

	t->to = 443;
	assert_false(mmds_guest_connect(g, t));
	assert_true(t->rst);
	t->rst = false;
	t->seq = seq;
	mmds_guest_send(g, t, TH_ACK, "data", 4);
	assert_int_equal(mmds_guest_fetch(g), 1);
	assert_true(t->rst);
	mmds_guest_send(g, t, TH_RST, NULL, 0); /* a reset is never answered by one */
	assert_int_equal(mmds_guest_fetch(g), 0);
	assert_int_equal(g->m->counters.connections_created, 0);
	assert_int_equal(g->m->counters.rx_accepted_unusual, 3);
}

static void thirty_connections_and_no_more(void **state)
{
	struct mmds_guest *g = *state;

	for (unsigned i = 0; i < MMDS_STACK_CONNECTIONS; i++)
		assert_true(mmds_guest_connect(g, mmds_guest_tcp(g, (uint16_t)(100 + i))));
	assert_false(mmds_guest_connect(g, mmds_guest_tcp(g, 200)));
	assert_true(g->tcps[30]->rst);
	for (unsigned i = 0; i < MMDS_STACK_CONNECTIONS; i++)
		assert_non_null(strstr(
			mmds_guest_ask(g, g->tcps[i], "GET /a HTTP/1.0\r\n\r\n"), " 200 "));
	/* One that ends makes room. */
	mmds_guest_send(g, g->tcps[3], TH_RST, NULL, 0);
	assert_true(mmds_guest_connect(g, mmds_guest_tcp(g, 201)));
	assert_int_equal(g->m->counters.connections_created, 31);
	assert_int_equal(g->m->counters.connections_destroyed, 1);
}

static void the_most_silent_one_makes_room(void **state)
{
	struct mmds_guest *g = *state;

	for (unsigned i = 0; i < MMDS_STACK_CONNECTIONS; i++) {
		assert_true(mmds_guest_connect(g, mmds_guest_tcp(g, (uint16_t)(100 + i))));
		g->now_ns += NSEC_PER_SEC / 1000;
	}
	mmds_guest_ask(g, g->tcps[0], "GET /a HTTP/1.0\r\n\r\n"); /* now it is the second */
	g->now_ns += MMDS_TCP_IDLE_NS - 30 * NSEC_PER_SEC / 1000;
	assert_false(mmds_guest_connect(g, mmds_guest_tcp(g, 200)));
	g->now_ns += NSEC_PER_SEC / 1000;
	assert_true(mmds_guest_connect(g, mmds_guest_tcp(g, 201)));
	assert_true(g->tcps[1]->rst);
	assert_false(g->tcps[0]->rst);
	assert_int_equal(g->m->counters.connections_destroyed, 1);
}

static void refusals_are_bounded(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = mmds_guest_tcp(g, 1);

	for (unsigned i = 0; i < 1000; i++) {
		t->port = (uint16_t)(1 + i);
		mmds_guest_send(g, t, TH_ACK, NULL, 0);
	}
	assert_int_equal(mmds_guest_fetch(g), MMDS_STACK_RESETS);
	t->port = 5000; /* and then it goes on */
	mmds_guest_send(g, t, TH_ACK, NULL, 0);
	assert_int_equal(mmds_guest_fetch(g), 1);
	assert_true(t->rst);
}

static void what_we_do_not_speak_is_counted(void **state)
{
	struct mmds_guest *g = *state;
	struct mmds_guest_tcp *t = mmds_guest_tcp(g, 1);
	uint8_t frame[128];
	size_t n = mmds_guest_segment(frame, g->ipv4, t, TH_SYN, NULL, 0);

	frame[14 + 9] = IPPROTO_UDP;
	take(g, frame, n);
	assert_int_equal(g->m->counters.rx_accepted_unusual, 1);
	frame[14 + 9] = IPPROTO_TCP;
	take(g, frame, n - 1);
	assert_int_equal(g->m->counters.rx_accepted_err, 1);
	take(g, frame, 13);
	assert_int_equal(g->m->counters.rx_bad_eth, 1);
	/* None of them opens anything: these have no SYN, or too much beside it. */
	mmds_guest_send(g, t, 0, NULL, 0);
	mmds_guest_send(g, t, TH_FIN, NULL, 0);
	mmds_guest_send(g, t, TH_SYN | TH_FIN, NULL, 0);
	mmds_guest_send(g, t, TH_SYN | TH_RST, NULL, 0);
	mmds_guest_send(g, t, TH_SYN | TH_ACK, NULL, 0);
	assert_int_equal(mmds_guest_fetch(g), 4); /* all but the reset */
	assert_int_equal(g->m->counters.connections_created, 0);
	assert_int_equal(g->m->counters.rx_accepted, 8);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(arp_is_answered),
		T(the_address_can_be_another),
		T(small_links_get_small_segments),
		T(other_ports_are_refused),
		T(thirty_connections_and_no_more),
		T(the_most_silent_one_makes_room),
		T(refusals_are_bounded),
		T(what_we_do_not_speak_is_counted),
	};

	return cmocka_run_group_tests_name("mmds-stack", tests, NULL, NULL);
}
