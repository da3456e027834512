/* SPDX-License-Identifier: Apache-2.0 */
/* What the disk back ends share, see disk.h and disk-call.h. */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "disk-call.h"
#include "log.h"

#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define ZERO  (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)

#define BY_WRITING (-1)

void disk_begin(struct disk_req *req)
{
	req->progress = 0;
	req->attempt = 0;
}

/*
 * How the present attempt empties a range: a fallocate(2) mode, which block devices know too, or
 * BY_WRITING zeros, which always works.
 */
static int way_of(const struct disk_req *req)
{
	static const int discard[] = { PUNCH };
	static const int unmap[] = { PUNCH, ZERO, BY_WRITING };
	static const int keep[] = { ZERO, BY_WRITING };

	if (req->op == DISK_DISCARD)
		return discard[0];
	return req->unmap ? unmap[MIN(req->attempt, 2u)] : keep[MIN(req->attempt, 1u)];
}

void disk_next(const struct disk *d, struct disk_req *req, struct disk_call *ret)
{
	*ret = (struct disk_call){
		.offset = req->offset + req->progress,
		.bytes = req->bytes - req->progress,
		.iov = req->iov,
		.n_iov = req->n_iov,
	};
	switch (req->op) {
	case DISK_READ:
		ret->kind = DISK_CALL_READV;
		return;
	case DISK_WRITE:
		ret->kind = DISK_CALL_WRITEV;
		return;
	case DISK_FLUSH:
		ret->kind = DISK_CALL_FDATASYNC;
		return;
	case DISK_DISCARD:
	case DISK_WRITE_ZEROES:
		break;
	}
	ret->kind = DISK_CALL_FALLOCATE;
	ret->mode = way_of(req);
	if (ret->mode == BY_WRITING) {
		req->zeros =
			(struct iovec){ d->zeros, MIN(ret->bytes, (uint64_t)DISK_ZEROS_BYTES) };
		ret->kind = DISK_CALL_WRITEV;
		ret->iov = &req->zeros;
		ret->n_iov = 1;
	}
}

void disk_consume(struct disk_req *req, size_t n)
{
	while (req->n_iov > 0 && n >= req->iov->iov_len) {
		n -= req->iov->iov_len;
		req->iov++;
		req->n_iov--;
	}
	if (n > 0) {
		req->iov->iov_base = (uint8_t *)req->iov->iov_base + n;
		req->iov->iov_len -= n;
	}
}

static int step_fallocate(struct disk_req *req, ssize_t res)
{
	/* EINVAL: a range that is not aligned to the blocks of a device. */
	bool other_way = res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL;

	if (!other_way)
		return (int)res;
	if (req->op == DISK_DISCARD)
		return 0; /* only a hint */
	req->attempt++;
	return 1;
}

int disk_step(struct disk_req *req, ssize_t res)
{
	bool zeroing = req->op == DISK_DISCARD || req->op == DISK_WRITE_ZEROES;

	if (res == -EINTR)
		return 1;
	if (req->op == DISK_FLUSH)
		return (int)res;
	if (zeroing && way_of(req) != BY_WRITING)
		return step_fallocate(req, res);
	if (res < 0)
		return (int)res;
	if (res == 0)
		return -EIO; /* the file has been cut, or the device is gone */
	req->progress += (uint64_t)res;
	if (!zeroing)
		disk_consume(req, (size_t)res);
	return req->progress < req->bytes ? 1 : 0;
}

int disk_size(int fd, uint64_t *ret, struct volt_err *err)
{
	struct stat st;

	/* #syscalls loop: fstat newfstatat ioctl=BLKGETSIZE64 */
	if (fstat(fd, &st) < 0)
		return volt_err_set(err, errno, "fstat: %m");
	if (S_ISREG(st.st_mode))
		*ret = (uint64_t)st.st_size;
	else if (!S_ISBLK(st.st_mode))
		return volt_err_set(err, EINVAL, "neither a regular file nor a block device");
	else if (ioctl(fd, BLKGETSIZE64, ret) < 0)
		return volt_err_set(err, errno, "BLKGETSIZE64: %m");
	return 0;
}

int disk_common(int fd, const struct disk_params *params, struct disk *ret, struct volt_err *err)
{
	struct disk d = { .fd = fd, .params = *params };
	int r;

	assert(params->in_flight > 0 && params->in_flight <= 32768);
	r = disk_size(fd, &d.bytes, err);
	if (r < 0)
		return r;
	/* Never written: the kernel maps its zero page, and only where it is read. */
	d.zeros = mmap(NULL, DISK_ZEROS_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (d.zeros == MAP_FAILED)
		return volt_err_set(err, errno, "map a page of zeros: %m");
	*ret = d;
	return 0;
}

void disk_common_done(struct disk *d)
{
	munmap(d->zeros, DISK_ZEROS_BYTES);
}

int disk_create(bool uring, int fd, struct loop *loop, const struct disk_params *params,
	struct disk **ret, struct volt_err *err)
{
	const char *what = NULL;
	struct disk common;
	int r = disk_common(fd, params, &common, err);

	if (r < 0)
		return r;
	if (uring) {
		r = disk_uring_create(&common, loop, ret, &what);
		if (r == 0)
			return 0;
		log_warn("io_uring is not available (%s: %s); disks use synchronous I/O", what,
			strerror(-r));
	}
	r = disk_sync_create(&common, ret);
	if (r < 0) {
		disk_common_done(&common);
		return volt_err_set(err, -r, "%m");
	}
	return 0;
}

int disk_set_file(struct disk *d, int fd, struct volt_err *err)
{
	uint64_t bytes;
	int r = disk_size(fd, &bytes, err);

	if (r < 0)
		return r;
	r = d->ops->set_file(d, fd);
	if (r < 0)
		return volt_err_set(err, -r, "%s: take another file: %m", d->ops->name);
	fd_close(d->fd);
	d->fd = fd;
	d->bytes = bytes;
	return 0;
}

void disk_destroy(struct disk *d)
{
	int fd;
	void *zeros;

	if (!d)
		return;
	fd = d->fd;
	zeros = d->zeros;
	d->ops->destroy(d);
	/* #syscalls loop: munmap close */
	munmap(zeros, DISK_ZEROS_BYTES);
	fd_close(fd);
}
