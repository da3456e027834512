/* SPDX-License-Identifier: Apache-2.0 */
/* See mmds-guest.h. */
#include "mmds-guest.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

#define ROUNDS 300 /* of an exchange; the longest answer of a test takes some 40 */

const uint8_t mmds_guest_mac[6] = { 0x02, 0x10, 0x20, 0x30, 0x40, 0x50 };
static const uint8_t service_mac[6] = { 0x06, 0x01, 0x23, 0x45, 0x67, 0x01 };

/* -- the oracle ------------------------------------------------------------------------------ */

/* Of whole 16-bit words as they lie in memory; RFC 1071 allows any byte order. */
static uint16_t folded(const void *data, size_t n, uint32_t sum)
{
	const uint8_t *p = data;
	uint16_t word;

	for (; n > 1; n -= 2, p += 2) {
		memcpy(&word, p, 2);
		sum += word;
	}
	if (n) {
		word = 0;
		memcpy(&word, p, 1);
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint32_t pseudo(const struct iphdr *ip, size_t tcp_len)
{
	uint32_t addresses[2] = { ip->saddr, ip->daddr };

	return folded(addresses, 8, htons(IPPROTO_TCP) + htons((uint16_t)tcp_len));
}

static void check_arp(const uint8_t *p, size_t n, uint32_t ipv4)
{
	uint32_t ours = htonl(ipv4);
	struct ether_arp arp;

	MUST(n == sizeof(arp));
	memcpy(&arp, p, sizeof(arp));
	MUST(ntohs(arp.ea_hdr.ar_hrd) == ARPHRD_ETHER && ntohs(arp.ea_hdr.ar_pro) == ETHERTYPE_IP);
	MUST(arp.ea_hdr.ar_hln == 6 && arp.ea_hdr.ar_pln == 4);
	MUST(ntohs(arp.ea_hdr.ar_op) == ARPOP_REPLY);
	MUST(memcmp(arp.arp_sha, service_mac, 6) == 0 && memcmp(arp.arp_spa, &ours, 4) == 0);
}

static void check_ip(const uint8_t *p, size_t n, uint32_t ipv4, struct mmds_guest_seen *ret)
{
	struct iphdr ip;
	size_t header;

	MUST(n >= sizeof(ip) + sizeof(ret->tcp));
	memcpy(&ip, p, sizeof(ip));
	MUST(ip.version == 4 && ip.ihl == 5 && ntohs(ip.tot_len) == n && ip.ttl == 1);
	MUST(ip.protocol == IPPROTO_TCP && ntohl(ip.saddr) == ipv4);
	MUST((ntohs(ip.frag_off) & 0x3fff) == 0 && folded(p, sizeof(ip), 0) == 0xffff);
	p += sizeof(ip);
	n -= sizeof(ip);
	memcpy(&ret->tcp, p, sizeof(ret->tcp));
	MUST(folded(p, n, pseudo(&ip, n)) == 0xffff);
	header = ret->tcp.doff * 4u;
	MUST(header >= sizeof(ret->tcp) && header <= n && ntohs(ret->tcp.window) <= 2500);
	if (ret->tcp.syn) {
		MUST(header == sizeof(ret->tcp) + 4 && p[20] == TCPOPT_MAXSEG && p[21] == 4);
		ret->mss = (uint16_t)(p[22] << 8 | p[23]);
	} else {
		MUST(header == sizeof(ret->tcp));
	}
	ret->data = p + header;
	ret->len = n - header;
}

void mmds_guest_check(const uint8_t *frame, size_t n, uint32_t ipv4, struct mmds_guest_seen *ret)
{
	struct ether_header eth;

	memset(ret, 0, sizeof(*ret));
	MUST(n >= sizeof(eth) && n <= MMDS_STACK_FRAME);
	memcpy(&eth, frame, sizeof(eth));
	MUST(memcmp(eth.ether_shost, service_mac, 6) == 0);
	ret->arp = ntohs(eth.ether_type) == ETHERTYPE_ARP;
	MUST(ret->arp || ntohs(eth.ether_type) == ETHERTYPE_IP);
	if (ret->arp)
		check_arp(frame + sizeof(eth), n - sizeof(eth), ipv4);
	else
		check_ip(frame + sizeof(eth), n - sizeof(eth), ipv4, ret);
}

/* -- frames ---------------------------------------------------------------------------------- */

static size_t put_eth(uint8_t *frame, uint16_t type)
{
	struct ether_header eth = { .ether_type = htons(type) };

	memcpy(eth.ether_dhost, service_mac, 6);
	memcpy(eth.ether_shost, mmds_guest_mac, 6);
	memcpy(frame, &eth, sizeof(eth));
	return sizeof(eth);
}

size_t mmds_guest_arp(uint8_t *frame, uint32_t ipv4)
{
	uint32_t to = htonl(ipv4), from = htonl(MMDS_GUEST_IPV4);
	struct ether_arp arp = { .ea_hdr = { htons(ARPHRD_ETHER), htons(ETHERTYPE_IP), 6, 4,
					 htons(ARPOP_REQUEST) } };
	size_t at = put_eth(frame, ETHERTYPE_ARP);

	memcpy(arp.arp_sha, mmds_guest_mac, 6);
	memcpy(arp.arp_spa, &from, 4);
	memcpy(arp.arp_tpa, &to, 4);
	memcpy(frame + at, &arp, sizeof(arp));
	return at + sizeof(arp);
}

size_t mmds_guest_segment(uint8_t *frame, uint32_t ipv4, const struct mmds_guest_tcp *t,
	unsigned flags, const void *data, size_t len)
{
	size_t at = put_eth(frame, ETHERTYPE_IP);
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.ttl = 64,
		.protocol = IPPROTO_TCP,
		.tot_len = htons((uint16_t)(sizeof(ip) + sizeof(struct tcphdr) + len)),
		.saddr = htonl(MMDS_GUEST_IPV4),
		.daddr = htonl(ipv4),
	};
	struct tcphdr tcp = {
		.source = htons(t->port),
		.dest = htons(t->to),
		.seq = htonl(t->seq),
		.ack_seq = htonl(t->ack),
		.doff = 5,
		.window = htons(t->window),
	};

	tcp.th_flags = (uint8_t)flags;
	memcpy(frame + at, &ip, sizeof(ip));
	at += sizeof(ip);
	memcpy(frame + at, &tcp, sizeof(tcp));
	at += sizeof(tcp);
	if (len)
		memcpy(frame + at, data, len);
	return at + len;
}

/* -- a client -------------------------------------------------------------------------------- */

void mmds_guest_open(struct mmds_guest *g, size_t limit)
{
	memset(g, 0, sizeof(*g));
	g->ipv4 = MMDS_IPV4;
	g->now_ns = NSEC_PER_SEC;
	MUST(mmds_create("vm-1", limit, &g->m, NULL) == 0);
	MUST(mmds_stack_create(g->m, g->ipv4, 0, &g->s, NULL) == 0);
}

void mmds_guest_close(struct mmds_guest *g)
{
	mmds_stack_destroy(g->s);
	mmds_destroy(g->m);
	for (unsigned i = 0; i < g->n_tcps; i++) {
		free(g->tcps[i]->in);
		free(g->tcps[i]);
	}
}

void mmds_guest_put(struct mmds_guest *g, const char *json)
{
	json_t *v = json_loads(json, JSON_DECODE_ANY, NULL);

	MUST(v && mmds_store_put(&g->m->store, v) == 0);
	json_decref(v);
}

struct mmds_guest_tcp *mmds_guest_tcp(struct mmds_guest *g, uint16_t port)
{
	struct mmds_guest_tcp *t = calloc(1, sizeof(*t));

	MUST(t && g->n_tcps < ARRAY_SIZE(g->tcps));
	t->in = calloc(1, MMDS_GUEST_ANSWER + 1);
	MUST(t->in);
	t->port = port;
	t->to = 80;
	t->seq = 0xfffffff0u + port; /* wraps around in the middle of a request */
	t->window = 65535;
	g->tcps[g->n_tcps++] = t;
	return t;
}

void mmds_guest_send(struct mmds_guest *g, struct mmds_guest_tcp *t, unsigned flags,
	const void *data, size_t len)
{
	static uint8_t frame[MMDS_GUEST_FRAME];
	size_t n = mmds_guest_segment(frame, g->ipv4, t, flags, data, len);

	MUST(mmds_stack_wants(g->s, frame, MIN(n, MMDS_FRAME_HEAD)));
	mmds_stack_take(g->s, frame, MIN(n, MMDS_FRAME_MAX), g->now_ns);
	t->seq += (uint32_t)len + !!(flags & TH_SYN) + !!(flags & TH_FIN);
}

static void receive(struct mmds_guest_tcp *t, const struct mmds_guest_seen *seen)
{
	uint32_t seq = ntohl(seen->tcp.seq);
	size_t old = (size_t)(t->ack - seq);

	t->segments++;
	t->empty += seen->len == 0;
	t->their_window = ntohs(seen->tcp.window);
	if (seen->tcp.rst) {
		t->rst = true;
		return;
	}
	if (seen->tcp.syn) {
		t->synced = true;
		t->ack = seq + 1;
		t->mss = seen->mss;
		return;
	}
	t->longest = MAX(t->longest, seen->len);
	if ((int32_t)(t->ack - seq) < 0 || old > seen->len)
		return;
	MUST(t->in_len + seen->len - old <= MMDS_GUEST_ANSWER);
	memcpy(t->in + t->in_len, seen->data + old, seen->len - old);
	t->in_len += seen->len - old;
	t->in[t->in_len] = '\0';
	t->ack += (uint32_t)(seen->len - old);
	if (seen->tcp.fin && !t->fin) {
		t->fin = true;
		t->ack++;
	}
}

unsigned mmds_guest_fetch(struct mmds_guest *g)
{
	uint8_t frame[MMDS_STACK_FRAME];
	struct mmds_guest_seen seen;
	unsigned n = 0, i;
	size_t bytes;

	for (; (bytes = mmds_stack_give(g->s, frame, g->now_ns)) > 0; n++) {
		MUST(n < 100000); /* it ends by itself */
		mmds_guest_check(frame, bytes, g->ipv4, &seen);
		if (g->deaf)
			continue;
		if (seen.arp) {
			g->arps++;
			continue;
		}
		for (i = 0; i < g->n_tcps && htons(g->tcps[i]->port) != seen.tcp.dest; i++)
			;
		if (i < g->n_tcps)
			receive(g->tcps[i], &seen);
		else
			g->strays++;
	}
	MUST(mmds_stack_due_ns(g->s) > g->now_ns);
	return n;
}

bool mmds_guest_connect(struct mmds_guest *g, struct mmds_guest_tcp *t)
{
	mmds_guest_send(g, t, TH_SYN, NULL, 0);
	mmds_guest_fetch(g);
	if (!t->synced)
		return false;
	mmds_guest_send(g, t, TH_ACK, NULL, 0);
	return true;
}

void mmds_guest_settle(struct mmds_guest *g, struct mmds_guest_tcp *t)
{
	/* Two that disagree on what is next would go on telling each other. */
	for (unsigned i = 0; i < ROUNDS && mmds_guest_fetch(g) > 0 && !t->rst; i++)
		mmds_guest_send(g, t, TH_ACK, NULL, 0);
}

const char *mmds_guest_ask(struct mmds_guest *g, struct mmds_guest_tcp *t, const char *request)
{
	t->in_len = 0;
	t->in[0] = '\0';
	mmds_guest_send(g, t, TH_ACK | TH_PUSH, request, strlen(request));
	mmds_guest_settle(g, t);
	return t->in;
}
