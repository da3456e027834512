/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port, driven the way Linux's 8250 driver does, and the limits of its two host
 * functions. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "port.h"
#include "serial.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };
#define FCR IIR

static int setup(void **state)
{
	struct serial *s;

	if (serial_create(NULL, true, &s, NULL) < 0)
		return -1;
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	serial_destroy(*state);
	return 0;
}

static uint8_t in(struct serial *s, unsigned reg)
{
	return port_in(&s->dev, reg);
}

static void out(struct serial *s, unsigned reg, uint8_t v)
{
	port_out(&s->dev, reg, v);
}

/* Edges since the last call. */
static uint64_t edges(struct serial *s)
{
	return atomic_exchange(&s->irq.raised, 0);
}

/* autoconfig() of drivers/tty/serial/8250/8250_port.c, step by step. */
static void linux_finds_a_16550a(void **state)
{
	struct serial *s = *state;
	uint8_t mcr;

	out(s, IER, 0);
	assert_int_equal(in(s, IER) & 0x0f, 0);
	out(s, IER, 0x0f);
	assert_int_equal(in(s, IER) & 0x0f, 0x0f);
	out(s, IER, 0);
	mcr = in(s, MCR);
	out(s, MCR, 0x1a); /* LOOP, OUT2, RTS */
	assert_int_equal(in(s, MSR) & 0xf0, 0x90);
	out(s, MCR, mcr);
	out(s, LCR, 0xbf);
	out(s, FCR, 0);
	out(s, LCR, 0);
	out(s, FCR, 1);
	assert_int_equal(in(s, IIR) >> 6, 3);
	out(s, LCR, 0x80); /* no EFR: not a 16650 */
	assert_int_not_equal(in(s, IIR), 0);
	out(s, LCR, 0xbf);
	assert_int_not_equal(in(s, IIR), 0);
	out(s, LCR, 0xe0); /* EXCR1: not a National Super I/O */
	assert_int_equal(in(s, IIR) & 0x10, 0);
	out(s, LCR, 0);
	out(s, MCR, mcr ^ 0x10);
	out(s, LCR, 0xe0);
	assert_int_equal(in(s, IIR) & 0x10, 0);
	out(s, LCR, 0);
	out(s, MCR, mcr);
	out(s, FCR, 1);
	assert_int_equal(in(s, IIR) >> 5, 6);
	out(s, LCR, 0x80);
	out(s, FCR, 0x21); /* 64-byte FIFO: not a 16750 */
	assert_int_equal(in(s, IIR) >> 5, 6);
	out(s, LCR, 0);
	out(s, IER, 0x40); /* not an XScale */
	assert_int_equal(in(s, IER) & 0x40, 0);
}

/* size_fifo(): fill the FIFO in loopback and count what comes out. */
static void the_fifo_is_16_bytes(void **state)
{
	struct serial *s = *state;
	unsigned n = 0;

	out(s, FCR, 7);
	out(s, MCR, 0x10);
	for (unsigned i = 0; i < 256; i++)
		out(s, DATA, i);
	assert_int_equal(in(s, LSR) & 0x03, 0x03); /* data, and some were lost */
	assert_int_equal(in(s, LSR) & 0x02, 0);
	while (in(s, LSR) & 1)
		assert_int_equal(in(s, DATA), n++);
	assert_int_equal(n, 16);
	assert_int_equal(s->rx_overruns, 240);
	assert_int_equal(s->out.bytes, 0);
}

/* serial8250_do_startup(): is THRE raised each time it is enabled, and does TXEN work? */
static void enabling_thri_raises_it(void **state)
{
	struct serial *s = *state;

	out(s, FCR, 1);
	for (int i = 0; i < 3; i++) {
		out(s, IER, 2);
		assert_int_equal(edges(s), 1);
		assert_int_equal(in(s, LSR) & 0x60, 0x60);
		assert_int_equal(in(s, IIR), 0xc2);
		assert_int_equal(in(s, IIR), 0xc1); /* reading it took it away */
		out(s, IER, 0);
	}
	assert_int_equal(edges(s), 0);
	out(s, IER, 2);
	out(s, IER, 0); /* disabled before it was seen: still owed, but not shown */
	assert_int_equal(in(s, IIR), 0xc1);
}

/* The transmit interrupt flow: handler reads IIR and LSR, writes up to 16 bytes, looks again. */
static void transmit_flow_never_stalls(void **state)
{
	struct serial *s = *state;
	char text[100], got[200];
	size_t sent = 0, handled = 0;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = 'a' + i % 26;
	out(s, FCR, 1);
	out(s, IER, 2);
	while (edges(s) > 0) { /* one call of the handler */
		handled++;
		assert_true(handled < 100);
		while (!(in(s, IIR) & 1)) {
			if (!(in(s, LSR) & 0x20))
				continue;
			for (int i = 0; i < 16 && sent < sizeof(text); i++)
				out(s, DATA, text[sent++]);
			if (sent == sizeof(text))
				out(s, IER, 0);
		}
	}
	assert_int_equal(sent, sizeof(text));
	assert_int_equal(port_tx(&s->port, got, sizeof(got)), sizeof(text));
	assert_memory_equal(got, text, sizeof(text));
}

