/* SPDX-License-Identifier: Apache-2.0 */
/* The disk back end that does a request at once, on the loop thread, see disk.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "disk-call.h"

static ssize_t make_call(const struct disk *d, const struct disk_call *c)
{
	off_t off = (off_t)c->offset;
	ssize_t n = -1;

	/* #syscalls loop: preadv pwritev fdatasync fallocate */
	switch (c->kind) {
	case DISK_CALL_READV:
		n = preadv(d->fd, c->iov, (int)c->n_iov, off);
		break;
	case DISK_CALL_WRITEV:
		n = pwritev(d->fd, c->iov, (int)c->n_iov, off);
		break;
	case DISK_CALL_FDATASYNC:
		n = fdatasync(d->fd);
		break;
	case DISK_CALL_FALLOCATE:
		n = fallocate(d->fd, c->mode, off, (off_t)c->bytes);
		break;
	}
	return n < 0 ? -errno : n;
}

static int sync_submit(struct disk *d, struct disk_req *req)
{
	struct disk_call call;
	int r;

	disk_begin(req);
	do {
		disk_next(d, req, &call);
		r = disk_step(req, make_call(d, &call));
	} while (r > 0);
	return r;
}

static void sync_commit(struct disk *d)
{
	(void)d; /* nothing is ever pending */
}

static int sync_drain(struct disk *d, uint64_t deadline_ns)
{
	(void)d;
	(void)deadline_ns;
	return 0;
}

static int sync_set_file(struct disk *d, int fd)
{
	(void)d;
	(void)fd;
	return 0;
}

static void sync_destroy(struct disk *d)
{
	free(d);
}

static const struct disk_ops sync_ops = {
	.name = "sync",
	.submit = sync_submit,
	.commit = sync_commit,
	.drain = sync_drain,
	.set_file = sync_set_file,
	.destroy = sync_destroy,
};

int disk_sync_create(const struct disk *common, struct disk **ret)
{
	struct disk *d = malloc(sizeof(*d));

	if (!d)
		return -ENOMEM;
	*d = *common;
	d->ops = &sync_ops;
	*ret = d;
	return 0;
}
