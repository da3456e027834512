/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-pmem (virtio 1.2, section 5.19): a file that the guest has as memory. The device only says
 * where that is, and flushes the file when it is asked to; the memory itself is a region of struct
 * gmem. Loop thread.
 */
#ifndef VOLT_PMEM_H
#define VOLT_PMEM_H

#include <stdatomic.h>
#include <stdbool.h>

#include "bucket.h"
#include "err.h"

struct gmem_region;
struct loop;
struct virtio_dev;

struct pmem_params {
	const char *id; /* copied */
	const struct gmem_region *region; /* where the file is mapped; read here */
	bool read_only, uring; /* see disk_create() */
	struct limiter_params limiter;
};

struct pmem_counters {
	_Atomic uint64_t flushes; /* requests that were answered well */
	_Atomic uint64_t syncs;   /* of the file; one serves all requests that wait for it */
	_Atomic uint64_t failed;  /* requests that were not, because the sync failed */
	_Atomic uint64_t unsupported; /* requests that are no flush */
	_Atomic uint64_t malformed;   /* the device fails */
	_Atomic uint64_t throttled;   /* times that the rate limiter let the queue wait ... */
	_Atomic uint64_t limiter_events; /* ... and that the wait was over */
};

/* Building thread. fd is owned by the device on success. */
int pmem_create(const struct pmem_params *params, int fd, struct loop *loop,
	struct virtio_dev **ret, struct volt_err *err);

/* v was made by pmem_create(), here and below. A new, full bucket; NULL leaves it. Loop thread. */
void pmem_limit(struct virtio_dev *v, const struct bucket_params *bandwidth,
	const struct bucket_params *ops);

/* Any thread. */
const struct pmem_counters *pmem_counters(const struct virtio_dev *v);

#endif
