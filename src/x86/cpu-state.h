/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that KVM knows of a vCPU, and the clock of the VM. Taken from KVM, visited as a
 * section of machine state, and given to KVM, in three steps, so that nothing of a hostile or
 * damaged file reaches KVM before all of it was read.
 *
 * All vCPUs stand still, outside of KVM_RUN, with their last exit completed; any one thread. The
 * order of calls is part of the meaning, see cpu-state.c.
 */
#ifndef VOLT_CPU_STATE_H
#define VOLT_CPU_STATE_H

#include <stdbool.h>

#include "cpu-host.h"
#include "cpuid.h"

#define CPU_STATE_MSRS  (CPU_HOST_MSRS + 320) /* those that KVM lists, and ours */
#define CPU_STATE_XSAVE 16384 /* without AMX it is some 2.5 KiB */

/* What is saved: MSRs that exist here, as found on a vCPU that has its CPUID. */
struct cpu_msrs {
	uint32_t n, index[CPU_STATE_MSRS];
};

/* The clock of the VM at the moment from which on the guest has missed nothing. */
struct cpu_clock {
	uint64_t clock_ns; /* kvmclock */
	uint64_t host_tsc, realtime_ns;
	uint32_t flags; /* KVM_CLOCK_*: which of the two before are known */
};

struct cpu_state {
	struct kvm_mp_state mp;
	struct kvm_regs regs;
	struct kvm_sregs2 sregs;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debug;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	uint8_t xsave[CPU_STATE_XSAVE];
	struct cpuid cpuid;
	uint32_t tsc_khz;
	uint64_t tsc, tsc_offset, tsc_deadline;
	bool has_offset;
	uint32_t n_msrs;
	struct kvm_msr_entry msrs[CPU_STATE_MSRS];
};

/* Once per VM, when its guest runs: some MSRs are there only then. */
int cpu_msrs_find(const struct cpu_host *h, int vcpufd, struct cpu_msrs *ret, struct volt_err *err);

int cpu_clock_get(int vmfd, struct cpu_clock *ret, struct volt_err *err);
void cpu_clock_state(struct cpu_clock *c, struct state *s);
/* The clock goes on from where it was; *ret_now is what it is then. */
int cpu_clock_set(
	int vmfd, const struct cpu_clock *c, struct cpu_clock *ret_now, struct volt_err *err);

int cpu_state_get(int vcpufd, const struct cpu_host *h, const struct cpu_msrs *msrs,
	struct cpu_state *ret, struct volt_err *err);
/* Section "vcpu". */
void cpu_state_fields(
	struct cpu_state *c, const struct cpu_host *h, unsigned index, struct state *s);
/*
 * Of a vCPU that has never run: all but the time; then, after cpu_clock_set() and for all vCPUs,
 * the time and what waits for it. was, now: of that call.
 */
int cpu_state_set(
	int vcpufd, const struct cpu_host *h, const struct cpu_state *c, struct volt_err *err);
int cpu_state_set_time(int vcpufd, const struct cpu_state *c, const struct cpu_clock *was,
	const struct cpu_clock *now, struct volt_err *err);

#endif
