/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: what each flag does, what wins over what, and the text of each mistake. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmcfg-option.h"
#include "vmcfg.h"

#define ARGS_MAX 64

struct run {
	struct vm_config cfg;
	struct vmcfg_errors e;
	enum vmcfg_action action;
};

/* Splits on blanks and parses; "%s" in args is replaced by file. */
static void run(struct run *r, const char *args, const char *file)
{
	char buf[1024], *argv[ARGS_MAX] = { (char *)"volt-vmm" }, *rest = buf, *word;
	int argc = 1;

	*r = (struct run){ 0 };
	snprintf(buf, sizeof(buf), "%s", args);
	while ((word = strsep(&rest, " ")) && argc < ARGS_MAX - 1)
		if (*word)
			argv[argc++] = strcmp(word, "FILE") == 0 ? (char *)file : word;
	vmcfg_defaults(&r->cfg);
	vmcfg_cli(&r->cfg, argc, argv, &r->action, &r->e);
}

static void done(struct run *r)
{
	vmcfg_errors_done(&r->e);
	vmcfg_done(&r->cfg);
}

static void run_ok(struct run *r, const char *args, const char *file)
{
	run(r, args, file);
	vmcfg_check_values(&r->cfg, &r->e);
	if (r->e.n)
		fail_msg("%s: %s", args, r->e.text[0]);
	assert_false(r->cfg.partial);
}

