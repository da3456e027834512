/* SPDX-License-Identifier: Apache-2.0 */
/* See drv.h. */
#include "drv.h"

#include <linux/virtio_mmio.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "dev.h"
#include "loop.h"
#include "num.h"

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

void drv_init(struct drv *d, const struct gmem *mem, struct dev *dev, uint64_t heap)
{
	*d = (struct drv){ .mem = mem, .dev = dev, .heap = heap, .heap_start = heap };
}

uint64_t drv_alloc(struct drv *d, size_t bytes)
{
	uint64_t gpa = d->heap;

	d->heap += ALIGN_UP(bytes, 4096);
	MUST(gmem_fill(d->mem, GPA(gpa), 0, ALIGN_UP(bytes, 4096)) == 0);
	return gpa;
}

void drv_read(struct drv *d, uint64_t off, void *data, unsigned len)
{
	memset(data, 0, len);
	d->dev->ops->read(d->dev, off, data, len);
}

void drv_write(struct drv *d, uint64_t off, const void *data, unsigned len)
{
	d->dev->ops->write(d->dev, off, data, len);
}

uint32_t drv_get(struct drv *d, uint64_t off)
{
	uint8_t raw[4];

	drv_read(d, off, raw, sizeof(raw));
	return num_get_le32(raw);
}

void drv_set(struct drv *d, uint64_t off, uint32_t v)
{
	drv_write(d, off, &v, sizeof(v));
}

uint32_t drv_status(struct drv *d)
{
	return drv_get(d, VIRTIO_MMIO_STATUS);
}

void drv_reset(struct drv *d)
{
	drv_set(d, VIRTIO_MMIO_STATUS, 0);
	d->heap = d->heap_start;
	memset(d->q, 0, sizeof(d->q));
}

