/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serial port: a 16550A (National Semiconductor PC16550D data sheet) with a host side of two
 * functions. Baud rate and framing are remembered and mean nothing.
 *
 * Out: a byte that the guest writes has left at once (THRE and TEMT are always set) into a ring,
 * see console-ring.h.
 *
 * In: serial_rx() puts into the receive FIFO what fits. If it did not fit, the eventfd fires when
 * the guest has emptied the FIFO.
 *
 * Interrupts: the line is high while an enabled condition is pending, and the I/O APIC gets the
 * edge. MCR.OUT2, which gates the line on a PC, is ignored, as QEMU does: some guests never set it.
 * Transmission takes no time, so each write to THR lets "transmitter empty" fall and rise again.
 * That new edge is given only once for a run of writes with no other access between them: the local
 * APIC would merge the others, and each one costs a system call.
 *
 * Threads: registers on the vCPU thread under dev.lock (taken by the bus); the rest, as said below,
 * takes the lock itself. The only system call on the vCPU thread is the write to the eventfd.
 */
#ifndef VOLT_SERIAL_H
#define VOLT_SERIAL_H

#include <stdbool.h>

#include "console-port.h"
#include "console-ring.h"
#include "err.h"
#include "ioapic.h"

#define SERIAL_PORTS	  8 /* size of the range at LAYOUT_PORT_SERIAL */
#define SERIAL_FIFO_BYTES 16

/* What a snapshot has to keep: plain numbers, all of them restorable as they are. */
struct serial_regs {
	uint8_t ier, fcr, lcr, mcr, scr;
	uint8_t lsr_errors;   /* LSR_OE and nothing else */
	uint8_t msr_delta;    /* low half of MSR */
	uint8_t dll, dlm;
	bool thre_pending;    /* an owed "transmitter empty" interrupt */
	uint8_t rx[SERIAL_FIFO_BYTES];
	uint8_t rx_head, rx_used;
};

struct serial {
	struct dev dev; /* ports, LAYOUT_PORT_SERIAL */
	struct irq_line irq;
	struct console_port port; /* what the console sees */
	struct serial_regs regs;
	bool line;	/* the interrupt line is high */
	bool burst;	/* the guest has only written THR since the last edge */
	bool rx_wanted; /* the host has input that did not fit */
	_Atomic uint64_t rx_bytes, rx_overruns; /* to the guest; of these lost in the RX FIFO */
	_Atomic uint64_t rx_taken;  /* bytes that the guest has read */
	_Atomic uint64_t tx_pieces; /* times that the console took what was written */
	struct console_ring out;
};

/*
 * Building thread. ioapic is borrowed (NULL: interrupts are only counted). Without a console
 * (connected false) the output goes to the tail only and the eventfd never fires for it.
 */
int serial_create(struct ioapic *ioapic, bool connected, struct serial **ret, struct volt_err *err);
void serial_destroy(struct serial *s);

struct state;

/*
 * Machine state, without what the console has not taken yet: those bytes have left the machine.
 * Loading raises nothing: serial_wake(), before the guest runs, raises what is pending.
 */
void serial_state(struct serial *s, struct state *st);
void serial_wake(struct serial *s);

/* Any thread but under dev.lock. The end of the output, oldest byte first; returns its length. */
size_t serial_tail(struct serial *s, void *data, size_t len);

#endif
