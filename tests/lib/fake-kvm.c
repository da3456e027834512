/* SPDX-License-Identifier: Apache-2.0 */
/* See fake-kvm.h. */
#include "fake-kvm.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kvm.h"

#define FAKE_KVM_VCPU (FAKE_KVM_FD + 2)

struct fake_kvm fake_kvm;

void fake_kvm_reset(void)
{
	fake_kvm = (struct fake_kvm){ 0 };
}

bool fake_kvm_store(uint64_t gpa, unsigned len, uint64_t value)
{
	uint64_t one = 1;

	for (unsigned i = 0; i < fake_kvm.n_ioeventfds; i++) {
		const struct kvm_ioeventfd *e = &fake_kvm.ioeventfds[i];

		if (e->addr == gpa && e->len == len &&
			(!(e->flags & KVM_IOEVENTFD_FLAG_DATAMATCH) || e->datamatch == value))
			return write(e->fd, &one, sizeof(one)) == sizeof(one);
	}
	return false;
}

int kvm_open(void)
{
	return FAKE_KVM_FD;
}

int kvm_check_extension(int kvmfd, unsigned cap)
{
	(void)kvmfd;
	(void)cap;
	return 1;
}

int kvm_create_vm(int kvmfd)
{
	return kvmfd + 1;
}

int kvm_get_vcpu_mmap_size(int kvmfd)
{
	(void)kvmfd;
	return 4096;
}

int kvm_get_supported_cpuid(int kvmfd, struct kvm_cpuid2 *cpuid)
{
	(void)kvmfd;
	if (cpuid->nent < 2)
		return -E2BIG;
	cpuid->nent = 2;
	cpuid->entries[0] = (struct kvm_cpuid_entry2){ .function = 0, .eax = 1 };
	cpuid->entries[1] = (struct kvm_cpuid_entry2){ .function = 1 };
	return 0;
}

int kvm_enable_cap(int vmfd, unsigned cap, uint64_t arg0)
{
	(void)vmfd;
	(void)cap;
	(void)arg0;
	return 0;
}

int kvm_set_tss_addr(int vmfd, uint64_t gpa)
{
	(void)vmfd;
	(void)gpa;
	return 0;
}

int kvm_set_identity_map_addr(int vmfd, uint64_t gpa)
{
	(void)vmfd;
	(void)gpa;
	return 0;
}

int kvm_set_user_memory_region(int vmfd, const struct kvm_userspace_memory_region *region)
{
	(void)vmfd;
	(void)region;
	fake_kvm.n_regions++;
	return 0;
}

int kvm_ioeventfd(int vmfd, const struct kvm_ioeventfd *ioev)
{
	(void)vmfd;
	if (fake_kvm.fail_ioeventfd)
		return fake_kvm.fail_ioeventfd;
	if (fake_kvm.n_ioeventfds == FAKE_KVM_MAX)
		return -ENOSPC;
	fake_kvm.ioeventfds[fake_kvm.n_ioeventfds++] = *ioev;
	return 0;
}

int kvm_irqfd(int vmfd, const struct kvm_irqfd *irqfd)
{
	(void)vmfd;
	if (fake_kvm.fail_irqfd)
		return fake_kvm.fail_irqfd;
	if (fake_kvm.n_irqfds == FAKE_KVM_MAX)
		return -ENOSPC;
	fake_kvm.irqfds[fake_kvm.n_irqfds++] = *irqfd;
	return 0;
}

int kvm_set_gsi_routing(int vmfd, const struct kvm_irq_routing *routing)
{
	(void)vmfd;
	fake_kvm.n_routings++;
	if (fake_kvm.fail_routing)
		return fake_kvm.fail_routing;
	if (routing->nr > FAKE_KVM_MAX)
		return -E2BIG;
	memcpy(fake_kvm.routes, routing->entries, routing->nr * sizeof(routing->entries[0]));
	fake_kvm.n_routes = routing->nr;
	return 0;
}

int kvm_signal_msi(int vmfd, const struct kvm_msi *msi)
{
	(void)vmfd;
	if (fake_kvm.n_msis < FAKE_KVM_MAX)
		fake_kvm.msis[fake_kvm.n_msis] = *msi;
	fake_kvm.n_msis++;
	return 1;
}

int kvm_create_vcpu(int vmfd, unsigned id)
{
	fake_kvm.n_vcpus++;
	assert(vmfd == FAKE_KVM_FD + 1);
	return FAKE_KVM_VCPU + (int)id;
}

struct kvm_run *kvm_map_run(int vcpufd, size_t bytes)
{
	unsigned index = (unsigned)(vcpufd - FAKE_KVM_VCPU);

	return index < FAKE_KVM_MAX ? fake_kvm.runs[index] = calloc(1, bytes) : NULL;
}

void kvm_unmap_run(struct kvm_run *run, size_t bytes)
{
	(void)bytes;
	free(run);
}

int kvm_run(int vcpufd)
{
	unsigned index = (unsigned)(vcpufd - FAKE_KVM_VCPU);
	const struct timespec moment = { .tv_nsec = 1000000 };

	if (fake_kvm.run)
		return fake_kvm.run(index, fake_kvm.runs[index]);
	nanosleep(&moment, NULL);
	return -EINTR;
}

int kvm_set_cpuid2(int vcpufd, const struct kvm_cpuid2 *cpuid)
{
	(void)vcpufd;
	(void)cpuid;
	return 0;
}

int kvm_set_msrs(int vcpufd, const struct kvm_msrs *msrs)
{
	(void)vcpufd;
	return (int)msrs->nmsrs;
}

int kvm_get_regs(int vcpufd, struct kvm_regs *regs)
{
	(void)vcpufd;
	memset(regs, 0, sizeof(*regs));
	return 0;
}

int kvm_set_regs(int vcpufd, const struct kvm_regs *regs)
{
	(void)vcpufd;
	(void)regs;
	return 0;
}

int kvm_get_sregs(int vcpufd, struct kvm_sregs *sregs)
{
	(void)vcpufd;
	memset(sregs, 0, sizeof(*sregs));
	return 0;
}

int kvm_set_sregs(int vcpufd, const struct kvm_sregs *sregs)
{
	(void)vcpufd;
	(void)sregs;
	return 0;
}

int kvm_set_fpu(int vcpufd, const struct kvm_fpu *fpu)
{
	(void)vcpufd;
	(void)fpu;
	return 0;
}

int kvm_get_lapic(int vcpufd, struct kvm_lapic_state *lapic)
{
	(void)vcpufd;
	memset(lapic, 0, sizeof(*lapic));
	return 0;
}

int kvm_set_lapic(int vcpufd, const struct kvm_lapic_state *lapic)
{
	(void)vcpufd;
	(void)lapic;
	return 0;
}
