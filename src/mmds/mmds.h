/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata service (MMDS) of a VM: data that the API or a file gives, which the guest reads by
 * HTTP at a link-local address. One of these per VM; each interface that is listed for it has a
 * network stack of its own, mmds-stack.h, that takes the guest's frames for that address.
 *
 *	mmds-stack	Ethernet, ARP, IPv4; who is connected	one per interface
 *	mmds-tcp	one connection, and its requests	up to 30 per stack
 *	mmds-http	a request to an answer
 *	mmds-store, mmds-token				one per VM
 *
 * Everything a guest sends may be hostile: see the limits in these headers. Numbers of Firecracker:
 * its document, 5.4. Loop thread.
 */
#ifndef VOLT_MMDS_H
#define VOLT_MMDS_H

#include <stdatomic.h>

#include "mmds-store.h"
#include "mmds-token.h"

#define MMDS_SERVER "Firecracker API" /* what clients are told that we are */
#define MMDS_IPV4   0xa9fea9feu	      /* 169.254.169.254; addresses are numbers, host's order */

struct mmds_counters {
	_Atomic uint64_t rx_accepted; /* frames taken from the guest; of these: */
	_Atomic uint64_t rx_accepted_err; /* make no sense */
	_Atomic uint64_t rx_accepted_unusual; /* make sense, and are not what we serve */
	_Atomic uint64_t rx_bad_eth; /* no whole Ethernet header */
	_Atomic uint64_t rx_count; /* TCP segments */
	_Atomic uint64_t rx_invalid_token, rx_no_token; /* requests, also where none is needed */
	_Atomic uint64_t tx_count, tx_frames, tx_bytes; /* frames to the guest */
	_Atomic uint64_t tx_errors; /* answers that there was no memory for */
	_Atomic uint64_t connections_created, connections_destroyed;
};

struct mmds {
	struct mmds_store store;
	struct mmds_token token;
	bool v2;	  /* a token is needed */
	bool imds_compat; /* answers are in the form of EC2's service, whatever Accept says */
	struct mmds_counters counters;
	char extra[64]; /* header line of the answer that is being made */
};

/* The id is that of the VM. Before the sandbox. */
int mmds_create(const char *id, size_t limit, struct mmds **ret, struct volt_err *err);
void mmds_destroy(struct mmds *m); /* NULL is allowed */

#endif
