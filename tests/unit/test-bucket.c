/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets on a clock of the test's own. */
#include "test.h"

#include <stdlib.h>

#include "bucket.h"

#define MS UINT64_C(1000000)

static struct limiter make(struct limiter_params p, uint64_t now)
{
	struct limiter l;

	limiter_init(&l, &p, now);
	return l;
}

static void without_a_size_or_a_time_there_is_no_limit(void **state)
{
	struct limiter l = make((struct limiter_params){ { 100, 0, 5 }, { 0, 100, 5 } }, 7);

	(void)state;
	assert_true(limiter_off(&l));
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(limiter_take(&l, UINT64_MAX, 7), 0);
	l = make((struct limiter_params){ .ops = { 1, 1, 0 } }, 7);
	assert_false(limiter_off(&l));
	l = make((struct limiter_params){ .bandwidth = { 1, 1, 0 } }, 7);
	assert_false(limiter_off(&l));
}

static void starts_full_and_refills_linearly(void **state)
{
	struct limiter l = make((struct limiter_params){ .bandwidth = { 1000, 100, 0 } }, 5 * MS);

	(void)state;
	assert_int_equal(limiter_take(&l, 600, 5 * MS), 0);
	assert_int_equal(limiter_take(&l, 400, 5 * MS), 0);
	assert_int_equal(limiter_take(&l, 1, 5 * MS), MS / 10);
	assert_int_equal(limiter_take(&l, 500, 5 * MS), 50 * MS);
	assert_int_equal(limiter_take(&l, 500, 55 * MS - 1), 1);
	assert_int_equal(limiter_take(&l, 500, 55 * MS), 0);
	assert_int_equal(limiter_take(&l, 1, 55 * MS), MS / 10);
	/* Never more than it holds, however long one waits. */
	assert_int_equal(limiter_take(&l, 1000, 10000 * MS), 0);
	assert_int_equal(limiter_take(&l, 1, 10000 * MS), MS / 10);
}

static void the_burst_is_spent_first_and_once(void **state)
{
	struct limiter l = make((struct limiter_params){ .bandwidth = { 1000, 100, 2500 } }, 0);

	(void)state;
	assert_int_equal(limiter_take(&l, 2000, 0), 0);
	assert_int_equal(l.bandwidth.tokens, 1000);
	assert_int_equal(limiter_take(&l, 700, 0), 0); /* 200 of it from the bucket */
	assert_int_equal(l.bandwidth.burst, 0);
	assert_int_equal(l.bandwidth.tokens, 800);
	assert_int_equal(limiter_take(&l, 800, 0), 0);
	assert_int_equal(limiter_take(&l, 1000, 50 * MS), 50 * MS);
	assert_int_equal(limiter_take(&l, 1000, 5000 * MS), 0);
	assert_int_equal(limiter_take(&l, 1, 5000 * MS), MS / 10); /* it never comes back */
}

static void a_request_larger_than_the_bucket_is_paid_by_waiting(void **state)
{
	struct limiter l = make((struct limiter_params){ .bandwidth = { 1000, 100, 0 } }, 0);

	(void)state;
	assert_int_equal(limiter_take(&l, 1, 0), 0);
	assert_int_equal(limiter_take(&l, 3000, 0), MS / 10); /* only when it is full */
	assert_int_equal(limiter_take(&l, 3000, MS / 10), 0);
	/* 2000 are owed: 200 ms, and then the bucket is empty. */
	assert_int_equal(limiter_take(&l, 1, MS / 10), 200 * MS + MS / 10);
	assert_int_equal(limiter_take(&l, 500, 100 * MS + MS / 10), 150 * MS);
	assert_int_equal(limiter_take(&l, 500, 250 * MS + MS / 10), 0);
	assert_int_equal(limiter_take(&l, 3000, 250 * MS + MS / 10), 100 * MS);
}

static void takes_from_both_or_from_neither(void **state)
{
	struct limiter_params p = { { 1000, 100, 0 }, { 2, 100, 0 } };
	struct limiter l = make(p, 0);

	(void)state;
	assert_int_equal(limiter_take(&l, 10, 0), 0);
	assert_int_equal(limiter_take(&l, 10, 0), 0);
	assert_int_equal(limiter_take(&l, 10, 0), 50 * MS); /* no operation left */
	assert_int_equal(l.bandwidth.tokens, 980);
	assert_int_equal(limiter_take(&l, 1000, 50 * MS), 0);
	assert_int_equal(l.ops.tokens, 0);
	assert_int_equal(limiter_take(&l, 1000, 100 * MS), 50 * MS); /* no bytes */
	assert_int_equal(l.ops.tokens, 1);
}

/* What passes in 10 s if one asks again when one is told to, or a little later; all sizes. */
static uint64_t run(struct limiter_params p, uint64_t bytes_max, uint64_t *ret_ops)
{
	struct limiter l = make(p, 0);
	uint64_t now = 0, bytes = 0;
	unsigned seed = 1;

	*ret_ops = 0;
	for (uint64_t next = 0; now < 10000 * MS; next = 0) {
		uint64_t n = 1 + (uint64_t)rand_r(&seed) % bytes_max, wait;

		while ((wait = limiter_take(&l, n, now)) != 0) {
			assert_true(next++ < 4); /* what it says is true, but for rounding */
			now += wait + (uint64_t)rand_r(&seed) % (8 * MS); /* late */
		}
		bytes += n;
		(*ret_ops)++;
		now += 300; /* time goes on, too, while all is well */
	}
	return bytes;
}

