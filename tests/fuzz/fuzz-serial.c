/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any sequence of register accesses and host transfers on the serial port. Oracle: a model that is
 * written from the data sheet's tables, with plain queues in place of rings and every interrupt
 * condition recomputed on each look. Compared after every step: what a read returns, what the host
 * gets, and that a new pending condition never comes without an edge.
 *
 * Input: two bytes a step; the first selects the operation, the second is its operand.
 */
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "port.h"
#include "serial.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x))                                                                          \
			__builtin_trap();                                                          \
	} while (0)

/* Longer inputs only repeat; the output of the model never overflows. */
#define STEPS_MAX 4096

static struct {
	uint8_t ier, lcr, mcr, scr, dll, dlm, trigger;
	bool fifo, overrun, thre;
	bool d_cts, d_dsr, t_ri, d_dcd;
	uint8_t rx[16], out[2 * STEPS_MAX];
	unsigned n_rx, n_out, taken;
} m;

static bool dlab(void)
{
	return m.lcr & 0x80;
}

static bool loopback(void)
{
	return m.mcr & 0x10;
}

static uint8_t model_id(void)
{
	if ((m.ier & 4) && m.overrun)
		return 6;
	if ((m.ier & 1) && m.n_rx)
		return m.n_rx >= m.trigger ? 4 : 12;
	if ((m.ier & 2) && m.thre)
		return 2;
	if ((m.ier & 8) && (m.d_cts || m.d_dsr || m.t_ri || m.d_dcd))
		return 0;
	return 1;
}

static void model_rx(uint8_t v)
{
	if (m.n_rx == (m.fifo ? 16u : 1u))
		m.overrun = true;
	else
		m.rx[m.n_rx++] = v;
}

static bool pin(unsigned bit)
{
	return m.mcr & 1u << bit;
}

static void model_mcr(uint8_t v)
{
	bool cts = loopback() ? pin(1) : true, dsr = loopback() ? pin(0) : true;
	bool ri = loopback() && pin(2), dcd = loopback() ? pin(3) : true;

	m.mcr = v & 0x1f;
	m.d_cts |= cts != (loopback() ? pin(1) : true);
	m.d_dsr |= dsr != (loopback() ? pin(0) : true);
	m.t_ri |= ri && !(loopback() && pin(2));
	m.d_dcd |= dcd != (loopback() ? pin(3) : true);
}

static void model_fcr(uint8_t v)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	if ((v & 1) != m.fifo || (v & 3) == 3)
		m.n_rx = 0;
	m.fifo = v & 1;
	m.trigger = m.fifo ? levels[v >> 6] : 1;
}

static void model_write(unsigned reg, uint8_t v)
{
	switch (reg) {
	case 0:
		if (dlab()) {
			m.dll = v;
			break;
		}
		if (loopback())
			model_rx(v);
		else
			m.out[m.n_out++] = v;
		m.thre = true;
		break;
	case 1:
		if (dlab()) {
			m.dlm = v;
			break;
		}
		m.thre |= (v & 2) && !(m.ier & 2);
		m.ier = v & 15;
		break;
	case 2:
		model_fcr(v);
		break;
	case 3:
		m.lcr = v;
		break;
	case 4:
		model_mcr(v);
		break;
	case 7:
		m.scr = v;
		break;
	}
}

static uint8_t model_pop(void)
{
	uint8_t v = m.rx[0];

	if (m.n_rx == 0)
		return 0;
	memmove(m.rx, m.rx + 1, --m.n_rx);
	return v;
}

static uint8_t model_msr(void)
{
	uint8_t v = m.d_cts | m.d_dsr << 1 | m.t_ri << 2 | m.d_dcd << 3;

	m.d_cts = m.d_dsr = m.t_ri = m.d_dcd = false;
	if (!loopback())
		return v | 0xb0;
	return v | pin(1) << 4 | pin(0) << 5 | pin(2) << 6 | pin(3) << 7;
}

static uint8_t model_read(unsigned reg)
{
	uint8_t v;

	switch (reg) {
	case 0:
		return dlab() ? m.dll : model_pop();
	case 1:
		return dlab() ? m.dlm : m.ier;
	case 2:
		v = model_id();
		if (v == 2)
			m.thre = false;
		return v | (m.fifo ? 0xc0 : 0);
	case 3:
		return m.lcr;
	case 4:
		return m.mcr;
	case 5:
		v = 0x60 | m.overrun << 1 | (m.n_rx > 0);
		m.overrun = false;
		return v;
	case 6:
		return model_msr();
	default:
		return m.scr;
	}
}

/* The host types up to 31 bytes. */
static void host_types(struct serial *s, uint8_t v)
{
	uint8_t text[32];
	unsigned room = loopback() ? 0 : (m.fifo ? 16u : 1u) - m.n_rx, n = v % 32;

	memset(text, v, sizeof(text));
	CHECK(port_rx(&s->port, text, n) == MIN(n, room));
	for (unsigned i = 0; i < MIN(n, room); i++)
		model_rx(v);
}

static void host_reads(struct serial *s, uint8_t v)
{
	uint8_t got[256];
	size_t n = port_tx(&s->port, got, v);

	CHECK(n == MIN((size_t)v, (size_t)m.n_out - m.taken));
	CHECK(memcmp(got, m.out + m.taken, n) == 0);
	m.taken += n;
}

static void step(struct serial *s, uint8_t op, uint8_t v)
{
	bool was_pending = model_id() != 1;
	uint64_t edges = s->irq.raised;

	if (op & 0x40)
		host_types(s, v);
	else if (op & 0x20)
		host_reads(s, v);
	else if (op & 0x10)
		CHECK(port_in(&s->dev, op % 8) == model_read(op % 8));
	else {
		port_out(&s->dev, op % 8, v);
		model_write(op % 8, v);
	}
	if (!was_pending && model_id() != 1)
		CHECK(s->irq.raised == edges + 1);
	if (model_id() == 1)
		CHECK(s->irq.raised == edges);
	CHECK(s->line == (model_id() != 1));
	CHECK(s->regs.rx_used == m.n_rx && s->regs.rx_head < 16);
	CHECK(s->out.used == m.n_out - m.taken);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct serial *s;

	if (!s)
		CHECK(serial_create(NULL, true, &s, NULL) == 0);
	/* A new port without a new allocation of 70 KiB; the ring's bytes do not matter. */
	memset(&s->regs, 0, sizeof(s->regs));
	s->regs.dll = 1;
	s->regs.lcr = 3;
	s->line = s->burst = s->rx_wanted = false;
	s->out.head = s->out.used = 0;
	memset(&m, 0, offsetof(__typeof__(m), out));
	m.n_rx = m.n_out = m.taken = 0;
	m.dll = 1;
	m.lcr = 3;
	m.trigger = 1;
	for (size_t i = 0; i + 1 < size && i < 2 * STEPS_MAX; i += 2)
		step(s, data[i], data[i + 1]);
	loop_drain(s->port.eventfd);
	return 0;
}
