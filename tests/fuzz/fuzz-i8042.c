/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any sequence of port accesses and host key presses on the keyboard controller. Oracle:
 * invariants. It is never busy, never locked; reading the status changes nothing; when the status
 * says that there is a byte, reading takes one away, and at most 17 readings empty it; a reset
 * comes exactly from the commands that mean one; a keyboard byte that becomes readable with its
 * interrupt on gives an edge.
 */
#include <string.h>

#include "i8042.h"
#include "port.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x))                                                                          \
			__builtin_trap();                                                          \
	} while (0)

#define DATA   0
#define STATUS 4

static unsigned n_resets;

static void on_reset(void *owner)
{
	(void)owner;
	n_resets++;
}

static bool kbd_waits(const struct i8042 *k)
{
	return k->regs.kbd_used && !(k->regs.ctr & 0x10) && !k->regs.has_reply &&
		(k->regs.ctr & 1);
}

static void step(struct i8042 *k, uint8_t op, uint8_t v, bool *output_port)
{
	bool waited = kbd_waits(k);
	uint64_t edges = k->irq.raised;
	unsigned resets = n_resets;
	struct i8042_regs before;

	switch (op % 5) {
	case 0:
		port_out(&k->dev, STATUS, v);
		CHECK(n_resets - resets == (v >= 0xf0 && !(v & 1)));
		*output_port = v == 0xd1;
		break;
	case 1:
		port_out(&k->dev, DATA, v);
		CHECK(n_resets - resets == (*output_port && !(v & 1)));
		*output_port = false;
		break;
	case 2:
		port_in(&k->dev, DATA);
		waited = false; /* the next byte is an edge of its own */
		break;
	case 3:
		CHECK(port_in(&k->dev, 1 + v % 3) == (v % 3 == 0 ? 0x20 : 0xff));
		break;
	default:
		if (i8042_ctrl_alt_del(k) == 0)
			CHECK(k->regs.kbd_used >= 8);
		break;
	}
	if (kbd_waits(k) && !waited)
		CHECK(k->irq.raised == edges + 1);
	else
		CHECK(k->irq.raised == edges);
	CHECK(k->regs.kbd_used <= I8042_FIFO_BYTES && k->regs.kbd_head < I8042_FIFO_BYTES);
	before = k->regs;
	CHECK((port_in(&k->dev, STATUS) & 0x12) == 0x10);
	CHECK(memcmp(&before, &k->regs, sizeof(before)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct i8042 k;
	bool output_port = false;
	unsigned n = 0;

	n_resets = 0;
	i8042_init(&k, NULL, &(struct i8042_events){ on_reset, NULL });
	for (size_t i = 0; i + 1 < size && i < 256; i += 2)
		step(&k, data[i], data[i + 1], &output_port);
	while (port_in(&k.dev, STATUS) & 1) {
		port_in(&k.dev, DATA);
		CHECK(++n <= I8042_FIFO_BYTES + 1);
	}
	i8042_done(&k);
	return 0;
}
