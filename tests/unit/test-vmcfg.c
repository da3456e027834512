/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixtures: every document in config/ok is accepted and survives dump and reading; every one
 * in config/bad gives exactly the lines of its .err. Run with VMCFG_WRITE=1 to write the .err
 * files anew, and read the difference.
 */
#include "test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmcfg.h"

static char *slurp(const char *path, size_t *ret_len)
{
	FILE *f = fopen(path, "r");
	char *text;
	size_t n;

	if (!f)
		return NULL;
	text = calloc(1, 2 * LIMIT_CONFIG_BYTES);
	n = fread(text, 1, 2 * LIMIT_CONFIG_BYTES - 1, f);
	fclose(f);
	if (ret_len)
		*ret_len = n;
	return text;
}

static char *dump(const struct vm_config *cfg)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	assert_int_equal(vmcfg_dump(cfg, f), 0);
	fclose(f);
	return text;
}

static char *print(const struct vmcfg_errors *e)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	vmcfg_errors_print(e, f);
	fclose(f);
	return text;
}

/* Calls fn for every .json file of a folder. */
static void each(const char *folder, void (*fn)(const char *path, const char *name))
{
	char path[512];
	struct dirent *d;
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), SOURCE_ROOT "/tests/fixtures/config/%s", folder);
	dir = opendir(path);
	assert_non_null(dir);
	while ((d = readdir(dir))) {
		const char *dot = strrchr(d->d_name, '.');

		if (!dot || strcmp(dot, ".json") != 0)
			continue;
		snprintf(path, sizeof(path), SOURCE_ROOT "/tests/fixtures/config/%s/%s", folder,
			d->d_name);
		fn(path, d->d_name);
		n++;
	}
	closedir(dir);
	print_message("%s: %u documents\n", folder, n);
	assert_true(n >= 5);
}

static void read_ok(struct vm_config *cfg, const char *text, size_t len, const char *name)
{
	struct vmcfg_errors e = { 0 };
	char *errors;

	vmcfg_defaults(cfg);
	vmcfg_json(cfg, text, len, name, &e);
	vmcfg_check_values(cfg, &e);
	errors = print(&e);
	assert_string_equal(errors, "");
	assert_false(cfg->partial);
	free(errors);
	vmcfg_errors_done(&e);
}

static void ok_one(const char *path, const char *name)
{
	char *text, *once, *twice;
	struct vm_config cfg;
	size_t len;

	text = slurp(path, &len);
	read_ok(&cfg, text, len, name);
	once = dump(&cfg);
	vmcfg_done(&cfg);
	read_ok(&cfg, once, strlen(once), name);
	twice = dump(&cfg);
	vmcfg_done(&cfg);
	assert_string_equal(once, twice);
	if (strcmp(name, "full.json") == 0) /* written as the dump writes it */
		assert_string_equal(once, text);
	free(text);
	free(once);
	free(twice);
}

static void good_documents_survive_a_round_trip(void **state)
{
	(void)state;
	each("ok", ok_one);
}

static void bad_one(const char *path, const char *name)
{
	struct vmcfg_errors e = { 0 };
	char *text, *expected, *found;
	struct vm_config cfg;
	char err_path[512];
	size_t len;

	text = slurp(path, &len);
	vmcfg_defaults(&cfg);
	vmcfg_json(&cfg, text, len, name, &e);
	vmcfg_check_values(&cfg, &e);
	found = print(&e);
	snprintf(err_path, sizeof(err_path), "%.*s.err", (int)strlen(path) - 5, path);
	if (getenv("VMCFG_WRITE")) {
		FILE *f = fopen(err_path, "w");

		fputs(found, f);
		fclose(f);
	}
	expected = slurp(err_path, NULL);
	if (!expected)
		fail_msg("%s has no .err", name);
	assert_string_equal(found, expected);
	assert_true(e.n > 0);
	/* One mistake, one line: only the file that says so has several. */
	if (strcmp(name, "all-at-once.json") != 0)
		assert_int_equal(e.n, 1);
	vmcfg_errors_done(&e);
	vmcfg_done(&cfg);
	free(text);
	free(expected);
	free(found);
}

static void bad_documents_say_exactly_what_is_wrong(void **state)
{
	(void)state;
	each("bad", bad_one);
}

