/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk, see blk.h. Section numbers: virtio 1.2.
 *
 * A request is checked as a whole on copies of its header and ranges; then it is answered at once,
 * or it gets a slot and becomes a sequence of steps for the disk: the transfer, or one step per
 * range, and a flush where the driver may rely on a write being stable. A slot belongs to the
 * request from virtio_begin() to virtio_end(). Everything here runs on the loop thread, but for the
 * configuration.
 */
#include "blk.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "disk-overlay.h"
#include "loop.h"
#include "num.h"
#include "state.h"
#include "throttle.h"
#include "virtio.h"

#define SECTOR_SHIFT 9
#define SECTOR_BYTES (1u << SECTOR_SHIFT)

#define HEADER_BYTES 16u /* 5.2.6: type, reserved, sector */
#define RANGE_BYTES  16u /* 5.2.6: sector, sectors, flags */
#define RANGE_UNMAP  1u

/* Limits in the configuration space. */
#define RANGES_MAX	 16u
#define DISCARD_MAX	 (1u << 22) /* sectors: 2 GiB */
#define WRITE_ZEROES_MAX (1u << 17) /* sectors: 64 MiB, which may really have to be written */
#define PAGE_EXP	 3	    /* the host works in pages: 8 sectors */

#define SWAP_TIMEOUT_NS (10 * NSEC_PER_SEC)

#define CONFIG_BYTES offsetof(struct virtio_blk_config, max_secure_erase_sectors)

struct range {
	uint64_t sector;
	uint32_t sectors, flags;
};

struct slot {
	struct disk_req req;
	struct slot *next_free;
	uint32_t type;
	uint16_t head, queue;
	uint32_t len;	    /* what the used ring says if all goes well */
	struct iovec status; /* the status byte */
	unsigned step, n_steps;
	uint64_t start_ns; /* when it was taken */
	bool flush; /* is still to be done, after the steps */
	struct range ranges[RANGES_MAX];
	struct iovec iov[LIMIT_SEGS];
};

struct blk {
	struct virtio_dev v;
	struct disk *disk; /* owned */
	bool read_only;
	uint64_t capacity; /* sectors */
	char id[BLK_ID_BYTES];
	struct virtio_blk_config config;
	/* One slot per entry of a queue; one that was never used was never touched either. */
	struct slot *slots;
	unsigned n_slots, n_fresh;
	struct slot *free;
	struct throttle throttle;
	struct blk_counters counters;
};

static struct blk *blk_of(struct virtio_dev *v)
{
	return container_of(v, struct blk, v);
}

/* -- slots and steps ------------------------------------------------------------------------- */

/* There are as many as requests can be in flight: virtq_pop() sees to it that no queue has more. */
static struct slot *take_slot(struct blk *b)
{
	struct slot *s = b->free;

	if (s)
		b->free = s->next_free;
	else if (b->n_fresh < b->n_slots)
		s = &b->slots[b->n_fresh++];
	return s;
}

static void put_slot(struct blk *b, struct slot *s)
{
	s->next_free = b->free;
	b->free = s;
}

static void count_done(struct blk *b, const struct slot *s)
{
	struct blk_counters *c = &b->counters;

	switch (s->type) {
	case VIRTIO_BLK_T_IN:
		virtio_count(&c->reads);
		latency_between(&c->read, s->start_ns, loop_now_ns());
		atomic_fetch_add_explicit(&c->read_bytes, s->req.bytes, memory_order_relaxed);
		break;
	case VIRTIO_BLK_T_OUT:
		virtio_count(&c->writes);
		latency_between(&c->write, s->start_ns, loop_now_ns());
		atomic_fetch_add_explicit(&c->written_bytes, s->req.bytes, memory_order_relaxed);
		break;
	case VIRTIO_BLK_T_FLUSH:
		virtio_count(&c->flushes);
		break;
	case VIRTIO_BLK_T_DISCARD:
		virtio_count(&c->discards);
		break;
	default:
		virtio_count(&c->write_zeroes);
	}
}

/* The request is done, r is 0 or -errno. */
static void finish(struct blk *b, struct slot *s, int r)
{
	uint8_t status = (uint8_t)(r < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);

	if (r < 0)
		virtio_count(&b->counters.io_errors);
	else
		count_done(b, s);
	memcpy(s->status.iov_base, &status, sizeof(status));
	/* Of a request that failed nothing but the status is known to be written. */
	virtio_push(&b->v, s->queue, s->head, r < 0 ? 1 : s->len);
	put_slot(b, s);
	virtio_end(&b->v);
}

