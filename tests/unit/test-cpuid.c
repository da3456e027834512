/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID: topology in every leaf that speaks of it, and what is taken away. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "cpuid.h"
#include "kvm.h"

/* The KVM of this test: an Intel and an AMD host with everything on. */
static const struct kvm_cpuid_entry2 *host;
static uint32_t n_host;
static bool has_tsc_deadline;
static const struct kvm_cpuid2 *last_set;

int kvm_get_supported_cpuid(int kvmfd, struct kvm_cpuid2 *cpuid)
{
	(void)kvmfd;
	if (cpuid->nent < n_host)
		return -E2BIG;
	memcpy(cpuid->entries, host, n_host * sizeof(host[0]));
	cpuid->nent = n_host;
	return 0;
}

int kvm_check_extension(int kvmfd, unsigned cap)
{
	(void)kvmfd;
	return cap == KVM_CAP_TSC_DEADLINE_TIMER && has_tsc_deadline;
}

int kvm_set_cpuid2(int vcpufd, const struct kvm_cpuid2 *cpuid)
{
	last_set = cpuid;
	return vcpufd < 0 ? -EBADF : 0;
}

#define F	KVM_CPUID_FLAG_SIGNIFCANT_INDEX
#define ALL	UINT32_MAX
#define ON(fn, ix) { (fn), (ix), F, ALL, ALL, ALL, ALL, { 0 } }

static const struct kvm_cpuid_entry2 intel[] = {
	{ 0, 0, 0, 0x20, 0x756e6547, 0x6c65746e, 0x49656e69 },
	ON(1, 0),
	{ 4, 0, F, 0xfc004121, 0x01c0003f, 0x3f, 0 },
	{ 4, 1, F, 0xfc004122, 0x01c0003f, 0x3f, 0 },
	{ 4, 2, F, 0xfc01c143, 0x03c0003f, 0x3ff, 0 },
	{ 4, 3, F, 0xfc1fc163, 0x03c0003f, 0x3ff, 0 },
	{ 4, 4, F, 0, 0, 0, 0 },
	ON(6, 0),
	ON(7, 0),
	ON(7, 1),
	ON(0xa, 0),
	{ 0xb, 0, F, 0, 0, 0, 0 },
	{ 0xd, 0, F, 0x602e7, 0xa88, 0x2b00, 0 },
	{ 0xd, 1, F, 0x1f, 0, 0, 0 },
	{ 0xd, 2, F, 0x100, 0x240, 0, 0 },
	{ 0xd, 5, F, 0x40, 0x440, 0, 0 },
	{ 0xd, 6, F, 0x200, 0x480, 0, 0 },
	{ 0xd, 7, F, 0x400, 0x680, 0, 0 },
	{ 0xd, 9, F, 0x8, 0xa80, 0, 0 },
	{ 0xd, 17, F, 0x40, 0xac0, 2, 0 },
	{ 0xd, 18, F, 0x2000, 0xb00, 6, 0 },
	ON(0x1d, 1),
	ON(0x1e, 0),
	{ 0x1f, 0, F, 0, 0, 0, 0 },
	{ 0x40000000, 0, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d },
	{ 0x40000001, 0, 0, 0x01007efb, 0, 0, 0 },
	ON(0x80000001, 0),
	{ 0x80000008, 0, 0, 0x302e, 0, 0, 0 },
};

static const struct kvm_cpuid_entry2 amd[] = {
	{ 0, 0, 0, 0x10, 0x68747541, 0x444d4163, 0x69746e65 },
	ON(1, 0),
	ON(7, 0),
	{ 0xb, 0, F, 0, 0, 0, 0 },
	{ 0x40000001, 0, 0, 0x01007efb, 0, 0, 0 },
	{ 0x80000001, 0, 0, ALL, ALL, ALL & ~(1u << 22), ALL },
	{ 0x80000008, 0, 0, 0x3030, ALL, 0x703f, 0 },
	ON(0x8000000a, 0),
	{ 0x8000001d, 0, F, 0x4121, 0x01c0003f, 0x3f, 0 },
	{ 0x8000001d, 3, F, 0x3c163, 0x03c0003f, 0x3f, 0 },
	{ 0x8000001d, 4, F, 0, 0, 0, 0 },
	{ 0x8000001e, 0, 0, 7, 0x0103, 0x0300, 9 },
	ON(0x8000001f, 0),
	ON(0x80000022, 0),
};

static struct cpuid c;

