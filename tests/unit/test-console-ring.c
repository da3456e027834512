/* SPDX-License-Identifier: Apache-2.0 */
/* A console's ring against a plain memory of all that was written. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "console-ring.h"

#define ALL (4 * CONSOLE_RING_BYTES)

static struct console_ring ring;
static uint8_t all[ALL], got[ALL];

static int setup(void **state)
{
	(void)state;
	memset(&ring, 0, sizeof(ring));
	ring.connected = true;
	for (size_t i = 0; i < ALL; i++)
		all[i] = (uint8_t)(i * 7 + i / 251);
	return 0;
}

static void pieces_of_all_sizes_keep_their_order(void **state)
{
	size_t in = 0, out = 0, n;
	unsigned seed = 1;

	(void)state;
	while (in < ALL) {
		seed = seed * 1103515245 + 12345;
		n = MIN((seed >> 8) % 9000, ALL - in);
		n = MIN(n, CONSOLE_RING_BYTES - (in - out)); /* never more than fits */
		assert_int_equal(console_ring_put(&ring, all + in, n), in == out && n > 0);
		in += n;
		out += console_ring_take(&ring, got + out, (seed >> 20) % 9000);
		assert_int_equal(ring.used, in - out);
		n = console_ring_tail(&ring, got + ALL - CONSOLE_TAIL_BYTES, CONSOLE_TAIL_BYTES);
		assert_int_equal(n, MIN(in, CONSOLE_TAIL_BYTES));
		assert_memory_equal(got + ALL - CONSOLE_TAIL_BYTES, all + in - n, n);
	}
	out += console_ring_take(&ring, got + out, ALL);
	assert_int_equal(out, ALL);
	assert_memory_equal(got, all, ALL);
	assert_int_equal(ring.bytes, ALL);
	assert_int_equal(ring.dropped, 0);
}

static void what_does_not_fit_is_dropped_from_the_end(void **state)
{
	(void)state;
	assert_true(console_ring_put(&ring, all, 10));
	assert_false(console_ring_put(&ring, all + 10, ALL - 10));
	assert_int_equal(ring.dropped, ALL - CONSOLE_RING_BYTES);
	assert_int_equal(console_ring_tail(&ring, got, 8), 8);
	assert_memory_equal(got, all + ALL - 8, 8);
	assert_int_equal(console_ring_take(&ring, got, ALL), CONSOLE_RING_BYTES);
	assert_memory_equal(got, all, CONSOLE_RING_BYTES);
	assert_int_equal(ring.head, 0); /* the first pages again */
	assert_true(console_ring_put(&ring, all, 1));
}

static void without_a_reader_only_the_tail_is_kept(void **state)
{
	(void)state;
	console_ring_put(&ring, all, 100);
	console_ring_disconnect(&ring);
	assert_int_equal(ring.dropped, 100);
	assert_false(console_ring_put(&ring, all, 5000));
	assert_int_equal(console_ring_take(&ring, got, ALL), 0);
	assert_int_equal(console_ring_tail(&ring, got, ALL), CONSOLE_TAIL_BYTES);
	assert_memory_equal(got, all + 5000 - CONSOLE_TAIL_BYTES, CONSOLE_TAIL_BYTES);
	assert_int_equal(ring.dropped, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(pieces_of_all_sizes_keep_their_order, setup),
		cmocka_unit_test_setup(what_does_not_fit_is_dropped_from_the_end, setup),
		cmocka_unit_test_setup(without_a_reader_only_the_tail_is_kept, setup),
	};

	return cmocka_run_group_tests_name("console-ring", tests, NULL, NULL);
}
