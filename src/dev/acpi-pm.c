/* SPDX-License-Identifier: Apache-2.0 */
/* Sleep, reset and power button, see acpi-pm.h. */
#include "acpi-pm.h"

#include "state.h"

#define SLP_TYP(v) (((v) >> 2) & 7)
#define SLP_EN	   0x20
#define SLP_KEPT   0x1c /* SLP_TYP; the other bits are reserved or write-only */

#define OFF_CONTROL (LAYOUT_PORT_SLEEP_CONTROL - LAYOUT_PORT_ACPI)
#define OFF_RESET   (LAYOUT_PORT_RESET - LAYOUT_PORT_ACPI)

static void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* Sleep status and reset read as 0. */
static void reg_read(struct dev *d, uint64_t off, void *data, unsigned len)
{
	struct acpi_pm *a = container_of(d, struct acpi_pm, dev);

	(void)len;
	if (off == OFF_CONTROL)
		*(uint8_t *)data = a->sleep_control;
}

static void reg_write(struct dev *d, uint64_t off, const void *data, unsigned len)
{
	struct acpi_pm *a = container_of(d, struct acpi_pm, dev);
	uint8_t v = *(const uint8_t *)data;

	if (len != 1) {
		count(&a->ignored);
		return;
	}
	if (off == OFF_CONTROL) {
		a->sleep_control = v & SLP_KEPT;
		if (!(v & SLP_EN))
			return;
		if (SLP_TYP(v) != LAYOUT_SLEEP_S5) {
			count(&a->ignored);
			return;
		}
		count(&a->poweroffs);
		a->events.on_poweroff(a->events.owner);
	} else if (off == OFF_RESET) {
		if (v != LAYOUT_RESET_VALUE) {
			count(&a->ignored);
			return;
		}
		count(&a->resets);
		a->events.on_reset(a->events.owner);
	}
}

static const struct dev_ops acpi_pm_ops = {
	.name = "acpi-pm",
	.read = reg_read,
	.write = reg_write,
};

void acpi_pm_init(struct acpi_pm *a, struct ioapic *ioapic, const struct acpi_pm_events *events)
{
	*a = (struct acpi_pm){
		.irq = { .ioapic = ioapic, .gsi = LAYOUT_GSI_POWER },
		.events = *events,
	};
	dev_init(&a->dev, &acpi_pm_ops);
}

void acpi_pm_done(struct acpi_pm *a)
{
	dev_done(&a->dev);
}

void acpi_pm_power_button(struct acpi_pm *a)
{
	irq_raise(&a->irq);
}

void acpi_pm_state(struct acpi_pm *a, struct state *s)
{
	pthread_mutex_lock(&a->dev.lock);
	state_begin(s, "acpi-pm", 0, 1);
	state_u8(s, "sleep-control", &a->sleep_control);
	if (state_loading(s) && (a->sleep_control & ~SLP_KEPT))
		state_refuse(s, "sleep-control", "0x%x has bits that are never kept",
			a->sleep_control);
	state_end(s);
	pthread_mutex_unlock(&a->dev.lock);
}
