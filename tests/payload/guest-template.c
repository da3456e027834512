/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints what each CPU has in some leaves of CPUID and in some MSRs, in the order of their ids, for
 * the host to judge. expect.cpus=N
 */
#include "payload.h"

#define CPUS_MAX 4

static const uint32_t leaves[] = { 0x1, 0x7, 0x80000001, 0x80000008 };
static const uint32_t msrs[] = { 0x8b, 0x1a0, 0x277 };

static struct view {
	uint32_t regs[sizeof(leaves) / sizeof(leaves[0])][4];
	uint64_t msrs[sizeof(msrs) / sizeof(msrs[0])];
} views[CPUS_MAX];
static volatile uint32_t count;
static uint8_t ids[AP_MAX];

static void look(struct view *v)
{
	for (unsigned i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
		__asm__ volatile("cpuid"
				 : "=a"(v->regs[i][0]), "=b"(v->regs[i][1]), "=c"(v->regs[i][2]),
				   "=d"(v->regs[i][3])
				 : "a"(leaves[i]), "c"(0));
	for (unsigned i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
		v->msrs[i] = rdmsr(msrs[i]);
}

static void show(unsigned cpu, const struct view *v)
{
	for (unsigned i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
		console_print("cpu%u leaf %x: %x %x %x %x\n", cpu, leaves[i], v->regs[i][0],
			v->regs[i][1], v->regs[i][2], v->regs[i][3]);
	for (unsigned i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
		console_print("cpu%u msr %x: %lx\n", cpu, msrs[i], v->msrs[i]);
}

static void ap(unsigned apic_id)
{
	CHECK(apic_id < CPUS_MAX, "CPU %u", apic_id);
	look(&views[apic_id]);
	__atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
}

int main(void)
{
	unsigned n = tables_madt_cpus(ids, AP_MAX);

	CHECK(n == boot_number("expect.cpus", 1) && n <= CPUS_MAX, "%u CPUs", n);
	irq_init();
	look(&views[0]);
	for (unsigned i = 1; i < n; i++) {
		smp_start(ids[i], ap);
		CHECK(smp_wait(&count, i), "CPU %u did not start", ids[i]);
	}
	for (unsigned i = 0; i < n; i++)
		show(i, &views[i]);
	return 0;
}
