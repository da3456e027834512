/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID as the guest sees it, see cpuid.h. Leaves: Intel SDM volume 2A "CPUID", AMD APM volume 3
 * appendix E, Documentation/virt/kvm/x86/cpuid.rst.
 *
 * APIC ids are 0..n_vcpus - 1 in one package; with SMT, bit 0 is the thread. All leaves that speak
 * of topology say so: 1, 4, 0xb, 0x1f, and AMD's 0x80000008, 0x8000001d, 0x8000001e.
 */
#include "cpuid.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "cpu-template.h"
#include "kvm.h"
#include "limit.h"

#define BIT(n) (UINT32_C(1) << (n))

#define L1_ECX_TSC_DEADLINE BIT(24)
#define L1_ECX_HYPERVISOR   BIT(31)
#define L1_EDX_HTT	    BIT(28)
#define EXT1_ECX_TOPOEXT    BIT(22)

#define L7_EDX_AMX	(BIT(22) | BIT(24) | BIT(25)) /* BF16, TILE, INT8 */
#define L7_1_EAX_AMX	BIT(21)			      /* FP16 */
#define L7_1_EDX_AMX	BIT(8)			      /* COMPLEX */
#define XCR0_AMX	(BIT(17) | BIT(18))	      /* TILECFG, TILEDATA */
#define KVM_ASYNC_PF	(BIT(4) | BIT(10) | BIT(14)) /* ASYNC_PF, _VMEXIT, _INT */
#define AMD_PERFCTR	(BIT(23) | BIT(24) | BIT(28))

#define EXT_ADDRESSES UINT32_C(0x80000008)
#define ADDRESS_BITS  36u /* of a CPU that does not say */

#define KVM_LEAF_FEATURES UINT32_C(0x40000001)

#define ALL UINT32_MAX

enum vendor { ANY = 0, INTEL = 1, AMD = 2 };

/*
 * Bits that are taken away. A feature that the guest can use must be saved, restored and explained;
 * each row says why this one is not offered.
 */
static const struct rule {
	uint32_t leaf, subleaf; /* subleaf ALL: every one */
	enum vendor vendor;
	uint32_t eax, ebx, ecx, edx; /* to clear */
} rules[] = {
	{ 0x1, 0, ANY, .ecx = BIT(5) | BIT(15) },  /* VMX: no nesting; PDCM: no PMU */
	{ 0x6, 0, INTEL, .eax = BIT(1), .ecx = BIT(3) }, /* turbo, EPB: the host's affair */
	{ 0x7, 0, ANY, .ebx = BIT(2), .ecx = BIT(5) | BIT(30) }, /* SGX, WAITPKG, SGX_LC */
	{ 0x7, 0, ANY, .edx = L7_EDX_AMX | BIT(19) },		 /* AMX; LBR: no PMU */
	{ 0x7, 0, AMD, .edx = BIT(29) }, /* ARCH_CAPABILITIES, an MSR of Intel that KVM invents */
	{ 0x7, 1, ANY, .eax = L7_1_EAX_AMX, .edx = L7_1_EDX_AMX },
	{ 0xa, ALL, ANY, ALL, ALL, ALL, ALL },	    /* PMU */
	{ 0xd, 0, ANY, .eax = XCR0_AMX },
	{ 0xd, 17, ANY, ALL, ALL, ALL, ALL },	    /* AMX state */
	{ 0xd, 18, ANY, ALL, ALL, ALL, ALL },
	{ 0x12, ALL, ANY, ALL, ALL, ALL, ALL },	    /* SGX */
	{ 0x1c, ALL, ANY, ALL, ALL, ALL, ALL },	    /* LBR */
	{ 0x1d, ALL, ANY, ALL, ALL, ALL, ALL },	    /* AMX tiles */
	{ 0x1e, ALL, ANY, ALL, ALL, ALL, ALL },
	{ KVM_LEAF_FEATURES, 0, ANY, .eax = KVM_ASYNC_PF }, /* tokens would be lost in a snapshot */
	{ 0x80000001, 0, ANY, .ecx = BIT(2) },			  /* SVM: no nesting */
	{ 0x80000001, 0, AMD, .ecx = AMD_PERFCTR },		  /* PMU */
	{ 0x8000000a, ALL, ANY, ALL, ALL, ALL, ALL },		  /* SVM */
	{ 0x8000001f, ALL, ANY, ALL, ALL, ALL, ALL },		  /* memory encryption */
	{ 0x80000022, ALL, ANY, ALL, ALL, ALL, ALL },		  /* PMU */
	{ 0x80000026, ALL, ANY, ALL, ALL, ALL, ALL },		  /* topology of the host */
};

struct topology {
	unsigned n_vcpus, threads; /* threads: of a core */
	unsigned smt_shift, package_shift;
};

