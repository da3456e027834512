/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block device 0, as its driver sees it: read, write, flush, discard, write-zeroes, get-id, errors;
 * by polling and by interrupt, with EVENT_IDX, indirect descriptors and every queue. Options:
 * expect.sectors=N, expect.ro, expect.queues=N, no.discard (the backing store cannot)
 */
#include "vdev.h"

#define ALL                                                                                        \
	(F_INDIRECT | F_EVENT_IDX | BLK_F_RO | BLK_F_FLUSH | BLK_F_MQ | BLK_F_DISCARD |            \
		BLK_F_WRITE_ZEROES)

static struct virtq queues[8];
static struct blk b;
static uint8_t buf[8192] __attribute__((aligned(4096))), want[8192];
static volatile uint32_t irqs;

struct range {
	uint64_t sector;
	uint32_t sectors, flags;
};

static void write_and_check(uint64_t sector, uint32_t len, uint64_t salt)
{
	int r;

	blk_pattern(want, len, sector, salt);
	memcpy(buf, want, len);
	r = blk_do(&b, BLK_OUT, sector, buf, len);
	CHECK(r == BLK_OK, "write of %u bytes to sector %lu: %d", len, sector, r);
	memset(buf, 0xee, len);
	r = blk_do(&b, BLK_IN, sector, buf, len);
	CHECK(r == BLK_OK, "read of %u bytes from sector %lu: %d", len, sector, r);
	CHECK(memcmp(buf, want, len) == 0, "sector %lu: read is not what was written", sector);
}

static void refused(uint32_t type, uint64_t sector, uint32_t len, int otherwise, const char *what)
{
	int r = blk_do(&b, type, sector, buf, len);

	CHECK(r == BLK_IOERR || r == otherwise, "%s: status %d", what, r);
}

static void read_only(void)
{
	CHECK(b.dev.features & BLK_F_RO, "RO is not offered");
	blk_must_work(&b, "read-only disk");
	refused(BLK_OUT, 0, 512, BLK_IOERR, "write to a read-only disk");
	blk_must_work(&b, "after a refused write");
}

static void range_request(uint32_t type, const char *what)
{
	struct range *r = (struct range *)buf;
	int s;

	write_and_check(16, 4096, 3);
	memset(buf, 0, 512);
	*r = (struct range){ 16, 8, 0 };
	s = blk_do(&b, type, 0, buf, sizeof(*r));
	CHECK(s == BLK_OK, "%s: status %d", what, s);
	s = blk_do(&b, BLK_IN, 16, buf, 4096);
	CHECK(s == BLK_OK, "read after %s: status %d", what, s);
	if (type == BLK_WRITE_ZEROES)
		for (unsigned i = 0; i < 4096; i++)
			CHECK(buf[i] == 0, "%s: byte %u is %x", what, i, buf[i]);
	*r = (struct range){ b.sectors - 1, 2, 0 };
	refused(type, 0, sizeof(*r), BLK_IOERR, "a range beyond the end");
	*r = (struct range){ UINT64_MAX - 1, 4, 0 };
	refused(type, 0, sizeof(*r), BLK_IOERR, "a range that wraps");
}

static void requests(void)
{
	int r;

	write_and_check(0, 512, 1);
	write_and_check(1, 4096, 1);
	write_and_check(b.sectors - 1, 512, 1);
	write_and_check(7, 8192, 2);
	CHECK(b.dev.features & BLK_F_FLUSH, "FLUSH is not offered");
	r = blk_do(&b, BLK_FLUSH, 0, NULL, 0);
	CHECK(r == BLK_OK, "flush: status %d", r);
	memset(buf, 0xee, 20);
	r = blk_do(&b, BLK_GET_ID, 0, buf, 20);
	CHECK(r == BLK_OK, "get id: status %d", r);
	CHECK(buf[0] != 0xee && buf[0] != 0, "get id: no id");
	console_print("id '%s'\n", (const char *)buf);
	if (b.dev.features & BLK_F_DISCARD && !boot_has("no.discard"))
		range_request(BLK_DISCARD, "discard");
	if (b.dev.features & BLK_F_WRITE_ZEROES)
		range_request(BLK_WRITE_ZEROES, "write zeroes");
	refused(BLK_IN, b.sectors, 512, BLK_IOERR, "read beyond the end");
	refused(BLK_IN, b.sectors - 1, 1024, BLK_IOERR, "read across the end");
	refused(BLK_OUT, UINT64_MAX / 512, 512, BLK_IOERR, "write to the last sector of all");
	refused(99, 0, 512, BLK_UNSUPP, "unknown request");
	blk_must_work(&b, "after refused requests");
}

