/* SPDX-License-Identifier: Apache-2.0 */
/* What a host is to a guest, see cpu-host.h. Leaves: Intel SDM volume 2A, AMD APM volume 3. */
#include "cpu-host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "cpuid.h"
#include "kvm.h"
#include "state.h"

#define BIT(n) (UINT32_C(1) << (n))

#define TSC_TOLERANCE_PPM 250 /* what clocks of one kind differ by */

enum reg { EAX, EBX, ECX, EDX };

/*
 * Bits that are no features of the host are left out: those that follow a register of the guest
 * (OSXSAVE, APIC, OSPKE), that its topology decides (HTT), that KVM offers by another way
 * (hypervisor, TSC deadline, MONITOR, x2APIC).
 */
static const struct {
	uint32_t leaf, subleaf;
	enum reg reg;
	const char *name;
	uint32_t not ;
} words[CPU_HOST_FEATURES] = {
	{ 0x1, 0, ECX, "cpuid-1-ecx", BIT(3) | BIT(21) | BIT(24) | BIT(27) | BIT(31) },
	{ 0x1, 0, EDX, "cpuid-1-edx", BIT(9) | BIT(28) },
	{ 0x7, 0, EBX, "cpuid-7-ebx", 0 },
	{ 0x7, 0, ECX, "cpuid-7-ecx", BIT(4) },
	{ 0x7, 0, EDX, "cpuid-7-edx", 0 },
	{ 0x7, 1, EAX, "cpuid-7.1-eax", 0 },
	{ 0xd, 1, EAX, "cpuid-d.1-eax", 0 },
	{ 0x80000001, 0, ECX, "cpuid-80000001-ecx", BIT(1) | BIT(22) },
	{ 0x80000001, 0, EDX, "cpuid-80000001-edx", BIT(9) },
	{ 0x80000008, 0, EBX, "cpuid-80000008-ebx", 0 },
	{ 0x40000001, 0, EAX, "cpuid-40000001-eax", 0 },
};

static const struct kvm_cpuid_entry2 *find(const struct cpuid *c, uint32_t leaf, uint32_t subleaf)
{
	for (uint32_t i = 0; i < c->nent; i++)
		if (c->entries[i].function == leaf && c->entries[i].index == subleaf)
			return &c->entries[i];
	return NULL;
}

static uint32_t word_of(const struct cpuid *c, size_t i)
{
	const struct kvm_cpuid_entry2 *e = find(c, words[i].leaf, words[i].subleaf);
	uint32_t v = 0;

	if (e)
		v = words[i].reg == EAX   ? e->eax
		    : words[i].reg == EBX ? e->ebx
		    : words[i].reg == ECX ? e->ecx
					  : e->edx;
	return v & ~words[i].not ;
}

static uint64_t xcr0_of(const struct cpuid *c)
{
	const struct kvm_cpuid_entry2 *e = find(c, 0xd, 0);

	return e ? (uint64_t)e->edx << 32 | e->eax : 3; /* x87 and SSE */
}

/* What KVM lists, and what this vCPU shows: a software KVM cannot hide all that it leaves out. */
static int read_cpuid(int kvmfd, int vcpufd, struct cpu_host *h, struct volt_err *err)
{
	_cleanup_free_ struct cpuid *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return volt_err_set(err, ENOMEM, "CPUID: %m");
	c->nent = CPUID_ENTRIES_MAX;
	r = kvm_get_supported_cpuid(kvmfd, (struct kvm_cpuid2 *)(void *)c);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_GET_SUPPORTED_CPUID: %m");
	for (size_t i = 0; i < CPU_HOST_FEATURES; i++)
		h->features[i] = word_of(c, i);
	h->xcr0 = xcr0_of(c);
	c->nent = CPUID_ENTRIES_MAX;
	r = kvm_get_cpuid2(vcpufd, (struct kvm_cpuid2 *)(void *)c);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_GET_CPUID2: %m");
	for (size_t i = 0; i < CPU_HOST_FEATURES; i++)
		h->features[i] |= word_of(c, i);
	h->xcr0 |= xcr0_of(c);
	return 0;
}

static int read_msrs(int kvmfd, struct cpu_host *h, struct volt_err *err)
{
	int r;

	static_assert(
		offsetof(struct cpu_host, msrs) ==
			offsetof(struct cpu_host, n_msrs) + offsetof(struct kvm_msr_list, indices),
		"struct kvm_msr_list");
	h->n_msrs = CPU_HOST_MSRS;
	r = kvm_get_msr_index_list(kvmfd, (struct kvm_msr_list *)(void *)&h->n_msrs);
	return r < 0 ? volt_err_set(
			       err, -r, "ask KVM for its MSRs (room for %d): %m", CPU_HOST_MSRS)
		     : 0;
}

