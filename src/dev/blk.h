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

#include "err.h"

#define BLK_ID_BYTES 20 /* what GET_ID shows of the drive id, zero-padded */

struct loop;
struct virtio_dev;

struct blk_params {
	const char *id; /* drive id; copied */
	bool read_only;
	bool unsafe_cache; /* FLUSH is not offered */
	unsigned n_queues; /* 1..LIMIT_DISK_QUEUES */
};

struct blk_counters {
	_Atomic uint64_t reads, writes, flushes, discards, write_zeroes, get_ids;
	_Atomic uint64_t read_bytes, written_bytes;
	/* Requests that were answered with an error, by cause. */
	_Atomic uint64_t unsupported, out_of_range, bad_length, read_only, io_errors;
	_Atomic uint64_t malformed; /* no header or no status byte: the device fails */
};

/*
 * Building thread. fd is owned by the device on success. uring asks for io_uring; see
 * disk_create(). The device becomes usable in vmmio_create(), which also takes ownership of it.
 */
int blk_create(const struct blk_params *params, int fd, bool uring, struct loop *loop,
	struct virtio_dev **ret, struct volt_err *err);

/* v was made by blk_create(). Any thread. */
const struct blk_counters *blk_counters(const struct virtio_dev *v);
/* Name of the back end in use: "sync" or "uring". */
const char *blk_backend(const struct virtio_dev *v);

#endif
