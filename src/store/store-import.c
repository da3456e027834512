/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream is read into a transaction, see store-stream.h. The manifest says what has to come; what
 * comes is hashed and compared before it is committed, so a stream cannot name what it does not
 * bring.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "num.h"
#include "store-stream.h"
#include "store-txn.h"

struct import {
	struct store *s;
	struct store_txn *t;
	struct store_hasher *digest;
	struct store_id id; /* of the manifest */
	struct store_manifest *m;
	int fd;
	struct store_stream_record next; /* the head that was read last, its bytes still to come */
	uint8_t *chunk; /* STORE_CHUNK bytes; the store uses its own */
	struct volt_err *err;
};

static int get(struct import *x, void *data, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = read(x->fd, (uint8_t *)data + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return volt_err_set(x->err, errno, "read the stream: %m");
		if (n == 0)
			return volt_err_set(x->err, EBADMSG, "the stream ends too early");
		done += (size_t)n;
	}
	store_tell(x->s, len);
	return store_hash_add(x->digest, data, len) < 0
		       ? volt_err_set(x->err, ENOMEM, "SHA-256 failed")
		       : 0;
}

static int get_head(struct import *x)
{
	uint8_t head[STORE_STREAM_RECORD];
	int r = get(x, head, sizeof(head));

	if (r < 0)
		return r;
	x->next = (struct store_stream_record){ num_get_le32(head), num_get_le32(head + 4),
		num_get_le64(head + 8), num_get_le64(head + 16) };
	return 0;
}

static int wrong(struct import *x)
{
	return volt_err_set(x->err, EBADMSG,
		"a record of type %u for region %u, unit %ju with %ju bytes "
		"is not what the manifest wants here",
		x->next.type, x->next.region, (uintmax_t)x->next.unit, (uintmax_t)x->next.len);
}

/* The head is that, or an error. */
static int expect(
	struct import *x, enum store_stream_type type, uint32_t region, uint64_t unit, uint64_t len)
{
	const struct store_stream_record *n = &x->next;

	return n->type == type && n->region == region && n->unit == unit && n->len == len
		       ? 0
		       : wrong(x);
}

static int get_manifest(struct import *x, void **ret_data, size_t *ret_len)
{
	uint8_t head[STORE_STREAM_HEAD];
	struct store_id own;
	int r = get(x, head, sizeof(head));

	if (r == 0 && memcmp(head, STORE_STREAM_MAGIC, 4) != 0)
		r = volt_err_set(x->err, EBADMSG, "it is no exported snapshot");
	if (r == 0 && (num_get_le16(head + 4) != STORE_STREAM_VERSION ||
			      head[6] != STORE_HASH_SHA256 || head[7] != 0))
		r = volt_err_set(x->err, ENOTSUP,
			"version %u with hash %u: this program reads version "
			"%u with hash %u",
			num_get_le16(head + 4), head[6], STORE_STREAM_VERSION, STORE_HASH_SHA256);
	if (r == 0)
		r = get_head(x);
	if (r == 0 && (x->next.len > STORE_MANIFEST_MAX ||
			      expect(x, STORE_STREAM_MANIFEST, 0, 0, x->next.len) < 0))
		r = wrong(x);
	if (r < 0)
		return r;
	memcpy(x->id.b, head + 8, STORE_ID_BYTES);
	*ret_len = (size_t)x->next.len;
	*ret_data = malloc(MAX(*ret_len, 1u));
	if (!*ret_data)
		return volt_err_set(
			x->err, ENOMEM, "no memory for a manifest of %zu bytes", *ret_len);
	r = get(x, *ret_data, *ret_len);
	if (r == 0 && (store_hash(x->s->hasher, *ret_data, *ret_len, &own) < 0 ||
			      !store_id_same(&own, &x->id)))
		r = volt_err_set(x->err, EBADMSG, "the manifest has not the hash that is its name");
	return r < 0 ? r : store_manifest_read(*ret_data, *ret_len, x->m, x->err);
}

