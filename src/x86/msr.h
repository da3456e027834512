/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model-specific registers at boot. The thread that owns the vCPU, after cpuid_set() (Linux 6.13
 * and later look at CPUID) and before regs_setup().
 */
#ifndef VOLT_MSR_H
#define VOLT_MSR_H

#include <linux/kvm.h>
#include <sys/types.h>

#include "err.h"

/* -EIO: KVM refused one; the message names it. */
int msr_setup(int vcpufd, struct volt_err *err);

/*
 * Any number of MSRs. Both return how many they did, in order: less than n if KVM does not have the
 * next one, or does not take its value; or -errno.
 */
ssize_t msr_get(int vcpufd, struct kvm_msr_entry *entries, size_t n);
ssize_t msr_set(int vcpufd, struct kvm_msr_entry *entries, size_t n);

#endif
