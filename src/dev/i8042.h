/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keyboard controller (8042) with a keyboard and no mouse. It is there for two things: a guest
 * that resets by it (Linux reboot=k), and Ctrl-Alt-Del from the host. It answers everything that
 * Linux probes at once, because each missing answer costs the guest half a second. Port 0x61 lies
 * between its two ports and reads as a constant (system control port B, see i8042.c).
 *
 * The keyboard speaks scan code set 2 only; the controller translates to set 1 when bit 6 of the
 * command byte says so, which covers the codes that this keyboard can send. Source: IBM PC AT
 * Technical Reference (1985), "Keyboard Controller" and "Keyboard".
 *
 * Threads: registers on the vCPU thread under dev.lock (taken by the bus); i8042_ctrl_alt_del() on
 * the loop thread takes the lock itself. No system calls but those of the interrupt and the
 * callback.
 */
#ifndef VOLT_I8042_H
#define VOLT_I8042_H

#include <stdbool.h>

#include "ioapic.h"

#define I8042_PORTS	 5  /* size of the range at LAYOUT_PORT_I8042_DATA */
#define I8042_FIFO_BYTES 16 /* bytes that a keyboard buffers */

struct i8042_events {
	/* vCPU thread, under dev.lock: may set an atomic and write an eventfd, nothing else. */
	void (*on_reset)(void *owner);
	void *owner;
};

/* What a snapshot has to keep: plain numbers. */
struct i8042_regs {
	uint8_t ctr;	      /* command byte */
	uint8_t command;      /* controller command that waits for its data byte, 0: none */
	bool last_was_command; /* status bit 3 */
	uint8_t reply, reply_status; /* controller's answer; status bits it comes with */
	bool has_reply;
	uint8_t kbd_command;  /* keyboard command that waits for its data byte, 0: none */
	bool kbd_scanning;
	uint8_t kbd_last;     /* for "resend" */
	uint8_t data;	      /* what an empty output buffer reads as */
	uint8_t kbd[I8042_FIFO_BYTES];
	uint8_t kbd_head, kbd_used;
};

struct i8042 {
	struct dev dev; /* ports, from LAYOUT_PORT_I8042_DATA to LAYOUT_PORT_I8042_COMMAND */
	struct irq_line irq;
	struct i8042_events events;
	struct i8042_regs regs;
	bool line; /* the interrupt line is high */
	_Atomic uint64_t resets, dropped; /* dropped: keyboard bytes without room */
	_Atomic uint64_t reads, writes;	/* accesses of one byte to ports that are there */
	_Atomic uint64_t missed_reads, missed_writes; /* other ones */
};

/* ioapic is borrowed; NULL: interrupts are only counted. */
void i8042_init(struct i8042 *k, struct ioapic *ioapic, const struct i8042_events *events);
void i8042_done(struct i8042 *k);

struct state;

/*
 * Machine state. Loading raises nothing: i8042_wake(), before the guest runs, raises what is
 * pending.
 */
void i8042_state(struct i8042 *k, struct state *s);
void i8042_wake(struct i8042 *k);

/*
 * Presses and releases Ctrl-Alt-Del. -EAGAIN: the guest has switched the keyboard off, or has not
 * read enough of what was typed before; nothing was sent.
 */
int i8042_ctrl_alt_del(struct i8042 *k);

#endif
