/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-net (linux/vhost.h): the kernel serves the receive and transmit queues of a virtio-net
 * device, between guest memory and a tap, and only the control queue is left to us. One
 * /dev/vhost-net descriptor per queue pair. Opened and prepared before the sandbox, started and
 * stopped on the loop thread.
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
	int kickfd, callfd; /* eventfds; borrowed */
};

/*
 * Opens /dev/vhost-net n_pairs times. -ENOENT, -ENODEV, -EACCES: it is absent or not permitted; the
 * caller falls back with a log line.
 */
int vhost_net_open(unsigned n_pairs, struct vhost_net **ret, struct volt_err *err);
/* NULL is allowed. Stops first. */
void vhost_net_destroy(struct vhost_net *v);

/* virtio feature bits that every kernel side of it supports, of those that a net device may offer.
 */
uint64_t vhost_net_features(const struct vhost_net *v);

/* Building thread, before the first start; guest memory stays where it is. */
int vhost_net_set_memory(
	struct vhost_net *v, const struct vhost_region *regions, size_t n, struct volt_err *err);

/*
 * Loop thread. rings: receive and transmit of pair 0, of pair 1 ... 2 * n_pairs; tapfds: n_pairs.
 * Starts as a whole or not at all.
 */
int vhost_net_start(struct vhost_net *v, uint64_t features, const struct vhost_ring *rings,
	const int *tapfds, unsigned n_pairs, struct volt_err *err);
/* When it returns, the kernel touches guest memory no more. Nothing if it is not started. */
void vhost_net_stop(struct vhost_net *v);
bool vhost_net_running(const struct vhost_net *v);

#endif
