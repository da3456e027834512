/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rtnetlink(7) says about links: questions at creation, and the watch over the link of a tap.
 * Private to the tap files. Building thread; the watch runs on the loop thread.
 */
#ifndef VOLT_TAP_LINK_H
#define VOLT_TAP_LINK_H

#include <stdbool.h>

#include "limit.h"
#include "loop.h"

struct tap_facts {
	int ifindex;
	unsigned flags; /* IFF_* of linux/if.h, IFF_LOWER_UP too */
	char kind[16];	/* "tun", "bridge", "macvtap" ...; "": a device, or unknown */
	/* of a tun, if the kernel tells (4.16) */
	bool has_type, is_tap, multi_queue;
	int64_t owner; /* user id, -1: none */
};

/* A netlink socket that hears of links, in the network namespace of the calling thread. */
int tap_link_socket(struct volt_err *err);

/* The link `name`, or, if that is NULL, the one of that index. 0, -ENODEV: none; -errno. */
int tap_link_query(int nlfd, const char *name, int ifindex, struct tap_facts *ret);

enum tap_link_state { TAP_LINK_UP, TAP_LINK_DOWN, TAP_LINK_NO_CARRIER, TAP_LINK_GONE };

struct tap_link {
	int fd;	   /* owned netlink socket; -1: the link cannot be watched and is taken as up */
	int tapfd; /* borrowed */
	int ifindex;
	enum tap_link_state state;
	bool lost; /* some news were */
	char name[LIMIT_IFNAME];   /* of the link */
	char parent[LIMIT_IFNAME]; /* of a macvtap; "": none */
	struct loop *loop;
	struct loop_src src;
	void (*changed)(struct tap_link *l, bool up);
};

/*
 * Reads the state, says so in the log if it is not up, and watches it from then on. nlfd is owned
 * on success; name, parent and changed are set already.
 */
int tap_link_start(
	struct tap_link *l, int nlfd, int tapfd, struct loop *loop, struct volt_err *err);
/* Nothing if it was not started. */
void tap_link_stop(struct tap_link *l);
bool tap_link_up(const struct tap_link *l);

#endif