static void build(const struct kvm_cpuid_entry2 *h, uint32_t n, unsigned vcpus, bool smt)
{
	const struct cpuid_config cfg = { .n_vcpus = vcpus, .smt = smt };

	host = h;
	n_host = n;
	assert_int_equal(cpuid_build(3, &cfg, &c, NULL), 0);
}

static const struct kvm_cpuid_entry2 *leaf(uint32_t function, uint32_t index)
{
	const struct kvm_cpuid_entry2 *found = NULL;

	for (uint32_t i = 0; i < c.nent; i++) {
		if (c.entries[i].function != function || c.entries[i].index != index)
			continue;
		assert_null(found); /* each leaf once */
		found = &c.entries[i];
	}
	assert_non_null(found);
	return found;
}

#define bit(v, n) ((v) >> (n) & 1)

static void assert_zero(uint32_t function, uint32_t index)
{
	const struct kvm_cpuid_entry2 *e = leaf(function, index);

	assert_int_equal(e->eax | e->ebx | e->ecx | e->edx, 0);
}

static void takes_features_away(void **state)
{
	(void)state;
	has_tsc_deadline = true;
	build(intel, ARRAY_SIZE(intel), 2, false);
	assert_int_equal(bit(leaf(1, 0)->ecx, 5), 0);	/* VMX */
	assert_int_equal(bit(leaf(1, 0)->ecx, 15), 0);	/* PDCM */
	assert_int_equal(bit(leaf(1, 0)->ecx, 24), 1);	/* TSC deadline */
	assert_int_equal(bit(leaf(1, 0)->ecx, 31), 1);	/* hypervisor */
	assert_int_equal(leaf(6, 0)->eax, ALL & ~2u);
	assert_int_equal(leaf(6, 0)->ecx, ALL & ~8u);
	assert_int_equal(bit(leaf(7, 0)->ecx, 5), 0);	/* WAITPKG */
	assert_int_equal(bit(leaf(7, 0)->edx, 22) | bit(leaf(7, 0)->edx, 24) |
			bit(leaf(7, 0)->edx, 25), 0);	/* AMX */
	assert_int_equal(bit(leaf(7, 0)->edx, 29), 1);	/* ARCH_CAPABILITIES is Intel's */
	assert_int_equal(bit(leaf(7, 1)->eax, 21), 0);
	assert_zero(0xa, 0);
	assert_int_equal(leaf(0xd, 0)->eax, 0x2e7);
	assert_int_equal(leaf(0xd, 0)->ecx, 0xa88);	/* up to PKRU, without the tiles */
	assert_zero(0xd, 17);
	assert_zero(0xd, 18);
	assert_zero(0x1d, 1);
	assert_zero(0x1e, 0);
	assert_int_equal(leaf(0x40000001, 0)->eax, 0x01007efb & ~(1u << 4 | 1u << 10 | 1u << 14));
	assert_int_equal(bit(leaf(0x80000001, 0)->ecx, 2), 0); /* SVM */

	has_tsc_deadline = false;
	build(amd, ARRAY_SIZE(amd), 1, false);
	assert_int_equal(bit(leaf(1, 0)->ecx, 24), 0);
	assert_int_equal(bit(leaf(7, 0)->edx, 29), 0);
	assert_int_equal(bit(leaf(0x80000001, 0)->ecx, 2), 0);
	assert_int_equal(bit(leaf(0x80000001, 0)->ecx, 22), 1); /* TOPOEXT */
	assert_int_equal(bit(leaf(0x80000001, 0)->ecx, 23), 0); /* PERFCTR_CORE */
	assert_zero(0x8000000a, 0);
	assert_zero(0x8000001f, 0);
	assert_zero(0x80000022, 0);
}

static unsigned pow2(unsigned n)
{
	unsigned p = 1;

	while (p < n)
		p *= 2;
	return p;
}

