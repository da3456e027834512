/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a host decides whether the state of a guest's processors can be loaded on it: the
 * processor, what its KVM offers guests, and the frequency of its time stamp counter. Main thread.
 */
#ifndef VOLT_CPU_HOST_H
#define VOLT_CPU_HOST_H

#include <linux/kvm.h>
#include <stdbool.h>

#include "cpu-template.h"
#include "err.h"

#define CPU_HOST_FEATURES 11 /* registers of CPUID that name features */
#define CPU_HOST_MSRS     512 /* KVM lists up to 500 with all of the PMU */

struct cpuid;
struct state;

struct cpu_host {
	struct cpu_template_host cpu;
	uint32_t features[CPU_HOST_FEATURES]; /* that a guest can see */
	uint64_t xcr0; /* bits that a guest may set */
	uint32_t xsave_bytes; /* of KVM_GET_XSAVE2 */
	uint32_t tsc_khz;
	bool tsc_scaling; /* a guest's can have another frequency */
	uint32_t n_msrs, msrs[CPU_HOST_MSRS]; /* KVM_GET_MSR_INDEX_LIST */
};

/* With a vCPU that has its CPUID. */
int cpu_host_probe(int kvmfd, int vcpufd, struct cpu_host *ret, struct volt_err *err);

/*
 * Section "host". guest: CPUID of a vCPU, of which features are saved (loading: not looked at);
 * loading refuses another kind of processor, and a guest that has seen what this host has not.
 */
void cpu_host_state(const struct cpu_host *h, const struct cpuid *guest, struct state *s);

/* Whether a TSC of `khz` is so far from this host's that it has to be scaled. */
bool cpu_host_tsc_differs(const struct cpu_host *h, uint32_t khz);

#endif
