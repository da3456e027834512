/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reset clears the state of the negotiation and of the queues and nothing else: reset, negotiation
 * and I/O follow each other (a driver does just that: it writes status 0 first), also with requests
 * in flight, which never write into the guest's memory after the reset.
 */
#include "vdev.h"

static struct virtq q;
static struct blk b;
static uint8_t data[4096] __attribute__((aligned(4096))), want[4096];

static void io(unsigned round)
{
	int r;

	blk_pattern(want, sizeof(want), 8, round);
	memcpy(data, want, sizeof(data));
	r = blk_do(&b, BLK_OUT, 8, data, sizeof(data));
	CHECK(r == BLK_OK, "round %u: write: %d", round, r);
	memset(data, 0, sizeof(data));
	r = blk_do(&b, BLK_IN, 8, data, sizeof(data));
	CHECK(r == BLK_OK, "round %u: read: %d", round, r);
	CHECK(memcmp(data, want, sizeof(data)) == 0, "round %u: content", round);
	r = blk_do(&b, BLK_FLUSH, 0, NULL, 0);
	CHECK(r == BLK_OK, "round %u: flush: %d", round, r);
}

static void cleared(void)
{
	CHECK(vdev_status(&b.dev) == 0, "status %x after reset", vdev_status(&b.dev));
	CHECK(rd32(b.dev.base + REG_IRQ_STATUS) == 0, "interrupt status %x after reset",
		rd32(b.dev.base + REG_IRQ_STATUS));
	wr32(b.dev.base + REG_QUEUE_SEL, 0);
	CHECK(rd32(b.dev.base + REG_QUEUE_READY) == 0, "queue is ready after reset");
}

/* Many reads in flight, a reset, then nothing may move any more. */
static void under_load(unsigned round)
{
	static struct blk_header h[64] __attribute__((aligned(16)));
	static uint8_t buf[64][512], status[64];
	uint16_t idx;

	for (unsigned i = 0; i < 64; i++) {
		struct seg segs[3] = { { &h[i], sizeof(h[i]), false }, { buf[i], 512, true },
			{ &status[i], 1, true } };

		h[i] = (struct blk_header){ BLK_IN, 0, i };
		virtq_publish(&q, virtq_add(&q, segs, 3));
	}
	virtq_kick(&q);
	vdev_reset(&b.dev);
	idx = q.used.idx;
	memset(buf, 0x77, sizeof(buf));
	memset(status, 0x77, sizeof(status));
	cleared();
	virtq_kick(&q); /* a doorbell of the dead queue */
	for (unsigned i = 0; i < 2000; i++)
		pause();
	CHECK(q.used.idx == idx, "round %u: used index moved after the reset", round);
	for (unsigned i = 0; i < sizeof(buf); i += 61)
		CHECK((&buf[0][0])[i] == 0x77, "round %u: data written after the reset", round);
	for (unsigned i = 0; i < 64; i++)
		CHECK(status[i] == 0x77, "round %u: status written after the reset", round);
}

int main(void)
{
	vdev_find(&b.dev, 2, 0);
	for (unsigned round = 0; round < 3; round++) {
		blk_start(&b, &q, F_EVENT_IDX | BLK_F_FLUSH);
		io(round);
		vdev_reset(&b.dev);
		cleared();
	}
	/* Negotiation broken off halfway, then done right. */
	vdev_negotiate(&b.dev, 0);
	virtq_init(&q, &b.dev, 0, 8);
	vdev_reset(&b.dev);
	cleared();
	for (unsigned round = 10; round < 15; round++) {
		blk_start(&b, &q, round & 1 ? F_EVENT_IDX | BLK_F_FLUSH : BLK_F_FLUSH);
		io(round);
		under_load(round);
	}
	blk_start(&b, &q, BLK_F_FLUSH);
	io(99);
	return 0;
}
