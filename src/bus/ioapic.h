/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O APIC (Intel 82093AA) in user space: KVM keeps the local APICs (split irqchip), we keep
 * the redirection table and deliver a raised line as an MSI with KVM_SIGNAL_MSI. So there is no GSI
 * routing to update when the guest masks a pin, an injection has happened when the call returns (no
 * deferred irqfd work, which a snapshot would have to wait for), and the state to save is the plain
 * struct below. See docs/adr/0003-split-irqchip.md.
 *
 * Any thread; the IOAPIC has its own lock and calls nobody.
 */
#ifndef VOLT_IOAPIC_H
#define VOLT_IOAPIC_H

#include <stdatomic.h>

#include "dev.h"
#include "layout.h"

struct ioapic {
	struct dev dev; /* MMIO, LAYOUT_IOAPIC */
	int vmfd;	/* borrowed */
	uint8_t id, select;
	uint64_t redirection[LAYOUT_N_GSI];
	uint32_t pending; /* raised while masked; delivered when unmasked */
	_Atomic uint64_t delivered, failed;
};

void ioapic_init(struct ioapic *a, int vmfd);
void ioapic_done(struct ioapic *a);

/* An edge on line gsi (< LAYOUT_N_GSI). */
void ioapic_raise(struct ioapic *a, unsigned gsi);

/* The guest ended interrupt `vector` of a level-triggered pin (KVM_EXIT_IOAPIC_EOI). */
void ioapic_eoi(struct ioapic *a, uint8_t vector);

/* An interrupt line as a device sees it. */
struct irq_line {
	struct ioapic *ioapic; /* borrowed; NULL in tests: then raised is only counted */
	unsigned gsi;
	_Atomic uint64_t raised;
};

static inline void irq_raise(struct irq_line *line)
{
	atomic_fetch_add_explicit(&line->raised, 1, memory_order_relaxed);
	if (line->ioapic)
		ioapic_raise(line->ioapic, line->gsi);
}

#endif
