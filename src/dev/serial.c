/* SPDX-License-Identifier: Apache-2.0 */
/* 16550A, see serial.h. Registers: PC16550D data sheet, section 8. */
#include "serial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cleanup.h"
#include "state.h"

enum {
	REG_DATA, /* RBR, THR; DLL with DLAB */
	REG_IER,  /* DLM with DLAB */
	REG_IIR,  /* read; FCR on write */
	REG_LCR,
	REG_MCR,
	REG_LSR,
	REG_MSR,
	REG_SCR,
};

#define IER_RX	     0x01
#define IER_THRE     0x02
#define IER_LINE     0x04
#define IER_MODEM    0x08
#define IER_WRITABLE 0x0f

#define IIR_NONE       0x01
#define IIR_LINE       0x06
#define IIR_RX	       0x04
#define IIR_RX_TIMEOUT 0x0c
#define IIR_THRE       0x02
#define IIR_MODEM      0x00
#define IIR_FIFO       0xc0

#define FCR_ENABLE	0x01
#define FCR_CLEAR_RX	0x02
#define FCR_TRIGGER	0xc0
#define FCR_REMEMBERED	(FCR_ENABLE | FCR_TRIGGER)

#define LCR_DLAB 0x80

#define MCR_DTR	     0x01
#define MCR_RTS	     0x02
#define MCR_OUT1     0x04
#define MCR_OUT2     0x08
#define MCR_LOOP     0x10
#define MCR_WRITABLE 0x1f

#define LSR_DR	 0x01
#define LSR_OE	 0x02
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define MSR_DELTA_CTS	0x01
#define MSR_DELTA_DSR	0x02
#define MSR_TRAILING_RI 0x04
#define MSR_DELTA_DCD	0x08
#define MSR_CTS		0x10
#define MSR_DSR		0x20
#define MSR_RI		0x40
#define MSR_DCD		0x80

/* The FIFO level that counts as "data available"; below it, it is a "character timeout". */
static unsigned rx_trigger(const struct serial_regs *r)
{
	static const uint8_t level[] = { 1, 4, 8, 14 };

	return (r->fcr & FCR_ENABLE) ? level[r->fcr >> 6] : 1;
}

static unsigned rx_capacity(const struct serial_regs *r)
{
	return (r->fcr & FCR_ENABLE) ? SERIAL_FIFO_BYTES : 1;
}

