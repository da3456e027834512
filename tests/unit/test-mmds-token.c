/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens: valid for their time, for one VM and one process, and not to be forged. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "mmds-token.h"

#define NOW (100 * NSEC_PER_SEC)

static struct mmds_token make(const char *id)
{
	struct mmds_token t;

	assert_int_equal(mmds_token_init(&t, id, NULL), 0);
	return t;
}

static void a_token_lives_for_its_time(void **state)
{
	struct mmds_token t = make("vm");
	char one[MMDS_TOKEN_TEXT + 1], day[MMDS_TOKEN_TEXT + 1];

	(void)state;
	mmds_token_issue(&t, 1, NOW, one);
	mmds_token_issue(&t, MMDS_TOKEN_TTL_MAX, NOW, day);
	assert_int_equal(strlen(one), MMDS_TOKEN_TEXT);
	assert_in_range(strlen(one), 1, 70);
	assert_true(mmds_token_valid(&t, one, NOW));
	assert_true(mmds_token_valid(&t, one, NOW + NSEC_PER_SEC - 1));
	assert_false(mmds_token_valid(&t, one, NOW + NSEC_PER_SEC));
	assert_true(mmds_token_valid(&t, day, NOW + 21600 * NSEC_PER_SEC - 1));
	assert_false(mmds_token_valid(&t, day, NOW + 21600 * NSEC_PER_SEC));
}

static void tokens_differ(void **state)
{
	struct mmds_token t = make("vm");
	char a[MMDS_TOKEN_TEXT + 1], b[MMDS_TOKEN_TEXT + 1];

	(void)state;
	mmds_token_issue(&t, 10, NOW, a);
	mmds_token_issue(&t, 10, NOW, b);
	assert_string_not_equal(a, b);
}

static void tokens_are_of_one_process_and_one_vm(void **state)
{
	struct mmds_token t = make("vm"), again = make("vm"), other = t;
	char text[MMDS_TOKEN_TEXT + 1];

	(void)state;
	mmds_token_issue(&t, 10, NOW, text);
	assert_true(mmds_token_valid(&t, text, NOW));
	assert_false(mmds_token_valid(&again, text, NOW)); /* another key */
	strcpy(other.id, "vm2"); /* the same key */
	assert_false(mmds_token_valid(&other, text, NOW));
	strcpy(other.id, "v");
	assert_false(mmds_token_valid(&other, text, NOW));
}

static void every_bit_counts(void **state)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct mmds_token t = make("vm");
	char text[MMDS_TOKEN_TEXT + 1], forged[MMDS_TOKEN_TEXT + 1];

	(void)state;
	mmds_token_issue(&t, 10, NOW, text);
	for (size_t i = 0; i < MMDS_TOKEN_TEXT; i++) {
		size_t digit = (size_t)(strchr(digits, text[i]) - digits);

		for (unsigned bit = 0; bit < 6; bit++) {
			memcpy(forged, text, sizeof(text));
			forged[i] = digits[digit ^ 1u << bit];
			assert_false(mmds_token_valid(&t, forged, NOW));
		}
	}
}

static void other_texts_are_no_tokens(void **state)
{
	struct mmds_token t = make("vm");
	char text[MMDS_TOKEN_TEXT + 1], bad[2 * MMDS_TOKEN_TEXT];

	(void)state;
	mmds_token_issue(&t, 10, NOW, text);
	assert_false(mmds_token_valid(&t, "", NOW));
	assert_false(mmds_token_valid(&t, "x", NOW));
	snprintf(bad, sizeof(bad), "%s=", text);
	assert_false(mmds_token_valid(&t, bad, NOW));
	snprintf(bad, sizeof(bad), " %s", text);
	assert_false(mmds_token_valid(&t, bad, NOW));
	snprintf(bad, sizeof(bad), "%.39s", text);
	assert_false(mmds_token_valid(&t, bad, NOW));
	snprintf(bad, sizeof(bad), "%.39s ", text);
	assert_false(mmds_token_valid(&t, bad, NOW));
	snprintf(bad, sizeof(bad), "%.39s\xff", text);
	assert_false(mmds_token_valid(&t, bad, NOW));
	snprintf(bad, sizeof(bad), "%.36s====", text);
	assert_false(mmds_token_valid(&t, bad, NOW));
	memset(bad, 'A', MMDS_TOKEN_TEXT);
	bad[MMDS_TOKEN_TEXT] = '\0';
	assert_false(mmds_token_valid(&t, bad, NOW));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_lives_for_its_time),
		cmocka_unit_test(tokens_differ),
		cmocka_unit_test(tokens_are_of_one_process_and_one_vm),
		cmocka_unit_test(every_bit_counts),
		cmocka_unit_test(other_texts_are_no_tokens),
	};

	return cmocka_run_group_tests_name("mmds-token", tests, NULL, NULL);
}
