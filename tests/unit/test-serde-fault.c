/* SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <string.h>

#include "test.h"

#include "serde-fault.h"

static void test_real(void **state)
{
	/* As zmij writes them, which serde_json uses. */
	static const struct {
		double d;
		const char *text;
	} cases[] = {
		{ 0, "0.0" }, { -0.0, "-0.0" }, { 1, "1.0" }, { 1.5, "1.5" }, { 0.1, "0.1" },
		{ 100000, "100000.0" }, { 1e15, "1000000000000000.0" }, { 1e16, "1e+16" },
		{ 123456e10, "1234560000000000.0" }, { 1e-4, "0.0001" }, { 1e-5, "0.00001" },
		{ 0.00012345, "0.00012345" }, { 1e-6, "1e-6" }, { -1.5e-7, "-1.5e-7" },
		{ 9007199254740994.0, "9007199254740994.0" }, { 1.5e300, "1.5e+300" },
		{ 18446744073709551616.0, "1.8446744073709552e+19" }, { 5e-324, "5e-324" },
		{ DBL_MAX, "1.7976931348623157e+308" },
	};
	struct serde_fault fault;
	struct serde_say say;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		serde_fault_start(&say, &fault);
		serde_fault_put_real(&say, cases[i].d);
		assert_string_equal(fault.text, cases[i].text);
	}
}

static void test_decode(void **state)
{
	static const struct {
		const char *bytes;
		size_t n, len;
		uint32_t c;
	} cases[] = {
		{ "\0", 1, 1, 0 }, { "a", 1, 1, 'a' }, { "\x7f", 1, 1, 0x7f },
		{ "\xc2\x80", 2, 2, 0x80 }, { "\xdf\xbf", 2, 2, 0x7ff },
		{ "\xe0\xa0\x80", 3, 3, 0x800 }, { "\xef\xbf\xbf", 3, 3, 0xffff },
		{ "\xed\x9f\xbf", 3, 3, 0xd7ff }, { "\xee\x80\x80", 3, 3, 0xe000 },
		{ "\xf0\x90\x80\x80", 4, 4, 0x10000 }, { "\xf4\x8f\xbf\xbf", 4, 4, 0x10ffff },
		/* cut, continuation first, overlong, surrogate, too large */
		{ "\xc2\x80", 1, 0, 0 }, { "\xf0\x90\x80\x80", 3, 0, 0 }, { "\x80", 1, 0, 0 },
		{ "\xbf\xbf", 2, 0, 0 }, { "\xc3(", 2, 0, 0 }, { "\xe2\x82(", 3, 0, 0 },
		{ "\xc0\x80", 2, 0, 0 }, { "\xc1\xbf", 2, 0, 0 }, { "\xe0\x9f\xbf", 3, 0, 0 },
		{ "\xf0\x8f\xbf\xbf", 4, 0, 0 }, { "\xed\xa0\x80", 3, 0, 0 },
		{ "\xed\xbf\xbf", 3, 0, 0 }, { "\xf4\x90\x80\x80", 4, 0, 0 },
		{ "\xf8\x88\x80\x80\x80", 5, 0, 0 }, { "\xff\xff\xff\xff", 4, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t c = 0;

		assert_int_equal(serde_fault_decode(cases[i].bytes, cases[i].n, &c), cases[i].len);
		assert_int_equal(c, cases[i].c);
	}
}

static void test_quoted(void **state)
{
	static const char text[] = "a\"b\\c'\t\r\n\0\x1b\x7f\xc2\x85\xc3\xa4\xe2\x80\xae"
				   "\xf0\x9f\x98\x80";
	struct serde_fault fault;
	struct serde_say say;

	(void)state;
	serde_fault_start(&say, &fault);
	serde_fault_put_quoted(&say, text, sizeof(text) - 1);
	assert_string_equal(fault.text, "\"a\\\"b\\\\c'\\t\\r\\n\\0\\u{1b}\\u{7f}\\u{85}\xc3\xa4"
					"\\u{202e}\xf0\x9f\x98\x80\"");
}

static void test_raw(void **state)
{
	struct serde_fault fault;
	struct serde_say say;

	(void)state;
	serde_fault_start(&say, &fault);
	serde_fault_put_raw(&say, "a\"\n\0\xc3\xa4", 6);
	assert_string_equal(fault.text, "a\"\n\\0\xc3\xa4");
}

static void test_number(void **state)
{
	struct serde_fault fault;
	struct serde_say say;

	(void)state;
	serde_fault_start(&say, &fault);
	serde_fault_put_number(&say, true, UINT64_C(1) << 63);
	serde_fault_put(&say, " ");
	serde_fault_put_number(&say, false, UINT64_MAX);
	assert_string_equal(fault.text, "-9223372036854775808 18446744073709551615");
}

/* A character is there as a whole or not at all, and nothing comes after what was cut. */
static void test_cut(void **state)
{
	struct serde_fault fault;
	struct serde_say say;
	size_t len;

	(void)state;
	for (size_t shift = 0; shift < 2; shift++) {
		serde_fault_start(&say, &fault);
		serde_fault_put(&say, shift ? "x" : "");
		for (int i = 0; i < SERDE_FAULT_BYTES; i++)
			serde_fault_put_raw(&say, "\xc3\xa4", 2);
		serde_fault_put(&say, "y");
		len = strlen(fault.text);
		assert_int_equal(len % 2, shift);
		assert_int_equal((unsigned char)fault.text[len - 1], 0xa4);
		serde_fault_place(&say, "\n\n  ", 3);
		assert_string_equal(fault.text + len, " at line 3 column 1");
		serde_fault_put(&say, "z");
		serde_fault_place(&say, "", 0);
		serde_fault_memory(&say);
		assert_string_equal(fault.text + len, " at line 3 column 1");
	}
}

static void test_memory(void **state)
{
	struct serde_fault fault;
	struct serde_say say;

	(void)state;
	serde_fault_start(&say, &fault);
	serde_fault_put(&say, "unknown field `");
	serde_fault_memory(&say);
	serde_fault_place(&say, "", 0);
	assert_string_equal(fault.text, "out of memory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real),
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_quoted),
		cmocka_unit_test(test_raw),
		cmocka_unit_test(test_number),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
