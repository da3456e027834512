/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Run by the jailer in place of the monitor: tries to get out, by the cheapest ways there are, and
 * says of each whether the jail held. tests/cli/test_jailer.py reads that. After the jailer's own
 * arguments:
 *
 *	wait				until it is killed
 *	escape SECRET PID [ATTEMPT...]	SECRET: a file outside; PID: a process outside
 *	show				arguments, environment, streams, umask
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *secret;
static pid_t outsider;

/* Each returns true if it got out, and leaves in errno what stopped it. */

static bool can_read(int dirfd, const char *path)
{
	int fd = openat(dirfd, path, O_RDONLY);
	char word[8] = "";

	if (fd < 0)
		return false;
	errno = ENODATA;
	return read(fd, word, 6) == 6 && memcmp(word, "SECRET", 6) == 0;
}

static bool by_path(void)
{
	return can_read(AT_FDCWD, secret);
}

static bool by_symlink(void)
{
	char up[4200];

	snprintf(up, sizeof(up), "../../../../../../../../../..%s", secret);
	return (symlink(secret, "link") == 0 && can_read(AT_FDCWD, "link")) ||
	       (symlink(up, "link2") == 0 && can_read(AT_FDCWD, "link2")) ||
	       can_read(AT_FDCWD, "laid"); /* one that lay there */
}

static bool by_dots(void)
{
	char path[4200];
	int fd = open("/", O_PATH | O_DIRECTORY);

	for (int i = 0; i < 32; i++) {
		int up = openat(fd, "..", O_PATH | O_DIRECTORY);

		if (up >= 0)
			fd = up;
	}
	snprintf(path, sizeof(path), "../../../../../../../../../../../..%s", secret);
	return can_read(fd, secret + 1) || can_read(AT_FDCWD, path) ||
	       (chdir("..") == 0 && can_read(AT_FDCWD, secret + 1));
}

static bool by_hard_link(void)
{
	return link(secret, "hard") == 0 || link("/proc/1/root/etc/passwd", "hard") == 0;
}

static bool by_device(void)
{
	return mknod("disk", S_IFBLK | 0600, makedev(254, 0)) == 0 ||
	       mknod("/dev/mem", S_IFCHR | 0600, makedev(1, 1)) == 0 ||
	       mknod("/run/kmsg", S_IFCHR | 0600, makedev(1, 11)) == 0;
}

static bool by_signal(void)
{
	return kill(outsider, 0) == 0 || (getppid() != 1 && kill(1, 0) == 0);
}

static bool by_ptrace(void)
{
	char byte;
	struct iovec to = { &byte, 1 }, from = { (void *)0x400000, 1 };

	return ptrace(PTRACE_SEIZE, outsider, 0, 0) == 0 ||
	       process_vm_readv(outsider, &to, 1, &from, 1, 0) == 1 ||
	       syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, outsider, 0), 0, 0) >= 0;
}

/* Only the three streams, and no way to a folder through them. */
static bool by_descriptor(void)
{
	for (int fd = 0; fd < 65536; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			continue;
		if (fd > 2 || openat(fd, "..", O_PATH) >= 0 || fchdir(fd) == 0)
			return true;
	}
	return false;
}

static bool by_proc(void)
{
	mkdir("proc", 0700);
	return open("/proc/1/root", O_PATH) >= 0 || open("/proc/self/root", O_PATH) >= 0 ||
	       mount("proc", "/proc", "proc", 0, NULL) == 0;
}

static bool by_mount(void)
{
	mkdir("m", 0700);
	return mount("/", "/m", NULL, MS_BIND, NULL) == 0 ||
	       mount("none", "/m", "tmpfs", 0, NULL) == 0 || umount2("/", MNT_DETACH) == 0 ||
	       umount2("/dev/kvm", MNT_DETACH) == 0 ||
	       mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL) == 0 ||
	       open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE) >= 0;
}

