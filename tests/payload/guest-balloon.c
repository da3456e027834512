/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon: pages that are given up or reported are zero when they are touched again, which
 * shows that they have left the guest's page tables too; their neighbours keep their content, and
 * page numbers that are not RAM hurt nobody.
 */
#include "vdev.h"

#define PAGE	    4096u
#define PAGES	    16u
#define F_REPORTING (UINT64_C(1) << 5)

static struct virtq inflate, deflate, report;
static struct vdev d;
static uint8_t pages[PAGES][PAGE] __attribute__((aligned(4096)));

static void write_all(uint8_t salt)
{
	for (unsigned i = 0; i < PAGES; i++) {
		wr64((uint64_t)pages[i], salt + i);
		wr64((uint64_t)pages[i] + PAGE - 8, salt + i);
	}
}

/* Bit n of `gone`: page n is zero; the others are as write_all() left them. */
static void check_all(uint8_t salt, uint32_t gone, const char *when)
{
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t want = gone & 1u << i ? 0 : salt + i;
		uint64_t first = rd64((uint64_t)pages[i]);
		uint64_t last = rd64((uint64_t)pages[i] + PAGE - 8);

		CHECK(first == want && last == want, "%s: page %u has %lx and %lx", when, i, first,
			last);
	}
}

static void send(struct virtq *q, const struct seg *segs, unsigned n)
{
	uint32_t head, len;

	virtq_publish(q, virtq_add(q, segs, n));
	virtq_kick(q);
	CHECK(virtq_wait(q, &head, &len), "no answer");
	CHECK(len == 0, "%u bytes were written", len);
}

static uint32_t pfn(unsigned i)
{
	return (uint32_t)((uint64_t)pages[i] / PAGE);
}

int main(void)
{
	uint32_t list[] = { pfn(2), pfn(3), 0xc0001, pfn(5), pfn(4), 0xffffffff, pfn(9) };
	struct seg names = { list, sizeof(list), false };

	vdev_find(&d, 5, 0);
	vdev_negotiate(&d, F_REPORTING | F_EVENT_IDX);
	CHECK(d.features & F_REPORTING, "no reporting");
	virtq_init(&inflate, &d, 0, 0);
	virtq_init(&deflate, &d, 1, 0);
	virtq_init(&report, &d, 2, 0); /* the next one, without statistics */
	vdev_ok(&d);
	CHECK(rd32(d.base + REG_CONFIG) == 5 * 256, "target %u", rd32(d.base + REG_CONFIG));
	for (unsigned round = 0; round < 3; round++) {
		uint8_t salt = 1 + 16 * round;

		write_all(salt);
		send(&inflate, &names, 1);
		check_all(salt, 0x23c, "inflated");
		send(&deflate, &names, 1);
		write_all(salt + 1);
		check_all(salt + 1, 0, "deflated");
		send(&report, (struct seg[]){ { pages[0], 2 * PAGE, true },
			{ pages[7] + 1, 2 * PAGE, true } }, 2);
		check_all(salt + 1, 0x103, "reported");
	}
	wr32(d.base + REG_CONFIG + 4, 4711);
	CHECK(rd32(d.base + REG_CONFIG + 4) == 4711, "actual");
	CHECK(vdev_status(&d) == 0xf, "status %x", vdev_status(&d));
	return 0;
}
