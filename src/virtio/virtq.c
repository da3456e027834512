/* SPDX-License-Identifier: Apache-2.0 */
/* The split virtqueue, see virtq.h. Section numbers: virtio 1.2. */
#include "virtq.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "num.h"
#include "state.h"

/* 2.7.5 */
#define DESC_BYTES    16u
#define DESC_NEXT     1u
#define DESC_WRITE    2u
#define DESC_INDIRECT 4u

/* 2.7.6, 2.7.8: both rings begin with flags and idx. */
#define RING_FLAGS	   0u
#define RING_IDX	   2u
#define RING_ENTRIES	   4u
#define AVAIL_NO_INTERRUPT 1u
#define USED_NO_NOTIFY	   1u
#define AVAIL_ENTRY_BYTES  2u
#define USED_ENTRY_BYTES   8u

struct desc {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags, next;
};

static struct gpa avail_at(const struct virtq *q, uint64_t off)
{
	return GPA(q->avail_gpa + off);
}

static struct gpa used_at(const struct virtq *q, uint64_t off)
{
	return GPA(q->used_gpa + off);
}

void virtq_init(struct virtq *q, const struct gmem *mem, uint16_t size_max)
{
	assert(IS_POW2(size_max) && size_max <= 32768);
	*q = (struct virtq){ .mem = mem, .size_max = size_max };
}

void virtq_reset(struct virtq *q)
{
	virtq_init(q, q->mem, q->size_max);
}

int virtq_areas(const struct virtq *q, struct iovec ret[3])
{
	size_t avail_bytes = RING_ENTRIES + AVAIL_ENTRY_BYTES * (size_t)q->size + 2;
	size_t used_bytes = RING_ENTRIES + USED_ENTRY_BYTES * (size_t)q->size + 2;

	if (gmem_slice(q->mem, GPA(q->desc_gpa), DESC_BYTES * (size_t)q->size, &ret[0]) < 0 ||
		gmem_slice(q->mem, GPA(q->avail_gpa), avail_bytes, &ret[1]) < 0 ||
		gmem_slice(q->mem, GPA(q->used_gpa), used_bytes, &ret[2]) < 0)
		return -EFAULT;
	return 0;
}

void virtq_resume(struct virtq *q, uint16_t next_avail)
{
	q->next_avail = q->next_used = q->signalled = next_avail;
	q->signalled_valid = false;
	q->kicks_off = true; /* it may have left NO_NOTIFY behind: the next kicks_on clears it */
}

int virtq_configure(struct virtq *q, uint64_t features)
{
	struct iovec areas[3];

	if (!q->ready || !IS_POW2(q->size) || q->size > q->size_max)
		return -EINVAL;
	if (q->desc_gpa % 16 != 0 || q->avail_gpa % 2 != 0 || q->used_gpa % 4 != 0)
		return -EINVAL;
	if (virtq_areas(q, areas) < 0)
		return -EFAULT;
	q->event_idx = features >> VIRTQ_F_EVENT_IDX & 1;
	q->indirect = features >> VIRTQ_F_INDIRECT & 1;
	q->signalled = q->next_used;
	q->signalled_valid = false;
	q->live = true;
	return 0;
}

static int read_desc(const struct virtq *q, uint64_t table, uint16_t i, struct desc *ret)
{
	uint8_t raw[DESC_BYTES];

	if (gmem_read(q->mem, GPA(table + DESC_BYTES * (uint64_t)i), raw, sizeof(raw)) < 0)
		return -EFAULT;
	*ret = (struct desc){
		.gpa = num_get_le64(raw),
		.len = num_get_le32(raw + 8),
		.flags = num_get_le16(raw + 12),
		.next = num_get_le16(raw + 14),
	};
	return 0;
}

static int broken(struct virtq_chain *c, const char *fault)
{
	c->fault = fault;
	return -EBADMSG;
}

static int unmapped(struct virtq_chain *c, const char *fault)
{
	c->fault = fault;
	return -EFAULT;
}

/* Adds what d describes to the chain. */
static int add_segment(const struct virtq *q, struct virtq_chain *c, const struct desc *d, bool *in)
{
	struct iovec *seg = &c->segs[c->n_out + c->n_in];
	int r;

	if (d->flags & DESC_WRITE)
		*in = true;
	else if (*in)
		return broken(c, "readable descriptor behind a writable one");
	if (d->len == 0)
		return 0;
	if (c->n_out + c->n_in == LIMIT_SEGS)
		return broken(c, "too many descriptors in a request");
	if (c->out_len + c->in_len + d->len > UINT32_MAX)
		return broken(c, "request of 4 GiB or more");
	if (d->flags & DESC_WRITE)
		r = gmem_slice(q->mem, GPA(d->gpa), d->len, seg);
	else
		r = gmem_view(q->mem, GPA(d->gpa), d->len, seg);
	if (r < 0)
		return unmapped(c, "buffer outside memory");
	if (*in) {
		c->n_in++;
		c->in_len += d->len;
	} else {
		c->n_out++;
		c->out_len += d->len;
	}
	return 0;
}

