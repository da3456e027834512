/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens and where reading stops; the words of the faults are test-serde.c's. */
#include <string.h>

#include "test.h"

#include "serde-scan.h"

static struct serde_fault fault;

static void start(struct serde_scan *s, const char *text)
{
	assert_true(serde_scan_init(s, text, strlen(text), &fault));
}

static void test_peek(void **state)
{
	struct serde_scan s;

	(void)state;
	start(&s, " \t\r\n x");
	assert_int_equal(serde_scan_peek(&s), 'x');
	assert_int_equal(s.at, 5);
	serde_scan_done(&s);
	start(&s, " \f");
	assert_int_equal(serde_scan_peek(&s), '\f');
	serde_scan_done(&s);
	start(&s, "  ");
	assert_int_equal(serde_scan_peek(&s), -1);
	assert_int_equal(s.at, 2);
	serde_scan_done(&s);
}

static void test_number(void **state)
{
	static const struct {
		const char *text;
		enum serde_number_kind kind;
		uint64_t magnitude;
		double real;
	} cases[] = {
		{ "0,", SERDE_POSITIVE, 0, 0 },
		{ "12 ", SERDE_POSITIVE, 12, 0 },
		{ "-7]", SERDE_NEGATIVE, 7, 0 },
		{ "18446744073709551615}", SERDE_POSITIVE, UINT64_MAX, 0 },
		{ "18446744073709551616}", SERDE_REAL, 0, 18446744073709551616.0 },
		{ "-9223372036854775808,", SERDE_NEGATIVE, UINT64_C(1) << 63, 0 },
		{ "-9223372036854775809,", SERDE_REAL, 0, -9223372036854775808.0 },
		{ "-0,", SERDE_REAL, 0, 0 },
		{ "1.25e+2,", SERDE_REAL, 0, 125 },
		{ "125E-2x", SERDE_REAL, 0, 1.25 },
		{ "99999999999999999999.5,", SERDE_REAL, 0, 1e20 },
		{ "0.0e2147483648,", SERDE_REAL, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct serde_number n;
		struct serde_scan s;

		start(&s, cases[i].text);
		assert_true(serde_scan_number(&s, &n));
		assert_int_equal(s.at, strlen(cases[i].text) - 1);
		assert_int_equal(n.kind, cases[i].kind);
		if (n.kind == SERDE_REAL)
			assert_true(n.real == cases[i].real);
		else
			assert_true(n.magnitude == cases[i].magnitude);
		serde_scan_done(&s);
	}
}

static void test_string(void **state)
{
	struct serde_scan s;
	json_t *v;

	(void)state;
	start(&s, "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00E4\\u20ac\\ud83d\\ude00\xc3\xa4\",");
	v = serde_scan_string(&s);
	assert_non_null(v);
	assert_string_equal(json_string_value(v),
		"a\"\\/\b\f\n\r\tA\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa4");
	assert_int_equal(serde_scan_peek(&s), ',');
	json_decref(v);
	serde_scan_done(&s);
}

static void test_skip(void **state)
{
	static const char *const cases[] = {
		"null,", "true,", "false,", "0,", "-1.5e+3,", "1e99999999999,",
		"\"\\ud800\\u0000\xff\",",
		"[],", "{},", "[[],[[]]],", " { \"a\" : [ 1 , { } ] , \"a\" : null },",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct serde_scan s;

		start(&s, cases[i]);
		assert_true(serde_scan_skip(&s));
		assert_int_equal(s.at, strlen(cases[i]) - 1);
		assert_string_equal(fault.text, "");
		serde_scan_done(&s);
	}
}

static void test_first_fault(void **state)
{
	struct serde_scan s;

	(void)state;
	start(&s, "\nab");
	s.at = 2;
	assert_false(serde_scan_fault_next(&s, "one"));
	assert_false(serde_scan_fault(&s, "two"));
	assert_string_equal(fault.text, "one at line 2 column 2");
	serde_scan_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_peek),
		cmocka_unit_test(test_number),
		cmocka_unit_test(test_string),
		cmocka_unit_test(test_skip),
		cmocka_unit_test(test_first_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
