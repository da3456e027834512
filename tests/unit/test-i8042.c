/* SPDX-License-Identifier: Apache-2.0 */
/* The keyboard controller, driven the way Linux's i8042 and atkbd drivers do. */
#include "test.h"

#include <errno.h>

#include "i8042.h"
#include "port.h"

#define DATA   0
#define STATUS 4

static int n_resets;

static void count_reset(void *owner)
{
	(*(int *)owner)++;
}

static int setup(void **state)
{
	static struct i8042 k;

	n_resets = 0;
	i8042_init(&k, NULL, &(struct i8042_events){ count_reset, &n_resets });
	*state = &k;
	return 0;
}

static int teardown(void **state)
{
	i8042_done(*state);
	return 0;
}

static uint64_t edges(struct i8042 *k)
{
	return atomic_exchange(&k->irq.raised, 0);
}

static void command(struct i8042 *k, uint8_t c)
{
	assert_int_equal(port_in(&k->dev, STATUS) & 2, 0); /* never busy: Linux would wait */
	port_out(&k->dev, STATUS, c);
}

static void write_data(struct i8042 *k, uint8_t v)
{
	port_out(&k->dev, DATA, v);
}

/* A byte that must be there at once. */
static uint8_t answer(struct i8042 *k)
{
	assert_int_equal(port_in(&k->dev, STATUS) & 1, 1);
	return port_in(&k->dev, DATA);
}

static void assert_empty(struct i8042 *k)
{
	assert_int_equal(port_in(&k->dev, STATUS) & 1, 0);
}

static void set_ctr(struct i8042 *k, uint8_t ctr)
{
	command(k, 0x60);
	write_data(k, ctr);
}

/* i8042_controller_check(), _init(), setup_aux() and setup_kbd(): no step waits for an answer. */
static void linux_probe_finds_keyboard_and_no_mouse(void **state)
{
	struct i8042 *k = *state;
	uint8_t ctr;

	assert_empty(k);
	command(k, 0xaa);
	assert_int_equal(answer(k), 0x55);
	command(k, 0x20);
	ctr = answer(k);
	command(k, 0x20);
	assert_int_equal(answer(k), ctr);
	assert_int_equal(port_in(&k->dev, STATUS) & 0x10, 0x10); /* not locked */
	assert_int_equal(ctr & 0x40, 0x40);
	set_ctr(k, (ctr | 0x10) & ~1);
	command(k, 0x20);
	assert_int_equal(answer(k), (ctr | 0x10) & ~1);
	/* i8042_check_aux(): the loop's answer comes without the AUX bit ... */
	command(k, 0xd3);
	write_data(k, 0x5a);
	assert_int_equal(port_in(&k->dev, STATUS) & 0x21, 0x01);
	/* ... so Linux leaves it there and asks for the port test. */
	command(k, 0xa9);
	assert_int_equal(answer(k), 0x01);
	assert_empty(k);
	command(k, 0xab);
	assert_int_equal(answer(k), 0x00);
	set_ctr(k, (ctr & ~0x10) | 1);
	assert_empty(k);
	assert_int_equal(edges(k), 0);
}

/* atkbd_probe() and atkbd_activate(): each byte comes with its own interrupt. */
static void atkbd_probe_works_by_interrupt(void **state)
{
	struct i8042 *k = *state;

	set_ctr(k, 0x45);
	write_data(k, 0xf2);
	assert_int_equal(edges(k), 1);
	assert_int_equal(answer(k), 0xfa);
	assert_int_equal(edges(k), 1);
	assert_int_equal(answer(k), 0xab);
	assert_int_equal(edges(k), 1);
	assert_int_equal(answer(k), 0x41); /* 0x83 translated */
	assert_int_equal(edges(k), 0);
	assert_empty(k);
	static const uint8_t sequence[] = { 0xf5, 0xed, 0x07, 0xf3, 0x00, 0xf0, 0x02, 0xf6, 0xf4 };
	for (size_t i = 0; i < sizeof(sequence); i++) {
		write_data(k, sequence[i]);
		assert_int_equal(edges(k), 1);
		assert_int_equal(answer(k), 0xfa);
		assert_empty(k);
	}
}

static void keyboard_commands_answer(void **state)
{
	struct i8042 *k = *state;

	set_ctr(k, 0x05); /* no translation */
	write_data(k, 0xff);
	assert_int_equal(answer(k), 0xfa);
	assert_int_equal(answer(k), 0xaa);
	write_data(k, 0xf2);
	assert_int_equal(answer(k), 0xfa);
	assert_int_equal(answer(k), 0xab);
	assert_int_equal(answer(k), 0x83);
	write_data(k, 0xfe); /* resend */
	assert_int_equal(answer(k), 0x83);
	write_data(k, 0xee);
	assert_int_equal(answer(k), 0xee);
	write_data(k, 0xf0); /* which set? */
	write_data(k, 0x00);
	assert_int_equal(answer(k), 0xfa);
	assert_int_equal(answer(k), 0xfa);
	assert_int_equal(answer(k), 0x02);
	write_data(k, 0xf0); /* set 3 is refused */
	write_data(k, 0x03);
	assert_int_equal(answer(k), 0xfa);
	assert_int_equal(answer(k), 0xfe);
	write_data(k, 0x12); /* not a command */
	assert_int_equal(answer(k), 0xfe);
	write_data(k, 0xed); /* a command instead of the parameter */
	write_data(k, 0xee);
	assert_int_equal(answer(k), 0xfa);
	assert_int_equal(answer(k), 0xee);
	assert_empty(k);
}

