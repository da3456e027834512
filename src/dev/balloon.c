/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-balloon: its life, target, inflating, deflating and reporting; see balloon.h. */
#include "balloon-dev.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <stdlib.h>
#include <string.h>

#include "num.h"
#include "state.h"

#define PFN_BYTES    4u
#define PFNS_MAX     4096u /* in a buffer: Linux sends 256; what is more is not looked at */
#define PFNS_AT_ONCE 256u
#define BUDGET	     4 /* buffers a round: each may take the host's kernel milliseconds */

#define NUM_PAGES offsetof(struct virtio_balloon_config, num_pages)
#define ACTUAL	  offsetof(struct virtio_balloon_config, actual)

static_assert(sizeof(((struct balloon *)0)->config) ==
		offsetof(struct virtio_balloon_config, poison_val),
	"");

/* -- giving memory back ---------------------------------------------------------------------- */

/* Pages in a row, which are given back with one call. */
struct run {
	uint64_t first, n;
};

static void discard_run(struct balloon *b, struct run *run)
{
	uint64_t ram;

	if (run->n == 0)
		return;
	if (gmem_discard(b->v.queues[0].mem, GPA(run->first << VIRTIO_BALLOON_PFN_SHIFT),
		    run->n << VIRTIO_BALLOON_PFN_SHIFT, &ram) < 0)
		virtio_count(&b->counters.discard_errors);
	ram >>= VIRTIO_BALLOON_PFN_SHIFT;
	if (ram > 0)
		virtio_count(&b->counters.discards);
	balloon_add(&b->counters.inflated_pages, ram);
	balloon_add(&b->counters.skipped_pages, run->n - ram);
	run->n = 0;
}

/* Linux' allocator hands pages out in rows, upwards or downwards. */
static void add_page(struct balloon *b, struct run *run, uint64_t pfn)
{
	if (run->n > 0 && pfn == run->first + run->n) {
		run->n++;
	} else if (run->n > 0 && pfn + 1 == run->first) {
		run->first--;
		run->n++;
	} else {
		discard_run(b, run);
		*run = (struct run){ pfn, 1 };
	}
}

/* The pages that a buffer names; what is not a whole number, or too much, is not looked at. */
static uint64_t count_pages(struct balloon *b, const struct virtq_chain *c)
{
	uint64_t n = MIN(c->out_len / PFN_BYTES, (uint64_t)PFNS_MAX);

	if (c->in_len > 0 || c->out_len != n * PFN_BYTES)
		virtio_count(&b->counters.malformed);
	return n;
}

static void inflate(struct virtio_dev *v, unsigned q, const struct virtq_chain *c)
{
	struct balloon *b = balloon_of(v);
	uint64_t left = count_pages(b, c), off = 0;
	uint8_t pfns[PFNS_AT_ONCE * PFN_BYTES];
	struct run run = { 0 };

	while (left > 0) {
		uint64_t n = MIN(left, (uint64_t)PFNS_AT_ONCE);

		if (!virtq_read(c, off, pfns, n * PFN_BYTES))
			break;
		for (uint64_t i = 0; i < n; i++)
			add_page(b, &run, num_get_le32(pfns + i * PFN_BYTES));
		off += n * PFN_BYTES;
		left -= n;
	}
	discard_run(b, &run);
	virtio_push(v, q, c->head, 0);
}

static void deflate(struct virtio_dev *v, unsigned q, const struct virtq_chain *c)
{
	struct balloon *b = balloon_of(v);

	balloon_add(&b->counters.deflated_pages, count_pages(b, c));
	virtio_push(v, q, c->head, 0);
}

void balloon_discard(const struct virtq_chain *c, _Atomic uint64_t *ranges, _Atomic uint64_t *bytes,
	_Atomic uint64_t *errors)
{
	struct iovec iov[LIMIT_SEGS];
	unsigned n = virtq_slice(c, VIRTQ_IN, 0, c->in_len, iov);

	for (unsigned i = 0; i < n; i++) {
		virtio_count(ranges);
		if (gmem_discard_slice(&iov[i]) < 0)
			virtio_count(errors);
		else
			balloon_add(bytes, iov[i].iov_len);
	}
}

static void report(struct virtio_dev *v, unsigned q, const struct virtq_chain *c)
{
	struct balloon_counters *k = &balloon_of(v)->counters;

	if (c->out_len > 0 || c->in_len == 0)
		virtio_count(&k->malformed);
	balloon_discard(c, &k->report_ranges, &k->report_bytes, &k->report_errors);
	virtio_push(v, q, c->head, 0);
}

static void kick(struct virtio_dev *v, unsigned q)
{
	static void (*const handlers[BALLOON_ROLES])(struct virtio_dev *v, unsigned q,
		const struct virtq_chain *c) = {
		[BALLOON_INFLATE] = inflate,
		[BALLOON_DEFLATE] = deflate,
		[BALLOON_STATS_QUEUE] = balloon_stats_handle,
		[BALLOON_HINT_QUEUE] = balloon_hint_handle,
		[BALLOON_REPORT_QUEUE] = report,
	};
	struct balloon *b = balloon_of(v);

	if (q >= b->n_roles)
		return; /* a queue whose feature was not negotiated */
	if (b->roles[q] == BALLOON_INFLATE)
		virtio_count(&b->counters.inflates);
	else if (b->roles[q] == BALLOON_DEFLATE)
		virtio_count(&b->counters.deflates);
	virtio_drain(v, q, BUDGET, handlers[b->roles[q]]);
}

/* -- configuration space ---------------------------------------------------------------------- */

