/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O APIC (Intel 82093AA) in user space: KVM keeps the local APICs (split irqchip), we keep
 * the redirection table and deliver a raised line as an MSI with KVM_SIGNAL_MSI. So there is no GSI
 * routing to update when the guest masks a pin, an injection has happened when the call returns (no
 * deferred irqfd work, which a snapshot would have to wait for), and the state to save is the
 * redirection table. See docs/adr/0003-split-irqchip.md.
 *
 * Lines of devices that the kernel serves (vhost) are the exception: an eventfd raises them within
 * the kernel, so KVM has a route for each that is not masked. Such a line costs a call of KVM
 * whenever its entry changes, and only then. An edge that comes while there is no route is lost in
 * the kernel; so a line that gets its route (back) is raised once, whether or not there was one:
 * the driver of a virtio device looks at its queues and finds nothing.
 *
 * Any thread; the IOAPIC has its own lock and calls nobody.
 */
#ifndef VOLT_IOAPIC_H
#define VOLT_IOAPIC_H

#include <linux/kvm.h>
#include <stdatomic.h>

#include "dev.h"
#include "err.h"
#include "layout.h"

struct ioapic {
	struct dev dev; /* MMIO, LAYOUT_IOAPIC */
	int vmfd;	/* borrowed */
	uint8_t id, select;
	uint64_t redirection[LAYOUT_N_GSI];
	uint32_t pending; /* raised while masked; delivered when unmasked */
	uint32_t irqfds;  /* lines that the kernel raises too */
	uint32_t routed;  /* of these: lines for which KVM has a route ... */
	struct kvm_msi routes[LAYOUT_N_GSI]; /* ... namely this one */
	_Atomic uint64_t delivered, failed;
	_Atomic uint64_t routings, routings_failed; /* changes of KVM's table */
};

void ioapic_init(struct ioapic *a, int vmfd);
void ioapic_done(struct ioapic *a);

/* An edge on line gsi (< LAYOUT_N_GSI). */
void ioapic_raise(struct ioapic *a, unsigned gsi);

/*
 * From now on a write to the eventfd fd is an edge on line gsi, without us: KVM takes it. fd is
 * borrowed for the call; at most once per line. Building thread.
 */
int ioapic_add_irqfd(struct ioapic *a, unsigned gsi, int fd, struct volt_err *err);

struct state;

/*
 * Machine state. Loading delivers nothing: ioapic_wake(), before the guest runs, tells KVM of the
 * lines that it raises itself, and delivers what is pending. Loop thread; the vCPUs stand still.
 */
void ioapic_state(struct ioapic *a, struct state *s);
void ioapic_wake(struct ioapic *a);

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
