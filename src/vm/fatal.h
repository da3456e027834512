/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals that end the process: the metrics get a last line, the log one that says why. For a
 * monitor that was called as firecracker, with that one's exit codes; volt-vmm leaves them to the
 * system, which may keep a core. The state belongs to the process: signals do.
 */
#ifndef VOLT_FATAL_H
#define VOLT_FATAL_H

#include <stdatomic.h>

#include "err.h"

struct metrics;

struct fatal_counters {
	_Atomic uint64_t sigbus, sigsegv, sigxfsz, sigxcpu, sigill; /* they end it: 0 or 1 */
	_Atomic uint64_t sighup, sigpipe; /* these need not */
	_Atomic uint64_t bad_syscalls;	  /* that seccomp refused: 0 or 1 */
};

/* Main thread, before the sandbox. m and logfd (-1: none) are borrowed for ever. */
int fatal_init(struct metrics *m, int logfd, struct volt_err *err);
/* The metrics are about to go. */
void fatal_done(void);

/* Others handle SIGHUP and SIGSYS, and tell it here. Async-signal-safe. */
void fatal_hangup(void);
void fatal_bad_syscall(void);

/* Any thread. */
const struct fatal_counters *fatal_counters(void);

#endif
