/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a layout, see store-manifest.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "num.h"
#include "store-manifest.h"

#define MAGIC       "STLL"
#define VERSION     1u
#define HEAD_BYTES  (16u + STORE_ID_BYTES)
#define REGION_HEAD 8u
#define SPAN_BYTES  16u
#define BLOB_BYTES  8u
#define CRC_BYTES   4u

int store_layout_add(struct store_layout_region *r, unsigned unit_log2, uint32_t unit,
	uint32_t pack, uint32_t off4k)
{
	struct store_span *last = r->n ? &r->spans[r->n - 1] : NULL, *more;
	uint64_t pages = UINT64_C(1) << (unit_log2 - 12);

	if (last && last->pack == pack && last->unit + (uint64_t)last->n == unit &&
		(pack == STORE_NO_PACK || last->off4k + last->n * pages == off4k)) {
		last->n++;
		return 0;
	}
	if ((r->n & (r->n - 1)) == 0) { /* grows by doubling */
		more = realloc(r->spans, MAX(r->n * 2, 4u) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		r->spans = more;
	}
	r->spans[r->n++] = (struct store_span){ unit, 1, pack, pack == STORE_NO_PACK ? 0 : off4k };
	return 0;
}

int store_layout_write(
	const struct store_layout *l, void **ret_data, size_t *ret_len, struct volt_err *err)
{
	size_t len = HEAD_BYTES + l->n_blobs * (size_t)BLOB_BYTES + CRC_BYTES;
	uint8_t *data, *p;

	for (unsigned i = 0; i < l->n_regions; i++)
		len += REGION_HEAD + l->regions[i].n * SPAN_BYTES;
	if (len > STORE_MANIFEST_MAX)
		return volt_err_set(err, E2BIG, "the layout would have %zu bytes", len);
	data = malloc(len);
	if (!data)
		return volt_err_set(err, ENOMEM, "no memory for a layout of %zu bytes", len);
	memcpy(data, MAGIC, 4);
	num_put_le32(data + 4, VERSION);
	num_put_le32(data + 8, l->n_blobs);
	num_put_le32(data + 12, l->n_regions);
	memcpy(data + 16, l->manifest.b, STORE_ID_BYTES);
	p = data + HEAD_BYTES;
	for (unsigned i = 0; i < l->n_blobs; i++, p += BLOB_BYTES) {
		num_put_le32(p, l->blobs[i].pack);
		num_put_le32(p + 4, l->blobs[i].off4k);
	}
	for (unsigned i = 0; i < l->n_regions; i++) {
		num_put_le32(p, l->regions[i].base);
		num_put_le32(p + 4, (uint32_t)l->regions[i].n);
		p += REGION_HEAD;
		for (size_t k = 0; k < l->regions[i].n; k++, p += SPAN_BYTES) {
			num_put_le32(p, l->regions[i].spans[k].unit);
			num_put_le32(p + 4, l->regions[i].spans[k].n);
			num_put_le32(p + 8, l->regions[i].spans[k].pack);
			num_put_le32(p + 12, l->regions[i].spans[k].off4k);
		}
	}
	num_put_le32(p, crc32c_add(0, data, len - CRC_BYTES));
	*ret_data = data;
	*ret_len = len;
	return 0;
}

/* The span is that of the next units of the delta, *at of which have been seen. */
static bool span_fits(const struct store_manifest_region *m, const struct store_layout_region *r,
	const struct store_span *s, size_t *at)
{
	const struct store_span *before = r->n ? s - 1 : NULL;
	uint64_t pages = UINT64_C(1) << (store_kind_unit_log2(m->kind) - 12);
	bool zeros = s->pack == STORE_NO_PACK;

	if (s->n < 1 || s->n > m->n - *at || (zeros && s->off4k))
		return false;
	if (!zeros && s->off4k + s->n * pages > UINT64_C(1) << 32)
		return false;
	if (before && before->pack == s->pack && before->unit + (uint64_t)before->n == s->unit &&
		(zeros || before->off4k + before->n * pages == s->off4k))
		return false; /* is part of the one before */
	for (uint32_t k = 0; k < s->n; k++, (*at)++)
		if (m->delta[*at].unit != s->unit + (uint64_t)k ||
			store_id_is_zero(&m->delta[*at].hash) != zeros)
			return false;
	return true;
}

/* Reads one region at *p, of which *left bytes are left. */
static int read_region(const uint8_t **p, size_t *left, const struct store_manifest_region *m,
	struct store_layout_region *r, struct volt_err *err)
{
	size_t n, at = 0;

	if (*left < REGION_HEAD || num_get_le32(*p + 4) > (*left - REGION_HEAD) / SPAN_BYTES)
		return volt_err_set(err, EBADMSG, "the layout is too short");
	r->base = num_get_le32(*p);
	n = num_get_le32(*p + 4);
	*p += REGION_HEAD;
	*left -= REGION_HEAD + n * SPAN_BYTES;
	if ((r->base == STORE_NO_PACK) != store_id_is_zero(&m->image))
		return volt_err_set(err, EBADMSG, "the layout is not of this manifest: image");
	if (n == 0)
		return m->n == 0 ? 0 : volt_err_set(err, EBADMSG, "the layout lacks units");
	r->spans = malloc(n * sizeof(*r->spans));
	if (!r->spans)
		return volt_err_set(err, ENOMEM, "no memory for %zu extents", n);
	for (; r->n < n; r->n++, *p += SPAN_BYTES) {
		r->spans[r->n] = (struct store_span){ num_get_le32(*p), num_get_le32(*p + 4),
			num_get_le32(*p + 8), num_get_le32(*p + 12) };
		if (!span_fits(m, r, &r->spans[r->n], &at))
			return volt_err_set(err, EBADMSG,
				"extent %zu of the layout is not of this "
				"manifest",
				r->n);
	}
	return at == m->n ? 0 : volt_err_set(err, EBADMSG, "the layout lacks units");
}

int store_layout_read(const void *data, size_t len, const struct store_id *id,
	const struct store_manifest *m, struct store_layout *l, struct volt_err *err)
{
	const uint8_t *p = data;
	size_t left = len - HEAD_BYTES - CRC_BYTES;
	int r = 0;

	memset(l, 0, sizeof(*l));
	if (len < HEAD_BYTES + CRC_BYTES || len > STORE_MANIFEST_MAX || memcmp(p, MAGIC, 4) != 0)
		return volt_err_set(err, EBADMSG, "it is no layout");
	if (num_get_le32(p + 4) != VERSION)
		return volt_err_set(err, ENOTSUP, "version %u of a layout: this program reads %u",
			num_get_le32(p + 4), VERSION);
	if (num_get_le32(p + len - CRC_BYTES) != crc32c_add(0, p, len - CRC_BYTES))
		return volt_err_set(err, EBADMSG, "the layout's checksum is wrong");
	if (memcmp(p + 16, id->b, STORE_ID_BYTES) != 0 || num_get_le32(p + 8) != m->n_blobs ||
		num_get_le32(p + 12) != m->n_regions || left < m->n_blobs * (size_t)BLOB_BYTES)
		return volt_err_set(err, EBADMSG, "the layout is not of this manifest");
	l->manifest = *id;
	p += HEAD_BYTES;
	for (; l->n_blobs < m->n_blobs; p += BLOB_BYTES, left -= BLOB_BYTES, l->n_blobs++)
		l->blobs[l->n_blobs] =
			(struct store_span){ 0, 1, num_get_le32(p), num_get_le32(p + 4) };
	for (; r == 0 && l->n_regions < m->n_regions; l->n_regions++)
		r = read_region(
			&p, &left, &m->regions[l->n_regions], &l->regions[l->n_regions], err);
	if (r == 0 && left)
		r = volt_err_set(err, EBADMSG, "bytes follow the layout's end");
	if (r < 0)
		store_layout_done(l);
	return r;
}

void store_layout_done(struct store_layout *l)
{
	for (unsigned i = 0; i < l->n_regions; i++)
		free(l->regions[i].spans);
	memset(l, 0, sizeof(*l));
}
