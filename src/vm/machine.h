/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices of a VM: made, put on the buses, connected to interrupts and to the end of the VM.
 * What this monitor can emulate is listed in machine.c, in order. Main thread.
 */
#ifndef VOLT_MACHINE_H
#define VOLT_MACHINE_H

#include "err.h"
#include "layout.h"
#include "limit.h"

struct resources;
struct vm;

/* Serial port and console: they open by path, so before the sandbox. */
int machine_open_console(struct vm *vm, struct volt_err *err);
/* After KVM's interrupt controller exists. Freezes the buses. */
int machine_create(struct vm *vm, struct resources *res, struct volt_err *err);
/* Puts every device's counters into vm->metrics; after the vCPUs exist. */
void machine_metrics(struct vm *vm);
/* Lets the console print what it still holds (a second at most) and gives the terminal back. */
void machine_finish(struct vm *vm);
void machine_destroy(struct vm *vm);

/* Windows and interrupts of the virtio devices in order; returns their number. */
unsigned machine_slots(const struct vm *vm, struct layout_slot ret[LIMIT_VIRTIO]);

#endif
