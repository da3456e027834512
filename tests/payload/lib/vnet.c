/* SPDX-License-Identifier: Apache-2.0 */
/* The network device as payloads use it, see vnet.h. */
#include "vnet.h"

static uint8_t buffers[NET_BUFFERS][NET_BUFFER] __attribute__((aligned(4096)));

static void post(struct net *n, void *buffer)
{
	struct seg s = { buffer, NET_BUFFER, true };

	virtq_publish(n->rx, virtq_add(n->rx, &s, 1));
}

void net_prepare(struct net *n, uint64_t wanted)
{
	unsigned ctrl = 2;

	vdev_negotiate(&n->dev, wanted | NET_F_MAC | NET_F_STATUS);
	if (n->dev.features & NET_F_MQ)
		ctrl = 2U * rd16(n->dev.base + REG_CONFIG + 8);
	for (unsigned i = 0; i < 6; i++)
		n->mac[i] = rd8(n->dev.base + REG_CONFIG + i);
	virtq_init(n->rx, &n->dev, 0, 0);
	virtq_init(n->tx, &n->dev, 1, 0);
	if (n->dev.features & NET_F_CTRL_VQ)
		virtq_init(n->ctrl, &n->dev, ctrl, 0);
	vdev_ok(&n->dev);
}

void net_start(struct net *n, uint64_t wanted)
{
	net_prepare(n, wanted);
	for (unsigned i = 0; i < NET_BUFFERS; i++)
		post(n, buffers[i]);
	virtq_kick(n->rx);
}

bool net_link_up(const struct net *n)
{
	return rd16(n->dev.base + REG_CONFIG + 6) & 1;
}

void net_send(struct net *n, const void *frame, uint32_t len)
{
	static struct net_header h;
	struct seg segs[2] = { { &h, sizeof(h), false }, { frame, len, false } };
	uint32_t head, got;
	uint16_t want;

	memset(&h, 0, sizeof(h));
	want = virtq_add(n->tx, segs, 2);
	virtq_publish(n->tx, want);
	virtq_kick(n->tx);
	CHECK(virtq_wait(n->tx, &head, &got), "a frame of %u bytes was not taken", len);
	CHECK(head == want && got == 0, "used entry %u with %u bytes, not %u with 0", head, got,
		want);
	n->tx_packets++;
	n->tx_bytes += len;
}

uint32_t net_recv(struct net *n, uint8_t **ret_frame)
{
	static uint8_t *last;
	uint32_t head, got;

	if (last) {
		post(n, last);
		virtq_kick(n->rx);
	}
	last = NULL;
	if (!virtq_wait(n->rx, &head, &got))
		return 0;
	last = (uint8_t *)n->rx->desc[head].addr;
	CHECK(got >= NET_HEADER + 14 && got <= NET_BUFFER, "a packet of %u bytes", got);
	CHECK(((struct net_header *)last)->buffers == 1, "num_buffers is %u",
		((struct net_header *)last)->buffers); /* 5.1.6.4.1: with or without MRG_RXBUF */
	n->rx_packets++;
	n->rx_bytes += got - NET_HEADER;
	*ret_frame = last + NET_HEADER;
	return got - NET_HEADER;
}

int net_command(struct net *n, const void *command, uint32_t len)
{
	static volatile uint8_t answer;
	struct seg segs[2] = { { command, len, false }, { (const void *)&answer, 1, true } };
	uint32_t got;

	answer = 0xaa;
	virtq_publish(n->ctrl, len ? virtq_add(n->ctrl, segs, 2) : virtq_add(n->ctrl, segs + 1, 1));
	virtq_kick(n->ctrl);
	if (!virtq_wait(n->ctrl, NULL, &got))
		return -1;
	CHECK(got == 1, "a command was answered with %u bytes", got);
	return answer;
}
