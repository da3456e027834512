/* SPDX-License-Identifier: Apache-2.0 */
/* Merging two layers, see overlay-merge.h. */
#include "overlay-merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

#define CHUNK (256 * 1024)

struct merge {
	const struct overlay *upper, *lower;
	struct overlay *out;
	const atomic_bool *stop;
	void *buf; /* CHUNK */
};

static int copy_chunk(int from, int to, uint64_t at, size_t len, void *buf)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(from, buf, len - done, (off_t)(at + done)), put = 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		while (put < n) {
			ssize_t w = pwrite(to, (uint8_t *)buf + put, (size_t)(n - put),
				(off_t)(at + done) + put);

			if (w < 0 && errno == EINTR)
				continue;
			if (w <= 0)
				return w < 0 ? -errno : -EIO;
			put += w;
		}
		done += (size_t)n;
	}
	return 0;
}

/* Layers of one disk with blocks of one size have their data at the same place. */
static int copy(const struct merge *m, int from, uint64_t b, uint64_t n)
{
	uint64_t at = m->out->data_at + (b << m->out->shift), end = at + (n << m->out->shift);

	for (; at < end; at += CHUNK) {
		int r;

		if (m->stop && atomic_load_explicit(m->stop, memory_order_relaxed))
			return -ECANCELED;
		r = copy_chunk(from, m->out->fd, at, (size_t)MIN(end - at, (uint64_t)CHUNK),
			m->buf);
		if (r < 0)
			return r;
	}
	return 0;
}

static int merge_all(const struct merge *m)
{
	uint64_t b = 0, n;
	int r = 0;

	for (; r == 0 && b < m->out->n_blocks; b += n) {
		const struct overlay *from = m->upper;
		enum overlay_block state;

		n = overlay_run(from, b, m->out->n_blocks - b, &state);
		if (state == OVERLAY_BELOW) {
			from = m->lower;
			n = overlay_run(from, b, n, &state);
		}
		if (state == OVERLAY_DATA)
			r = copy(m, from->fd, b, n);
		if (r == 0 && state != OVERLAY_BELOW)
			overlay_set(m->out, b, n, state);
	}
	m->out->unsynced = true;
	return r < 0 ? r : overlay_sync(m->out);
}

int overlay_merge(const struct overlay *upper, const struct overlay *lower, int fd,
	const atomic_bool *stop, struct volt_err *err)
{
	struct merge m = { .upper = upper, .lower = lower, .stop = stop };
	int r;

	if (upper->disk_bytes != lower->disk_bytes || upper->shift != lower->shift ||
		memcmp(upper->below, lower->id, OVERLAY_ID_BYTES) != 0)
		return volt_err_set(err, EINVAL, "overlay: these two do not lie on each other");
	r = overlay_draft(fd, upper, lower, &m.out, err);
	if (r < 0)
		return r;
	m.buf = malloc(CHUNK);
	r = m.buf ? merge_all(&m) : -ENOMEM;
	if (r == 0)
		r = overlay_publish(m.out);
	free(m.buf);
	m.out->fd = -1;
	overlay_close(m.out);
	return r < 0 ? volt_err_set(err, -r, "overlay: merge: %m") : 0;
}
