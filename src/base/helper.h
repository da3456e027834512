/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helper programs: small programs of ours (src/helper) that do what the monitor must not be able to
 * do any more once it is confined. One is started with a socket pair as its standard input, answers
 * one message ("ok", or the text of an error) with up to HELPER_FDS descriptors, and undoes what it
 * did when the other end is closed, be it by exit or by SIGKILL. It inherits stdout, stderr and the
 * environment, nothing else; SIGTERM, SIGINT, SIGHUP and SIGPIPE are blocked in it. Building
 * thread, before the sandbox.
 *
 * They lie beside the running program or (a build tree) in ../helper from there, else in the folder
 * that HELPER_DIR names at build time. The variable VOLT_HELPER_DIR names another folder.
 */
#ifndef VOLT_HELPER_H
#define VOLT_HELPER_H

#include <sys/types.h>

#include "err.h"

#define HELPER_FDS 4

struct helper {
	pid_t pid;
	int pidfd; /* owned */
	int fd;	   /* owned; closing it ends the helper */
};

#define HELPER_NONE ((struct helper){ -1, -1, -1 })

/* argv[0] is the name of the program, such as "volt-helper-macvtap"; NULL at the end. */
int helper_start(char *const argv[], struct helper *ret, int fds[HELPER_FDS], unsigned *ret_n_fds,
	struct volt_err *err);

/*
 * Closes the socket and gives the helper a second to undo its work and end. Nothing for
 * HELPER_NONE. Also under the loop thread's filter.
 */
void helper_done(struct helper *h);

/* ---- for the helper programs ---- */

/* Answers "ok" with descriptors, or the error. */
int helper_reply(const struct volt_err *err, const int *fds, unsigned n_fds);
/* Returns when the monitor has gone. */
void helper_wait(void);

#endif