/* n reads of one sector each, published at once, in one kick. */
static void batch(struct virtq *q, unsigned n, bool indirect)
{
	static struct blk_header h[16] __attribute__((aligned(16)));
	static uint8_t data[16][512], status[16];
	static struct desc tables[16][3] __attribute__((aligned(16)));
	bool seen[RING_MAX] = { false };
	uint32_t head;

	for (unsigned i = 0; i < n; i++) {
		struct seg segs[3] = { { &h[i], sizeof(h[i]), false }, { data[i], 512, true },
			{ &status[i], 1, true } };

		h[i] = (struct blk_header){ BLK_IN, 0, i };
		status[i] = 0xaa;
		virtq_publish(q, indirect ? virtq_add_indirect(q, segs, 3, tables[i]) :
					    virtq_add(q, segs, 3));
	}
	virtq_kick(q);
	for (unsigned i = 0; i < n; i++) {
		CHECK(virtq_wait(q, &head, NULL), "queue %u: %u of %u requests came back", q->index,
			i, n);
		CHECK(head < RING_MAX && !seen[head], "queue %u: head %u twice", q->index, head);
		seen[head] = true;
	}
	for (unsigned i = 0; i < n; i++)
		CHECK(*(volatile uint8_t *)&status[i] == BLK_OK, "queue %u: status %u", q->index,
			status[i]);
	b.reads += n;
	b.read_bytes += 512 * n;
}

static void on_irq(void)
{
	uint32_t isr = rd32(b.dev.base + REG_IRQ_STATUS);

	wr32(b.dev.base + REG_IRQ_ACK, isr);
	irqs++;
}

static void interrupts(void)
{
	struct virtq *q = &queues[0];
	uint64_t end;
	uint32_t before;

	irq_init();
	irq_route(b.dev.gsi, 40, on_irq);
	irq_window();
	/* EVENT_IDX: an interrupt for the next completion, then none for a distant index. */
	before = irqs;
	*virtq_used_event(q) = q->last_used;
	barrier();
	batch(q, 1, false);
	for (end = tsc() + PATIENCE; irqs == before && tsc() < end;)
		irq_window();
	CHECK(irqs == before + 1, "%u interrupts for one request", irqs - before);
	before = irqs;
	*virtq_used_event(q) = (uint16_t)(q->last_used + 100);
	barrier();
	batch(q, 8, false);
	irq_window();
	CHECK(irqs == before, "%u interrupts that were not wanted", irqs - before);
	*virtq_used_event(q) = (uint16_t)(q->last_used + 7);
	barrier();
	batch(q, 8, true);
	for (end = tsc() + PATIENCE; irqs == before && tsc() < end;)
		irq_window();
	CHECK(irqs == before + 1, "%u interrupts for the last of eight", irqs - before);
	for (end = tsc() + PATIENCE; *virtq_avail_event(q) != q->avail.idx && tsc() < end;)
		pause();
	CHECK(*virtq_avail_event(q) == q->avail.idx, "avail_event %u, avail index %u",
		*virtq_avail_event(q), q->avail.idx);
	irq_mask(b.dev.gsi);
}

int main(void)
{
	unsigned n_queues;

	vdev_find(&b.dev, 2, 0);
	vdev_negotiate(&b.dev, ALL);
	n_queues = b.dev.features & BLK_F_MQ ? rd16(b.dev.base + REG_CONFIG + 34) : 1;
	CHECK(n_queues == boot_number("expect.queues", n_queues), "%u queues", n_queues);
	for (unsigned i = 0; i < n_queues && i < 8; i++)
		virtq_init(&queues[i], &b.dev, i, i == 1 ? 16 : 0);
	vdev_ok(&b.dev);
	b.q = &queues[0];
	b.sectors = rd64(b.dev.base + REG_CONFIG);
	CHECK(b.sectors == boot_number("expect.sectors", b.sectors), "%lu sectors", b.sectors);
	if (boot_has("expect.ro")) {
		read_only();
		return 0;
	}
	CHECK(!(b.dev.features & BLK_F_RO), "RO is offered");
	requests();
	for (unsigned i = 0; i < n_queues && i < 8; i++) {
		batch(&queues[i], 5, false);
		batch(&queues[i], 5, true);
	}
	interrupts();
	/* More requests than the ring has entries, so that every index wraps. */
	for (unsigned i = 0; i < 110; i++)
		batch(&queues[0], 5, i & 1);
	console_print("%u queues, %lu sectors\n", n_queues, b.sectors);
	console_print("count reads %lu\ncount read_bytes %lu\n", b.reads, b.read_bytes);
	console_print("count writes %lu\ncount written_bytes %lu\n", b.writes, b.written_bytes);
	console_print("count flushes %lu\n", b.flushes);
	return 0;
}
