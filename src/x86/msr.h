/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model-specific registers at boot. The thread that owns the vCPU, after cpuid_set() (Linux 6.13
 * and later look at CPUID) and before regs_setup().
 */
#ifndef VOLT_MSR_H
#define VOLT_MSR_H

#include "err.h"

/* -EIO: KVM refused one; the message names it. */
int msr_setup(int vcpufd, struct volt_err *err);

#endif
