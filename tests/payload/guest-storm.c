/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the monitor busy for as long as the host wants to watch it: correct I/O, broken requests,
 * resets, doorbells, unknown ports, in turn. Says "round N" now and then; ends after rounds=N.
 */
#include "vdev.h"

static struct virtq q;
static struct blk b;
static uint8_t data[512];

int main(void)
{
	unsigned rounds = (unsigned)boot_number("rounds", 100);

	vdev_find(&b.dev, 2, 0);
	for (unsigned n = 0; n < rounds; n++) {
		blk_start(&b, &q, n & 1 ? F_EVENT_IDX | F_INDIRECT : 0);
		for (unsigned i = 0; i < 20; i++)
			CHECK(blk_do(&b, BLK_IN, i, data, 512) == BLK_OK, "read");
		CHECK(blk_do(&b, BLK_IN, b.sectors, data, 512) == BLK_IOERR, "read beyond the end");
		for (unsigned i = 0; i < 200; i++) {
			virtq_kick(&q);
			wr32(b.dev.base + REG_NOTIFY, 77);
			out8(0x80, 0);
			wr32(0xd0000000, 0);
		}
		virtq_publish(&q, 0xffff);
		virtq_kick(&q);
		CHECK(vdev_broken(&b.dev), "no DEVICE_NEEDS_RESET");
		if (n % 8 == 0)
			console_print("round %u\n", n);
	}
	return 0;
}
