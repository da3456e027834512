/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net, to the guest; see net-dev.h. A frame is read straight into the guest's buffers. Which
 * it will fill is known only when it is there, so each pair keeps a set of buffers that were taken
 * from the queue; a frame uses some of them and costs only the walk of as many new ones.
 *
 * How many buffers to have. A tap hands over a frame once and cuts off what does not fit: there is
 * no peeping at its length, as there is for QEMU's queues and for vhost. So nothing is read before
 * the set takes the largest frame that may come (room_wanted()), or is all that the driver can
 * post, or is in as many pieces as the back end takes. With fewer the frames wait in the back end,
 * and the guest is asked for a kick: it is about to post more, as a rule, and a TCP segment of
 * 64 KiB lost for want of one buffer costs more than a moment. But a driver need not post that
 * much, ever. So after PATIENCE_NS of waiting with room for at least one ordinary frame, the pair
 * becomes hasty: it reads into what there is, a frame that is longer is lost and counted, and when
 * the set is complete again it is patient again. A driver that makes ends meet does not notice
 * this; one with few buffers waits once.
 */
#include <errno.h>
#include <string.h>

#include "net-dev.h"
#include "num.h"

#define PATIENCE_NS  (NSEC_PER_SEC / 10)
#define NOTIFY_EVERY 16 /* frames: so that the guest begins while we go on */
#define VLAN_BYTES   4u
#define SMALL_PACKET 1526u /* 5.1.6.3.1: what a driver without offloads must have room for */

/* Where the fields are in the header, 5.1.6. */
#define HDR_FLAGS    0
#define HDR_GSO_TYPE 1

static bool merges(const struct net *n)
{
	return net_has(n, VIRTIO_NET_F_MRG_RXBUF);
}

static uint64_t small_packet(const struct net *n)
{
	uint64_t mtu = n->config.mtu;

	return mtu ? MIN(SMALL_PACKET, NETIF_HEADER_BYTES + NET_ETH_BYTES + mtu) : SMALL_PACKET;
}

/*
 * Of the largest packet that may come now. Without an MTU nobody knows what the link carries: that
 * of passt carries 64 KiB without any offload.
 */
static uint64_t room_wanted(const struct net *n)
{
	if ((n->offloads & NET_GUEST_GSO) || n->config.mtu == 0)
		return NET_PACKET_MAX;
	return NETIF_HEADER_BYTES + NET_ETH_BYTES + VLAN_BYTES + (uint64_t)n->config.mtu;
}

/* What each buffer must have room for (5.1.6.3.1). */
static uint64_t buffer_min(const struct net *n)
{
	if (merges(n))
		return NETIF_HEADER_BYTES;
	return (n->features & NET_GUEST_GSO) ? NET_PACKET_MAX : small_packet(n);
}

/* In the set, behind the packet that the limit keeps back. */
static uint64_t room(const struct net_pair *p)
{
	return p->bytes - p->held_room;
}

/* Has the set all the room that is wanted, or all that it can get? */
static bool complete(const struct net *n, const struct net_pair *p, uint64_t wanted)
{
	if (!merges(n))
		return p->n_chains > p->held_chains;
	return room(p) >= wanted || p->crowded || p->n_chains >= n->v.queues[2 * p->index].size;
}

/* Takes buffers from the queue until the set is complete, or there are no more. */
static void collect(struct net *n, struct net_pair *p, uint64_t wanted)
{
	struct virtq_chain *c = &n->chain;

	while (!complete(n, p, wanted) && virtio_pop(&n->v, 2 * p->index, c)) {
		if (c->out_len > 0 || c->in_len < buffer_min(n)) {
			virtio_fail(&n->v, "receive buffer that is too small, or to be read");
			return;
		}
		if (p->n_iov + c->n_in > NETIF_IOV_MAX) {
			virtq_unpop(&n->v.queues[2 * p->index], 1);
			p->crowded = true;
			return;
		}
		memcpy(&p->iov[p->n_iov], c->segs, c->n_in * sizeof(c->segs[0]));
		p->chains[p->n_chains] = (struct virtq_used){ c->head, (uint32_t)c->in_len };
		p->chain_iov[p->n_chains] = (uint16_t)c->n_in;
		p->n_chains++;
		p->n_iov += c->n_in;
		p->bytes += c->in_len;
	}
}

static void sated(struct net_pair *p)
{
	p->starving = false;
	p->starving_ns = 0;
}

/* The queue is empty and the set is not complete: whether to wait for the guest. */
static bool starve(struct net *n, struct net_pair *p)
{
	uint64_t now_ns;

	if (!p->starving) {
		virtio_count(&n->counters.rx_no_buffers);
		TRACE2(net_no_buffers, n->v.name, p->index);
		p->starving = true;
	}
	if (room(p) < small_packet(n))
		return true;
	if (p->hasty)
		return false;
	now_ns = loop_now_ns();
	if (p->starving_ns == 0)
		p->starving_ns = now_ns;
	if (now_ns < p->starving_ns + PATIENCE_NS) {
		throttle_arm(&n->rx.throttle, p->starving_ns + PATIENCE_NS, now_ns);
		return true;
	}
	p->hasty = true;
	return false;
}

