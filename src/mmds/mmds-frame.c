/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing the frames of the metadata service, see mmds-frame.h. */
#include "mmds-frame.h"

#include <string.h>

#include "num.h"

#define ETH_BYTES	14u
#define ETH_SOURCE	6
#define ETH_TYPE	12
#define ETH_TYPE_IPV4	0x0800
#define ETH_TYPE_ARP	0x0806

/* In an Ethernet payload. */
#define ARP_BYTES	28u
#define ARP_HTYPE	0
#define ARP_PTYPE	2
#define ARP_HLEN	4
#define ARP_PLEN	5
#define ARP_OPER	6
#define ARP_SHA		8
#define ARP_SPA		14
#define ARP_THA		18
#define ARP_TPA		24
#define ARP_REQUEST	1
#define ARP_REPLY	2

#define IP_BYTES	20u /* without options */
#define IP_TOTAL	2
#define IP_FRAGMENT	6
#define IP_TTL		8
#define IP_PROTOCOL	9
#define IP_CHECKSUM	10
#define IP_SOURCE	12
#define IP_TARGET	16
#define IP_VERSION	0x40
#define IP_DONT_FRAGMENT 0x4000
#define IP_IN_PIECES	0x3fff /* "more fragments", or an offset */
#define IP_TTL_OURS	1 /* never beyond the guest */
#define IP_PROTOCOL_TCP 6

#define TCP_BYTES	20u /* without options */
#define TCP_SEQ		4
#define TCP_ACK		8
#define TCP_OFFSET	12
#define TCP_FLAGS	13
#define TCP_WINDOW	14
#define TCP_CHECKSUM	16
#define TCP_URGENT	18
#define TCP_OPT_END	0
#define TCP_OPT_NOP	1
#define TCP_OPT_MSS	2
#define TCP_OPT_MSS_LEN 4u

const uint8_t mmds_frame_mac[MMDS_FRAME_MAC_BYTES] = { 0x06, 0x01, 0x23, 0x45, 0x67, 0x01 };

static bool arp_request(const uint8_t *arp, size_t n)
{
	return n >= ARP_BYTES && num_get_be16(arp + ARP_HTYPE) == 1 &&
		num_get_be16(arp + ARP_PTYPE) == ETH_TYPE_IPV4 &&
		arp[ARP_HLEN] == MMDS_FRAME_MAC_BYTES && arp[ARP_PLEN] == 4 &&
		num_get_be16(arp + ARP_OPER) == ARP_REQUEST;
}

bool mmds_frame_wants(const uint8_t *head, size_t n, uint32_t ipv4)
{
	const uint8_t *payload = head + ETH_BYTES;

	if (n < ETH_BYTES + IP_BYTES)
		return false;
	switch (num_get_be16(head + ETH_TYPE)) {
	case ETH_TYPE_ARP:
		return arp_request(payload, n - ETH_BYTES) &&
			num_get_be32(payload + ARP_TPA) == ipv4;
	case ETH_TYPE_IPV4:
		return num_get_be32(payload + IP_TARGET) == ipv4;
	default:
		return false;
	}
}

/* The value of the MSS option; 0: there is none, or the options are broken. */
static uint16_t read_mss(const uint8_t *options, size_t n)
{
	for (size_t i = 0; i < n && options[i] != TCP_OPT_END;) {
		size_t len;

		if (options[i] == TCP_OPT_NOP) {
			i++;
			continue;
		}
		if (n - i < 2)
			return 0;
		len = options[i + 1];
		if (len < 2 || len > n - i)
			return 0;
		if (options[i] == TCP_OPT_MSS && len == TCP_OPT_MSS_LEN)
			return num_get_be16(options + i + 2);
		i += len;
	}
	return 0;
}

static enum mmds_frame_kind read_tcp(const uint8_t *tcp, size_t n, bool cut,
	struct mmds_frame_peer *peer, struct mmds_frame_segment *segment)
{
	size_t header;

	if (n < TCP_BYTES)
		return MMDS_FRAME_BROKEN;
	header = (size_t)(tcp[TCP_OFFSET] >> 4) * 4;
	if (header < TCP_BYTES || header > n)
		return MMDS_FRAME_BROKEN;
	peer->port = num_get_be16(tcp);
	*segment = (struct mmds_frame_segment){
		.seq = num_get_be32(tcp + TCP_SEQ),
		.ack = num_get_be32(tcp + TCP_ACK),
		.port = num_get_be16(tcp + 2),
		.flags = (uint8_t)(tcp[TCP_FLAGS] & (cut ? 0xffu ^ MMDS_FRAME_FIN : 0xffu)),
		.window = num_get_be16(tcp + TCP_WINDOW),
		.mss = read_mss(tcp + TCP_BYTES, header - TCP_BYTES),
		.data = tcp + header,
		.len = n - header,
	};
	return MMDS_FRAME_TCP;
}

static enum mmds_frame_kind read_ip(const uint8_t *ip, size_t n, bool cut,
	struct mmds_frame_peer *peer, struct mmds_frame_segment *segment)
{
	size_t header, total;

	if (n < IP_BYTES || (ip[0] & 0xf0) != IP_VERSION)
		return MMDS_FRAME_BROKEN;
	header = (size_t)(ip[0] & 0x0f) * 4;
	total = num_get_be16(ip + IP_TOTAL);
	if (header < IP_BYTES || header > n || total < header || (total > n && !cut))
		return MMDS_FRAME_BROKEN;
	/* Fragments: what we advertise fits into any link. */
	if (ip[IP_PROTOCOL] != IP_PROTOCOL_TCP || num_get_be16(ip + IP_FRAGMENT) & IP_IN_PIECES)
		return MMDS_FRAME_OTHER;
	peer->ipv4 = num_get_be32(ip + IP_SOURCE);
	cut = total > n;
	return read_tcp(ip + header, MIN(total, n) - header, cut, peer, segment);
}

