/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers are read as a whole or refused. */
#include "test.h"

#include <errno.h>

#include "num.h"

static void parses_whole_numbers(void **state)
{
	uint64_t v;

	(void)state;
	assert_int_equal(num_parse_u64("0", 0, 9, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(num_parse_u64("18446744073709551615", 0, UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(num_parse_u64("0xdeadBEEF", 0, UINT64_MAX, &v), 0);
	assert_true(v == 0xdeadbeef);
}

static void refuses_everything_else(void **state)
{
	static const char *const bad[] = { "", " 1", "1 ", "+1", "-1", "1x", "0x", "x1", "1.0",
		"1e3" };
	uint64_t v = 77;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(num_parse_u64(bad[i], 0, UINT64_MAX, &v), -EINVAL);
	assert_int_equal(num_parse_u64("18446744073709551616", 0, UINT64_MAX, &v), -ERANGE);
	assert_int_equal(num_parse_u64("4", 5, 6, &v), -ERANGE);
	assert_int_equal(num_parse_u64("7", 5, 6, &v), -ERANGE);
	assert_int_equal(v, 77);
}

static void parses_sizes(void **state)
{
	uint64_t v;

	(void)state;
	assert_int_equal(num_parse_size("128", MIB, &v), 0);
	assert_true(v == 128 * MIB);
	assert_int_equal(num_parse_size("2G", MIB, &v), 0);
	assert_true(v == 2 * GIB);
	assert_int_equal(num_parse_size("512KiB", MIB, &v), 0);
	assert_true(v == 512 * KIB);
	assert_int_equal(num_parse_size("16777216T", 1, &v), -ERANGE);
	assert_int_equal(num_parse_size("1GG", 1, &v), -EINVAL);
	assert_int_equal(num_parse_size("G", 1, &v), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_whole_numbers),
		cmocka_unit_test(refuses_everything_else),
		cmocka_unit_test(parses_sizes),
	};

	return cmocka_run_group_tests_name("num", tests, NULL, NULL);
}