static int get_blob(struct import *x, unsigned i)
{
	const struct store_manifest_blob *b = &x->m->blobs[i];
	_cleanup_free_ void *data = malloc(b->len);
	struct store_id own;
	int r = expect(x, STORE_STREAM_BLOB, i, 0, b->len);

	if (r == 0 && !data)
		r = volt_err_set(x->err, ENOMEM, "no memory for a blob of %u bytes", b->len);
	if (r == 0)
		r = get(x, data, b->len);
	if (r == 0 && (store_hash(x->s->hasher, data, b->len, &own) < 0 ||
			      !store_id_same(&own, &b->hash)))
		r = volt_err_set(x->err, EBADMSG, "blob %u has not its hash", b->type);
	if (r == 0)
		r = store_put_blob(x->t, b->type, data, b->len, x->err);
	return r < 0 ? r : get_head(x);
}

/* Units of the record are inside of the region, whole, and behind those before. */
static bool fits(
	const struct import *x, const struct store_manifest_region *m, uint64_t from, size_t *ret_n)
{
	unsigned log2 = store_kind_unit_log2(m->kind);
	const struct store_stream_record *n = &x->next;

	*ret_n = (size_t)(n->len >> log2);
	return n->len && n->len <= STORE_CHUNK && n->len % (1u << log2) == 0 && n->unit >= from &&
	       n->unit < store_units(m) && *ret_n <= store_units(m) - n->unit;
}

static int get_image(struct import *x, unsigned i, struct store_layout_region *l)
{
	const struct store_manifest_region *m = &x->m->regions[i];
	struct store_image im;
	const struct store_px *px;
	uint64_t from = 0;
	size_t n;
	int r = store_image_begin(&im, x->s, m->kind, m->size, x->err);

	while (r == 0 && x->next.type == STORE_STREAM_IMAGE && x->next.region == i) {
		if (!fits(x, m, from, &n)) {
			r = wrong(x);
			break;
		}
		r = get(x, x->chunk, (size_t)x->next.len);
		if (r == 0)
			r = store_image_add(&im, x->next.unit, x->chunk, n, x->err);
		from = x->next.unit + n;
		if (r == 0)
			r = get_head(x);
	}
	if (r == 0) /* before it is published: it is what the manifest says, or nothing */
		r = store_image_id(x->s->hasher, &im.px, &im.px.image);
	if (r == 0 && !store_id_same(&im.px.image, &m->image))
		r = volt_err_set(x->err, EBADMSG,
			"the image of region %u has not the id that the "
			"manifest says",
			m->number);
	if (r == 0)
		r = store_image_end(&im, &px, x->err);
	if (r == 0)
		l->base = px->number;
	store_image_done(&im);
	return r;
}

/* n units of the delta from d on, which the next record has to bring. */
static int get_delta_units(struct import *x, struct store_manifest_region *to,
	struct store_layout_region *l, unsigned i, size_t d, size_t n)
{
	const struct store_manifest_region *m = &x->m->regions[i];
	unsigned log2 = store_kind_unit_log2(m->kind);
	_cleanup_free_ struct store_id *hashes = malloc(n * sizeof(*hashes));
	int r = expect(x, STORE_STREAM_DELTA, i, m->delta[d].unit, (uint64_t)n << log2);

	if (r == 0 && !hashes)
		r = volt_err_set(x->err, ENOMEM, "no memory for %zu hashes", n);
	if (r == 0)
		r = get(x, x->chunk, n << log2);
	for (size_t k = 0; r == 0 && k < n; k++)
		if (store_hash(x->s->hasher, x->chunk + (k << log2), (size_t)1 << log2,
			    &hashes[k]) < 0 ||
			!store_id_same(&hashes[k], &m->delta[d + k].hash))
			r = volt_err_set(x->err, EBADMSG, "unit %u of region %u has not its hash",
				m->delta[d + k].unit, m->number);
	if (r == 0)
		r = store_txn_units(
			x->t, to, l, m->delta[d].unit, x->chunk, hashes, NULL, n, x->err);
	return r < 0 ? r : get_head(x);
}

static int get_delta(struct import *x, struct store_manifest_region *to,
	struct store_layout_region *l, unsigned i)
{
	const struct store_manifest_region *m = &x->m->regions[i];
	size_t most = STORE_CHUNK >> store_kind_unit_log2(m->kind), n;
	int r = 0;

