/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a manifest, see store-manifest.h. */
#include "store-manifest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "num.h"

#define MAGIC        "STLM"
#define VERSION      1u
#define HEAD_BYTES   8u
#define SECTION_HEAD 12u
#define REGION_HEAD  48u
#define DELTA_BYTES  (4u + STORE_ID_BYTES)
#define BLOB_BYTES   (8u + STORE_ID_BYTES)
#define CRITICAL     1u

enum section { SECTION_END, SECTION_BLOB, SECTION_REGION };

static size_t bytes_of(const struct store_manifest *m)
{
	size_t len = HEAD_BYTES + SECTION_HEAD;

	len += m->n_blobs * (size_t)(SECTION_HEAD + BLOB_BYTES);
	for (unsigned i = 0; i < m->n_regions; i++)
		len += SECTION_HEAD + REGION_HEAD + m->regions[i].n * DELTA_BYTES;
	return len;
}

/* Writes the head of a section whose len bytes of payload stand behind it; returns its end. */
static uint8_t *seal_section(uint8_t *p, enum section type, size_t len)
{
	num_put_le16(p, (uint16_t)type);
	num_put_le16(p + 2, CRITICAL);
	num_put_le32(p + 4, (uint32_t)len);
	num_put_le32(p + 8, crc32c_add(crc32c_add(0, p, 8), p + SECTION_HEAD, len));
	return p + SECTION_HEAD + len;
}

static uint8_t *write_region(uint8_t *head, const struct store_manifest_region *r)
{
	uint8_t *p = head + SECTION_HEAD;

	p[0] = (uint8_t)r->kind;
	p[1] = (uint8_t)store_kind_unit_log2(r->kind);
	num_put_le16(p + 2, r->number);
	num_put_le32(p + 4, (uint32_t)r->n);
	num_put_le64(p + 8, r->size);
	memcpy(p + 16, r->image.b, STORE_ID_BYTES);
	p += REGION_HEAD;
	for (size_t i = 0; i < r->n; i++, p += DELTA_BYTES) {
		num_put_le32(p, r->delta[i].unit);
		memcpy(p + 4, r->delta[i].hash.b, STORE_ID_BYTES);
	}
	return seal_section(head, SECTION_REGION, REGION_HEAD + r->n * DELTA_BYTES);
}

int store_manifest_write(
	const struct store_manifest *m, void **ret_data, size_t *ret_len, struct volt_err *err)
{
	size_t len = bytes_of(m);
	uint8_t *data, *p;

	if (len > STORE_MANIFEST_MAX)
		return volt_err_set(err, E2BIG, "the manifest would have %zu bytes, %u is the most",
			len, STORE_MANIFEST_MAX);
	data = malloc(len);
	if (!data)
		return volt_err_set(err, ENOMEM, "no memory for a manifest of %zu bytes", len);
	memcpy(data, MAGIC, 4);
	num_put_le16(data + 4, VERSION);
	data[6] = STORE_HASH_SHA256;
	data[7] = 0;
	p = data + HEAD_BYTES;
	for (unsigned i = 0; i < m->n_blobs; i++) {
		num_put_le32(p + SECTION_HEAD, m->blobs[i].type);
		num_put_le32(p + SECTION_HEAD + 4, m->blobs[i].len);
		memcpy(p + SECTION_HEAD + 8, m->blobs[i].hash.b, STORE_ID_BYTES);
		p = seal_section(p, SECTION_BLOB, BLOB_BYTES);
	}
	for (unsigned i = 0; i < m->n_regions; i++)
		p = write_region(p, &m->regions[i]);
	seal_section(p, SECTION_END, 0);
	*ret_data = data;
	*ret_len = len;
	return 0;
}

static int read_blob(const uint8_t *p, size_t len, struct store_manifest *m, struct volt_err *err)
{
	struct store_manifest_blob *b = &m->blobs[m->n_blobs];

	if (m->n_regions || m->n_blobs == STORE_BLOBS_MAX || len != BLOB_BYTES)
		return volt_err_set(err, EBADMSG,
			"blob %u: there are too many, it has the wrong "
			"length, or it comes after a region",
			m->n_blobs);
	b->type = num_get_le32(p);
	b->len = num_get_le32(p + 4);
	memcpy(b->hash.b, p + 8, STORE_ID_BYTES);
	if (b->len < 1 || b->len > STORE_BLOB_MAX || store_id_is_zero(&b->hash) ||
		(m->n_blobs && b->type <= b[-1].type))
		return volt_err_set(
			err, EBADMSG, "blob %u: its length, hash or order is wrong", m->n_blobs);
	m->n_blobs++;
	return 0;
}

