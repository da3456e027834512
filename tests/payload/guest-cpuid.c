/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID on every CPU: identity, topology, hypervisor. expect.cpus=N [expect.smt] */
#include "payload.h"

static volatile uint32_t count;
static uint8_t ids[AP_MAX];
static uint32_t cpus, threads;

struct leaf {
	uint32_t a, b, c, d;
};

static struct leaf cpuid(uint32_t leaf, uint32_t sub)
{
	struct leaf l;

	__asm__ volatile("cpuid"
			 : "=a"(l.a), "=b"(l.b), "=c"(l.c), "=d"(l.d)
			 : "a"(leaf), "c"(sub));
	return l;
}

/* Leaf 0xb: each level's shift separates its ids, the counts are those of the VM. */
static void topology(unsigned id)
{
	struct leaf smt = cpuid(0xb, 0), core = cpuid(0xb, 1), end = cpuid(0xb, 2);

	CHECK((smt.c >> 8 & 0xff) == 1 && smt.b == threads, "CPU %u: thread level: type %u, %u", id,
		smt.c >> 8 & 0xff, smt.b);
	CHECK((core.c >> 8 & 0xff) == 2 && core.b == cpus, "CPU %u: core level: type %u, %u", id,
		core.c >> 8 & 0xff, core.b);
	CHECK((end.c >> 8 & 0xff) == 0, "CPU %u: a third level", id);
	CHECK(1U << smt.a >= threads && 1U << core.a >= cpus, "CPU %u: shifts %u %u", id, smt.a,
		core.a);
	CHECK(smt.d == id && core.d == id, "CPU %u: x2APIC id %u, %u", id, smt.d, core.d);
}

static void check(unsigned id)
{
	uint32_t top = cpuid(0, 0).a;
	struct leaf one = cpuid(1, 0), kvm = cpuid(0x40000000, 0);

	CHECK(one.b >> 24 == id, "CPU %u: leaf 1 says %u", id, one.b >> 24);
	CHECK(cpus == 1 || (one.b >> 16 & 0xff) >= cpus, "CPU %u: %u logical CPUs", id,
		one.b >> 16 & 0xff);
	CHECK(cpus == 1 || one.d >> 28 & 1, "CPU %u: HTT is off", id);
	CHECK(one.c >> 31, "CPU %u: no hypervisor bit", id);
	CHECK(kvm.b == 0x4b4d564b && kvm.c == 0x564b4d56 && kvm.d == 0x4d, "CPU %u: no KVM", id);
	if (top >= 0xb && cpuid(0xb, 0).b)
		topology(id);
	if (cpuid(0, 0).b == 0x756e6547 && top >= 4) /* Intel: threads sharing the first cache */
		CHECK((cpuid(4, 0).a >> 14 & 0xfff) + 1 >= threads &&
			      (cpuid(4, 0).a >> 26) + 1 >= cpus / threads,
			"CPU %u: leaf 4 says %x", id, cpuid(4, 0).a);
}

static void ap(unsigned apic_id)
{
	check(apic_id);
	__atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
}

int main(void)
{
	unsigned n;

	cpus = (uint32_t)boot_number("expect.cpus", 1);
	threads = boot_has("expect.smt") ? 2 : 1;
	n = tables_madt_cpus(ids, AP_MAX);
	CHECK(n == cpus, "%u CPUs", n);
	irq_init();
	check(ids[0]);
	for (unsigned i = 1; i < n; i++) {
		smp_start(ids[i], ap);
		CHECK(smp_wait(&count, i), "CPU %u did not start", ids[i]);
	}
	return 0;
}
