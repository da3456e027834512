/* SPDX-License-Identifier: Apache-2.0 */
/* Starting other CPUs with INIT and SIPI, see payload.h. */
#include "payload.h"

extern const uint8_t ap_trampoline[], ap_trampoline_end[]; /* entry.S */

static void (*job[AP_MAX])(unsigned apic_id);

/* entry.S calls it. */
void smp_ap_start(unsigned apic_id);

void smp_ap_start(unsigned apic_id)
{
	if (apic_id < AP_MAX && job[apic_id])
		job[apic_id](apic_id);
}

static void ipi(uint8_t apic_id, uint32_t command)
{
	lapic_write(0x310, (uint32_t)apic_id << 24);
	lapic_write(0x300, command);
	while (lapic_read(0x300) & 1 << 12)
		pause();
}

void smp_start(uint8_t apic_id, void (*fn)(unsigned apic_id))
{
	CHECK(apic_id < AP_MAX, "APIC id %u", apic_id);
	job[apic_id] = fn;
	memcpy((void *)SIPI_ADDRESS, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	barrier();
	ipi(apic_id, 0x4500);
	ipi(apic_id, 0x4600 | SIPI_ADDRESS >> 12);
	ipi(apic_id, 0x4600 | SIPI_ADDRESS >> 12); /* the second one is ignored by a started CPU */
}

bool smp_wait(volatile uint32_t *counter, uint32_t value)
{
	uint64_t end = tsc() + PATIENCE;

	while (*counter != value && tsc() < end)
		pause();
	return *counter == value;
}
