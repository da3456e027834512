/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serial port, keyboard controller, I/O APIC and power management: saved in the middle of work,
 * loaded into new ones, and what a file must not say.
 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "acpi-pm.h"
#include "fake-kvm.h"
#include "i8042.h"
#include "port.h"
#include "serial.h"
#include "state-sample.h"
#include "state.h"

struct machine {
	struct ioapic ioapic;
	struct serial *serial;
	struct i8042 i8042;
	struct acpi_pm pm;
};

static void nothing(void *owner)
{
	(void)owner;
}

static struct machine *make(void)
{
	struct machine *m = calloc(1, sizeof(*m));

	ioapic_init(&m->ioapic, FAKE_KVM_FD + 1);
	assert_int_equal(serial_create(&m->ioapic, true, &m->serial, NULL), 0);
	i8042_init(&m->i8042, &m->ioapic, &(struct i8042_events){ nothing, NULL });
	acpi_pm_init(&m->pm, &m->ioapic, &(struct acpi_pm_events){ nothing, nothing, NULL });
	return m;
}

static void destroy(struct machine *m)
{
	serial_destroy(m->serial);
	i8042_done(&m->i8042);
	acpi_pm_done(&m->pm);
	ioapic_done(&m->ioapic);
	free(m);
}

static int setup(void **state)
{
	fake_kvm_reset();
	*state = make();
	return 0;
}

static int teardown(void **state)
{
	destroy(*state);
	return 0;
}

static void visit(struct machine *m, struct state *s)
{
	ioapic_state(&m->ioapic, s);
	serial_state(m->serial, s);
	i8042_state(&m->i8042, s);
	acpi_pm_state(&m->pm, s);
}

static uint8_t *save(struct machine *m, size_t *len)
{
	struct state *s;
	const void *data;
	uint8_t *copy;

	assert_int_equal(state_new(&s), 0);
	visit(m, s);
	assert_int_equal(state_finish(s, &data, len, NULL), 0);
	copy = malloc(*len);
	memcpy(copy, data, *len);
	state_free(s);
	return copy;
}

static int load(struct machine *m, const void *data, size_t len, struct volt_err *err)
{
	struct state *s;
	int r;

	assert_int_equal(state_read(data, len, STATE_LOAD, &s, err), 0);
	visit(m, s);
	state_done(s);
	r = state_error(s, err);
	state_free(s);
	return r;
}

/* The machine becomes another one, which says the same, and wakes. */
static struct machine *move(void **state)
{
	struct machine *old = *state, *m = make();
	uint8_t *data, *again;
	size_t len, len_again;

	data = save(old, &len);
	assert_int_equal(load(m, data, len, NULL), 0);
	again = save(m, &len_again);
	assert_int_equal(len, len_again);
	assert_memory_equal(data, again, len);
	free(again);
	free(data);
	destroy(old);
	*state = m;
	fake_kvm.n_msis = 0;
	ioapic_wake(&m->ioapic);
	serial_wake(m->serial);
	i8042_wake(&m->i8042);
	return m;
}

static void entry(struct machine *m, unsigned pin, uint32_t low)
{
	const uint32_t select = 0x10 + 2 * pin;

	m->ioapic.dev.ops->write(&m->ioapic.dev, 0, &select, 4);
	m->ioapic.dev.ops->write(&m->ioapic.dev, 0x10, &low, 4);
}

static void an_owed_interrupt_is_raised_again(void **state)
{
	struct machine *m = *state;

	entry(m, LAYOUT_GSI_SERIAL, 0x34);
	port_out(&m->serial->dev, 1, 3); /* IER: received data, transmitter empty */
	port_out(&m->serial->dev, 7, 0xa5);
	port_out(&m->serial->dev, 2, 1); /* FIFOs on */
	assert_int_equal(m->serial->port.ops->rx(&m->serial->port, "abc", 3), 3);
	assert_int_equal(port_in(&m->serial->dev, 0), 'a');
	m = move(state);
	assert_int_equal(fake_kvm.n_msis, 1);
	assert_int_equal(fake_kvm.msis[0].data & 0xff, 0x34);
	assert_int_equal(port_in(&m->serial->dev, 7), 0xa5);
	assert_int_equal(port_in(&m->serial->dev, 0), 'b');
	assert_int_equal(port_in(&m->serial->dev, 0), 'c');
	assert_int_equal(port_in(&m->serial->dev, 2), 0xc2); /* transmitter empty: still owed */
	m = move(state);
	assert_int_equal(fake_kvm.n_msis, 0);
}

