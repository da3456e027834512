/* SPDX-License-Identifier: Apache-2.0 */
/* A rate limit in an event loop: who waits, what ends it, and a change of the limit. */
#include "test.h"

#include <string.h>

#include "throttle.h"

#define HOUR 3600000u /* ms */

static struct fixture {
	struct loop loop;
	struct throttle t;
	_Atomic uint64_t refused, released;
	unsigned calls, expiries;
} f;

static void on_timer(struct loop_src *src, uint32_t events)
{
	(void)events;
	assert_ptr_equal(src, &f.t.src);
	f.calls++;
	f.expiries += throttle_expire(&f.t, &f.released);
}

static void start(uint64_t size, uint64_t refill_ms)
{
	struct limiter_params p = { .ops = { size, refill_ms, 0 } };

	memset(&f, 0, sizeof(f));
	assert_int_equal(loop_init(&f.loop, NULL), 0);
	assert_int_equal(throttle_open(&f.t, &f.loop, &p, "test", on_timer, NULL), 0);
}

static void stop(void)
{
	throttle_close(&f.t);
	loop_done(&f.loop);
}

static void turn_until_call(void)
{
	uint64_t end = loop_now_ns() + 10 * NSEC_PER_SEC;
	unsigned before = f.calls;

	while (f.calls == before && loop_now_ns() < end)
		assert_int_equal(loop_poll(&f.loop, 100), 0);
	assert_int_equal(f.calls, before + 1);
}

static void without_a_limit_nothing_waits(void **state)
{
	(void)state;
	start(0, 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_true(throttle_take(&f.t, 1 << 20, &f.refused));
	assert_false(throttle_holds(&f.t));
	assert_int_equal(f.refused, 0);
	stop();
}

static void the_timer_ends_the_wait(void **state)
{
	(void)state;
	start(1, 5);
	for (unsigned i = 0; i < 5; i++) {
		while (throttle_take(&f.t, 0, &f.refused))
			;
		assert_true(throttle_holds(&f.t));
		turn_until_call();
		assert_int_equal(f.expiries, i + 1);
		assert_int_equal(f.released, i + 1);
		assert_false(throttle_holds(&f.t));
	}
	assert_int_equal(f.refused, 5);
	stop();
}

static void another_wait_does_not_end_that_for_the_limit(void **state)
{
	uint64_t now_ns;

	(void)state;
	start(1, HOUR);
	assert_true(throttle_take(&f.t, 0, &f.refused));
	assert_false(throttle_take(&f.t, 0, &f.refused));
	now_ns = loop_now_ns();
	throttle_arm(&f.t, now_ns + NSEC_PER_MSEC, now_ns);
	turn_until_call();
	assert_int_equal(f.expiries, 0);
	assert_int_equal(f.released, 0);
	assert_true(throttle_holds(&f.t));
	throttle_forget(&f.t);
	assert_false(throttle_holds(&f.t));
	/* The owner's own wait, with nothing held. */
	throttle_arm(&f.t, now_ns, now_ns);
	turn_until_call();
	assert_int_equal(f.expiries, 1);
	assert_int_equal(f.released, 0);
	stop();
}

static void a_change_is_tried_at_once(void **state)
{
	static const struct bucket_params none;

	(void)state;
	start(1, HOUR);
	assert_true(throttle_take(&f.t, 0, &f.refused));
	assert_false(throttle_take(&f.t, 0, &f.refused));
	throttle_change(&f.t, &(struct limiter_change){ .bandwidth = &none });
	turn_until_call();
	assert_false(throttle_holds(&f.t));
	assert_false(throttle_take(&f.t, 0, &f.refused)); /* the other bucket is as it was */
	throttle_change(&f.t, &(struct limiter_change){ .ops = &none });
	turn_until_call();
	assert_true(throttle_take(&f.t, 0, &f.refused));
	stop();
}

static void one_that_was_never_opened_can_be_closed(void **state)
{
	struct throttle t = { 0 };

	(void)state;
	throttle_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_limit_nothing_waits),
		cmocka_unit_test(the_timer_ends_the_wait),
		cmocka_unit_test(another_wait_does_not_end_that_for_the_limit),
		cmocka_unit_test(a_change_is_tried_at_once),
		cmocka_unit_test(one_that_was_never_opened_can_be_closed),
	};

	return cmocka_run_group_tests_name("throttle", tests, NULL, NULL);
}
