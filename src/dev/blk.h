/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk (virtio 1.2, section 5.2) over a disk back end. Sectors are 512 bytes. Requests are
 * taken on the loop thread, in any legal layout of descriptors; request slots are arrays made at
 * creation.
 */
#ifndef VOLT_BLK_H
#define VOLT_BLK_H

#include <stdatomic.h>
#include <stdbool.h>

#include "bucket.h"
#include "err.h"
#include "latency.h"

#define BLK_ID_BYTES 20 /* what GET_ID shows of the drive id, zero-padded */

struct loop;
struct virtio_dev;

struct blk_params {
	const char *id; /* drive id; copied */
	bool read_only;
	bool unsafe_cache; /* FLUSH is not offered */
	unsigned n_queues; /* 1..LIMIT_DISK_QUEUES */
	struct limiter_params limit; /* a request is one operation, and what it reads or writes */
};

struct blk_counters {
	_Atomic uint64_t reads, writes, flushes, discards, write_zeroes, get_ids;
	_Atomic uint64_t read_bytes, written_bytes;
	/* Requests that were answered with an error, by cause. */
	_Atomic uint64_t unsupported, out_of_range, bad_length, read_only, io_errors;
	_Atomic uint64_t throttled;	 /* times the rate limit made a request wait ... */
	_Atomic uint64_t limiter_events; /* ... and times such a wait ended */
	_Atomic uint64_t updates, update_failures; /* of blk_set_backing() */
	_Atomic uint64_t left_waiting; /* requests left in their queue when it had been served */
	struct latency read, write; /* of good requests, from when they were taken to the answer */
	_Atomic uint64_t malformed; /* no header or no status byte: the device fails */
};

/*
 * Building thread. fd is owned by the device on success. uring asks for io_uring; see
 * disk_create(). The device becomes usable in vmmio_create(), which also takes ownership of it.
 */
int blk_create(const struct blk_params *params, int fd, bool uring, struct loop *loop,
	struct virtio_dev **ret, struct volt_err *err);

/*
 * The same over an image that is never written, with what the guest writes in the file overlayfd,
 * which is empty or was such a file before; see disk-overlay.h. Both are owned by the device on
 * success. The backing cannot be changed.
 */
int blk_create_overlay(const struct blk_params *params, int basefd, int overlayfd,
	struct loop *loop, struct virtio_dev **ret, struct volt_err *err);

/*
 * Another file or device in place of the present one: what is in flight is finished on the old one,
 * the driver is told of the new capacity. fd is owned by the device on success; open for writing,
 * too, unless the drive is read-only. Loop thread, no lock.
 */
int blk_set_backing(struct virtio_dev *v, int fd, struct volt_err *err);

/* Changes the rate limit while the device runs. Loop thread, no lock. */
void blk_set_limiter(struct virtio_dev *v, const struct limiter_change *change);

/* v was made by blk_create(). Any thread. */
const struct blk_counters *blk_counters(const struct virtio_dev *v);
/* Name of the back end in use: "sync", "uring" or "overlay". */
const char *blk_backend(const struct virtio_dev *v);

#endif