static struct kvm_cpuid_entry2 *find(struct cpuid *c, uint32_t leaf)
{
	for (uint32_t i = 0; i < c->nent; i++)
		if (c->entries[i].function == leaf)
			return &c->entries[i];
	return NULL;
}

unsigned cpuid_address_bits(int kvmfd)
{
	_cleanup_free_ struct cpuid *c = calloc(1, sizeof(*c));
	const struct kvm_cpuid_entry2 *e = NULL;
	unsigned bits, guest_bits;

	if (c) {
		c->nent = CPUID_ENTRIES_MAX;
		if (kvm_get_supported_cpuid(kvmfd, (struct kvm_cpuid2 *)(void *)c) == 0)
			e = find(c, EXT_ADDRESSES);
	}
	if (!e || (e->eax & 0xff) == 0)
		return ADDRESS_BITS;
	/* KVM names the second where its page tables reach less far than the CPU's addresses. */
	bits = e->eax & 0xff;
	guest_bits = e->eax >> 16 & 0xff;
	return guest_bits ? MIN(bits, guest_bits) : bits;
}

static enum vendor vendor_of(struct cpuid *c)
{
	const struct kvm_cpuid_entry2 *e = find(c, 0);
	char name[12];

	if (!e)
		return ANY;
	memcpy(name, &e->ebx, 4);
	memcpy(name + 4, &e->edx, 4);
	memcpy(name + 8, &e->ecx, 4);
	if (memcmp(name, "GenuineIntel", sizeof(name)) == 0)
		return INTEL;
	if (memcmp(name, "AuthenticAMD", sizeof(name)) == 0 ||
		memcmp(name, "HygonGenuine", sizeof(name)) == 0)
		return AMD;
	return ANY;
}

static void clear_features(struct cpuid *c, enum vendor vendor)
{
	for (uint32_t i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		for (size_t k = 0; k < ARRAY_SIZE(rules); k++) {
			const struct rule *r = &rules[k];

			if (e->function != r->leaf ||
				(r->subleaf != ALL && r->subleaf != e->index) ||
				(r->vendor != ANY && r->vendor != vendor))
				continue;
			e->eax &= ~r->eax;
			e->ebx &= ~r->ebx;
			e->ecx &= ~r->ecx;
			e->edx &= ~r->edx;
		}
	}
}

/* Leaf 0xd.0 ECX: the size of the largest XSAVE area, without the components we took away. */
static void set_xsave_size(struct cpuid *c)
{
	struct kvm_cpuid_entry2 *total = find(c, 0xd);
	uint32_t size = 512 + 64; /* legacy area and header */

	if (!total || total->index != 0)
		return;
	for (uint32_t i = 0; i < c->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &c->entries[i];
		bool user = e->index >= 2 && e->index < 32 && (total->eax & BIT(e->index));

		if (e->function == 0xd && user)
			size = MAX(size, e->ebx + e->eax); /* offset and size of the component */
	}
	total->ecx = size;
}

/* Bits [hi:lo] of reg become v. */
static void set_field(uint32_t *reg, unsigned hi, unsigned lo, uint32_t v)
{
	uint32_t mask = (hi - lo == 31 ? UINT32_MAX : BIT(hi - lo + 1) - 1) << lo;

	*reg = (*reg & ~mask) | ((v << lo) & mask);
}

/* How many APIC ids share a cache of this level: the first two belong to a core, others to all. */
static uint32_t sharing(const struct topology *t, unsigned level)
{
	return level <= 2 ? BIT(t->smt_shift) : BIT(t->package_shift);
}

static void set_topology(struct cpuid *c, const struct topology *t, enum vendor vendor)
{
	for (uint32_t i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		switch (e->function) {
		case 0x1:
			set_field(&e->ebx, 15, 8, 8); /* CLFLUSH line, in quadwords */
			set_field(&e->ebx, 23, 16, BIT(t->package_shift));
			e->edx = t->n_vcpus > 1 ? e->edx | L1_EDX_HTT : e->edx & ~L1_EDX_HTT;
			break;
		case 0x4:
			if ((e->eax & 0x1f) == 0) /* no more caches */
				break;
			set_field(&e->eax, 25, 14, sharing(t, (e->eax >> 5) & 7) - 1);
			set_field(&e->eax, 31, 26, BIT(t->package_shift - t->smt_shift) - 1);
			break;
		case 0x80000001:
			if (vendor == AMD)
				e->ecx |= EXT1_ECX_TOPOEXT;
			break;
		case 0x80000008:
			if (vendor != AMD)
				break;
			set_field(&e->ecx, 7, 0, t->n_vcpus - 1);
			set_field(&e->ecx, 15, 12, t->package_shift);
			break;
		case 0x8000001d:
			if (vendor == AMD && (e->eax & 0x1f) != 0)
				set_field(&e->eax, 25, 14, sharing(t, (e->eax >> 5) & 7) - 1);
			break;
		case 0x8000001e:
			if (vendor != AMD)
				break;
			set_field(&e->ebx, 15, 8, t->threads - 1);
			e->ecx = 0; /* one node */
			e->edx = 0;
			break;
		default:
			break;
		}
	}
}

