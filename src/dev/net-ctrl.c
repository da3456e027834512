/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net's control queue (5.1.6.5); see net-dev.h. A command is a class, a number and an
 * argument of exactly the command's length, in buffers of any layout, and one byte for the answer.
 * What is not known, or was not negotiated, is answered with an error.
 */
#include <string.h>

#include "net-dev.h"
#include "num.h"

#define COMMAND_BYTES 2u
#define ARGUMENT_MAX  8u

/* Each carries out one command and returns VIRTIO_NET_OK or VIRTIO_NET_ERR. */
static uint8_t set_mac(struct net *n, const uint8_t *arg)
{
	static const uint8_t none[NET_MAC_BYTES];

	if ((arg[0] & 1) || memcmp(arg, none, sizeof(none)) == 0)
		return VIRTIO_NET_ERR; /* a group's address, or nobody's */
	memcpy(n->config.mac, arg, sizeof(n->config.mac));
	atomic_fetch_add(&n->v.generation, 1);
	return VIRTIO_NET_OK;
}

static uint8_t set_pairs(struct net *n, const uint8_t *arg)
{
	unsigned pairs = num_get_le16(arg);

	if (pairs == 0 || pairs > n->netif->n_queues || net_set_pairs(n, pairs) < 0)
		return VIRTIO_NET_ERR;
	return VIRTIO_NET_OK;
}

static uint8_t set_offloads(struct net *n, const uint8_t *arg)
{
	uint64_t offloads = num_get_le64(arg);

	if ((offloads & ~(n->v.acked & NET_GUEST_OFFLOADS)) || net_set_offloads(n, offloads) < 0)
		return VIRTIO_NET_ERR;
	return VIRTIO_NET_OK;
}

static const struct command {
	uint8_t class, number;
	unsigned feature;
	unsigned bytes; /* of the argument */
	uint8_t (*run)(struct net *n, const uint8_t *arg);
} commands[] = {
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, VIRTIO_NET_F_CTRL_MAC_ADDR,
		NET_MAC_BYTES, set_mac },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, VIRTIO_NET_F_MQ, 2, set_pairs },
	{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
		VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, 8, set_offloads },
};

static uint8_t run(struct net *n, const uint8_t *raw, uint64_t bytes)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];

		if (raw[0] == c->class && raw[1] == c->number && net_has(n, c->feature) &&
			bytes == COMMAND_BYTES + c->bytes)
			return c->run(n, raw + COMMAND_BYTES);
	}
	return VIRTIO_NET_ERR;
}

static void handle(struct virtio_dev *v, unsigned q, const struct virtq_chain *c)
{
	struct net *n = net_of(v);
	uint8_t raw[COMMAND_BYTES + ARGUMENT_MAX], answer = VIRTIO_NET_ERR;

	if (c->in_len == 0) {
		virtio_fail(v, "control command without room for the answer");
		return;
	}
	if (c->out_len >= COMMAND_BYTES && c->out_len <= sizeof(raw) &&
		virtq_read(c, 0, raw, c->out_len))
		answer = run(n, raw, c->out_len);
	virtio_count(&n->counters.ctrl_commands);
	if (answer != VIRTIO_NET_OK)
		virtio_count(&n->counters.ctrl_refused);
	if (virtq_write(c, 0, &answer, sizeof(answer)))
		virtio_push(v, q, c->head, sizeof(answer));
}

void net_ctrl_run(struct net *n, unsigned q)
{
	virtio_drain(&n->v, q, VIRTIO_BATCH, handle);
}
