/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a vCPU before its first instruction: FPU and LAPIC for all, general and segment
 * registers for the boot processor. The others wait for INIT and SIPI, as KVM starts them.
 * The thread that owns the vCPU, before its first KVM_RUN and after cpuid_set() and msr_setup().
 */
#ifndef VOLT_REGS_H
#define VOLT_REGS_H

#include "err.h"

struct boot_regs;

/* boot: NULL for an application processor. */
int regs_setup(int vcpufd, const struct boot_regs *boot, struct volt_err *err);

#endif
