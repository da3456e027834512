/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any sequence of what driver and console can do with a virtio console. Oracle: all that the guest
 * writes comes out in order, as far as the ring holds it; all that the console gives goes into the
 * guest's buffers in order and no further; whoever was refused is told when it is worth trying
 * again. A driver that breaks the protocol gets no more than a device that wants a reset.
 *
 * Input: two bytes a step; the first selects the operation, the second is its operand.
 */
#include <stdlib.h>
#include <string.h>

#include "console-port.h"
#include "console-ring.h"
#include "drv.h"
#include "log.h"
#include "loop.h"
#include "vcon.h"
#include "vmmio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x))                                                                          \
			__builtin_trap();                                                          \
	} while (0)

#define RX	   0
#define TX	   1
#define QUEUE	   16
#define STEPS_MAX  1024
#define TX_DATA	   0x20000ull
#define RX_DATA	   0x30000ull
#define RX_STRIDE  256
#define OUT_MAX	   (STEPS_MAX * 2048)

static struct gmem mem;
static struct loop loop;
static struct virtio_dev *v;
static struct vmmio *m;
static struct drv d;
static struct console_port *port;

/* The model. */
static uint8_t out[OUT_MAX]; /* what is in the ring */
static size_t n_out;
static uint64_t in_given, in_got; /* bytes are numbered: what was taken from us, what arrived */
static uint32_t room[QUEUE];	  /* of the buffers that are posted, oldest first */
static unsigned n_room, next_rx;
static bool broken, paused, refused;

static void start(void)
{
	CHECK(drv_start(&d, VIRTIO_COMMON_FEATURES, 2, QUEUE) == 0xf);
	n_room = next_rx = 0;
	in_got = in_given; /* what was in buffers of the last driver is its own */
	broken = false;
	drv_poll(&loop);
}

/* Input that has arrived is looked at. */
static void collect(void)
{
	uint8_t got[RX_STRIDE];
	uint32_t id, len;

	while (drv_used(&d, RX, &id, &len)) {
		if (broken)
			continue;
		CHECK(len > 0 && len <= RX_STRIDE && id < QUEUE);
		CHECK(gmem_read(&mem, GPA(RX_DATA + (uint64_t)id * RX_STRIDE), got, len) == 0);
		for (uint32_t i = 0; i < len; i++)
			CHECK(got[i] == (uint8_t)in_got++);
	}
}

static void guest_writes(uint8_t arg)
{
	uint32_t len = 1 + arg * 8u, part = 1 + arg % 7 * 100;
	struct drv_buf bufs[24];
	static uint8_t text[2048];
	static uint8_t next;
	unsigned n = 0;
	uint32_t id, used;

	for (uint32_t i = 0; i < len; i++)
		text[i] = next++;
	CHECK(gmem_write(&mem, GPA(TX_DATA), text, len) == 0);
	for (uint32_t at = 0; at < len && n < 24; at += part)
		bufs[n++] = (struct drv_buf){ TX_DATA + at, MIN(part, len - at), false };
	if (paused || broken || (uint64_t)n * part < len)
		return;
	drv_add_indirect(&d, TX, bufs, n);
	d.heap -= 4096; /* the same table each time */
	drv_kick(&d, TX);
	drv_poll(&loop);
	CHECK(drv_used(&d, TX, &id, &used) && used == 0);
	len = MIN(len, CONSOLE_RING_BYTES - n_out);
	memcpy(out + n_out, text, len);
	n_out += len;
}

static void console_takes(uint8_t arg)
{
	static uint8_t got[255 * 16];
	size_t n = port->ops->tx(port, got, arg * 16u);

	CHECK(n == MIN(n_out, arg * 16u));
	CHECK(memcmp(got, out, n) == 0);
	n_out -= n;
	memmove(out, out + n, n_out);
}

/* Each byte is its number. */
static void console_gives(uint8_t arg)
{
	uint32_t fits = 0;
	uint8_t text[255];
	unsigned used = 0;
	size_t n;

	for (unsigned i = 0; i < arg; i++)
		text[i] = (uint8_t)(in_given + i);
	for (; used < n_room && fits < arg; used++)
		fits += room[used];
	n = port->ops->rx(port, text, arg);
	if (!broken && !paused) {
		CHECK(n == MIN(fits, arg));
		n_room -= used;
		memmove(room, room + used, n_room * sizeof(room[0]));
	}
	CHECK(!paused || n == 0);
	CHECK(n <= arg);
	in_given += n;
	refused = n < arg;
	collect();
}

static void guest_posts(uint8_t arg)
{
	uint32_t bytes = 1 + arg;
	unsigned slot = d.q[RX].next_desc;

	if (broken || n_room == QUEUE)
		return;
	drv_add(&d, RX, &(struct drv_buf){ RX_DATA + slot * RX_STRIDE, bytes, true }, 1);
	drv_kick(&d, RX);
	room[n_room++] = bytes;
	if (loop_drain(port->eventfd))
		refused = false; /* has been told before, and not tried again */
	drv_poll(&loop);
	if (refused && !paused) {
		CHECK(loop_drain(port->eventfd) > 0);
		refused = false;
	}
}

/* A chain that no device may accept, if it looks at it. */
static void guest_breaks(uint8_t arg)
{
	unsigned q = arg & 1, head = d.q[q].next_desc;
	struct drv_buf bad = { arg & 2 ? UINT64_MAX - arg : TX_DATA, 16, q == TX };

	if (broken || n_room == QUEUE)
		return;
	if (arg & 4)
		drv_desc(&d, d.q[q].desc, head, TX_DATA, 1, DRV_NEXT | (q ? 0 : DRV_WRITE), head);
	if (arg & 4)
		drv_publish(&d, q, head);
	else
		drv_add(&d, q, &bad, 1);
	drv_kick(&d, q);
	broken = true;
	drv_poll(&loop);
	CHECK(q == RX || paused || (drv_status(&d) & 0x40));
}

static void step(uint8_t op, uint8_t arg)
{
	switch (op % 8) {
	case 0:
	case 1:
		guest_writes(arg);
		break;
	case 2:
		console_takes(arg);
		break;
	case 3:
		console_gives(arg);
		break;
	case 4:
		guest_posts(arg);
		break;
	case 5:
		if (paused)
			virtio_resume(v);
		else
			CHECK(virtio_pause(v, 0) == 0);
		paused = !paused;
		drv_poll(&loop);
		break;
	case 6:
		if (arg < 64)
			guest_breaks(arg);
		break;
	case 7:
		if (arg < 64) {
			drv_reset(&d);
			start();
		}
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmmio_env env = { .mem = &mem, .loop = &loop, .vmfd = -1, .base = 0xc0001000 };

	log_init(&(struct log_config){ .id = "fuzz", .fd = -1 });
	n_out = in_given = in_got = 0;
	paused = refused = false;
	CHECK(gmem_map(&mem, MIB, NULL) == 0);
	CHECK(loop_init(&loop, NULL) == 0);
	CHECK(vcon_create(true, &v, NULL) == 0);
	CHECK(vmmio_create(v, &env, &m, NULL) == 0);
	port = vcon_port(v);
	drv_init(&d, &mem, vmmio_dev(m), 0x10000);
	start();
	for (size_t i = 0; i + 1 < size && i < 2 * STEPS_MAX; i += 2)
		step(data[i], data[i + 1]);
	vmmio_destroy(m);
	loop_done(&loop);
	gmem_unmap(&mem);
	return 0;
}
