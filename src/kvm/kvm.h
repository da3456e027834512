/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM, one C function per ioctl, and the only place that says ioctl on a KVM descriptor
 * (Documentation/virt/kvm/api.rst). It is the seam of the tests: fake-kvm.c links in its place.
 * Functions return a value >= 0 or -errno; none logs, allocates or retries, but for
 * kvm_create_vm(), which retries EINTR. Any thread, but vCPU ioctls belong to the thread that runs
 * the vCPU.
 */
#ifndef VOLT_KVM_H
#define VOLT_KVM_H

#include <linux/kvm.h>

#include "compiler.h"

/* /dev/kvm: -ENOENT, -EACCES ... as open(2) says; -ENOTSUP: not API version 12. Returns the fd. */
int kvm_open(void);
int kvm_check_extension(int kvmfd, unsigned cap);
int kvm_create_vm(int kvmfd);
int kvm_get_vcpu_mmap_size(int kvmfd);
/* cpuid->nent is the room on entry and the number of entries on return; -E2BIG if too small. */
int kvm_get_supported_cpuid(int kvmfd, struct kvm_cpuid2 *cpuid);
/* list->nmsrs is the room on entry and the number of MSRs on return; -E2BIG if too small. */
int kvm_get_msr_index_list(int kvmfd, struct kvm_msr_list *list);

int kvm_enable_cap(int vmfd, unsigned cap, uint64_t arg0);
int kvm_set_tss_addr(int vmfd, uint64_t gpa);
int kvm_set_identity_map_addr(int vmfd, uint64_t gpa);
int kvm_set_user_memory_region(int vmfd, const struct kvm_userspace_memory_region *region);
int kvm_ioeventfd(int vmfd, const struct kvm_ioeventfd *ioev);
int kvm_irqfd(int vmfd, const struct kvm_irqfd *irqfd);
/* Replaces the whole table; waits for a grace period, milliseconds on a busy host. */
int kvm_set_gsi_routing(int vmfd, const struct kvm_irq_routing *routing);
/* 1: delivered, 0: the guest blocked it. */
int kvm_signal_msi(int vmfd, const struct kvm_msi *msi);
int kvm_get_clock(int vmfd, struct kvm_clock_data *ret);
/* Of its flags KVM_CLOCK_REALTIME only. */
int kvm_set_clock(int vmfd, const struct kvm_clock_data *clock);
int kvm_create_vcpu(int vmfd, unsigned id);

/* Maps the shared page of a vCPU; NULL with errno set. */
struct kvm_run *kvm_map_run(int vcpufd, size_t bytes);
void kvm_unmap_run(struct kvm_run *run, size_t bytes);

int kvm_run(int vcpufd);
/*
 * Before it runs again: the guest's watchdog forgives the time since. -EINVAL: it has no kvm-clock.
 */
int kvm_kvmclock_ctrl(int vcpufd);
int kvm_set_cpuid2(int vcpufd, const struct kvm_cpuid2 *cpuid);
/* cpuid->nent is the room on entry; -E2BIG if too small. */
int kvm_get_cpuid2(int vcpufd, struct kvm_cpuid2 *cpuid);
/* Number of MSRs written, in order; it stops at the first that KVM refuses. */
int kvm_set_msrs(int vcpufd, const struct kvm_msrs *msrs);
/* Number of MSRs read, in order; it stops at the first that KVM does not have. */
int kvm_get_msrs(int vcpufd, struct kvm_msrs *msrs);
int kvm_get_regs(int vcpufd, struct kvm_regs *regs);
int kvm_set_regs(int vcpufd, const struct kvm_regs *regs);
int kvm_get_sregs(int vcpufd, struct kvm_sregs *sregs);
int kvm_set_sregs(int vcpufd, const struct kvm_sregs *sregs);
int kvm_set_fpu(int vcpufd, const struct kvm_fpu *fpu);
int kvm_get_lapic(int vcpufd, struct kvm_lapic_state *lapic);
int kvm_set_lapic(int vcpufd, const struct kvm_lapic_state *lapic);

/* For machine state (cpu-state.c), with the vCPU outside of KVM_RUN; any thread. */
int kvm_get_mp_state(int vcpufd, struct kvm_mp_state *ret);
int kvm_set_mp_state(int vcpufd, const struct kvm_mp_state *s);
int kvm_get_sregs2(int vcpufd, struct kvm_sregs2 *ret);
int kvm_set_sregs2(int vcpufd, const struct kvm_sregs2 *s);
int kvm_get_xcrs(int vcpufd, struct kvm_xcrs *ret);
int kvm_set_xcrs(int vcpufd, const struct kvm_xcrs *s);
int kvm_get_debugregs(int vcpufd, struct kvm_debugregs *ret);
int kvm_set_debugregs(int vcpufd, const struct kvm_debugregs *s);
int kvm_get_vcpu_events(int vcpufd, struct kvm_vcpu_events *ret);
int kvm_set_vcpu_events(int vcpufd, const struct kvm_vcpu_events *s);
/* As many bytes as KVM_CAP_XSAVE2 says, both. */
int kvm_get_xsave2(int vcpufd, void *ret);
int kvm_set_xsave(int vcpufd, const void *xsave);
int kvm_get_tsc_khz(int vcpufd);
int kvm_set_tsc_khz(int vcpufd, unsigned khz);
/* The attribute KVM_VCPU_TSC_OFFSET: guest's TSC - host's. -ENXIO, -ENOTTY: there is none. */
int kvm_get_tsc_offset(int vcpufd, uint64_t *ret);
int kvm_set_tsc_offset(int vcpufd, uint64_t offset);

#endif
