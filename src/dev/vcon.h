/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console (virtio 1.2, section 5.3): one port, hvc0 to Linux, without MULTIPORT and SIZE.
 *
 * Out: what the guest sends is copied into a ring at once and its buffers go back. A driver may
 * wait for that with its interrupts off, as Linux does, so it is never made to wait for a slow
 * reader: what the ring does not hold is dropped and counted, see console-ring.h.
 *
 * In: bytes go into the buffers that the driver has posted, and no further; if there are too few,
 * the console is told when the driver has posted more.
 *
 * Loop thread, but for vcon_tail() and the counters.
 */
#ifndef VOLT_VCON_H
#define VOLT_VCON_H

#include <stdatomic.h>
#include <stdbool.h>

#include "err.h"

struct console_port;
struct console_ring;
struct virtio_dev;

struct vcon_counters {
	_Atomic uint64_t rx_bytes; /* to the guest; for the other direction see vcon_output() */
	_Atomic uint64_t rx_no_buffers; /* times that input had to wait for the guest's buffers */
};

/*
 * Building thread. connected: the console will take the output; else it is kept for reports only.
 * vmmio_create() takes ownership of the device.
 */
int vcon_create(bool connected, struct virtio_dev **ret, struct volt_err *err);

/* v was made by vcon_create(). What the console is to be connected to; lives as long as v. */
struct console_port *vcon_port(struct virtio_dev *v);
/* Any thread, no lock. The end of the output, oldest byte first; returns its length. */
size_t vcon_tail(struct virtio_dev *v, void *data, size_t len);
const struct console_ring *vcon_output(const struct virtio_dev *v); /* for its counters */
const struct vcon_counters *vcon_counters(const struct virtio_dev *v);

#endif