uint32_t drv_negotiate(struct drv *d, uint64_t wanted)
{
	uint64_t offered;

	drv_set(d, VIRTIO_MMIO_STATUS, 1);
	drv_set(d, VIRTIO_MMIO_STATUS, 3);
	drv_set(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	offered = (uint64_t)drv_get(d, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	drv_set(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	offered |= drv_get(d, VIRTIO_MMIO_DEVICE_FEATURES);
	offered &= wanted | VIRTIO_BIT(VIRTIO_F_VERSION_1);
	drv_set(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	drv_set(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(offered >> 32));
	drv_set(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	drv_set(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)offered);
	drv_set(d, VIRTIO_MMIO_STATUS, 0xb);
	return drv_status(d);
}

void drv_queue(struct drv *d, unsigned q, uint16_t size)
{
	struct drv_queue *dq = &d->q[q];

	*dq = (struct drv_queue){ .size = size };
	dq->desc = drv_alloc(d, 16u * size);
	dq->avail = drv_alloc(d, 6u + 2u * size);
	dq->used = drv_alloc(d, 6u + 8u * size);
	drv_set(d, VIRTIO_MMIO_QUEUE_SEL, q);
	drv_set(d, VIRTIO_MMIO_QUEUE_NUM, size);
	drv_set(d, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)dq->desc);
	drv_set(d, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(dq->desc >> 32));
	drv_set(d, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)dq->avail);
	drv_set(d, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(dq->avail >> 32));
	drv_set(d, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)dq->used);
	drv_set(d, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(dq->used >> 32));
	drv_set(d, VIRTIO_MMIO_QUEUE_READY, 1);
}

uint32_t drv_start(struct drv *d, uint64_t wanted, unsigned n_queues, uint16_t size)
{
	MUST(drv_negotiate(d, wanted) == 0xb);
	for (unsigned q = 0; q < n_queues; q++)
		drv_queue(d, q, size);
	drv_set(d, VIRTIO_MMIO_STATUS, 0xf);
	return drv_status(d);
}

void drv_put16(const struct drv *d, uint64_t gpa, uint16_t v)
{
	MUST(gmem_store_u16_release(d->mem, GPA(gpa), v) == 0);
}

uint16_t drv_get16(const struct drv *d, uint64_t gpa)
{
	uint16_t v;

	MUST(gmem_load_u16_acquire(d->mem, GPA(gpa), &v) == 0);
	return v;
}

void drv_put8(const struct drv *d, uint64_t gpa, uint8_t v)
{
	MUST(gmem_write(d->mem, GPA(gpa), &v, 1) == 0);
}

uint8_t drv_get8(const struct drv *d, uint64_t gpa)
{
	uint8_t v;

	MUST(gmem_read(d->mem, GPA(gpa), &v, 1) == 0);
	return v;
}

void drv_desc(const struct drv *d, uint64_t table, unsigned i, uint64_t gpa, uint32_t len,
	unsigned flags, unsigned next)
{
	uint8_t raw[16];

	num_put_le64(raw, gpa);
	num_put_le32(raw + 8, len);
	num_put_le16(raw + 12, (uint16_t)flags);
	num_put_le16(raw + 14, (uint16_t)next);
	MUST(gmem_write(d->mem, GPA(table + 16ull * i), raw, sizeof(raw)) == 0);
}

void drv_publish(struct drv *d, unsigned q, uint16_t head)
{
	struct drv_queue *dq = &d->q[q];

	drv_put16(d, dq->avail + 4 + 2ull * (dq->avail_idx % dq->size), head);
	drv_put16(d, dq->avail + 2, ++dq->avail_idx);
}

uint16_t drv_add(struct drv *d, unsigned q, const struct drv_buf *bufs, unsigned n)
{
	struct drv_queue *dq = &d->q[q];
	uint16_t head = dq->next_desc;

	for (unsigned k = 0; k < n; k++) {
		unsigned i = (head + k) % dq->size;

		drv_desc(d, dq->desc, i, bufs[k].gpa, bufs[k].len,
			(bufs[k].in ? DRV_WRITE : 0) | (k + 1 < n ? DRV_NEXT : 0),
			(i + 1) % dq->size);
	}
	dq->next_desc = (uint16_t)((head + n) % dq->size);
	drv_publish(d, q, head);
	return head;
}

uint16_t drv_add_indirect(struct drv *d, unsigned q, const struct drv_buf *bufs, unsigned n)
{
	struct drv_queue *dq = &d->q[q];
	uint64_t table = drv_alloc(d, 16ull * n);
	uint16_t head = dq->next_desc;

	for (unsigned k = 0; k < n; k++)
		drv_desc(d, table, k, bufs[k].gpa, bufs[k].len,
			(bufs[k].in ? DRV_WRITE : 0) | (k + 1 < n ? DRV_NEXT : 0), k + 1);
	drv_desc(d, dq->desc, head, table, 16 * n, DRV_INDIRECT, 0);
	dq->next_desc = (uint16_t)((head + 1) % dq->size);
	drv_publish(d, q, head);
	return head;
}

void drv_kick(struct drv *d, unsigned q)
{
	drv_set(d, VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

bool drv_used(struct drv *d, unsigned q, uint32_t *ret_id, uint32_t *ret_len)
{
	struct drv_queue *dq = &d->q[q];
	uint8_t raw[8];

	if (dq->size == 0 || drv_get16(d, dq->used + 2) == dq->used_idx)
		return false;
	MUST(gmem_read(d->mem, GPA(dq->used + 4 + 8ull * (dq->used_idx % dq->size)), raw,
		     sizeof(raw)) == 0);
	dq->used_idx++;
	*ret_id = num_get_le32(raw);
	*ret_len = num_get_le32(raw + 4);
	return true;
}

static int dispatch(struct loop *l, int timeout_ms)
{
	struct pollfd p = { .fd = l->epollfd, .events = POLLIN };
	int n = poll(&p, 1, timeout_ms);

	MUST(n <= 0 || loop_poll(l, 0) == 0);
	return n;
}

void drv_poll(struct loop *l)
{
	while (dispatch(l, 0) > 0)
		;
}

bool drv_wait(struct drv *d, struct loop *l, unsigned q, uint32_t *ret_id, uint32_t *ret_len)
{
	uint64_t end = loop_now_ns() + 10 * NSEC_PER_SEC;

	while (!drv_used(d, q, ret_id, ret_len)) {
		if (loop_now_ns() > end)
			return false;
		dispatch(l, 100);
	}
	return true;
}