static const void *config(struct virtio_dev *v, size_t *ret_len)
{
	*ret_len = sizeof(balloon_of(v)->config);
	return balloon_of(v)->config;
}

/* The driver says how many pages it has given up. */
static int config_write(struct virtio_dev *v, size_t off, const void *data, size_t len)
{
	if (off < ACTUAL || off + len > ACTUAL + sizeof(uint32_t))
		return -EINVAL;
	memcpy(balloon_of(v)->config + off, data, len);
	return 0;
}

void balloon_config_put(struct balloon *b, size_t off, uint32_t value)
{
	num_put_le32(b->config + off, value);
	virtio_config_changed(&b->v);
}

void balloon_read_params(struct virtio_dev *v, struct balloon_params *ret)
{
	struct balloon *b = balloon_of(v);

	virtio_lock(v);
	*ret = (struct balloon_params){
		.amount_mib = num_get_le32(b->config + NUM_PAGES) / BALLOON_PAGES_PER_MIB,
		.stats_interval_s = b->interval_s,
		.deflate_on_oom = v->features & VIRTIO_BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM),
		.hinting = v->features & VIRTIO_BIT(VIRTIO_BALLOON_F_FREE_PAGE_HINT),
		.reporting = v->features & VIRTIO_BIT(VIRTIO_BALLOON_F_REPORTING),
	};
	virtio_unlock(v);
}

int balloon_set_target(struct virtio_dev *v, uint32_t amount_mib)
{
	int r = 0;

	virtio_lock(v);
	if (!balloon_active(v))
		r = -ENXIO;
	else if (amount_mib * MIB > gmem_bytes(v->queues[0].mem))
		r = -ERANGE;
	else
		balloon_config_put(
			balloon_of(v), NUM_PAGES, amount_mib * BALLOON_PAGES_PER_MIB);
	virtio_unlock(v);
	return r;
}

/* -- life ------------------------------------------------------------------------------------- */

/* Linux numbers only the queues whose feature it has negotiated. */
static int activate(struct virtio_dev *v)
{
	struct balloon *b = balloon_of(v);

	b->n_roles = 0;
	b->roles[b->n_roles++] = BALLOON_INFLATE;
	b->roles[b->n_roles++] = BALLOON_DEFLATE;
	if (virtio_acked(v, VIRTIO_BALLOON_F_STATS_VQ))
		b->roles[b->n_roles++] = BALLOON_STATS_QUEUE;
	if (virtio_acked(v, VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		b->roles[b->n_roles++] = BALLOON_HINT_QUEUE;
	if (virtio_acked(v, VIRTIO_BALLOON_F_REPORTING))
		b->roles[b->n_roles++] = BALLOON_REPORT_QUEUE;
	return 0;
}

static void reset(struct virtio_dev *v)
{
	struct balloon *b = balloon_of(v);

	num_put_le32(b->config + ACTUAL, 0); /* the driver has taken all pages back */
	balloon_stats_reset(b);
	balloon_hint_reset(b);
}

static int hold(struct virtio_dev *v, uint64_t deadline_ns)
{
	(void)deadline_ns;
	virtio_lock(v);
	balloon_stats_pause(balloon_of(v));
	virtio_unlock(v);
	return 0;
}

static void fields(struct virtio_dev *v, struct state *s)
{
	struct balloon *b = balloon_of(v);

	state_bytes(s, "config", b->config, sizeof(b->config));
	balloon_stats_state(b, s);
	balloon_hint_state(b, s);
	if (state_loading(s) &&
		num_get_le32(b->config + NUM_PAGES) / BALLOON_PAGES_PER_MIB >
			gmem_bytes(v->queues[0].mem) / MIB)
		state_refuse(s, "config", "the target is more than the guest's memory");
}

static void destroy(struct virtio_dev *v)
{
	struct balloon *b = balloon_of(v);

	balloon_stats_done(b);
	virtio_done(v);
	free(b);
}

static const struct virtio_ops balloon_ops = {
	.name = "balloon",
	.id = VIRTIO_ID_BALLOON,
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

static uint64_t features_of(const struct balloon_params *p)
{
	uint64_t f = 0;

	if (p->stats_interval_s > 0)
		f |= VIRTIO_BIT(VIRTIO_BALLOON_F_STATS_VQ);
	if (p->deflate_on_oom)
		f |= VIRTIO_BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
	if (p->hinting)
		f |= VIRTIO_BIT(VIRTIO_BALLOON_F_FREE_PAGE_HINT);
	if (p->reporting)
		f |= VIRTIO_BIT(VIRTIO_BALLOON_F_REPORTING);
	return f;
}

int balloon_create(const struct balloon_params *p, struct loop *loop, struct virtio_dev **ret,
	struct volt_err *err)
{
	struct balloon *b = calloc(1, sizeof(*b));
	unsigned n_queues = 2u + (p->stats_interval_s > 0) + p->hinting + p->reporting;
	int r;

	assert(p->amount_mib <= LIMIT_MEM_MIB);
	if (!b)
		return volt_err_set(err, ENOMEM, "balloon: %m");
	b->loop = loop;
	b->interval_s = p->stats_interval_s;
	num_put_le32(b->config + NUM_PAGES, p->amount_mib * BALLOON_PAGES_PER_MIB);
	r = balloon_stats_init(b, err);
	if (r < 0) {
		free(b);
		return volt_err_wrap(err, "balloon");
	}
	virtio_init(&b->v, &balloon_ops, "balloon", features_of(p), n_queues);
	*ret = &b->v;
	return 0;
}

const struct balloon_counters *balloon_counters(const struct virtio_dev *v)
{
	return &container_of(v, struct balloon, v)->counters;
}
