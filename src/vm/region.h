/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory besides RAM: the files of pmem devices, and what can be plugged. They lie above all
 * RAM, from 512 GiB up as Firecracker has it, in the order of the configuration. Main thread.
 */
#ifndef VOLT_REGION_H
#define VOLT_REGION_H

#include "err.h"
#include "gmem.h"

struct resources;
struct vm;

/* After gmem_map(), before KVM's slots are set. */
int region_map(struct vm *vm, const struct resources *res, struct volt_err *err);

/* Where pmem device i is. */
const struct gmem_region *region_of_pmem(const struct vm *vm, size_t i);

/* KVM's number of the first slot for memory that can be plugged: those below are set already. */
uint32_t region_first_slot(const struct vm *vm);

#endif