/*
 * Checks the descriptor that points to a table of its own (2.7.5.3) and returns the table's size.
 */
static int enter_table(
	const struct virtq *q, struct virtq_chain *c, const struct desc *d, bool nested)
{
	if (!q->indirect)
		return broken(c, "indirect descriptor without the feature");
	if (nested)
		return broken(c, "indirect descriptor in an indirect table");
	if (d->flags & DESC_NEXT)
		return broken(c, "indirect descriptor with a next one");
	if (d->len == 0 || d->len % DESC_BYTES != 0)
		return broken(c, "indirect table is not whole descriptors");
	if (d->len / DESC_BYTES > LIMIT_QUEUE_SIZE)
		return broken(c, "indirect table too large");
	if (!gmem_contains(q->mem, GPA(d->gpa), d->len))
		return unmapped(c, "indirect table outside memory");
	return (int)(d->len / DESC_BYTES);
}

/* Follows the chain from `head`; at most one step per entry of the table it is in. */
static int walk(const struct virtq *q, uint16_t head, struct virtq_chain *c)
{
	uint64_t table = q->desc_gpa;
	unsigned entries = q->size, left = entries;
	bool nested = false, in = false;
	uint16_t i = head;
	struct desc d;
	int r;

	for (;;) {
		if (i >= entries)
			return broken(c, "descriptor index outside the table");
		if (left-- == 0)
			return broken(c, "descriptors form a loop");
		if (read_desc(q, table, i, &d) < 0)
			return unmapped(c, "descriptor table outside memory");
		if (d.flags & DESC_INDIRECT) {
			r = enter_table(q, c, &d, nested);
			if (r < 0)
				return r;
			nested = true;
			table = d.gpa;
			entries = left = (unsigned)r;
			i = 0;
			continue;
		}
		r = add_segment(q, c, &d, &in);
		if (r < 0)
			return r;
		if (!(d.flags & DESC_NEXT))
			return 0;
		i = d.next;
	}
}

int virtq_pop(struct virtq *q, struct virtq_chain *c)
{
	uint64_t slot =
		RING_ENTRIES + AVAIL_ENTRY_BYTES * (uint64_t)(q->next_avail & (q->size - 1));
	uint16_t idx, head;
	int r;

	if (!q->live)
		return 0;
	c->n_out = c->n_in = 0;
	c->out_len = c->in_len = 0;
	c->fault = NULL;
	/* Acquire: the entry and the descriptors are read after the index that announces them. */
	if (gmem_load_u16_acquire(q->mem, avail_at(q, RING_IDX), &idx) < 0)
		return unmapped(c, "available ring outside memory");
	if (idx == q->next_avail)
		return 0;
	if ((uint16_t)(idx - q->next_avail) > q->size || (uint16_t)(idx - q->next_used) > q->size)
		return broken(c, "available index ran ahead of the queue");
	if (gmem_load_u16_acquire(q->mem, avail_at(q, slot), &head) < 0)
		return unmapped(c, "available ring outside memory");
	r = walk(q, head, c);
	if (r < 0)
		return r;
	c->head = head;
	q->next_avail++;
	return 1;
}

uint16_t virtq_waiting(const struct virtq *q)
{
	uint16_t idx, n;

	if (!q->live || gmem_load_u16_acquire(q->mem, avail_at(q, RING_IDX), &idx) < 0)
		return 0;
	n = (uint16_t)(idx - q->next_avail);
	return MIN(n, q->size);
}

void virtq_unpop(struct virtq *q, unsigned n)
{
	if (!q->live)
		return;
	assert(n <= virtq_in_flight(q));
	q->next_avail = (uint16_t)(q->next_avail - n);
}

int virtq_push_many(struct virtq *q, const struct virtq_used *used, unsigned n)
{
	uint8_t entry[USED_ENTRY_BYTES];
	int r;

	if (!q->live)
		return 0;
	for (unsigned i = 0; i < n; i++) {
		uint64_t slot = (q->next_used + i) & (q->size - 1u);

		num_put_le32(entry, used[i].head);
		num_put_le32(entry + 4, used[i].len);
		r = gmem_write(q->mem, used_at(q, RING_ENTRIES + USED_ENTRY_BYTES * slot), entry,
			sizeof(entry));
		if (r < 0)
			return r;
	}
	q->next_used = (uint16_t)(q->next_used + n);
	/* Release: the entries, and the data of the requests, are visible before the index. */
	return gmem_store_u16_release(q->mem, used_at(q, RING_IDX), q->next_used);
}

int virtq_push(struct virtq *q, uint16_t head, uint32_t len)
{
	return virtq_push_many(q, &(struct virtq_used){ head, len }, 1);
}

