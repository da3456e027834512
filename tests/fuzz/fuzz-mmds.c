/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata service against a hostile guest: raw frames, segments of many connections with
 * flags, numbers and data of the input's choice, time that passes, frames that are fetched or not.
 * Oracles: each frame that comes is right in every field and checksum, and within what the client
 * allows; fetching ends; what the service holds is bounded; and at the end of each input a guest in
 * its right mind, on the same stack, is still served whole and right.
 */
#include <sanitizer/allocator_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "input.h"
#include "mmds-guest.h"

#define CLIENTS	 40u
#define SANE	 60000u /* the port of the guest in its right mind */
#define BIG	 3000u
#define HELD_MAX (4u << 20) /* 30 connections: 66 KiB of parser each, buffers, answers */

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

static const char *const texts[] = {
	"GET / HTTP/1.1\r\n\r\n",
	"GET /big HTTP/1.1\r\nAccept: application/json\r\n\r\n",
	"GET /a/b/ HTTP/1.0\r\n\r\n",
	"PUT /latest/api/token HTTP/1.1\r\nX-metadata-token-ttl-seconds: 60\r\n\r\n",
	"GET /~0~1/0 HTTP/1.1\r\nX-aws-ec2-metadata-token: AAAA\r\n",
	"X-metadata-token: ",
	"Content-Length: 10\r\n\r\n",
	"Transfer-Encoding: chunked\r\n\r\n",
	"\r\n",
	"PATCH //",
};

static struct mmds_guest g;
static char big[BIG + 1];

/* In place of the C library's: the key and the sequence numbers are the same each time. */
ssize_t getrandom(void *buf, size_t len, unsigned flags)
{
	(void)flags;
	memset(buf, 0xff, len);
	return (ssize_t)len;
}

/* Bytes to send: one of the texts, or what the input has. */
static size_t data(struct input *in, const void **ret)
{
	static const uint8_t zeros[4096];
	uint8_t kind = take(in);

	if (kind < ARRAY_SIZE(texts)) {
		*ret = texts[kind];
		return strlen(texts[kind]);
	}
	if (kind < 128) {
		size_t n = MIN((size_t)kind, in->left);

		*ret = in->p;
		in->p += n;
		in->left -= n;
		return n;
	}
	*ret = zeros;
	return (size_t)(kind - 128) * 32;
}

/* A segment of one of the clients; most continue what was, some are from elsewhere. */
static void segment(struct input *in)
{
	struct mmds_guest_tcp *t = g.tcps[take(in) % CLIENTS];
	uint8_t how = take(in), flags = take(in);
	uint32_t seq = t->seq, ack = t->ack;
	const void *bytes = NULL;
	size_t n = how & 1 ? data(in, &bytes) : 0;

	if (how & 2)
		t->seq += (uint32_t)(int16_t)take16(in);
	if (how & 4)
		t->ack += (uint32_t)(int16_t)take16(in);
	if (how & 8)
		t->window = take16(in);
	if (how & 16) {
		t->seq ^= (uint32_t)take16(in) << 16;
		t->ack ^= (uint32_t)take16(in) << 16;
	}
	if (how & 32)
		t->to = take16(in) % 128;
	mmds_guest_send(&g, t, flags, bytes, n);
	if (how & (2 | 4 | 16)) { /* a client that goes on as if nothing had been */
		t->seq = seq;
		t->ack = ack;
	}
	t->to = 80;
}

/* The opening, as far as it goes. */
static void open(struct input *in)
{
	struct mmds_guest_tcp *t = g.tcps[take(in) % CLIENTS];

	t->synced = false;
	t->window = take16(in);
	mmds_guest_send(&g, t, TH_SYN, NULL, 0);
	mmds_guest_fetch(&g);
	if (t->synced)
		mmds_guest_send(&g, t, TH_ACK, NULL, 0);
}

