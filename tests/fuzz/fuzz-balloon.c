/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queues of virtio-balloon. A driver that behaves sends lists of pages, ranges, commands and
 * statistics of any size and content; one that does not puts anything into the rings until it is
 * reset. The device lives from one input to the next.
 *
 * Oracles. A model of every page says whether the guest still has its content: a page that was not
 * given up must have it, one that was is zero. Statistics, target, command ids and the numbering of
 * the queues have models too. Guest memory has pages without access around it.
 */
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "balloon.h"
#include "dev.h"
#include "drv.h"
#include "input.h"
#include "layout.h"
#include "log.h"
#include "loop.h"
#include "num.h"
#include "vmmio.h"

#define HEAP	   0x1000u
#define BUF	   0x14000u
#define BUF_BYTES  0x2000u
#define ARENA	   0x18000u
#define LOW_PAGES  12u /* of the arena, up to the end of the first region */
#define HIGH_PAGES 4u /* in the second region */
#define PAGES	   (LOW_PAGES + HIGH_PAGES)
#define RAM	   (ARENA + LOW_PAGES * 4096u)

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

struct world {
	struct gmem mem;
	struct loop loop;
	struct virtio_dev *v;
	struct vmmio *m;
	struct drv d;
	bool sound; /* the driver has done nothing wrong since its start */
	uint8_t marks[PAGES]; /* content of each page; 0: given up */
	int stats, hint, report; /* queues; -1: not negotiated */
	bool held;
	uint32_t known, target, actual, run;
	uint64_t values[BALLOON_STATS];
	struct balloon_hinting hinting;
	bool ack;
};

static uint8_t *map(size_t bytes)
{
	uint8_t *host = mmap(NULL, bytes + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	MUST(host != MAP_FAILED && mprotect(host + 4096, bytes, PROT_READ | PROT_WRITE) == 0);
	return host + 4096;
}

static void make(struct world *w)
{
	const struct balloon_params p = { 0, 3600, true, true, true };
	struct vmmio_env env = { .mem = &w->mem, .loop = &w->loop, .vmfd = -1, .base = 0xc0001000 };

	log_init(&(struct log_config){ .id = "fuzz", .fd = -1 });
	w->mem = (struct gmem){
		.regions = { { 0, RAM, map(RAM) },
			{ LAYOUT_GAP_END, HIGH_PAGES * 4096, map(HIGH_PAGES * 4096) } },
		.n_regions = 2,
	};
	MUST(loop_init(&w->loop, NULL) == 0);
	MUST(balloon_create(&p, &w->loop, &w->v, NULL) == 0);
	MUST(vmmio_create(w->v, &env, &w->m, NULL) == 0);
	drv_init(&w->d, &w->mem, vmmio_dev(w->m), HEAP);
}

/* -- the model ------------------------------------------------------------------------------- */

static uint64_t page_gpa(unsigned i)
{
	return i < LOW_PAGES ? ARENA + i * 4096ull : LAYOUT_GAP_END + (i - LOW_PAGES) * 4096ull;
}

static void mark(struct world *w, unsigned i, uint8_t value)
{
	w->marks[i] = value;
	drv_put8(&w->d, page_gpa(i), value);
	drv_put8(&w->d, page_gpa(i) + 4095, value);
}

/* All whole pages of [gpa, gpa + len) are gone. */
static void forget(struct world *w, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < PAGES; i++)
		if (page_gpa(i) >= gpa && page_gpa(i) + 4096 <= gpa + len)
			w->marks[i] = 0;
}

static uint32_t config32(struct world *w, unsigned word)
{
	return drv_get(&w->d, VIRTIO_MMIO_CONFIG + 4 * word);
}

