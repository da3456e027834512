/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI sleep, reset and power button: the right byte does it, every other byte is counted. */
#include "test.h"

#include "acpi-pm.h"
#include "port.h"

static int n_poweroffs, n_resets;

static void count(void *owner)
{
	(*(int *)owner)++;
}

static void on_poweroff(void *owner)
{
	(void)owner;
	n_poweroffs++;
}

static int setup(void **state)
{
	static struct acpi_pm a;

	n_poweroffs = n_resets = 0;
	acpi_pm_init(&a, NULL, &(struct acpi_pm_events){ on_poweroff, count, &n_resets });
	*state = &a;
	return 0;
}

static int teardown(void **state)
{
	acpi_pm_done(*state);
	return 0;
}

static void s5_powers_off(void **state)
{
	struct acpi_pm *a = *state;

	port_out(&a->dev, 0, 5 << 2); /* without SLP_EN: only remembered */
	assert_int_equal(n_poweroffs, 0);
	assert_int_equal(port_in(&a->dev, 0), 5 << 2);
	port_out(&a->dev, 0, 5 << 2 | 0x20);
	assert_int_equal(n_poweroffs, 1);
	assert_int_equal(port_in(&a->dev, 0), 5 << 2); /* SLP_EN reads as 0 */
	for (unsigned v = 0; v < 256; v++)
		port_out(&a->dev, 0, v);
	/* SLP_EN and type 5 with any reserved bits: 2^4 of them */
	assert_int_equal(n_poweroffs, 1 + 16);
	assert_int_equal(a->poweroffs, 17);
	assert_int_equal(a->ignored, 128 - 16);
	assert_int_equal(n_resets, 0);
}

static void only_the_reset_value_resets(void **state)
{
	struct acpi_pm *a = *state;

	for (unsigned v = 0; v < 256; v++) {
		port_out(&a->dev, 2, v);
		assert_int_equal(n_resets, v >= LAYOUT_RESET_VALUE);
	}
	assert_int_equal(a->ignored, 255);
	assert_int_equal(port_in(&a->dev, 2), 0);
}

static void status_is_never_waking(void **state)
{
	struct acpi_pm *a = *state;
	uint16_t wide = 0xffff;

	port_out(&a->dev, 1, 0x80);
	assert_int_equal(port_in(&a->dev, 1), 0);
	a->dev.ops->write(&a->dev, 0, &wide, 2);
	assert_int_equal(a->ignored, 1);
	assert_int_equal(n_poweroffs + n_resets, 0);
}

static void the_button_is_an_edge(void **state)
{
	struct acpi_pm *a = *state;

	acpi_pm_power_button(a);
	acpi_pm_power_button(a);
	assert_int_equal(a->irq.raised, 2);
	assert_int_equal(a->irq.gsi, LAYOUT_GSI_POWER);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(s5_powers_off),
		TEST(only_the_reset_value_resets),
		TEST(status_is_never_waking),
		TEST(the_button_is_an_edge),
	};

	return cmocka_run_group_tests_name("acpi-pm", tests, NULL, NULL);
}
