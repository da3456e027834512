/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk back ends: bytes of a regular file or a block device. Three implementations behind one
 * table: disk-sync.c does a request within disk_submit(), disk-uring.c hands it to the kernel and
 * reports later; disk-overlay.c, made by its own functions, writes beside the file. Loop thread,
 * also disk_create() and disk_destroy().
 *
 *	disk_submit() x n  -->  disk_commit()  -->  done() on the loop thread
 *
 * A request is done as a whole or not at all: short reads and writes are continued.
 */
#ifndef VOLT_DISK_H
#define VOLT_DISK_H

#include <stdbool.h>
#include <sys/uio.h>

#include "err.h"

struct loop;

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,	   /* all completed writes are on stable storage */
	DISK_DISCARD,	   /* a hint: the range may read as anything */
	DISK_WRITE_ZEROES, /* the range reads as zeros; unmap: and may lose its blocks */
};

struct disk_req {
	enum disk_op op;
	bool unmap;
	uint64_t offset, bytes; /* inside the disk; bytes is the sum of iov for READ and WRITE */
	struct iovec *iov;	/* borrowed until done; consumed. READ and WRITE */
	unsigned n_iov;

	uint64_t progress; /* the back end's: bytes done */
	unsigned attempt;  /* the back end's: which way of zeroing is tried */
	struct iovec zeros;
};

struct disk_result {
	struct disk_req *req;
	int result; /* 0 or -errno */
};

struct disk_params {
	bool read_only;	   /* fd may be read-only; nothing is written */
	unsigned in_flight; /* most requests at a time, 1..32768 */
	/* Requests that disk_submit() left pending are done. Loop thread. May submit and commit. */
	void (*done)(void *owner, const struct disk_result *results, unsigned n);
	void *owner;
};

struct disk;

struct disk_ops {
	const char *name;
	int (*submit)(struct disk *d, struct disk_req *req);
	void (*commit)(struct disk *d);
	int (*drain)(struct disk *d, uint64_t deadline_ns);
	int (*set_file)(struct disk *d, int fd); /* told, before d->fd is changed; 0 or -errno */
	void (*destroy)(struct disk *d);
};

struct disk {
	const struct disk_ops *ops;
	int fd;		/* owned */
	uint64_t bytes; /* size of the file or device when it was given to us */
	struct disk_params params;
	void *zeros; /* owned; DISK_ZEROS_BYTES that read as zero */
};

#define DISK_ZEROS_BYTES (1024 * 1024)

/*
 * fd is owned by the disk on success. If the kernel refuses io_uring, there is one warning and the
 * result is a sync disk.
 */
int disk_create(bool uring, int fd, struct loop *loop, const struct disk_params *params,
	struct disk **ret, struct volt_err *err);

/* Waits for what is in flight; done() is not called for it. NULL is allowed. */
void disk_destroy(struct disk *d);

/* 0 or -errno: done, with this result. -EINPROGRESS: done() will be called after disk_commit(). */
static inline int disk_submit(struct disk *d, struct disk_req *req)
{
	return d->ops->submit(d, req);
}

/*
 * Waits until nothing is in flight; done() has been called for all of it. 0, or -ETIMEDOUT:
 * something is at deadline_ns (CLOCK_MONOTONIC), which may have passed.
 */
static inline int disk_drain(struct disk *d, uint64_t deadline_ns)
{
	return d->ops->drain(d, deadline_ns);
}

/*
 * Another file or device takes the place of the present one, which is closed; d->bytes is its size.
 * Nothing is in flight: after disk_drain(). fd is owned by the disk on success, and open for what
 * params.read_only says.
 */
int disk_set_file(struct disk *d, int fd, struct volt_err *err);

/* Starts what was submitted; once per batch. */
static inline void disk_commit(struct disk *d)
{
	d->ops->commit(d);
}

#endif