/* A driver that trusts the edge and never reads IIR still gets one per byte. */
static void writing_thr_gives_an_edge(void **state)
{
	struct serial *s = *state;

	out(s, IER, 2);
	assert_int_equal(edges(s), 1);
	for (int i = 0; i < 5; i++) {
		in(s, LSR);
		out(s, DATA, 'x');
		assert_int_equal(edges(s), 1);
		out(s, DATA, 'y'); /* the same burst */
		assert_int_equal(edges(s), 0);
	}
}

static void received_bytes_interrupt(void **state)
{
	struct serial *s = *state;

	out(s, FCR, 0x81); /* trigger at 8 */
	out(s, IER, 1);
	assert_int_equal(port_rx(&s->port, "abc", 3), 3);
	assert_int_equal(edges(s), 1);
	assert_int_equal(in(s, IIR), 0xcc); /* below the trigger: timeout */
	assert_int_equal(port_rx(&s->port, "defgh", 5), 5);
	assert_int_equal(edges(s), 0); /* the line was high all the time */
	assert_int_equal(in(s, IIR), 0xc4);
	for (char c = 'a'; c <= 'h'; c++)
		assert_int_equal(in(s, DATA), c);
	assert_int_equal(in(s, IIR), 0xc1);
	assert_int_equal(in(s, DATA), 0);
	assert_int_equal(port_rx(&s->port, "i", 1), 1);
	assert_int_equal(edges(s), 1);
	out(s, FCR, 0x83); /* clear RX */
	assert_int_equal(in(s, LSR) & 1, 0);
	assert_int_equal(in(s, IIR), 0xc1);
}

static void interrupts_have_priorities(void **state)
{
	struct serial *s = *state;

	out(s, FCR, 1);
	out(s, MCR, 0x10); /* all outputs off: CTS, DSR and DCD fell */
	for (int i = 0; i < 17; i++)
		out(s, DATA, i);
	out(s, IER, 0x0f);
	assert_int_equal(edges(s), 1);
	assert_int_equal(in(s, IIR), 0xc6);
	assert_int_equal(in(s, IIR), 0xc6); /* reading IIR does not take that away */
	assert_int_equal(in(s, LSR) & 0x02, 0x02);
	assert_int_equal(in(s, IIR), 0xc4);
	for (int i = 0; i < 16; i++)
		in(s, DATA);
	assert_int_equal(in(s, IIR), 0xc2);
	assert_int_equal(in(s, IIR), 0xc0);
	assert_int_equal(in(s, MSR), 0x0b);
	assert_int_equal(in(s, IIR), 0xc1);
	out(s, MCR, 0x14); /* RI rises: nothing, falls: trailing edge */
	assert_int_equal(in(s, MSR), 0x40);
	out(s, MCR, 0x10);
	assert_int_equal(in(s, IIR), 0xc0);
	assert_int_equal(in(s, MSR), 0x04);
}

static void plain_registers_keep_values(void **state)
{
	struct serial *s = *state;
	uint8_t wide[4];

	out(s, SCR, 0x5a);
	assert_int_equal(in(s, SCR), 0x5a);
	out(s, LCR, 0x83);
	out(s, DATA, 0x0c);
	out(s, IER, 0x01);
	assert_int_equal(in(s, DATA), 0x0c);
	assert_int_equal(in(s, IER), 0x01);
	out(s, LCR, 0x03);
	assert_int_equal(in(s, IER), 0);
	out(s, MCR, 0xff);
	assert_int_equal(in(s, MCR), 0x1f);
	out(s, LSR, 0xff);
	out(s, MSR, 0xff);
	assert_int_equal(in(s, LSR), 0x60);
	s->dev.ops->read(&s->dev, LCR, wide, 4); /* LCR, MCR, LSR, MSR */
	assert_int_equal(wide[0], 0x03);
	assert_int_equal(wide[1], 0x1f);
	assert_int_equal(wide[2], 0x60);
	assert_int_equal(s->out.bytes, 0);
}

static void output_signals_once_and_keeps_order(void **state)
{
	struct serial *s = *state;
	char got[8];

	assert_int_equal(loop_drain(s->port.eventfd), 0);
	out(s, DATA, 'a');
	out(s, DATA, 'b');
	out(s, DATA, 'c');
	assert_int_equal(loop_drain(s->port.eventfd), 1);
	assert_int_equal(port_tx(&s->port, got, 2), 2);
	assert_memory_equal(got, "ab", 2);
	out(s, DATA, 'd');
	assert_int_equal(loop_drain(s->port.eventfd), 0); /* it was not empty */
	assert_int_equal(port_tx(&s->port, got, 8), 2);
	assert_memory_equal(got, "cd", 2);
	assert_int_equal(port_tx(&s->port, got, 8), 0);
	out(s, DATA, 'e');
	assert_int_equal(loop_drain(s->port.eventfd), 1);
}

