/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk request as a sequence of system calls, which sync and uring make in their own way:
 * disk_next() says which call is to be made, disk_step() takes its result; and what all back ends
 * share. Private to them.
 */
#ifndef VOLT_DISK_CALL_H
#define VOLT_DISK_CALL_H

#include <sys/types.h>

#include "disk.h"

enum disk_call_kind { DISK_CALL_READV, DISK_CALL_WRITEV, DISK_CALL_FDATASYNC, DISK_CALL_FALLOCATE };

struct disk_call {
	enum disk_call_kind kind;
	const struct iovec *iov; /* READV, WRITEV; belongs to the request */
	unsigned n_iov;
	int mode; /* FALLOCATE */
	uint64_t offset, bytes;
};

/* Starts a request afresh. */
void disk_begin(struct disk_req *req);
/* The next call of an unfinished request. */
void disk_next(const struct disk *d, struct disk_req *req, struct disk_call *ret);
/* The call returned res (>= 0 or -errno). 1: go on with disk_next(); 0 or -errno: finished. */
int disk_step(struct disk_req *req, ssize_t res);

/* Drops the first n bytes of the request's iov. */
void disk_consume(struct disk_req *req, size_t n);

/* The bytes of a regular file or a block device. */
int disk_size(int fd, uint64_t *ret, struct volt_err *err);
/* What a disk of any back end has, but for its ops; fd stays the caller's. And its end. */
int disk_common(int fd, const struct disk_params *params, struct disk *ret, struct volt_err *err);
void disk_common_done(struct disk *d);

/*
 * Back ends fill *ret from a common part whose fd stays the caller's on failure.
 * disk_uring_create() returns the -errno of the call that the kernel refused, with *ret_what naming
 * it.
 */
int disk_sync_create(const struct disk *common, struct disk **ret);
int disk_uring_create(const struct disk *common, struct loop *loop, struct disk **ret,
	const char **ret_what);

#endif
