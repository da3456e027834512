/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock: queues and packets; see vsock.h. Section numbers: virtio 1.2. */
#include "vsock.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"
#include "vsock-mux.h"

enum { QUEUE_RX, QUEUE_TX, QUEUE_EVENT, QUEUES };

#define RX_MIN_BYTES (VSOCK_HEADER_BYTES + 1) /* a buffer of the guest: a header and a byte */
#define PUMP_BUDGET  32 /* turns of connections before others have theirs */

static struct vsock *vsock_of(struct virtio_dev *v)
{
	return container_of(v, struct vsock, v);
}

/* -- to the guest ---------------------------------------------------------------------------- */

/* Takes a buffer of the guest; false: there is none, or it broke the protocol. */
static bool pop_rx(struct vsock *s, struct virtq_chain *c)
{
	if (!virtio_pop(&s->v, QUEUE_RX, c))
		return false;
	if (c->out_len > 0 || c->in_len < RX_MIN_BYTES) {
		virtio_fail(&s->v, "rx buffer that is not writable or too small for a packet");
		return false;
	}
	return true;
}

static void push_rx(struct vsock *s, const struct virtq_chain *c, const struct virtio_vsock_hdr *h)
{
	bool ok = virtq_write(c, 0, h, sizeof(*h));

	assert(ok); /* pop_rx() looked */
	virtio_push(&s->v, QUEUE_RX, c->head, (uint32_t)sizeof(*h) + h->len);
	virtio_count(&s->counters.rx_packets);
}

/* The functions that send return false if the guest has no buffer. */
static bool send_reset(struct vsock *s)
{
	const struct vsock_reset *r = &s->resets[s->reset_at];
	struct virtio_vsock_hdr h = {
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = s->config.guest_cid,
		.src_port = r->host_port,
		.dst_port = r->guest_port,
		.type = r->type,
		.op = VIRTIO_VSOCK_OP_RST,
	};

	if (!pop_rx(s, &s->rx[0]))
		return false;
	push_rx(s, &s->rx[0], &h);
	s->reset_at = (s->reset_at + 1) % VSOCK_RESETS;
	s->n_resets--;
	return true;
}

static bool send_control(struct vsock *s, struct vsock_conn *c)
{
	struct virtio_vsock_hdr h;

	if (!pop_rx(s, &s->rx[0]))
		return false;
	vsock_conn_control(c, &h);
	push_rx(s, &s->rx[0], &h);
	return true;
}

/*
 * Takes as many buffers as `room` bytes need, or are there, or can be filled at once: their number;
 * *ret_bytes is what of `room` they hold, and s->iov, *ret_iovs where.
 */
static unsigned gather(struct vsock *s, unsigned most, uint32_t room, unsigned *ret_iovs,
	size_t *ret_bytes)
{
	unsigned n = 0;

	*ret_iovs = 0;
	*ret_bytes = 0;
	while (n < most && *ret_bytes < room && *ret_iovs + LIMIT_SEGS <= VSOCK_RX_IOVS &&
		pop_rx(s, &s->rx[n])) {
		size_t part = MIN(room - *ret_bytes, s->rx[n].in_len - VSOCK_HEADER_BYTES);

		*ret_iovs += virtq_slice(&s->rx[n], VIRTQ_IN, VSOCK_HEADER_BYTES, part,
			s->iov + *ret_iovs);
		*ret_bytes += part;
		n++;
	}
	return n;
}

/*
 * Reads from the host's socket right into buffers of the guest: one, and for a connection that
 * filled what it had the last time, several with one call. Those that stay empty are given back.
 */
static bool send_data(struct vsock *s, struct vsock_conn *c)
{
	unsigned n_iovs, used = 0;
	size_t bytes, got;
	unsigned n = gather(s, c->bulk ? VSOCK_RX_BATCH : 1, vsock_conn_room(c), &n_iovs, &bytes);
	struct virtio_vsock_hdr h;

	if (n == 0)
		return false;
	got = vsock_conn_read(c, s->iov, n_iovs, bytes);
	atomic_fetch_add_explicit(&s->counters.rx_bytes, got, memory_order_relaxed);
	for (; got > 0; used++) {
		size_t part = MIN(got, s->rx[used].in_len - VSOCK_HEADER_BYTES);

		vsock_conn_header(c, VIRTIO_VSOCK_OP_RW, (uint32_t)part, &h);
		push_rx(s, &s->rx[used], &h);
		got -= part;
	}
	virtq_unpop(&s->v.queues[QUEUE_RX], n - used);
	vsock_conn_turn_done(c);
	return true;
}

static bool send_next(struct vsock *s, bool *ret_sent)
{
	struct vsock_conn *c = TAILQ_FIRST(&s->urgent);

	if (!c)
		c = TAILQ_FIRST(&s->bulk);
	if (!c && s->n_resets == 0)
		return false;
	if (s->n_resets > 0)
		*ret_sent = send_reset(s);
	else
		*ret_sent = c->want ? send_control(s, c) : send_data(s, c);
	return true;
}

