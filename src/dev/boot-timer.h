/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The boot timer, Firecracker's: a guest that is up writes the byte 123 to LAYOUT_BOOT_TIMER, and
 * the monitor tells how long the boot took. Registers on the vCPU thread under dev.lock.
 */
#ifndef VOLT_BOOT_TIMER_H
#define VOLT_BOOT_TIMER_H

#include <stdatomic.h>

#include "dev.h"

#define BOOT_TIMER_BYTES 0x1000 /* size of the range at LAYOUT_BOOT_TIMER */
#define BOOT_TIMER_MAGIC 123

struct boot_timer_events {
	/*
	 * vCPU thread, under dev.lock: may set atomics and write an eventfd, nothing else. now_ns:
	 * loop_now_ns(); cpu_ns: CPU time that the process has used. Called for each magic write.
	 */
	void (*on_boot)(void *owner, uint64_t now_ns, uint64_t cpu_ns);
	void *owner;
};

struct boot_timer {
	struct dev dev; /* MMIO, LAYOUT_BOOT_TIMER */
	struct boot_timer_events events;
	_Atomic uint64_t boots, ignored;
};

void boot_timer_init(struct boot_timer *t, const struct boot_timer_events *events);
void boot_timer_done(struct boot_timer *t);

#endif
