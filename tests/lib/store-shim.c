/* SPDX-License-Identifier: Apache-2.0 */
/* The calls, see store-shim.h; store-disk.c has the model. */
#include "store-shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store-disk.h"

static enum store_shim_what what;
static unsigned at, count, failed_syncs;
static int code;

void store_shim_set(enum store_shim_what w, unsigned n, int error)
{
	what = w;
	at = n;
	code = error;
	count = failed_syncs = 0;
}

unsigned store_shim_count(void)
{
	return count;
}

unsigned store_shim_failed_syncs(void)
{
	return failed_syncs;
}

/* True: this call fails, errno is set. */
static bool strikes(bool needs_space)
{
	unsigned n = count++;

	if (what == STORE_SHIM_KILL && n == at)
		raise(SIGKILL);
	if ((what == STORE_SHIM_FAIL && n == at) || (what == STORE_SHIM_DEAD && n >= at) ||
		(what == STORE_SHIM_STICKY && n >= at && needs_space)) {
		errno = code;
		return true;
	}
	return false;
}

static int shim_openat(int dirfd, const char *name, int flags, mode_t mode)
{
	int fd;

	if (!(flags & O_CREAT))
		return openat(dirfd, name, flags, mode);
	if (strikes(true))
		return -1;
	fd = openat(dirfd, name, flags, mode);
	if (fd >= 0)
		store_disk_created(dirfd, name, fd);
	return fd;
}

static int shim_mkdirat(int dirfd, const char *name, mode_t mode)
{
	int r;

	if (strikes(true))
		return -1;
	r = mkdirat(dirfd, name, mode);
	if (r == 0)
		store_disk_made(dirfd, name);
	return r;
}

static int shim_renameat(int from, const char *name, int to, const char *to_name)
{
	int r;

	if (strikes(true))
		return -1;
	r = renameat(from, name, to, to_name);
	if (r == 0)
		store_disk_renamed(from, name, to, to_name);
	return r;
}

static int shim_unlinkat(int dirfd, const char *name, int flags)
{
	int r;

	if (strikes(false))
		return -1;
	r = unlinkat(dirfd, name, flags);
	if (r == 0)
		store_disk_unlinked(dirfd, name);
	return r;
}

static ssize_t shim_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	ssize_t n;

	if (what == STORE_SHIM_KILL && count == at && pwrite(fd, data, len / 2, offset) < 0)
		_exit(1);
	if (strikes(true)) {
		/* a full disk takes a part first */
		if (what == STORE_SHIM_STICKY && count == at + 1 && len > 1) {
			n = pwrite(fd, data, len / 2, offset);
			store_disk_wrote(fd, data, (size_t)n, offset);
			return n;
		}
		return -1;
	}
	n = pwrite(fd, data, what == STORE_SHIM_SHORT && len > 1 ? len / 2 : len, offset);
	if (n > 0)
		store_disk_wrote(fd, data, (size_t)n, offset);
	return n;
}

static int shim_ftruncate(int fd, off_t bytes)
{
	int r;

	if (strikes(true))
		return -1;
	r = ftruncate(fd, bytes);
	if (r == 0)
		store_disk_truncated(fd, bytes);
	return r;
}

/* The real disk is not asked: that would only take time. */
static int sync_one(int fd)
{
	bool fails = strikes(false);

	failed_syncs += fails;
	store_disk_synced(fd, fails);
	return fails ? -1 : 0;
}

const struct store_sys store_shim = {
	.openat = shim_openat,
	.mkdirat = shim_mkdirat,
	.renameat = shim_renameat,
	.unlinkat = shim_unlinkat,
	.pread = pread,
	.pwrite = shim_pwrite,
	.ftruncate = shim_ftruncate,
	.fdatasync = sync_one,
	.fsync = sync_one,
};
