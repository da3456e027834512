/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From open descriptors to a netif. Private to the tap files, which differ in how they open.
 */
#ifndef VOLT_TAP_CORE_H
#define VOLT_TAP_CORE_H

#include "netif.h"

struct helper;

struct tap_parts {
	const struct netif_ops *ops; /* one of those below */
	const int *fds;		     /* one per queue, non-blocking; owned on success */
	unsigned n_fds;
	int nlfd; /* a netlink socket in the link's namespace, owned on success; -1: unwatched */
	const char *name;   /* of the link */
	const char *parent; /* of a macvtap; NULL: none, or unknown */
};

extern const struct netif_ops tap_ops, tap_ops_macvtap, tap_ops_networkd;

/*
 * Reads the flags of a descriptor back and refuses it, with words, if it is not a tap's with
 * IFF_NO_PI and IFF_VNET_HDR; sets the header size, and reads that back. ret_name gets the name of
 * its link.
 */
int tap_check(int fd, char ret_name[LIMIT_IFNAME], struct volt_err *err);

int tap_create(const struct tap_parts *parts, struct loop *loop, struct netif **ret,
	struct volt_err *err);

/* Hands over a helper that is to end with the tap. For taps made by a helper that stays. */
void tap_keep_helper(struct netif *n, const struct netif_ops *ops, struct helper *h);

#endif
