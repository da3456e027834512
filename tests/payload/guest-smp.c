/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every CPU that the MADT (without ACPI: the MP table) names starts on INIT and SIPI, is itself and
 * counts; both tables name the same CPUs. expect.cpus=N
 */
#include "payload.h"

static volatile uint32_t count;
static uint8_t madt[AP_MAX], mp[AP_MAX];

static void ap(unsigned apic_id)
{
	CHECK(lapic_read(0x20) >> 24 == apic_id, "CPU %u has local APIC %u", apic_id,
		lapic_read(0x20) >> 24);
	__atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
}

int main(void)
{
	uint32_t want = (uint32_t)boot_number("expect.cpus", 1);
	unsigned n_mp = tables_mp_cpus(mp, AP_MAX), n = tables_madt_cpus(madt, AP_MAX);
	const uint8_t *ids = n ? madt : mp;

	CHECK((n == 0) == boot_has("expect.no_acpi"), "MADT names %u CPUs", n);
	CHECK(n_mp == want, "MP table names %u CPUs, not %u", n_mp, want);
	CHECK(n == 0 || n == want, "MADT names %u CPUs, not %u", n, want);
	CHECK(n == 0 || memcmp(madt, mp, want) == 0, "MADT and MP table differ");
	irq_init();
	CHECK(ids[0] == lapic_read(0x20) >> 24, "the first CPU is %u", lapic_read(0x20) >> 24);
	for (unsigned i = 1; i < want; i++) {
		smp_start(ids[i], ap);
		CHECK(smp_wait(&count, i), "CPU %u did not start", ids[i]);
	}
	console_print("%u CPUs\n", count + 1);
	return 0;
}
