/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver that lies in its rings. Whatever it does to disk 0: the request is refused or the device
 * asks for a reset (as the table says), disk 1 works on, and after a reset disk 0 works again.
 */
#include "vdev.h"

enum verdict {
	BROKEN,	 /* DEVICE_NEEDS_RESET */
	REFUSED, /* the request comes back with an error status */
	EITHER,	 /* one of the two */
	IGNORED, /* nothing happens: no answer, no reset needed */
};

#define NOWHERE UINT64_C(0xd0000000)	      /* in the MMIO gap */
#define FAR	UINT64_C(0xfffffffffffff000)
#define HUGE	UINT32_C(0xffffffff)

static struct virtq q, other_q;
static struct blk victim, other;
static struct blk_header h __attribute__((aligned(16)));
static uint8_t data[4096] __attribute__((aligned(4096)));
static struct desc table[RING_MAX] __attribute__((aligned(4096)));
static volatile uint8_t status;

/* A correct read of one sector, which each case then spoils; three descriptors from `first` on. */
static uint16_t good(void)
{
	struct seg segs[3] = { { &h, sizeof(h), false }, { data, 512, true },
		{ (const void *)&status, 1, true } };

	h = (struct blk_header){ BLK_IN, 0, 0 };
	status = 0xaa;
	return virtq_add(&q, segs, 3);
}

static uint16_t good_indirect(void)
{
	struct seg segs[3] = { { &h, sizeof(h), false }, { data, 512, true },
		{ (const void *)&status, 1, true } };

	h = (struct blk_header){ BLK_IN, 0, 0 };
	status = 0xaa;
	return virtq_add_indirect(&q, segs, 3, table);
}

static struct desc *at(uint16_t head, unsigned n)
{
	return &q.desc[(head + n) % q.size];
}

static void loop_self(void)
{
	uint16_t i = good();

	at(i, 0)->next = i;
	virtq_publish(&q, i);
}

static void loop_long(void)
{
	uint16_t i = good();

	at(i, 2)->flags |= DESC_NEXT;
	at(i, 2)->next = i;
	virtq_publish(&q, i);
}

static void next_beyond(void)
{
	uint16_t i = good();

	at(i, 0)->next = (uint16_t)q.size;
	virtq_publish(&q, i);
}

static void next_ffff(void)
{
	uint16_t i = good();

	at(i, 1)->next = 0xffff;
	virtq_publish(&q, i);
}

static void head_beyond(void)
{
	(void)good();
	virtq_publish(&q, (uint16_t)q.size);
}

static void head_ffff(void)
{
	(void)good();
	virtq_publish(&q, 0xffff);
}

static void spoil_addr(unsigned n, uint64_t addr)
{
	uint16_t i = good();

	at(i, n)->addr = addr;
	virtq_publish(&q, i);
}

static void header_nowhere(void)
{
	spoil_addr(0, NOWHERE);
}

static void data_nowhere(void)
{
	spoil_addr(1, NOWHERE);
}

static void data_wraps(void)
{
	spoil_addr(1, FAR + 0xf00);
}

static void status_nowhere(void)
{
	spoil_addr(2, NOWHERE);
}

static void data_on_devices(void)
{
	spoil_addr(1, victim.dev.base);
}

static void data_huge(void)
{
	uint16_t i = good();

	at(i, 1)->len = HUGE;
	virtq_publish(&q, i);
}

static void data_across_end(void)
{
	uint16_t i = good();

	at(i, 1)->addr = (boot_number("expect.mib", 128) << 20) - 256;
	virtq_publish(&q, i);
}

static void data_sum_huge(void)
{
	struct seg segs[3] = { { &h, sizeof(h), false }, { data, 512, true },
		{ (const void *)&status, 1, true } };
	uint16_t i;

	h = (struct blk_header){ BLK_IN, 0, 0 };
	i = virtq_add_indirect(&q, segs, 3, table);
	for (unsigned n = 1; n < 100; n++) /* 99 times 100 MiB of RAM: more than 32 bits */
		table[n] = (struct desc){ 0x100000, 100 << 20, DESC_WRITE | DESC_NEXT,
			(uint16_t)(n + 1) };
	table[100] = (struct desc){ (uint64_t)&status, 1, DESC_WRITE, 0 };
	q.desc[i].len = 101 * 16;
	virtq_publish(&q, i);
}

