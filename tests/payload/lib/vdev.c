/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio-mmio driver of payloads, see vdev.h. */
#include "vdev.h"

void vdev_at(struct vdev *d, unsigned slot)
{
	d->base = boot_number("mmio", 0xc0001000) + slot * boot_number("mmio.step", 0x1000);
	d->gsi = (unsigned)boot_number("gsi", 5) + slot;
}

void vdev_find(struct vdev *d, uint32_t device_id, unsigned n)
{
	for (unsigned slot = 0; slot < 18; slot++) {
		vdev_at(d, slot);
		if (rd32(d->base + REG_MAGIC) == 0x74726976 &&
			rd32(d->base + REG_DEVICE_ID) == device_id && n-- == 0)
			return;
	}
	fail("no device of kind %u", device_id);
}

uint32_t vdev_status(const struct vdev *d)
{
	return rd32(d->base + REG_STATUS);
}

/* Section 4.2.2.1 has the driver read back 0: the reset may wait for requests in flight. */
void vdev_reset(struct vdev *d)
{
	uint64_t end = tsc() + PATIENCE;

	wr32(d->base + REG_STATUS, 0);
	while (vdev_status(d) != 0)
		CHECK(tsc() < end, "reset: status stays %x", vdev_status(d));
	d->features = 0;
}

uint64_t vdev_offered(const struct vdev *d)
{
	uint64_t f;

	wr32(d->base + REG_FEATURES_SEL, 1);
	f = (uint64_t)rd32(d->base + REG_FEATURES) << 32;
	wr32(d->base + REG_FEATURES_SEL, 0);
	return f | rd32(d->base + REG_FEATURES);
}

void vdev_negotiate(struct vdev *d, uint64_t wanted)
{
	CHECK(rd32(d->base + REG_VERSION) == 2, "version %u", rd32(d->base + REG_VERSION));
	vdev_reset(d);
	wr32(d->base + REG_STATUS, STATUS_ACKNOWLEDGE);
	wr32(d->base + REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	d->features = vdev_offered(d) & (wanted | F_VERSION_1);
	CHECK(d->features & F_VERSION_1, "VERSION_1 is not offered");
	wr32(d->base + REG_DRIVER_SEL, 0);
	wr32(d->base + REG_DRIVER, (uint32_t)d->features);
	wr32(d->base + REG_DRIVER_SEL, 1);
	wr32(d->base + REG_DRIVER, (uint32_t)(d->features >> 32));
	wr32(d->base + REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	CHECK(vdev_status(d) & STATUS_FEATURES_OK, "FEATURES_OK did not stay: features %lx",
		d->features);
}

void vdev_ok(struct vdev *d)
{
	wr32(d->base + REG_STATUS,
		STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
	CHECK(vdev_status(d) & STATUS_DRIVER_OK, "DRIVER_OK did not stay: status %x",
		vdev_status(d));
}

bool vdev_broken(const struct vdev *d)
{
	uint64_t end = tsc() + PATIENCE;

	while (!(vdev_status(d) & STATUS_NEEDS_RESET) && tsc() < end)
		pause();
	return vdev_status(d) & STATUS_NEEDS_RESET;
}

static void set64(struct vdev *d, unsigned reg, uint64_t v)
{
	wr32(d->base + reg, (uint32_t)v);
	wr32(d->base + reg + 4, (uint32_t)(v >> 32));
}

void virtq_init(struct virtq *q, struct vdev *d, unsigned index, unsigned size)
{
	unsigned max;

	wr32(d->base + REG_QUEUE_SEL, index);
	CHECK(rd32(d->base + REG_QUEUE_READY) == 0, "queue %u is ready already", index);
	max = rd32(d->base + REG_QUEUE_MAX);
	CHECK(max > 0, "there is no queue %u", index);
	if (max > RING_MAX)
		max = RING_MAX;
	memset(q, 0, sizeof(*q));
	q->dev = d;
	q->index = index;
	q->size = size && size < max ? size : max;
	wr32(d->base + REG_QUEUE_NUM, q->size);
	set64(d, REG_QUEUE_DESC, (uint64_t)q->desc);
	set64(d, REG_QUEUE_DRIVER, (uint64_t)&q->avail);
	set64(d, REG_QUEUE_DEVICE, (uint64_t)&q->used);
	wr32(d->base + REG_QUEUE_READY, 1);
}

static uint16_t take(struct virtq *q)
{
	uint16_t i = q->next_desc;

	q->next_desc = (uint16_t)((i + 1U) % q->size);
	return i;
}

uint16_t virtq_add(struct virtq *q, const struct seg *segs, unsigned n)
{
	uint16_t head = q->next_desc;

	for (unsigned i = 0; i < n; i++) {
		struct desc *d = &q->desc[take(q)];

		d->addr = (uint64_t)segs[i].p;
		d->len = segs[i].len;
		d->flags = (uint16_t)((segs[i].write ? DESC_WRITE : 0) |
				      (i + 1 < n ? DESC_NEXT : 0));
		d->next = q->next_desc;
	}
	return head;
}

uint16_t virtq_add_indirect(struct virtq *q, const struct seg *segs, unsigned n, struct desc *table)
{
	uint16_t head = take(q);

	for (unsigned i = 0; i < n; i++)
		table[i] = (struct desc){ (uint64_t)segs[i].p, segs[i].len,
			(uint16_t)((segs[i].write ? DESC_WRITE : 0) | (i + 1 < n ? DESC_NEXT : 0)),
			(uint16_t)(i + 1) };
	q->desc[head] = (struct desc){ (uint64_t)table, n * 16, DESC_INDIRECT, 0 };
	return head;
}

void virtq_publish(struct virtq *q, uint16_t head)
{
	q->avail.entries[q->avail.idx % q->size] = head;
	barrier();
	q->avail.idx = (uint16_t)(q->avail.idx + 1);
	barrier();
}

void virtq_kick(struct virtq *q)
{
	wr32(q->dev->base + REG_NOTIFY, q->index);
}

bool virtq_more(const struct virtq *q)
{
	return q->used.idx != q->last_used;
}

bool virtq_wait(struct virtq *q, uint32_t *ret_head, uint32_t *ret_len)
{
	uint64_t end = tsc() + PATIENCE;
	unsigned slot;

	while (!virtq_more(q)) {
		if (tsc() > end)
			return false;
		pause();
	}
	barrier();
	slot = q->last_used % q->size;
	if (ret_head)
		*ret_head = q->used.entries[slot].id;
	if (ret_len)
		*ret_len = q->used.entries[slot].len;
	q->last_used++;
	return true;
}

volatile uint16_t *virtq_used_event(struct virtq *q)
{
	return &q->avail.entries[q->size];
}

volatile uint16_t *virtq_avail_event(struct virtq *q)
{
	return (volatile uint16_t *)&q->used.entries[q->size];
}
