/* SPDX-License-Identifier: Apache-2.0 */
/* What a failed start takes back, see jail-undo.h. */
#include "jail-undo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"

#define BUSY_TRIES 200 /* of 5 ms */

int jail_undo_add(struct jail_undo *u, enum jail_undo_kind kind, int dirfd, const char *name,
	int rootfd, struct volt_err *err)
{
	struct jail_undo_step *s = &u->steps[u->n];

	if (u->n == JAIL_UNDO_MAX) {
		fd_close(rootfd);
		return volt_err_set(err, E2BIG, "more than %d files and folders to make",
			JAIL_UNDO_MAX);
	}
	s->kind = kind;
	s->rootfd = rootfd;
	s->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	snprintf(s->name, sizeof(s->name), "%s", name);
	if (s->dirfd < 0) {
		volt_err_set(err, errno, "duplicate a handle: %m");
		fd_close(rootfd);
		return -errno;
	}
	u->n++;
	return 0;
}

/*
 * A process of ours that has told its failure may still be on its way out of the cgroup, which is
 * busy until then.
 */
static void remove_cgroup(const struct jail_undo_step *s)
{
	const struct timespec moment = { .tv_nsec = 5000000 };

	for (int i = 0; i < BUSY_TRIES; i++) {
		if (unlinkat(s->dirfd, s->name, AT_REMOVEDIR) == 0 || errno != EBUSY)
			return;
		nanosleep(&moment, NULL);
	}
}

void jail_undo_run(struct jail_undo *u)
{
	for (size_t i = u->n; i-- > 0;) {
		struct jail_undo_step *s = &u->steps[i];

		if (s->kind == JAIL_UNDO_CGROUP && s->rootfd >= 0 && write(s->rootfd, "0", 1) < 0)
			continue; /* we are in it still: it cannot be removed */
		/* What is not there any more, or has come to be used by others, stays so. */
		if (s->kind == JAIL_UNDO_CGROUP)
			remove_cgroup(s);
		else
			unlinkat(s->dirfd, s->name, s->kind == JAIL_UNDO_FILE ? 0 : AT_REMOVEDIR);
	}
	jail_undo_done(u);
}

void jail_undo_done(struct jail_undo *u)
{
	while (u->n > 0) {
		struct jail_undo_step *s = &u->steps[--u->n];

		fd_close(s->rootfd);
		fd_close(s->dirfd);
	}
}