static void check(struct world *w)
{
	struct balloon_hinting h;
	struct balloon_stats s;

	MUST(balloon_read_hinting(w->v, &h) == 0 && balloon_read_stats(w->v, &s) == 0);
	MUST(config32(w, 0) == w->target && s.target_pages == w->target);
	MUST(w->v->inflight == 0 && w->v->draining == 0);
	if (!w->sound)
		return;
	MUST(drv_status(&w->d) == 0xf);
	for (unsigned i = 0; i < PAGES; i++) {
		MUST(drv_get8(&w->d, page_gpa(i)) == w->marks[i]);
		MUST(drv_get8(&w->d, page_gpa(i) + 4095) == w->marks[i]);
	}
	MUST(config32(w, 1) == w->actual && s.actual_pages == w->actual);
	MUST(config32(w, 2) == w->hinting.host_cmd && h.host_cmd == w->hinting.host_cmd);
	MUST(h.has_guest_cmd == w->hinting.has_guest_cmd);
	MUST(!h.has_guest_cmd || h.guest_cmd == w->hinting.guest_cmd);
	MUST(s.known == w->known);
	for (unsigned i = 0; i < BALLOON_STATS; i++)
		MUST(!(s.known & 1u << i) || s.values[i] == w->values[i]);
	for (unsigned q = 0; q < 5; q++)
		MUST(!w->v->queues[q].live ||
			(int)virtq_in_flight(&w->v->queues[q]) == ((int)q == w->stats && w->held));
}

static void reset(struct world *w)
{
	drv_reset(&w->d);
	MUST(drv_status(&w->d) == 0 && w->v->acked == 0);
	for (unsigned q = 0; q < 5; q++)
		MUST(!w->v->queues[q].live);
	w->sound = w->held = w->hinting.has_guest_cmd = false;
	w->hinting.host_cmd = w->known = w->actual = 0;
}

