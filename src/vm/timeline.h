/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where each millisecond of a boot went: one time stamp (CLOCK_MONOTONIC, ns) per stage. Marks are
 * set once, by the thread that reaches the stage; TIMELINE_INIT by a vCPU thread.
 */
#ifndef VOLT_TIMELINE_H
#define VOLT_TIMELINE_H

#include <stdatomic.h>
#include <stdio.h>

#include "compiler.h"

enum timeline_mark {
	TIMELINE_EXEC,	 /* exec of the process, told by the launcher; else the start of main */
	TIMELINE_MAIN,	 /* main entered */
	TIMELINE_CONFIG, /* configuration complete, files open, file system closed off */
	TIMELINE_KVM,	 /* VM, memory, interrupt controller, devices */
	TIMELINE_LOAD,	 /* kernel, initrd, tables in memory; vCPUs ready */
	TIMELINE_RUN,	 /* first KVM_RUN */
	TIMELINE_INIT,	 /* the guest's init wrote to the boot timer */
	TIMELINE_END,	 /* the VM ended */
	TIMELINE_N,
};

struct timeline {
	_Atomic uint64_t ns[TIMELINE_N]; /* 0: not reached */
};

void timeline_mark(struct timeline *t, enum timeline_mark mark);

/*
 * When the process was started: CLOCK_MONOTONIC microseconds, 0 if not known (then: TIMELINE_MAIN).
 */
void timeline_start(struct timeline *t, uint64_t start_time_us);

/* A table for people. */
void timeline_print(const struct timeline *t, FILE *out);

#endif
