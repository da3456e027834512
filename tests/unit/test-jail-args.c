/* SPDX-License-Identifier: Apache-2.0 */
/* The jailer's command line: what is taken, the defaults, and the text of each mistake. */
#include "jail-args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

#define BASIC "--id x --exec-file /usr/bin/firecracker --uid 1 --gid 2 "

static struct jail_args args;
static struct volt_err err;

/* Parses "a b c"; the words stay until the next call. */
static int parse(const char *line)
{
	static char text[8192], *argv[128];
	char *next = text;
	int argc = 1;

	err = (struct volt_err){ 0 };
	snprintf(text, sizeof(text), "%s", line);
	argv[0] = (char *)"jailer";
	while ((argv[argc] = strsep(&next, " ")))
		if (*argv[argc])
			argc++;
	return jail_args_parse(argc, argv, &args, &err);
}

static void has_defaults(void **state)
{
	(void)state;
	assert_int_equal(parse(BASIC), 0);
	assert_int_equal(args.action, JAIL_ARGS_RUN);
	assert_string_equal(args.id, "x");
	assert_string_equal(args.exec_name, "firecracker");
	assert_string_equal(args.base, "/srv/jailer");
	assert_string_equal(args.parent_cgroup, "firecracker");
	assert_false(args.parent_cgroup_given || args.daemonize || args.new_pid_ns ||
		args.rootless);
	assert_null(args.netns);
	assert_int_equal(args.uid, 1);
	assert_int_equal(args.gid, 2);
	assert_int_equal(args.cgroup_version, 1);
	assert_int_equal(args.no_file, 2048);
	assert_true(args.fsize == JAIL_ARGS_UNLIMITED);
	assert_null(args.rest[0]);
}

static void takes_all_flags(void **state)
{
	(void)state;
	assert_int_equal(parse(BASIC "--chroot-base-dir /b --netns /n --daemonize --new-pid-ns "
				     "--cgroup cpuset.cpus=0-1 --cgroup pids.max=5 "
				     "--cgroup-version 2 --parent-cgroup a/b --resource-limit "
				     "fsize=9 --resource-limit no-file=100 --keep-fd 3 --keep-fd 7 "
				     "-- --config-file --uid 5"), 0);
	assert_string_equal(args.base, "/b");
	assert_string_equal(args.netns, "/n");
	assert_true(args.daemonize && args.new_pid_ns && args.parent_cgroup_given);
	assert_int_equal(args.n_cgroups, 2);
	assert_string_equal(args.cgroups[0].controller, "cpuset");
	assert_string_equal(args.cgroups[0].file, "cpuset.cpus");
	assert_string_equal(args.cgroups[0].value, "0-1");
	assert_int_equal(args.cgroup_version, 2);
	assert_string_equal(args.parent_cgroup, "a/b");
	assert_int_equal(args.fsize, 9);
	assert_int_equal(args.no_file, 100);
	assert_int_equal(args.n_keep, 2);
	assert_int_equal(args.keep[1], 7);
	assert_int_equal(args.uid, 1);
	assert_string_equal(args.rest[2], "5");
	assert_null(args.rest[3]);
}

static void rootless_is_the_caller(void **state)
{
	(void)state;
	assert_int_equal(parse("--id x --exec-file f --rootless"), 0);
	assert_true(args.rootless && args.new_pid_ns);
	assert_int_equal(args.uid, geteuid());
	assert_int_equal(args.gid, getegid());
	assert_int_equal(parse("--id x --exec-file f --rootless --uid 5 --gid 6"), 0);
	assert_int_equal(args.uid, 5);
	assert_int_equal(args.gid, 6);
}

static void help_and_version(void **state)
{
	(void)state;
	assert_int_equal(parse("--help"), 0);
	assert_int_equal(args.action, JAIL_ARGS_HELP);
	assert_int_equal(parse("--what --version"), 0);
	assert_int_equal(args.action, JAIL_ARGS_VERSION);
}

static void mistakes_have_their_text(void **state)
{
	static const struct {
		const char *line, *text;
	} rows[] = {
		{ "", "Argument 'id' required, but not found." },
		{ "--id x", "Argument 'exec-file' required, but not found." },
		{ "--id x --exec-file f", "Argument 'uid' required, but not found." },
		{ "--id x --exec-file f --uid 1", "Argument 'gid' required, but not found." },
		{ BASIC "--seccomp", "Found argument 'seccomp' which wasn't expected" },
		{ BASIC "--netns a --netns b", "'netns' was provided more than once" },
		{ "--id a_b --exec-file f --uid 1 --gid 1",
			"Invalid instance ID: Invalid char (_) at position 1" },
		{ "--id ../x --exec-file f --uid 1 --gid 1",
			"Invalid instance ID: Invalid char (.) at position 0" },
		{ "--id 01234567890123456789012345678901234567890123456789012345678901234 "
		  "--exec-file f --uid 1 --gid 1", "Invalid len (65)" },
		{ "--id x --exec-file /bin/ --uid 1 --gid 1", "its last part is no file name" },
		{ "--id x --exec-file /bin/.. --uid 1 --gid 1", "its last part is no file name" },
		{ "--id x --exec-file f --uid -1 --gid 1", "uid '-1': it is no number" },
		{ "--id x --exec-file f --uid 1 --gid 4294967295", "gid '4294967295': it is no" },
		{ "--id x --exec-file f --uid root --gid 1", "uid 'root': it is no number" },
		{ BASIC "--cgroup-version 3", "cgroup-version '3': it is neither 1 nor 2" },
		{ BASIC "--cgroup cpu", "it is not of the form FILE=VALUE" },
		{ BASIC "--cgroup cpu.shares=", "it is not of the form FILE=VALUE" },
		{ BASIC "--cgroup =5", "it is not of the form FILE=VALUE" },
		{ BASIC "--cgroup ../x.y=1", "'../x.y' is no file of a controller" },
		{ BASIC "--cgroup a/x.y=1", "'a/x.y' is no file of a controller" },
		{ BASIC "--cgroup cpu=1", "'cpu' is no file of a controller" },
		{ BASIC "--cgroup .cpu=1", "'.cpu' is no file of a controller" },
		{ BASIC "--cgroup cgroup.procs=1", "the jailer's own to write" },
		{ BASIC "--parent-cgroup /a", "parent-cgroup '/a': it is no relative path" },
		{ BASIC "--parent-cgroup a/../b", "it is no relative path of names" },
		{ BASIC "--parent-cgroup a//b", "it is no relative path of names" },
		{ BASIC "--parent-cgroup .", "it is no relative path of names" },
		{ BASIC "--resource-limit cpu=1", "it is not fsize=BYTES or no-file=NUMBER" },
		{ BASIC "--resource-limit fsize", "it is not fsize=BYTES or no-file=NUMBER" },
		{ BASIC "--resource-limit no-file=x", "'x' is no number" },
		{ BASIC "--keep-fd 2", "keep-fd '2': it is no number of a descriptor from 3" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(parse(rows[i].line), -EINVAL);
		if (!strstr(err.msg, rows[i].text))
			fail_msg("%s: %s", rows[i].line, err.msg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_defaults),
		cmocka_unit_test(takes_all_flags),
		cmocka_unit_test(rootless_is_the_caller),
		cmocka_unit_test(help_and_version),
		cmocka_unit_test(mistakes_have_their_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