int cpu_host_probe(int kvmfd, int vcpufd, struct cpu_host *ret, struct volt_err *err)
{
	int khz = kvm_get_tsc_khz(vcpufd), xsave = kvm_check_extension(kvmfd, KVM_CAP_XSAVE2), r;

	*ret = (struct cpu_host){ .tsc_khz = khz > 0 ? (uint32_t)khz : 0,
		.xsave_bytes = xsave > 0 ? MAX((uint32_t)xsave, 4096u) : 0,
		.tsc_scaling = kvm_check_extension(kvmfd, KVM_CAP_TSC_CONTROL) > 0 };
	cpu_template_static_host(&ret->cpu);
	r = read_cpuid(kvmfd, vcpufd, ret, err);
	return r < 0 ? r : read_msrs(kvmfd, ret, err);
}

bool cpu_host_tsc_differs(const struct cpu_host *h, uint32_t khz)
{
	uint64_t most = MAX(h->tsc_khz, khz), least = MIN(h->tsc_khz, khz);

	return (most - least) * 1000000 > least * TSC_TOLERANCE_PPM;
}

static void check_cpu(const struct cpu_host *h, const char *vendor, uint32_t family, uint32_t model,
	uint32_t stepping, struct state *s)
{
	if (strcmp(vendor, h->cpu.vendor) != 0 || family != h->cpu.family ||
		model != h->cpu.model || stepping != h->cpu.stepping)
		state_refuse(s, "vendor",
			"the guest ran on %s family %u model %u stepping %u, and this host has %s "
			"family %u model %u stepping %u: load it on a host of the same kind",
			vendor, family, model, stepping, h->cpu.vendor, h->cpu.family, h->cpu.model,
			h->cpu.stepping);
}

static void check_tsc(const struct cpu_host *h, uint32_t khz, struct state *s)
{
	if (khz == 0)
		state_refuse(s, "tsc-khz", "is 0");
	else if (!h->tsc_scaling && cpu_host_tsc_differs(h, khz))
		state_refuse(s, "tsc-khz",
			"the guest's time stamp counter has %u kHz, this host's %u, and its KVM "
			"cannot scale it",
			khz, h->tsc_khz);
}

void cpu_host_state(const struct cpu_host *h, const struct cpuid *guest, struct state *s)
{
	uint32_t family = h->cpu.family, model = h->cpu.model, stepping = h->cpu.stepping;
	uint32_t khz = h->tsc_khz, xsave_bytes = h->xsave_bytes;
	uint64_t xcr0 = state_loading(s) ? 0 : xcr0_of(guest);
	char vendor[sizeof(h->cpu.vendor)];

	memcpy(vendor, h->cpu.vendor, sizeof(vendor));
	state_begin(s, "host", 0, 1);
	state_text(s, "vendor", vendor, sizeof(vendor) - 1);
	state_u32(s, "family", &family);
	state_u32(s, "model", &model);
	state_u32(s, "stepping", &stepping);
	state_u32(s, "tsc-khz", &khz);
	state_u32(s, "xsave-bytes", &xsave_bytes);
	state_u64(s, "xcr0", &xcr0);
	if (state_loading(s)) {
		check_cpu(h, vendor, family, model, stepping, s);
		check_tsc(h, khz, s);
		if (xsave_bytes != h->xsave_bytes)
			state_refuse(s, "xsave-bytes",
				"the guest's vector registers take %u bytes, this host's KVM has "
				"%u",
				xsave_bytes, h->xsave_bytes);
		if (xcr0 & ~h->xcr0)
			state_refuse(s, "xcr0", "this host lacks bits 0x%llx",
				(unsigned long long)(xcr0 & ~h->xcr0));
	}
	for (size_t i = 0; i < CPU_HOST_FEATURES; i++) {
		uint32_t has = state_loading(s) ? 0 : word_of(guest, i);

		state_u32(s, words[i].name, &has);
		if (state_loading(s) && (has & ~h->features[i]))
			state_refuse(s, words[i].name,
				"the guest has seen features that this host, or its kernel, lacks: "
				"bits 0x%x",
				has & ~h->features[i]);
	}
	state_end(s);
}
