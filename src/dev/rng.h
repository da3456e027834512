/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-rng (virtio 1.2, section 5.4): one queue, whose writable buffers are filled from
 * getrandom(2), at most RNG_BYTES_MAX a request. Loop thread.
 */
#ifndef VOLT_RNG_H
#define VOLT_RNG_H

#include <stdatomic.h>

#include "err.h"

#define RNG_BYTES_MAX (64 * 1024)

struct virtio_dev;

struct rng_counters {
	_Atomic uint64_t requests, bytes;
	_Atomic uint64_t failed; /* getrandom gave nothing: the request is answered with 0 bytes */
};

/* Building thread. vmmio_create() takes ownership of the device. */
int rng_create(struct virtio_dev **ret, struct volt_err *err);

/* v was made by rng_create(). Any thread. */
const struct rng_counters *rng_counters(const struct virtio_dev *v);

#endif
