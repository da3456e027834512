/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam: every call by which the store changes or reads its files, in one table, so that a test
 * can count them, make one fail, or end the process at the n-th. Each has the meaning of the libc
 * function of its name: -1 and errno. Any thread; no state.
 */
#ifndef VOLT_STORE_SYS_H
#define VOLT_STORE_SYS_H

#include <sys/types.h>

#include "err.h"

struct store_sys {
	int (*openat)(int dirfd, const char *name, int flags, mode_t mode);
	int (*mkdirat)(int dirfd, const char *name, mode_t mode);
	int (*renameat)(int from, const char *name, int to, const char *to_name);
	int (*unlinkat)(int dirfd, const char *name, int flags);
	ssize_t (*pread)(int fd, void *data, size_t len, off_t offset);
	ssize_t (*pwrite)(int fd, const void *data, size_t len, off_t offset);
	int (*ftruncate)(int fd, off_t bytes);
	int (*fdatasync)(int fd);
	int (*fsync)(int fd);
};

/* The system's own. */
extern const struct store_sys store_sys_real;

/*
 * All of it, over short counts and EINTR; -errno, and -EIO for a call that moves nothing.
 * store_sys_read(): -ENODATA if the file ends before.
 */
int store_sys_read(const struct store_sys *sys, int fd, void *data, size_t len, uint64_t offset);
int store_sys_write(
	const struct store_sys *sys, int fd, const void *data, size_t len, uint64_t offset);

#endif
