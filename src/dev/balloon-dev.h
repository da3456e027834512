/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of virtio-balloon: what its files share. Everything is under the device's lock; queues
 * are served on the loop thread.
 */
#ifndef VOLT_BALLOON_DEV_H
#define VOLT_BALLOON_DEV_H

#include "balloon.h"
#include "loop.h"
#include "virtio.h"

struct state;

enum balloon_role {
	BALLOON_INFLATE,
	BALLOON_DEFLATE,
	BALLOON_STATS_QUEUE,
	BALLOON_HINT_QUEUE,
	BALLOON_REPORT_QUEUE,
	BALLOON_ROLES,
};

struct balloon {
	struct virtio_dev v;
	struct loop *loop;
	uint8_t config[12]; /* as the driver sees it */
	/* Queues are numbered without those that were not negotiated. */
	enum balloon_role roles[BALLOON_ROLES];
	unsigned n_roles;

	uint16_t interval_s; /* 0: no statistics */
	int timerfd;	     /* owned; -1: no statistics */
	struct loop_src timer_src;
	bool held; /* a buffer of the statistics, which is given back to ask for new ones */
	uint16_t held_head;
	unsigned held_queue;
	bool again; /* it lies in its queue while the VM stands still, and is taken again */
	uint32_t stats_known;
	uint64_t stats[BALLOON_STATS];

	struct balloon_hinting hinting;
	uint32_t last_run; /* command id of the last run */
	bool ack;	   /* the guest need not wait for the host at the end of the run */

	struct balloon_counters counters;
};

static inline struct balloon *balloon_of(struct virtio_dev *v)
{
	return container_of(v, struct balloon, v);
}

/* A driver is there and can be told something, now or when the VM goes on. Lock held. */
static inline bool balloon_active(const struct virtio_dev *v)
{
	return virtio_alive(v);
}

static inline void balloon_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/*
 * Gives every range of the in part back to the host and counts them; the guest promises that it
 * does not need the content.
 */
void balloon_discard(const struct virtq_chain *c, _Atomic uint64_t *ranges, _Atomic uint64_t *bytes,
	_Atomic uint64_t *errors);

/* A new word in the configuration space, at off; tells the driver if it runs. */
void balloon_config_put(struct balloon *b, size_t off, uint32_t value);

/* balloon-stats.c */
int balloon_stats_init(struct balloon *b, struct volt_err *err);
void balloon_stats_done(struct balloon *b);
void balloon_stats_reset(struct balloon *b);
void balloon_stats_pause(struct balloon *b);
void balloon_stats_state(struct balloon *b, struct state *s);
void balloon_stats_handle(struct virtio_dev *v, unsigned q, const struct virtq_chain *c);

/* balloon-hint.c */
void balloon_hint_reset(struct balloon *b);
void balloon_hint_state(struct balloon *b, struct state *s);
void balloon_hint_handle(struct virtio_dev *v, unsigned q, const struct virtq_chain *c);

#endif
