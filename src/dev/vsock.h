/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock (virtio 1.2, section 5.10), stream sockets only, between the guest and Unix sockets
 * of the host, with Firecracker's protocol:
 *
 *	host to guest	connect to PATH, write "CONNECT PORT\n", read "OK HOSTPORT\n"
 *	guest to host	the guest connects to CID 2, port P; we connect to PATH_P
 *
 * Memory is bounded: a connection has one buffer of VSOCK_BUFFER_BYTES for what the guest sent and
 * the host has not read, which is the credit that the guest is given; what the host sent stays in
 * its socket until the guest has credit and buffers for it. Everything runs on the loop thread.
 *
 * Parts: vsock.c has the queues and packets, vsock-conn.c what happens to one connection,
 * vsock-mux.c the table of them, vsock-host.c the Unix sockets.
 */
#ifndef VOLT_VSOCK_H
#define VOLT_VSOCK_H

#include <stdatomic.h>

#include "err.h"

#define VSOCK_BUFFER_BYTES 65536
#define VSOCK_CONNECTIONS  1023 /* at a time, Firecracker's; each may have a descriptor */

struct loop;
struct virtio_dev;

struct vsock_params {
	uint64_t cid;	  /* of the guest, 3..0xfffffffe */
	const char *path; /* of the Unix socket; copied */
};

struct vsock_counters {
	_Atomic uint64_t rx_packets, rx_bytes; /* to the guest; bytes of payload */
	_Atomic uint64_t tx_packets, tx_bytes; /* from the guest */
	_Atomic uint64_t rx_kicks, tx_kicks;
	_Atomic uint64_t connections_added, connections_ended;
	_Atomic uint64_t connections_reset;   /* of the ended: by a reset from us */
	_Atomic uint64_t connections_refused; /* limit reached, no listener, no answer in time */
	_Atomic uint64_t bad_requests;	 /* of host programs: no "CONNECT PORT" line in time */
	_Atomic uint64_t accept_errors;	 /* no descriptor or memory: accepting pauses */
	_Atomic uint64_t tx_malformed;	 /* packets from the guest that make no sense */
	_Atomic uint64_t tx_forged;	 /* with another source CID, or for another host */
	_Atomic uint64_t tx_over_credit; /* the guest sent more than it was given */
	_Atomic uint64_t rx_resets_lost; /* answers to stray packets, for want of rx buffers */
	_Atomic uint64_t host_read_errors, host_write_errors; /* other than a peer that is gone */
};

/*
 * Binds the Unix socket and listens. A socket file that nobody listens on any more is replaced; one
 * that is in use is an error. Before the sandbox. Returns the fd, non-blocking.
 */
int vsock_listen(const char *path, struct volt_err *err);

/*
 * Building thread. listenfd is owned by the device on success. The file is not removed here. The
 * process needs VSOCK_CONNECTIONS descriptors on top of its others.
 */
int vsock_create(const struct vsock_params *params, int listenfd, struct loop *loop,
	struct virtio_dev **ret, struct volt_err *err);

/*
 * Closes all connections and tells the guest that they are gone, as after a snapshot. Loop thread.
 */
void vsock_transport_reset(struct virtio_dev *v);

/* v was made by vsock_create(). Any thread. */
const struct vsock_counters *vsock_counters(const struct virtio_dev *v);

#endif