static void too_large_documents_are_not_read(void **state)
{
	static char text[LIMIT_CONFIG_BYTES + 1];
	struct vmcfg_errors e = { 0 };
	struct vm_config cfg;

	(void)state;
	memset(text, ' ', sizeof(text));
	vmcfg_defaults(&cfg);
	vmcfg_json(&cfg, text, sizeof(text), "big.json", &e);
	assert_int_equal(e.n, 1);
	assert_string_equal(e.text[0], "big.json: is larger than 1048576 bytes");
	vmcfg_errors_done(&e);
	vmcfg_done(&cfg);
}

static void errors_are_single_lines_and_bounded(void **state)
{
	struct vmcfg_errors e = { 0 };
	char *text;

	(void)state;
	vmcfg_error(&e, "a\nb", "%s", "c\x1b[31m\td");
	assert_string_equal(e.text[0], "a?b: c?[31m?d");
	for (int i = 0; i < 100; i++)
		vmcfg_error(&e, "x", "%d", i);
	assert_int_equal(e.n, 101);
	text = print(&e);
	assert_non_null(strstr(text, "x: 62\nand 37 more\n"));
	free(text);
	vmcfg_errors_done(&e);
}

/* What a Firecracker document leaves out is Firecracker's default; what flags leave out is ours. */
static void absent_keys_have_firecrackers_defaults(void **state)
{
	static const char text[] = "{\"boot-source\": {\"kernel_image_path\": \"k\"},"
				   "\"drives\": [{\"path_on_host\": \"d\"}]}";
	struct vm_config cfg;

	(void)state;
	read_ok(&cfg, text, sizeof(text) - 1, "d.json");
	assert_string_equal(cfg.cmdline,
		"reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.dumbkbd "
		"swiotlb=noforce");
	assert_int_equal(cfg.vcpus, 1);
	assert_true(cfg.mem_bytes == 128 * MIB);
	assert_false(cfg.entropy);
	assert_int_equal(cfg.n_disks, 1);
	assert_string_equal(cfg.disks[0].id, "disk0");
	assert_int_equal(cfg.disks[0].cache, DISK_CACHE_UNSAFE);
	assert_int_equal(cfg.disks[0].io, DISK_IO_SYNC);
	assert_false(cfg.disks[0].root);
	assert_string_equal(cfg.id, "anonymous-instance");
	assert_int_equal(cfg.log.level, LOG_INFO);
	assert_true(cfg.shutdown_timeout_ms == 30000);
	vmcfg_done(&cfg);
}

/* A balloon is there if its object is; Firecracker's defaults are none of its extras. */
static void a_balloon_needs_its_object(void **state)
{
	static const char text[] = "{\"boot-source\": {\"kernel_image_path\": \"k\"},"
				   "\"balloon\": {\"amount_mib\": 128, \"deflate_on_oom\": false}}";
	static const char none[] = "{\"boot-source\": {\"kernel_image_path\": \"k\"}}";
	struct vm_config cfg;

	(void)state;
	read_ok(&cfg, text, sizeof(text) - 1, "b.json");
	assert_true(cfg.balloon.present);
	assert_int_equal(cfg.balloon.amount_mib, 128);
	assert_false(cfg.balloon.deflate_on_oom);
	assert_int_equal(cfg.balloon.stats_interval_s, 0);
	assert_false(cfg.balloon.hinting || cfg.balloon.reporting);
	vmcfg_done(&cfg);
	read_ok(&cfg, none, sizeof(none) - 1, "n.json");
	assert_false(cfg.balloon.present);
	vmcfg_done(&cfg);
}

static void the_root_drive_comes_first(void **state)
{
	struct vm_config cfg;
	size_t len;
	char *text;

	(void)state;
	text = slurp(SOURCE_ROOT "/tests/fixtures/config/ok/root-last.json", &len);
	read_ok(&cfg, text, len, "root-last.json");
	assert_int_equal(cfg.n_disks, 3);
	assert_string_equal(cfg.disks[0].path, "c.img");
	assert_string_equal(cfg.disks[1].path, "a.img");
	assert_string_equal(cfg.disks[1].id, "disk1"); /* disk0 is taken */
	assert_string_equal(cfg.disks[2].path, "b.img");
	vmcfg_done(&cfg);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_documents_survive_a_round_trip),
		cmocka_unit_test(bad_documents_say_exactly_what_is_wrong),
		cmocka_unit_test(too_large_documents_are_not_read),
		cmocka_unit_test(errors_are_single_lines_and_bounded),
		cmocka_unit_test(absent_keys_have_firecrackers_defaults),
		cmocka_unit_test(a_balloon_needs_its_object),
		cmocka_unit_test(the_root_drive_comes_first),
	};

	return cmocka_run_group_tests_name("vmcfg", tests, NULL, NULL);
}