static void rates_hold_over_ten_seconds(void **state)
{
	static const struct {
		uint64_t size, refill_ms, bytes_max;
	} cases[] = {
		{ 1250000, 100, 1514 },	      { 1250000, 100, 65550 }, { 12500, 1, 1514 },
		{ 1000, 100, 1514 },	      { 125000000, 1000, 65550 }, { 333, 7, 100 },
		{ 1000000000, 10000, 65550 },
	};
	uint64_t ops;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bucket_params b = { cases[i].size, cases[i].refill_ms, 0 };
		double want = (double)b.size * (10000.0 / (double)b.refill_ms) + (double)b.size;
		double got = (double)run((struct limiter_params){ .bandwidth = b },
			cases[i].bytes_max, &ops);

		/* The last request may be one that overdraws. */
		assert_true(got > want * 0.99 && got < want * 1.01 + (double)cases[i].bytes_max);
	}
	run((struct limiter_params){ .ops = { 1000, 1000, 500 } }, 1514, &ops);
	assert_in_range(ops, 11400, 11501);
}

static void coming_late_is_no_loss_and_little_gain(void **state)
{
	struct limiter l = make((struct limiter_params){ .bandwidth = { 1000, 100, 0 } }, 0);

	(void)state;
	assert_int_equal(limiter_take(&l, 1000, 0), 0);
	assert_int_equal(limiter_take(&l, 1000, 0), 100 * MS);
	assert_int_equal(limiter_take(&l, 1000, 130 * MS), 0);
	assert_int_equal(limiter_take(&l, 1000, 130 * MS), 70 * MS); /* at 200 */
	assert_int_equal(limiter_take(&l, 500, 230 * MS), 0); /* at 150 */
	assert_int_equal(limiter_take(&l, 500, 230 * MS), 0); /* at 200 */
	assert_int_equal(limiter_take(&l, 300, 230 * MS), 0); /* at 230 */
	assert_int_equal(limiter_take(&l, 1, 230 * MS), MS / 10);
	/* An hour later it is full, and no more. */
	assert_int_equal(limiter_take(&l, 1000, 3600000 * MS), 0);
	assert_int_equal(limiter_take(&l, 1000, 3600000 * MS), 100 * MS);
}

static void what_is_changed_is_full_and_the_rest_stays(void **state)
{
	const struct bucket_params b = { 1000, 100, 0 }, small = { 10, 100, 5 };
	const struct bucket_params none = { 0, 100, 0 };
	struct limiter l = make((struct limiter_params){ b, b }, 0);

	(void)state;
	assert_int_equal(limiter_take(&l, 1000, 0), 0);
	limiter_change(&l, &(struct limiter_change){ .ops = &small }, 0);
	assert_int_equal(l.bandwidth.tokens, 0);
	assert_int_equal(limiter_take(&l, 1, 0), MS / 10);
	limiter_change(&l, &(struct limiter_change){ .bandwidth = &none }, 0);
	for (unsigned i = 0; i < 15; i++) /* the burst, and the bucket */
		assert_int_equal(limiter_take(&l, 1 << 30, 0), 0);
	assert_int_equal(limiter_take(&l, 1 << 30, 0), 10 * MS);
	limiter_change(&l, &(struct limiter_change){ .ops = &none }, 0);
	assert_true(limiter_off(&l));
}

static void takes_what_there_is(void **state)
{
	struct limiter l = make((struct limiter_params){ .bandwidth = { 100, 100, 50 } }, 0);
	struct limiter off = make((struct limiter_params){ 0 }, 0);

	(void)state;
	assert_int_equal(limiter_take_some(&l, 30, 0), 30);
	assert_int_equal(limiter_take_some(&l, 40, 0), 40); /* the burst's last 20, and 20 */
	assert_int_equal(limiter_take_some(&l, 1000, 0), 80);
	assert_int_equal(limiter_take_some(&l, 1000, 0), 0);
	assert_int_equal(limiter_take_some(&l, 1000, 7 * MS), 7);
	assert_int_equal(limiter_take_some(&l, 5, 3600000 * MS), 5);
	assert_int_equal(limiter_take_some(&l, 1000, 3600000 * MS), 95);
	assert_int_equal(limiter_take_some(&off, UINT64_MAX, 0), UINT64_MAX);
}

static void absurd_numbers_do_no_harm(void **state)
{
	static const uint64_t values[] = { 1, 2, 1000, UINT32_MAX, UINT64_C(1) << 62, UINT64_MAX };

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(values); s++)
		for (size_t t = 0; t < ARRAY_SIZE(values); t++)
			for (size_t n = 0; n < ARRAY_SIZE(values); n++) {
				struct bucket_params b = { values[s], values[t], 0 };
				struct limiter l = make((struct limiter_params){ b, b }, 1);
				uint64_t wait;

				assert_int_equal(limiter_take(&l, values[n], 1), 0);
				wait = limiter_take(&l, values[n], 1);
				assert_true(wait <= UINT64_C(1) << 63);
				if (wait > 0 && wait < UINT64_C(1) << 60)
					assert_int_equal(limiter_take(&l, values[n], 1 + wait), 0);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_size_or_a_time_there_is_no_limit),
		cmocka_unit_test(starts_full_and_refills_linearly),
		cmocka_unit_test(the_burst_is_spent_first_and_once),
		cmocka_unit_test(a_request_larger_than_the_bucket_is_paid_by_waiting),
		cmocka_unit_test(takes_from_both_or_from_neither),
		cmocka_unit_test(rates_hold_over_ten_seconds),
		cmocka_unit_test(coming_late_is_no_loss_and_little_gain),
		cmocka_unit_test(what_is_changed_is_full_and_the_rest_stays),
		cmocka_unit_test(takes_what_there_is),
		cmocka_unit_test(absurd_numbers_do_no_harm),
	};

	return cmocka_run_group_tests_name("bucket", tests, NULL, NULL);
}
