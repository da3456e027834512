/* SPDX-License-Identifier: Apache-2.0 */
/* The namespaces of a jail. Main thread, the only one. */
#ifndef VOLT_JAIL_NS_H
#define VOLT_JAIL_NS_H

#include "jail-dir.h"

int jail_ns_net(const char *path, struct volt_err *err);

/* A user namespace in which the caller is a->uid and a->gid, and may do the rest. */
int jail_ns_user(const struct jail_args *a, struct volt_err *err);

/*
 * A mount namespace whose root is the jail, and nothing else of the host is in it; mounts that the
 * host makes below the jail later come in. System V and POSIX queues get a namespace, too.
 * Rootless, the devices are the host's nodes, mounted over the files that stand for them.
 */
int jail_ns_mount(const struct jail_args *a, const struct jail_dir *d, struct volt_err *err);

/* After jail_ns_mount(): files that were mounted over can be removed again. */
void jail_ns_undo(const struct jail_args *a, const struct jail_dir *d);

#endif
