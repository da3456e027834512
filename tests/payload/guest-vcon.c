/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Console input and output by virtio: says LINES lines, then sums what comes until '~' with few and
 * small buffers, woken by interrupts, and says how much it was.
 */
#include "vdev.h"

#define LINES	 500
#define BUFFERS	 4
#define RX_BYTES 7 /* a line of input takes many */

static struct virtq rx, tx;
static struct vdev d;
static uint8_t in[BUFFERS][RX_BYTES];

static void on_irq(void)
{
	wr32(d.base + REG_IRQ_ACK, rd32(d.base + REG_IRQ_STATUS));
}

static void say(const char *text, uint32_t len)
{
	struct seg segs[2] = { { text, len / 2, false }, { text + len / 2, len - len / 2, false } };
	uint32_t head, used;

	virtq_publish(&tx, virtq_add(&tx, segs, 2));
	virtq_kick(&tx);
	CHECK(virtq_wait(&tx, &head, &used) && used == 0, "output is not taken");
}

static void say_lines(void)
{
	char line[] = "virtio 0000\n";

	for (unsigned i = 0; i < LINES; i++) {
		for (unsigned k = 0, v = i; k < 4; k++, v /= 10)
			line[10 - k] = (char)('0' + v % 10);
		say(line, sizeof(line) - 1);
	}
}

/* Each buffer is a chain of one: its head says which. */
static void post(unsigned i)
{
	struct seg s = { in[i], RX_BYTES, true };
	uint16_t head = virtq_add(&rx, &s, 1);

	CHECK(rx.desc[head].addr == (uintptr_t)in[i], "not the descriptor that was filled");
	virtq_publish(&rx, head);
	virtq_kick(&rx);
}

int main(void)
{
	uint32_t head, len, bytes = 0, sum = 0;
	bool done = false;

	irq_init();
	vdev_find(&d, 3, 0);
	vdev_negotiate(&d, F_EVENT_IDX);
	virtq_init(&rx, &d, 0, 0);
	virtq_init(&tx, &d, 1, 0);
	irq_route(d.gsi, 36, on_irq);
	vdev_ok(&d);
	say_lines();
	for (unsigned i = 0; i < BUFFERS; i++)
		post(i);
	say("ready\n", 6);
	done = boot_has("no.input");
	while (!done) {
		*virtq_used_event(&rx) = rx.last_used;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (!virtq_more(&rx)) {
			irq_wait();
			continue;
		}
		CHECK(virtq_wait(&rx, &head, &len) && len > 0 && len <= RX_BYTES, "input");
		for (uint8_t *p = (uint8_t *)rx.desc[head].addr; len > 0; len--, p++) {
			done |= *p == '~';
			bytes += !done;
			sum = done ? sum : sum * 31 + *p;
		}
		post((unsigned)(((uint8_t *)rx.desc[head].addr - in[0]) / RX_BYTES));
	}
	console_print("got %u sum %x\n", bytes, sum);
	return 0;
}
