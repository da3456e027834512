/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The statistics of virtio-balloon (virtio 1.2, section 5.5.6.4). The driver gives a buffer with
 * its first values at once, and the device keeps it; to ask for new ones it is given back, and
 * comes again filled. So the timer runs, once, from the moment that a buffer has come: on the loop
 * thread, where it may be set, and never for a driver that does not answer.
 */
#include "balloon-dev.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <string.h>

#include "cleanup.h"
#include "log.h"
#include "num.h"
#include "state.h"

#define STAT_BYTES 10u /* u16 tag, u64 value */
#define STATS_MAX  64u /* in a buffer; Linux sends 10 to 16 */

const char *const balloon_stat_names[BALLOON_STATS] = {
	"swap_in",
	"swap_out",
	"major_faults",
	"minor_faults",
	"free_memory",
	"total_memory",
	"available_memory",
	"disk_caches",
	"hugetlb_allocations",
	"hugetlb_failures",
	"oom_kill",
	"alloc_stall",
	"async_scan",
	"direct_scan",
	"async_reclaim",
	"direct_reclaim",
};

static void arm(struct balloon *b)
{
	loop_timer_set(b->timerfd, b->interval_s * NSEC_PER_SEC, 0);
}

/* Lets the driver fill the buffer anew; while the device stands still, that waits. */
static void give_back(struct balloon *b)
{
	if (!b->held)
		return;
	if (!virtio_running(&b->v)) {
		arm(b);
		return;
	}
	b->held = false;
	virtio_push(&b->v, b->held_queue, b->held_head, 0);
	virtio_notify(&b->v, b->held_queue);
}

static void on_timer(struct loop_src *src, uint32_t events)
{
	struct balloon *b = container_of(src, struct balloon, timer_src);

	(void)events;
	loop_drain(b->timerfd);
	virtio_lock(&b->v);
	if (b->again)
		arm(b);
	give_back(b);
	virtio_unlock(&b->v);
}

static void read_stats(struct balloon *b, const struct virtq_chain *c)
{
	uint8_t raw[STATS_MAX * STAT_BYTES];
	uint64_t n = MIN(c->out_len / STAT_BYTES, (uint64_t)STATS_MAX);

	if (n == 0 || c->in_len > 0 || c->out_len != n * STAT_BYTES)
		virtio_count(&b->counters.stats_failed);
	if (n == 0 || !virtq_read(c, 0, raw, n * STAT_BYTES))
		return;
	for (const uint8_t *p = raw; p < raw + n * STAT_BYTES; p += STAT_BYTES) {
		uint16_t tag = num_get_le16(p);

		if (tag >= BALLOON_STATS) {
			virtio_count(&b->counters.stats_unknown);
			log_guest(LOG_WARN, "balloon: unknown stats update tag: %u", tag);
			continue;
		}
		b->stats[tag] = num_get_le64(p + 2);
		b->stats_known |= 1u << tag;
	}
}

void balloon_stats_handle(struct virtio_dev *v, unsigned q, const struct virtq_chain *c)
{
	struct balloon *b = balloon_of(v);

	if (b->again) { /* its values are known, and the timer runs */
		b->again = false;
		b->held = true;
		b->held_head = c->head;
		b->held_queue = q;
		return;
	}
	virtio_count(&b->counters.stats_updates);
	if (b->held) {
		/* It has two, and needs one. */
		virtio_count(&b->counters.stats_failed);
		give_back(b);
	}
	read_stats(b, c);
	b->held = true;
	b->held_head = c->head;
	b->held_queue = q;
	arm(b);
}

void balloon_stats_reset(struct balloon *b)
{
	b->held = b->again = false;
	b->stats_known = 0;
}

/* The one that is held was the last to be taken. */
void balloon_stats_pause(struct balloon *b)
{
	if (!b->held || !virtio_alive(&b->v))
		return;
	virtq_unpop(&b->v.queues[b->held_queue], 1);
	b->held = false;
	b->again = true;
}

void balloon_stats_state(struct balloon *b, struct state *s)
{
	uint16_t interval_s = b->interval_s;

	state_u16(s, "stats-interval-s", &interval_s);
	if (state_loading(s) && (interval_s == 0) != (b->interval_s == 0))
		state_refuse(s, "stats-interval-s", "statistics cannot be switched on or off");
	b->interval_s = interval_s;
	state_bool(s, "stats-held", &b->again);
	state_u32(s, "stats-known", &b->stats_known);
	for (unsigned i = 0; i < BALLOON_STATS; i++)
		state_u64(s, "stat", &b->stats[i]);
	if (!state_loading(s))
		return;
	if (b->stats_known >> BALLOON_STATS)
		state_refuse(s, "stats-known", "0x%x has values that are not", b->stats_known);
	if (b->again && (b->interval_s == 0 || !virtio_acked(&b->v, VIRTIO_BALLOON_F_STATS_VQ)))
		state_refuse(s, "stats-held", "there are no statistics");
	else if (b->again)
		arm(b);
}

int balloon_read_stats(struct virtio_dev *v, struct balloon_stats *ret)
{
	struct balloon *b = balloon_of(v);

	if (b->interval_s == 0)
		return -ENOTSUP;
	virtio_lock(v);
	ret->target_pages = num_get_le32(
		b->config + offsetof(struct virtio_balloon_config, num_pages));
	ret->actual_pages =
		num_get_le32(b->config + offsetof(struct virtio_balloon_config, actual));
	ret->known = b->stats_known;
	memcpy(ret->values, b->stats, sizeof(ret->values));
	virtio_unlock(v);
	return 0;
}

int balloon_set_interval(struct virtio_dev *v, uint16_t interval_s)
{
	struct balloon *b = balloon_of(v);

	if (interval_s == b->interval_s)
		return 0;
	if (interval_s == 0 || b->interval_s == 0)
		return -ENOTSUP;
	virtio_lock(v);
	b->interval_s = interval_s;
	if (b->again)
		arm(b);
	give_back(b);
	virtio_unlock(v);
	return 0;
}

int balloon_stats_init(struct balloon *b, struct volt_err *err)
{
	int r;

	b->timer_src = (struct loop_src){ on_timer, "balloon-stats", -1 };
	b->timerfd = -1;
	if (b->interval_s == 0)
		return 0;
	b->timerfd = loop_timer_open(err);
	if (b->timerfd < 0)
		return b->timerfd;
	r = loop_add(b->loop, &b->timer_src, b->timerfd, EPOLLIN);
	if (r < 0) {
		b->timerfd = fd_close(b->timerfd);
		return volt_err_set(err, -r, "watch the timer: %m");
	}
	return 0;
}

void balloon_stats_done(struct balloon *b)
{
	loop_del(b->loop, &b->timer_src);
	b->timerfd = fd_close(b->timerfd);
}