/* The pending interrupt of the highest priority, without the FIFO bits. */
static uint8_t pending(const struct serial_regs *r)
{
	if ((r->ier & IER_LINE) && r->lsr_errors)
		return IIR_LINE;
	if ((r->ier & IER_RX) && r->rx_used)
		return r->rx_used >= rx_trigger(r) ? IIR_RX : IIR_RX_TIMEOUT;
	if ((r->ier & IER_THRE) && r->thre_pending)
		return IIR_THRE;
	if ((r->ier & IER_MODEM) && r->msr_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

static void raise_edge(struct serial *s)
{
	s->burst = true;
	irq_raise(&s->irq);
}

/* Lock held. Follows the pending conditions with the line. */
static void update_line(struct serial *s)
{
	bool high = pending(&s->regs) != IIR_NONE;

	if (high && !s->line)
		raise_edge(s);
	s->line = high;
}

static void signal_host(struct serial *s)
{
	uint64_t one = 1;

	/* Cannot fail or block: the counter never comes near its maximum. */
	/* #syscalls loop vcpu: write */
	if (write(s->port.eventfd, &one, sizeof(one)) < 0)
		return;
}

/* Lock held. Tells the host once that input fits again. */
static void offer_room(struct serial *s)
{
	if (!s->rx_wanted || s->regs.rx_used > 0 || (s->regs.mcr & MCR_LOOP))
		return;
	s->rx_wanted = false;
	signal_host(s);
}

/* Puts a byte into the receive FIFO; when it is full the byte is lost and the guest is told. */
static void rx_push(struct serial *s, uint8_t byte)
{
	struct serial_regs *r = &s->regs;

	if (r->rx_used >= rx_capacity(r)) {
		r->lsr_errors |= LSR_OE;
		atomic_fetch_add_explicit(&s->rx_overruns, 1, memory_order_relaxed);
		return;
	}
	r->rx[(r->rx_head + r->rx_used++) % SERIAL_FIFO_BYTES] = byte;
}

static void count(_Atomic uint64_t *c)
{
	atomic_fetch_add_explicit(c, 1, memory_order_relaxed);
}

static uint8_t rx_pop(struct serial *s)
{
	struct serial_regs *r = &s->regs;
	uint8_t byte = r->rx[r->rx_head];

	if (r->rx_used == 0)
		return 0;
	count(&s->rx_taken);
	r->rx_head = (uint8_t)((r->rx_head + 1) % SERIAL_FIFO_BYTES);
	r->rx_used--;
	return byte;
}

static void rx_clear(struct serial_regs *r)
{
	r->rx_head = r->rx_used = 0;
}

/* Lock held. A byte leaves the port towards the host. */
static void emit(struct serial *s, uint8_t byte)
{
	if (console_ring_put(&s->out, &byte, 1))
		signal_host(s);
}

static void write_thr(struct serial *s, uint8_t byte)
{
	if (s->regs.mcr & MCR_LOOP)
		rx_push(s, byte);
	else
		emit(s, byte);
	/* The register was filled and is empty again: a fall and a rise, see serial.h. */
	s->regs.thre_pending = true;
	if (s->line && !s->burst && (s->regs.ier & IER_THRE))
		raise_edge(s);
}

static void write_ier(struct serial *s, uint8_t v)
{
	/* Enabling the interrupt while the register is empty, which it always is, raises it. */
	if ((v & IER_THRE) && !(s->regs.ier & IER_THRE))
		s->regs.thre_pending = true;
	s->regs.ier = v & IER_WRITABLE;
	s->burst = false;
}

static void write_fcr(struct serial_regs *r, uint8_t v)
{
	/* Switching the FIFOs on or off empties them; other bits count only together with "on". */
	if (((v ^ r->fcr) & FCR_ENABLE) || ((v & FCR_ENABLE) && (v & FCR_CLEAR_RX)))
		rx_clear(r);
	r->fcr = (v & FCR_ENABLE) ? v & FCR_REMEMBERED : 0;
}

/* High half of MSR: a modem that is there, or in loopback our own outputs. */
static uint8_t modem_lines(uint8_t mcr)
{
	uint8_t lines = 0;

	if (!(mcr & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS;
	if (mcr & MCR_DTR)
		lines |= MSR_DSR;
	if (mcr & MCR_RTS)
		lines |= MSR_CTS;
	if (mcr & MCR_OUT1)
		lines |= MSR_RI;
	if (mcr & MCR_OUT2)
		lines |= MSR_DCD;
	return lines;
}

static void write_mcr(struct serial_regs *r, uint8_t v)
{
	uint8_t before = modem_lines(r->mcr), now, changed;

	r->mcr = v & MCR_WRITABLE;
	now = modem_lines(r->mcr);
	changed = before ^ now;
	if (changed & MSR_CTS)
		r->msr_delta |= MSR_DELTA_CTS;
	if (changed & MSR_DSR)
		r->msr_delta |= MSR_DELTA_DSR;
	if ((before & MSR_RI) && !(now & MSR_RI))
		r->msr_delta |= MSR_TRAILING_RI;
	if (changed & MSR_DCD)
		r->msr_delta |= MSR_DELTA_DCD;
}

static uint8_t read_iir(struct serial_regs *r)
{
	uint8_t id = pending(r);

	if (id == IIR_THRE)
		r->thre_pending = false;
	return id | ((r->fcr & FCR_ENABLE) ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct serial_regs *r)
{
	uint8_t v = LSR_THRE | LSR_TEMT | r->lsr_errors | (r->rx_used ? LSR_DR : 0);

	r->lsr_errors = 0;
	return v;
}

static uint8_t read_msr(struct serial_regs *r)
{
	uint8_t v = modem_lines(r->mcr) | r->msr_delta;

	r->msr_delta = 0;
	return v;
}

static uint8_t read_reg(struct serial *s, uint64_t reg)
{
	struct serial_regs *r = &s->regs;

	switch (reg) {
	case REG_DATA:
		return (r->lcr & LCR_DLAB) ? r->dll : rx_pop(s);
	case REG_IER:
		return (r->lcr & LCR_DLAB) ? r->dlm : r->ier;
	case REG_IIR:
		return read_iir(r);
	case REG_LCR:
		return r->lcr;
	case REG_MCR:
		return r->mcr;
	case REG_LSR:
		return read_lsr(r);
	case REG_MSR:
		return read_msr(r);
	default:
		return r->scr;
	}
}

static void write_reg(struct serial *s, uint64_t reg, uint8_t v)
{
	struct serial_regs *r = &s->regs;

	switch (reg) {
	case REG_DATA:
		if (r->lcr & LCR_DLAB)
			r->dll = v;
		else
			write_thr(s, v);
		break;
	case REG_IER:
		if (r->lcr & LCR_DLAB)
			r->dlm = v;
		else
			write_ier(s, v);
		break;
	case REG_IIR:
		write_fcr(r, v);
		break;
	case REG_LCR:
		r->lcr = v;
		break;
	case REG_MCR:
		write_mcr(r, v);
		break;
	case REG_SCR:
		r->scr = v;
		break;
	default: /* LSR and MSR are read-only */
		break;
	}
}

/* A wide access is what an ISA bus makes of it: one byte per port. */
static void port_read(struct dev *d, uint64_t off, void *data, unsigned len)
{
	struct serial *s = container_of(d, struct serial, dev);
	uint8_t *bytes = data;

	for (unsigned i = 0; i < len; i++)
		bytes[i] = read_reg(s, off + i);
	s->burst = false;
	update_line(s);
	offer_room(s);
}

static void port_write(struct dev *d, uint64_t off, const void *data, unsigned len)
{
	struct serial *s = container_of(d, struct serial, dev);
	const uint8_t *bytes = data;

	for (unsigned i = 0; i < len; i++) {
		write_reg(s, off + i, bytes[i]);
		update_line(s);
	}
	offer_room(s);
}

static const struct dev_ops serial_ops = {
	.name = "serial",
	.read = port_read,
	.write = port_write,
};

static size_t port_rx(struct console_port *p, const void *data, size_t len)
{
	struct serial *s = container_of(p, struct serial, port);
	const uint8_t *bytes = data;
	struct serial_regs *r = &s->regs;
	size_t n = 0;

	/* #syscalls loop vcpu: futex */
	pthread_mutex_lock(&s->dev.lock);
	if (!(r->mcr & MCR_LOOP)) /* the input pin is cut off in loopback */
		n = MIN(len, rx_capacity(r) - r->rx_used);
	for (size_t i = 0; i < n; i++)
		rx_push(s, bytes[i]);
	s->rx_wanted = n < len;
	update_line(s);
	pthread_mutex_unlock(&s->dev.lock);
	atomic_fetch_add_explicit(&s->rx_bytes, n, memory_order_relaxed);
	return n;
}

static size_t port_tx(struct console_port *p, void *data, size_t len)
{
	struct serial *s = container_of(p, struct serial, port);
	size_t n;

	pthread_mutex_lock(&s->dev.lock);
	n = console_ring_take(&s->out, data, len);
	pthread_mutex_unlock(&s->dev.lock);
	if (n)
		count(&s->tx_pieces);
	return n;
}

static void port_disconnect(struct console_port *p)
{
	struct serial *s = container_of(p, struct serial, port);

	pthread_mutex_lock(&s->dev.lock);
	console_ring_disconnect(&s->out);
	pthread_mutex_unlock(&s->dev.lock);
}

static const struct console_port_ops port_ops = {
	.name = "serial",
	.rx = port_rx,
	.tx = port_tx,
	.disconnect = port_disconnect,
};

int serial_create(struct ioapic *ioapic, bool connected, struct serial **ret, struct volt_err *err)
{
	/*
	 * calloc, not a copied initialiser: pages of the ring that are never used stay untouched.
	 */
	_cleanup_free_ struct serial *s = calloc(1, sizeof(*s));

	if (!s)
		return volt_err_set(err, ENOMEM, "serial port: %m");
	s->port.eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->port.eventfd < 0)
		return volt_err_set(err, errno, "serial port: eventfd: %m");
	s->irq.ioapic = ioapic;
	s->irq.gsi = LAYOUT_GSI_SERIAL;
	s->out.connected = connected;
	s->port.ops = &port_ops;
	s->regs.dll = 1; /* 115200 baud, where a boot loader would have left it */
	s->regs.lcr = 0x03;
	dev_init(&s->dev, &serial_ops);
	*ret = take_ptr(&s);
	return 0;
}

void serial_destroy(struct serial *s)
{
	if (!s)
		return;
	fd_close(s->port.eventfd);
	dev_done(&s->dev);
	free(s);
}

size_t serial_tail(struct serial *s, void *data, size_t len)
{
	size_t n;

	pthread_mutex_lock(&s->dev.lock);
	n = console_ring_tail(&s->out, data, len);
	pthread_mutex_unlock(&s->dev.lock);
	return n;
}

static void check_loaded(const struct serial_regs *r, struct state *st)
{
	if ((r->ier & ~IER_WRITABLE) || (r->fcr & ~FCR_REMEMBERED) || (r->mcr & ~MCR_WRITABLE) ||
		(r->lsr_errors & ~LSR_OE) || (r->msr_delta & 0xf0))
		state_refuse(st, "ier", "a register has bits that it does not have");
	if (r->rx_head >= SERIAL_FIFO_BYTES || r->rx_used > rx_capacity(r))
		state_refuse(st, "rx-used", "more than the FIFO holds");
}

void serial_state(struct serial *s, struct state *st)
{
	struct serial_regs r;

	pthread_mutex_lock(&s->dev.lock);
	r = s->regs;
	state_begin(st, "serial", 0, 1);
	state_u8(st, "ier", &r.ier);
	state_u8(st, "fcr", &r.fcr);
	state_u8(st, "lcr", &r.lcr);
	state_u8(st, "mcr", &r.mcr);
	state_u8(st, "scr", &r.scr);
	state_u8(st, "lsr-errors", &r.lsr_errors);
	state_u8(st, "msr-delta", &r.msr_delta);
	state_u8(st, "dll", &r.dll);
	state_u8(st, "dlm", &r.dlm);
	state_bool(st, "thre-pending", &r.thre_pending);
	state_bytes(st, "rx", r.rx, sizeof(r.rx));
	state_u8(st, "rx-head", &r.rx_head);
	state_u8(st, "rx-used", &r.rx_used);
	if (state_loading(st))
		check_loaded(&r, st);
	if (state_loading(st) && state_error(st, NULL) == 0)
		s->regs = r;
	state_end(st);
	pthread_mutex_unlock(&s->dev.lock);
}

void serial_wake(struct serial *s)
{
	pthread_mutex_lock(&s->dev.lock);
	s->line = s->burst = false;
	update_line(s);
	pthread_mutex_unlock(&s->dev.lock);
}
