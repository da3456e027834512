/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks through the descriptors of all processes, see tap-holder.h: the kernel tells the name of
 * the tap in /proc/PID/fdinfo/FD, as "iff:", a tab and the name.
 */
#include "tap-holder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "limit.h"
#include "num.h"

#define DEVICE "/dev/net/tun"

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* The whole of a small file as text; "" if it cannot be read. */
static void read_text(int dirfd, const char *path, char *ret, size_t size)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, ret, size - 1);

	ret[MAX(n, 0)] = '\0';
}

static bool is_device(int piddir, const char *fd)
{
	char path[64], target[sizeof(DEVICE) + 1];
	ssize_t n;

	snprintf(path, sizeof(path), "fd/%.32s", fd);
	n = readlinkat(piddir, path, target, sizeof(target));
	return n == sizeof(DEVICE) - 1 && memcmp(target, DEVICE, sizeof(DEVICE) - 1) == 0;
}

static bool has_tap(int piddir, const char *fd, const char *line)
{
	char path[64], text[512], *at;

	snprintf(path, sizeof(path), "fdinfo/%.32s", fd);
	read_text(piddir, path, text, sizeof(text));
	at = strstr(text, line);
	return at && (at == text || at[-1] == '\n');
}

static bool holds(int piddir, const char *line)
{
	int fd = openat(piddir, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(close_dir) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		fd_close(fd);
		return false;
	}
	while ((e = readdir(d)))
		if (e->d_name[0] != '.' && is_device(piddir, e->d_name) &&
			has_tap(piddir, e->d_name, line))
			return true;
	return false;
}

static bool is_near(int piddir)
{
	struct stat own, other;

	return stat("/proc/self/ns/net", &own) == 0 && fstatat(piddir, "ns/net", &other, 0) == 0 &&
		own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

static void describe(int piddir, const char *pid, char ret[TAP_HOLDER_TEXT])
{
	uint64_t number;
	char comm[32];

	read_text(piddir, "comm", comm, sizeof(comm));
	comm[strcspn(comm, "\n")] = '\0';
	if (num_parse_u64(pid, 1, INT32_MAX, &number) == 0 && (pid_t)number == getpid())
		snprintf(ret, TAP_HOLDER_TEXT, "this process itself (is it configured twice?)");
	else
		snprintf(ret, TAP_HOLDER_TEXT, "process %.20s (%s)", pid, comm);
}

bool tap_holder_find(const char *name, char ret[TAP_HOLDER_TEXT])
{
	_cleanup_(close_dir) DIR *d = opendir("/proc");
	char line[LIMIT_IFNAME + 8];
	struct dirent *e;
	bool found = false;

	snprintf(line, sizeof(line), "iff:\t%s\n", name);
	while (d && (e = readdir(d))) {
		_cleanup_close_ int piddir = -1;

		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		piddir = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (piddir < 0 || !holds(piddir, line))
			continue;
		describe(piddir, e->d_name, ret);
		found = true;
		if (is_near(piddir))
			break;
	}
	return found;
}
