/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of a network interface: where the frames of a guest go to and come from. One
 * table for all of them: taps (by name, by inherited descriptor, a macvtap, one that networkd
 * manages) and passt. What differs between taps is how they are opened, see tap.h, macvtap.h and
 * networkd.h; here they are the same.
 *
 * A frame travels with a header of NETIF_HEADER_BYTES in front, virtio 1.2's struct
 * virtio_net_hdr_v1 (little-endian), whatever the back end does with it: one without offloads
 * (offloads == 0) ignores it when sending and fills it with zeros (num_buffers 0) when receiving.
 *
 * Descriptors are watched edge-triggered by the device: after an event, recv (or send) until
 * -EAGAIN, or come back by yourself. All functions: loop thread, and the building thread before.
 */
#ifndef VOLT_NETIF_H
#define VOLT_NETIF_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "err.h"
#include "limit.h"

#define NETIF_HEADER_BYTES 12
#define NETIF_FRAME_MAX    65550 /* behind the header: a 64 KiB IP packet in an Ethernet frame */

/* Entries of iov in a call of send and recv. */
#define NETIF_IOV_MAX LIMIT_QUEUE_SIZE

/* What a receiver of frames accepts: the values of TUN_F_* (linux/if_tun.h; ours are complete). */
#define NETIF_CSUM 0x01u
#define NETIF_TSO4 0x02u
#define NETIF_TSO6 0x04u
#define NETIF_ECN  0x08u
#define NETIF_USO4 0x20u
#define NETIF_USO6 0x40u

struct loop;
struct netif;

struct netif_ops {
	const char *name; /* "tap", "macvtap", "passt" ... for logs and metrics */
	bool can_vhost; /* fds[] are taps that vhost-net takes */
	/*
	 * Sends one frame: `bytes` in all, iov[0] begins with the header (all 12 bytes of it). 0:
	 * sent; -EAGAIN: nothing was, wait for an event of the queue; else -errno: it is dropped.
	 */
	int (*send)(struct netif *n, unsigned queue, const struct iovec *iov, unsigned n_iov,
		size_t bytes);
	/*
	 * Receives one frame behind its header into iov. Bytes with the header; -EAGAIN: none
	 * waits; -EMSGSIZE: it was longer than iov and is lost; else -errno.
	 */
	ssize_t (*recv)(struct netif *n, unsigned queue, const struct iovec *iov, unsigned n_iov);
	/* From now on frames to the guest may need these (a subset of n->offloads). 0 or -errno. */
	int (*set_offloads)(struct netif *n, unsigned offloads);
	/* Queues 0..n_active-1 get frames, the others none. 0 or -errno. */
	int (*set_queues)(struct netif *n, unsigned n_active);
	void (*destroy)(struct netif *n);
};

/* How the back end tells of the link; loop thread, from within send and recv too. */
struct netif_events {
	void (*link)(void *owner, bool up);
	void *owner;
};

struct netif {
	const struct netif_ops *ops;
	unsigned n_queues; /* 1..LIMIT_NET_PAIRS */
	int fds[LIMIT_NET_PAIRS]; /* owned; what to watch for EPOLLIN and EPOLLOUT, -1: none */
	unsigned offloads; /* NETIF_*: what can be sent to and received from it */
	bool link_up; /* as last told */
	struct netif_events events; /* set by the device before the loop runs */
};

/* NULL is allowed. */
static inline void netif_destroy(struct netif *n)
{
	if (n)
		n->ops->destroy(n);
}

#endif
