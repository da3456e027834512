/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders by handle: each part of a path is opened from the handle of the one before, is no
 * symbolic link, and belongs to someone who may have it. So whatever is renamed, linked or put
 * there meanwhile, nothing outside is touched. Main thread.
 */
#ifndef VOLT_JAIL_PATH_H
#define VOLT_JAIL_PATH_H

#include <stdbool.h>
#include <sys/types.h>

#include "jail-undo.h"

/* Who may own a folder besides root. */
struct jail_path_owners {
	uid_t caller;
	uid_t jailed; /* of folders inside the jail; else the caller again */
};

/*
 * Opens an existing folder; symbolic links in `path` are the caller's own and are followed once, at
 * the start. -EPERM: a third user may write to it or to a folder above. Returns an O_PATH handle.
 */
int jail_path_open(const char *path, uid_t caller, struct volt_err *err);

/*
 * Opens the folder `name` below dirfd, and makes it (mode) if there is none. where is for messages.
 * Returns a handle that can be read.
 */
int jail_path_enter(int dirfd, const char *name, mode_t mode,
	const struct jail_path_owners *owners, struct jail_undo *undo, const char *where,
	struct volt_err *err);

#endif
