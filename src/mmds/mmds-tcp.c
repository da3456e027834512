/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of the guest, see mmds-tcp.h. Sequence numbers are compared by difference. */
#include "mmds-tcp.h"

#include <stdlib.h>
#include <string.h>

#include "mmds-http.h"

struct mmds_tcp {
	struct mmds *m; /* borrowed */
	struct mmds_frame_peer peer;
	unsigned mss;  /* of what we send */
	unsigned offer; /* of what the guest may send; in our SYN */
	uint64_t heard_ns;

	bool established;
	bool fin_received; /* nothing more comes */
	bool closing;	   /* nothing more goes but a FIN */
	bool resetting;	   /* a RST goes, then it is done */
	bool done;

	/* What comes: [rcv_nxt - in_len, rcv_nxt) is in the buffer. */
	uint32_t rcv_nxt;
	bool ack_now;
	uint8_t in[MMDS_FRAME_WINDOW];
	size_t in_len;
	struct http_parser *parser; /* owned */
	size_t request_bytes;	    /* of the unfinished request, that the parser has */

	/*
	 * What goes: [snd_una, snd_max) was sent, snd_nxt is the next to be sent. It is our SYN
	 * (before `established`), the answer, which begins at out_seq, or our FIN behind it.
	 */
	uint32_t snd_una, snd_nxt, snd_max, snd_window;
	uint32_t out_seq;
	char *out; /* owned; NULL: no answer is under way */
	size_t out_len;

	uint64_t timer_ns; /* when to send again; 0: nothing waits for an answer */
	bool probing;	   /* one byte may go into a window of zero */
	unsigned tries;
};

static int32_t diff(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b);
}

struct mmds_tcp *mmds_tcp_open(struct mmds *m, const struct mmds_frame_peer *peer,
	const struct mmds_frame_segment *syn, uint32_t iss, unsigned mss_max, uint64_t now_ns)
{
	struct mmds_tcp *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	/* No request here needs a body: one that announces some is a fault when it does. */
	t->parser = http_parser_new(0);
	if (!t->parser) {
		free(t);
		return NULL;
	}
	t->m = m;
	t->peer = *peer;
	t->offer = mss_max;
	t->mss = MIN(mss_max, syn->mss ? MAX(syn->mss, MMDS_TCP_MSS_MIN) : MMDS_TCP_MSS);
	t->heard_ns = now_ns;
	t->rcv_nxt = syn->seq + 1;
	t->snd_una = t->snd_nxt = t->snd_max = iss;
	t->snd_window = syn->window;
	t->out_seq = iss + 1;
	return t;
}

void mmds_tcp_free(struct mmds_tcp *t)
{
	if (!t)
		return;
	http_parser_free(t->parser);
	free(t->out);
	free(t);
}

const struct mmds_frame_peer *mmds_tcp_peer(const struct mmds_tcp *t)
{
	return &t->peer;
}

bool mmds_tcp_done(const struct mmds_tcp *t)
{
	return t->done;
}

uint64_t mmds_tcp_heard_ns(const struct mmds_tcp *t)
{
	return t->heard_ns;
}

static unsigned window(const struct mmds_tcp *t)
{
	return (unsigned)(sizeof(t->in) - t->in_len);
}

/* -- requests -------------------------------------------------------------------------------- */

/* Puts the answer under way. */
static void start_answer(struct mmds_tcp *t, struct http_response *resp, unsigned minor)
{
	t->out = http_response_bytes(resp, minor, MMDS_SERVER, &t->out_len);
	free(resp->body);
	if (!t->out) {
		atomic_fetch_add_explicit(&t->m->counters.tx_errors, 1, memory_order_relaxed);
		t->resetting = true;
	}
}

/* Gives the parser what is in the buffer, up to the end of a request, and answers that. */
static void parse(struct mmds_tcp *t, uint64_t now_ns)
{
	struct http_response resp = { 0 };
	const struct http_request *req;
	size_t taken = 0;

	switch (http_parser_feed(t->parser, (const char *)t->in, t->in_len, &taken)) {
	case HTTP_REQUEST:
		req = http_parser_request(t->parser);
		mmds_http_serve(t->m, req, now_ns, &resp);
		start_answer(t, &resp, req->minor);
		t->request_bytes = 0;
		break;
	case HTTP_FAULT:
		mmds_http_fault(http_parser_fault(t->parser), &resp);
		start_answer(t, &resp, 1);
		t->request_bytes = 0;
		break;
	case HTTP_MORE:
	case HTTP_CONTINUE: /* only before a body, and there is none here */
		t->request_bytes += taken;
		/* As Firecracker does, whose buffer is full then. */
		if (t->request_bytes >= sizeof(t->in) || taken == 0)
			t->resetting = true;
		break;
	}
	/* Our window grows: the guest is told if it may have been at its end. */
	if (taken > 0 && window(t) < t->offer)
		t->ack_now = true;
	memmove(t->in, t->in + taken, t->in_len - taken);
	t->in_len -= taken;
}