/* The oldest one: a root below us, a handle above it, and up from there. */
static bool by_chroot(void)
{
	int fd = open("/", O_PATH | O_DIRECTORY);

	mkdir("x", 0700);
	if (chroot("x") < 0)
		return false;
	if (fchdir(fd) < 0)
		return false;
	for (int i = 0; i < 64; i++)
		if (chdir("..") < 0)
			return false;
	return chroot(".") == 0 && can_read(AT_FDCWD, secret);
}

static bool by_rights(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { { 1u << CAP_SYS_ADMIN, 1u << CAP_SYS_ADMIN, 0 } };
	uid_t other = getuid() + 1;
	gid_t group = 0;

	return setuid(other) == 0 || (getgid() && setgid(0) == 0) || setgroups(1, &group) == 0 ||
	       syscall(SYS_capset, &head, caps) == 0 || setns(0, 0) == 0;
}

/* A file of the host by its inode's number, the way out of many a container. */
static bool by_handle(void)
{
	struct {
		struct file_handle h;
		uint32_t f[2];
	} root = { .h = { .handle_bytes = 8, .handle_type = 1 }, .f = { 2, 0 } };

	return syscall(SYS_open_by_handle_at, open("/", O_RDONLY | O_DIRECTORY), &root,
		       O_RDONLY) >= 0;
}

/* All of the above that wants rights, with those that a user namespace gives. */
static bool by_user_namespace(void)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return false;
	mkdir("m", 0700);
	return by_chroot() || by_device() || by_path() || by_handle() || by_ptrace() ||
	       mount("proc", "/m", "proc", 0, NULL) == 0 ||
	       mount("sysfs", "/m", "sysfs", 0, NULL) == 0 ||
	       (umount2("/", MNT_DETACH) == 0 && by_dots());
}

static const struct {
	const char *name;
	bool (*attempt)(void);
} attempts[] = {
	{ "path", by_path },	       { "symlink", by_symlink }, { "dots", by_dots },
	{ "hard link", by_hard_link }, { "device", by_device },	  { "signal", by_signal },
	{ "ptrace", by_ptrace },       { "descriptor", by_descriptor }, { "proc", by_proc },
	{ "mount", by_mount },	       { "chroot", by_chroot },	  { "rights", by_rights },
	{ "file handle", by_handle },  { "user namespace", by_user_namespace },
};

static bool is_wanted(char **names, const char *name)
{
	bool any = !*names;

	for (; *names; names++)
		any |= strcmp(*names, name) == 0;
	return any;
}

/* Each in a process of its own, so that one does not help or hinder another. */
static void try(const char *name, bool (*attempt)(void))
{
	int status;

	fflush(stdout);
	if (fork() == 0) {
		bool out = attempt();

		printf("%s %s: %s\n", out ? "OUT" : "held", name, strerror(errno));
		fflush(stdout);
		_exit(0);
	}
	wait(&status);
	if (status)
		printf("OUT? %s: status %d\n", name, status);
}

static void show(char **argv)
{
	mode_t mask = umask(0);

	for (char **a = argv; *a; a++)
		printf("argument %s\n", *a);
	for (char **e = environ; *e; e++)
		printf("environment %s\n", *e);
	printf("umask %03o\n", mask);
	for (int fd = 0; fd < 65536; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("descriptor %d\n", fd);
}

int main(int argc, char **argv)
{
	char **verb = argv + 1;

	while (*verb && strncmp(*verb, "--", 2) == 0 && verb[1])
		verb += 2; /* the jailer's own, each with its value */
	if (*verb && strcmp(*verb, "show") == 0) {
		show(argv);
	} else if (argc > 3 && *verb && strcmp(*verb, "escape") == 0) {
		secret = verb[1];
		outsider = (pid_t)strtol(verb[2], NULL, 10);
		for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
			if (is_wanted(verb + 3, attempts[i].name))
				try(attempts[i].name, attempts[i].attempt);
	} else {
		printf("waiting\n");
		fflush(stdout);
		for (;;)
			pause();
	}
	return 0;
}