/* A temporary file; the caller unlinks it. */
static void write_file(char path[32], const char *text)
{
	int fd;

	strcpy(path, "/tmp/test-vmcfg-cli-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void every_flag_reaches_its_field(void **state)
{
	struct run r;

	(void)state;
	run_ok(&r,
		"--kernel k --initrd=i --cmdline quiet --cpus 4 --smt --mem 2G --no-acpi "
		"--console file:c --no-entropy --boot-timer --id web-1 --shutdown-timeout 7 "
		"--no-seccomp --no-landlock --log-path l --level WARNING --module vm --show-level "
		"--show-log-origin --metrics-path m --start-time-us 1 --start-time-cpu-us 2 "
		"--net tap=t0 --vsock v.sock,cid=7 "
		"--parent-cpu-time-us 3",
		NULL);
	assert_int_equal(r.action, VMCFG_RUN);
	assert_string_equal(r.cfg.kernel_path, "k");
	assert_string_equal(r.cfg.initrd_path, "i");
	assert_string_equal(r.cfg.cmdline, "quiet");
	assert_int_equal(r.cfg.vcpus, 4);
	assert_true(r.cfg.smt);
	assert_true(r.cfg.mem_bytes == 2 * GIB);
	assert_true(r.cfg.no_acpi);
	assert_int_equal(r.cfg.console, CONSOLE_FILE);
	assert_string_equal(r.cfg.console_path, "c");
	assert_false(r.cfg.entropy);
	assert_true(r.cfg.boot_timer);
	assert_string_equal(r.cfg.id, "web-1");
	assert_true(r.cfg.shutdown_timeout_ms == 7000);
	assert_true(r.cfg.no_seccomp && r.cfg.no_landlock);
	assert_string_equal(r.cfg.log.path, "l");
	assert_int_equal(r.cfg.log.level, LOG_WARN);
	assert_string_equal(r.cfg.log.module, "vm");
	assert_true(r.cfg.log.show_level && r.cfg.log.show_origin);
	assert_string_equal(r.cfg.metrics_path, "m");
	assert_true(r.cfg.start_time_us == 1 && r.cfg.start_time_cpu_us == 2);
	assert_true(r.cfg.parent_cpu_time_us == 3);
	assert_int_equal(r.cfg.n_nets, 1);
	assert_string_equal(r.cfg.nets[0].host_dev, "t0");
	assert_string_equal(r.cfg.vsock_path, "v.sock");
	assert_true(r.cfg.vsock_cid == 7);
	done(&r);
}

static void flags_have_their_own_defaults(void **state)
{
	struct run r;

	(void)state;
	run_ok(&r, "--kernel k --disk a --disk b,ro", NULL);
	assert_true(r.cfg.entropy);
	assert_int_equal(r.cfg.n_nets, 0);
	assert_null(r.cfg.vsock_path);
	assert_int_equal(r.cfg.vcpus, 1);
	assert_true(r.cfg.mem_bytes == 128 * MIB);
	assert_string_equal(r.cfg.cmdline, "console=ttyS0 reboot=k panic=1 i8042.noaux i8042.nomux "
					   "i8042.dumbkbd");
	assert_int_equal(r.cfg.n_disks, 2);
	assert_true(r.cfg.disks[0].root && !r.cfg.disks[1].root);
	assert_false(r.cfg.disks[0].read_only);
	assert_true(r.cfg.disks[1].read_only);
	assert_int_equal(r.cfg.disks[0].cache, DISK_CACHE_WRITEBACK);
	assert_string_equal(r.cfg.disks[1].id, "disk1");
	done(&r);
}

static void disks_take_options_and_one_is_root(void **state)
{
	struct run r;

	(void)state;
	run_ok(&r, "--kernel k --disk a --disk b,root,id=r,io=uring,cache=unsafe,queues=3", NULL);
	assert_string_equal(r.cfg.disks[0].path, "b");
	assert_string_equal(r.cfg.disks[0].id, "r");
	assert_true(r.cfg.disks[0].root && !r.cfg.disks[1].root);
	assert_int_equal(r.cfg.disks[0].io, DISK_IO_URING);
	assert_int_equal(r.cfg.disks[0].cache, DISK_CACHE_UNSAFE);
	assert_int_equal(r.cfg.disks[0].n_queues, 3);
	done(&r);
	run_ok(&r, "--kernel k --disk a,id=root,overlay=b", NULL);
	assert_string_equal(r.cfg.disks[0].path, "a");
	assert_string_equal(r.cfg.disks[0].overlay, "b");
	done(&r);
	run_ok(&r, "--kernel k --disk a --cmdline root=/dev/vda1", NULL);
	assert_false(r.cfg.disks[0].root);
	done(&r);
	run_ok(&r, "--kernel k --disk a --cmdline noroot=1", NULL);
	assert_true(r.cfg.disks[0].root);
	done(&r);
}

static void the_file_comes_first_wherever_it_stands(void **state)
{
	char path[32];
	struct run r;

	(void)state;
	write_file(path, "{\"boot-source\": {\"kernel_image_path\": \"fk\", \"boot_args\": \"fa\"},"
			 "\"drives\": [{\"drive_id\": \"disk1\", \"path_on_host\": \"fd\"}],"
			 "\"machine-config\": {\"vcpu_count\": 2, \"mem_size_mib\": 64},"
			 "\"console\": {\"mode\": \"File\", \"path\": \"fc\"}}");
	run_ok(&r, "--cpus 8 --disk d --console off --config-file FILE --no-api", path);
	unlink(path);
	assert_string_equal(r.cfg.kernel_path, "fk");
	assert_string_equal(r.cfg.cmdline, "fa");
	assert_int_equal(r.cfg.vcpus, 8);
	assert_true(r.cfg.mem_bytes == 64 * MIB);
	assert_int_equal(r.cfg.console, CONSOLE_OFF);
	assert_null(r.cfg.console_path);
	assert_int_equal(r.cfg.n_disks, 2);
	assert_string_equal(r.cfg.disks[0].path, "fd");
	assert_int_equal(r.cfg.disks[0].cache, DISK_CACHE_UNSAFE);
	assert_string_equal(r.cfg.disks[1].path, "d");
	assert_string_equal(r.cfg.disks[1].id, "disk2"); /* disk1 is taken */
	assert_int_equal(r.cfg.disks[1].cache, DISK_CACHE_WRITEBACK);
	assert_false(r.cfg.disks[0].root || r.cfg.disks[1].root);
	done(&r);
}

static void the_strongest_action_wins(void **state)
{
	static const struct {
		const char *args;
		enum vmcfg_action action;
	} cases[] = {
		{ "--kernel k --check", VMCFG_CHECK },
		{ "--kernel k --dump-config --check", VMCFG_DUMP },
		{ "--version --bogus --cpus", VMCFG_VERSION },
		{ "--help --version", VMCFG_HELP },
		{ "-h", VMCFG_HELP },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct run r;

		run(&r, cases[i].args, NULL);
		assert_int_equal(r.action, cases[i].action);
		assert_int_equal(r.e.n, 0);
		done(&r);
	}
}

/* What is wrong, and the one line for it. */
static const struct {
	const char *args, *error;
} mistakes[] = {
	{ "", "kernel: none is given; use --kernel PATH or --config-file PATH (--help lists all)" },
	{ "--kernal k", "--kernal: unknown option (did you mean --kernel?)" },
	{ "--kern k", "--kern: unknown option (did you mean --kernel?)" },
	{ "--frobnicate", "--frobnicate: unknown option; --help lists all" },
	{ "--kernel k -v", "-v: unknown option; --help lists all" },
	{ "--kernel", "--kernel: needs a value: PATH" },
	{ "--kernel --smt", "--kernel: needs a value: PATH (one that starts with -- is given as "
			    "--kernel=VALUE)" },
	{ "--kernel k --kernel k", "--kernel: is given twice" },
	{ "--kernel k --smt --smt", "--smt: is given twice" },
	{ "--kernel k --smt=yes", "--smt: takes no value" },
	{ "--kernel= --smt", "--kernel: must not be empty" },
	{ "--kernel k vm.json", "vm.json: unexpected argument; all are flags" },
	{ "--kernel k -- x", "x: unexpected argument behind --" },
	{ "--kernel k --cpus 0", "--cpus: must be a whole number from 1 to 32, not '0'" },
	{ "--kernel k --cpus 33", "--cpus: must be a whole number from 1 to 32, not '33'" },
	{ "--kernel k --cpus two", "--cpus: must be a whole number from 1 to 32, not 'two'" },
	{ "--kernel k --cpus -1", "--cpus: must be a whole number from 1 to 32, not '-1'" },
	{ "--kernel k --cpus 3 --smt", "vCPUs: 3 do not make whole cores of two threads; with smt "
				       "give 1 or an even number" },
	{ "--kernel k --mem 0",
		"--mem: must be a whole number from 1 to 1048576 of MiB, or a size in "
		"whole MiB such as 512M or 2G, not '0'" },
	{ "--kernel k --mem 1025K",
		"--mem: must be a whole number from 1 to 1048576 of MiB, or a size "
		"in whole MiB such as 512M or 2G, not '1025K'" },
	{ "--kernel k --shutdown-timeout 0",
		"--shutdown-timeout: must be a whole number from 1 to 86400, not '0'" },
	{ "--kernel k --start-time-us x",
		"--start-time-us: must be a whole number below 2^63, not 'x'" },
	{ "--kernel k --level loud",
		"--level: must be Off, Error, Warn, Info, Debug or Trace, not 'loud'" },
	{ "--kernel k --console tty", "--console: must be auto, off or file:PATH, not 'tty'" },
	{ "--kernel k --console file:", "--console: must not be empty" },
	{ "--kernel k --id a_b", "id: 'a_b' may have only letters, digits and hyphens" },
	{ "--kernel k --disk a,rw", "--disk: 'rw' is not known behind the path; there are ro, "
				    "root, id=ID, overlay=FILE, io=sync|uring, "
				    "cache=writeback|unsafe and queues=N" },
	{ "--kernel k --disk a,io=aio", "--disk: io= must be sync or uring, not 'aio'" },
	{ "--kernel k --disk a,cache=none",
		"--disk: cache= must be writeback or unsafe, not 'none'" },
	{ "--kernel k --disk a,queues=9",
		"--disk: queues: must be a whole number from 0 to 8, not '9'" },
	{ "--kernel k --disk ,ro", "--disk: must not be empty" },
	{ "--kernel k --disk a,id=x --disk b,id=x",
		"disk 'x': two disks have this id; each needs its own" },
	{ "--kernel k --disk a,overlay=o,ro",
		"disk 'disk0': it is read-only and has an overlay, which is for writing; leave out "
		"one" },
	{ "--kernel k --disk a,overlay=o,io=uring",
		"disk 'disk0': a disk with an overlay is read and written by plain system calls; "
		"leave out io_uring" },
	{ "--kernel k --disk a,root --disk b,root",
		"disks: both 'disk0' and 'disk1' are the root disk; there can be one" },
	{ "--kernel k --no-api", "--no-api: needs --config-file" },
	{ "--config-file /nonexistent/vm.json",
		"--config-file: /nonexistent/vm.json cannot be opened: No such file or directory" },
	{ "--config-file /", "--config-file: / cannot be read: Is a directory" },
	{ "--kernel k --mmds-size-limit 0",
		"--mmds-size-limit: must be a whole number from 1 to 4294967295, not '0'" },
};

static void each_mistake_is_one_clear_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		struct run r;

		run(&r, mistakes[i].args, NULL);
		vmcfg_check_values(&r.cfg, &r.e);
		if (r.e.n != 1)
			fail_msg("'%s' gives %zu errors: %s, %s", mistakes[i].args, r.e.n,
				r.e.n ? r.e.text[0] : "", r.e.n > 1 ? r.e.text[1] : "");
		assert_string_equal(r.e.text[0], mistakes[i].error);
		done(&r);
	}
}

