/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net as a correct driver sees it. Each of `rounds` runs begins with a reset and another set
 * of features (a reset clears the negotiation and the queues and nothing else: what was reset works
 * on), looks up its neighbour by ARP, pings it, and then answers ARP and `pings` pings of its
 * neighbour. With `flap` the link then goes down and comes back; with `link` only its state is
 * told.
 *
 * Our address is 10.7.0.2, the neighbour's 10.7.0.1.
 */
#include "vnet.h"

#define ETH 14u
#define IP  (ETH + 0u)
#define ICMP (IP + 20u)

static const uint8_t our_ip[4] = { 10, 7, 0, 2 }, their_ip[4] = { 10, 7, 0, 1 };
static struct virtq rx, tx, ctrl;
static struct net n = { .rx = &rx, .tx = &tx, .ctrl = &ctrl };
static uint8_t their_mac[6];
static uint8_t out[2048];

static uint16_t sum(const uint8_t *p, uint32_t len)
{
	uint32_t s = 0;

	for (uint32_t i = 0; i + 1 < len; i += 2)
		s += net_get16(p + i);
	if (len & 1)
		s += (uint32_t)p[len - 1] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

static void ethernet(const uint8_t *to, unsigned type)
{
	memcpy(out, to, 6);
	memcpy(out + 6, n.mac, 6);
	net_put16(out + 12, type);
}

static void arp(unsigned op, const uint8_t *to)
{
	static const uint8_t fixed[6] = { 0, 1, 8, 0, 6, 4 };
	static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 };

	ethernet(op == 1 ? all : to, 0x0806);
	memcpy(out + ETH, fixed, 6);
	net_put16(out + ETH + 6, op);
	memcpy(out + ETH + 8, n.mac, 6);
	memcpy(out + ETH + 14, our_ip, 4);
	memcpy(out + ETH + 18, to, 6);
	memcpy(out + ETH + 24, their_ip, 4);
	net_send(&n, out, ETH + 28);
}

/* Type 8: a request; 0: the answer with the data of the request at `data`. */
static void icmp(unsigned type, const uint8_t *data, uint32_t len)
{
	ethernet(their_mac, 0x0800);
	memset(out + IP, 0, 20);
	out[IP] = 0x45;
	net_put16(out + IP + 2, 20 + len);
	out[IP + 8] = 64;
	out[IP + 9] = 1;
	memcpy(out + IP + 12, our_ip, 4);
	memcpy(out + IP + 16, their_ip, 4);
	net_put16(out + IP + 10, sum(out + IP, 20));
	memcpy(out + ICMP, data, len);
	out[ICMP] = (uint8_t)type;
	net_put16(out + ICMP + 2, 0);
	net_put16(out + ICMP + 2, sum(out + ICMP, len));
	net_send(&n, out, ICMP + len);
}

/* Answers what is asked and returns what came: 'r' ARP reply, 'q' echo request, 'p' echo reply. */
static char turn(const char *wanted)
{
	uint8_t *f;
	uint32_t len = net_recv(&n, &f), ip_len;

	CHECK(len > 0, "nothing came while waiting for %s", wanted);
	if (net_get16(f + 12) == 0x0806 && memcmp(f + ETH + 24, our_ip, 4) == 0 &&
		memcmp(f + ETH + 14, their_ip, 4) == 0) {
		memcpy(their_mac, f + ETH + 8, 6);
		if (net_get16(f + ETH + 6) == 2)
			return 'r';
		arp(2, their_mac);
		return 'a';
	}
	if (net_get16(f + 12) != 0x0800 || f[IP] != 0x45 || f[IP + 9] != 1 ||
		memcmp(f + IP + 16, our_ip, 4) != 0)
		return '-';
	CHECK(memcmp(f, n.mac, 6) == 0, "a frame to another station");
	ip_len = net_get16(f + IP + 2);
	CHECK(ip_len >= 28 && ip_len <= len - ETH, "an IP packet of %u bytes in a frame of %u",
		ip_len, len);
	CHECK(sum(f + IP, 20) == 0 && sum(f + ICMP, ip_len - 20) == 0, "a checksum is wrong");
	if (f[ICMP] == 0)
		return 'p';
	if (f[ICMP] != 8)
		return '-';
	icmp(0, f + ICMP, ip_len - 20);
	return 'q';
}

static void until(char what, const char *words)
{
	for (unsigned i = 0; i < 200; i++)
		if (turn(words) == what)
			return;
	fail("200 frames came, but not %s", words);
}

static void one_round(unsigned round)
{
	static const uint64_t features[] = { 0, NET_F_MRG_RXBUF | NET_F_CTRL_VQ, F_EVENT_IDX,
		NET_F_MRG_RXBUF | F_EVENT_IDX | F_INDIRECT | NET_F_CSUM | NET_F_HOST_TSO4 };
	static const uint8_t ping[64] = { 8, 0, 0, 0, 0x12, 0x34, 0, 1 };

	net_start(&n, features[round % 4]);
	CHECK(net_link_up(&n), "round %u: the link is down", round);
	console_print("round %u\n", round);
	arp(1, their_mac);
	until('r', "an ARP reply");
	icmp(8, ping, sizeof(ping));
	until('p', "an echo reply");
	CHECK(rd32(n.dev.base + REG_IRQ_STATUS) & 1, "no interrupt for what came");
	for (unsigned i = 0; i < boot_number("pings", 3); i++)
		until('q', "an echo request");
}

static void wait_link(bool up)
{
	uint64_t end = tsc() + PATIENCE;

	console_print("link %s?\n", up ? "up" : "down");
	while (net_link_up(&n) != up) {
		CHECK(tsc() < end, "the link did not go %s", up ? "up" : "down");
		pause();
	}
	CHECK(rd32(n.dev.base + REG_IRQ_STATUS) & 2, "no interrupt for the link");
	wr32(n.dev.base + REG_IRQ_ACK, 2);
}

int main(void)
{
	uint64_t mtu = boot_number("expect.mtu", 0);

	vdev_find(&n.dev, 1, 0);
	if (boot_has("link")) {
		net_start(&n, 0);
		console_print("link %s\n", net_link_up(&n) ? "up" : "down");
		return 0;
	}
	for (unsigned round = 0; round < boot_number("rounds", 4); round++)
		one_round(round);
	CHECK(n.mac[0] == boot_number("expect.mac0", n.mac[0]), "MAC begins with %x", n.mac[0]);
	CHECK(!(vdev_offered(&n.dev) & NET_F_MTU) == !mtu, "MTU is offered, or is not");
	CHECK(!mtu || rd16(n.dev.base + REG_CONFIG + 10) == mtu, "MTU %u",
		rd16(n.dev.base + REG_CONFIG + 10));
	if (boot_has("flap")) {
		wr32(n.dev.base + REG_IRQ_ACK, 2);
		wait_link(false);
		wait_link(true);
		until('q', "an echo request after the flap");
	}
	console_print("count tx_packets %lu\ncount tx_bytes %lu\n", n.tx_packets, n.tx_bytes);
	console_print("got rx_packets %lu\ngot rx_bytes %lu\n", n.rx_packets, n.rx_bytes);
	return 0;
}