static void a_keyboard_keeps_what_was_typed(void **state)
{
	struct machine *m = *state;

	entry(m, LAYOUT_GSI_KEYBOARD, 0x31);
	port_out(&m->i8042.dev, 4, 0x60); /* the command byte: with the interrupt, translated */
	port_out(&m->i8042.dev, 0, 0x45);
	assert_int_equal(i8042_ctrl_alt_del(&m->i8042), 0);
	assert_int_equal(port_in(&m->i8042.dev, 0), 0x1d);
	port_out(&m->i8042.dev, 4, 0x60); /* its parameter is missing */
	m = move(state);
	assert_int_equal(fake_kvm.n_msis, 1);
	port_out(&m->i8042.dev, 0, 0x44);
	assert_int_equal(m->i8042.regs.ctr, 0x44);
	assert_int_equal(port_in(&m->i8042.dev, 0), 0x38);
	assert_int_equal(port_in(&m->i8042.dev, 0), 0xe0);
	assert_int_equal(port_in(&m->i8042.dev, 0), 0x53);
}

static void a_masked_line_stays_pending(void **state)
{
	struct machine *m = *state;

	ioapic_raise(&m->ioapic, 9);
	m = move(state);
	assert_int_equal(fake_kvm.n_msis, 0);
	entry(m, 9, 0x55);
	assert_int_equal(fake_kvm.n_msis, 1);
	assert_int_equal(fake_kvm.msis[0].data & 0xff, 0x55);
}

static void a_line_that_waits_for_an_eoi_goes_on_waiting(void **state)
{
	struct machine *m = *state;

	entry(m, 9, 0x8055); /* level-triggered */
	ioapic_raise(&m->ioapic, 9);
	ioapic_raise(&m->ioapic, 9);
	assert_int_equal(fake_kvm.n_msis, 1);
	m = move(state);
	assert_int_equal(fake_kvm.n_msis, 0);
	ioapic_eoi(&m->ioapic, 0x55);
	assert_int_equal(fake_kvm.n_msis, 1);
}

/* A line that the kernel raises too: KVM gets its route when the machine wakes, and an edge. */
static void a_route_is_given_to_the_new_kvm(void **state)
{
	struct machine *m = *state, *other = make();
	uint8_t *data;
	size_t len;

	entry(m, 9, 0x55);
	data = save(m, &len);
	assert_int_equal(ioapic_add_irqfd(&other->ioapic, 9, 5, NULL), 0);
	assert_int_equal(load(other, data, len, NULL), 0);
	assert_int_equal(fake_kvm.n_routes, 0);
	ioapic_wake(&other->ioapic);
	assert_int_equal(fake_kvm.n_routes, 1);
	assert_int_equal(fake_kvm.routes[0].u.msi.data & 0xff, 0x55);
	assert_int_equal(fake_kvm.n_msis, 1);
	free(data);
	destroy(other);
}

static void refused(
	struct machine *m, const char *name, uint64_t value, unsigned bytes, const char *text)
{
	struct machine *other = make();
	struct volt_err err = { 0 };
	uint8_t *at;
	size_t len;
	uint8_t *data = save(m, &len);

	at = data;
	do
		at = memmem(at + 1, len - (size_t)(at + 1 - data), name, strlen(name));
	while (at && at[-5] != strlen(name));
	assert_non_null(at);
	memcpy(at + strlen(name), &value, bytes);
	sample_repair(data, len);
	assert_int_equal(load(other, data, len, &err), -EBADMSG);
	assert_string_equal(err.msg, text);
	free(data);
	destroy(other);
}

static void hostile_state_is_refused(void **state)
{
	struct machine *m = *state;

	refused(m, "pending", 1 << 24, 8, "ioapic 0: pending: is 16777216, more than 16777215");
	refused(m, "ier", 0x10, 1, "serial 0: ier: a register has bits that it does not have");
	refused(m, "rx-head", 16, 1, "serial 0: rx-used: more than the FIFO holds");
	refused(m, "rx-used", 2, 1, "serial 0: rx-used: more than the FIFO holds");
	refused(m, "kbd-head", 16, 1, "i8042 0: kbd-used: more than the keyboard buffers");
	refused(m, "kbd-used", 17, 1, "i8042 0: kbd-used: more than the keyboard buffers");
	refused(m, "sleep-control", 0x20, 1,
		"acpi-pm 0: sleep-control: 0x20 has bits that are never kept");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_owed_interrupt_is_raised_again, setup, teardown),
		cmocka_unit_test_setup_teardown(a_keyboard_keeps_what_was_typed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_masked_line_stays_pending, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_line_that_waits_for_an_eoi_goes_on_waiting, setup, teardown),
		cmocka_unit_test_setup_teardown(a_route_is_given_to_the_new_kvm, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_state_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
