/* SPDX-License-Identifier: Apache-2.0 */
/* IDT, local APIC and I/O APIC of a payload, see payload.h. */
#include "payload.h"

#define LAPIC  UINT64_C(0xfee00000)
#define IOAPIC UINT64_C(0xfec00000)
#define SPURIOUS 63

struct gate {
	uint16_t low, selector;
	uint8_t ist, type;
	uint16_t mid;
	uint32_t high, zero;
};

extern const uint8_t isr_stubs[]; /* entry.S, 16 bytes each */

static struct gate idt[N_VECTORS];
static irq_handler *handlers[N_VECTORS];

/* entry.S calls it. */
void isr_dispatch(const struct isr_frame *f);

void isr_dispatch(const struct isr_frame *f)
{
	if (f->vector < 32) {
		uint64_t cr2;

		__asm__ volatile("movq %%cr2, %0" : "=r"(cr2));
		fail("exception %lu error %lx rip %lx cr2 %lx", f->vector, f->error, f->rip, cr2);
	}
	if (f->vector == SPURIOUS)
		return;
	if (handlers[f->vector])
		handlers[f->vector]();
	lapic_write(0xb0, 0);
}

uint32_t lapic_read(unsigned reg)
{
	return rd32(LAPIC + reg);
}

void lapic_write(unsigned reg, uint32_t v)
{
	wr32(LAPIC + reg, v);
}

uint32_t ioapic_read(unsigned reg)
{
	wr32(IOAPIC, reg);
	return rd32(IOAPIC + 0x10);
}

void ioapic_write(unsigned reg, uint32_t v)
{
	wr32(IOAPIC, reg);
	wr32(IOAPIC + 0x10, v);
}

void irq_load_idt(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = { sizeof(idt) - 1, (uint64_t)idt };

	__asm__ volatile("lidt %0" : : "m"(idtr));
	lapic_write(0xf0, 0x100 | SPURIOUS);
}

void irq_init(void)
{
	for (unsigned i = 0; i < N_VECTORS; i++) {
		uint64_t at = (uint64_t)isr_stubs + i * 16;

		idt[i] = (struct gate){ (uint16_t)at, SEL_CODE64, 0, 0x8e, (uint16_t)(at >> 16),
			(uint32_t)(at >> 32), 0 };
	}
	irq_load_idt();
}

void irq_route(unsigned gsi, uint8_t vector, irq_handler *handler)
{
	handlers[vector] = handler;
	ioapic_write(0x11 + 2 * gsi, lapic_read(0x20) & 0xff000000);
	ioapic_write(0x10 + 2 * gsi, vector);
}

void irq_mask(unsigned gsi)
{
	ioapic_write(0x10 + 2 * gsi, 1 << 16);
}
