/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-pmem, see pmem.h. What the guest stores is in the host's page cache at once; a flush is a
 * fdatasync(2) of the file by a disk back end, which writes what was stored through mappings too,
 * the guest's included. All requests that are in the queue when one starts share it; those that
 * come while it runs stay in the queue until it has ended.
 */
#include "pmem.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pmem.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "disk.h"
#include "gmem.h"
#include "loop.h"
#include "num.h"
#include "state.h"
#include "virtio.h"

#define QUEUE_SIZE LIMIT_QUEUE_SIZE

/* 5.19.6 */
#define REQUEST_BYTES 4u
#define ANSWER_BYTES  4u
#define FAILURE	      UINT32_MAX

/* A request that waits for the flush, and where its answer goes. */
struct waiting {
	uint16_t head;
	unsigned n;
	struct iovec answer[ANSWER_BYTES];
};

struct pmem {
	struct virtio_dev v;
	struct disk *disk; /* owned */
	struct loop *loop; /* borrowed */
	struct virtio_pmem_config config;

	bool flushing;
	struct disk_req req;
	unsigned n_waiting;
	struct waiting waiting[VIRTIO_BATCH];

	struct limiter limiter; /* not refilled by a reset: that would be a way around it */
	bool throttled;		/* nothing is taken until the timer ends */
	int timerfd;		/* owned */
	struct loop_src timer_src;
	struct pmem_counters counters;
};

