/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power management of hardware-reduced ACPI (ACPI 6.5, 4.8.3.7 and 4.8.3.6), three byte ports:
 *
 *	LAYOUT_PORT_SLEEP_CONTROL	SLP_EN with SLP_TYP = LAYOUT_SLEEP_S5 powers off
 *	LAYOUT_PORT_SLEEP_STATUS	WAK_STS, write 1 to clear; we never set it
 *	LAYOUT_PORT_RESET		LAYOUT_RESET_VALUE resets
 *
 * and the power button, an edge on LAYOUT_GSI_POWER, which the DSDT's _EVT turns into Notify(PWRB).
 *
 * Threads: registers on the vCPU thread under dev.lock; acpi_pm_power_button() on any thread.
 */
#ifndef VOLT_ACPI_PM_H
#define VOLT_ACPI_PM_H

#include "ioapic.h"

#define ACPI_PM_PORTS 3 /* size of the range at LAYOUT_PORT_ACPI */

/* vCPU thread, under dev.lock: may set an atomic and write an eventfd, nothing else. */
struct acpi_pm_events {
	void (*on_poweroff)(void *owner);
	void (*on_reset)(void *owner);
	void *owner;
};

struct acpi_pm {
	struct dev dev; /* ports, LAYOUT_PORT_ACPI */
	struct irq_line irq;
	struct acpi_pm_events events;
	uint8_t sleep_control; /* SLP_TYP as last written; SLP_EN reads as 0 */
	_Atomic uint64_t poweroffs, resets,
		ignored; /* ignored: other sleep types, other reset values */
};

/* ioapic is borrowed; NULL: interrupts are only counted. */
void acpi_pm_init(struct acpi_pm *a, struct ioapic *ioapic, const struct acpi_pm_events *events);
void acpi_pm_done(struct acpi_pm *a);

void acpi_pm_power_button(struct acpi_pm *a);

struct state;

/* Machine state. Loop thread. */
void acpi_pm_state(struct acpi_pm *a, struct state *s);

#endif
