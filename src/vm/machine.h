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
struct virtio_dev;
struct vm;

/* Serial port and console: they open by path, so before the sandbox. */
int machine_open_console(struct vm *vm, struct volt_err *err);
/* After KVM's interrupt controller exists. Freezes the buses. */
int machine_create(struct vm *vm, struct resources *res, struct volt_err *err);
/* Put every device's counters into the sets of vm->metrics; after the vCPUs exist. */
void machine_metrics(struct vm *vm);
void machine_fcmetrics(struct vm *vm);
/* Lets the console print what it still holds (a second at most) and gives the terminal back. */
void machine_finish(struct vm *vm);
void machine_destroy(struct vm *vm);

/* The device of this kind (virtio 1.2, section 5) and name; NULL name: the first. NULL: none. */
struct virtio_dev *machine_find(const struct vm *vm, uint16_t id, const char *name);

/* Windows and interrupts of the virtio devices in order; returns their number. */
unsigned machine_slots(const struct vm *vm, struct layout_slot ret[LIMIT_VIRTIO]);

#endif
