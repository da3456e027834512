/* SPDX-License-Identifier: Apache-2.0 */
/* The program in the jail: what can be one, and through what it is not copied. */
#include "jail-exec.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "test.h"

static char base[64], interp[JAIL_EXEC_INTERP];
static struct jail_undo undo;
static struct volt_err err;
static struct jail_args args;
static int rootfd;

static int setup(void **state)
{
	(void)state;
	snprintf(base, sizeof(base), "/tmp/test-jail-exec-XXXXXX");
	err = (struct volt_err){ 0 };
	args = (struct jail_args){ .exec_name = "program", .exec_file = "program.elf",
		.uid = geteuid(), .gid = getegid(), .rootless = geteuid() != 0 };
	if (!mkdtemp(base) || chdir(base) < 0 || mkdir("root", 0700) < 0)
		return -1;
	rootfd = open("root", O_RDONLY | O_DIRECTORY);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	jail_undo_done(&undo);
	fd_close(rootfd);
	snprintf(command, sizeof(command), "rm -rf %s", base);
	return chdir("/") < 0 || system(command) ? -1 : 0;
}

static void put(const char *path, const void *data, size_t len, mode_t mode)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);

	assert_int_equal(write(fd, data, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

/* A program header and nothing else; interpreter NULL: static. */
static void put_elf(const char *path, const char *interpreter, size_t len)
{
	struct {
		Elf64_Ehdr h;
		Elf64_Phdr p;
		char name[512];
	} f = { .h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64 }, .e_phnum = 1,
			.e_phentsize = sizeof(Elf64_Phdr), .e_phoff = sizeof(Elf64_Ehdr) } };

	f.p = (Elf64_Phdr){ .p_type = interpreter ? PT_INTERP : PT_LOAD, .p_filesz = len,
		.p_offset = sizeof(f.h) + sizeof(f.p) };
	if (interpreter)
		memcpy(f.name, interpreter, strlen(interpreter) + 1);
	put(path, &f, sizeof(f), 0755);
}

static int look(const char *path)
{
	int fd;

	err = (struct volt_err){ 0 };
	fd = jail_exec_open(path, interp, &err);
	if (fd < 0)
		return fd;
	fd_close(fd);
	return 0;
}

static void refuses(int r, int code, const char *text)
{
	assert_int_equal(r, -code);
	if (!strstr(err.msg, text))
		fail_msg("%s", err.msg);
}

static void what_can_be_run(void **state)
{
	(void)state;
	put_elf("static", NULL, 0);
	assert_int_equal(look("static"), 0);
	assert_string_equal(interp, "");
	put_elf("dynamic", "/lib/ld.so", 11);
	assert_int_equal(look("dynamic"), 0);
	assert_string_equal(interp, "/lib/ld.so");
	put("script", "#!/bin/sh\n", 10, 0755);
	assert_int_equal(look("script"), 0);
	put("text", "hello\n", 6, 0755);
	refuses(look("text"), ENOEXEC, "it is no 64-bit ELF program");
	put("empty", "", 0, 0755);
	refuses(look("empty"), ENOEXEC, "it is no 64-bit ELF program");
	put("data", "#!/bin/sh\n", 10, 0644);
	refuses(look("data"), EACCES, "it is not executable (mode 0644)");
	refuses(look("none"), ENOENT, "exec-file 'none'");
	refuses(look("root"), EINVAL, "it is no regular file");
	assert_int_equal(mkfifo("fifo", 0755), 0);
	refuses(look("fifo"), EINVAL, "it is no regular file");
}

static void broken_elf(void **state)
{
	char name[600];

	(void)state;
	put_elf("unterminated", "/lib/ld.so", 10);
	refuses(look("unterminated"), ENOEXEC, "its dynamic linker is cut off");
	put_elf("relative", "ld.so", 6);
	refuses(look("relative"), ENOEXEC, "its dynamic linker is cut off");
	put_elf("short", "/", 1);
	refuses(look("short"), ENOEXEC, "its dynamic linker is cut off");
	put_elf("long", "/lib/ld.so", 300);
	refuses(look("long"), ENOEXEC, "its dynamic linker is cut off");
	memset(name, 0, sizeof(name));
	memcpy(name, "\177ELF\2", 5);
	put("headers", name, 64, 0755);
	refuses(look("headers"), ENOEXEC, "its program headers are cut off");
}

static int copy(void)
{
	int fd, r;

	put_elf("program.elf", NULL, 0);
	err = (struct volt_err){ 0 };
	fd = jail_exec_open("program.elf", interp, &err);
	assert_true(fd >= 0);
	r = jail_exec_copy(fd, rootfd, &args, &undo, &err);
	fd_close(fd);
	return r;
}

static void the_copy_is_its_own(void **state)
{
	struct stat from, to, old;

	(void)state;
	put("root/program", "old", 3, 0600);
	assert_int_equal(stat("root/program", &old), 0);
	assert_int_equal(link("root/program", "held"), 0); /* so that its number stays in use */
	assert_int_equal(unlink("root/program"), 0);
	put("root/program", "old", 3, 0600);
	assert_int_equal(copy(), 0);
	assert_int_equal(stat("program.elf", &from) | stat("root/program", &to), 0);
	assert_true(from.st_ino != to.st_ino && old.st_ino != to.st_ino);
	assert_int_equal(from.st_size, to.st_size);
	assert_int_equal(to.st_mode & 07777, 0755);
	jail_undo_run(&undo);
	assert_int_equal(access("root/program", F_OK), -1);
}

static void the_copy_goes_through_nothing(void **state)
{
	(void)state;
	put("victim", "precious", 8, 0600);
	assert_int_equal(symlink("../victim", "root/program"), 0);
	refuses(copy(), EEXIST, "is a symbolic link");
	assert_int_equal(unlink("root/program") | link("victim", "root/program"), 0);
	refuses(copy(), EMLINK, "one of 2 names");
	assert_int_equal(unlink("root/program") | mkdir("root/program", 0700), 0);
	refuses(copy(), EEXIST, "no regular file");
	assert_int_equal(undo.n, 0);
}

static void setuid_is_not_copied(void **state)
{
	struct stat st;

	(void)state;
	put_elf("program.elf", NULL, 0);
	assert_int_equal(chmod("program.elf", 06755), 0);
	assert_int_equal(copy(), 0);
	assert_int_equal(stat("root/program", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
}

static void the_linker_must_be_inside(void **state)
{
	(void)state;
	assert_int_equal(jail_exec_check_interp("", rootfd, &args, &err), 0);
	refuses(jail_exec_check_interp("/lib64/ld.so", rootfd, &args, &err), ENOENT,
		"'/lib64/ld.so' is not in the jail");
	assert_int_equal(mkdir("root/lib64", 0755) | symlink("/lib64/real", "root/lib64/ld.so"), 0);
	put("root/lib64/real", "x", 1, 0755);
	assert_int_equal(jail_exec_check_interp("/lib64/ld.so", rootfd, &args, &err), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_can_be_run),	      TEST(broken_elf),
		TEST(the_copy_is_its_own),    TEST(the_copy_goes_through_nothing),
		TEST(setuid_is_not_copied),   TEST(the_linker_must_be_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