/* As far as it goes. */
static void work(struct mmds_tcp *t, uint64_t now_ns)
{
	while (!t->out && t->in_len > 0 && !t->resetting)
		parse(t, now_ns);
	if (!t->out && t->fin_received && t->in_len == 0)
		t->closing = true;
}

/* -- from the guest -------------------------------------------------------------------------- */

/* One behind the last byte of ours that goes before a FIN. */
static uint32_t out_end(const struct mmds_tcp *t)
{
	return t->out_seq + (uint32_t)t->out_len;
}

/* An answer is there, and the window of the guest is what keeps all of it back. */
static bool shut(const struct mmds_tcp *t)
{
	return t->out && t->snd_window == 0 && diff(out_end(t), t->snd_nxt) > 0;
}

static void receive_ack(struct mmds_tcp *t, const struct mmds_frame_segment *s, uint64_t now_ns)
{
	/* It opens, and the probe was not taken, as a rule. */
	if (t->snd_window == 0 && s->window > 0)
		t->snd_nxt = t->snd_una;
	t->snd_window = s->window;
	t->tries = 0; /* the guest lives */
	if (s->ack == t->snd_una)
		return;
	t->snd_una = s->ack;
	if (diff(t->snd_nxt, t->snd_una) < 0)
		t->snd_nxt = t->snd_una;
	t->probing = false;
	t->timer_ns = t->snd_max == t->snd_una ? 0 : now_ns + MMDS_TCP_RTO_NS;
	if (t->out && diff(t->snd_una, out_end(t)) >= 0) {
		t->out_seq = out_end(t);
		free(t->out);
		t->out = NULL;
		t->out_len = 0;
	}
	if (t->closing && diff(t->snd_una, out_end(t)) > 0)
		t->done = true; /* our FIN has arrived */
}

/* Takes what is new, in order and inside the window; and the FIN behind it. */
static void receive_data(struct mmds_tcp *t, const struct mmds_frame_segment *s)
{
	int32_t old = diff(t->rcv_nxt, s->seq); /* bytes of it that we have already */
	bool fin = s->flags & MMDS_FRAME_FIN;
	size_t new, n;

	if (s->len == 0 && !fin) {
		/* A keep-alive or a probe of a window, both before what is expected. */
		if (old != 0)
			t->ack_now = true;
		return;
	}
	t->ack_now = true;
	if (t->fin_received || old < 0 || (size_t)old > s->len)
		return;
	new = s->len - (size_t)old;
	n = MIN(new, (size_t)window(t));
	if (n > 0)
		memcpy(t->in + t->in_len, s->data + old, n);
	t->in_len += n;
	t->rcv_nxt += (uint32_t)n;
	if (fin && n == new) {
		t->rcv_nxt++;
		t->fin_received = true;
	}
}

/* Of the segment's first byte. */
static bool in_window(const struct mmds_tcp *t, uint32_t seq)
{
	int32_t ahead = diff(seq, t->rcv_nxt);

	return ahead >= 0 && ahead <= (int32_t)window(t);
}

bool mmds_tcp_receive(struct mmds_tcp *t, const struct mmds_frame_segment *s, uint64_t now_ns)
{
	if (t->done || t->resetting)
		return false;
	t->heard_ns = now_ns;
	if (s->flags & MMDS_FRAME_RST) {
		t->done = in_window(t, s->seq);
		return t->done;
	}
	if (s->flags & MMDS_FRAME_SYN) {
		/* Its SYN again, to which the answer was lost; else RFC 5961, section 4. */
		if (!t->established && s->seq + 1 == t->rcv_nxt)
			t->snd_nxt = t->snd_una;
		else
			t->ack_now = t->established;
		return !t->established;
	}
	if (!(s->flags & MMDS_FRAME_ACK))
		return false;
	if (!t->established) {
		if (t->snd_max == t->snd_una || s->ack != t->snd_max) {
			t->resetting = true;
			return false;
		}
		t->established = true;
	}
	if (diff(s->ack, t->snd_max) > 0) {
		t->ack_now = true;
		return false;
	}
	if (diff(s->ack, t->snd_una) >= 0)
		receive_ack(t, s, now_ns);
	receive_data(t, s);
	work(t, now_ns);
	if (shut(t) && t->timer_ns == 0)
		t->timer_ns = now_ns + MMDS_TCP_RTO_NS;
	return true;
}

