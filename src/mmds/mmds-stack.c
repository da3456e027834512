/* SPDX-License-Identifier: Apache-2.0 */
/* The network stack on one interface, see mmds-stack.h. */
#include "mmds-stack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define MTU	     1500 /* if it is not known */
#define IP_TCP_BYTES 40 /* the headers in it */
#define ISS_STEP     0x10001u /* between the first sequence numbers of two connections */

struct reset {
	struct mmds_frame_peer peer;
	struct mmds_frame_segment segment;
};

struct mmds_stack {
	struct mmds *m; /* borrowed */
	uint32_t ipv4;
	unsigned mss_max;
	/*
	 * Random at the start only: who could guess the rest is the guest, at the other end.
	 */
	uint32_t iss;

	bool arp_due;
	struct mmds_frame_peer arp_peer;

	/* A ring. */
	struct reset resets[MMDS_STACK_RESETS];
	unsigned first_reset, n_resets;

	struct mmds_tcp *tcps[MMDS_STACK_CONNECTIONS]; /* owned; the first n_tcps */
	unsigned n_tcps;
	unsigned turn; /* the connection that is the next to send */
};

static void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

int mmds_stack_create(struct mmds *m, uint32_t ipv4, unsigned mtu, struct mmds_stack **ret,
	struct volt_err *err)
{
	struct mmds_stack *s = calloc(1, sizeof(*s));

	if (!s)
		return volt_err_set(err, ENOMEM, "MMDS: %m");
	s->m = m;
	s->ipv4 = ipv4;
	s->mss_max = (mtu ? MIN(mtu, MTU) : MTU) - IP_TCP_BYTES;
	if (getrandom(&s->iss, sizeof(s->iss), 0) != sizeof(s->iss)) {
		free(s);
		return volt_err_set(err, errno ? errno : EIO, "MMDS: getrandom: %m");
	}
	*ret = s;
	return 0;
}

void mmds_stack_destroy(struct mmds_stack *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->n_tcps; i++)
		mmds_tcp_free(s->tcps[i]);
	free(s);
}

bool mmds_stack_wants(const struct mmds_stack *s, const uint8_t *head, size_t n)
{
	return mmds_frame_wants(head, n, s->ipv4);
}

/* -- from the guest -------------------------------------------------------------------------- */

static void add_reset(struct mmds_stack *s, const struct mmds_frame_peer *peer,
	const struct mmds_frame_segment *segment)
{
	unsigned at = (s->first_reset + s->n_resets) % MMDS_STACK_RESETS;

	if (s->n_resets == MMDS_STACK_RESETS)
		return;
	s->resets[at] = (struct reset){ *peer, *segment };
	s->n_resets++;
}

/* RFC 9293, 3.5.2: the answer to a segment that belongs to no connection. */
static void refuse(struct mmds_stack *s, const struct mmds_frame_peer *peer,
	const struct mmds_frame_segment *to)
{
	struct mmds_frame_segment rst = { .port = to->port, .flags = MMDS_FRAME_RST };

	count(&s->m->counters.rx_accepted_unusual, 1);
	if (to->flags & MMDS_FRAME_RST)
		return;
	if (to->flags & MMDS_FRAME_ACK) {
		rst.seq = to->ack;
	} else {
		rst.flags |= MMDS_FRAME_ACK;
		rst.ack = to->seq + (uint32_t)to->len + !!(to->flags & MMDS_FRAME_SYN) +
			!!(to->flags & MMDS_FRAME_FIN);
	}
	add_reset(s, peer, &rst);
}

/* The number of the guest's connection, n_tcps if there is none. */
static unsigned find(const struct mmds_stack *s, const struct mmds_frame_peer *peer)
{
	unsigned i = 0;

	for (; i < s->n_tcps; i++) {
		const struct mmds_frame_peer *p = mmds_tcp_peer(s->tcps[i]);

		if (p->ipv4 == peer->ipv4 && p->port == peer->port)
			break;
	}
	return i;
}

static void forget(struct mmds_stack *s, unsigned i)
{
	mmds_tcp_free(s->tcps[i]);
	s->tcps[i] = s->tcps[--s->n_tcps];
	count(&s->m->counters.connections_destroyed, 1);
}

/* Makes room for one more connection; false: all are in use. */
static bool evict(struct mmds_stack *s, uint64_t now_ns)
{
	struct mmds_frame_segment rst;
	unsigned oldest = 0;

	if (s->n_tcps < MMDS_STACK_CONNECTIONS)
		return true;
	for (unsigned i = 1; i < s->n_tcps; i++)
		if (mmds_tcp_heard_ns(s->tcps[i]) < mmds_tcp_heard_ns(s->tcps[oldest]))
			oldest = i;
	if (now_ns - mmds_tcp_heard_ns(s->tcps[oldest]) < MMDS_TCP_IDLE_NS)
		return false;
	mmds_tcp_abort(s->tcps[oldest], &rst);
	add_reset(s, mmds_tcp_peer(s->tcps[oldest]), &rst);
	forget(s, oldest);
	return true;
}

