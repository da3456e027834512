/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters of a VM, and the file that they are written to, one JSON object a line: when the
 * guest starts, each minute, when someone asks, and at the end. The file is in Volt's format, or in
 * Firecracker's if the monitor was called by that name. Loop thread, but where it says something
 * else.
 */
#ifndef VOLT_METRICS_H
#define VOLT_METRICS_H

#include <stdatomic.h>

#include "counters.h"
#include "loop.h"

#define METRICS_PERIOD_NS (60 * NSEC_PER_SEC)

struct vm_config;

struct metrics {
	struct counters *own;	      /* owned; Volt's: all of them */
	struct counters *firecracker; /* owned; NULL unless we were called so */
	int fd, timerfd;	      /* owned; -1: no metrics file */
	struct loop_src timer_src;
	char *more;	/* owned; JSON between the time and the first group */
	char *line;	/* owned; made by metrics_start(), of the size that is needed */
	atomic_flag busy; /* a line is being made */
	_Atomic uint64_t missed; /* lines that there was no room or time for ... */
	_Atomic uint64_t failed; /* ... or that could not be written */
};

/* Nothing but the empty sets. Needs metrics_done(), whatever is returned. */
int metrics_init(struct metrics *m, bool firecracker, struct volt_err *err);
/*
 * All counters have been added. Takes fd (-1: none); cfg says what else is in each line. The first
 * one is the caller's to write.
 */
int metrics_start(struct metrics *m, const struct vm_config *cfg, struct loop *loop, int fd,
	struct volt_err *err);
/* Loop thread; any thread in a handler of a signal that ends the process. */
void metrics_flush(struct metrics *m);
/* Volt's set as text, to be freed; NULL: no memory. */
char *metrics_text(struct metrics *m);
void metrics_done(struct metrics *m);

#endif
