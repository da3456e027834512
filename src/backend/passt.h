/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passt: a user-space network stack in a process of its own, for hosts where we have no rights at
 * all. Started with one end of a socket pair, so there is no socket file; it ends when ours is
 * closed. Frames have a 32-bit big-endian length in front on the stream. No offloads, no vhost.
 */
#ifndef VOLT_PASST_H
#define VOLT_PASST_H

#include "netif.h"

/* ports: "tcp:8080:80 udp:53:53" (host:guest), or NULL. Before the sandbox; building thread. */
int passt_start(const char *ports, uint16_t mtu, struct loop *loop, struct netif **ret,
	struct volt_err *err);

/* A netif over a connected stream socket that speaks passt's framing; for passt_start() and tests.
 */
int passt_from_fd(int fd, struct loop *loop, struct netif **ret, struct volt_err *err);

#endif
