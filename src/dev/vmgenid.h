/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM generation ID: 16 bytes in a reserved page of guest memory that differ in every life of a VM.
 * The DSDT says where they are; when they change, an edge on LAYOUT_GSI_VMGENID, which _EVT turns
 * into Notify(VGEN, 0x80), tells a running guest that it is a copy now: Linux mixes them into its
 * random numbers and reseeds at once (drivers/virt/vmgenid.c, 5.18). "Virtual Machine Generation
 * ID", Microsoft, 2012.
 *
 * The ID is saved and restored as the guest memory that it is; there is no other state. The guest
 * may write to the page as to any other; nothing is believed of it. Loop thread.
 */
#ifndef VOLT_VMGENID_H
#define VOLT_VMGENID_H

#include "gmem.h"
#include "ioapic.h"

#define VMGENID_BYTES 16

struct vmgenid {
	const struct gmem *mem; /* borrowed */
	struct irq_line irq;
	uint8_t id[VMGENID_BYTES]; /* the last that was written; zeros: none was */
};

/* Touches no guest memory. ioapic is borrowed; NULL: interrupts are only counted. */
void vmgenid_init(struct vmgenid *g, const struct gmem *mem, struct ioapic *ioapic);

/* A first ID, before the guest runs. -EIO: no random numbers, -EFAULT: no memory there. */
int vmgenid_first(struct vmgenid *g, struct volt_err *err);

/*
 * Another ID, and the interrupt: for a guest that goes on from what was saved, after the interrupt
 * controller has its state and before a vCPU runs. Errors like vmgenid_first(); then the guest has
 * the old ID and was told nothing, and must not go on.
 */
int vmgenid_renew(struct vmgenid *g, struct volt_err *err);

#endif
