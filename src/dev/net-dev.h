/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of virtio-net share: net.c (creation, configuration, life), net-rx.c, net-tx.c and
 * net-ctrl.c. Loop thread, device's lock held, unless said otherwise.
 *
 * State of the run. activate() and reset() come on a vCPU thread, which may not touch descriptors:
 * they only clear `started`. The first kick after DRIVER_OK starts the run on the loop thread: it
 * tells the back end what was negotiated and forgets what was left over from the run before.
 *
 * With vhost-net the kernel serves the active pairs from the start on, and the loop thread has only
 * the control queue and what a driver left in the transmit queue of a pair that it switched off.
 * Nothing of a pair is ours when the kernel gets it: either it serves them for all of a driver's
 * life, but for the change of the active pairs, or never.
 *
 * A pair does nothing while it waits, and each wait has one end:
 *
 *	transmit	tx_blocked	back end is full	EPOLLOUT
 *			tx.throttle	rate limit		the timer
 *	receive		!readable	no frame		EPOLLIN
 *			starving	no buffers		a kick; the timer, see net-rx.c
 *			rx.throttle	rate limit		the timer
 *
 * Frames of the detour (net.h) go by pair 0 and wait for buffers only; the receive timer
 * tells of those that are due later.
 */
#ifndef VOLT_NET_DEV_H
#define VOLT_NET_DEV_H

#include <linux/virtio_net.h>

#include "loop.h"
#include "net-vhost.h"
#include "net.h"
#include "netif.h"
#include "throttle.h"
#include "trace.h"
#include "virtio.h"

/* virtio 1.2; linux/virtio_net.h of 6.1 lacks them. */
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO	56
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define NET_ETH_BYTES	 14u /* destination, source, type */
#define NET_HDR_BUFFERS	 10u /* where num_buffers is in the header */
#define NET_PACKET_MAX	 (NETIF_HEADER_BYTES + NETIF_FRAME_MAX) /* a frame and its header */

/* Offloads that a driver can switch while it runs (5.1.6.5.6). */
#define NET_GUEST_OFFLOADS                                                                         \
	(VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) |               \
		VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN) |         \
		VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6))
#define NET_GUEST_GSO                                                                              \
	(VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) |               \
		VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6))

struct net;

struct net_pair {
	struct loop_src src; /* the back end's descriptor */
	struct net *net;     /* borrowed: the one that embeds this */
	unsigned index;

	bool tx_blocked;
	uint64_t tx_paid; /* bytes of the next frame, if the rate limit has let it pass already */

	bool readable;
	bool starving; /* reception waits for buffers ... */
	bool hasty;    /* ... and has done so long enough: it takes what there is */
	bool crowded;  /* the next buffer is in too many pieces for one more read */
	uint64_t starving_ns; /* when it began to wait with some; 0: it has too few for anything */
	uint32_t held; /* bytes of the packet in the buffers that the limit keeps back; 0: none */
	/* What that packet is in: these buffers, at the front of the set; 0: there is none. */
	unsigned held_chains, held_iov;
	uint64_t held_room;

	/* Buffers that were taken from the queue for frames to come, in order. */
	unsigned n_chains, n_iov;
	uint64_t bytes;
	struct virtq_used chains[LIMIT_QUEUE_SIZE]; /* len: the room in it */
	uint16_t chain_iov[LIMIT_QUEUE_SIZE];	    /* entries of iov that each has */
	struct iovec iov[NETIF_IOV_MAX];
};

/* One direction: its limit, whose timer is for all that waits in it. */
struct net_dir {
	struct throttle throttle;
	unsigned turn; /* the pair that is the next to be the first */
};

struct net {
	struct virtio_dev v;
	struct netif *netif; /* owned */
	struct net_vhost *path;	 /* owned; NULL: frames are never the kernel's */
	bool path_paused;	 /* the kernel had the frames when the VM was paused */
	struct loop *loop;	 /* borrowed */
	bool locked; /* the loop thread holds the lock: the back end may call from within */
	uint8_t mac[NET_MAC_BYTES]; /* as configured; the driver's choice is in config */
	struct virtio_net_config config;

	bool started;
	uint64_t features; /* acked, less what lacks the feature it builds on */
	uint64_t offloads; /* of NET_GUEST_OFFLOADS: what frames to the guest may need now */
	unsigned n_active; /* pairs that get frames */

	const struct net_detour_ops *detour; /* NULL: none */
	void *detour_owner;		     /* borrowed */
	bool detoured; /* it has taken a frame, and may have an answer */

	struct net_dir rx, tx;
	struct virtq_chain chain; /* scratch of whoever runs: too large to be cleared per frame */
	struct iovec tx_iov[1 + LIMIT_SEGS]; /* the same */
	struct net_counters counters;
	struct net_pair pairs[];
};

/* A frame ends here, for a reason that has a counter. */
#define NET_DROP(n, pair, cause)                                                                   \
	do {                                                                                       \
		virtio_count(&(n)->counters.cause);                                                \
		TRACE3(net_drop, (n)->v.name, #cause, pair);                                       \
	} while (0)

static inline struct net *net_of(struct virtio_dev *v)
{
	return container_of(v, struct net, v);
}

static inline bool net_has(const struct net *n, unsigned feature)
{
	return n->features & VIRTIO_BIT(feature);
}

/* Queue pairs that this driver's queue numbers stand for (5.1.2), be they active or not. */
static inline unsigned net_pairs(const struct net *n)
{
	return net_has(n, VIRTIO_NET_F_MQ) ? n->netif->n_queues : 1;
}

/*
 * The back end's queue for what a pair sends: that of a pair which was switched off has an end
 * nobody listens to, but the driver's last frames may still be in it.
 */
static inline unsigned net_tx_queue(const struct net *n, unsigned pair)
{
	return pair < n->n_active ? pair : 0;
}

/*
 * Serve a pair as far as it goes; after a wait has ended, too. They kick themselves if their share
 * was not enough, and may fail the device.
 */
void net_rx_run(struct net *n, unsigned pair);
void net_tx_run(struct net *n, unsigned pair);

/*
 * Before the VM stands still: a packet that the rate limit keeps back goes to the guest, and the
 * buffers that were taken for others back to their queue.
 */
void net_rx_give_back(struct net *n, unsigned pair);

/* The driver's offloads to the back end, less what lacks what it builds on. 0 or -errno. */
int net_set_offloads(struct net *n, uint64_t offloads);
/* Pairs 0..n_active-1 get frames. 0 or -errno. */
int net_set_pairs(struct net *n, unsigned n_active);

/* Serves the control queue, which is queue q. */
void net_ctrl_run(struct net *n, unsigned q);

#endif
