/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free page hinting of virtio-balloon (virtio 1.2, section 5.5.6.5). The host starts a run by a new
 * command id in the configuration space. The guest answers on the queue with that id, then with
 * free pages, which it keeps, and with STOP when it has told all. It takes the pages back when the
 * host says DONE. What comes after that, or belongs to an earlier run, must be left alone: the
 * guest may use it again.
 */
#include "balloon-dev.h"

#include <errno.h>
#include <linux/virtio_balloon.h>

#include "num.h"
#include "state.h"

#define CMD_ID	  offsetof(struct virtio_balloon_config, free_page_hint_cmd_id)
#define CMD_BYTES 4u

static void tell(struct balloon *b, uint32_t cmd)
{
	b->hinting.host_cmd = cmd;
	balloon_config_put(b, CMD_ID, cmd);
}

static void take_command(struct balloon *b, const struct virtq_chain *c)
{
	struct balloon_hinting *h = &b->hinting;
	uint8_t raw[CMD_BYTES];

	if (c->out_len != CMD_BYTES || !virtq_read(c, 0, raw, CMD_BYTES)) {
		virtio_count(&b->counters.malformed);
		return;
	}
	h->guest_cmd = num_get_le32(raw);
	h->has_guest_cmd = true;
	if (h->guest_cmd < BALLOON_HINT_RUN && h->host_cmd >= BALLOON_HINT_RUN && b->ack)
		tell(b, BALLOON_HINT_DONE);
}

void balloon_hint_handle(struct virtio_dev *v, unsigned q, const struct virtq_chain *c)
{
	struct balloon *b = balloon_of(v);
	const struct balloon_hinting *h = &b->hinting;
	struct balloon_counters *k = &b->counters;

	if (c->out_len > 0)
		take_command(b, c);
	if (c->in_len > 0 && h->has_guest_cmd && h->guest_cmd == h->host_cmd &&
		h->host_cmd >= BALLOON_HINT_RUN)
		balloon_discard(c, &k->hint_ranges, &k->hint_bytes, &k->hint_errors);
	else
		balloon_add(&k->hint_stale, c->n_in);
	virtio_push(v, q, c->head, 0);
}

void balloon_hint_reset(struct balloon *b)
{
	b->hinting = (struct balloon_hinting){ .host_cmd = BALLOON_HINT_STOP };
	num_put_le32(b->config + CMD_ID, BALLOON_HINT_STOP);
}

void balloon_hint_state(struct balloon *b, struct state *s)
{
	struct balloon_hinting *h = &b->hinting;

	state_u32(s, "hint-host-cmd", &h->host_cmd);
	state_u32(s, "hint-guest-cmd", &h->guest_cmd);
	state_bool(s, "hint-has-guest-cmd", &h->has_guest_cmd);
	state_u32(s, "hint-last-run", &b->last_run);
	state_bool(s, "hint-ack", &b->ack);
}

static bool offered(const struct virtio_dev *v)
{
	return v->features & VIRTIO_BIT(VIRTIO_BALLOON_F_FREE_PAGE_HINT);
}

/* The command is chosen under the lock: NULL says DONE. */
static int command(struct virtio_dev *v, const bool *ack)
{
	struct balloon *b = balloon_of(v);
	int r = 0;

	if (!offered(v))
		return -ENOTSUP;
	virtio_lock(v);
	if (!balloon_active(v)) {
		r = -ENXIO;
	} else if (ack) {
		b->ack = *ack;
		b->last_run = MAX(b->last_run + 1, BALLOON_HINT_RUN);
		tell(b, b->last_run);
	} else {
		tell(b, BALLOON_HINT_DONE);
	}
	virtio_unlock(v);
	return r;
}

int balloon_start_hinting(struct virtio_dev *v, bool ack)
{
	return command(v, &ack);
}

int balloon_stop_hinting(struct virtio_dev *v)
{
	return command(v, NULL);
}

int balloon_read_hinting(struct virtio_dev *v, struct balloon_hinting *ret)
{
	if (!offered(v))
		return -ENOTSUP;
	virtio_lock(v);
	*ret = balloon_of(v)->hinting;
	virtio_unlock(v);
	return 0;
}