/* Makes s->req the next thing the disk has to do; false if nothing is left. */
static bool next_step(struct slot *s)
{
	const struct range *r = &s->ranges[s->step];

	if (s->step == s->n_steps) {
		if (!s->flush)
			return false;
		s->flush = false;
		s->req.op = DISK_FLUSH;
		return true;
	}
	s->step++;
	if (s->type == VIRTIO_BLK_T_IN || s->type == VIRTIO_BLK_T_OUT)
		return true; /* a single step, which parse_transfer() has filled in */
	s->req = (struct disk_req){
		.op = s->type == VIRTIO_BLK_T_DISCARD ? DISK_DISCARD : DISK_WRITE_ZEROES,
		.unmap = r->flags & RANGE_UNMAP,
		.offset = r->sector << SECTOR_SHIFT,
		.bytes = (uint64_t)r->sectors << SECTOR_SHIFT,
	};
	return true;
}

/* Goes through the steps until one is pending or the request is done. r: result of the last one. */
static void advance(struct blk *b, struct slot *s, int r)
{
	while (r == 0 && next_step(s))
		r = disk_submit(b->disk, &s->req);
	if (r != -EINPROGRESS)
		finish(b, s, r);
}

/* Loop thread: the disk is done with requests that were pending. */
static void on_done(void *owner, const struct disk_result *results, unsigned n)
{
	struct blk *b = owner;
	unsigned touched = 0;

	virtio_lock(&b->v);
	for (unsigned i = 0; i < n; i++) {
		struct slot *s = container_of(results[i].req, struct slot, req);

		touched |= 1u << s->queue;
		advance(b, s, results[i].result);
	}
	for (unsigned q = 0; q < b->v.n_queues; q++)
		if (touched & 1u << q)
			virtio_notify(&b->v, q);
	virtio_unlock(&b->v);
}

/* -- parsing --------------------------------------------------------------------------------- */

static bool in_range(const struct blk *b, uint64_t sector, uint64_t sectors)
{
	return sector <= b->capacity && sectors <= b->capacity - sector;
}

static uint8_t refuse(_Atomic uint64_t *cause, uint8_t status)
{
	virtio_count(cause);
	return status;
}

/* Must a completed write be stable, because the driver cannot ask for it? (5.2.6.2) */
static bool write_through(const struct blk *b)
{
	if (!(b->v.features & VIRTIO_BIT(VIRTIO_BLK_F_FLUSH)))
		return false;
	if (virtio_acked(&b->v, VIRTIO_BLK_F_CONFIG_WCE))
		return b->config.wce == 0;
	return !virtio_acked(&b->v, VIRTIO_BLK_F_FLUSH);
}

/* The parse functions fill a slot and return VIRTIO_BLK_S_OK, or another status that answers. */
static uint8_t parse_transfer(
	struct blk *b, struct slot *s, const struct virtq_chain *c, uint64_t sector)
{
	bool in = s->type == VIRTIO_BLK_T_IN;
	uint64_t bytes = in ? c->in_len - 1 : c->out_len - HEADER_BYTES;

	if (!in && b->read_only)
		return refuse(&b->counters.read_only, VIRTIO_BLK_S_IOERR);
	if (bytes % SECTOR_BYTES != 0)
		return refuse(&b->counters.bad_length, VIRTIO_BLK_S_IOERR);
	if (!in_range(b, sector, bytes >> SECTOR_SHIFT))
		return refuse(&b->counters.out_of_range, VIRTIO_BLK_S_IOERR);
	s->req = (struct disk_req){
		.op = in ? DISK_READ : DISK_WRITE,
		.offset = sector << SECTOR_SHIFT,
		.bytes = bytes,
		.iov = s->iov,
	};
	s->req.n_iov = in ? virtq_slice(c, VIRTQ_IN, 0, bytes, s->iov) :
			    virtq_slice(c, VIRTQ_OUT, HEADER_BYTES, bytes, s->iov);
	s->n_steps = bytes > 0;
	s->len = in ? (uint32_t)bytes + 1 : 1;
	s->flush = !in && write_through(b);
	return VIRTIO_BLK_S_OK;
}

