/* SPDX-License-Identifier: Apache-2.0 */
/* Keyboard controller and keyboard, see i8042.h. */
#include "i8042.h"

#include <errno.h>

#include "state.h"

#define OFF_DATA    0
#define OFF_PORT_B  1
#define OFF_COMMAND (LAYOUT_PORT_I8042_COMMAND - LAYOUT_PORT_I8042_DATA)

/*
 * System control port B as a PC without timer or speaker would show it: no parity or bus error,
 * which Linux looks for after an NMI, and the timer's output high, which its TSC calibration waits
 * for.
 */
#define PORT_B 0x20

#define STATUS_OUTPUT_FULL 0x01
#define STATUS_SYSTEM	   0x04 /* follows bit 2 of the command byte */
#define STATUS_COMMAND	   0x08
#define STATUS_UNLOCKED	   0x10
#define STATUS_AUX	   0x20
#define STATUS_TIMEOUT	   0x40

#define CTR_KBD_INT	 0x01
#define CTR_SYSTEM	 0x04
#define CTR_KBD_DISABLED 0x10
#define CTR_AUX_DISABLED 0x20
#define CTR_TRANSLATE	 0x40

enum {
	CMD_READ_CTR = 0x20,
	CMD_WRITE_CTR = 0x60,
	CMD_AUX_DISABLE = 0xa7,
	CMD_AUX_ENABLE = 0xa8,
	CMD_AUX_TEST = 0xa9,
	CMD_SELF_TEST = 0xaa,
	CMD_KBD_TEST = 0xab,
	CMD_KBD_DISABLE = 0xad,
	CMD_KBD_ENABLE = 0xae,
	CMD_READ_INPUT = 0xc0,
	CMD_READ_OUTPUT = 0xd0,
	CMD_WRITE_OUTPUT = 0xd1,
	CMD_KBD_LOOP = 0xd2,
	CMD_AUX_LOOP = 0xd3,
	CMD_AUX_WRITE = 0xd4,
	CMD_PULSE = 0xf0, /* up to 0xff: a 0 in the low four bits pulses that line */
};

#define SELF_TEST_OK  0x55
#define TEST_OK	      0x00
#define AUX_NO_CLOCK  0x01 /* test result: the clock line is stuck, there is no mouse */
#define INPUT_PORT    0x80 /* not locked */
#define OUTPUT_PORT   0x03 /* A20 on, system reset line high */
#define OUTPUT_NRESET 0x01

enum {
	KBD_LEDS = 0xed,
	KBD_ECHO = 0xee,
	KBD_SCAN_SET = 0xf0,
	KBD_IDENTIFY = 0xf2,
	KBD_RATE = 0xf3,
	KBD_ENABLE = 0xf4,
	KBD_DISABLE = 0xf5,
	KBD_DEFAULTS = 0xf6,
	KBD_RESEND = 0xfe,
	KBD_RESET = 0xff,
};

#define KBD_ACK	    0xfa
#define KBD_TEST_OK 0xaa
#define KBD_BREAK   0xf0 /* set 2: the next code is a key that was released */

/*
 * Scan code set 2 to set 1, for what this keyboard sends: Ctrl, Alt, Del, and the two answers that
 * the real controller's table changes too (second byte of the identity, number of the set). The
 * rest is the same in both (acknowledge, the prefix 0xe0) or above the table.
 */
static uint8_t translated(uint8_t code)
{
	switch (code) {
	case 0x02:
	case 0x83:
		return 0x41;
	case 0x11:
		return 0x38;
	case 0x14:
		return 0x1d;
	case 0x71:
		return 0x53;
	default:
		return code;
	}
}

static bool kbd_readable(const struct i8042_regs *r)
{
	return r->kbd_used > 0 && !(r->ctr & CTR_KBD_DISABLED);
}

/* The line is high while a keyboard byte can be read. Controller answers are polled for: no
 * interrupt. */
static void update_line(struct i8042 *k)
{
	const struct i8042_regs *r = &k->regs;
	bool high = (r->ctr & CTR_KBD_INT) && kbd_readable(r) && !r->has_reply;

	if (high && !k->line)
		irq_raise(&k->irq);
	k->line = high;
}

