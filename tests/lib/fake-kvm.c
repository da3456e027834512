/* SPDX-License-Identifier: Apache-2.0 */
/* See fake-kvm.h. */
#include "fake-kvm.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
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

static void note(const char *what, int vcpufd)
{
	size_t used = strlen(fake_kvm.vcpu_calls);

	snprintf(fake_kvm.vcpu_calls + used, sizeof(fake_kvm.vcpu_calls) - used, "%s%s%d",
		used ? " " : "", what, vcpufd - FAKE_KVM_VCPU);
}

static void note_state(const char *what, int vcpufd);

int kvm_open(void)
{
	return FAKE_KVM_FD;
}

int kvm_check_extension(int kvmfd, unsigned cap)
{
	(void)kvmfd;
	if (cap == KVM_CAP_NR_MEMSLOTS)
		return fake_kvm.n_memslots;
	if (cap == KVM_CAP_XSAVE2)
		return sizeof(fake_kvm.vcpus[0].xsave);
	return !fake_kvm.cap_lacking || cap != fake_kvm.cap_lacking;
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
	if (cpuid->nent < 3)
		return -E2BIG;
	cpuid->nent = fake_kvm.address_bits ? 3 : 2;
	cpuid->entries[0] = (struct kvm_cpuid_entry2){ .function = 0, .eax = 1 };
	cpuid->entries[1] = (struct kvm_cpuid_entry2){ .function = 1 };
	cpuid->entries[2] = (struct kvm_cpuid_entry2){ .function = 0x80000008,
		.eax = fake_kvm.address_bits };
	return 0;
}

int kvm_get_msr_index_list(int kvmfd, struct kvm_msr_list *list)
{
	static const uint32_t indices[] = { 0x10, 0x8b, 0x10a };

	(void)kvmfd;
	if (list->nmsrs < ARRAY_SIZE(indices))
		return -E2BIG;
	memcpy(list->indices, indices, sizeof(indices));
	list->nmsrs = ARRAY_SIZE(indices);
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
	fake_kvm.region_flags = region->flags;
	fake_kvm.n_regions++;
	if (fake_kvm.fail_region)
		return fake_kvm.fail_region;
	if (region->slot < FAKE_KVM_MAX)
		fake_kvm.regions[region->slot] = *region;
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

	if (fake_kvm.runs[index]->immediate_exit)
		return -EINTR;
	if (fake_kvm.run)
		return fake_kvm.run(index, fake_kvm.runs[index]);
	nanosleep(&moment, NULL);
	return -EINTR;
}

int kvm_kvmclock_ctrl(int vcpufd)
{
	(void)vcpufd;
	atomic_fetch_add(&fake_kvm.n_kvmclock_ctrls, 1);
	return fake_kvm.fail_kvmclock_ctrl;
}

int kvm_set_cpuid2(int vcpufd, const struct kvm_cpuid2 *cpuid)
{
	note("cpuid", vcpufd);
	note_state("cpuid", vcpufd);
	if (cpuid->nent > FAKE_KVM_MAX)
		return -E2BIG;
	memcpy(fake_kvm.cpuid, cpuid->entries, cpuid->nent * sizeof(cpuid->entries[0]));
	fake_kvm.n_cpuid = cpuid->nent;
	return 0;
}

int kvm_get_cpuid2(int vcpufd, struct kvm_cpuid2 *cpuid)
{
	(void)vcpufd;
	if (cpuid->nent < fake_kvm.n_cpuid)
		return -E2BIG;
	memcpy(cpuid->entries, fake_kvm.cpuid, fake_kvm.n_cpuid * sizeof(cpuid->entries[0]));
	cpuid->nent = fake_kvm.n_cpuid;
	return 0;
}