/* Whatever came before: reset, negotiation and DRIVER_OK work. */
static void start(struct world *w, struct input *in)
{
	uint8_t f = take(in);
	uint64_t wanted = f & 0x2e; /* the balloon's own bits */

	reset(w);
	if (f & 0x40)
		wanted |= VIRTIO_BIT(VIRTQ_F_EVENT_IDX);
	MUST(drv_start(&w->d, wanted, 5, f & 0x80 ? 8 : 16) == 0xf);
	drv_poll(&w->loop);
	w->stats = w->hint = w->report = -1;
	if (wanted & VIRTIO_BIT(VIRTIO_BALLOON_F_STATS_VQ))
		w->stats = 2;
	if (wanted & VIRTIO_BIT(VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		w->hint = w->stats < 0 ? 2 : 3;
	if (wanted & VIRTIO_BIT(VIRTIO_BALLOON_F_REPORTING))
		w->report = 2 + (w->stats >= 0) + (w->hint >= 0);
	for (unsigned i = 0; i < PAGES; i++)
		mark(w, i, (uint8_t)(1 + i));
	w->sound = true;
}

/* -- a driver that behaves ------------------------------------------------------------------- */

/* Sends a request that is given back at once, nothing written. */
static void send(struct world *w, unsigned q, const struct drv_buf *bufs, unsigned n)
{
	uint16_t head = drv_add(&w->d, q, bufs, n);
	uint32_t id, len;

	drv_kick(&w->d, q);
	drv_poll(&w->loop);
	MUST(drv_used(&w->d, q, &id, &len) && id == head && len == 0);
	MUST(!drv_used(&w->d, q, &id, &len));
}

/* `bytes` of BUF in two parts. */
static void send_out(struct world *w, struct input *in, unsigned q, uint32_t bytes)
{
	uint32_t cut = bytes ? take(in) * 7u % bytes : 0;

	send(w, q,
		(struct drv_buf[]){ { BUF, cut, false }, { BUF + cut, bytes - cut, false } }, 2);
}

/* The number of a page in the arena, beside it, or anywhere but in the rings. */
static uint32_t pick_pfn(struct input *in)
{
	uint8_t b = take(in);

	if (b < 0xa0)
		return (uint32_t)(page_gpa(b % PAGES) >> 12);
	if (b < 0xd0)
		return (uint32_t)((b & 1 ? RAM : LAYOUT_GAP_END + HIGH_PAGES * 4096) >> 12) + b % 4;
	return (uint32_t)take(in) << 24 | 0x00800000u | b;
}

static void list_pages(struct world *w, struct input *in)
{
	unsigned n = take(in) % 40, odd = take(in) % 8;
	bool inflate = take(in) & 3;
	uint8_t raw[4];

	memset(raw, 0xff, sizeof(raw));
	MUST(gmem_fill(&w->mem, GPA(BUF), 0xff, 256) == 0);
	for (unsigned i = 0; i < n; i++) {
		uint32_t pfn = pick_pfn(in);

		num_put_le32(raw, pfn);
		MUST(gmem_write(&w->mem, GPA(BUF + 4 * i), raw, 4) == 0);
		if (inflate)
			forget(w, (uint64_t)pfn << 12, 4096);
	}
	send_out(w, in, inflate ? 0 : 1, 4 * n + (odd < 4 ? odd : 0));
}

/* Ranges of the arena at any byte; both regions are hit. */
static unsigned ranges(struct input *in, struct drv_buf *bufs)
{
	unsigned n = 1 + take(in) % 3;

	for (unsigned i = 0; i < n; i++) {
		bool high = take(in) & 1;
		uint32_t room = (high ? HIGH_PAGES : LOW_PAGES) * 4096;
		uint32_t off = take(in) * 256u % room, len = take(in) * 128u;

		off += take(in) & 1;
		bufs[i] = (struct drv_buf){ (high ? LAYOUT_GAP_END : ARENA) + off,
			MIN(len, room - off), true };
	}
	return n;
}

static void report(struct world *w, struct input *in)
{
	struct drv_buf bufs[3];
	unsigned n = ranges(in, bufs);

	if (w->report < 0)
		return;
	for (unsigned i = 0; i < n; i++)
		forget(w, bufs[i].gpa, bufs[i].len);
	send(w, (unsigned)w->report, bufs, n);
}

static void take_command(struct world *w, uint32_t cmd)
{
	struct balloon_hinting *h = &w->hinting;

	h->guest_cmd = cmd;
	h->has_guest_cmd = true;
	if (cmd < BALLOON_HINT_RUN && h->host_cmd >= BALLOON_HINT_RUN && w->ack)
		h->host_cmd = BALLOON_HINT_DONE;
}

/* A command of the right or a wrong size, ranges, or both in one request. */
static void hint(struct world *w, struct input *in)
{
	const struct balloon_hinting *h = &w->hinting;
	uint8_t kind = take(in), cmd = take(in) % 8, raw[8] = { 0 };
	struct drv_buf bufs[4];
	unsigned n = 0;

	if (w->hint < 0)
		return;
	if (kind & 3) {
		num_put_le32(raw, cmd < 2 ? cmd : w->run + 4 - cmd);
		MUST(gmem_write(&w->mem, GPA(BUF), raw, sizeof(raw)) == 0);
		bufs[n++] = (struct drv_buf){ BUF, kind & 0x70 ? 4 : 1 + kind % 8, false };
		if (bufs[0].len == 4)
			take_command(w, num_get_le32(raw));
	}
	if (kind & 4 || n == 0)
		n += ranges(in, bufs + n);
	if (h->has_guest_cmd && h->guest_cmd == h->host_cmd && h->host_cmd >= BALLOON_HINT_RUN)
		for (unsigned i = 0; i < n; i++)
			if (bufs[i].in)
				forget(w, bufs[i].gpa, bufs[i].len);
	send(w, (unsigned)w->hint, bufs, n);
}

static void statistics(struct world *w, struct input *in)
{
	unsigned n = take(in) % 80, odd = take(in) % 16;
	struct drv_buf buf = { BUF, 10 * n + (odd < 10 ? odd : 0), false };
	uint32_t id, len;
	uint8_t raw[10];

	if (w->stats < 0)
		return;
	MUST(gmem_fill(&w->mem, GPA(BUF + 10 * n), 0, 10) == 0);
	for (unsigned i = 0; i < n; i++) {
		uint16_t tag = take(in);
		uint64_t value = (uint64_t)take(in) << 56 | take(in);

		tag = tag < 0xf0 ? tag % 20 : (uint16_t)(tag << 8);
		num_put_le16(raw, tag);
		num_put_le64(raw + 2, value);
		MUST(gmem_write(&w->mem, GPA(BUF + 10 * i), raw, 10) == 0);
		if (tag >= BALLOON_STATS || i >= 64)
			continue;
		w->known |= 1u << tag;
		w->values[tag] = value;
	}
	drv_add(&w->d, (unsigned)w->stats, &buf, 1);
	drv_kick(&w->d, (unsigned)w->stats);
	drv_poll(&w->loop);
	/* It is kept; what was kept before comes back. */
	MUST(drv_used(&w->d, (unsigned)w->stats, &id, &len) == w->held);
	MUST(!w->held || len == 0);
	w->held = true;
}

/* -- the host --------------------------------------------------------------------------------- */

static void command(struct world *w, struct input *in)
{
	uint8_t what = take(in);
	bool running = virtio_running(w->v);
	uint32_t id, len;
	int r;

	switch (what % 4) {
	case 0: /* there is less than a MiB: no target but 0 is possible */
		r = balloon_set_target(w->v, what / 4);
		MUST(r == (!running ? -ENXIO : what / 4 ? -ERANGE : 0));
		break;
	case 1:
		w->ack = what & 4;
		r = balloon_start_hinting(w->v, w->ack);
		MUST(r == (running ? 0 : -ENXIO));
		if (r == 0) {
			w->run = MAX(w->run + 1, 2);
			w->hinting.host_cmd = w->run;
		}
		break;
	case 2:
		r = balloon_stop_hinting(w->v);
		MUST(r == (running ? 0 : -ENXIO));
		if (r == 0)
			w->hinting.host_cmd = BALLOON_HINT_DONE;
		break;
	default:
		MUST(balloon_set_interval(w->v, 3600 + what / 4) == 0);
		MUST(balloon_set_interval(w->v, 3600) == 0);
		MUST(balloon_set_interval(w->v, 0) < 0);
		if (!w->sound)
			break;
		if (w->held && what / 4)
			MUST(drv_used(&w->d, (unsigned)w->stats, &id, &len));
		w->held = w->held && !(what / 4);
	}
}

static void write_config(struct world *w, struct input *in)
{
	uint8_t off = take(in) % 16, len = 1u << take(in) % 3, raw[4], now[4];

	for (unsigned i = 0; i < 4; i++)
		raw[i] = take(in);
	drv_write(&w->d, VIRTIO_MMIO_CONFIG + off, raw, len);
	if (!w->sound || off < 4 || off + len > 8)
		return;
	num_put_le32(now, w->actual);
	memcpy(&now[off - 4], raw, len);
	w->actual = num_get_le32(now);
}

/* -- a driver that does not ------------------------------------------------------------------- */

static void tamper(struct world *w, struct input *in)
{
	static const uint32_t lens[] = { 4, 16, 1, 1024, 0, 4096, 0x18000, 0xffffffff };
	unsigned q = take(in) % 5, what = take(in);
	struct drv_queue *dq = &w->d.q[q];

	w->sound = false;
	if (dq->size == 0)
		return;
	if (what < 0xa0)
		drv_desc(&w->d, dq->desc, what % dq->size, (uint64_t)take(in) << 10,
			lens[take(in) % 8], take(in) % 8, take(in) % 17);
	else if (what < 0xf0)
		drv_publish(&w->d, q, what % (dq->size + 1u));
	else
		drv_put16(&w->d, dq->avail + 2, (uint16_t)(take(in) << 4));
	drv_kick(&w->d, q);
	drv_poll(&w->loop);
}

static void step(struct world *w, struct input *in)
{
	uint8_t op = take(in) % 16;

	if (!w->sound && op < 10) {
		start(w, in);
		return;
	}
	switch (op) {
	case 0:
	case 1:
	case 2:
		list_pages(w, in);
		break;
	case 3:
	case 4:
		report(w, in);
		break;
	case 5:
	case 6:
		hint(w, in);
		break;
	case 7:
		statistics(w, in);
		break;
	case 8:
		mark(w, take(in) % PAGES, take(in));
		break;
	case 9:
		write_config(w, in);
		break;
	case 10:
	case 11:
		command(w, in);
		break;
	case 12:
		drv_kick(&w->d, take(in));
		drv_poll(&w->loop);
		break;
	case 13:
	case 14:
		tamper(w, in);
		break;
	default:
		start(w, in);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct input in = { data, size };

	if (!w.m)
		make(&w);
	start(&w, &in);
	check(&w);
	for (unsigned n = 0; n < 64 && in.left > 0; n++) {
		step(&w, &in);
		check(&w);
	}
	return 0;
}
