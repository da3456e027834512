/* SPDX-License-Identifier: Apache-2.0 */
/* The network device as payloads use it (virtio 1.2 section 5.1), see vdev.h. Everything polled. */
#ifndef PAYLOAD_VNET_H
#define PAYLOAD_VNET_H

#include "vdev.h"

#define NET_F_CSUM	 (UINT64_C(1) << 0)
#define NET_F_GUEST_CSUM (UINT64_C(1) << 1)
#define NET_F_OFFLOADS	 (UINT64_C(1) << 2) /* CTRL_GUEST_OFFLOADS */
#define NET_F_MTU	 (UINT64_C(1) << 3)
#define NET_F_MAC	 (UINT64_C(1) << 5)
#define NET_F_HOST_TSO4	 (UINT64_C(1) << 11)
#define NET_F_MRG_RXBUF	 (UINT64_C(1) << 15)
#define NET_F_STATUS	 (UINT64_C(1) << 16)
#define NET_F_CTRL_VQ	 (UINT64_C(1) << 17)
#define NET_F_MQ	 (UINT64_C(1) << 22)
#define NET_F_CTRL_MAC	 (UINT64_C(1) << 23)

#define NET_HEADER  12u
#define NET_BUFFERS 8u
#define NET_BUFFER  2048u

struct net_header {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, buffers;
} __attribute__((packed));

struct net {
	struct vdev dev;
	struct virtq *rx, *tx, *ctrl; /* ctrl only with CTRL_VQ */
	uint8_t mac[6];
	/* Frames of net_send() and net_recv(), and their bytes. */
	uint64_t tx_packets, tx_bytes, rx_packets, rx_bytes;
};

/* Reset, negotiate, queues of the first pair, control queue, DRIVER_OK; posts receive buffers. */
void net_start(struct net *n, uint64_t wanted);
/* The same up to DRIVER_OK and without buffers. */
void net_prepare(struct net *n, uint64_t wanted);
bool net_link_up(const struct net *n);

/* Sends one frame in two segments behind a header of zeros; fails the test if it is not taken. */
void net_send(struct net *n, const void *frame, uint32_t len);
/* The next frame, in a buffer that stays ours until the next call; 0: none within the patience. */
uint32_t net_recv(struct net *n, uint8_t **ret_frame);
/* One command, exactly as it is; the answer, or -1 if none came. */
int net_command(struct net *n, const void *command, uint32_t len);

/* Numbers in frames, most significant byte first. */
static inline uint16_t net_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void net_put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

#endif