static void all_mistakes_are_shown_at_once(void **state)
{
	const char *const expected[] = {
		"--kernal: unknown option (did you mean --kernel?)",
		"--smt: takes no value",
		"--config-file: /nonexistent/vm.json cannot be opened: No such file or directory",
		"--cpus: must be a whole number from 1 to 32, not '33'",
		"--disk: io= must be sync or uring, not 'aio'",
		"disk 'disk0': two disks have this id; each needs its own",
	};
	struct run r;

	(void)state;
	run(&r,
		"--kernal k --cpus 33 --smt=1 --api-sock s --no-api --config-file "
		"/nonexistent/vm.json "
		"--disk a,io=aio,id=disk0 --disk b,id=disk0",
		NULL);
	vmcfg_check_values(&r.cfg, &r.e);
	assert_int_equal(r.e.n, ARRAY_SIZE(expected));
	for (size_t i = 0; i < r.e.n; i++)
		assert_string_equal(r.e.text[i], expected[i]);
	done(&r);
}

static void too_many_disks_are_counted(void **state)
{
	char *argv[2 * (LIMIT_DISKS + 1) + 3] = { (char *)"volt-vmm" };
	struct run r = { 0 };
	int argc = 1;

	(void)state;
	for (int i = 0; i < LIMIT_DISKS + 1; i++) {
		argv[argc++] = (char *)"--disk";
		argv[argc++] = (char *)"d";
	}
	argv[argc++] = (char *)"--kernel=k";
	vmcfg_defaults(&r.cfg);
	vmcfg_cli(&r.cfg, argc, argv, &r.action, &r.e);
	assert_int_equal(r.cfg.n_disks, LIMIT_DISKS);
	assert_int_equal(r.e.n, 1);
	assert_string_equal(r.e.text[0], "--disk: is one disk too many; the maximum is 17");
	done(&r);
}

