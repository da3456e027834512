/* SPDX-License-Identifier: Apache-2.0 */
/* Folders by handle, what is refused of them, and what a failed start takes back. */
#include "jail-path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "test.h"

static char base[64];
static struct jail_undo undo;
static struct volt_err err;

static int setup(void **state)
{
	(void)state;
	snprintf(base, sizeof(base), "/tmp/test-jail-path-XXXXXX");
	err = (struct volt_err){ 0 };
	return mkdtemp(base) && chdir(base) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	jail_undo_done(&undo);
	snprintf(command, sizeof(command), "rm -rf %s", base);
	return chdir("/") < 0 || system(command) ? -1 : 0;
}

static int open_base(void)
{
	int fd = jail_path_open(base, geteuid(), &err);

	assert_true(fd >= 0);
	return fd;
}

static int enter(int dirfd, const char *name, uid_t jailed)
{
	const struct jail_path_owners owners = { geteuid(), jailed };

	err = (struct volt_err){ 0 };
	return jail_path_enter(dirfd, name, 0755, &owners, &undo, name, &err);
}

static void refuses(int r, int code, const char *text)
{
	assert_int_equal(r, -code);
	if (!strstr(err.msg, text))
		fail_msg("%s", err.msg);
}

static void base_must_be_safe(void **state)
{
	char path[96];

	(void)state;
	fd_close(open_base());
	assert_int_equal(mkdir("open", 0777) | chmod("open", 0777) | mkdir("open/in", 0755), 0);
	snprintf(path, sizeof(path), "%s/open", base);
	refuses(jail_path_open(path, geteuid(), &err), EPERM, "can be written by others");
	err = (struct volt_err){ 0 };
	snprintf(path, sizeof(path), "%s/open/in", base);
	refuses(jail_path_open(path, geteuid(), &err), EPERM, "'open' (mode 0777)");
	assert_int_equal(chmod("open", 01777), 0); /* sticky, as /tmp */
	fd_close(jail_path_open(path, geteuid(), NULL));
	assert_int_equal(chmod("open", 0775), 0);
	err = (struct volt_err){ 0 };
	refuses(jail_path_open(path, geteuid(), &err), EPERM, "can be written by others");
	err = (struct volt_err){ 0 };
	refuses(jail_path_open("/none/of/these", geteuid(), &err), ENOENT, "--chroot-base-dir");
	err = (struct volt_err){ 0 };
	assert_int_equal(close(creat("file", 0600)), 0);
	snprintf(path, sizeof(path), "%s/file", base);
	refuses(jail_path_open(path, geteuid(), &err), ENOTDIR, "folder of jails");
}

static void base_of_another_user(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(chown(base, 12345, 0), 0);
	refuses(jail_path_open(base, 0, &err), EPERM, "belongs to uid 12345");
	assert_int_equal(chown(base, 0, 0), 0);
}

static void links_in_the_base_are_the_callers(void **state)
{
	char path[96];
	int fd;

	(void)state;
	assert_int_equal(mkdir("real", 0755) | symlink("real", "link"), 0);
	snprintf(path, sizeof(path), "%s/link", base);
	fd = jail_path_open(path, geteuid(), &err);
	assert_true(fd >= 0);
	fd_close(fd);
}

static void entering_makes_or_takes(void **state)
{
	int dirfd = open_base(), fd = enter(dirfd, "new", 0);
	struct stat st;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(undo.n, 1);
	fd_close(fd);
	assert_int_equal(fstatat(dirfd, "new", &st, 0), 0);
	fd = enter(dirfd, "new", 0);
	assert_true(fd >= 0);
	assert_int_equal(undo.n, 1); /* the second one made nothing */
	fd_close(fd);
	fd_close(dirfd);
}

static void entering_follows_nothing(void **state)
{
	int dirfd = open_base();

	(void)state;
	assert_int_equal(mkdir("real", 0755) | symlink("real", "link") | symlink("/none", "gone"),
		0);
	assert_int_equal(close(creat("file", 0600)), 0);
	refuses(enter(dirfd, "link", 0), ENOTDIR, "the jailer follows none");
	refuses(enter(dirfd, "gone", 0), ENOTDIR, "the jailer follows none");
	refuses(enter(dirfd, "file", 0), ENOTDIR, "the jailer follows none");
	assert_int_equal(chmod("real", 0777), 0);
	refuses(enter(dirfd, "real", 0), EPERM, "can be written by others");
	assert_int_equal(undo.n, 0);
	fd_close(dirfd);
}

static void the_tenant_may_own_folders_inside(void **state)
{
	int dirfd = open_base(), fd;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(mkdir("dev", 0700) | chown("dev", 12345, 0), 0);
	refuses(enter(dirfd, "dev", 0), EPERM, "belongs to uid 12345");
	fd = enter(dirfd, "dev", 12345);
	assert_true(fd >= 0);
	fd_close(fd);
	fd_close(dirfd);
}

static void undo_removes_what_was_made(void **state)
{
	int dirfd = open_base(), a = enter(dirfd, "a", 0), b = enter(a, "b", 0), c;

	(void)state;
	assert_true(a >= 0 && b >= 0);
	assert_int_equal(close(openat(b, "file", O_CREAT | O_WRONLY, 0600)), 0);
	assert_int_equal(jail_undo_add(&undo, JAIL_UNDO_FILE, b, "file", -1, &err), 0);
	assert_int_equal(jail_undo_add(&undo, JAIL_UNDO_FILE, b, "never made", -1, &err), 0);
	assert_int_equal(mkdirat(dirfd, "before", 0755), 0);
	c = enter(dirfd, "before", 0);
	assert_true(c >= 0);
	jail_undo_run(&undo);
	assert_int_equal(undo.n, 0);
	assert_int_equal(access("a", F_OK), -1);
	assert_int_equal(access("before", F_OK), 0); /* not ours */
	fd_close(a);
	fd_close(b);
	fd_close(c);
	fd_close(dirfd);
}

static void undo_leaves_what_others_put_there(void **state)
{
	int dirfd = open_base(), a = enter(dirfd, "a", 0);

	(void)state;
	assert_int_equal(close(openat(a, "theirs", O_CREAT | O_WRONLY, 0600)), 0);
	jail_undo_run(&undo);
	assert_int_equal(access("a/theirs", F_OK), 0);
	fd_close(a);
	fd_close(dirfd);
}

static void undo_has_an_end(void **state)
{
	int dirfd = open_base();

	(void)state;
	for (int i = 0; i < JAIL_UNDO_MAX; i++)
		assert_int_equal(jail_undo_add(&undo, JAIL_UNDO_FILE, dirfd, "x", -1, &err), 0);
	assert_int_equal(jail_undo_add(&undo, JAIL_UNDO_FILE, dirfd, "x", -1, &err), -E2BIG);
	fd_close(dirfd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(base_must_be_safe),
		TEST(base_of_another_user),
		TEST(links_in_the_base_are_the_callers),
		TEST(entering_makes_or_takes),
		TEST(entering_follows_nothing),
		TEST(the_tenant_may_own_folders_inside),
		TEST(undo_removes_what_was_made),
		TEST(undo_leaves_what_others_put_there),
		TEST(undo_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