void vsock_pump(struct vsock *s)
{
	struct virtq *rx = &s->v.queues[QUEUE_RX];
	unsigned budget = PUMP_BUDGET;
	bool sent;

	if (virtio_alive(&s->v) && (!virtio_running(&s->v) || s->gated))
		return; /* paused */
	virtq_kicks_off(rx);
	while (virtio_running(&s->v)) {
		if (budget-- == 0) {
			s->v.link->kick(s->v.link, QUEUE_RX);
			break;
		}
		if (!send_next(s, &sent))
			break;
		/* Out of buffers: the kick for the next ones comes here again. */
		if (!sent && !virtq_kicks_on(rx))
			break;
	}
	virtio_notify(&s->v, QUEUE_RX);
	if (!virtio_running(&s->v))
		vsock_mux_drop(s);
}

/* -- from the guest -------------------------------------------------------------------------- */

/* A RST to who sent h, which belongs to no connection. Never in answer to one. */
static void reset_stranger(struct vsock *s, const struct virtio_vsock_hdr *h)
{
	if (h->op == VIRTIO_VSOCK_OP_RST)
		return;
	if (s->n_resets == VSOCK_RESETS) {
		virtio_count(&s->counters.rx_resets_lost);
		return;
	}
	s->resets[(s->reset_at + s->n_resets++) % VSOCK_RESETS] = (struct vsock_reset){
		.host_port = h->dst_port,
		.guest_port = h->src_port,
		.type = h->type,
	};
}

static void got_request(struct vsock *s, const struct virtio_vsock_hdr *h)
{
	struct vsock_conn *c = vsock_mux_add(s);

	if (!c) {
		virtio_count(&s->counters.connections_refused);
		reset_stranger(s, h);
		return;
	}
	c->host_port = h->dst_port;
	c->guest_port = h->src_port;
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	c->state = VSOCK_CALLING;
	c->give_up_ns = loop_now_ns() + VSOCK_TIMEOUT_NS;
	vsock_mux_insert(c);
	vsock_host_call(c);
}

/* Is what h says possible, whatever the connection? Only data has a payload. */
static bool is_sound(const struct virtio_vsock_hdr *h, const struct virtq_chain *chain)
{
	if (h->op == VIRTIO_VSOCK_OP_RST)
		return true;
	if (h->op == VIRTIO_VSOCK_OP_INVALID || h->op > VIRTIO_VSOCK_OP_CREDIT_REQUEST)
		return false;
	if (h->len > 0 && h->op != VIRTIO_VSOCK_OP_RW)
		return false;
	return h->len == chain->out_len - VSOCK_HEADER_BYTES;
}

static void got_packet(struct vsock *s, const struct virtq_chain *chain)
{
	struct virtio_vsock_hdr h;
	struct vsock_conn *c;

	virtio_count(&s->counters.tx_packets);
	if (!virtq_read(chain, 0, &h, sizeof(h))) {
		virtio_count(&s->counters.tx_malformed);
		return;
	}
	if (h.src_cid != s->config.guest_cid || h.dst_cid != VSOCK_HOST_CID) {
		virtio_count(&s->counters.tx_forged);
		return;
	}
	if (h.type != VIRTIO_VSOCK_TYPE_STREAM) { /* 5.10.6.5 wants an answer */
		virtio_count(&s->counters.tx_malformed);
		reset_stranger(s, &h);
		return;
	}
	c = vsock_mux_find(s, h.dst_port, h.src_port);
	if (!is_sound(&h, chain)) {
		virtio_count(&s->counters.tx_malformed);
		if (c)
			vsock_conn_abort(c);
		else
			reset_stranger(s, &h);
		return;
	}
	if (c)
		vsock_conn_packet(c, &h, chain);
	else if (h.op == VIRTIO_VSOCK_OP_REQUEST)
		got_request(s, &h);
	else
		reset_stranger(s, &h);
}

static void handle_tx(struct virtio_dev *v, unsigned q, const struct virtq_chain *chain)
{
	got_packet(vsock_of(v), chain);
	virtio_push(v, q, chain->head, 0);
}

/* -- events, configuration, life ------------------------------------------------------------- */

/* The driver's index of the available ring. */
static uint16_t given(const struct virtq *q)
{
	return (uint16_t)(q->next_avail + virtq_waiting(q));
}

static void send_event(struct vsock *s)
{
	struct virtio_vsock_event e = { .id = VIRTIO_VSOCK_EVENT_TRANSPORT_RESET };
	struct virtq *q = &s->v.queues[QUEUE_EVENT];
	struct virtq_chain *c = &s->rx[0];

	while (s->event_due && virtio_running(&s->v)) {
		if (!virtio_pop(&s->v, QUEUE_EVENT, c)) {
			if (!virtq_kicks_on(q))
				break; /* its kick comes here again */
			continue;
		}
		if (!virtq_write(c, 0, &e, sizeof(e))) {
			virtio_fail(&s->v, "event buffer that is too small");
			return;
		}
		virtio_push(&s->v, QUEUE_EVENT, c->head, sizeof(e));
		s->event_due = false;
		s->gate_idx = given(q);
		s->gate_until_ns = loop_now_ns() + VSOCK_TIMEOUT_NS;
	}
	virtio_notify(&s->v, QUEUE_EVENT);
}