static int read_delta(
	const uint8_t *p, struct store_manifest_region *r, unsigned at, struct volt_err *err)
{
	uint64_t units = store_units(r);

	if (r->n == 0)
		return 0;
	r->delta = malloc(r->n * sizeof(*r->delta));
	if (!r->delta)
		return volt_err_set(err, ENOMEM, "no memory for %zu units", r->n);
	for (size_t i = 0; i < r->n; i++, p += DELTA_BYTES) {
		r->delta[i].unit = num_get_le32(p);
		memcpy(r->delta[i].hash.b, p + 4, STORE_ID_BYTES);
		if (r->delta[i].unit >= units || (i && r->delta[i].unit <= r->delta[i - 1].unit))
			return volt_err_set(err, EBADMSG,
				"region %u: unit %u is outside or out of "
				"order",
				at, r->delta[i].unit);
	}
	return 0;
}

static int read_region(const uint8_t *p, size_t len, struct store_manifest *m, struct volt_err *err)
{
	struct store_manifest_region *r = &m->regions[m->n_regions];
	unsigned at = m->n_regions;

	if (at == STORE_REGIONS_MAX || len < REGION_HEAD)
		return volt_err_set(err, EBADMSG,
			"region %u: there are too many, or it is too "
			"short",
			at);
	*r = (struct store_manifest_region){
		.kind = p[0],
		.number = num_get_le16(p + 2),
		.n = num_get_le32(p + 4),
		.size = num_get_le64(p + 8),
	};
	memcpy(r->image.b, p + 16, STORE_ID_BYTES);
	if ((r->kind != STORE_MEMORY && r->kind != STORE_DISK) ||
		p[1] != store_kind_unit_log2(r->kind))
		return volt_err_set(err, EBADMSG,
			"region %u: kind %u with units of 2^%u bytes is "
			"not known",
			at, p[0], p[1]);
	if (r->size < 1 || r->size > STORE_SIZE_MAX)
		return volt_err_set(
			err, EBADMSG, "region %u: no region has %ju bytes", at, (uintmax_t)r->size);
	if (len - REGION_HEAD != r->n * DELTA_BYTES)
		return volt_err_set(
			err, EBADMSG, "region %u: %zu units do not fit its length", at, r->n);
	if (at && (r->kind < r[-1].kind || (r->kind == r[-1].kind && r->number <= r[-1].number)))
		return volt_err_set(err, EBADMSG, "region %u: out of order", at);
	m->n_regions++; /* from here on its memory is freed with the rest */
	return read_delta(p + REGION_HEAD, r, at, err);
}

static int read_sections(
	const uint8_t *data, size_t len, struct store_manifest *m, struct volt_err *err)
{
	size_t at = HEAD_BYTES;
	int r = 0;

	while (r == 0) {
		const uint8_t *p = data + at;
		size_t n;

		if (len - at < SECTION_HEAD || num_get_le32(p + 4) > len - at - SECTION_HEAD)
			return volt_err_set(err, EBADMSG,
				"it ends inside of the section at byte "
				"%zu",
				at);
		n = num_get_le32(p + 4);
		if (num_get_le32(p + 8) != crc32c_add(crc32c_add(0, p, 8), p + SECTION_HEAD, n))
			return volt_err_set(err, EBADMSG,
				"the checksum of the section at byte %zu "
				"is wrong",
				at);
		at += SECTION_HEAD + n;
		switch (num_get_le16(p)) {
		case SECTION_END:
			return n == 0 && at == len && num_get_le16(p + 2) == CRITICAL
				       ? 0
				       : volt_err_set(err, EBADMSG, "bytes follow its end");
		case SECTION_BLOB:
			r = read_blob(p + SECTION_HEAD, n, m, err);
			break;
		case SECTION_REGION:
			r = read_region(p + SECTION_HEAD, n, m, err);
			break;
		default:
			r = volt_err_set(err, ENOTSUP,
				"section type %u is not known: a newer "
				"volt-store wrote it",
				num_get_le16(p));
		}
		if (r == 0 && num_get_le16(p + 2) != CRITICAL)
			r = volt_err_set(err, EBADMSG, "flags of the section before byte %zu", at);
	}
	return r;
}

int store_manifest_read(
	const void *data, size_t len, struct store_manifest *m, struct volt_err *err)
{
	const uint8_t *p = data;
	int r;

	m->n_regions = m->n_blobs = 0;
	if (len < HEAD_BYTES || len > STORE_MANIFEST_MAX || memcmp(p, MAGIC, 4) != 0)
		return volt_err_set(err, EBADMSG, "it is no manifest");
	if (num_get_le16(p + 4) != VERSION || p[6] != STORE_HASH_SHA256 || p[7] != 0)
		return volt_err_set(err, ENOTSUP,
			"version %u with hash %u: this program reads "
			"version %u with hash %u",
			num_get_le16(p + 4), p[6], VERSION, STORE_HASH_SHA256);
	r = read_sections(p, len, m, err);
	if (r < 0)
		store_manifest_done(m);
	return r;
}

void store_manifest_done(struct store_manifest *m)
{
	for (unsigned i = 0; i < m->n_regions; i++)
		free(m->regions[i].delta);
	m->n_regions = m->n_blobs = 0;
}