	for (size_t d = 0; r == 0 && d < m->n; d += n) {
		n = 1;
		if (store_id_is_zero(&m->delta[d].hash)) {
			r = store_txn_unit_at(to, l, m->delta[d].unit, &m->delta[d].hash,
				STORE_NO_PACK, 0, x->err);
			continue;
		}
		while (n < most && d + n < m->n && m->delta[d + n].unit == m->delta[d].unit + n &&
			!store_id_is_zero(&m->delta[d + n].hash))
			n++;
		r = get_delta_units(x, to, l, i, d, n);
	}
	return r;
}

static int get_region(struct import *x, unsigned i)
{
	const struct store_manifest_region *m = &x->m->regions[i];
	struct store_layout_region *l;
	struct store_manifest_region *to =
		store_txn_region(x->t, m->kind, m->number, m->size, &l, x->err);
	int r = to ? 0 : -EINVAL;

	if (r == 0 && !store_id_is_zero(&m->image)) {
		r = get_image(x, i, l);
		to->image = m->image;
	}
	return r < 0 ? r : get_delta(x, to, l, i);
}

/* The last record holds the hash of all before the hash. */
static int get_end(struct import *x)
{
	struct store_id said, own;
	uint8_t more;
	ssize_t n;
	int r = expect(x, STORE_STREAM_END, 0, 0, STORE_ID_BYTES);

	if (r == 0 && (store_hash_end(x->digest, &own) < 0 || store_hash_begin(x->digest) < 0))
		r = volt_err_set(x->err, ENOMEM, "SHA-256 failed");
	if (r == 0)
		r = get(x, said.b, sizeof(said.b));
	if (r == 0 && !store_id_same(&said, &own))
		r = volt_err_set(x->err, EBADMSG,
			"the hash at the end of the stream is not that of the "
			"stream");
	if (r < 0)
		return r;
	do
		n = read(x->fd, &more, 1);
	while (n < 0 && errno == EINTR);
	return n == 0 ? 0 : volt_err_set(x->err, EBADMSG, "bytes follow the end of the stream");
}

static int get_all(struct import *x)
{
	_cleanup_free_ void *data = NULL, *again = NULL;
	size_t len, again_len;
	int r = get_manifest(x, &data, &len);

	if (r == 0)
		r = get_head(x);
	for (unsigned i = 0; r == 0 && i < x->m->n_blobs; i++)
		r = get_blob(x, i);
	for (unsigned i = 0; r == 0 && i < x->m->n_regions; i++)
		r = get_region(x, i);
	if (r == 0)
		r = get_end(x);
	if (r == 0)
		r = store_manifest_write(&x->t->snap->manifest, &again, &again_len, x->err);
	if (r == 0 && (len != again_len || memcmp(data, again, len) != 0))
		r = volt_err_set(x->err, EBADMSG, "what came is not what the manifest says");
	return r;
}

int store_import(
	struct store *s, int fd, const char *ref, struct store_id *ret_id, struct volt_err *err)
{
	struct volt_err own = { 0 };
	struct import x = { .s = s, .fd = fd, .err = err ? err : &own };
	struct store_ref checked;
	int r = store_ref_parse(ref, &checked, x.err);

	if (r == 0)
		r = store_begin(s, &x.t, x.err);
	if (r < 0)
		return r;
	x.chunk = aligned_alloc(STORE_PAGE, STORE_CHUNK);
	x.m = calloc(1, sizeof(*x.m));
	r = x.chunk && x.m ? store_hasher_new(&x.digest, x.err)
			   : volt_err_set(x.err, ENOMEM, "no memory to import");
	if (r == 0)
		r = store_hash_begin(x.digest);
	if (r == 0)
		r = get_all(&x);
	if (r == 0)
		r = store_commit(x.t, ref, ret_id, x.err);
	else
		store_abort(x.t);
	if (x.m)
		store_manifest_done(x.m);
	free(x.m);
	free(x.chunk);
	store_hasher_free(x.digest);
	return r;
}
