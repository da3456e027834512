/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtqueue against a slow, obvious one. The input describes descriptors, mostly sound, two
 * indirect tables and a sequence of operations. Before each pop guest memory is copied; the oracle
 * walks the copy, with a set of visited descriptors instead of a counter, and must come to the same
 * verdict and the same segments. Notifications are compared with a search through what was pushed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "input.h"
#include "num.h"
#include "virtq.h"

#define RAM	0x2000u
#define DESC	0x0000u
#define AVAIL	0x0400u
#define USED	0x0600u
#define TABLES	0x0800u
#define ENTRIES 24u /* in each of the two indirect tables */
#define DATA	0x1000u

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

struct segment {
	uint64_t gpa, len;
	bool in;
};

struct verdict {
	int r;
	unsigned n;
	uint16_t head;
	struct segment segs[LIMIT_SEGS];
};

static uint8_t ram[RAM] __attribute__((aligned(4096))), frozen[RAM];
static const struct gmem mem = { .regions = { { 0, RAM, ram } }, .n_regions = 1 };

/* Four bytes describe a descriptor; most values give one that is all right. */
static void put_desc(struct input *in, unsigned table, unsigned i, unsigned entries)
{
	static const uint32_t lens[] = { 16, 1, 512, 64, 32, 0, 48, 16 * ENTRIES, 24, 4096,
		16 * 257, 0xffffffff };
	uint8_t f = take(in), n = take(in), l = take(in), a = take(in);
	uint32_t len = lens[l % ARRAY_SIZE(lens)];
	uint16_t flags = f & 3;
	uint64_t gpa = DATA + 8 * (a % 128u);

	if (f >= 0xd0) {
		flags |= 4;
		gpa = TABLES + 0x400 * (a & 1u);
		if (f < 0xf0)
			flags &= (uint16_t)~1u;
	}
	if (a == 0xff)
		gpa = UINT64_MAX - l;
	else if (a == 0xfe)
		gpa = RAM - len + (l >> 7);
	else if (a == 0xfd)
		gpa = UINT64_C(1) << (l % 64);
	num_put_le64(ram + table + 16 * i, gpa);
	num_put_le32(ram + table + 16 * i + 8, len);
	num_put_le16(ram + table + 16 * i + 12, flags);
	num_put_le16(
		ram + table + 16 * i + 14, (uint16_t)(n < 0xc0 ? (i + 1) % entries : n - 0xc0u));
}

static bool inside(uint64_t gpa, uint64_t len)
{
	return gpa <= RAM && len <= RAM - gpa;
}

static int check_table(
	const struct virtq *q, uint64_t gpa, uint32_t len, uint16_t flags, bool nested)
{
	if (!q->indirect || nested || (flags & 1) || len == 0 || len % 16 != 0 || len > 16 * 256)
		return -EBADMSG;
	return inside(gpa, len) ? 0 : -EFAULT;
}

/* The chain from v->head in the frozen copy. */
static void oracle_walk(const struct virtq *q, struct verdict *v)
{
	uint64_t table = DESC, total = 0;
	unsigned entries = q->size, i = v->head;
	bool nested = false, in = false, seen[256] = { false };

	for (v->r = -EBADMSG; i < entries && !seen[i];) {
		const uint8_t *d = frozen + table + 16 * i;
		uint64_t gpa = num_get_le64(d);
		uint32_t len = num_get_le32(d + 8);
		uint16_t flags = num_get_le16(d + 12);

		seen[i] = true;
		if (flags & 4) {
			int r = check_table(q, gpa, len, flags, nested);

			if (r < 0) {
				v->r = r;
				return;
			}
			memset(seen, 0, sizeof(seen));
			table = gpa;
			entries = len / 16;
			nested = true;
			i = 0;
			continue;
		}
		if (in && !(flags & 2))
			return;
		in = flags & 2;
		if (len > 0) {
			total += len;
			if (v->n == LIMIT_SEGS || total > UINT32_MAX)
				return;
			if (!inside(gpa, len)) {
				v->r = -EFAULT;
				return;
			}
			v->segs[v->n++] = (struct segment){ gpa, len, in };
		}
		if (!(flags & 1)) {
			v->r = 1;
			return;
		}
		i = num_get_le16(d + 14);
	}
}

static void oracle_pop(const struct virtq *q, struct verdict *v)
{
	uint16_t idx = num_get_le16(frozen + AVAIL + 2);

	*v = (struct verdict){ 0 };
	if (idx == q->next_avail)
		return;
	v->r = -EBADMSG;
	if ((uint16_t)(idx - q->next_avail) > q->size || (uint16_t)(idx - q->next_used) > q->size)
		return;
	v->head = num_get_le16(frozen + AVAIL + 4 + 2 * (q->next_avail % q->size));
	oracle_walk(q, v);
}

static void check_pop(struct virtq *q, struct virtq_chain *c)
{
	static struct verdict v;
	uint16_t next = q->next_avail;
	uint64_t out = 0, in = 0;
	int r;

	memcpy(frozen, ram, sizeof(ram));
	oracle_pop(q, &v);
	r = virtq_pop(q, c);
	MUST(r == v.r);
	MUST(q->next_avail == (uint16_t)(next + (r == 1)));
	MUST(r >= 0 || c->fault);
	MUST(memcmp(frozen, ram, sizeof(ram)) == 0);
	if (r != 1)
		return;
	MUST(c->head == v.head && c->n_out + c->n_in == v.n);
	for (unsigned i = 0; i < v.n; i++) {
		MUST(v.segs[i].in == (i >= c->n_out));
		MUST((uint8_t *)c->segs[i].iov_base == ram + v.segs[i].gpa);
		MUST(c->segs[i].iov_len == v.segs[i].len);
		*(v.segs[i].in ? &in : &out) += v.segs[i].len;
	}
	MUST(c->out_len == out && c->in_len == in);
}

