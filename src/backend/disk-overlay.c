/* SPDX-License-Identifier: Apache-2.0 */
/* The disk back end of layers over a base, see disk-overlay.h. */
#include "disk-overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "disk-call.h"
#include "log.h"

#define SEGS_AT_ONCE 64u
#define BLOCK_MAX    (1u << OVERLAY_SHIFT_MAX)

struct disk_overlay {
	struct disk d; /* d.fd is the base */
	struct overlay *layers[DISK_OVERLAY_LAYERS]; /* owned; [0] is written */
	unsigned n_layers;
	uint8_t *block; /* owned; BLOCK_MAX bytes to copy through */
};

static uint64_t down(uint64_t off, uint64_t size)
{
	return off & ~(size - 1);
}

/* Where a run of blocks is. */
struct place {
	int fd; /* -1: nowhere, it is zeros */
	uint64_t at; /* of the disk's byte 0 in that file */
	uint64_t bytes;
};

static struct disk_overlay *overlay_of(struct disk *d)
{
	return container_of(d, struct disk_overlay, d);
}

/* The longest run from byte `off` of the disk on that is in one place; at most bytes > 0. */
static struct place find(const struct disk_overlay *o, uint64_t off, uint64_t bytes)
{
	unsigned shift = o->layers[0]->shift;
	uint64_t b = off >> shift, n = ((off + bytes - 1) >> shift) - b + 1;
	struct place p = { .fd = o->d.fd };

	for (unsigned i = 0; i < o->n_layers; i++) {
		enum overlay_block state;

		n = overlay_run(o->layers[i], b, n, &state);
		if (state == OVERLAY_BELOW)
			continue;
		p.fd = state == OVERLAY_ZERO ? -1 : o->layers[i]->fd;
		p.at = o->layers[i]->data_at;
		break;
	}
	p.bytes = MIN(bytes, ((b + n) << shift) - off);
	return p;
}

/* -- bytes to and from files ------------------------------------------------------------------- */

/* The first segments of the request, at most `bytes`; *ret_n of them. */
static uint64_t slice(const struct disk_req *req, uint64_t bytes, struct iovec out[SEGS_AT_ONCE],
	unsigned *ret_n)
{
	uint64_t sum = 0;
	unsigned n = 0;

	for (; n < SEGS_AT_ONCE && n < req->n_iov && sum < bytes; n++) {
		out[n] = req->iov[n];
		out[n].iov_len = (size_t)MIN((uint64_t)out[n].iov_len, bytes - sum);
		sum += out[n].iov_len;
	}
	*ret_n = n;
	return sum;
}

