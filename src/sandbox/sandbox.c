/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first stages of confinement, see sandbox.h. Landlock is in landlock.c, the filters in
 * seccomp.c.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * A core file would hold the guest's memory. A limit of 1 byte stops files like 0 does, and also
 * the core_pattern pipes, which the kernel feeds at limit 0 (core(5), fs/coredump.c).
 */
static int limit_core(struct volt_err *err)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_CORE, &lim) < 0)
		return volt_err_set(err, errno, "read the core limit: %m");
	lim.rlim_max = MIN(lim.rlim_max, 1);
	lim.rlim_cur = lim.rlim_max;
	if (setrlimit(RLIMIT_CORE, &lim) < 0)
		return volt_err_set(err, errno, "set the core limit: %m");
	return 0;
}

int sandbox_early(struct volt_err *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return volt_err_set(err, errno, "set no_new_privs: %m");
	umask(077);
	return limit_core(err);
}

/* The smallest descriptor of keep that is at least `from`; -1 if there is none. */
static int next_kept(const int *keep, size_t n, int from)
{
	int next = -1;

	for (size_t i = 0; i < n; i++)
		if (keep[i] >= from && (next < 0 || keep[i] < next))
			next = keep[i];
	return next;
}

int sandbox_close_fds(const int *keep, size_t n_keep, struct volt_err *err)
{
	int from = STDERR_FILENO + 1, fd;

	while ((fd = next_kept(keep, n_keep, from)) >= 0) {
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			return volt_err_set(err, errno, "keep descriptor %d: %m", fd);
		if (fd > from && close_range((unsigned)from, (unsigned)fd - 1, 0) < 0)
			return volt_err_set(err, errno, "close inherited descriptors: %m");
		from = fd + 1; /* no overflow: a descriptor that is open is far smaller */
	}
	if (close_range((unsigned)from, UINT_MAX, 0) < 0)
		return volt_err_set(err, errno, "close inherited descriptors: %m");
	return 0;
}