static void odd_length(void)
{
	uint16_t i = good();

	at(i, 1)->len = 511;
	virtq_publish(&q, i);
}

static void header_short(void)
{
	uint16_t i = good();

	at(i, 0)->len = 15;
	virtq_publish(&q, i);
}

static void header_writable(void)
{
	uint16_t i = good();

	at(i, 0)->flags |= DESC_WRITE;
	virtq_publish(&q, i);
}

static void status_read_only(void)
{
	uint16_t i = good();

	at(i, 2)->flags = 0;
	virtq_publish(&q, i);
}

static void status_missing(void)
{
	uint16_t i = good();

	at(i, 0)->flags = 0;
	virtq_publish(&q, i);
}

static void all_empty(void)
{
	uint16_t i = good();

	for (unsigned n = 0; n < 3; n++)
		at(i, n)->len = 0;
	virtq_publish(&q, i);
}

static void write_then_read(void)
{
	uint16_t i = good();

	at(i, 1)->flags = DESC_WRITE | DESC_NEXT;
	at(i, 2)->flags = DESC_NEXT;
	at(i, 2)->next = (uint16_t)((i + 3U) % q.size);
	*at(i, 3) = (struct desc){ (uint64_t)&status, 1, DESC_WRITE, 0 };
	virtq_publish(&q, i);
}

static void indirect_length(void)
{
	uint16_t i = good_indirect();

	q.desc[i].len = 47;
	virtq_publish(&q, i);
}

static void indirect_empty(void)
{
	uint16_t i = good_indirect();

	q.desc[i].len = 0;
	virtq_publish(&q, i);
}

static void indirect_huge(void)
{
	uint16_t i = good_indirect();

	q.desc[i].len = HUGE & ~15U;
	virtq_publish(&q, i);
}

static void indirect_nowhere(void)
{
	uint16_t i = good_indirect();

	q.desc[i].addr = NOWHERE;
	virtq_publish(&q, i);
}

static void indirect_in_indirect(void)
{
	uint16_t i = good_indirect();

	table[1].flags |= DESC_INDIRECT;
	virtq_publish(&q, i);
}

static void indirect_and_next(void)
{
	uint16_t i = good_indirect();

	q.desc[i].flags |= DESC_NEXT;
	q.desc[i].next = (uint16_t)((i + 1U) % q.size);
	virtq_publish(&q, i);
}

static void indirect_next_beyond(void)
{
	uint16_t i = good_indirect();

	table[0].next = 3;
	virtq_publish(&q, i);
}

static void indirect_loop(void)
{
	uint16_t i = good_indirect();

	table[1].next = 0;
	virtq_publish(&q, i);
}

static void chain_too_long(void)
{
	struct seg segs[3] = { { &h, sizeof(h), false }, { data, 512, true },
		{ (const void *)&status, 1, true } };
	uint16_t i = virtq_add_indirect(&q, segs, 3, table);

	for (unsigned n = 1; n < 255; n++)
		table[n] = (struct desc){ (uint64_t)data, 512, DESC_WRITE | DESC_NEXT,
			(uint16_t)(n + 1) };
	table[255] = (struct desc){ (uint64_t)&status, 1, DESC_WRITE, 0 };
	q.desc[i].len = 256 * 16;
	virtq_publish(&q, i);
}

static void avail_jump(void)
{
	uint16_t i = good();

	for (unsigned n = 0; n < q.size; n++)
		q.avail.entries[n] = i;
	q.avail.idx = (uint16_t)(q.avail.idx + q.size + 1);
}

static void avail_back(void)
{
	(void)good();
	q.avail.idx = (uint16_t)(q.avail.idx - 1);
}

static void used_index(void) /* the device's own: it may not read it back */
{
	uint16_t i = good();

	q.used.idx = 0x1234;
	q.last_used = 0x1234;
	virtq_publish(&q, i);
}

static void request_type(void)
{
	uint16_t i = good();

	h.type = 0xdeadbeef;
	virtq_publish(&q, i);
}

static void sector_wraps(void)
{
	uint16_t i = good();

	h.sector = UINT64_MAX;
	virtq_publish(&q, i);
}

static void doorbell_beyond(void)
{
	(void)good();
	wr32(victim.dev.base + REG_NOTIFY, 1000);
	wr32(victim.dev.base + REG_NOTIFY, UINT32_MAX);
}

static void doorbell_empty(void)
{
	for (unsigned i = 0; i < 200; i++)
		virtq_kick(&q);
}