/* True if there are buffers to put a frame into. */
static bool prepare(struct net *n, struct net_pair *p, uint64_t wanted)
{
	struct virtq *vq = &n->v.queues[2 * p->index];

	do {
		virtq_kicks_off(vq);
		collect(n, p, wanted);
		if (!virtio_running(&n->v))
			return false;
		if (complete(n, p, wanted)) {
			/* For what is larger than this frame, it stays as it is. */
			p->hasty = p->hasty && wanted < room_wanted(n);
			sated(p);
			return true;
		}
		if (!starve(n, p)) {
			sated(p);
			return true;
		}
	} while (virtq_kicks_on(vq));
	return false;
}

/* Copies between the header and the beginning of the set. */
static void copy_header(struct net_pair *p, uint8_t *header, bool to_guest)
{
	const struct iovec *iov = p->iov;

	for (size_t done = 0, part; done < NETIF_HEADER_BYTES; done += part, iov++) {
		part = MIN(iov->iov_len, NETIF_HEADER_BYTES - done);
		if (to_guest)
			memcpy(iov->iov_base, header + done, part);
		else
			memcpy(header + done, iov->iov_base, part);
	}
}

static bool offloaded(const struct net *n, unsigned feature)
{
	return n->offloads & VIRTIO_BIT(feature);
}

