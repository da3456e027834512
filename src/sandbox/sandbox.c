/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first stage of confinement, see sandbox.h. Landlock is in landlock.c, the filters in
 * seccomp.c.
 */
#include "sandbox.h"

#include <errno.h>
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
	if (close_range(STDERR_FILENO + 1, UINT32_MAX, 0) < 0)
		return volt_err_set(err, errno, "close inherited descriptors: %m");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return volt_err_set(err, errno, "set no_new_privs: %m");
	umask(077);
	return limit_core(err);
}
