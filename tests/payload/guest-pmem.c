/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-pmem on KVM: the file is memory, for this CPU and for the disk, and a flush is answered.
 * The file begins with "pmem file"; expect.bytes is its size; with read.only=1 nobody can write.
 */
#include "vdev.h"

static struct vdev d;
static struct virtq q, disk_queue;
static struct blk disk;

static uint64_t config(unsigned off)
{
	uint64_t high = rd32(d.base + REG_CONFIG + off + 4);

	return rd32(d.base + REG_CONFIG + off) | high << 32;
}

static uint32_t flush(uint32_t type)
{
	static uint32_t request, answer;
	struct seg segs[2] = { { &request, 4, false }, { &answer, 4, true } };
	uint32_t head, len;

	request = type;
	answer = 77;
	virtq_publish(&q, virtq_add(&q, segs, 2));
	virtq_kick(&q);
	CHECK(virtq_wait(&q, &head, &len) && len == 4, "no answer");
	return answer;
}

static void writable(uint64_t start)
{
	static uint8_t pattern[512];

	wr64(start + 64, 0x4321);
	CHECK(rd64(start + 64) == 0x4321, "a store is lost");
	/* From the disk into the file, and back out of it. */
	CHECK(blk_do(&disk, BLK_IN, 0, (void *)(start + 4096), 512) == BLK_OK, "read");
	CHECK(blk_do(&disk, BLK_OUT, 1, (void *)(start + 4096), 512) == BLK_OK, "write");
	CHECK(blk_do(&disk, BLK_IN, 1, pattern, 512) == BLK_OK, "read again");
	CHECK(memcmp(pattern, (void *)(start + 4096), 512) == 0, "wrong bytes");
	CHECK(flush(0) == 0, "the flush failed");
}

static void read_only(uint64_t start)
{
	uint64_t before = rd64(start + 64);

	wr64(start + 64, ~before);
	CHECK(rd64(start + 64) == before, "a store to read-only memory was kept");
	CHECK(blk_do(&disk, BLK_OUT, 1, (void *)start, 512) == BLK_OK, "it cannot be read");
	CHECK(blk_do(&disk, BLK_IN, 0, (void *)start, 512) < 0 && vdev_broken(&disk.dev),
		"the disk wrote to read-only memory");
	blk_start(&disk, &disk_queue, 0);
	blk_must_work(&disk, "after the abuse");
	CHECK(flush(0) == 0, "the flush failed");
}

int main(void)
{
	uint64_t start, bytes = boot_number("expect.bytes", 0);

	vdev_find(&d, 27, 0);
	vdev_negotiate(&d, F_EVENT_IDX);
	virtq_init(&q, &d, 0, 0);
	vdev_ok(&d);
	start = config(0);
	console_print("file of %lu bytes at %lx, %lu bytes\n", (unsigned long)bytes,
		(unsigned long)start, (unsigned long)config(8));
	CHECK(start % (2 << 20) == 0 && config(8) == ((bytes + 0x1fffff) & ~UINT64_C(0x1fffff)),
		"place or size");
	high_map(start);
	CHECK(memcmp((void *)start, "pmem file", 9) == 0, "that is not the file");
	CHECK(rd64(start + config(8) - 8) == 0, "the padding is not zero");
	vdev_find(&disk.dev, 2, 0);
	blk_start(&disk, &disk_queue, 0);
	if (boot_number("read.only", 0))
		read_only(start);
	else
		writable(start);
	CHECK(flush(1) != 0, "a request of no kind succeeded");
	vdev_reset(&d);
	vdev_negotiate(&d, 0);
	virtq_init(&q, &d, 0, 0);
	vdev_ok(&d);
	CHECK(flush(0) == 0, "the flush failed after a reset");
	return 0;
}