static bool gso_expected(const struct net *n, uint8_t type)
{
	bool ecn = type & VIRTIO_NET_HDR_GSO_ECN;

	if (ecn && !offloaded(n, VIRTIO_NET_F_GUEST_ECN))
		return false;
	switch (type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return !ecn;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return offloaded(n, VIRTIO_NET_F_GUEST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return offloaded(n, VIRTIO_NET_F_GUEST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return !ecn && offloaded(n, VIRTIO_NET_F_GUEST_USO4);
	default:
		return false;
	}
}

/*
 * Makes the host's header one that this driver can take; false if that cannot be. A frame may have
 * been in the back end since before the driver chose. "The checksum is good" is said by taps that
 * were told not to use it, and demands nothing: it is left out.
 */
static bool translate_header(const struct net *n, uint8_t *header, unsigned n_buffers)
{
	uint8_t flags = header[HDR_FLAGS];

	if (!gso_expected(n, header[HDR_GSO_TYPE]))
		return false;
	if (!offloaded(n, VIRTIO_NET_F_GUEST_CSUM)) {
		if (flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
			return false;
		flags = 0;
	}
	header[HDR_FLAGS] = flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID);
	num_put_le16(header + NET_HDR_BUFFERS, (uint16_t)n_buffers);
	return true;
}

/* A packet of `bytes` is in the set, and is held there if the guest gets it. */
static void accept(struct net *n, struct net_pair *p, size_t bytes)
{
	uint8_t header[NETIF_HEADER_BYTES];
	unsigned used = 0, used_iov = 0;
	uint64_t taken = 0;

	if (bytes > p->bytes) {
		NET_DROP(n, p->index, rx_dropped_too_long);
		return;
	}
	if (!(n->config.status & VIRTIO_NET_S_LINK_UP)) {
		NET_DROP(n, p->index, rx_dropped_link_down);
		return;
	}
	while (taken < bytes) {
		taken += p->chains[used].len;
		used_iov += p->chain_iov[used++];
	}
	if (bytes >= NETIF_HEADER_BYTES + NET_ETH_BYTES) {
		copy_header(p, header, false);
		if (translate_header(n, header, used)) {
			copy_header(p, header, true);
			p->held = (uint32_t)bytes;
			p->held_chains = used;
			p->held_iov = used_iov;
			p->held_room = taken;
			return;
		}
	}
	NET_DROP(n, p->index, rx_dropped_malformed);
}

/* Reads a frame. False: none can be had now; else p->held says whether there is one. */
static bool receive(struct net *n, struct net_pair *p)
{
	ssize_t bytes;

	if (!prepare(n, p, room_wanted(n)))
		return false;
	bytes = n->netif->ops->recv(n->netif, p->index, p->iov, p->n_iov);
	if (bytes == -EMSGSIZE) {
		NET_DROP(n, p->index, rx_dropped_too_long);
		return true;
	}
	if (bytes <= 0) {
		/* After an error, too: it may last, and the next event will come. */
		p->readable = false;
		if (bytes != -EAGAIN)
			NET_DROP(n, p->index, rx_errors);
		return false;
	}
	accept(n, p, (size_t)bytes);
	return true;
}

/* Gives a packet that is in the set, from buffer `at` on, to the guest. */
static void push(struct net *n, struct net_pair *p, unsigned at, unsigned at_iov, uint32_t packet)
{
	unsigned end = at, end_iov = at_iov;

	for (uint32_t left = packet, part; left > 0; left -= part) {
		part = MIN(left, p->chains[end].len);
		p->bytes -= p->chains[end].len;
		p->chains[end].len = part;
		end_iov += p->chain_iov[end++];
	}
	virtio_push_many(&n->v, 2 * p->index, p->chains + at, end - at);
	p->crowded = false;
	memmove(p->chains + at, p->chains + end, (p->n_chains - end) * sizeof(p->chains[0]));
	memmove(p->chain_iov + at, p->chain_iov + end,
		(p->n_chains - end) * sizeof(p->chain_iov[0]));
	memmove(p->iov + at_iov, p->iov + end_iov, (p->n_iov - end_iov) * sizeof(p->iov[0]));
	p->n_chains -= end - at;
	p->n_iov -= end_iov - at_iov;
}

/* Gives the frame that is held to the guest. */
static void deliver(struct net *n, struct net_pair *p)
{
	uint32_t bytes = p->held - NETIF_HEADER_BYTES;

	push(n, p, 0, 0, p->held);
	p->held = 0;
	p->held_chains = p->held_iov = 0;
	p->held_room = 0;
	TRACE3(net_rx, n->v.name, p->index, bytes);
	virtio_count(&n->counters.rx_packets);
	atomic_fetch_add_explicit(&n->counters.rx_bytes, bytes, memory_order_relaxed);
}

/* -- frames of the detour -------------------------------------------------------------------- */

static bool detour_due(const struct net *n, const struct net_pair *p)
{
	uint64_t due_ns;

	if (!n->detour || p->index != 0)
		return false;
	due_ns = n->detour->due_ns(n->detour_owner);
	return due_ns == 0 || (due_ns != NET_DETOUR_NEVER && due_ns <= loop_now_ns());
}

/* Puts one into the set, behind what is held, and gives it to the guest. False: there was none. */
static bool bypass(struct net *n, struct net_pair *p)
{
	uint8_t packet[NETIF_HEADER_BYTES + NET_DETOUR_GIVE_MAX] = { 0 };
	size_t bytes = n->detour->give(n->detour_owner, packet + NETIF_HEADER_BYTES, loop_now_ns());
	const struct iovec *iov = p->iov + p->held_iov;
	unsigned used = 0;

	if (bytes == 0)
		return false;
	bytes += NETIF_HEADER_BYTES;
	if (bytes > room(p)) {
		NET_DROP(n, p->index, rx_dropped_too_long);
		return true;
	}
	for (uint64_t taken = 0; taken < bytes; used++)
		taken += p->chains[p->held_chains + used].len;
	num_put_le16(packet + NET_HDR_BUFFERS, (uint16_t)used);
	for (size_t done = 0, part; done < bytes; done += part, iov++) {
		part = MIN(iov->iov_len, bytes - done);
		memcpy(iov->iov_base, packet + done, part);
	}
	push(n, p, p->held_chains, p->held_iov, (uint32_t)bytes);
	virtio_count(&n->counters.rx_detoured);
	return true;
}

/* One that is due later, such as a segment that is sent again, has the timer. */
static void await_detour(struct net *n)
{
	uint64_t due_ns = n->detour->due_ns(n->detour_owner), now_ns;

	if (due_ns == 0 || due_ns == NET_DETOUR_NEVER)
		return;
	now_ns = loop_now_ns();
	if (due_ns > now_ns) /* else it waits for buffers */
		throttle_arm(&n->rx.throttle, due_ns, now_ns);
}

/* -------------------------------------------------------------------------------------------- */

/* A frame at a time; false: it ends here. */
static bool step(struct net *n, struct net_pair *p)
{
	if (!virtio_running(&n->v))
		return false;
	if (detour_due(n, p) && prepare(n, p, small_packet(n)) && bypass(n, p))
		return true;
	if (throttle_holds(&n->rx.throttle) || !virtio_running(&n->v))
		return false;
	if (!p->held) {
		if (!p->readable || p->index >= n->n_active || !receive(n, p))
			return false;
		if (!p->held)
			return true; /* it was dropped */
	}
	if (!throttle_take(&n->rx.throttle, p->held - NETIF_HEADER_BYTES,
		    &n->counters.rx_throttled))
		return false;
	deliver(n, p);
	return true;
}

void net_rx_run(struct net *n, unsigned pair)
{
	struct net_pair *p = &n->pairs[pair];
	unsigned q = 2 * pair;

	if (!n->v.queues[q].live)
		return;
	for (unsigned i = 1; step(n, p); i++) {
		if (i == VIRTIO_BATCH) {
			n->v.link->kick(n->v.link, q);
			break;
		}
		if (i % NOTIFY_EVERY == 0)
			virtio_notify(&n->v, q);
	}
	virtio_notify(&n->v, q);
	if (n->detour && pair == 0)
		await_detour(n);
}

/* Whatever the order in which packets went, those that are left were the last to be taken. */
void net_rx_give_back(struct net *n, unsigned pair)
{
	struct net_pair *p = &n->pairs[pair];

	if (p->held && virtio_alive(&n->v)) {
		deliver(n, p);
		virtio_notify(&n->v, 2 * pair);
	}
	virtq_unpop(&n->v.queues[2 * pair], p->n_chains);
	p->n_chains = p->n_iov = 0;
	p->bytes = 0;
	p->crowded = false;
}
