/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a whole machine but for the content of its memory: into a file (state.h), and from
 * one into a machine that was made with the same configuration. Loop thread.
 *
 *	save	vm_pause, vm_save; then guest memory may be copied; vm_resume, or not
 *	load	vm_create without a kernel; guest memory is put in place; vm_load; vm_start;
 *		vm_resume
 */
#ifndef VOLT_VM_STATE_H
#define VOLT_VM_STATE_H

#include "err.h"

struct state;
struct vm;

/*
 * The VM is paused (-EBUSY if not), and nothing changes by it: it may be saved again, or go on. The
 * same moment gives the same state, but for what time changes. An error leaves s useless, and the
 * VM as it is.
 */
int vm_save(struct vm *vm, struct state *s, struct volt_err *err);

/*
 * Of a VM whose vCPUs have never run. It is paused then: vm_start() starts its threads, vm_resume()
 * the guest. After an error vm can only be destroyed. Guest memory must be there before: KVM writes
 * to it.
 */
int vm_load(struct vm *vm, struct state *s, struct volt_err *err);

/* For vm_resume(): what a loaded machine has to be told before it goes on. */
void vm_state_wake(struct vm *vm);

#endif
