/* SPDX-License-Identifier: Apache-2.0 */
/* Finding cgroup hierarchies, and words in lists. tests/cli/test_jailer.py has real ones. */
#include "jail-cgroup.h"

#include <errno.h>
#include <string.h>

#include "test.h"

static const char hybrid[] =
	"sysfs /sys sysfs rw 0 0\n"
	"tmpfs /sys/fs/cgroup tmpfs ro,mode=755 0 0\n"
	"cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nsdelegate 0 0\n"
	"cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0\n"
	"cgroup /sys/fs/cgroup/cpuset cgroup rw,nosuid,cpuset 0 0\n"
	"cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
	"cgroup /mnt/with\\040blank cgroup rw,memory 0 0\n";

static int find(const char *text, const char *controller, char *ret, size_t size)
{
	FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	int r = jail_cgroup_find(f, controller, ret, size);

	fclose(f);
	return r;
}

static void hierarchies_are_found(void **state)
{
	static const struct {
		const char *controller, *path;
	} rows[] = {
		{ NULL, "/sys/fs/cgroup/unified" },
		{ "cpuset", "/sys/fs/cgroup/cpuset" },
		{ "cpu", "/sys/fs/cgroup/cpu,cpuacct" },
		{ "cpuacct", "/sys/fs/cgroup/cpu,cpuacct" },
		{ "memory", "/mnt/with blank" },
	};
	char path[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(find(hybrid, rows[i].controller, path, sizeof(path)), 0);
		assert_string_equal(path, rows[i].path);
	}
}

static void others_are_not(void **state)
{
	char path[64], small[8];

	(void)state;
	assert_int_equal(find(hybrid, "pids", path, sizeof(path)), -ENOENT);
	assert_int_equal(find(hybrid, "cpus", path, sizeof(path)), -ENOENT);
	assert_int_equal(find(hybrid, "mode=755", path, sizeof(path)), -ENOENT);
	assert_int_equal(find("cgroup /c cgroup rw,cpu 0 0\n", NULL, path, sizeof(path)), -ENOENT);
	assert_int_equal(find(hybrid, "cpu", small, sizeof(small)), -ENAMETOOLONG);
}

static void words_are_whole(void **state)
{
	(void)state;
	assert_true(jail_cgroup_has_word("cpuset cpu io", "cpu"));
	assert_true(jail_cgroup_has_word("cpuset,cpu", "cpu"));
	assert_true(jail_cgroup_has_word("cpu\n", "cpu"));
	assert_true(jail_cgroup_has_word("io cpuset cpu\n", "io"));
	assert_false(jail_cgroup_has_word("cpuset cpuacct", "cpu"));
	assert_false(jail_cgroup_has_word("xcpu", "cpu"));
	assert_false(jail_cgroup_has_word("", "cpu"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hierarchies_are_found),
		cmocka_unit_test(others_are_not),
		cmocka_unit_test(words_are_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