/* The part from byte off on, byte by byte. */
static void check_slice(const struct virtq_chain *c, enum virtq_dir dir, uint64_t off, uint64_t len)
{
	const struct iovec *seg = dir == VIRTQ_OUT ? c->segs : c->segs + c->n_out;
	uint64_t total = dir == VIRTQ_OUT ? c->out_len : c->in_len, at = 0;
	struct iovec part[LIMIT_SEGS];
	unsigned n = virtq_slice(c, dir, off, len, part), k = 0;
	uint64_t in_part = 0;

	MUST((n > 0) == (len > 0 && off + len <= total));
	for (unsigned i = 0; n > 0 && i < (dir == VIRTQ_OUT ? c->n_out : c->n_in); i++)
		for (uint64_t b = 0; b < seg[i].iov_len && at < off + len; b++, at++) {
			if (at < off)
				continue;
			MUST((uint8_t *)part[k].iov_base + in_part ==
				(uint8_t *)seg[i].iov_base + b);
			if (++in_part == part[k].iov_len) {
				k++;
				in_part = 0;
			}
		}
	MUST(k == n && in_part == 0);
}

/* `first`: nothing was reported since the start. */
static void check_notify(struct virtq *q, uint16_t *reported, bool *first)
{
	uint16_t event = num_get_le16(ram + AVAIL + 4 + 2 * q->size);
	bool expect = false;

	for (uint16_t i = *reported; i != q->next_used; i++)
		expect |= *first || (q->event_idx ? i == event : !(ram[AVAIL] & 1));
	*first &= *reported == q->next_used;
	*reported = q->next_used;
	MUST(virtq_should_notify(q) == expect);
}

static void start(struct virtq *q, uint8_t flags)
{
	virtq_init(q, &mem, 16);
	q->size = (uint16_t)(1u << (flags % 5));
	q->ready = true;
	q->desc_gpa = DESC;
	q->avail_gpa = AVAIL;
	q->used_gpa = USED;
	/* Somewhere before the wrap, half of the time. */
	q->next_avail = q->next_used = flags & 0x20 ? (uint16_t)(65536 - (flags & 7)) : 0;
	num_put_le16(ram + AVAIL + 2, q->next_avail);
	MUST(virtq_configure(q, (uint64_t)(flags >> 6 & 1) << VIRTQ_F_EVENT_IDX |
				     (uint64_t)(flags >> 7) << VIRTQ_F_INDIRECT) == 0);
}

static void publish(struct virtq *q, uint8_t head)
{
	uint16_t idx = num_get_le16(ram + AVAIL + 2);

	num_put_le16(ram + AVAIL + 4 + 2 * (idx % q->size), head < 0xf0 ? head % q->size : head);
	num_put_le16(ram + AVAIL + 2, (uint16_t)(idx + 1));
}

static void check_kicks_on(struct virtq *q)
{
	MUST(virtq_kicks_on(q) == (num_get_le16(ram + AVAIL + 2) != q->next_avail));
	MUST(!(ram[USED] & 1));
	if (q->event_idx)
		MUST(num_get_le16(ram + USED + 4 + 8 * q->size) == q->next_avail);
}

static void check_push(struct virtq *q, uint16_t head, uint8_t len)
{
	unsigned slot = USED + 4 + 8 * (q->next_used % q->size);

	if (virtq_in_flight(q) == 0)
		return;
	MUST(virtq_push(q, head, len) == 0);
	MUST(num_get_le32(ram + slot) == head && num_get_le32(ram + slot + 4) == len);
	MUST(num_get_le16(ram + USED + 2) == q->next_used);
}

static void run(struct virtq *q, struct input *in)
{
	static struct virtq_chain c;
	uint16_t reported = q->next_used;
	bool first = true;

	for (unsigned n = 0; n < 40 && in->left > 0; n++) {
		uint8_t op = take(in), arg = take(in);

		switch (op % 8) {
		case 0:
		case 1:
			publish(q, arg);
			break;
		case 2:
			check_pop(q, &c);
			break;
		case 3:
			c.n_out = c.n_in = 0;
			publish(q, arg % q->size);
			check_pop(q, &c);
			check_slice(&c, op & 8 ? VIRTQ_IN : VIRTQ_OUT, arg, take(in));
			break;
		case 4:
			check_push(q, c.head, arg);
			break;
		case 5:
			check_notify(q, &reported, &first);
			break;
		case 6:
			check_kicks_on(q);
			if (op & 8)
				virtq_kicks_off(q);
			break;
		default:
			/* The words that the other side may set to anything. */
			num_put_le16(ram + AVAIL + (op & 8 ? 4 + 2 * q->size : op & 16 ? 0 : 2),
				(uint16_t)(q->next_used + (int8_t)arg));
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint8_t flags;
	struct virtq q;

	memset(ram, 0, sizeof(ram));
	flags = take(&in);
	start(&q, flags);
	for (unsigned i = 0; i < q.size; i++)
		put_desc(&in, DESC, i, q.size);
	for (unsigned t = 0; t < 2 && (flags & 0x80); t++)
		for (unsigned i = 0; i < ENTRIES; i++)
			put_desc(&in, TABLES + 0x400 * t, i, ENTRIES);
	run(&q, &in);
	return 0;
}
