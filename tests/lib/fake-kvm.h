/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm.h without KVM: remembers what was asked for, so that tests can look; a test may script the
 * exits of the vCPUs. One thread at a time, but for kvm_run() and kvm_signal_msi().
 */
#ifndef VOLT_FAKE_KVM_H
#define VOLT_FAKE_KVM_H

#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "compiler.h"

#define FAKE_KVM_FD  1000000 /* any descriptor that kvm.h hands out: not a real one */
#define FAKE_KVM_MAX 64
#define FAKE_KVM_VCPUS 32

struct fake_kvm {
	struct kvm_ioeventfd ioeventfds[FAKE_KVM_MAX];
	unsigned n_ioeventfds;
	struct kvm_msi msis[FAKE_KVM_MAX]; /* the first ones */
	unsigned n_msis;
	struct kvm_irqfd irqfds[FAKE_KVM_MAX];
	unsigned n_irqfds;
	struct kvm_irq_routing_entry routes[FAKE_KVM_MAX]; /* the table as it is */
	unsigned n_routes, n_routings;			   /* entries; calls that set it */
	struct kvm_userspace_memory_region regions[FAKE_KVM_MAX]; /* by slot; size 0: none */
	unsigned address_bits; /* EAX of CPUID leaf 0x80000008; 0: there is none */
	int n_memslots;	       /* KVM_CAP_NR_MEMSLOTS */
	unsigned n_regions, n_vcpus; /* n_regions: calls */
	_Atomic unsigned n_kvmclock_ctrls;
	uint32_t region_flags; /* of the last region */
	int fail_ioeventfd; /* -errno for the next calls; 0: succeed. The others likewise: */
	int fail_irqfd, fail_routing, fail_kvmclock_ctrl, fail_region;
	/* What vCPUs were given: a word for each call, such as "cpuid0 get0 set0 set0 set1". */
	char vcpu_calls[512];
	uint64_t msr_base;   /* the value of every MSR that is read */
	uint32_t msr_lacking; /* it can be neither read nor set; 0: there is none */
	struct kvm_msr_entry msrs[FAKE_KVM_MAX]; /* the last ones that were set, of all vCPUs */
	unsigned n_msrs;
	struct kvm_cpuid_entry2 cpuid[FAKE_KVM_MAX]; /* the last that was set */
	uint32_t n_cpuid;
	uint32_t cap_lacking;	  /* 0: none */
	/*
	 * KVM_RUN of vCPU `index`: fills *run and returns what the ioctl would. NULL: waits a
	 * moment and is interrupted. Called on vCPU threads.
	 */
	int (*run)(unsigned index, struct kvm_run *run);
	/* State of the vCPUs, as last set; the calls that set it: "clock0 regs0 lapic0". */
	struct fake_kvm_vcpu {
		struct kvm_mp_state mp_state;
		struct kvm_regs regs;
		struct kvm_sregs2 sregs2;
		struct kvm_xcrs xcrs;
		struct kvm_debugregs debugregs;
		struct kvm_lapic_state lapic;
		struct kvm_vcpu_events vcpu_events;
		uint8_t xsave[4096];
		uint64_t tsc_offset;
	} vcpus[FAKE_KVM_VCPUS];
	char state_calls[1024];
	struct kvm_clock_data clock;
	unsigned tsc_khz; /* 0: 1000000 */
	bool no_tsc_offset;
	struct kvm_run *runs[FAKE_KVM_MAX];
};

extern struct fake_kvm fake_kvm;

void fake_kvm_reset(void);

/* What KVM does on a store of the guest: true if an ioeventfd took it. */
bool fake_kvm_store(uint64_t gpa, unsigned len, uint64_t value);

#endif
