/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap that is declared to systemd-networkd. The tap is made here, so that it dies with us; the
 * declaration is the helper program's, see src/helper/volt-helper-networkd.c, and dies with it.
 * Building thread.
 */
#include "helper.h"
#include "tap-core.h"
#include "tap.h"

int tap_open_networkd(const char *name, const char *bridge, const char *owner, uint16_t mtu,
	struct loop *loop, struct netif **ret, struct volt_err *err)
{
	char program[] = "volt-helper-networkd";
	char *argv[] = { program, (char *)(uintptr_t)name, (char *)(uintptr_t)owner,
		(char *)(uintptr_t)bridge, NULL };
	struct helper helper;
	struct netif *n;
	int fds[HELPER_FDS], r;
	unsigned n_fds;

	r = tap_open(name, 1, mtu, loop, &n, err);
	if (r < 0)
		return r;
	r = helper_start(argv, &helper, fds, &n_fds, err);
	if (r < 0) {
		netif_destroy(n);
		return r;
	}
	tap_keep_helper(n, &tap_ops_networkd, &helper);
	*ret = n;
	return 0;
}