static uint8_t check_range(struct blk *b, uint32_t type, const struct range *r)
{
	bool discard = type == VIRTIO_BLK_T_DISCARD;

	if ((r->flags & ~RANGE_UNMAP) || (discard && r->flags))
		return refuse(&b->counters.unsupported, VIRTIO_BLK_S_UNSUPP);
	if (r->sectors > (discard ? DISCARD_MAX : WRITE_ZEROES_MAX))
		return refuse(&b->counters.bad_length, VIRTIO_BLK_S_IOERR);
	if (!in_range(b, r->sector, r->sectors))
		return refuse(&b->counters.out_of_range, VIRTIO_BLK_S_IOERR);
	return VIRTIO_BLK_S_OK;
}

static uint8_t parse_ranges(struct blk *b, struct slot *s, const struct virtq_chain *c)
{
	uint8_t raw[RANGES_MAX * RANGE_BYTES], status;
	uint64_t bytes = c->out_len - HEADER_BYTES;

	if (b->read_only)
		return refuse(&b->counters.read_only, VIRTIO_BLK_S_IOERR);
	if (bytes == 0 || bytes > sizeof(raw) || bytes % RANGE_BYTES != 0 ||
		!virtq_read(c, HEADER_BYTES, raw, bytes))
		return refuse(&b->counters.bad_length, VIRTIO_BLK_S_IOERR);
	s->n_steps = 0;
	for (const uint8_t *p = raw; p < raw + bytes; p += RANGE_BYTES) {
		struct range *r = &s->ranges[s->n_steps];

		*r = (struct range){ num_get_le64(p), num_get_le32(p + 8), num_get_le32(p + 12) };
		status = check_range(b, s->type, r);
		if (status != VIRTIO_BLK_S_OK)
			return status;
		s->n_steps += r->sectors > 0;
	}
	s->len = 1;
	s->flush = s->type == VIRTIO_BLK_T_WRITE_ZEROES && write_through(b);
	return VIRTIO_BLK_S_OK;
}

static uint8_t parse(struct blk *b, struct slot *s, const struct virtq_chain *c, uint64_t sector)
{
	bool has_flush = b->v.features & VIRTIO_BIT(VIRTIO_BLK_F_FLUSH);

	switch (s->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		return parse_transfer(b, s, c, sector);
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return parse_ranges(b, s, c);
	case VIRTIO_BLK_T_FLUSH:
		s->n_steps = 0;
		s->flush = true;
		s->len = 1;
		if (has_flush)
			return VIRTIO_BLK_S_OK;
		break;
	default:
		break;
	}
	return refuse(&b->counters.unsupported, VIRTIO_BLK_S_UNSUPP);
}

/* -- requests -------------------------------------------------------------------------------- */

/* Answers a request that needs no disk; written: bytes in front of the status byte. */
static void answer(struct blk *b, unsigned q, const struct virtq_chain *c, uint8_t status,
	uint32_t written)
{
	if (virtq_write(c, c->in_len - 1, &status, sizeof(status)))
		virtio_push(&b->v, q, c->head, written + 1);
}

static void get_id(struct blk *b, unsigned q, const struct virtq_chain *c)
{
	if (c->in_len - 1 < sizeof(b->id) || !virtq_write(c, 0, b->id, sizeof(b->id))) {
		answer(b, q, c, refuse(&b->counters.bad_length, VIRTIO_BLK_S_IOERR), 0);
		return;
	}
	virtio_count(&b->counters.get_ids);
	answer(b, q, c, VIRTIO_BLK_S_OK, sizeof(b->id));
}

/* What a request moves, for the rate limit. */
static uint64_t payload(uint32_t type, const struct virtq_chain *c)
{
	if (type == VIRTIO_BLK_T_IN)
		return c->in_len - 1;
	return type == VIRTIO_BLK_T_OUT ? c->out_len - HEADER_BYTES : 0;
}

static void handle(struct virtio_dev *v, unsigned q, const struct virtq_chain *c)
{
	struct blk *b = blk_of(v);
	uint8_t header[HEADER_BYTES], status;
	struct slot *s;
	uint32_t type;

	if (c->in_len == 0 || !virtq_read(c, 0, header, sizeof(header))) {
		virtio_count(&b->counters.malformed);
		virtio_fail(v, "request without a header or a status byte");
		return;
	}
	type = num_get_le32(header);
	if (!throttle_take(&b->throttle, payload(type, c), &b->counters.throttled)) {
		virtio_put_back(v);
		return;
	}
	if (type == VIRTIO_BLK_T_GET_ID) {
		get_id(b, q, c);
		return;
	}
	s = take_slot(b);
	if (!s) {
		virtio_fail(v, "more requests than the queue has entries");
		return;
	}
	s->type = type;
	s->head = c->head;
	s->queue = (uint16_t)q;
	s->step = 0;
	s->start_ns = loop_now_ns();
	status = parse(b, s, c, num_get_le64(header + 8));
	if (status != VIRTIO_BLK_S_OK) {
		put_slot(b, s);
		answer(b, q, c, status, 0);
		return;
	}
	virtq_slice(c, VIRTQ_IN, c->in_len - 1, 1, &s->status);
	virtio_begin(v);
	advance(b, s, 0);
}

