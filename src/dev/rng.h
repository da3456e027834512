/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-rng (virtio 1.2, section 5.4): one queue, whose writable buffers are filled from
 * getrandom(2), at most RNG_BYTES_MAX a request. A request is one operation, and the bytes it gets,
 * to the rate limit. Loop thread.
 */
#ifndef VOLT_RNG_H
#define VOLT_RNG_H

#include <stdatomic.h>

#include "bucket.h"
#include "err.h"

#define RNG_BYTES_MAX (64 * 1024)

struct loop;
struct virtio_dev;

struct rng_counters {
	_Atomic uint64_t requests, bytes;
	_Atomic uint64_t throttled;	 /* times the rate limit made a request wait ... */
	_Atomic uint64_t limiter_events; /* ... and times such a wait ended */
	_Atomic uint64_t failed; /* getrandom gave nothing: the request is answered with 0 bytes */
};

/* Building thread. vmmio_create() takes ownership of the device. */
int rng_create(const struct limiter_params *limit, struct loop *loop, struct virtio_dev **ret,
	struct volt_err *err);

/* Changes the rate limit while the device runs. Loop thread, no lock. */
void rng_set_limiter(struct virtio_dev *v, const struct limiter_change *change);

/* v was made by rng_create(). Any thread. */
const struct rng_counters *rng_counters(const struct virtio_dev *v);

#endif
