/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder of a jail, BASE/EXEC/ID/root, and what Firecracker's jailer puts into it. Files of the
 * client may lie there already. A jail with devices was used, and is refused: what its tenant left
 * would be taken for the client's. Main thread.
 */
#ifndef VOLT_JAIL_DIR_H
#define VOLT_JAIL_DIR_H

#include "jail-args.h"
#include "jail-undo.h"

/* A device of the jail. */
struct jail_dir_device {
	const char *folder; /* in /dev; NULL: /dev itself */
	const char *name;
	unsigned major, minor;
	bool optional; /* its lack is a warning */
};

#define JAIL_DIR_DEVICES 4

struct jail_dir {
	int rootfd;	    /* owned */
	char path[4096];    /* of root on the host, for messages */
	char pid_file[256]; /* name in root */
	struct jail_dir_device devices[JAIL_DIR_DEVICES]; /* those that this kernel has */
	size_t n_devices;
};

int jail_dir_make(const struct jail_args *a, struct jail_dir *ret, struct jail_undo *undo,
	struct volt_err *err);
/* Folders, devices (rootless: empty files for them, see jail-ns.h), the program. */
int jail_dir_fill(const struct jail_args *a, const struct jail_dir *d, int execfd,
	struct jail_undo *undo, struct volt_err *err);
/* Writes the number, by whoever still has rights in the jail. */
int jail_dir_write_pid(const struct jail_args *a, const struct jail_dir *d, pid_t pid,
	struct volt_err *err);

#endif
