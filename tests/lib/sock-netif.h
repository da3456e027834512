/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network back end whose wire is in the test's hands: each queue is a socket pair that keeps the
 * boundaries of messages, and so behaves as a tap does. A message on the wire is a header and a
 * frame.
 */
#ifndef VOLT_SOCK_NETIF_H
#define VOLT_SOCK_NETIF_H

#include "netif.h"

struct sock_netif {
	struct netif n;
	int wires[LIMIT_NET_PAIRS]; /* the other ends */
	unsigned offloads, n_active; /* as the device has set them last */
	unsigned calls; /* of set_offloads and set_queues */
	int refuse; /* -errno: what those answer */
	int send_error, recv_error; /* -errno: what send and recv answer instead of doing it */
	bool link_from_recv; /* recv tells that the link is down, from within */
};

/* kind: the name of the back end. Destroyed by the device, wires and all. */
struct sock_netif *sock_netif_create(const char *kind, unsigned n_queues, unsigned offloads);

/* The wire's side. False, -1: the pair is full, nothing is there. */
bool sock_netif_put(struct sock_netif *s, unsigned queue, const void *packet, size_t bytes);
ssize_t sock_netif_get(struct sock_netif *s, unsigned queue, void *packet, size_t room);

#endif
