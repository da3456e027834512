/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taps: descriptors of /dev/net/tun (Documentation/networking/tuntap.rst) or of a macvtap's
 * character device, which read and write frames with a virtio header in front. Opened before the
 * sandbox; building thread.
 *
 * Every error says what is the matter in words and what to do: no /dev/net/tun, no CAP_NET_ADMIN,
 * busy (and which process holds it), not a tap, flags that do not fit, header size that was not
 * taken.
 */
#ifndef VOLT_TAP_H
#define VOLT_TAP_H

#include "netif.h"

/*
 * Attaches to the tap `name`, or makes it if there is none: then it goes when its last descriptor
 * is closed, and is set up with this MTU (0: the kernel's default). A tap that was found is the
 * caller's: it is left as it is, and one that is down is a warning, and the guest's link is down,
 * until it is set up. n_queues > 1 needs a multi-queue tap; queue 0 alone is attached until
 * set_queues().
 */
int tap_open(const char *name, unsigned n_queues, uint16_t mtu, struct loop *loop,
	struct netif **ret, struct volt_err *err);

/*
 * Takes over an inherited descriptor (tap or macvtap), whose flags are read back and must be a
 * tap's with IFF_NO_PI and IFF_VNET_HDR. Its link is watched where it is, or taken as up where we
 * may not look. fd is owned by the result on success.
 */
int tap_from_fd(int fd, struct loop *loop, struct netif **ret, struct volt_err *err);

/*
 * A macvtap over the link `parent`, made by the helper program in a network namespace that dies
 * with this process, so that not even SIGKILL leaves it behind. Opened without TUNSETIFF. mode is
 * "bridge", "vepa", "private" or "passthru", mac the guest's, mtu 0 the parent's.
 */
int tap_open_macvtap(const char *parent, const char *mode, const uint8_t mac[6], uint16_t mtu,
	struct loop *loop, struct netif **ret, struct volt_err *err);

/*
 * The tap `name`, made by us and declared to systemd-networkd (and a port of `bridge`, if not NULL)
 * by the helper program, which takes the declaration back when this process ends.
 */
int tap_open_networkd(const char *name, const char *bridge, const char *owner, uint16_t mtu,
	struct loop *loop, struct netif **ret, struct volt_err *err);

#endif
