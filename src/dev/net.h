/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net (virtio 1.2, section 5.1) over a netif back end, or with vhost-net as data path.
 *
 * Queues: receive 0, transmit 0, receive 1, transmit 1 ... control. Frames go straight between
 * guest memory and the back end's descriptor; only the 12 bytes of header are copied, because they
 * are checked. Everything but the configuration runs on the loop thread.
 */
#ifndef VOLT_NET_H
#define VOLT_NET_H

#include <stdatomic.h>
#include <stdbool.h>

#include "bucket.h"
#include "err.h"
#include "latency.h"
#include "limit.h"

#define NET_MAC_BYTES 6

struct loop;
struct netif;
struct vhost_net;
struct virtio_dev;

#define NET_DETOUR_HEAD	    42u	  /* bytes of a frame that wants() sees */
#define NET_DETOUR_TAKE_MAX 2634u /* longer frames are cut before they are taken */
#define NET_DETOUR_GIVE_MAX 1514u
#define NET_DETOUR_NEVER    UINT64_MAX

/*
 * A service of the monitor's own on the interface (MMDS): takes frames from the guest before the
 * back end gets them, and gives frames to the guest before those of the back end and beside the
 * rate limits. Loop thread, the device's lock held; times are CLOCK_MONOTONIC.
 */
struct net_detour_ops {
	/* Whether a frame is the service's: by its first n bytes, NET_DETOUR_HEAD or all of it. */
	bool (*wants)(void *owner, const uint8_t *head, size_t n);
	/* One that it wants, or wanted: the guest may have changed it since. */
	void (*take)(void *owner, const uint8_t *frame, size_t n, uint64_t now_ns);
	/* The next frame to the guest, at most NET_DETOUR_GIVE_MAX bytes; 0: none is due. */
	size_t (*give)(void *owner, uint8_t *frame, uint64_t now_ns);
	/* When there will be one: 0: now; NET_DETOUR_NEVER: not before it has taken one. */
	uint64_t (*due_ns)(void *owner);
};

struct net_params {
	const char *id; /* interface id; copied */
	uint8_t mac[NET_MAC_BYTES];
	uint16_t mtu; /* 0: VIRTIO_NET_F_MTU is not offered */
	struct limiter_params rx, tx; /* to the guest, from the guest */
	const struct net_detour_ops *detour; /* NULL: none; not with a vhost. Borrowed, like: */
	void *detour_owner;
};

/* Every frame that does not arrive is in exactly one of the drop counters. */
struct net_counters {
	/* To the guest; bytes of frames, without the header. */
	_Atomic uint64_t rx_packets, rx_bytes;
	_Atomic uint64_t tx_packets, tx_bytes; /* from the guest */
	/* The back end's descriptor became readable; writable, when a frame had to wait for it. */
	_Atomic uint64_t rx_events, tx_events;
	_Atomic uint64_t rx_kicks, tx_kicks;
	_Atomic uint64_t tx_empty_kicks; /* times that nothing was there to be sent */
	_Atomic uint64_t tx_left_waiting; /* frames left in their queue when it had been served */
	struct latency tx_send; /* of the calls of the back end */
	_Atomic uint64_t rx_no_buffers; /* times reception had to wait for the guest's buffers */
	_Atomic uint64_t rx_throttled, tx_throttled; /* times the rate limit made one wait */
	_Atomic uint64_t rx_limiter_events, tx_limiter_events; /* times such a wait ended */
	_Atomic uint64_t tx_blocked; /* times the back end was full */
	_Atomic uint64_t tx_spoofed_mac; /* sent, with another source than the device's */
	_Atomic uint64_t rx_dropped_too_long; /* longer than the guest's buffers */
	_Atomic uint64_t rx_dropped_malformed; /* a header from the host that makes no sense */
	_Atomic uint64_t rx_dropped_link_down; /* VIRTIO_NET_S_LINK_UP is off */
	_Atomic uint64_t rx_dropped_reset; /* the rate limit held it back, the driver went away */
	/* No whole header and Ethernet header, or too long. */
	_Atomic uint64_t tx_dropped_malformed;
	_Atomic uint64_t tx_dropped_offload; /* header asks for what was not negotiated, or lies */
	_Atomic uint64_t tx_dropped_backend; /* the back end refused the frame */
	_Atomic uint64_t rx_errors; /* the back end failed to deliver */
	_Atomic uint64_t ctrl_commands, ctrl_refused;
	_Atomic uint64_t link_changes;
	/* Frames of the service beside the back end; they are in no counter of packets or bytes. */
	_Atomic uint64_t rx_detoured, tx_detoured;
	/* Of the kernel's data path, whose frames are not counted here. */
	_Atomic uint64_t vhost_starts, vhost_stops;
	_Atomic uint64_t vhost_errors; /* could not start; found a ring broken */
};

/*
 * Building thread. netif is owned by the device on success; vhost too, and may be NULL. Needs as
 * many queue pairs as the netif has queues. The device becomes usable in vmmio_create().
 */
int net_create(const struct net_params *params, struct netif *netif, struct vhost_net *vhost,
	struct loop *loop, struct virtio_dev **ret, struct volt_err *err);

/*
 * Changes the rate limits while the device runs. -EINVAL: its frames are the kernel's (vhost). Loop
 * thread, no lock.
 */
int net_set_limiters(struct virtio_dev *v, const struct limiter_change *rx,
	const struct limiter_change *tx, struct volt_err *err);

/* v was made by net_create(). Any thread. */
const struct net_counters *net_counters(const struct virtio_dev *v);

#endif