bool virtq_should_notify(struct virtq *q)
{
	uint16_t old = q->signalled, now = q->next_used, word;
	bool known = q->signalled_valid;
	uint64_t at =
		q->event_idx ? RING_ENTRIES + AVAIL_ENTRY_BYTES * (uint64_t)q->size : RING_FLAGS;

	if (!q->live || old == now)
		return false;
	q->signalled = now;
	q->signalled_valid = true;
	/* The index is out before we look whether it interests the driver, see virtq.h. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!known || gmem_load_u16_acquire(q->mem, avail_at(q, at), &word) < 0)
		return true;
	if (!q->event_idx)
		return !(word & AVAIL_NO_INTERRUPT);
	/* Did used_event lie in [old, now)? (2.7.7.2) */
	return (uint16_t)(now - word - 1) < (uint16_t)(now - old);
}

/* The ring's addresses were checked, so that the store does not fail; if it did, kicks stay on. */
static void store_used(struct virtq *q, uint64_t off, uint16_t v)
{
	int r = gmem_store_u16_release(q->mem, used_at(q, off), v);

	(void)r;
}

void virtq_kicks_off(struct virtq *q)
{
	/*
	 * With EVENT_IDX an avail_event that is left behind is passed once and keeps silent then.
	 */
	if (!q->live || q->event_idx || q->kicks_off)
		return;
	store_used(q, RING_FLAGS, USED_NO_NOTIFY);
	q->kicks_off = true;
}

bool virtq_kicks_on(struct virtq *q)
{
	uint16_t idx;

	if (!q->live)
		return false;
	if (q->event_idx)
		store_used(q, RING_ENTRIES + USED_ENTRY_BYTES * (uint64_t)q->size, q->next_avail);
	else if (q->kicks_off)
		store_used(q, RING_FLAGS, 0);
	q->kicks_off = false;
	/* What we ask for is out before we look at the index again, see virtq.h. */
	atomic_thread_fence(memory_order_seq_cst);
	if (gmem_load_u16_acquire(q->mem, avail_at(q, RING_IDX), &idx) < 0)
		return false;
	return idx != q->next_avail;
}

unsigned virtq_slice(const struct virtq_chain *c, enum virtq_dir dir, uint64_t off, uint64_t len,
	struct iovec *ret)
{
	const struct iovec *seg = dir == VIRTQ_OUT ? c->segs : c->segs + c->n_out;
	uint64_t total = dir == VIRTQ_OUT ? c->out_len : c->in_len;
	unsigned n = 0;

	if (len == 0 || off > total || len > total - off)
		return 0;
	for (; off >= seg->iov_len; seg++)
		off -= seg->iov_len;
	for (; len > 0; seg++) {
		uint64_t part = MIN(len, seg->iov_len - off);

		ret[n++] = (struct iovec){ (uint8_t *)seg->iov_base + off, part };
		len -= part;
		off = 0;
	}
	return n;
}

bool virtq_read(const struct virtq_chain *c, uint64_t off, void *dst, size_t len)
{
	struct iovec part[LIMIT_SEGS];
	unsigned n = virtq_slice(c, VIRTQ_OUT, off, len, part);
	uint8_t *p = dst;

	for (unsigned i = 0; i < n; p += part[i++].iov_len)
		memcpy(p, part[i].iov_base, part[i].iov_len);
	return n > 0;
}

bool virtq_write(const struct virtq_chain *c, uint64_t off, const void *src, size_t len)
{
	struct iovec part[LIMIT_SEGS];
	unsigned n = virtq_slice(c, VIRTQ_IN, off, len, part);
	const uint8_t *p = src;

	for (unsigned i = 0; i < n; p += part[i++].iov_len)
		memcpy(part[i].iov_base, p, part[i].iov_len);
	return n > 0;
}

void virtq_state(struct virtq *q, struct state *s)
{
	state_u16(s, "size", &q->size);
	state_bool(s, "ready", &q->ready);
	state_u64(s, "desc", &q->desc_gpa);
	state_u64(s, "avail", &q->avail_gpa);
	state_u64(s, "used", &q->used_gpa);
	if (!q->live) /* of a device that has failed: they will not be given back */
		q->next_avail = q->next_used;
	state_u16(s, "next-avail", &q->next_avail);
	state_u16(s, "next-used", &q->next_used);
	if (q->live && q->next_avail != q->next_used)
		state_refuse(s, "next-used", "%u requests are in flight", virtq_in_flight(q));
	if (!state_loading(s))
		return;
	if (q->next_avail != q->next_used)
		state_refuse(s, "next-used", "%u requests are in flight", virtq_in_flight(q));
	if (q->size > q->size_max)
		state_refuse(s, "size", "is %u, more than %u", q->size, q->size_max);
	q->live = false;
	q->signalled = q->next_used;
	q->signalled_valid = false;
	q->kicks_off = true; /* NO_NOTIFY may be set in the ring */
}