static void a_full_ring_drops_the_newest(void **state)
{
	struct serial *s = *state;
	uint8_t *got = malloc(CONSOLE_RING_BYTES + 100), tail[8];

	out(s, DATA, 'x'); /* so that the content wraps around the ring */
	out(s, DATA, 'y');
	assert_int_equal(port_tx(&s->port, got, 1), 1);
	for (size_t i = 0; i < CONSOLE_RING_BYTES + 50; i++) {
		out(s, DATA, i % 251);
		assert_int_equal(in(s, LSR) & 0x60, 0x60);
	}
	assert_int_equal(s->out.dropped, 51);
	assert_int_equal(port_tx(&s->port, got, CONSOLE_RING_BYTES + 100), CONSOLE_RING_BYTES);
	assert_int_equal(got[0], 'y');
	for (size_t i = 1; i < CONSOLE_RING_BYTES; i++)
		assert_int_equal(got[i], (i - 1) % 251);
	/* The tail has seen them all. */
	assert_int_equal(serial_tail(s, tail, sizeof(tail)), sizeof(tail));
	for (size_t i = 0; i < sizeof(tail); i++)
		assert_int_equal(tail[i], (CONSOLE_RING_BYTES + 50 - sizeof(tail) + i) % 251);
	free(got);
}

static void the_tail_outlives_the_reader(void **state)
{
	struct serial *s = *state;
	char tail[CONSOLE_TAIL_BYTES + 1];

	assert_int_equal(serial_tail(s, tail, sizeof(tail)), 0);
	out(s, DATA, '1');
	s->port.ops->disconnect(&s->port);
	assert_int_equal(s->out.dropped, 1);
	loop_drain(s->port.eventfd);
	out(s, DATA, '2');
	assert_int_equal(loop_drain(s->port.eventfd), 0);
	assert_int_equal(port_tx(&s->port, tail, sizeof(tail)), 0);
	assert_int_equal(serial_tail(s, tail, sizeof(tail)), 2);
	assert_memory_equal(tail, "12", 2);
	for (int i = 0; i < 5000; i++)
		out(s, DATA, i % 100);
	assert_int_equal(serial_tail(s, tail, sizeof(tail)), CONSOLE_TAIL_BYTES);
	assert_int_equal(tail[CONSOLE_TAIL_BYTES - 1], 99);
}

static void input_waits_for_room(void **state)
{
	struct serial *s = *state;
	static const char text[20] = "0123456789abcdefghij";

	assert_int_equal(port_rx(&s->port, text, 20), 1); /* without FIFO: one byte */
	in(s, DATA);
	assert_int_equal(loop_drain(s->port.eventfd), 1);
	out(s, FCR, 1);
	assert_int_equal(port_rx(&s->port, text, 20), 16);
	assert_int_equal(port_rx(&s->port, text + 16, 4), 0);
	for (int i = 0; i < 16; i++) {
		assert_int_equal(loop_drain(s->port.eventfd), 0);
		assert_int_equal(in(s, DATA), text[i]);
	}
	assert_int_equal(loop_drain(s->port.eventfd), 1);
	assert_int_equal(port_rx(&s->port, text + 16, 4), 4);
	for (int i = 0; i < 4; i++)
		in(s, DATA);
	assert_int_equal(loop_drain(s->port.eventfd), 0); /* all was taken: nobody waits */
}

static void loopback_cuts_the_input(void **state)
{
	struct serial *s = *state;

	out(s, FCR, 1);
	out(s, MCR, 0x10);
	assert_int_equal(port_rx(&s->port, "a", 1), 0);
	assert_int_equal(loop_drain(s->port.eventfd), 0);
	out(s, MCR, 0);
	assert_int_equal(loop_drain(s->port.eventfd), 1);
	assert_int_equal(port_rx(&s->port, "a", 1), 1);
	assert_int_equal(in(s, DATA), 'a');
}

/*
 * A restored port has its registers and a low line; whatever is owed is raised by the first look.
 */
static void restored_port_raises_what_it_owes(void **state)
{
	struct serial *s = *state;
	struct serial *t;

	out(s, IER, 2);
	out(s, DATA, 'x');
	assert_int_equal(serial_create(NULL, true, &t, NULL), 0);
	t->regs = s->regs;
	assert_int_equal(port_rx(&t->port, "", 0), 0);
	assert_int_equal(edges(t), 1);
	assert_int_equal(in(t, IIR), 0x02);
	serial_destroy(t);
	serial_destroy(NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(linux_finds_a_16550a),
		TEST(the_fifo_is_16_bytes),
		TEST(enabling_thri_raises_it),
		TEST(transmit_flow_never_stalls),
		TEST(writing_thr_gives_an_edge),
		TEST(received_bytes_interrupt),
		TEST(interrupts_have_priorities),
		TEST(plain_registers_keep_values),
		TEST(output_signals_once_and_keeps_order),
		TEST(a_full_ring_drops_the_newest),
		TEST(the_tail_outlives_the_reader),
		TEST(input_waits_for_room),
		TEST(loopback_cuts_the_input),
		TEST(restored_port_raises_what_it_owes),
	};

	return cmocka_run_group_tests_name("serial", tests, NULL, NULL);
}