static void kick(struct virtio_dev *v, unsigned q)
{
	struct blk *b = blk_of(v);

	if (!throttle_holds(&b->throttle))
		virtio_drain(v, q, VIRTIO_BATCH, handle);
	atomic_fetch_add_explicit(
		&b->counters.left_waiting, virtq_waiting(&v->queues[q]), memory_order_relaxed);
	disk_commit(b->disk);
}

static void on_timer(struct loop_src *src, uint32_t events)
{
	struct blk *b = container_of(src, struct blk, throttle.src);

	(void)events;
	virtio_lock(&b->v);
	if (throttle_expire(&b->throttle, &b->counters.limiter_events))
		virtio_kick_all(&b->v);
	virtio_unlock(&b->v);
}

/* -- configuration and life ------------------------------------------------------------------ */

static const void *config(struct virtio_dev *v, size_t *ret_len)
{
	*ret_len = CONFIG_BYTES;
	return &blk_of(v)->config;
}

static int config_write(struct virtio_dev *v, size_t off, const void *data, size_t len)
{
	const uint8_t *byte = data;

	if (off != offsetof(struct virtio_blk_config, wce) || len != 1 || *byte > 1 ||
		!virtio_acked(v, VIRTIO_BLK_F_CONFIG_WCE))
		return -EINVAL;
	blk_of(v)->config.wce = *byte;
	return 0;
}

static int activate(struct virtio_dev *v)
{
	/* 5.2.5.2: a driver that can switch the cache but not flush it starts without it. */
	if (virtio_acked(v, VIRTIO_BLK_F_CONFIG_WCE) && !virtio_acked(v, VIRTIO_BLK_F_FLUSH))
		blk_of(v)->config.wce = 0;
	return 0;
}

static void reset(struct virtio_dev *v)
{
	blk_of(v)->config.wce = 1;
}

static int hold(struct virtio_dev *v, uint64_t deadline_ns)
{
	return disk_drain(blk_of(v)->disk, deadline_ns);
}

/* The medium is the same: one of another size would be another. */
static void fields(struct virtio_dev *v, struct state *s)
{
	struct blk *b = blk_of(v);

	state_fixed(s, "capacity", b->capacity);
	state_fixed(s, "read-only", b->read_only);
	b->config.wce = (uint8_t)state_value(s, "wce", b->config.wce, 1);
	throttle_state(&b->throttle, s);
}

static void release(struct blk *b)
{
	throttle_close(&b->throttle);
	disk_destroy(b->disk);
	free(b->slots);
	free(b);
}

static void destroy(struct virtio_dev *v)
{
	struct blk *b = blk_of(v);

	virtio_done(v);
	release(b);
}

static const struct virtio_ops blk_ops = {
	.name = "blk",
	.id = VIRTIO_ID_BLOCK,
	.queue_max = LIMIT_QUEUE_SIZE,
	.config = config,
	.config_write = config_write,
	.activate = activate,
	.kick = kick,
	.cancel = virtio_no_cancel,
	.pause = hold,
	.reset = reset,
	.state = fields,
	.destroy = destroy,
};

static uint64_t features_of(const struct blk_params *p)
{
	uint64_t f = VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) |
		VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY);

	if (p->read_only)
		f |= VIRTIO_BIT(VIRTIO_BLK_F_RO);
	else
		f |= VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	if (!p->unsafe_cache)
		f |= VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) | VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE);
	if (p->n_queues > 1)
		f |= VIRTIO_BIT(VIRTIO_BLK_F_MQ);
	return f;
}

