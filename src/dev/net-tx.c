/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net, from the guest; see net-dev.h. A chain is one frame behind its header. The header is
 * copied, judged and rebuilt from what was judged; the frame goes from guest memory to the back end
 * as it is. A frame that cannot go yet stays in the queue: its chain is put back and walked, and
 * judged, anew.
 */
#include <errno.h>
#include <string.h>

#include "net-dev.h"
#include "num.h"

/* 5.1.6 */
#define HDR_FLAGS	0
#define HDR_GSO_TYPE	1
#define HDR_LEN		2
#define HDR_GSO_SIZE	4
#define HDR_CSUM_START	6
#define HDR_CSUM_OFFSET 8

static bool gso_allowed(const struct net *n, uint8_t type)
{
	bool ecn = type & VIRTIO_NET_HDR_GSO_ECN;

	if (ecn && !net_has(n, VIRTIO_NET_F_HOST_ECN))
		return false;
	switch (type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return net_has(n, VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return net_has(n, VIRTIO_NET_F_HOST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return !ecn && net_has(n, VIRTIO_NET_F_HOST_USO);
	default:
		return false;
	}
}

/*
 * False: the header asks for what was not negotiated, or cannot be true of a frame of `bytes`. What
 * a device must ignore (5.1.6.2.2: unknown flags, fields that the flags do not announce) becomes 0,
 * and so does the length of the headers where it is absurd: it is only a hint.
 */
static bool rebuild_header(const struct net *n, uint8_t *header, uint64_t bytes)
{
	uint8_t flags = header[HDR_FLAGS] & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	uint8_t type = header[HDR_GSO_TYPE];
	uint16_t hdr_len = num_get_le16(header + HDR_LEN);
	uint16_t gso_size = num_get_le16(header + HDR_GSO_SIZE);
	uint16_t start = num_get_le16(header + HDR_CSUM_START);
	uint16_t offset = num_get_le16(header + HDR_CSUM_OFFSET);

	if (flags && (!net_has(n, VIRTIO_NET_F_CSUM) || start < NET_ETH_BYTES ||
			     (uint64_t)start + offset + sizeof(uint16_t) > bytes))
		return false;
	/* Segments need checksums of their own, so there must be a place for them. */
	if (type && (!flags || gso_size == 0 || !gso_allowed(n, type)))
		return false;
	memset(header, 0, NETIF_HEADER_BYTES);
	header[HDR_FLAGS] = flags;
	header[HDR_GSO_TYPE] = type;
	if (flags) {
		num_put_le16(header + HDR_CSUM_START, start);
		num_put_le16(header + HDR_CSUM_OFFSET, offset);
	}
	if (type) {
		num_put_le16(header + HDR_GSO_SIZE, gso_size);
		num_put_le16(header + HDR_LEN, hdr_len <= bytes ? hdr_len : 0);
	}
	return true;
}

/* The back end is full. False if it has no way to tell when it is not, so that waiting is vain. */
static bool block(struct net *n, struct net_pair *p, unsigned queue, uint64_t bytes)
{
	/*
	 * Not only a look for the case that it has room by now: a tap that was writable at the last
	 * look does not tell an edge-triggered watcher of the next time it is.
	 */
	if (loop_mod(n->loop, &n->pairs[queue].src, EPOLLIN | EPOLLOUT | EPOLLET) < 0)
		return false;
	virtio_count(&n->counters.tx_blocked);
	p->tx_blocked = true;
	p->tx_paid = bytes;
	return true;
}

/* iov: the whole packet. 0: the frame is gone, one way or the other; -EAGAIN: it must wait. */
static int send_frame(
	struct net *n, struct net_pair *p, unsigned n_iov, uint64_t bytes, bool spoofed)
{
	unsigned queue = net_tx_queue(n, p->index);
	uint64_t start_ns;
	int r;

	/* Guest memory may have changed since the frame was paid for: then it pays again. */
	if (p->tx_paid != bytes &&
		!throttle_take(&n->tx.throttle, bytes, &n->counters.tx_throttled))
		return -EAGAIN;
	start_ns = loop_now_ns();
	r = n->netif->ops->send(n->netif, queue, n->tx_iov, n_iov, NETIF_HEADER_BYTES + bytes);
	latency_between(&n->counters.tx_send, start_ns, loop_now_ns());
	if (r == -EAGAIN && block(n, p, queue, bytes))
		return -EAGAIN;
	p->tx_paid = 0;
	if (r < 0) {
		NET_DROP(n, p->index, tx_dropped_backend);
		return 0;
	}
	TRACE3(net_tx, n->v.name, p->index, bytes);
	if (spoofed)
		virtio_count(&n->counters.tx_spoofed_mac);
	virtio_count(&n->counters.tx_packets);
	atomic_fetch_add_explicit(&n->counters.tx_bytes, bytes, memory_order_relaxed);
	return 0;
}

static void detour(struct net *n, const struct virtq_chain *c, size_t bytes)
{
	uint8_t frame[NET_DETOUR_TAKE_MAX];

	if (!virtq_read(c, NETIF_HEADER_BYTES, frame, bytes))
		return;
	virtio_count(&n->counters.tx_detoured);
	n->detoured = true;
	n->detour->take(n->detour_owner, frame, bytes, loop_now_ns());
}

/* True if the frame was one for the service beside the back end. */
static bool detoured(struct net *n, const struct virtq_chain *c, uint64_t bytes)
{
	uint8_t head[NET_DETOUR_HEAD];
	size_t part = MIN(bytes, sizeof(head));

	if (!n->detour || !virtq_read(c, NETIF_HEADER_BYTES, head, part) ||
		!n->detour->wants(n->detour_owner, head, part))
		return false;
	detour(n, c, MIN(bytes, NET_DETOUR_TAKE_MAX));
	return true;
}

/* 0: the chain is done with; -EAGAIN: put it back; -EPROTO: the device has failed. */
static int transmit(struct net *n, struct net_pair *p, const struct virtq_chain *c)
{
	uint8_t head[NETIF_HEADER_BYTES + NET_ETH_BYTES], *to = head;
	uint64_t bytes = c->out_len - NETIF_HEADER_BYTES;
	unsigned parts;
	bool spoofed;

	if (c->in_len > 0 || c->out_len == 0) {
		virtio_fail(&n->v, "transmit buffer that is empty, or to be written to");
		return -EPROTO;
	}
	if (c->out_len < sizeof(head) || c->out_len > NET_PACKET_MAX) {
		NET_DROP(n, p->index, tx_dropped_malformed);
		return 0;
	}
	parts = virtq_slice(c, VIRTQ_OUT, 0, sizeof(head), n->tx_iov);
	for (unsigned i = 0; i < parts; to += n->tx_iov[i++].iov_len)
		memcpy(to, n->tx_iov[i].iov_base, n->tx_iov[i].iov_len);
	if (!rebuild_header(n, head, bytes)) {
		NET_DROP(n, p->index, tx_dropped_offload);
		return 0;
	}
	if (detoured(n, c, bytes))
		return 0;
	spoofed = memcmp(head + NETIF_HEADER_BYTES + NET_MAC_BYTES, n->config.mac,
			  NET_MAC_BYTES) != 0;
	n->tx_iov[0] = (struct iovec){ head, NETIF_HEADER_BYTES };
	parts = virtq_slice(c, VIRTQ_OUT, NETIF_HEADER_BYTES, bytes, n->tx_iov + 1);
	return send_frame(n, p, 1 + parts, bytes, spoofed);
}

/* What is in the queue. True if there may be more, because the budget is used up. */
static bool drain(struct net *n, struct net_pair *p, unsigned q)
{
	struct virtq *vq = &n->v.queues[q];
	unsigned budget = VIRTIO_BATCH;
	bool empty = true;
	int r;

	do {
		virtq_kicks_off(vq);
		while (virtio_pop(&n->v, q, &n->chain)) {
			empty = false;
			r = transmit(n, p, &n->chain);
			if (r == -EAGAIN)
				virtq_unpop(vq, 1); /* we come back: kicks stay off */
			if (r < 0)
				return false;
			virtio_push(&n->v, q, n->chain.head, 0);
			if (--budget == 0)
				return true;
		}
	} while (virtq_kicks_on(vq));
	if (empty)
		virtio_count(&n->counters.tx_empty_kicks);
	return false;
}

void net_tx_run(struct net *n, unsigned pair)
{
	struct net_pair *p = &n->pairs[pair];
	unsigned q = 2 * pair + 1;

	if (p->tx_blocked || throttle_holds(&n->tx.throttle) || !virtio_running(&n->v))
		return;
	if (drain(n, p, q))
		n->v.link->kick(n->v.link, q);
	atomic_fetch_add_explicit(&n->counters.tx_left_waiting, virtq_waiting(&n->v.queues[q]),
		memory_order_relaxed);
	virtio_notify(&n->v, q);
	if (n->detoured) {
		n->detoured = false;
		net_rx_run(n, 0);
	}
}
