/* SPDX-License-Identifier: Apache-2.0 */
/* One snapshot as one stream, see store-stream.h. What is damaged is not exported. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "num.h"
#include "store-plan.h"
#include "store-stream.h"

struct export
{
	struct store *s;
	struct store_plan *plan;
	struct store_hasher *digest; /* of the whole stream */
	int fd;
	struct volt_err *err;
};

static int put(struct export *x, const void *data, size_t len)
{
	const uint8_t *p = data;

	if (store_hash_add(x->digest, data, len) < 0)
		return volt_err_set(x->err, ENOMEM, "SHA-256 failed");
	while (len) {
		ssize_t n = write(x->fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return volt_err_set(x->err, n < 0 ? errno : EIO, "write the stream: %m");
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int put_head(
	struct export *x, enum store_stream_type type, uint32_t region, uint64_t unit, size_t len)
{
	uint8_t head[STORE_STREAM_RECORD];

	num_put_le32(head, type);
	num_put_le32(head + 4, region);
	num_put_le64(head + 8, unit);
	num_put_le64(head + 16, len);
	return put(x, head, sizeof(head));
}

static int put_record(struct export *x, enum store_stream_type type, uint32_t region, uint64_t unit,
	const void *data, size_t len)
{
	int r = put_head(x, type, region, unit, len);

	if (r == 0)
		r = put(x, data, len);
	store_tell(x->s, len);
	return r;
}

/* Units in a pack, one after the other in the region; sent when there is a chunk of them. */
struct batch {
	enum store_stream_type type;
	uint32_t region;
	size_t bytes; /* of a unit */
	uint64_t unit;
	size_t n;
};

static int send(struct export *x, struct batch *b)
{
	int r = b->n ? put_record(x, b->type, b->region, b->unit, x->s->chunk, b->n * b->bytes) : 0;

	b->n = 0;
	return r;
}

static int add(struct export *x, struct batch *b, uint64_t unit, uint32_t pack, uint32_t off4k,
	const struct store_id *want)
{
	struct store_id hash;
	uint8_t *to;
	int r = 0;

	if (b->n && (unit != b->unit + b->n || (b->n + 1) * b->bytes > STORE_CHUNK))
		r = send(x, b);
	if (r < 0)
		return r;
	if (b->n == 0)
		b->unit = unit;
	to = x->s->chunk + b->n * b->bytes;
	r = store_sys_read(x->s->sys, store_plan_fd(x->plan, pack), to, b->bytes,
		(uint64_t)off4k * STORE_PAGE);
	if (r < 0)
		return volt_err_set(x->err, -r, "read pack %08x: %m", pack);
	if (store_hash(x->s->hasher, to, b->bytes, &hash) < 0 || !store_id_same(&hash, want))
		return volt_err_set(x->err, EBADMSG,
			"unit %ju in pack %08x is damaged: it has not its "
			"hash",
			(uintmax_t)unit, pack);
	b->n++;
	return 0;
}

static int send_region(struct export *x, unsigned i)
{
	const struct store_manifest_region *m = &store_plan_manifest(x->plan)->regions[i];
	uint32_t base = store_plan_snapshot(x->plan)->layout.regions[i].base;
	size_t bytes = (size_t)1 << store_kind_unit_log2(m->kind);
	struct batch b = { STORE_STREAM_IMAGE, i, bytes, 0, 0 };
	_cleanup_free_ struct store_span *places = NULL;
	const struct store_px *px;
	int r = store_plan_image(x->plan, i, &px, x->err);

	for (size_t k = 0; r == 0 && px && k < px->n; k++)
		r = add(x, &b, px->entries[k].off4k / (bytes / STORE_PAGE), base,
			px->entries[k].off4k, &px->entries[k].hash);
	if (r == 0)
		r = send(x, &b);
	b.type = STORE_STREAM_DELTA;
	if (r == 0)
		r = store_plan_places(x->plan, i, &places, x->err);
	for (size_t k = 0; r == 0 && k < m->n; k++)
		if (!store_id_is_zero(&m->delta[k].hash))
			r = add(x, &b, m->delta[k].unit, places[k].pack, places[k].off4k,
				&m->delta[k].hash);
	return r < 0 ? r : send(x, &b);
}

static int send_manifest(struct export *x, const struct store_id *id)
{
	_cleanup_free_ void *data = NULL;
	uint8_t head[STORE_STREAM_HEAD] = STORE_STREAM_MAGIC;
	size_t len;
	int r = store_manifest_write(store_plan_manifest(x->plan), &data, &len, x->err);

	num_put_le16(head + 4, STORE_STREAM_VERSION);
	head[6] = STORE_HASH_SHA256;
	memcpy(head + 8, id->b, STORE_ID_BYTES);
	if (r == 0)
		r = put(x, head, sizeof(head));
	return r < 0 ? r : put_record(x, STORE_STREAM_MANIFEST, 0, 0, data, len);
}

static int send_all(struct export *x, const struct store_id *id)
{
	const struct store_manifest *m = store_plan_manifest(x->plan);
	struct store_id digest;
	int r = send_manifest(x, id);

	for (unsigned i = 0; r == 0 && i < m->n_blobs; i++) {
		_cleanup_free_ void *data = NULL;
		size_t len;

		r = store_plan_blob(x->plan, m->blobs[i].type, &data, &len, x->err);
		if (r == 0)
			r = put_record(x, STORE_STREAM_BLOB, i, 0, data, len);
	}
	for (unsigned i = 0; r == 0 && i < m->n_regions; i++)
		r = send_region(x, i);
	if (r == 0)
		r = put_head(x, STORE_STREAM_END, 0, 0, sizeof(digest.b));
	if (r == 0 && (store_hash_end(x->digest, &digest) < 0 || store_hash_begin(x->digest) < 0))
		r = volt_err_set(x->err, ENOMEM, "SHA-256 failed");
	return r < 0 ? r : put(x, digest.b, sizeof(digest.b));
}

/* For the bar: what will be sent. */
static int count(struct export *x, struct volt_err *err)
{
	const struct store_manifest *m = store_plan_manifest(x->plan);
	uint64_t total = 0;
	int r = 0;

	for (unsigned i = 0; i < m->n_blobs; i++)
		total += m->blobs[i].len;
	for (unsigned i = 0; r == 0 && i < m->n_regions; i++) {
		const struct store_px *px;

		r = store_plan_image(x->plan, i, &px, err);
		if (r == 0)
			total += ((px ? px->n : 0) + m->regions[i].n)
				 << store_kind_unit_log2(m->regions[i].kind);
	}
	store_tell_total(x->s, total);
	return r;
}

int store_export(struct store *s, const struct store_id *id, int fd, struct volt_err *err)
{
	struct export x = { .s = s, .fd = fd, .err = err };
	int r = store_hasher_new(&x.digest, err);

	if (r == 0)
		r = store_hash_begin(x.digest);
	if (r == 0)
		r = store_plan_open(s, id, &x.plan, err);
	if (r == 0)
		r = count(&x, err);
	if (r == 0)
		r = send_all(&x, id);
	store_plan_close(x.plan);
	store_hasher_free(x.digest);
	return r;
}