static struct pmem *pmem_of(struct virtio_dev *v)
{
	return container_of(v, struct pmem, v);
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* True if the requests in the queue may be taken; else the timer comes. */
static bool take(struct pmem *p)
{
	uint64_t wait_ns;

	if (limiter_off(&p->limiter))
		return true;
	wait_ns = limiter_take(&p->limiter, p->disk->bytes, loop_now_ns());
	if (wait_ns == 0)
		return true;
	virtio_count(&p->counters.throttled);
	/* #syscalls loop: timerfd_settime */
	p->throttled = loop_timer_set(p->timerfd, wait_ns, 0) == 0;
	return !p->throttled;
}

static void answer(struct pmem *p, const struct waiting *w, uint32_t result)
{
	uint8_t raw[ANSWER_BYTES];
	const uint8_t *from = raw;

	num_put_le32(raw, result);
	for (unsigned i = 0; i < w->n; from += w->answer[i++].iov_len)
		memcpy(w->answer[i].iov_base, from, w->answer[i].iov_len);
	virtio_push(&p->v, 0, w->head, ANSWER_BYTES);
}

/* False: the device has failed. */
static bool parse(struct pmem *p, const struct virtq_chain *c)
{
	struct waiting *w = &p->waiting[p->n_waiting];
	struct iovec parts[LIMIT_SEGS];
	uint8_t raw[REQUEST_BYTES];

	w->head = c->head;
	w->n = virtq_slice(c, VIRTQ_IN, 0, ANSWER_BYTES, parts);
	if (w->n == 0 || !virtq_read(c, 0, raw, sizeof(raw))) {
		virtio_count(&p->counters.malformed);
		virtio_fail(&p->v, "request without a type, or without room for the answer");
		return false;
	}
	memcpy(w->answer, parts, w->n * sizeof(parts[0]));
	if (num_get_le32(raw) == VIRTIO_PMEM_REQ_TYPE_FLUSH) {
		p->n_waiting++;
	} else {
		virtio_count(&p->counters.unsupported);
		answer(p, w, FAILURE);
	}
	return true;
}

/* Takes what is in the queue, a batch at most, once the limiter lets it pass. */
static void collect(struct pmem *p)
{
	struct virtq *vq = &p->v.queues[0];
	unsigned budget = VIRTIO_BATCH;
	struct virtq_chain c;

	do {
		virtq_kicks_off(vq);
		while (virtio_pop(&p->v, 0, &c)) {
			if (budget == VIRTIO_BATCH && !take(p)) {
				virtq_unpop(vq, 1); /* we come back: kicks stay off */
				return;
			}
			if (!parse(p, &c))
				return;
			if (--budget == 0) {
				p->v.link->kick(p->v.link, 0);
				return;
			}
		}
	} while (virtq_kicks_on(vq));
}

static void finish(struct pmem *p, int result)
{
	for (unsigned i = 0; i < p->n_waiting; i++)
		answer(p, &p->waiting[i], result < 0 ? FAILURE : 0);
	count(result < 0 ? &p->counters.failed : &p->counters.flushes, p->n_waiting);
	p->n_waiting = 0;
	p->flushing = false;
	virtio_end(&p->v);
}

static void kick(struct virtio_dev *v, unsigned q)
{
	struct pmem *p = pmem_of(v);
	int r;

	(void)q;
	if (p->flushing || p->throttled)
		return;
	collect(p);
	if (p->n_waiting > 0) {
		p->flushing = true;
		virtio_begin(v);
		virtio_count(&p->counters.syncs);
		p->req = (struct disk_req){ .op = DISK_FLUSH };
		r = disk_submit(p->disk, &p->req);
		if (r == -EINPROGRESS)
			disk_commit(p->disk);
		else
			finish(p, r);
	}
	virtio_notify(v, 0);
}

static void on_done(void *owner, const struct disk_result *results, unsigned n)
{
	struct pmem *p = owner;

	(void)n; /* there is never more than one */
	virtio_lock(&p->v);
	finish(p, results[0].result);
	virtio_notify(&p->v, 0);
	/* What was rung meanwhile was not looked at. */
	p->v.link->kick(p->v.link, 0);
	virtio_unlock(&p->v);
}

static void on_timer(struct loop_src *src, uint32_t events)
{
	struct pmem *p = container_of(src, struct pmem, timer_src);

	(void)events;
	loop_drain(p->timerfd);
	virtio_lock(&p->v);
	virtio_count(&p->counters.limiter_events);
	p->throttled = false;
	p->v.link->kick(p->v.link, 0);
	virtio_unlock(&p->v);
}

static const void *config(struct virtio_dev *v, size_t *ret_len)
{
	*ret_len = sizeof(pmem_of(v)->config);
	return &pmem_of(v)->config;
}

static void release(struct pmem *p)
{
	disk_destroy(p->disk);
	loop_del(p->loop, &p->timer_src);
	fd_close(p->timerfd);
	free(p);
}

/* The flush that is under way is done before a VM stands still. */
static int hold(struct virtio_dev *v, uint64_t deadline_ns)
{
	return disk_drain(pmem_of(v)->disk, deadline_ns);
}

static void fields(struct virtio_dev *v, struct state *s)
{
	struct pmem *p = pmem_of(v);

	state_fixed(s, "start", p->config.start);
	state_fixed(s, "size", p->config.size);
	limiter_state(&p->limiter, s, loop_now_ns());
}

static void destroy(struct virtio_dev *v)
{
	virtio_done(v);
	release(pmem_of(v));
}

static const struct virtio_ops pmem_ops = {
	.name = "pmem",
	.id = VIRTIO_ID_PMEM,
	.queue_max = QUEUE_SIZE,
	.config = config,
	.config_write = virtio_no_config_write,
	.activate = virtio_no_activate,
	.kick = kick,
	.cancel = virtio_no_cancel,
	.pause = hold,
	.reset = virtio_no_reset,
	.state = fields,
	.destroy = destroy,
};

static int set_up(struct pmem *p, const struct pmem_params *params, int fd, struct volt_err *err)
{
	struct disk_params disk = {
		.read_only = params->read_only,
		.in_flight = 1,
		.done = on_done,
		.owner = p,
	};
	int r;

	p->timerfd = loop_timer_open(err);
	if (p->timerfd < 0)
		return p->timerfd;
	r = loop_add(p->loop, &p->timer_src, p->timerfd, EPOLLIN);
	if (r < 0)
		return volt_err_set(err, -r, "watch the timer: %m");
	return disk_create(params->uring, fd, p->loop, &disk, &p->disk, err);
}

int pmem_create(const struct pmem_params *params, int fd, struct loop *loop,
	struct virtio_dev **ret, struct volt_err *err)
{
	struct pmem *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return volt_err_set(err, ENOMEM, "%m");
	p->loop = loop;
	p->timerfd = -1;
	p->timer_src = (struct loop_src){ on_timer, "pmem limit", -1 };
	p->config.start = params->region->gpa;
	p->config.size = params->region->bytes;
	limiter_init(&p->limiter, &params->limiter, loop_now_ns());
	r = set_up(p, params, fd, err);
	if (r < 0) {
		release(p);
		return r;
	}
	virtio_init(&p->v, &pmem_ops, params->id, 0, 1);
	*ret = &p->v;
	return 0;
}

void pmem_limit(struct virtio_dev *v, const struct bucket_params *bandwidth,
	const struct bucket_params *ops)
{
	struct pmem *p = pmem_of(v);
	struct limiter_params params = { p->limiter.bandwidth.params, p->limiter.ops.params };
	struct limiter before;

	virtio_lock(v);
	before = p->limiter;
	if (bandwidth)
		params.bandwidth = *bandwidth;
	if (ops)
		params.ops = *ops;
	limiter_init(&p->limiter, &params, loop_now_ns());
	if (!bandwidth)
		p->limiter.bandwidth = before.bandwidth;
	if (!ops)
		p->limiter.ops = before.ops;
	p->throttled = false; /* it may let pass now what it has kept back */
	v->link->kick(v->link, 0);
	virtio_unlock(v);
}

const struct pmem_counters *pmem_counters(const struct virtio_dev *v)
{
	return &container_of(v, struct pmem, v)->counters;
}