int kvm_set_msrs(int vcpufd, const struct kvm_msrs *msrs)
{
	note("set", vcpufd);
	note_state("msrs", vcpufd);
	for (unsigned i = 0; i < msrs->nmsrs; i++) {
		if (fake_kvm.msr_lacking && msrs->entries[i].index == fake_kvm.msr_lacking)
			return (int)i;
		if (fake_kvm.n_msrs < FAKE_KVM_MAX)
			fake_kvm.msrs[fake_kvm.n_msrs++] = msrs->entries[i];
	}
	return (int)msrs->nmsrs;
}

int kvm_get_msrs(int vcpufd, struct kvm_msrs *msrs)
{
	note("get", vcpufd);
	for (unsigned i = 0; i < msrs->nmsrs; i++) {
		if (fake_kvm.msr_lacking && msrs->entries[i].index == fake_kvm.msr_lacking)
			return (int)i;
		msrs->entries[i].data = fake_kvm.msr_base;
	}
	return (int)msrs->nmsrs;
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

static struct fake_kvm_vcpu *vcpu(int vcpufd)
{
	unsigned index = (unsigned)(vcpufd - FAKE_KVM_VCPU);

	assert(index < FAKE_KVM_VCPUS);
	return &fake_kvm.vcpus[index];
}

static void note_state(const char *what, int vcpufd)
{
	size_t used = strlen(fake_kvm.state_calls);

	snprintf(fake_kvm.state_calls + used, sizeof(fake_kvm.state_calls) - used, "%s%s%d",
		used ? " " : "", what, vcpufd - FAKE_KVM_VCPU);
}

#define STATE(name, type)                                                                          \
	int kvm_get_##name(int vcpufd, type *ret)                                                  \
	{                                                                                          \
		*ret = vcpu(vcpufd)->name;                                                         \
		return 0;                                                                          \
	}                                                                                          \
	int kvm_set_##name(int vcpufd, const type *s)                                              \
	{                                                                                          \
		note_state(#name, vcpufd);                                                         \
		vcpu(vcpufd)->name = *s;                                                           \
		return 0;                                                                          \
	}

STATE(mp_state, struct kvm_mp_state)
STATE(regs, struct kvm_regs)
STATE(sregs2, struct kvm_sregs2)
STATE(xcrs, struct kvm_xcrs)
STATE(debugregs, struct kvm_debugregs)
STATE(lapic, struct kvm_lapic_state)
STATE(vcpu_events, struct kvm_vcpu_events)

int kvm_get_xsave2(int vcpufd, void *ret)
{
	memcpy(ret, vcpu(vcpufd)->xsave, sizeof(vcpu(vcpufd)->xsave));
	return 0;
}

int kvm_set_xsave(int vcpufd, const void *xsave)
{
	note_state("xsave", vcpufd);
	memcpy(vcpu(vcpufd)->xsave, xsave, sizeof(vcpu(vcpufd)->xsave));
	return 0;
}

int kvm_get_tsc_khz(int vcpufd)
{
	(void)vcpufd;
	return fake_kvm.tsc_khz ? (int)fake_kvm.tsc_khz : 1000000;
}

int kvm_set_tsc_khz(int vcpufd, unsigned khz)
{
	note_state("khz", vcpufd);
	fake_kvm.tsc_khz = khz;
	return 0;
}

int kvm_get_tsc_offset(int vcpufd, uint64_t *ret)
{
	if (fake_kvm.no_tsc_offset)
		return -ENXIO;
	*ret = vcpu(vcpufd)->tsc_offset;
	return 0;
}

int kvm_set_tsc_offset(int vcpufd, uint64_t offset)
{
	if (fake_kvm.no_tsc_offset)
		return -ENXIO;
	note_state("offset", vcpufd);
	vcpu(vcpufd)->tsc_offset = offset;
	return 0;
}

int kvm_get_clock(int vmfd, struct kvm_clock_data *ret)
{
	(void)vmfd;
	*ret = fake_kvm.clock;
	return 0;
}

int kvm_set_clock(int vmfd, const struct kvm_clock_data *clock)
{
	(void)vmfd;
	note_state("clock", FAKE_KVM_VCPU);
	fake_kvm.clock.clock = clock->clock;
	return 0;
}