static void controller_commands_answer(void **state)
{
	struct i8042 *k = *state;

	command(k, 0xa8);
	command(k, 0x20);
	assert_int_equal(answer(k) & 0x20, 0);
	command(k, 0xa7);
	command(k, 0xad);
	command(k, 0x20);
	assert_int_equal(answer(k) & 0x30, 0x30);
	command(k, 0xae);
	command(k, 0x20);
	assert_int_equal(answer(k) & 0x10, 0);
	command(k, 0xc0);
	assert_int_equal(answer(k), 0x80);
	command(k, 0xd0);
	assert_int_equal(answer(k) & 0x03, 0x03);
	command(k, 0xd4); /* to a mouse: a timeout is reported */
	write_data(k, 0xf4);
	assert_int_equal(port_in(&k->dev, STATUS) & 0x61, 0x61);
	assert_int_equal(answer(k), 0xfe);
	command(k, 0xd2); /* as if typed */
	write_data(k, 0x1c);
	assert_int_equal(answer(k), 0x1c);
	command(k, 0x77); /* unknown */
	assert_empty(k);
	assert_int_equal(port_in(&k->dev, STATUS) & 0x08, 0x08);
	assert_int_equal(port_in(&k->dev, 1), 0x20);
	assert_int_equal(port_in(&k->dev, 2), 0xff);
	port_out(&k->dev, 1, 0xff);
	assert_int_equal(port_in(&k->dev, 1), 0x20);
	assert_int_equal(n_resets, 0);
}

static void a_disabled_keyboard_keeps_its_bytes(void **state)
{
	struct i8042 *k = *state;

	set_ctr(k, 0x45);
	write_data(k, 0xee);
	command(k, 0xad);
	edges(k);
	assert_empty(k);
	command(k, 0xae);
	assert_int_equal(edges(k), 1);
	assert_int_equal(answer(k), 0xee);
	command(k, 0xad);
	write_data(k, 0xee); /* talking to it enables it */
	assert_int_equal(answer(k), 0xee);
}

static void resets(void **state)
{
	struct i8042 *k = *state;

	command(k, 0xfe);
	assert_int_equal(n_resets, 1);
	command(k, 0xff); /* pulses nothing */
	assert_int_equal(n_resets, 1);
	command(k, 0xd1);
	write_data(k, 0x03);
	assert_int_equal(n_resets, 1);
	command(k, 0xd1);
	write_data(k, 0x02);
	assert_int_equal(n_resets, 2);
	assert_int_equal(k->resets, 2);
}

static void ctrl_alt_del_in_set_1(void **state)
{
	static const uint8_t expected[] = { 0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d };
	struct i8042 *k = *state;

	set_ctr(k, 0x45);
	assert_int_equal(i8042_ctrl_alt_del(k), 0);
	for (size_t i = 0; i < sizeof(expected); i++) {
		assert_int_equal(edges(k), 1);
		assert_int_equal(answer(k), expected[i]);
	}
	assert_int_equal(edges(k), 0);
	assert_empty(k);
}

static void ctrl_alt_del_in_set_2(void **state)
{
	static const uint8_t expected[] = { 0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0, 0x71, 0xf0, 0x11,
		0xf0, 0x14 };
	struct i8042 *k = *state;

	set_ctr(k, 0x05);
	assert_int_equal(i8042_ctrl_alt_del(k), 0);
	assert_int_equal(i8042_ctrl_alt_del(k), -EAGAIN); /* no room for a second one */
	for (size_t i = 0; i < sizeof(expected); i++)
		assert_int_equal(answer(k), expected[i]);
	assert_empty(k);
	write_data(k, 0xf5);
	assert_int_equal(answer(k), 0xfa);
	assert_int_equal(i8042_ctrl_alt_del(k), -EAGAIN);
	assert_empty(k);
	assert_int_equal(k->dropped, 0);
}

static void an_unread_keyboard_overflows_quietly(void **state)
{
	struct i8042 *k = *state;

	for (int i = 0; i < 100; i++)
		write_data(k, 0xee);
	assert_int_equal(k->dropped, 100 - I8042_FIFO_BYTES);
	for (int i = 0; i < I8042_FIFO_BYTES; i++)
		assert_int_equal(answer(k), 0xee);
	assert_empty(k);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(linux_probe_finds_keyboard_and_no_mouse),
		TEST(atkbd_probe_works_by_interrupt),
		TEST(keyboard_commands_answer),
		TEST(controller_commands_answer),
		TEST(a_disabled_keyboard_keeps_its_bytes),
		TEST(resets),
		TEST(ctrl_alt_del_in_set_1),
		TEST(ctrl_alt_del_in_set_2),
		TEST(an_unread_keyboard_overflows_quietly),
	};

	return cmocka_run_group_tests_name("i8042", tests, NULL, NULL);
}