static void accept(struct mmds_stack *s, const struct mmds_frame_peer *peer,
	const struct mmds_frame_segment *syn, uint64_t now_ns)
{
	struct mmds_tcp *t = NULL;

	if (evict(s, now_ns))
		t = mmds_tcp_open(s->m, peer, syn, s->iss, s->mss_max, now_ns);
	if (!t) {
		refuse(s, peer, syn);
		return;
	}
	s->iss += ISS_STEP;
	s->tcps[s->n_tcps++] = t;
	count(&s->m->counters.connections_created, 1);
}

static void take_segment(struct mmds_stack *s, const struct mmds_frame_peer *peer,
	const struct mmds_frame_segment *segment, uint64_t now_ns)
{
	unsigned opening = MMDS_FRAME_SYN | MMDS_FRAME_ACK | MMDS_FRAME_RST | MMDS_FRAME_FIN;
	unsigned i = find(s, peer);

	count(&s->m->counters.rx_count, 1);
	if (segment->port != MMDS_TCP_PORT) {
		refuse(s, peer, segment);
	} else if (i < s->n_tcps) {
		if (!mmds_tcp_receive(s->tcps[i], segment, now_ns))
			count(&s->m->counters.rx_accepted_unusual, 1);
		if (mmds_tcp_done(s->tcps[i]))
			forget(s, i);
	} else if ((segment->flags & opening) == MMDS_FRAME_SYN) {
		accept(s, peer, segment, now_ns);
	} else {
		refuse(s, peer, segment);
	}
}

void mmds_stack_take(struct mmds_stack *s, const uint8_t *frame, size_t n, uint64_t now_ns)
{
	struct mmds_counters *c = &s->m->counters;
	struct mmds_frame_segment segment;
	struct mmds_frame_peer peer;

	count(&c->rx_accepted, 1);
	switch (mmds_frame_read(frame, n, &peer, &segment)) {
	case MMDS_FRAME_ARP:
		s->arp_peer = peer;
		s->arp_due = true;
		break;
	case MMDS_FRAME_TCP:
		take_segment(s, &peer, &segment, now_ns);
		break;
	case MMDS_FRAME_OTHER:
		count(&c->rx_accepted_unusual, 1);
		break;
	case MMDS_FRAME_BROKEN:
		count(&c->rx_accepted_err, 1);
		break;
	case MMDS_FRAME_SHORT:
		count(&c->rx_bad_eth, 1);
		break;
	}
}

/* -- to the guest ---------------------------------------------------------------------------- */

uint64_t mmds_stack_due_ns(const struct mmds_stack *s)
{
	uint64_t due_ns = MMDS_TCP_NEVER;

	if (s->arp_due || s->n_resets > 0)
		return 0;
	for (unsigned i = 0; i < s->n_tcps; i++)
		due_ns = MIN(due_ns, mmds_tcp_due_ns(s->tcps[i]));
	return due_ns;
}

/* A segment of any connection, each time beginning with another. */
static size_t give_segment(struct mmds_stack *s, uint8_t *frame, uint64_t now_ns)
{
	struct mmds_frame_segment segment;
	size_t bytes = 0;

	for (unsigned n = s->n_tcps; n > 0 && bytes == 0; n--) {
		unsigned i = s->turn++ % s->n_tcps;
		struct mmds_tcp *t = s->tcps[i];

		if (mmds_tcp_due_ns(t) > now_ns)
			continue;
		if (mmds_tcp_send(t, &segment, now_ns))
			bytes = mmds_frame_write_tcp(frame, s->ipv4, mmds_tcp_peer(t), &segment);
		if (mmds_tcp_done(t))
			forget(s, i);
	}
	return bytes;
}

size_t mmds_stack_give(struct mmds_stack *s, uint8_t *frame, uint64_t now_ns)
{
	struct mmds_counters *c = &s->m->counters;
	size_t bytes;

	if (s->arp_due) {
		bytes = mmds_frame_write_arp(frame, s->ipv4, &s->arp_peer);
		s->arp_due = false;
	} else if (s->n_resets > 0) {
		const struct reset *r = &s->resets[s->first_reset];

		bytes = mmds_frame_write_tcp(frame, s->ipv4, &r->peer, &r->segment);
		s->first_reset = (s->first_reset + 1) % MMDS_STACK_RESETS;
		s->n_resets--;
	} else {
		bytes = give_segment(s, frame, now_ns);
	}
	if (bytes > 0) {
		count(&c->tx_count, 1);
		count(&c->tx_frames, 1);
		count(&c->tx_bytes, bytes);
	}
	return bytes;
}