/* The next `bytes` of the request from or to a file. */
static int transfer(int fd, uint64_t at, uint64_t bytes, struct disk_req *req, bool write)
{
	while (bytes > 0) {
		struct iovec iov[SEGS_AT_ONCE];
		unsigned n_iov;
		ssize_t n;

		slice(req, bytes, iov, &n_iov);
		/* #syscalls loop: preadv pwritev */
		n = write ? pwritev(fd, iov, (int)n_iov, (off_t)at) :
			    preadv(fd, iov, (int)n_iov, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		disk_consume(req, (size_t)n);
		at += (uint64_t)n;
		bytes -= (uint64_t)n;
	}
	return 0;
}

static void clear(uint64_t bytes, struct disk_req *req)
{
	while (bytes > 0) {
		size_t n = (size_t)MIN((uint64_t)req->iov->iov_len, bytes);

		memset(req->iov->iov_base, 0, n);
		disk_consume(req, n);
		bytes -= n;
	}
}

/* Fetches or writes len bytes of one block, by a buffer of our own. */
static int move(int fd, uint64_t at, void *data, size_t len, bool write)
{
	struct iovec iov = { data, len };
	struct disk_req req = { .iov = &iov, .n_iov = 1 };

	return transfer(fd, at, len, &req, write);
}

/* -- operations -------------------------------------------------------------------------------- */

static int do_read(struct disk_overlay *o, struct disk_req *req)
{
	uint64_t off = req->offset, end = req->offset + req->bytes;
	int r = 0;

	while (r == 0 && off < end) {
		struct place p = find(o, off, end - off);

		if (p.fd < 0)
			clear(p.bytes, req);
		else
			r = transfer(p.fd, p.at + off, p.bytes, req, false);
		off += p.bytes;
	}
	return r;
}

/*
 * [from, to) is a part of a block that the topmost layer does not have, and that a write to the
 * block leaves out: brings what it is now into the layer's file.
 */
static int fill(struct disk_overlay *o, uint64_t from, uint64_t to)
{
	struct overlay *top = o->layers[0];
	uint64_t inside = MIN(to, MAX(from, top->disk_bytes));
	struct place p;
	int r = 0;

	if (from == to)
		return 0;
	memset(o->block, 0, to - from); /* also what is behind the disk's end */
	if (inside > from) {
		p = find(o, from, inside - from);
		assert(p.bytes == inside - from);
		if (p.fd >= 0)
			r = move(p.fd, p.at + from, o->block, inside - from, false);
	}
	return r < 0 ? r : move(top->fd, top->data_at + from, o->block, to - from, true);
}

static bool has(const struct overlay *top, uint64_t off)
{
	enum overlay_block state;

	overlay_run(top, off >> top->shift, 1, &state);
	return state == OVERLAY_DATA;
}

/* Writes the next `bytes` of the request at off of the topmost layer, whole blocks of it. */
static int do_write(struct disk_overlay *o, uint64_t off, uint64_t bytes, struct disk_req *req)
{
	struct overlay *top = o->layers[0];
	uint64_t size = UINT64_C(1) << top->shift, end = off + bytes;
	uint64_t first = down(off, size), last = ALIGN_UP(end, size);
	int r = 0;

	if (top->failed)
		return -EIO;
	top->unsynced = true;
	if (!has(top, off))
		r = fill(o, first, off);
	if (r == 0 && !has(top, end - 1))
		r = fill(o, end, last);
	if (r == 0)
		r = transfer(top->fd, top->data_at + off, bytes, req, true);
	if (r == 0)
		overlay_set(top, first >> top->shift, (last - first) >> top->shift, OVERLAY_DATA);
	return r;
}

/* Part of one block becomes zeros. */
static int zero_part(struct disk_overlay *o, uint64_t off, uint64_t bytes)
{
	struct iovec iov = { o->d.zeros, bytes };
	struct disk_req req = { .iov = &iov, .n_iov = 1 };

	return bytes > 0 && find(o, off, bytes).fd >= 0 ? do_write(o, off, bytes, &req) : 0;
}

/* Whole blocks become zeros by their state; what they occupied is given back if asked. */
static void zero_blocks(struct overlay *top, uint64_t b, uint64_t n, bool punch)
{
	/* Blocks are where nobody looks from now on: if the file system cannot, it costs space. */
	/* #syscalls loop: fallocate */
	if (punch && fallocate(top->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			     (off_t)(top->data_at + (b << top->shift)),
			     (off_t)(n << top->shift)) == 0)
		top->unsynced = true;
	overlay_set(top, b, n, OVERLAY_ZERO);
}

static int do_write_zeroes(struct disk_overlay *o, const struct disk_req *req)
{
	struct overlay *top = o->layers[0];
	uint64_t size = UINT64_C(1) << top->shift;
	uint64_t off = req->offset, end = req->offset + req->bytes;
	uint64_t first = ALIGN_UP(off, size), last = down(end, size);
	int r;

	if (top->failed)
		return -EIO;
	if (end == top->disk_bytes)
		last = ALIGN_UP(end, size); /* what is behind the end is nobody's */
	if (first >= last) { /* no whole block, and in one or two */
		uint64_t cut = MIN(first, end);

		r = zero_part(o, off, cut - off);
		return r < 0 ? r : zero_part(o, cut, end - cut);
	}
	r = zero_part(o, off, first - off);
	if (r == 0 && last < end)
		r = zero_part(o, last, end - last);
	if (r == 0)
		zero_blocks(top, first >> top->shift, (last - first) >> top->shift, req->unmap);
	return r;
}

/* Gives back what whole blocks of this layer occupy; what is below stays, and cannot be freed. */
static int do_discard(struct disk_overlay *o, const struct disk_req *req)
{
	struct overlay *top = o->layers[0];
	uint64_t size = UINT64_C(1) << top->shift;
	uint64_t b = ALIGN_UP(req->offset, size) >> top->shift;
	uint64_t end = down(req->offset + req->bytes, size) >> top->shift;

	if (top->failed)
		return -EIO;
	while (b < end) {
		enum overlay_block state;
		uint64_t n = overlay_run(top, b, end - b, &state);

		if (state == OVERLAY_DATA)
			zero_blocks(top, b, n, true);
		b += n;
	}
	return 0;
}

int disk_overlay_sync(struct disk *d)
{
	struct disk_overlay *o = overlay_of(d);
	int r = 0;

	/* From below: what is durable never lies on what is not. Frozen layers need it once. */
	for (unsigned i = o->n_layers; r == 0 && i-- > 0;)
		if (o->layers[i]->writable)
			r = overlay_sync(o->layers[i]);
	return r;
}

static int submit(struct disk *d, struct disk_req *req)
{
	struct disk_overlay *o = overlay_of(d);

	switch (req->op) {
	case DISK_READ:
		return do_read(o, req);
	case DISK_WRITE:
		return do_write(o, req->offset, req->bytes, req);
	case DISK_FLUSH:
		return disk_overlay_sync(d);
	case DISK_DISCARD:
		return do_discard(o, req);
	case DISK_WRITE_ZEROES:
		return do_write_zeroes(o, req);
	}
	return -EINVAL;
}

static void commit(struct disk *d)
{
	(void)d; /* nothing is ever pending */
}

static int drain(struct disk *d, uint64_t deadline_ns)
{
	(void)d;
	(void)deadline_ns;
	return 0;
}

/* The layers belong to the base that they have. */
static int set_file(struct disk *d, int fd)
{
	(void)d;
	(void)fd;
	return -EOPNOTSUPP;
}

static void destroy(struct disk *d)
{
	struct disk_overlay *o = overlay_of(d);
	int r = disk_overlay_sync(d);

	if (r < 0)
		log_error("disk overlay: what was not flushed is lost: %s", strerror(-r));
	for (unsigned i = 0; i < o->n_layers; i++)
		overlay_close(o->layers[i]);
	free(o->block);
	free(o);
}

static const struct disk_ops overlay_ops = {
	.name = "overlay",
	.submit = submit,
	.commit = commit,
	.drain = drain,
	.set_file = set_file,
	.destroy = destroy,
};

/* -- layers ------------------------------------------------------------------------------------ */

static bool is_zero(const uint8_t id[OVERLAY_ID_BYTES])
{
	static const uint8_t zeros[OVERLAY_ID_BYTES];

	return memcmp(id, zeros, OVERLAY_ID_BYTES) == 0;
}

/* upper lies on lower; NULL: on the base. */
static int check_pair(const struct overlay *upper, const struct overlay *lower,
	struct volt_err *err)
{
	if (!lower && !is_zero(upper->below))
		return volt_err_set(err, EINVAL,
			"overlay: it lies on another one, which is not given: merge them first");
	if (lower && memcmp(upper->below, lower->id, OVERLAY_ID_BYTES) != 0)
		return volt_err_set(err, EINVAL, "overlay: it does not lie on the one below");
	if (lower && (upper->disk_bytes != lower->disk_bytes || upper->shift != lower->shift))
		return volt_err_set(err, EINVAL, "overlay: its disk is not that of the one below");
	return 0;
}

int disk_overlay_create(int basefd, struct overlay *const *layers, unsigned n,
	const struct disk_params *params, struct disk **ret, struct volt_err *err)
{
	struct disk_overlay *o;
	int r = 0;

	assert(n > 0 && n <= DISK_OVERLAY_LAYERS && layers[0]->writable);
	for (unsigned i = 0; r == 0 && i < n; i++)
		r = check_pair(layers[i], i + 1 < n ? layers[i + 1] : NULL, err);
	if (r < 0)
		return r;
	o = calloc(1, sizeof(*o));
	if (o)
		o->block = malloc(BLOCK_MAX);
	if (!o || !o->block) {
		free(o);
		return volt_err_set(err, ENOMEM, "overlay: %m");
	}
	r = disk_common(basefd, params, &o->d, err);
	if (r == 0 && o->d.bytes != layers[0]->disk_bytes) {
		disk_common_done(&o->d);
		r = volt_err_set(err, EINVAL,
			"overlay: it is for a disk of %" PRIu64 " bytes, and the base has %" PRIu64,
			layers[0]->disk_bytes, o->d.bytes);
	}
	if (r < 0) {
		free(o->block);
		free(o);
		return r;
	}
	o->d.ops = &overlay_ops;
	memcpy(o->layers, layers, n * sizeof(layers[0]));
	o->n_layers = n;
	*ret = &o->d;
	return 0;
}

int disk_overlay_open(int basefd, int fd, const struct disk_params *params, struct disk **ret,
	struct volt_err *err)
{
	struct overlay *layer;
	uint64_t bytes;
	struct stat st;
	int r = disk_size(basefd, &bytes, err);

	if (r == 0 && fstat(fd, &st) < 0)
		r = volt_err_set(err, errno, "overlay: fstat: %m");
	if (r == 0 && (st.st_size == 0 || st.st_size == OVERLAY_HEADER_BYTES))
		r = overlay_format(fd, bytes, OVERLAY_SHIFT, NULL, err);
	if (r == 0)
		r = overlay_open(fd, true, NULL, 0, &layer, err);
	if (r < 0)
		return r;
	r = disk_overlay_create(basefd, &layer, 1, params, ret, err);
	if (r < 0) {
		layer->fd = -1; /* the caller's */
		overlay_close(layer);
	}
	return r;
}

const struct overlay *disk_overlay_layer(const struct disk *d, unsigned i)
{
	const struct disk_overlay *o = container_of(d, const struct disk_overlay, d);

	return i < o->n_layers ? o->layers[i] : NULL;
}

int disk_overlay_freeze(struct disk *d, struct overlay *next, struct volt_err *err)
{
	struct disk_overlay *o = overlay_of(d);
	int r;

	if (o->n_layers == DISK_OVERLAY_LAYERS)
		return volt_err_set(err, EBUSY,
			"overlay: the layers of the last snapshot are still being merged");
	if (!next->writable)
		return volt_err_set(err, EINVAL, "overlay: the new layer is read-only");
	r = check_pair(next, o->layers[0], err);
	if (r < 0)
		return r;
	memmove(&o->layers[1], &o->layers[0], o->n_layers * sizeof(o->layers[0]));
	o->layers[0] = next;
	o->n_layers++;
	return 0;
}

int disk_overlay_replace(struct disk *d, struct overlay *merged, struct volt_err *err)
{
	struct disk_overlay *o = overlay_of(d);
	int r = -EINVAL;

	if (o->n_layers == DISK_OVERLAY_LAYERS && is_zero(merged->below))
		r = check_pair(o->layers[0], merged, err);
	if (r < 0)
		return volt_err_set(err, EINVAL,
			"overlay: the merged layer is not one of these layers");
	while (o->n_layers > 1)
		overlay_close(o->layers[--o->n_layers]);
	o->layers[o->n_layers++] = merged;
	return 0;
}