static void reset_guest(struct i8042 *k)
{
	atomic_fetch_add_explicit(&k->resets, 1, memory_order_relaxed);
	k->events.on_reset(k->events.owner);
}

static void kbd_push(struct i8042 *k, uint8_t byte)
{
	struct i8042_regs *r = &k->regs;

	if (r->kbd_used == I8042_FIFO_BYTES) {
		atomic_fetch_add_explicit(&k->dropped, 1, memory_order_relaxed);
		return;
	}
	r->kbd[(r->kbd_head + r->kbd_used++) % I8042_FIFO_BYTES] = byte;
	r->kbd_last = byte;
}

/* A byte that comes from the keyboard's wire and so passes the controller's translation. */
static void kbd_send(struct i8042 *k, uint8_t code)
{
	kbd_push(k, (k->regs.ctr & CTR_TRANSLATE) ? translated(code) : code);
}

static void reply(struct i8042 *k, uint8_t byte, uint8_t status)
{
	k->regs.reply = byte;
	k->regs.reply_status = status;
	k->regs.has_reply = true;
}

static void kbd_defaults(struct i8042_regs *r, bool scanning)
{
	r->kbd_scanning = scanning;
	r->kbd_command = 0;
}

/* The data byte of the keyboard command before it. */
static void kbd_parameter(struct i8042 *k, uint8_t command, uint8_t v)
{
	if (command != KBD_SCAN_SET || v == 2) {
		kbd_send(k, KBD_ACK);
	} else if (v == 0) {
		kbd_send(k, KBD_ACK);
		kbd_send(k, 2);
	} else {
		kbd_send(k, KBD_RESEND); /* there is no other set */
	}
}

static void kbd_command(struct i8042 *k, uint8_t v)
{
	struct i8042_regs *r = &k->regs;

	switch (v) {
	case KBD_LEDS:
	case KBD_SCAN_SET:
	case KBD_RATE:
		r->kbd_command = v;
		kbd_send(k, KBD_ACK);
		break;
	case KBD_ECHO:
		kbd_send(k, KBD_ECHO);
		break;
	case KBD_IDENTIFY:
		kbd_send(k, KBD_ACK);
		kbd_send(k, 0xab);
		kbd_send(k, 0x83);
		break;
	case KBD_ENABLE:
	case KBD_DISABLE:
	case KBD_DEFAULTS:
		kbd_defaults(r, v != KBD_DISABLE);
		kbd_send(k, KBD_ACK);
		break;
	case KBD_RESEND:
		kbd_push(k, r->kbd_last);
		break;
	case KBD_RESET:
		r->kbd_used = 0;
		kbd_defaults(r, true);
		kbd_send(k, KBD_ACK);
		kbd_send(k, KBD_TEST_OK);
		break;
	default:
		kbd_send(k, KBD_RESEND);
		break;
	}
}

static void write_keyboard(struct i8042 *k, uint8_t v)
{
	uint8_t command = k->regs.kbd_command;

	k->regs.ctr &= (uint8_t)~CTR_KBD_DISABLED; /* talking to it switches its clock on */
	k->regs.kbd_command = 0;
	if (command && v < KBD_LEDS)
		kbd_parameter(k, command, v);
	else
		kbd_command(k, v); /* a command in place of the parameter ends the one before */
}

/* The data byte of a controller command. */
static void controller_parameter(struct i8042 *k, uint8_t command, uint8_t v)
{
	switch (command) {
	case CMD_WRITE_CTR:
		k->regs.ctr = v;
		break;
	case CMD_WRITE_OUTPUT:
		if (!(v & OUTPUT_NRESET))
			reset_guest(k);
		break;
	case CMD_KBD_LOOP:
		kbd_push(k, v);
		break;
	case CMD_AUX_LOOP:
		/* Without the AUX bit: Linux takes that for "no mouse port" without waiting. */
		reply(k, v, 0);
		break;
	case CMD_AUX_WRITE:
		reply(k, KBD_RESEND, STATUS_AUX | STATUS_TIMEOUT); /* nobody answered */
		break;
	default:
		break;
	}
}

