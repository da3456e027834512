/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the jailer may do, and gives up: at the start all that it does not need, at the end
 * everything. Main thread.
 */
#ifndef VOLT_JAIL_RIGHTS_H
#define VOLT_JAIL_RIGHTS_H

#include "jail-args.h"

/*
 * The streams 0 to 2 exist (those that were closed are /dev/null), none is a folder, and every
 * other descriptor is closed but those to keep.
 */
int jail_rights_descriptors(const struct jail_args *a, struct volt_err *err);
/* Keeps the capabilities that a jailer needs; -EPERM: they are not there (never rootless). */
int jail_rights_begin(const struct jail_args *a, struct volt_err *err);
/* The jail is entered: keeps those for limits and the change of the user. */
int jail_rights_jailed(struct volt_err *err);
/* Resource limits, then groups, group, user, no capability for ever, no_new_privs. */
int jail_rights_end(const struct jail_args *a, struct volt_err *err);

#endif