/* Every leaf says the same of n vCPUs, seen by vCPU `index`. */
static void check_topology(bool is_amd, unsigned n, bool smt)
{
	unsigned threads = smt && n > 1 ? 2 : 1, ids = pow2(n);

	build(is_amd ? amd : intel, is_amd ? ARRAY_SIZE(amd) : ARRAY_SIZE(intel), n, smt);
	for (unsigned index = 0; index < n; index++) {
		cpuid_for_vcpu(&c, index);
		assert_int_equal(leaf(1, 0)->ebx >> 24, index);
		assert_int_equal(leaf(1, 0)->ebx >> 16 & 0xff, ids);
		assert_int_equal(leaf(1, 0)->ebx >> 8 & 0xff, 8);
		assert_int_equal(bit(leaf(1, 0)->edx, 28), n > 1);
		for (uint32_t l = 0xb; l <= (is_amd ? 0xbu : 0x1fu); l += 0x14) {
			assert_int_equal(leaf(l, 0)->eax, threads - 1);
			assert_int_equal(leaf(l, 0)->ebx, threads);
			assert_int_equal(leaf(l, 0)->ecx, 0x100);
			assert_int_equal(1u << leaf(l, 1)->eax, ids);
			assert_int_equal(leaf(l, 1)->ebx, n);
			assert_int_equal(leaf(l, 1)->ecx, 0x201);
			assert_int_equal(leaf(l, 2)->eax | leaf(l, 2)->ebx, 0);
			for (uint32_t s = 0; s < 3; s++)
				assert_int_equal(leaf(l, s)->edx, index);
		}
	}
	if (is_amd) {
		assert_int_equal(leaf(0x80000008, 0)->ecx & 0xff, n - 1);
		assert_int_equal(1u << (leaf(0x80000008, 0)->ecx >> 12 & 0xf), ids);
		assert_int_equal(leaf(0x80000008, 0)->eax, 0x3030);
		assert_int_equal(leaf(0x8000001d, 0)->eax >> 14 & 0xfff, threads - 1);
		assert_int_equal(leaf(0x8000001d, 3)->eax >> 14 & 0xfff, ids - 1);
		assert_zero(0x8000001d, 4);
		assert_int_equal(leaf(0x8000001e, 0)->eax, n - 1);
		assert_int_equal(leaf(0x8000001e, 0)->ebx, (threads - 1) << 8 | (n - 1) / threads);
		assert_int_equal(leaf(0x8000001e, 0)->ecx, 0);
	} else {
		for (uint32_t s = 0; s < 4; s++) {
			assert_int_equal(leaf(4, s)->eax >> 26, ids / threads - 1);
			assert_int_equal(leaf(4, s)->eax >> 14 & 0xfff,
				s == 3 ? ids - 1 : threads - 1);
		}
		assert_zero(4, 4);
		assert_int_equal(leaf(0x80000008, 0)->ecx, 0);
	}
}

static void says_one_topology(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 32; n++) {
		check_topology(false, n, false);
		check_topology(true, n, false);
		if (n == 1 || n % 2 == 0) {
			check_topology(false, n, true);
			check_topology(true, n, true);
		}
	}
}

static void sets_it(void **state)
{
	struct volt_err err = { 0 };

	(void)state;
	build(intel, ARRAY_SIZE(intel), 4, false);
	assert_int_equal(cpuid_set(&c, 5, 3, &err), 0);
	assert_ptr_equal(last_set, &c);
	/* two leaves of three levels instead of one */
	assert_int_equal(last_set->nent, ARRAY_SIZE(intel) + 4);
	assert_int_equal(leaf(1, 0)->ebx >> 24, 3);
	assert_int_equal(cpuid_set(&c, -1, 3, &err), -EBADF);
	assert_string_equal(err.msg, "set CPUID of vCPU 3: Bad file descriptor");
}

static void names_what_is_wrong(void **state)
{
	static struct kvm_cpuid_entry2 many[CPUID_ENTRIES_MAX + 1];
	const struct cpuid_config cfg = { .n_vcpus = 1 };
	struct volt_err err = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct kvm_cpuid_entry2){ .function = i < 2 ? i : 2, .index = i,
			.eax = 0xd };
	host = many;
	n_host = ARRAY_SIZE(many);
	assert_int_equal(cpuid_build(3, &cfg, &c, &err), -E2BIG);
	assert_string_equal(err.msg,
		"ask KVM for its CPUID (room for 160 entries): Argument list too long");
	err = (struct volt_err){ 0 };
	n_host = CPUID_ENTRIES_MAX - 2;
	assert_int_equal(cpuid_build(3, &cfg, &c, &err), -E2BIG);
	assert_string_equal(err.msg, "CPUID of more than 160 entries");
	err = (struct volt_err){ 0 };
	n_host = 1;
	assert_int_equal(cpuid_build(3, &cfg, &c, &err), -ENOTSUP);
	assert_string_equal(err.msg, "KVM offers no CPUID leaf 1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_features_away),
		cmocka_unit_test(says_one_topology),
		cmocka_unit_test(sets_it),
		cmocka_unit_test(names_what_is_wrong),
	};

	return cmocka_run_group_tests_name("cpuid", tests, NULL, NULL);
}