/* Anything that an interface would hand to the service; its address may be in it. */
static void raw(struct input *in)
{
	uint8_t frame[512], *copy;
	size_t n = take16(in) % sizeof(frame);

	n = MIN(n, in->left);
	memcpy(frame, in->p, n);
	in->p += n;
	in->left -= n;
	if (n >= 14) {
		frame[12] = 0x08;
		frame[13] = (uint8_t)(frame[13] & 1 ? 6 : 0);
	}
	if (n >= 34)
		memcpy(frame + 30, (const uint8_t[]){ 169, 254, 169, 254 }, 4);
	copy = malloc(n + !n); /* so that ASan sees a byte too many */
	MUST(copy);
	memcpy(copy, frame, n);
	mmds_stack_wants(g.s, copy, MIN(n, MMDS_FRAME_HEAD));
	mmds_stack_take(g.s, copy, n, g.now_ns);
	free(copy);
}

static void arp(void)
{
	uint8_t frame[64];

	mmds_stack_take(g.s, frame, mmds_guest_arp(frame, g.ipv4), g.now_ns);
}

static void step(struct input *in)
{
	switch (take(in) % 10) {
	case 0:
		raw(in);
		break;
	case 1:
		open(in);
		break;
	case 2:
		arp();
		break;
	case 3:
		g.now_ns += (uint64_t)take(in) * 50000000;
		break;
	case 4:
		g.deaf = take(in) & 1;
		mmds_guest_fetch(&g);
		break;
	case 5:
		mmds_guest_settle(&g, g.tcps[take(in) % CLIENTS]);
		break;
	default:
		segment(in);
	}
	for (unsigned i = 0; i < g.n_tcps; i++) { /* what came is of no more interest */
		g.tcps[i]->in_len = 0;
		g.tcps[i]->rst = false;
	}
}

/* The clients live from one input to the next, the service is new. */
static void begin(void)
{
	static char json[BIG + 100];

	for (unsigned i = 0; g.n_tcps <= CLIENTS; i++)
		mmds_guest_tcp(&g, i < CLIENTS ? (uint16_t)(1000 + i) : SANE);
	for (unsigned i = 0; i < BIG; i++)
		big[i] = (char)('a' + i % 26);
	snprintf(json, sizeof(json), "{\"big\":\"%s\",\"a\":{\"b\":[1,\"x\"]},\"~/\":[null]}", big);
	g.ipv4 = MMDS_IPV4;
	g.now_ns = NSEC_PER_SEC;
	MUST(mmds_create("vm-1", 51200, &g.m, NULL) == 0);
	MUST(mmds_stack_create(g.m, g.ipv4, 0, &g.s, NULL) == 0);
	mmds_guest_put(&g, json);
}

/* Who has been silent for long makes room, so this must work whatever was before. */
static void served(void)
{
	struct mmds_guest_tcp *t = g.tcps[CLIENTS];
	char *body;

	g.deaf = false;
	g.now_ns += 2 * MMDS_TCP_IDLE_NS;
	mmds_guest_fetch(&g);
	t->synced = t->rst = t->fin = false;
	t->window = 4000;
	MUST(mmds_guest_connect(&g, t));
	body = strstr(mmds_guest_ask(&g, t, "GET /big HTTP/1.1\r\n\r\n"), "\r\n\r\n");
	MUST(body && strcmp(body + 4, big) == 0);
	mmds_guest_send(&g, t, TH_ACK | TH_FIN, NULL, 0);
	mmds_guest_settle(&g, t);
	MUST(t->fin && !t->rst);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = { bytes, len };
	const struct mmds_counters *c;
	size_t before;

	begin();
	before = __sanitizer_get_current_allocated_bytes();
	while (in.left > 0)
		step(&in);
	served();
	c = &g.m->counters;
	MUST(c->connections_created - c->connections_destroyed <= MMDS_STACK_CONNECTIONS);
	MUST(__sanitizer_get_current_allocated_bytes() <= before + HELD_MAX);
	mmds_stack_destroy(g.s);
	mmds_destroy(g.m);
	return 0;
}