enum mmds_frame_kind mmds_frame_read(const uint8_t *frame, size_t n,
	struct mmds_frame_peer *peer, struct mmds_frame_segment *segment)
{
	const uint8_t *payload = frame + ETH_BYTES;

	if (n < ETH_BYTES)
		return MMDS_FRAME_SHORT;
	memcpy(peer->mac, frame + ETH_SOURCE, sizeof(peer->mac));
	switch (num_get_be16(frame + ETH_TYPE)) {
	case ETH_TYPE_ARP:
		if (!arp_request(payload, n - ETH_BYTES))
			return MMDS_FRAME_BROKEN;
		memcpy(peer->mac, payload + ARP_SHA, sizeof(peer->mac));
		peer->ipv4 = num_get_be32(payload + ARP_SPA);
		return MMDS_FRAME_ARP;
	case ETH_TYPE_IPV4:
		return read_ip(payload, n - ETH_BYTES, n == MMDS_FRAME_MAX, peer, segment);
	default:
		return MMDS_FRAME_OTHER;
	}
}

/* -- writing --------------------------------------------------------------------------------- */

static size_t write_eth(uint8_t *frame, const struct mmds_frame_peer *peer, uint16_t type)
{
	memcpy(frame, peer->mac, MMDS_FRAME_MAC_BYTES);
	memcpy(frame + ETH_SOURCE, mmds_frame_mac, MMDS_FRAME_MAC_BYTES);
	num_put_be16(frame + ETH_TYPE, type);
	return ETH_BYTES;
}

size_t mmds_frame_write_arp(uint8_t *frame, uint32_t ipv4, const struct mmds_frame_peer *peer)
{
	uint8_t *arp = frame + write_eth(frame, peer, ETH_TYPE_ARP);

	num_put_be16(arp + ARP_HTYPE, 1);
	num_put_be16(arp + ARP_PTYPE, ETH_TYPE_IPV4);
	arp[ARP_HLEN] = MMDS_FRAME_MAC_BYTES;
	arp[ARP_PLEN] = 4;
	num_put_be16(arp + ARP_OPER, ARP_REPLY);
	memcpy(arp + ARP_SHA, mmds_frame_mac, MMDS_FRAME_MAC_BYTES);
	num_put_be32(arp + ARP_SPA, ipv4);
	memcpy(arp + ARP_THA, peer->mac, MMDS_FRAME_MAC_BYTES);
	num_put_be32(arp + ARP_TPA, peer->ipv4);
	return ETH_BYTES + ARP_BYTES;
}

/* RFC 1071: the sum so far and n bytes; an odd one counts as the first of a pair. */
static uint32_t sum(uint32_t so_far, const uint8_t *data, size_t n)
{
	for (; n > 1; n -= 2, data += 2)
		so_far += num_get_be16(data);
	return n ? so_far + ((uint32_t)*data << 8) : so_far;
}

static uint16_t checksum(uint32_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint16_t)~total;
}

static void write_ip(uint8_t *ip, uint32_t from, uint32_t to, size_t total)
{
	memset(ip, 0, IP_BYTES);
	ip[0] = IP_VERSION | IP_BYTES / 4;
	num_put_be16(ip + IP_TOTAL, (uint16_t)total);
	num_put_be16(ip + IP_FRAGMENT, IP_DONT_FRAGMENT);
	ip[IP_TTL] = IP_TTL_OURS;
	ip[IP_PROTOCOL] = IP_PROTOCOL_TCP;
	num_put_be32(ip + IP_SOURCE, from);
	num_put_be32(ip + IP_TARGET, to);
	num_put_be16(ip + IP_CHECKSUM, checksum(sum(0, ip, IP_BYTES)));
}

size_t mmds_frame_write_tcp(uint8_t *frame, uint32_t ipv4, const struct mmds_frame_peer *peer,
	const struct mmds_frame_segment *s)
{
	uint8_t *ip = frame + write_eth(frame, peer, ETH_TYPE_IPV4), *tcp = ip + IP_BYTES;
	size_t header = TCP_BYTES + (s->mss ? TCP_OPT_MSS_LEN : 0), bytes = header + s->len;
	uint32_t pseudo;

	write_ip(ip, ipv4, peer->ipv4, IP_BYTES + bytes);
	num_put_be16(tcp, s->port);
	num_put_be16(tcp + 2, peer->port);
	num_put_be32(tcp + TCP_SEQ, s->seq);
	num_put_be32(tcp + TCP_ACK, s->ack);
	tcp[TCP_OFFSET] = (uint8_t)(header / 4 << 4);
	tcp[TCP_FLAGS] = s->flags;
	num_put_be16(tcp + TCP_WINDOW, s->window);
	num_put_be16(tcp + TCP_CHECKSUM, 0);
	num_put_be16(tcp + TCP_URGENT, 0);
	if (s->mss) {
		tcp[TCP_BYTES] = TCP_OPT_MSS;
		tcp[TCP_BYTES + 1] = TCP_OPT_MSS_LEN;
		num_put_be16(tcp + TCP_BYTES + 2, s->mss);
	}
	if (s->len)
		memcpy(tcp + header, s->data, s->len);
	/* Both addresses, the protocol, the length. */
	pseudo = sum(IP_PROTOCOL_TCP + (uint32_t)bytes, ip + IP_SOURCE, 8);
	num_put_be16(tcp + TCP_CHECKSUM, checksum(sum(pseudo, tcp, bytes)));
	return ETH_BYTES + IP_BYTES + bytes;
}
