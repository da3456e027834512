/* SPDX-License-Identifier: Apache-2.0 */
/* The service as a whole: as it begins, and that two of them have nothing in common. */
#include "test.h"

#include <errno.h>

#include "mmds.h"

static void it_begins_empty_and_bounded(void **state)
{
	json_t *v = json_string("0123456789");
	struct mmds *m;

	(void)state;
	assert_int_equal(mmds_create("vm", 11, &m, NULL), 0);
	assert_null(m->store.value);
	assert_false(m->v2 || m->imds_compat);
	assert_int_equal(mmds_store_put(&m->store, v), -E2BIG); /* with its quotes */
	json_decref(v);
	mmds_destroy(m);
	mmds_destroy(NULL);
}

static void tokens_of_one_are_nothing_to_the_other(void **state)
{
	char text[MMDS_TOKEN_TEXT + 1];
	struct mmds *a, *b;

	(void)state;
	assert_int_equal(mmds_create("vm", 11, &a, NULL), 0);
	assert_int_equal(mmds_create("vm", 11, &b, NULL), 0);
	mmds_token_issue(&a->token, 1, 1, text);
	assert_true(mmds_token_valid(&a->token, text, 2));
	assert_false(mmds_token_valid(&b->token, text, 2));
	mmds_destroy(a);
	mmds_destroy(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_begins_empty_and_bounded),
		cmocka_unit_test(tokens_of_one_are_nothing_to_the_other),
	};

	return cmocka_run_group_tests_name("mmds", tests, NULL, NULL);
}
