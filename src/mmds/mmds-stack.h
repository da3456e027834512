/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network stack of the metadata service on one interface: takes the guest's frames for its
 * address and makes the answers, which the device fetches when it has room for them. It is no host:
 * it answers ARP requests for its address and TCP on port 80, refuses other ports, and drops what
 * else is sent to it.
 *
 * Bounds: 30 connections; one more replaces the one that was silent for longest, if that is
 * MMDS_TCP_IDLE_NS or more, and is refused else. 100 segments that refuse something wait to be
 * fetched, one ARP answer; the rest is dropped. Loop thread.
 */
#ifndef VOLT_MMDS_STACK_H
#define VOLT_MMDS_STACK_H

#include "mmds-tcp.h"

#define MMDS_STACK_CONNECTIONS 30
#define MMDS_STACK_RESETS      100
#define MMDS_STACK_FRAME       1514 /* the longest frame to the guest */

struct mmds_stack;

/*
 * m is borrowed. ipv4 is the address (MMDS_IPV4); mtu that of the guest's interface, 0: not known.
 */
int mmds_stack_create(struct mmds *m, uint32_t ipv4, unsigned mtu, struct mmds_stack **ret,
	struct volt_err *err);
void mmds_stack_destroy(struct mmds_stack *s); /* NULL is allowed */

/* Whether a frame is for the service: by its first n bytes, MMDS_FRAME_HEAD or all of it. */
bool mmds_stack_wants(const struct mmds_stack *s, const uint8_t *head, size_t n);

/* A frame from the guest, cut to MMDS_FRAME_MAX. */
void mmds_stack_take(struct mmds_stack *s, const uint8_t *frame, size_t n, uint64_t now_ns);

/* The next frame to the guest into MMDS_STACK_FRAME bytes; its length, 0: none is due. */
size_t mmds_stack_give(struct mmds_stack *s, uint8_t *frame, uint64_t now_ns);

/* When there will be a frame for the guest. 0: now; MMDS_TCP_NEVER: not before it sends one. */
uint64_t mmds_stack_due_ns(const struct mmds_stack *s);

#endif
