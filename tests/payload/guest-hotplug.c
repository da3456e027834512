/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mem on KVM: blocks that are plugged are memory, for this CPU and for the disk; those that
 * are not are none. The host wants 8 MiB: four blocks of 2 MiB in slots of 128 MiB.
 */
#include "vdev.h"

#define F_INACCESSIBLE (UINT64_C(1) << 1)
#define BLOCK	       (UINT64_C(2) << 20)
#define SLOT	       (UINT64_C(128) << 20)
#define NOWHERE	       UINT64_C(0xffffffffffffffff)

enum { ACK, NACK, BUSY, ERROR };
enum { PLUG, UNPLUG, UNPLUG_ALL, STATE };

static struct vdev d;
static struct virtq q, disk_queue;
static struct blk disk;
static uint64_t base;

static unsigned ask(uint16_t type, uint64_t first, uint16_t n, uint16_t *state)
{
	static struct {
		uint16_t type, pad[3];
		uint64_t addr;
		uint16_t n, pad2[3];
	} request;
	static struct {
		uint16_t type, pad[3], state;
	} answer;
	struct seg segs[2] = { { &request, sizeof(request), false },
		{ &answer, sizeof(answer), true } };
	uint32_t head, len;

	request.type = type;
	request.addr = base + first * BLOCK;
	request.n = n;
	answer.type = 77;
	virtq_publish(&q, virtq_add(&q, segs, 2));
	virtq_kick(&q);
	CHECK(virtq_wait(&q, &head, &len) && len == sizeof(answer), "request %u: no answer", type);
	if (state)
		*state = answer.state;
	return answer.type;
}

static void must(uint16_t type, uint64_t first, uint16_t n, unsigned word)
{
	unsigned got = ask(type, first, n, NULL);

	CHECK(got == word, "request %u for %u blocks from %lu: %u", type, n, (unsigned long)first,
		got);
}

static void start(void)
{
	vdev_find(&d, 24, 0);
	vdev_reset(&d);
	vdev_negotiate(&d, F_INACCESSIBLE | F_EVENT_IDX);
	virtq_init(&q, &d, 0, 0);
	vdev_ok(&d);
	base = rd32(d.base + REG_CONFIG + 16) | (uint64_t)rd32(d.base + REG_CONFIG + 20) << 32;
}

int main(void)
{
	static uint8_t pattern[4096];
	uint16_t state;

	start();
	console_print("region at %lx\n", (unsigned long)base);
	high_map(base);
	vdev_find(&disk.dev, 2, 0);
	blk_start(&disk, &disk_queue, 0);

	/* Nothing is plugged: nobody is there. */
	CHECK(rd64(base) == NOWHERE, "memory before it is plugged");
	wr64(base, 1);
	CHECK(ask(STATE, 0, 64, &state) == ACK && state == 1, "not all is unplugged");
	must(PLUG, 0, 5, NACK);
	must(PLUG, 0, 1, ACK);
	must(PLUG, 63, 2, ACK); /* over the edge of two slots */
	CHECK(ask(STATE, 0, 2, &state) == ACK && state == 2, "not mixed");
	must(PLUG, 0, 1, ERROR);
	must(PLUG, 10, 2, NACK);
	CHECK(rd64(base) == 0 && rd64(base + SLOT) == 0, "fresh memory is not zero");
	wr64(base + SLOT - 8, 0x1122334455667788);
	wr64(base + SLOT, 0x99);
	CHECK(rd64(base + SLOT - 8) == 0x1122334455667788 && rd64(base + SLOT) == 0x99, "memory");

	/* The disk reaches it: out of one block, into another. */
	blk_pattern((void *)(base + 0x1000), sizeof(pattern), 0, 5);
	CHECK(blk_do(&disk, BLK_OUT, 0, (void *)(base + 0x1000), sizeof(pattern)) == BLK_OK,
		"write");
	CHECK(blk_do(&disk, BLK_IN, 0, (void *)(base + SLOT + 0x1000), sizeof(pattern)) == BLK_OK,
		"read");
	blk_pattern(pattern, sizeof(pattern), 0, 5);
	CHECK(memcmp(pattern, (void *)(base + SLOT + 0x1000), sizeof(pattern)) == 0, "wrong bytes");

	/* A slot goes with its last block, and nobody reaches what was there. */
	must(UNPLUG, 64, 1, ACK);
	CHECK(rd64(base + SLOT) == NOWHERE, "memory after it was unplugged");
	CHECK(rd64(base + SLOT - 8) == 0x1122334455667788, "the other slot has gone too");
	CHECK(blk_do(&disk, BLK_IN, 0, (void *)(base + SLOT), 512) < 0 && vdev_broken(&disk.dev),
		"the disk wrote where no memory is");
	blk_start(&disk, &disk_queue, 0);
	CHECK(blk_do(&disk, BLK_IN, 0, (void *)(base + SLOT - 2 * BLOCK), 512) < 0 &&
			vdev_broken(&disk.dev),
		"the disk wrote to a block that is not plugged");
	blk_start(&disk, &disk_queue, 0);
	blk_must_work(&disk, "after the abuse");
	must(PLUG, 64, 1, ACK);
	CHECK(rd64(base + SLOT) == 0, "old content in memory that was unplugged");

	/* A driver that begins anew. */
	vdev_reset(&d);
	start();
	CHECK(rd64(base + SLOT - 8) == 0x1122334455667788, "a reset took memory");
	must(UNPLUG_ALL, 0, 0, ACK);
	CHECK(rd64(base) == NOWHERE && rd64(base + SLOT) == NOWHERE,
		"memory after all was unplugged");
	for (unsigned i = 0; i < 20; i++) {
		must(PLUG, 7 + i, 1, ACK);
		wr64(base + (7 + i) * BLOCK, i + 1);
		CHECK(rd64(base + (7 + i) * BLOCK) == i + 1, "memory in round %u", i);
		must(UNPLUG, 7 + i, 1, ACK);
	}
	CHECK(ask(STATE, 0, 64, &state) == ACK && state == 1, "something is still plugged");
	return 0;
}
