/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A macvtap, made by the helper program, see src/helper/volt-helper-macvtap.c: what comes back is
 * a descriptor and a netlink socket in its namespace. Building thread.
 */
#include <errno.h>
#include <linux/if.h>

#include "cleanup.h"
#include "helper.h"
#include "log.h"
#include "tap-core.h"
#include "tap-link.h"
#include "tap.h"

/* Nobody but us could see it: the namespace of the macvtap has no parent in it. */
static void look_at_parent(const char *parent)
{
	_cleanup_close_ int nlfd = tap_link_socket(NULL);
	struct tap_facts facts;

	if (nlfd >= 0 && tap_link_query(nlfd, parent, 0, &facts) == 0 && !(facts.flags & IFF_UP))
		log_warn("macvtap over %s: the parent is down, so no frame gets out; to set it up: "
			"ip link set %s up", parent, parent);
}

int tap_open_macvtap(const char *parent, const char *mode, const uint8_t mac[6], uint16_t mtu,
	struct loop *loop, struct netif **ret, struct volt_err *err)
{
	char program[] = "volt-helper-macvtap", mac_text[18], mtu_text[8], name[LIMIT_IFNAME];
	char *argv[] = { program, (char *)(uintptr_t)parent, (char *)(uintptr_t)mode, mac_text,
		mtu_text, NULL };
	struct tap_parts parts = { .ops = &tap_ops_macvtap, .n_fds = 1, .name = name,
		.parent = parent };
	struct helper helper;
	int fds[HELPER_FDS], r;
	unsigned n_fds;

	snprintf(mac_text, sizeof(mac_text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
		mac[2], mac[3], mac[4], mac[5]);
	snprintf(mtu_text, sizeof(mtu_text), "%u", mtu);
	r = helper_start(argv, &helper, fds, &n_fds, err);
	if (r < 0)
		return r;
	helper_done(&helper); /* what it made lives as long as the descriptors */
	if (n_fds != 2)
		r = volt_err_set(err, EPROTO, "%s gave %u descriptors instead of 2", program,
			n_fds);
	else
		r = tap_check(fds[0], name, err);
	if (r == 0) {
		parts.fds = fds;
		parts.nlfd = fds[1];
		look_at_parent(parent);
		r = tap_create(&parts, loop, ret, err);
	}
	while (r < 0 && n_fds > 0)
		fd_close(fds[--n_fds]);
	return r;
}
