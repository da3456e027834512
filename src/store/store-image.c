/* SPDX-License-Identifier: Apache-2.0 */
/* Images: packs in which every unit stands at its own place, see store-pack.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "num.h"
#include "store-pack.h"

int store_image_id(struct store_hasher *h, const struct store_px *px, struct store_id *ret)
{
	uint8_t head[24] = "STLI", entry[4 + STORE_ID_BYTES];
	uint32_t pages = 1u << (store_kind_unit_log2(px->kind) - 12);
	int r = store_hash_begin(h);

	head[4] = STORE_HASH_SHA256;
	head[5] = (uint8_t)px->kind;
	num_put_le64(head + 8, px->size);
	num_put_le64(head + 16, px->n);
	if (r == 0)
		r = store_hash_add(h, head, sizeof(head));
	for (size_t i = 0; r == 0 && i < px->n; i++) {
		num_put_le32(entry, px->entries[i].off4k / pages);
		memcpy(entry + 4, px->entries[i].hash.b, STORE_ID_BYTES);
		r = store_hash_add(h, entry, sizeof(entry));
	}
	return r < 0 ? r : store_hash_end(h, ret);
}

int store_image_begin(struct store_image *im, struct store *s, enum store_kind kind, uint64_t size,
	struct volt_err *err)
{
	uint64_t unit = UINT64_C(1) << store_kind_unit_log2(kind);

	*im = (struct store_image){
		.s = s,
		.fd = -1,
		.px = { .flat = true, .sealed = true, .trusted = true, .kind = kind, .size = size }
	};
	store_tmp_name(s, im->pk);
	im->fd = s->sys->openat(s->tmpfd, im->pk, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (im->fd < 0) {
		im->pk[0] = '\0';
		return volt_err_set(err, errno, "create an image: %m");
	}
	if (s->sys->ftruncate(im->fd, (off_t)ALIGN_UP(size, unit)) < 0)
		return volt_err_set(err, errno, "an image of %ju bytes: %m", (uintmax_t)size);
	return 0;
}

static int note(struct store_image *im, uint64_t unit, uint32_t bytes, const struct store_id *hash,
	struct volt_err *err)
{
	struct store_px *px = &im->px;

	if (px->n == im->room) {
		size_t room = MAX(im->room * 2, 1024u);
		void *more = realloc(px->entries, room * sizeof(*px->entries));

		if (!more)
			return volt_err_set(err, ENOMEM, "no memory for an image's index");
		px->entries = more;
		im->room = room;
	}
	px->entries[px->n++] = (struct store_entry){ .hash = *hash,
		.off4k = (uint32_t)(unit * (bytes / STORE_PAGE)),
		.len = bytes,
		.kind = (uint8_t)px->kind };
	return 0;
}

int store_image_add(
	struct store_image *im, uint64_t unit, const void *data, size_t n, struct volt_err *err)
{
	unsigned log2 = store_kind_unit_log2(im->px.kind);
	uint32_t bytes = 1u << log2;
	const uint8_t *p = data;
	struct store_id hash;
	int r = 0;

	for (size_t i = 0, from = 0; r == 0 && i <= n; i++) {
		bool data_here = i < n && !store_zero(p + (i << log2), bytes);

		if (data_here) {
			r = store_hash(im->s->hasher, p + (i << log2), bytes, &hash);
			if (r < 0)
				return volt_err_set(err, -r, "SHA-256 failed");
			r = note(im, unit + i, bytes, &hash, err);
			continue;
		}
		if (i > from) /* up to here all had data */
			r = store_sys_write(im->s->sys, im->fd, p + (from << log2),
				(i - from) << log2, (unit + from) << log2);
		if (r < 0)
			return volt_err_set(err, -r, "write an image: %m");
		from = i + 1;
	}
	return r;
}

/* The index as a file in tmp/, durable. */
static int write_index(struct store_image *im, struct volt_err *err)
{
	struct store *s = im->s;
	struct store_px *px = &im->px;
	size_t len = STORE_PX_HEAD + (px->n + 1) * STORE_PX_ENTRY;
	_cleanup_free_ uint8_t *data = malloc(len);
	struct store_entry seal = { .hash = px->image,
		.kind = STORE_ENTRY_SEAL,
		.off4k = (uint32_t)(store_px_end(px) / STORE_PAGE),
		.len = (uint32_t)px->n };
	_cleanup_close_ int fd = -1;
	int r;

	if (!data)
		return volt_err_set(err, ENOMEM, "no memory for an image's index");
	store_px_put_head(data, s, px);
	for (size_t i = 0; i < px->n; i++)
		store_px_put_entry(
			data + STORE_PX_HEAD + i * STORE_PX_ENTRY, px->number, i, &px->entries[i]);
	store_px_put_entry(data + STORE_PX_HEAD + px->n * STORE_PX_ENTRY, px->number, px->n, &seal);
	store_tmp_name(s, im->px_name);
	fd = s->sys->openat(s->tmpfd, im->px_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0) {
		im->px_name[0] = '\0';
		return volt_err_set(err, errno, "create an image's index: %m");
	}
	r = store_sys_write(s->sys, fd, data, len, 0);
	if (r < 0)
		return volt_err_set(err, -r, "write an image's index: %m");
	if (s->sys->fdatasync(fd) < 0)
		return store_broke(s, errno, "an image's index", err);
	return 0;
}

/* Data before index: an index without its pack would be worse than the other way. */
static int publish(struct store_image *im, struct volt_err *err)
{
	struct store *s = im->s;
	char name[16];

	store_pack_name(im->px.number, "pk", name);
	if (s->sys->renameat(s->tmpfd, im->pk, s->packsfd, name) < 0)
		return volt_err_set(err, errno, "rename an image to %s: %m", name);
	im->pk[0] = '\0';
	store_pack_name(im->px.number, "px", name);
	if (s->sys->renameat(s->tmpfd, im->px_name, s->packsfd, name) < 0)
		return volt_err_set(err, errno, "rename an image to %s: %m", name);
	im->px_name[0] = '\0';
	return 0;
}

int store_image_end(struct store_image *im, const struct store_px **ret, struct volt_err *err)
{
	struct store *s = im->s;
	struct store_px *px;
	int r = store_index_load(s, err);

	if (r < 0)
		return r;
	if (store_image_id(s->hasher, &im->px, &im->px.image) < 0)
		return volt_err_set(err, ENOMEM, "SHA-256 failed");
	*ret = store_index_image(&s->index, &im->px.image);
	if (*ret)
		return 0;
	if (s->sys->fdatasync(im->fd) < 0)
		return store_broke(s, errno, "an image", err);
	im->px.number = s->next_pack++;
	r = write_index(im, err);
	if (r == 0)
		r = publish(im, err);
	if (r < 0)
		return r;
	px = malloc(sizeof(*px));
	if (!px)
		return volt_err_set(err, ENOMEM, "no memory for an image");
	*px = im->px;
	im->px.entries = NULL;
	r = store_index_add_px(&s->index, px);
	for (size_t i = 0; r == 0 && i < px->n; i++)
		r = store_index_add(&s->index, px, i);
	if (r < 0)
		return volt_err_set(err, ENOMEM, "no memory for an image");
	*ret = px;
	return 0;
}

void store_image_done(struct store_image *im)
{
	if (im->pk[0])
		im->s->sys->unlinkat(im->s->tmpfd, im->pk, 0);
	if (im->px_name[0])
		im->s->sys->unlinkat(im->s->tmpfd, im->px_name, 0);
	im->pk[0] = im->px_name[0] = '\0';
	im->fd = fd_close(im->fd);
	store_px_done(&im->px);
}
