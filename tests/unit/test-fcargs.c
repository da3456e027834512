/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines of Firecracker: what is taken, and the text of each mistake. */
#include "fcargs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

static const struct fcargs_flag flags[] = {
	{ "id", .has_value = true, .required = true },
	{ "cgroup", .has_value = true, .repeated = true },
	{ "no-api", .needs = "config-file" },
	{ "config-file", .has_value = true },
	{ "no-seccomp", .excludes = "seccomp-filter" },
	{ "seccomp-filter", .has_value = true },
	{ "help" },
	{ "version" },
};

#define N_FLAGS ARRAY_SIZE(flags)

static struct fcargs_value values[N_FLAGS];

/* Parses "a b c"; returns what follows "--", or NULL with the fault in err. */
static char **parse(const char *line, struct volt_err *err)
{
	static char text[512], *argv[64];
	char **rest, *next = text;
	int argc = 1;

	*err = (struct volt_err){ 0 };
	snprintf(text, sizeof(text), "%s", line);
	argv[0] = strdup("firecracker");
	while ((argv[argc] = strsep(&next, " ")) && *argv[argc])
		argc++;
	argv[argc] = NULL;
	rest = fcargs_parse(flags, N_FLAGS, argc, argv, values, &rest, err) < 0 ? NULL : rest;
	free(argv[0]);
	return rest;
}

static void mistakes_have_their_text(void **state)
{
	static const struct {
		const char *line, *text;
	} rows[] = {
		{ "", "Argument 'id' required, but not found." },
		{ "--id", "The argument 'id' requires a value, but none was supplied." },
		{ "--id --no-seccomp",
			"The argument 'id' requires a value, but none was supplied." },
		{ "--id a --id b", "The argument 'id' was provided more than once." },
		{ "--id a --foo", "Found argument 'foo' which wasn't expected, or isn't valid in "
				  "this context." },
		{ "--id=a", "Found argument 'id=a' which wasn't expected, or isn't valid in this "
			    "context." },
		{ "--id a stray", "Found argument 'stray' which wasn't expected, or isn't valid in "
				  "this context." },
		{ "--id a --no-api", "Argument 'config-file' required, but not found." },
		{ "--id a --no-seccomp --seccomp-filter f",
			"Argument 'seccomp-filter' cannot be used together with argument "
			"'no-seccomp'." },
	};
	struct volt_err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_null(parse(rows[i].line, &err));
		assert_string_equal(err.msg, rows[i].text);
	}
}

static void values_are_found(void **state)
{
	struct volt_err err;
	char **rest = parse("--id x --cgroup a=1 --cgroup b=2 -- --id y", &err);

	(void)state;
	assert_non_null(rest);
	assert_string_equal(rest[0], "--id");
	assert_string_equal(fcargs_get(flags, N_FLAGS, values, "id"), "x");
	assert_int_equal(values[1].n, 2);
	assert_string_equal(values[1].text[0], "a=1");
	assert_string_equal(fcargs_get(flags, N_FLAGS, values, "cgroup"), "b=2");
	assert_null(fcargs_get(flags, N_FLAGS, values, "config-file"));
	assert_null(fcargs_get(flags, N_FLAGS, values, "nothing"));
}

static void help_and_version_win(void **state)
{
	struct volt_err err;

	(void)state;
	assert_non_null(parse("--wrong --version", &err));
	assert_string_equal(fcargs_get(flags, N_FLAGS, values, "version"), "");
	assert_non_null(parse("--id -h", &err));
	assert_non_null(fcargs_get(flags, N_FLAGS, values, "help"));
	assert_null(parse("-- --help", &err)); /* that one is not ours */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mistakes_have_their_text),
		cmocka_unit_test(values_are_found),
		cmocka_unit_test(help_and_version_win),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
