/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hardware-reduced ACPI (6.5): RSDP, XSDT, FADT, MADT and a DSDT that names every device, so that
 * an unmodified distribution kernel finds them. Sleep control, sleep status and reset are the ports
 * LAYOUT_PORT_SLEEP_CONTROL, _SLEEP_STATUS and _RESET; one generic event device announces the power
 * button (LAYOUT_GSI_POWER) and a new VM generation ID (LAYOUT_GSI_VMGENID). Main thread, before
 * the guest runs.
 */
#ifndef VOLT_ACPI_H
#define VOLT_ACPI_H

#include <stdbool.h>

#include "gmem.h"
#include "layout.h"
#include "limit.h"

struct acpi_config {
	unsigned n_vcpus; /* 1..LIMIT_VCPUS; APIC ids are 0..n_vcpus - 1 */
	unsigned n_virtio;
	struct layout_slot virtio[LIMIT_VIRTIO];
	bool serial;   /* COM1 */
	bool keyboard; /* i8042 */
	bool pvpanic;
};

/*
 * Writes the tables from `start` (behind the MP table) on, below
 * LAYOUT_TABLES_END, and the RSDP at LAYOUT_RSDP.
 * -ENOSPC: they do not fit.
 */
int acpi_write(const struct gmem *m, uint64_t start, const struct acpi_config *cfg,
	struct volt_err *err);

#endif
