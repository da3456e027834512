/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cgroups of a jail, version 1 (a hierarchy per controller) or 2. Made and written to from
 * outside the jail; entered by the process that becomes the program, as late as possible, through
 * handles opened before. Main thread.
 */
#ifndef VOLT_JAIL_CGROUP_H
#define VOLT_JAIL_CGROUP_H

#include "jail-args.h"
#include "jail-undo.h"

struct jail_cgroup {
	int procs[JAIL_ARGS_VALUES]; /* owned: files that take the process id */
	size_t n;
};

/* Does what --cgroup, --cgroup-version and --parent-cgroup say; without --cgroup often nothing. */
int jail_cgroup_make(const struct jail_args *a, struct jail_cgroup *ret, struct jail_undo *undo,
	struct volt_err *err);
/* The calling process and its children to come. */
int jail_cgroup_enter(const struct jail_cgroup *c, struct volt_err *err);
void jail_cgroup_done(struct jail_cgroup *c);

/*
 * Looks a hierarchy up in the form of /proc/self/mounts: the first cgroup2 (controller NULL), or
 * the cgroup that has this controller. -ENOENT: there is none.
 */
int jail_cgroup_find(FILE *mounts, const char *controller, char *ret, size_t size);

/* True if a word of the list (blanks, commas between) is this one. */
bool jail_cgroup_has_word(const char *list, const char *word);

#endif