static void controller_command(struct i8042 *k, uint8_t v)
{
	struct i8042_regs *r = &k->regs;

	r->command = 0;
	r->has_reply = false; /* an answer that nobody fetched is overwritten */
	switch (v) {
	case CMD_READ_CTR:
		reply(k, r->ctr, 0);
		break;
	case CMD_WRITE_CTR:
	case CMD_WRITE_OUTPUT:
	case CMD_KBD_LOOP:
	case CMD_AUX_LOOP:
	case CMD_AUX_WRITE:
		r->command = v;
		break;
	case CMD_AUX_DISABLE:
		r->ctr |= CTR_AUX_DISABLED;
		break;
	case CMD_AUX_ENABLE:
		r->ctr &= (uint8_t)~CTR_AUX_DISABLED;
		break;
	case CMD_AUX_TEST:
		reply(k, AUX_NO_CLOCK, 0);
		break;
	case CMD_SELF_TEST:
		r->ctr |= CTR_SYSTEM;
		reply(k, SELF_TEST_OK, 0);
		break;
	case CMD_KBD_TEST:
		reply(k, TEST_OK, 0);
		break;
	case CMD_KBD_DISABLE:
		r->ctr |= CTR_KBD_DISABLED;
		break;
	case CMD_KBD_ENABLE:
		r->ctr &= (uint8_t)~CTR_KBD_DISABLED;
		break;
	case CMD_READ_INPUT:
		reply(k, INPUT_PORT, 0);
		break;
	case CMD_READ_OUTPUT:
		reply(k, OUTPUT_PORT, 0);
		break;
	default:
		if (v >= CMD_PULSE && !(v & OUTPUT_NRESET))
			reset_guest(k);
		break;
	}
}

static uint8_t read_data(struct i8042_regs *r)
{
	if (r->has_reply) {
		r->has_reply = false;
		r->data = r->reply;
	} else if (kbd_readable(r)) {
		r->data = r->kbd[r->kbd_head];
		r->kbd_head = (uint8_t)((r->kbd_head + 1) % I8042_FIFO_BYTES);
		r->kbd_used--;
	}
	return r->data;
}

static uint8_t read_status(const struct i8042_regs *r)
{
	uint8_t v = STATUS_UNLOCKED;

	if (r->ctr & CTR_SYSTEM)
		v |= STATUS_SYSTEM;
	if (r->last_was_command)
		v |= STATUS_COMMAND;
	if (r->has_reply)
		v |= STATUS_OUTPUT_FULL | r->reply_status;
	else if (kbd_readable(r))
		v |= STATUS_OUTPUT_FULL;
	return v;
}

static void count(uint64_t off, unsigned len, _Atomic uint64_t *good, _Atomic uint64_t *missed)
{
	bool known = off == OFF_DATA || off == OFF_COMMAND || off == OFF_PORT_B;

	atomic_fetch_add_explicit(known && len == 1 ? good : missed, 1, memory_order_relaxed);
}

static void port_read(struct dev *d, uint64_t off, void *data, unsigned len)
{
	struct i8042 *k = container_of(d, struct i8042, dev);
	uint8_t *bytes = data;

	count(off, len, &k->reads, &k->missed_reads);
	for (unsigned i = 0; i < len; i++) {
		if (off + i == OFF_DATA) {
			bytes[i] = read_data(&k->regs);
			k->line = false; /* each further byte is an edge of its own */
		} else if (off + i == OFF_COMMAND) {
			bytes[i] = read_status(&k->regs);
		} else if (off + i == OFF_PORT_B) {
			bytes[i] = PORT_B;
		} else {
			bytes[i] = 0xff;
		}
	}
	update_line(k);
}

static void port_write(struct dev *d, uint64_t off, const void *data, unsigned len)
{
	struct i8042 *k = container_of(d, struct i8042, dev);
	const uint8_t *bytes = data;

	count(off, len, &k->writes, &k->missed_writes);
	for (unsigned i = 0; i < len; i++) {
		uint8_t command = k->regs.command;

		if (off + i == OFF_COMMAND) {
			k->regs.last_was_command = true;
			controller_command(k, bytes[i]);
		} else if (off + i == OFF_DATA) {
			k->regs.last_was_command = false;
			k->regs.command = 0;
			if (command)
				controller_parameter(k, command, bytes[i]);
			else
				write_keyboard(k, bytes[i]);
		}
	}
	update_line(k);
}