static const struct {
	const char *name;
	void (*spoil)(void);
	enum verdict verdict;
} cases[] = {
	{ "descriptor loop onto itself", loop_self, BROKEN },
	{ "descriptor loop", loop_long, BROKEN },
	{ "next beyond the table", next_beyond, BROKEN },
	{ "next 0xffff", next_ffff, BROKEN },
	{ "head beyond the table", head_beyond, BROKEN },
	{ "head 0xffff", head_ffff, BROKEN },
	{ "header outside RAM", header_nowhere, BROKEN },
	{ "data outside RAM", data_nowhere, BROKEN },
	{ "data across the end of the address space", data_wraps, BROKEN },
	{ "data on the device's own registers", data_on_devices, BROKEN },
	{ "data across the end of RAM", data_across_end, BROKEN },
	{ "status outside RAM", status_nowhere, BROKEN },
	{ "data of 4 GiB", data_huge, BROKEN },
	{ "chain of more than 4 GiB", data_sum_huge, BROKEN },
	{ "data of 511 bytes", odd_length, EITHER },
	{ "header of 15 bytes", header_short, EITHER },
	{ "header writable", header_writable, EITHER },
	{ "status read-only", status_read_only, BROKEN },
	{ "header alone", status_missing, BROKEN },
	{ "empty descriptors", all_empty, BROKEN },
	{ "readable after writable", write_then_read, BROKEN },
	{ "indirect table of 47 bytes", indirect_length, BROKEN },
	{ "indirect table of 0 bytes", indirect_empty, BROKEN },
	{ "indirect table of 4 GiB", indirect_huge, BROKEN },
	{ "indirect table outside RAM", indirect_nowhere, BROKEN },
	{ "indirect in indirect", indirect_in_indirect, BROKEN },
	{ "indirect with next", indirect_and_next, BROKEN },
	{ "indirect next beyond its table", indirect_next_beyond, BROKEN },
	{ "loop in an indirect table", indirect_loop, BROKEN },
	{ "chain of 256 segments", chain_too_long, BROKEN },
	{ "avail index jumps by more than the size", avail_jump, BROKEN },
	{ "avail index goes back", avail_back, BROKEN },
	{ "used index overwritten", used_index, IGNORED },
	{ "unknown request type", request_type, REFUSED },
	{ "last sector number of all", sector_wraps, REFUSED },
	{ "doorbells of queues that do not exist", doorbell_beyond, IGNORED },
	{ "doorbells without requests", doorbell_empty, IGNORED },
};

/* True if the request came back with an error, false after the wait or when the device broke. */
static bool refused(bool patient)
{
	uint64_t end = tsc() + (patient ? PATIENCE : PATIENCE / 200);

	while (tsc() < end && !(vdev_status(&victim.dev) & STATUS_NEEDS_RESET)) {
		if (status == BLK_IOERR || status == BLK_UNSUPP)
			return true;
		pause();
	}
	return false;
}

static void judge(const char *name, enum verdict want)
{
	bool said_no, broken;

	if (want == BROKEN) {
		CHECK(vdev_broken(&victim.dev), "%s: no DEVICE_NEEDS_RESET, status byte %x", name,
			status);
		CHECK(status == 0xaa || status == BLK_IOERR, "%s: status byte %x", name, status);
		return;
	}
	said_no = refused(want != IGNORED);
	broken = vdev_status(&victim.dev) & STATUS_NEEDS_RESET;
	CHECK(want == IGNORED ? !broken : said_no || broken, "%s: answered %x, device status %x",
		name, status, vdev_status(&victim.dev));
	CHECK(want != REFUSED || !broken, "%s: the device needs a reset", name);
}

int main(void)
{
	vdev_find(&victim.dev, 2, 0);
	vdev_find(&other.dev, 2, 1);
	blk_start(&other, &other_q, F_EVENT_IDX | F_INDIRECT);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		console_print("%s\n", cases[i].name);
		blk_start(&victim, &q, (i & 1 ? F_EVENT_IDX : 0) | F_INDIRECT);
		blk_must_work(&victim, cases[i].name);
		status = 0xaa;
		cases[i].spoil();
		barrier();
		virtq_kick(&q);
		judge(cases[i].name, cases[i].verdict);
		blk_must_work(&other, cases[i].name);
	}
	blk_start(&victim, &q, F_INDIRECT);
	blk_must_work(&victim, "at the end");
	return 0;
}
