/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng, see rng.h. */
#include "rng.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/random.h>

#include "throttle.h"
#include "virtio.h"

#define QUEUE_SIZE 64
#define BUDGET	   8 /* requests of RNG_BYTES_MAX a round: about a millisecond */

struct rng {
	struct virtio_dev v;
	struct throttle throttle;
	struct rng_counters counters;
};

/* Fills the buffers in place. Bytes written: fewer than asked for only if getrandom() fails. */
static uint32_t fill(const struct iovec *iov, unsigned n)
{
	uint32_t done = 0;

	for (unsigned i = 0; i < n; i++) {
		for (size_t off = 0; off < iov[i].iov_len;) {
			/* #syscalls loop: getrandom */
			ssize_t got = getrandom(
				(uint8_t *)iov[i].iov_base + off, iov[i].iov_len - off, 0);

			if (got < 0 && errno == EINTR)
				continue;
			if (got <= 0)
				return done;
			off += (size_t)got;
			done += (uint32_t)got;
		}
	}
	return done;
}

static void handle(struct virtio_dev *v, unsigned q, const struct virtq_chain *c)
{
	struct rng *g = container_of(v, struct rng, v);
	uint64_t want = MIN(c->in_len, (uint64_t)RNG_BYTES_MAX);
	struct iovec iov[LIMIT_SEGS];
	uint32_t got;

	if (!throttle_take(&g->throttle, want, &g->counters.throttled)) {
		virtio_put_back(v);
		return;
	}
	got = fill(iov, virtq_slice(c, VIRTQ_IN, 0, want, iov));
	virtio_count(&g->counters.requests);
	atomic_fetch_add_explicit(&g->counters.bytes, got, memory_order_relaxed);
	if (got < want)
		virtio_count(&g->counters.failed);
	virtio_push(v, q, c->head, got);
}

static void kick(struct virtio_dev *v, unsigned q)
{
	if (!throttle_holds(&container_of(v, struct rng, v)->throttle))
		virtio_drain(v, q, BUDGET, handle);
}

static void on_timer(struct loop_src *src, uint32_t events)
{
	struct rng *g = container_of(src, struct rng, throttle.src);

	(void)events;
	virtio_lock(&g->v);
	if (throttle_expire(&g->throttle, &g->counters.limiter_events))
		virtio_kick_all(&g->v);
	virtio_unlock(&g->v);
}

static void fields(struct virtio_dev *v, struct state *s)
{
	throttle_state(&container_of(v, struct rng, v)->throttle, s);
}

static void destroy(struct virtio_dev *v)
{
	struct rng *g = container_of(v, struct rng, v);

	throttle_close(&g->throttle);
	virtio_done(v);
	free(g);
}

static const struct virtio_ops rng_ops = {
	.name = "rng",
	.id = VIRTIO_ID_RNG,
	.queue_max = QUEUE_SIZE,
	.config = virtio_no_config,
	.config_write = virtio_no_config_write,
	.activate = virtio_no_activate,
	.kick = kick,
	.cancel = virtio_no_cancel,
	.reset = virtio_no_reset,
	.state = fields,
	.destroy = destroy,
};

int rng_create(const struct limiter_params *limit, struct loop *loop, struct virtio_dev **ret,
	struct volt_err *err)
{
	struct rng *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return volt_err_set(err, ENOMEM, "rng: %m");
	r = throttle_open(&g->throttle, loop, limit, "rng", on_timer, err);
	if (r < 0) {
		throttle_close(&g->throttle);
		free(g);
		return r;
	}
	virtio_init(&g->v, &rng_ops, "rng", 0, 1);
	*ret = &g->v;
	return 0;
}

void rng_set_limiter(struct virtio_dev *v, const struct limiter_change *change)
{
	virtio_lock(v);
	throttle_change(&container_of(v, struct rng, v)->throttle, change);
	virtio_unlock(v);
}

const struct rng_counters *rng_counters(const struct virtio_dev *v)
{
	return &container_of(v, struct rng, v)->counters;
}
