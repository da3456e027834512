/* SPDX-License-Identifier: Apache-2.0 */
/* The first cause wins, context goes in front, and nothing overflows. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "err.h"

static void the_first_cause_wins(void **state)
{
	struct volt_err err = { 0 };

	(void)state;
	errno = EAGAIN;
	assert_int_equal(volt_err_set(&err, ENOENT, "open '%s': %m", "/x"), -ENOENT);
	assert_int_equal(errno, EAGAIN);
	assert_string_equal(err.msg, "open '/x': No such file or directory");
	assert_int_equal(volt_err_set(&err, EIO, "later"), -EIO);
	assert_int_equal(err.code, ENOENT);
	assert_int_equal(volt_err_wrap(&err, "disks[%d]", 1), -ENOENT);
	assert_int_equal(volt_err_wrap(&err, "vm"), -ENOENT);
	assert_string_equal(err.msg, "vm: disks[1]: open '/x': No such file or directory");
}

static void nobody_need_listen(void **state)
{
	struct volt_err err = { 0 };

	(void)state;
	assert_int_equal(volt_err_set(NULL, ENOSPC, "full"), -ENOSPC);
	assert_int_equal(volt_err_wrap(NULL, "outer"), -EINVAL);
	assert_int_equal(volt_err_wrap(&err, "outer"), -EINVAL);
	assert_string_equal(err.msg, "outer");
}

static void long_messages_are_cut(void **state)
{
	struct volt_err err = { 0 };
	char text[600];

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	volt_err_set(&err, E2BIG, "%s", text);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	volt_err_wrap(&err, "outer");
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_memory_equal(err.msg, "outer: aaa", 10);
	volt_err_wrap(&err, "%s", text);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_cause_wins),
		cmocka_unit_test(nobody_need_listen),
		cmocka_unit_test(long_messages_are_cut),
	};

	return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