/* A driver that has dealt with the event gives its buffer back; that need not come with a kick. */
bool vsock_passed(struct vsock *s)
{
	if (!s->gated || !virtio_running(&s->v))
		return !s->gated;
	send_event(s);
	if (s->event_due || !virtio_running(&s->v))
		return false; /* no buffer yet: its kick comes here */
	if (given(&s->v.queues[QUEUE_EVENT]) == s->gate_idx && loop_now_ns() < s->gate_until_ns) {
		vsock_mux_arm(s, loop_now_ns() + VSOCK_GATE_NS);
		return false;
	}
	s->gated = false;
	vsock_host_listen(s);
	virtio_kick_all(&s->v);
	return true;
}

void vsock_transport_reset(struct virtio_dev *v)
{
	struct vsock *s = vsock_of(v);

	virtio_lock(v);
	vsock_mux_drop(s);
	s->n_resets = 0;
	if (virtio_alive(v)) {
		s->event_due = s->gated = s->v.queues[QUEUE_EVENT].live;
		vsock_passed(s);
		if (virtio_running(v) && !s->gated)
			vsock_host_listen(s);
	}
	virtio_unlock(v);
}

static void kick(struct virtio_dev *v, unsigned q)
{
	struct vsock *s = vsock_of(v);

	if (q == QUEUE_RX || q == QUEUE_TX)
		virtio_count(q == QUEUE_RX ? &s->counters.rx_kicks : &s->counters.tx_kicks);
	if (!vsock_passed(s))
		return;
	vsock_host_listen(s); /* the first kick comes with DRIVER_OK */
	if (q == QUEUE_TX)
		virtio_drain(v, q, VIRTIO_BATCH, handle_tx);
	vsock_pump(s);
}

static void cancel(struct virtio_dev *v)
{
	vsock_mux_drop(vsock_of(v));
}

static int hold(struct virtio_dev *v, uint64_t deadline_ns)
{
	(void)deadline_ns;
	vsock_mux_enter(vsock_of(v));
	vsock_mux_pause(vsock_of(v));
	vsock_mux_leave(vsock_of(v));
	return 0;
}

static void go_on(struct virtio_dev *v)
{
	if (vsock_mux_enter(vsock_of(v)))
		vsock_mux_resume(vsock_of(v));
	vsock_mux_leave(vsock_of(v));
}

static void reset(struct virtio_dev *v)
{
	vsock_of(v)->n_resets = 0;
	vsock_of(v)->event_due = vsock_of(v)->gated = false;
}

/* Connections end with the machine that had them: the guest is told when it goes on. */
static void fields(struct virtio_dev *v, struct state *s)
{
	struct vsock *k = vsock_of(v);

	state_fixed(s, "cid", k->config.guest_cid);
	state_u32(s, "next-port", &k->next_port);
	if (!state_loading(s))
		return;
	if (k->next_port < VSOCK_HOST_PORT || k->next_port > VSOCK_HOST_PORT_LAST)
		state_refuse(s, "next-port", "%u is none of ours", k->next_port);
	k->event_due = k->gated = virtio_alive(v) && v->queues[QUEUE_EVENT].live;
}

static const void *config(struct virtio_dev *v, size_t *ret_len)
{
	*ret_len = sizeof(struct virtio_vsock_config);
	return &vsock_of(v)->config;
}

static void destroy(struct virtio_dev *v)
{
	struct vsock *s = vsock_of(v);

	vsock_mux_done(s);
	virtio_done(v);
	free(s);
}

static const struct virtio_ops vsock_ops = {
	.name = "vsock",
	.id = VIRTIO_ID_VSOCK,
	.queue_max = LIMIT_QUEUE_SIZE,
	.config = config,
	.config_write = virtio_no_config_write,
	.activate = virtio_no_activate,
	.kick = kick,
	.cancel = cancel,
	.pause = hold,
	.resume = go_on,
	.reset = reset,
	.state = fields,
	.destroy = destroy,
};

int vsock_create(const struct vsock_params *params, int listenfd, struct loop *loop,
	struct virtio_dev **ret, struct volt_err *err)
{
	struct vsock *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return volt_err_set(err, ENOMEM, "vsock: %m");
	assert(params->cid > VSOCK_HOST_CID && params->cid < UINT32_MAX);
	assert(strlen(params->path) < sizeof(s->path));
	s->loop = loop;
	s->config.guest_cid = params->cid;
	snprintf(s->path, sizeof(s->path), "%s", params->path);
	virtio_init(&s->v, &vsock_ops, "vsock", 0, QUEUES);
	r = vsock_mux_init(s, err);
	if (r < 0) {
		destroy(&s->v);
		return r;
	}
	s->listenfd = listenfd;
	*ret = &s->v;
	return 0;
}

const struct vsock_counters *vsock_counters(const struct virtio_dev *v)
{
	return &container_of(v, struct vsock, v)->counters;
}