static void remove_leaf(struct cpuid *c, uint32_t leaf)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < c->nent; i++)
		if (c->entries[i].function != leaf)
			c->entries[kept++] = c->entries[i];
	c->nent = kept;
}

static int add(struct cpuid *c, const struct kvm_cpuid_entry2 *e, struct volt_err *err)
{
	if (c->nent == CPUID_ENTRIES_MAX)
		return volt_err_set(err, E2BIG, "CPUID of more than %d entries", CPUID_ENTRIES_MAX);
	c->entries[c->nent++] = *e;
	return 0;
}

/*
 * KVM leaves the extended topology (leaf 0xb, 0x1f) to us: threads of a core, cores of the
 * package.
 */
static int add_levels(struct cpuid *c, uint32_t leaf, const struct topology *t,
	struct volt_err *err)
{
	const struct kvm_cpuid_entry2 levels[] = {
		{ leaf, 0, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, t->smt_shift, t->threads, 1u << 8 | 0 },
		{ leaf, 1, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, t->package_shift, t->n_vcpus,
			2u << 8 | 1 },
		{ leaf, 2, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, 0, 0, 2 },
	};
	const struct kvm_cpuid_entry2 *max = find(c, 0);

	if (!max || max->eax < leaf)
		return 0;
	remove_leaf(c, leaf);
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		int r = add(c, &levels[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* The number of bits that hold 0..n - 1. */
static unsigned bits_for(unsigned n)
{
	unsigned bits = 0;

	while (BIT(bits) < n)
		bits++;
	return bits;
}

int cpuid_build(int kvmfd, const struct cpuid_config *cfg, struct cpuid *ret, struct volt_err *err)
{
	const struct topology t = {
		.n_vcpus = cfg->n_vcpus,
		.threads = cfg->smt && cfg->n_vcpus > 1 ? 2 : 1,
		.smt_shift = cfg->smt && cfg->n_vcpus > 1 ? 1 : 0,
		.package_shift = bits_for(cfg->n_vcpus),
	};
	struct kvm_cpuid_entry2 *features;
	enum vendor vendor;
	int r;

	static_assert(offsetof(struct cpuid, entries) == offsetof(struct kvm_cpuid2, entries),
		"struct cpuid is struct kvm_cpuid2 with its entries");
	assert(cfg->n_vcpus >= 1 && cfg->n_vcpus <= LIMIT_VCPUS);
	memset(ret, 0, sizeof(*ret));
	ret->nent = CPUID_ENTRIES_MAX;
	r = kvm_get_supported_cpuid(kvmfd, (struct kvm_cpuid2 *)(void *)ret);
	if (r < 0)
		return volt_err_set(err, -r, "ask KVM for its CPUID (room for %d entries): %m",
			CPUID_ENTRIES_MAX);
	if (cfg->template) {
		r = cpu_template_apply(cfg->template, ret, err);
		if (r < 0)
			return r;
	}
	features = find(ret, 1);
	if (!features)
		return volt_err_set(err, ENOTSUP, "KVM offers no CPUID leaf 1");
	vendor = vendor_of(ret);
	clear_features(ret, vendor);
	features->ecx |= L1_ECX_HYPERVISOR;
	/* KVM does not list it: the in-kernel local APIC has it, says the capability. */
	if (kvm_check_extension(kvmfd, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		features->ecx |= L1_ECX_TSC_DEADLINE;
	else
		features->ecx &= ~L1_ECX_TSC_DEADLINE;
	set_xsave_size(ret);
	set_topology(ret, &t, vendor);
	r = add_levels(ret, 0xb, &t, err);
	if (r == 0)
		r = add_levels(ret, 0x1f, &t, err);
	return r;
}

void cpuid_for_vcpu(struct cpuid *c, unsigned index)
{
	for (uint32_t i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		switch (e->function) {
		case 0x1:
			set_field(&e->ebx, 31, 24, index);
			break;
		case 0xb:
		case 0x1f:
			e->edx = index;
			break;
		case 0x8000001e:
			e->eax = index;
			set_field(&e->ebx, 7, 0, index / (((e->ebx >> 8) & 0xff) + 1));
			break;
		default:
			break;
		}
	}
}

int cpuid_set(struct cpuid *c, int vcpufd, unsigned index, struct volt_err *err)
{
	int r;

	cpuid_for_vcpu(c, index);
	r = kvm_set_cpuid2(vcpufd, (const struct kvm_cpuid2 *)(const void *)c);
	if (r < 0)
		return volt_err_set(err, -r, "set CPUID of vCPU %u: %m", index);
	return 0;
}
