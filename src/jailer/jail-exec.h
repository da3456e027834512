/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program in the jail: a copy of its own, so that VMs share no page of it. Main thread.
 */
#ifndef VOLT_JAIL_EXEC_H
#define VOLT_JAIL_EXEC_H

#include "jail-args.h"
#include "jail-undo.h"

#define JAIL_EXEC_INTERP 256

/*
 * Opens the program and looks whether it can be one: *interp is the dynamic linker that it asks
 * for, or "". Returns a handle.
 */
int jail_exec_open(const char *path, char interp[JAIL_EXEC_INTERP], struct volt_err *err);

/*
 * Copies it to `name` in the jail. A file of that name is replaced; a link, or a file that has
 * another name as well, is refused.
 */
int jail_exec_copy(int execfd, int rootfd, const struct jail_args *a, struct jail_undo *undo,
	struct volt_err *err);

/* A program that is linked dynamically finds its linker in the jail only if somebody put it in. */
int jail_exec_check_interp(const char *interp, int rootfd, const struct jail_args *a,
	struct volt_err *err);

#endif
