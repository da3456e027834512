/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID as the guest sees it: what KVM supports, changed by a template, with the topology of this
 * VM, and without what we do not offer (nested virtualisation, AMX, the PMU, asynchronous page
 * faults). Built once per VM with cpuid_build(), then written to each vCPU with cpuid_set(). One
 * thread at a time.
 */
#ifndef VOLT_CPUID_H
#define VOLT_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>

#include "err.h"

#define CPUID_ENTRIES_MAX 160

/* struct kvm_cpuid2 with room for its entries. */
struct cpuid {
	uint32_t nent, padding;
	struct kvm_cpuid_entry2 entries[CPUID_ENTRIES_MAX];
};

struct cpu_template;

struct cpuid_config {
	unsigned n_vcpus; /* 1..LIMIT_VCPUS */
	bool smt;	  /* two threads a core */
	const struct cpu_template *template; /* applied before the rest; NULL: none */
};

/*
 * Bits of a guest-physical address, as KVM tells the guest; 36 if it does not. What is put above 2
 * to that power does not exist for the guest.
 */
unsigned cpuid_address_bits(int kvmfd);

/* -ENOTSUP: the template changes a leaf that KVM does not have. */
int cpuid_build(int kvmfd, const struct cpuid_config *cfg, struct cpuid *ret, struct volt_err *err);

/* Puts the APIC id `index` of one vCPU in; the rest is the same for all. */
void cpuid_for_vcpu(struct cpuid *c, unsigned index);

/* cpuid_for_vcpu() and KVM_SET_CPUID2. */
int cpuid_set(struct cpuid *c, int vcpufd, unsigned index, struct volt_err *err);

#endif
