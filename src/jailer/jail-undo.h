/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this start has made on the host, so that a start that fails leaves nothing. Removed in
 * reverse order, by handle of the folder and name. Main thread.
 */
#ifndef VOLT_JAIL_UNDO_H
#define VOLT_JAIL_UNDO_H

#include <stddef.h>

#include "err.h"

#define JAIL_UNDO_MAX 64

enum jail_undo_kind {
	JAIL_UNDO_FILE,
	JAIL_UNDO_FOLDER,
	JAIL_UNDO_CGROUP, /* a folder; this process may be in it, and goes to the root first */
};

struct jail_undo {
	struct jail_undo_step {
		enum jail_undo_kind kind;
		int dirfd;  /* owned, O_CLOEXEC */
		int rootfd; /* of a cgroup: procs file of the root, owned; else -1 */
		char name[256];
	} steps[JAIL_UNDO_MAX];
	size_t n;
};

/* dirfd is duplicated; rootfd is taken over also if this fails. */
int jail_undo_add(struct jail_undo *u, enum jail_undo_kind kind, int dirfd, const char *name,
	int rootfd, struct volt_err *err);
/* Removes what it can. */
void jail_undo_run(struct jail_undo *u);
/* Forgets everything; nothing is removed. */
void jail_undo_done(struct jail_undo *u);

#endif