static void fill_config(struct blk *b, const struct blk_params *p)
{
	b->config = (struct virtio_blk_config){
		.capacity = b->capacity,
		.seg_max = LIMIT_SEGS - 2,
		.blk_size = SECTOR_BYTES,
		.physical_block_exp = PAGE_EXP,
		.min_io_size = 1u << PAGE_EXP,
		.wce = 1,
		.num_queues = (uint16_t)p->n_queues,
		.max_discard_sectors = DISCARD_MAX,
		.max_discard_seg = RANGES_MAX,
		.discard_sector_alignment = 1u << PAGE_EXP,
		.max_write_zeroes_sectors = WRITE_ZEROES_MAX,
		.max_write_zeroes_seg = RANGES_MAX,
		.write_zeroes_may_unmap = 1,
	};
}

/* What a disk is made of. */
struct source {
	int fd, overlayfd; /* overlayfd -1: fd alone, by io_uring if asked */
	bool uring;
};

static int open_disk(struct blk *b, const struct source *from, const struct disk_params *params,
	struct loop *loop, struct volt_err *err)
{
	if (from->overlayfd >= 0)
		return disk_overlay_open(from->fd, from->overlayfd, params, &b->disk, err);
	return disk_create(from->uring, from->fd, loop, params, &b->disk, err);
}

static int create(const struct blk_params *p, const struct source *from, struct loop *loop,
	struct virtio_dev **ret, struct volt_err *err)
{
	struct blk *b = calloc(1, sizeof(*b));
	struct disk_params params = {
		.read_only = p->read_only,
		.in_flight = p->n_queues * LIMIT_QUEUE_SIZE,
		.done = on_done,
		.owner = b,
	};
	int r;

	assert(p->n_queues > 0 && p->n_queues <= LIMIT_DISK_QUEUES);
	if (b)
		b->slots = calloc(params.in_flight, sizeof(b->slots[0]));
	if (!b || !b->slots) {
		free(b);
		return volt_err_set(err, ENOMEM, "disk '%s': %m", p->id);
	}
	r = throttle_open(&b->throttle, loop, &p->limit, "blk", on_timer, err);
	if (r == 0)
		r = open_disk(b, from, &params, loop, err);
	if (r < 0) {
		release(b);
		return volt_err_wrap(err, "disk '%s'", p->id);
	}
	b->n_slots = params.in_flight;
	b->read_only = p->read_only;
	b->capacity = b->disk->bytes >> SECTOR_SHIFT;
	memcpy(b->id, p->id, MIN(strlen(p->id), sizeof(b->id)));
	fill_config(b, p);
	virtio_init(&b->v, &blk_ops, p->id, features_of(p), p->n_queues);
	*ret = &b->v;
	return 0;
}

int blk_create(const struct blk_params *p, int fd, bool uring, struct loop *loop,
	struct virtio_dev **ret, struct volt_err *err)
{
	return create(p, &(struct source){ fd, -1, uring }, loop, ret, err);
}

int blk_create_overlay(const struct blk_params *p, int basefd, int overlayfd, struct loop *loop,
	struct virtio_dev **ret, struct volt_err *err)
{
	assert(!p->read_only && overlayfd >= 0);
	return create(p, &(struct source){ basefd, overlayfd, false }, loop, ret, err);
}

static int swap(struct blk *b, int fd, struct volt_err *err)
{
	int r = disk_drain(b->disk, loop_now_ns() + SWAP_TIMEOUT_NS);

	if (r < 0)
		return volt_err_set(err, -r, "requests that are in flight: %m");
	return disk_set_file(b->disk, fd, err);
}

int blk_set_backing(struct virtio_dev *v, int fd, struct volt_err *err)
{
	struct blk *b = blk_of(v);

	if (swap(b, fd, err) < 0) {
		virtio_count(&b->counters.update_failures);
		return volt_err_wrap(err, "disk '%s'", v->name);
	}
	virtio_lock(v);
	b->capacity = b->disk->bytes >> SECTOR_SHIFT;
	b->config.capacity = b->capacity;
	virtio_config_changed(v);
	virtio_unlock(v);
	virtio_count(&b->counters.updates);
	return 0;
}

void blk_set_limiter(struct virtio_dev *v, const struct limiter_change *change)
{
	virtio_lock(v);
	throttle_change(&blk_of(v)->throttle, change);
	virtio_unlock(v);
}

const struct blk_counters *blk_counters(const struct virtio_dev *v)
{
	return &container_of(v, struct blk, v)->counters;
}

const char *blk_backend(const struct virtio_dev *v)
{
	return container_of(v, struct blk, v)->disk->ops->name;
}
