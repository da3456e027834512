/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters by name, written as one JSON object a line: each minute, and at the end of the VM. The
 * counters belong to the devices; this is the list of where they are. Loop thread.
 */
#ifndef VOLT_METRICS_H
#define VOLT_METRICS_H

#include <stdatomic.h>

#include "loop.h"

#define METRICS_MAX	  1024 /* LIMIT_VIRTIO devices of 26, LIMIT_VCPUS of 3, and the platform */
#define METRICS_PERIOD_NS (60 * NSEC_PER_SEC)

struct metric {
	const char *group, *name;	/* borrowed */
	const _Atomic uint64_t *value; /* borrowed */
};

struct metrics {
	int fd, timerfd; /* owned; -1: no metrics file */
	struct loop_src timer_src;
	size_t n;
	struct metric list[METRICS_MAX];
	uint64_t dropped; /* lines that could not be written */
};

/* Takes fd (-1: metrics_add() still collects, nothing is written). */
int metrics_init(struct metrics *m, struct loop *loop, int fd, struct volt_err *err);
/* Building thread. Counters of one group must be added one after the other. */
void metrics_add(struct metrics *m, const char *group, const char *name,
	const _Atomic uint64_t *value);
void metrics_flush(struct metrics *m);
void metrics_done(struct metrics *m);

#endif
