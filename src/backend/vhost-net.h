/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-net (linux/vhost.h): the kernel serves the receive and transmit queues of a virtio-net
 * device, between guest memory and a tap, and only the control queue is left to us. One
 * /dev/vhost-net descriptor per queue pair. Opened and prepared before the sandbox, started and
 * stopped on the loop thread.
 *
 * Frames have the 12-byte header of the tap (NETIF_HEADER_BYTES) in guest memory too: vhost copies
 * it, and makes none of its own. What is in it is a matter of driver and tap.
 */
#ifndef VOLT_VHOST_NET_H
#define VOLT_VHOST_NET_H

#include <stdbool.h>

#include "err.h"
#include "limit.h"

struct vhost_net;

/* One region of guest memory, as the kernel is told of it. */
struct vhost_region {
	uint64_t gpa, bytes;
	uint64_t host; /* address in this process */
};

/* One virtqueue: ring addresses are in this process's address space. */
struct vhost_ring {
	unsigned size; /* a power of two */
	uint64_t desc, avail, used;
	uint16_t base;	    /* the next entry of the available ring to take; 0 after a reset */
	int kickfd, callfd; /* eventfds; borrowed */
};

/*
 * Opens /dev/vhost-net n_pairs times. -ENOENT, -ENODEV, -EACCES: it is absent or not permitted;
 * -ENOTSUP: it lacks a feature. The message is for the log line of the caller, who falls back.
 */
int vhost_net_open(unsigned n_pairs, struct vhost_net **ret, struct volt_err *err);
/* NULL is allowed. Stops first. */
void vhost_net_destroy(struct vhost_net *v);

/*
 * A mask over the features of a net device: bits that concern the kernel are set if it has them,
 * all others (offloads, which are the tap's, and what the control queue does) are set.
 */
uint64_t vhost_net_features(const struct vhost_net *v);

/*
 * Building thread, before the first start; guest memory stays where it is. n: at most
 * VHOST_NET_REGIONS_MAX.
 */
#define VHOST_NET_REGIONS_MAX 32
int vhost_net_set_memory(
	struct vhost_net *v, const struct vhost_region *regions, size_t n, struct volt_err *err);

/*
 * Loop thread. rings: receive and transmit of pair 0, of pair 1 ... 2 * n_pairs; tapfds: n_pairs,
 * each attached to its interface. n_pairs: at most what was opened. features: the negotiated ones.
 * Each ring is looked at once without a kick. Starts as a whole or not at all.
 */
int vhost_net_start(struct vhost_net *v, uint64_t features, const struct vhost_ring *rings,
	const int *tapfds, unsigned n_pairs, struct volt_err *err);
/*
 * When it returns, the kernel touches guest memory no more. 0; nothing if it is not started. -EIO:
 * it could be stopped by closing it only, so that vhost_net_base() is not known and it cannot be
 * started again.
 */
int vhost_net_stop(struct vhost_net *v);
bool vhost_net_running(const struct vhost_net *v);

/* After a stop: the next entry of ring i that was not taken; all before it were given back. */
uint16_t vhost_net_base(const struct vhost_net *v, unsigned i);

/*
 * An eventfd that the kernel signals when it finds a ring or a descriptor that makes no sense; it
 * then leaves that ring alone. Owned by v.
 */
int vhost_net_errfd(const struct vhost_net *v);

#endif