static void text_that_a_line_cannot_show_is_refused(void **state)
{
	const char *argv[] = { "volt-vmm", "--kernel", "k\xff", "--initrd", "a\nb", NULL };
	struct run r = { 0 };

	(void)state;
	vmcfg_defaults(&r.cfg);
	vmcfg_cli(&r.cfg, 5, (char **)argv, &r.action, &r.e);
	assert_int_equal(r.e.n, 2);
	assert_string_equal(r.e.text[0], "--kernel: must be UTF-8 text without control characters");
	assert_string_equal(r.e.text[1], "--initrd: must be UTF-8 text without control characters");
	done(&r);
}

static void help_is_as_it_was(void **state)
{
	static char expected[1 << 16];
	char *found = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&found, &len);

	(void)state;
	vmcfg_usage(f);
	fclose(f);
	if (getenv("VMCFG_WRITE")) {
		f = fopen(SOURCE_ROOT "/tests/fixtures/help.txt", "w");
		fputs(found, f);
		fclose(f);
	}
	f = fopen(SOURCE_ROOT "/tests/fixtures/help.txt", "r");
	assert_non_null(f);
	expected[fread(expected, 1, sizeof(expected) - 1, f)] = '\0';
	fclose(f);
	assert_string_equal(found, expected);
	for (char *line = strtok(found, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= 100);
	free(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_flag_reaches_its_field),
		cmocka_unit_test(flags_have_their_own_defaults),
		cmocka_unit_test(disks_take_options_and_one_is_root),
		cmocka_unit_test(the_file_comes_first_wherever_it_stands),
		cmocka_unit_test(the_strongest_action_wins),
		cmocka_unit_test(each_mistake_is_one_clear_line),
		cmocka_unit_test(all_mistakes_are_shown_at_once),
		cmocka_unit_test(too_many_disks_are_counted),
		cmocka_unit_test(text_that_a_line_cannot_show_is_refused),
		cmocka_unit_test(help_is_as_it_was),
	};

	return cmocka_run_group_tests_name("vmcfg-cli", tests, NULL, NULL);
}
