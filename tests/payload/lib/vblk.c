/* SPDX-License-Identifier: Apache-2.0 */
/* The block device as payloads use it (virtio 1.2 section 5.2), see vdev.h. */
#include "vdev.h"

void blk_start(struct blk *b, struct virtq *q, uint64_t wanted)
{
	vdev_negotiate(&b->dev, wanted);
	virtq_init(q, &b->dev, 0, 0);
	vdev_ok(&b->dev);
	b->q = q;
	b->sectors = rd32(b->dev.base + REG_CONFIG) |
		     (uint64_t)rd32(b->dev.base + REG_CONFIG + 4) << 32;
}

int blk_do(struct blk *b, uint32_t type, uint64_t sector, void *data, uint32_t len)
{
	static struct blk_header h __attribute__((aligned(16)));
	static volatile uint8_t status;
	bool in = type == BLK_IN || type == BLK_GET_ID;
	struct seg segs[3] = { { &h, sizeof(h), false }, { data, len, in },
		{ (const void *)&status, 1, true } };
	uint32_t head, got;
	uint16_t want;

	h = (struct blk_header){ type, 0, sector };
	status = 0xaa;
	if (len == 0)
		segs[1] = segs[2];
	want = virtq_add(b->q, segs, len ? 3 : 2);
	virtq_publish(b->q, want);
	virtq_kick(b->q);
	if (!virtq_wait(b->q, &head, &got))
		return -1;
	CHECK(head == want, "used entry has head %u, not %u", head, want);
	CHECK(got >= 1 && got <= (in ? len : 0) + 1, "type %u: %u bytes written, %u possible", type,
		got, (in ? len : 0) + 1);
	if (status == BLK_OK) {
		b->reads += type == BLK_IN;
		b->read_bytes += type == BLK_IN ? len : 0;
		b->writes += type == BLK_OUT;
		b->written_bytes += type == BLK_OUT ? len : 0;
		b->flushes += type == BLK_FLUSH;
	}
	return status;
}

void blk_pattern(void *buf, uint32_t len, uint64_t sector, uint64_t salt)
{
	uint64_t *p = buf;
	uint64_t v = (sector << 32 ^ salt) * UINT64_C(0x9e3779b97f4a7c15);

	for (uint32_t i = 0; i < len / 8; i++)
		p[i] = v += UINT64_C(0x2545f4914f6cdd1d);
}

void blk_must_work(struct blk *b, const char *when)
{
	static uint64_t a[128], c[128];
	int r;

	r = blk_do(b, BLK_IN, 0, a, 512);
	CHECK(r == BLK_OK, "%s: reading sector 0 gave %d", when, r);
	r = blk_do(b, BLK_IN, 0, c, 1024);
	CHECK(r == BLK_OK, "%s: reading two sectors gave %d", when, r);
	CHECK(memcmp(a, c, 512) == 0, "%s: two reads differ", when);
}