/* -- to the guest ---------------------------------------------------------------------------- */

/* Bytes of the answer that may go now. */
static size_t sendable(const struct mmds_tcp *t)
{
	int32_t left = diff(out_end(t), t->snd_nxt);
	int32_t room = diff(t->snd_una + MAX(t->snd_window, (uint32_t)t->probing), t->snd_nxt);

	if (!t->out || left <= 0 || room <= 0)
		return 0;
	return MIN(MIN((size_t)left, (size_t)room), (size_t)t->mss);
}

static bool fin_due(const struct mmds_tcp *t)
{
	return t->closing && t->snd_nxt == out_end(t);
}

uint64_t mmds_tcp_due_ns(const struct mmds_tcp *t)
{
	if (t->done)
		return MMDS_TCP_NEVER;
	if (t->resetting || t->ack_now || (!t->established && t->snd_nxt == t->snd_una) ||
		(t->established && (sendable(t) > 0 || fin_due(t))))
		return 0;
	return t->timer_ns ? t->timer_ns : MMDS_TCP_NEVER;
}

/* Nothing has come for too long: begin again where the guest stands, or give up. */
static void expire(struct mmds_tcp *t)
{
	t->timer_ns = 0;
	if (t->tries++ == MMDS_TCP_TRIES) {
		t->resetting = true;
		return;
	}
	t->snd_nxt = t->snd_una;
	t->probing = t->snd_window == 0;
}

static void fill(const struct mmds_tcp *t, uint32_t seq, unsigned flags, const char *data,
	size_t len, struct mmds_frame_segment *ret)
{
	*ret = (struct mmds_frame_segment){
		.seq = seq,
		.ack = t->rcv_nxt,
		.port = MMDS_TCP_PORT,
		.flags = (uint8_t)flags,
		.window = (uint16_t)window(t),
		.data = (const uint8_t *)data,
		.len = len,
	};
}

/* What takes room in the sequence: it is sent until it is acknowledged. */
static void sent(struct mmds_tcp *t, uint32_t n, uint64_t now_ns)
{
	t->snd_nxt += n;
	if (diff(t->snd_nxt, t->snd_max) > 0)
		t->snd_max = t->snd_nxt;
	if (t->timer_ns == 0)
		t->timer_ns = now_ns + MMDS_TCP_RTO_NS;
}

void mmds_tcp_abort(const struct mmds_tcp *t, struct mmds_frame_segment *ret)
{
	fill(t, t->snd_max, MMDS_FRAME_RST | MMDS_FRAME_ACK, NULL, 0, ret);
}

static bool send_first(struct mmds_tcp *t, struct mmds_frame_segment *ret, uint64_t now_ns)
{
	if (t->snd_nxt != t->snd_una)
		return false;
	fill(t, t->snd_una, MMDS_FRAME_SYN | MMDS_FRAME_ACK, NULL, 0, ret);
	ret->mss = (uint16_t)t->offer;
	sent(t, 1, now_ns);
	return true;
}

bool mmds_tcp_send(struct mmds_tcp *t, struct mmds_frame_segment *ret, uint64_t now_ns)
{
	uint32_t seq;
	size_t n;

	if (t->timer_ns && t->timer_ns <= now_ns)
		expire(t);
	seq = t->snd_nxt;
	if (t->done)
		return false;
	if (t->resetting) {
		mmds_tcp_abort(t, ret);
		t->done = true;
		return true;
	}
	if (!t->established)
		return send_first(t, ret, now_ns);
	n = sendable(t);
	if (n > 0) {
		fill(t, seq, MMDS_FRAME_ACK | MMDS_FRAME_PSH, t->out + (seq - t->out_seq), n, ret);
		sent(t, (uint32_t)n, now_ns);
	} else if (fin_due(t)) {
		fill(t, seq, MMDS_FRAME_ACK | MMDS_FRAME_FIN, NULL, 0, ret);
		sent(t, 1, now_ns);
	} else if (t->ack_now) {
		fill(t, seq, MMDS_FRAME_ACK, NULL, 0, ret);
	} else {
		return false;
	}
	t->ack_now = false;
	return true;
}
