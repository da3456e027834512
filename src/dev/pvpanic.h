/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's kernel says that it has crashed (QEMU docs/specs/pvpanic.rst): one byte port, read
 * for the supported events, written with the event that happened. Registers on the vCPU thread
 * under dev.lock.
 */
#ifndef VOLT_PVPANIC_H
#define VOLT_PVPANIC_H

#include <stdatomic.h>

#include "dev.h"

#define PVPANIC_PORTS 1 /* size of the range at LAYOUT_PORT_PVPANIC */

#define PVPANIC_PANICKED     0x01
#define PVPANIC_CRASH_LOADED 0x02 /* panicked, and the guest will run its crash kernel */

struct pvpanic_events {
	/* vCPU thread, under dev.lock: may set an atomic and write an eventfd, nothing else. */
	void (*on_panic)(void *owner);
	void *owner;
};

struct pvpanic {
	struct dev dev; /* port LAYOUT_PORT_PVPANIC */
	struct pvpanic_events events;
	_Atomic uint64_t panics, crash_loads, ignored;
};

void pvpanic_init(struct pvpanic *p, const struct pvpanic_events *events);
void pvpanic_done(struct pvpanic *p);

#endif
