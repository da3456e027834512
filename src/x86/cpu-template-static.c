/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firecracker's static CPU templates, which it has deprecated: a Haswell (T2 and its kin) or an Ivy
 * Bridge (C3) as far as hiding features can make one. Each is made for some processors and refused
 * on others. Only data and its look-up; see cpu-template.h.
 */
#include "cpu-template.h"

#include <errno.h>
#include <string.h>

#define INDEXED KVM_CPUID_FLAG_SIGNIFCANT_INDEX

#define EAX(m, v) .regs[CPU_TEMPLATE_EAX] = { (m), (v) }
#define EBX(m, v) .regs[CPU_TEMPLATE_EBX] = { (m), (v) }
#define ECX(m, v) .regs[CPU_TEMPLATE_ECX] = { (m), (v) }
#define EDX(m, v) .regs[CPU_TEMPLATE_EDX] = { (m), (v) }

#define SIGNATURE 0x0fff3fff /* stepping, model, family */

/* What T2, T2S, T2CL and T2A have in common. */
#define HASWELL                                                                                    \
	{ 0x1, 0, 0, EAX(SIGNATURE, 0x306f2), ECX(0x4cdfc, 0), EDX(0xe8641080, 0x1080) },          \
	{ 0x7, 0, INDEXED, EBX(0xffefda14, 0x200), ECX(0x40415f5e, 0), EDX(0x11c, 0) },            \
	{ 0xd, 0, INDEXED, EAX(0x2f8, 0) }, { 0xd, 1, INDEXED, EAX(0xe, 0) }

static const struct cpu_template_leaf t2_leaves[] = {
	HASWELL,
	{ 0x80000001, 0, 0, ECX(0x20000100, 0), EDX(0x4000000, 0) },
	{ 0x80000008, 0, 0, EBX(0x200, 0) },
};

static const struct cpu_template_leaf t2cl_leaves[] = {
	HASWELL,
	{ 0x80000001, 0, 0, ECX(0x200001c0, 0), EDX(0x7c00000, 0) },
	{ 0x80000008, 0, 0, EBX(0x200, 0) },
};

static const struct cpu_template_leaf t2a_leaves[] = {
	HASWELL,
	{ 0x80000001, 0, 0, ECX(0x200001c4, 0), EDX(0x6400000, 0) },
	{ 0x80000008, 0, 0, EBX(0x1c0205, 0x1c0004) },
};

static const struct cpu_template_leaf c3_leaves[] = {
	{ 0x1, 0, 0, EAX(SIGNATURE, 0x306e4), ECX(0x40dd3c, 0), EDX(0xa8641080, 0x1080) },
	{ 0x7, 0, INDEXED, EBX(0xffafdd3c, 0), ECX(0x4041481e, 0), EDX(0xc, 0) },
	{ 0xd, 0, INDEXED, EAX(0x2f8, 0) },
	{ 0xd, 1, INDEXED, EAX(0xe, 0) },
	{ 0x80000001, 0, 0, ECX(0x120, 0), EDX(0x4000000, 0) },
};

/* IA32_ARCH_CAPABILITIES */
static const struct cpu_template_msr t2s_msrs[] = { { 0x10a, UINT64_MAX, 0xc0a0c4c } };
static const struct cpu_template_msr t2cl_msrs[] = { { 0x10a, 0xffffffffe2f51e00, 0 } };

#define LEAVES(a) .leaves = (a), .n_leaves = ARRAY_SIZE(a)
#define MSRS(a)	  .msrs = (a), .n_msrs = ARRAY_SIZE(a)

#define INTEL "GenuineIntel"
#define AMD   "AuthenticAMD"

static const struct cpu_template_host skylake = { INTEL, 0x6, 0x55, 4 };
static const struct cpu_template_host cascade_lake = { INTEL, 0x6, 0x55, 7 };
static const struct cpu_template_host ice_lake = { INTEL, 0x6, 0x6a, 6 };
static const struct cpu_template_host milan = { AMD, 0x19, 0x1, 1 };

static const struct {
	const char *name;
	struct cpu_template template;
	const struct cpu_template_host *hosts[4]; /* that it is for, up to NULL */
} templates[] = {
	{ "C3", { LEAVES(c3_leaves) }, { &skylake, &cascade_lake, &ice_lake } },
	{ "T2", { LEAVES(t2_leaves) }, { &skylake, &cascade_lake, &ice_lake } },
	{ "T2S", { LEAVES(t2_leaves), MSRS(t2s_msrs) }, { &skylake, &cascade_lake } },
	{ "T2CL", { LEAVES(t2cl_leaves), MSRS(t2cl_msrs) }, { &cascade_lake, &ice_lake } },
	{ "T2A", { LEAVES(t2a_leaves) }, { &milan } },
};

void cpu_template_static_host(struct cpu_template_host *ret)
{
	uint32_t max, a = 1, b, c = 0, d, family, model;

	__asm__("cpuid" : "=a"(max), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0));
	*ret = (struct cpu_template_host){ 0 };
	memcpy(ret->vendor, &b, 4);
	memcpy(ret->vendor + 4, &d, 4);
	memcpy(ret->vendor + 8, &c, 4);
	c = 0;
	__asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	family = a >> 8 & 0xf;
	model = a >> 4 & 0xf;
	ret->family = family == 0xf ? family + (a >> 20 & 0xff) : family;
	ret->model = family == 0xf || family == 6 ? model | (a >> 12 & 0xf0) : model;
	ret->stepping = a & 0xf;
}

/* ARRAY_SIZE(templates): none. */
static size_t find(const char *name)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(templates) && strcmp(templates[i].name, name) != 0)
		i++;
	return i;
}

const struct cpu_template *cpu_template_static_get(const char *name)
{
	size_t i = find(name);

	return i < ARRAY_SIZE(templates) ? &templates[i].template : NULL;
}

int cpu_template_static_check(const char *name, const struct cpu_template_host *host,
	struct volt_err *err)
{
	size_t i = find(name);

	if (i == ARRAY_SIZE(templates))
		return volt_err_set(err, EINVAL, "there is no CPU template '%.16s'", name);
	if (strcmp(templates[i].hosts[0]->vendor, host->vendor) != 0)
		return volt_err_set(err, ENOTSUP,
			"CPU vendor mismatched between actual CPU and CPU template.");
	for (size_t k = 0; templates[i].hosts[k]; k++) {
		const struct cpu_template_host *h = templates[i].hosts[k];

		if (h->family == host->family && h->model == host->model &&
			h->stepping == host->stepping)
			return 0;
	}
	return volt_err_set(err, ENOTSUP,
		"The current CPU model is not permitted to apply the CPU template.");
}
