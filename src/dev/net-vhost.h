/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's data path of a virtio-net device: hands its receive and transmit queues to vhost-net
 * and takes them back. The control queue stays with the device.
 *
 * The device decides when, in one place: it starts on the loop thread at the first kick after
 * DRIVER_OK, stops and starts again around a change of the active queue pairs, and stops in
 * ops->cancel: for the path holds a virtio_begin() while it runs, so that a reset and a failure
 * come there. While it runs, the
 * device leaves kicks of those queues and the back end's descriptors alone; frames are counted by
 * the host's interface only. If it cannot start, the device goes on by itself.
 */
#ifndef VOLT_NET_VHOST_H
#define VOLT_NET_VHOST_H

#include <stdbool.h>

#include "err.h"

struct gmem;
struct loop;
struct net_counters;
struct net_vhost;
struct netif;
struct vhost_net;
struct virtio_dev;

/* Building thread, before net_create(): tells the kernel where guest memory is. */
int net_vhost_set_memory(
	struct vhost_net *vhost, const struct gmem *mem, struct volt_err *err);

/*
 * Building thread. v, netif, loop and counters are borrowed for its life; vhost is owned on
 * success. netif->ops->can_vhost is true. The transport of v is made with vmmio_env.irqfd.
 */
int net_vhost_create(struct virtio_dev *v, const struct netif *netif, struct vhost_net *vhost,
	struct loop *loop, struct net_counters *counters, struct net_vhost **ret,
	struct volt_err *err);

/* Loop thread, the device no longer in use: takes no lock. NULL is allowed. */
void net_vhost_destroy(struct net_vhost *n);

/*
 * Lock held, loop thread. Queues 0..2 * n_pairs - 1, all of which the driver must have set up (else
 * -ENODATA, silently). The taps are attached to their interface. 0: the kernel serves them from
 * where they stand; else -errno, logged and counted: the queues were kicked, the device serves them
 * itself, and does not try again for this driver.
 */
int net_vhost_start(struct net_vhost *n, unsigned n_pairs);

/*
 * Lock held, loop thread. When it returns the kernel touches guest memory no more; the queues stand
 * where it left them, and are kicked. Nothing if it does not run. If the positions are lost, the
 * device has failed.
 */
void net_vhost_stop(struct net_vhost *n);

/* NULL: false. Lock held. */
bool net_vhost_running(const struct net_vhost *n);

#endif