static const struct dev_ops i8042_ops = {
	.name = "i8042",
	.read = port_read,
	.write = port_write,
};

void i8042_init(struct i8042 *k, struct ioapic *ioapic, const struct i8042_events *events)
{
	*k = (struct i8042){
		.irq = { .ioapic = ioapic, .gsi = LAYOUT_GSI_KEYBOARD },
		.events = *events,
		/* As a PC's firmware leaves it, but for the interrupt, which the guest asks for. */
		.regs = { .ctr = CTR_SYSTEM | CTR_TRANSLATE | CTR_AUX_DISABLED,
			.kbd_scanning = true },
	};
	dev_init(&k->dev, &i8042_ops);
}

void i8042_done(struct i8042 *k)
{
	dev_done(&k->dev);
}

/* A key in set 2, extended ones with their prefix; the controller folds "break" into bit 7. */
static void type_key(struct i8042 *k, bool extended, uint8_t code, bool release)
{
	bool translate = k->regs.ctr & CTR_TRANSLATE;

	if (extended)
		kbd_send(k, 0xe0);
	if (release && !translate)
		kbd_send(k, KBD_BREAK);
	kbd_push(k, translate ? (uint8_t)(translated(code) | (release ? 0x80 : 0)) : code);
}

int i8042_ctrl_alt_del(struct i8042 *k)
{
	static const struct {
		bool extended;
		uint8_t code;
	} keys[] = { { false, 0x14 }, { false, 0x11 }, { true, 0x71 } };
	const size_t bytes_max = 11; /* 4 to press, 7 to release, in set 2 */
	int r = -EAGAIN;

	/* #syscalls loop vcpu: futex */
	pthread_mutex_lock(&k->dev.lock);
	if (k->regs.kbd_scanning && k->regs.kbd_used + bytes_max <= I8042_FIFO_BYTES) {
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			type_key(k, keys[i].extended, keys[i].code, false);
		for (size_t i = ARRAY_SIZE(keys); i-- > 0;)
			type_key(k, keys[i].extended, keys[i].code, true);
		update_line(k);
		r = 0;
	}
	pthread_mutex_unlock(&k->dev.lock);
	return r;
}

void i8042_state(struct i8042 *k, struct state *s)
{
	struct i8042_regs r;

	pthread_mutex_lock(&k->dev.lock);
	r = k->regs;
	state_begin(s, "i8042", 0, 1);
	state_u8(s, "ctr", &r.ctr);
	state_u8(s, "command", &r.command);
	state_bool(s, "last-was-command", &r.last_was_command);
	state_u8(s, "reply", &r.reply);
	state_u8(s, "reply-status", &r.reply_status);
	state_bool(s, "has-reply", &r.has_reply);
	state_u8(s, "kbd-command", &r.kbd_command);
	state_bool(s, "kbd-scanning", &r.kbd_scanning);
	state_u8(s, "kbd-last", &r.kbd_last);
	state_u8(s, "data", &r.data);
	state_bytes(s, "kbd", r.kbd, sizeof(r.kbd));
	state_u8(s, "kbd-head", &r.kbd_head);
	state_u8(s, "kbd-used", &r.kbd_used);
	if (state_loading(s) && (r.kbd_head >= I8042_FIFO_BYTES || r.kbd_used > I8042_FIFO_BYTES))
		state_refuse(s, "kbd-used", "more than the keyboard buffers");
	if (state_loading(s) && state_error(s, NULL) == 0)
		k->regs = r;
	state_end(s);
	pthread_mutex_unlock(&k->dev.lock);
}

void i8042_wake(struct i8042 *k)
{
	pthread_mutex_lock(&k->dev.lock);
	k->line = false;
	update_line(k);
	pthread_mutex_unlock(&k->dev.lock);
}
