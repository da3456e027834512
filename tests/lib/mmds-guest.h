/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's side of the metadata service's network stack: frames made with the C library's own
 * headers, and an oracle for those that come back. For unit tests and the fuzz target; aborts on a
 * frame that is not right in every field and checksum.
 */
#ifndef VOLT_MMDS_GUEST_H
#define VOLT_MMDS_GUEST_H

#include <net/ethernet.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>

#include "mmds-stack.h"

#define MMDS_GUEST_IPV4	  0xa9fe0101u /* 169.254.1.1 */
#define MMDS_GUEST_FRAME  (14 + 60 + 60 + 65535)
#define MMDS_GUEST_ANSWER (1 << 17) /* in all that one asks for at a time */

extern const uint8_t mmds_guest_mac[6];

/* A client: its connection, and what came. */
struct mmds_guest_tcp {
	uint16_t port, to; /* its own, the service's */
	uint32_t seq, ack; /* the next byte that it sends, and expects */
	uint16_t window;
	uint16_t mss; /* of the service's SYN */
	uint16_t their_window;
	bool synced, fin, rst;
	unsigned segments, empty; /* that came; without data */
	size_t longest; /* bytes of data in one */
	char *in;	/* MMDS_GUEST_ANSWER bytes, NUL behind them */
	size_t in_len;
};

struct mmds_guest {
	struct mmds *m;
	struct mmds_stack *s;
	uint32_t ipv4; /* the service's */
	uint64_t now_ns;
	bool deaf; /* frames to the guest are lost */
	unsigned arps; /* answers that came */
	unsigned strays; /* segments that belong to no client */
	struct mmds_guest_tcp *tcps[64];
	unsigned n_tcps;
};

/* Aborts if it is no frame that the service may send; else what is in it. */
struct mmds_guest_seen {
	bool arp;
	struct tcphdr tcp; /* in the order of the network */
	uint16_t mss;
	const uint8_t *data;
	size_t len;
};
void mmds_guest_check(const uint8_t *frame, size_t n, uint32_t ipv4, struct mmds_guest_seen *ret);

void mmds_guest_open(struct mmds_guest *g, size_t limit);
void mmds_guest_close(struct mmds_guest *g);

/* Puts JSON into the store. */
void mmds_guest_put(struct mmds_guest *g, const char *json);

/* Make a frame; its length. */
size_t mmds_guest_arp(uint8_t *frame, uint32_t ipv4);
size_t mmds_guest_segment(uint8_t *frame, uint32_t ipv4, const struct mmds_guest_tcp *t,
	unsigned flags, const void *data, size_t len);

/* A client that has sent nothing; freed with g. */
struct mmds_guest_tcp *mmds_guest_tcp(struct mmds_guest *g, uint16_t port);

/* Sends one segment, at t->seq; seq is moved on only by what is in it. */
void mmds_guest_send(struct mmds_guest *g, struct mmds_guest_tcp *t, unsigned flags,
	const void *data, size_t len);

/* Takes all frames that are due, without an answer to them. Their number. */
unsigned mmds_guest_fetch(struct mmds_guest *g);

/* Connects; false: it was refused. */
bool mmds_guest_connect(struct mmds_guest *g, struct mmds_guest_tcp *t);

/* Acknowledges what came, as long as something comes (but not for ever). */
void mmds_guest_settle(struct mmds_guest *g, struct mmds_guest_tcp *t);

/* A request on an open connection; the whole answer, in t->in. */
const char *mmds_guest_ask(struct mmds_guest *g, struct mmds_guest_tcp *t, const char *request);

#endif
