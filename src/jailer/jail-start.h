/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last steps: the processes between the jailer and the program, and the program itself. The
 * jailer that was called ends when the program runs, with status 0, or says why it does not.
 */
#ifndef VOLT_JAIL_START_H
#define VOLT_JAIL_START_H

#include "jail-cgroup.h"
#include "jail-dir.h"

/* For the program's start-up figures, in us. */
struct jail_start_times {
	uint64_t start;	     /* monotonic clock at the jailer's start */
	uint64_t cpu;	     /* CPU time of the process that becomes the program, at that moment */
	uint64_t parent_cpu; /* CPU time of jailers before it */
};

void jail_start_clock(struct jail_start_times *ret);

/*
 * Returns only in a process that is not, or does not become, the program: 0, or -errno. *ret_failed
 * is true in the one process that is to say so and to remove what was made.
 */
int jail_start(const struct jail_args *a, const struct jail_dir *d, const struct jail_cgroup *c,
	struct jail_start_times *times, int nullfd, mode_t mask, bool *ret_failed,
	struct volt_err *err);

#endif
