/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifest and layout as bytes; docs/store-format.md has them. A manifest says what a snapshot is,
 * by hashes, and never changes: its own hash is its name. A layout says where the units of one
 * manifest are at present, and can be made anew from the packs' indices.
 *
 * What is read is hostile: a file is refused as a whole (-EBADMSG and where), or what was read
 * keeps every promise below. There is one way to write a value: what can be read is written again
 * with the same bytes. Any thread; no calls of the system.
 */
#ifndef VOLT_STORE_MANIFEST_H
#define VOLT_STORE_MANIFEST_H

#include "store-hash.h"

#define STORE_MANIFEST_MAX (256u << 20) /* bytes of either file */
#define STORE_REGIONS_MAX  64u
#define STORE_BLOBS_MAX    16u
#define STORE_BLOB_MAX     (64u << 20) /* bytes of a blob */
#define STORE_SIZE_MAX     (UINT64_C(1) << 44) /* bytes of a region: 2^32 units of 4 KiB */
#define STORE_PAGE         4096u /* what offsets in packs are counted in */
#define STORE_NO_PACK      UINT32_MAX /* zeros: no data */

enum store_kind { STORE_MEMORY = 1, STORE_DISK = 2 };

/* log2 of the unit's bytes: 4 KiB, a guest's page; 64 KiB, 16 times less to hash and to keep. */
static inline unsigned store_kind_unit_log2(enum store_kind kind)
{
	return kind == STORE_MEMORY ? 12 : 16;
}

/* A unit that is not what the image has there. */
struct store_delta {
	uint32_t unit;
	struct store_id hash; /* zero: a unit of zeros */
};

struct store_manifest_region {
	enum store_kind kind;
	uint16_t number; /* ascending in each kind */
	uint64_t size; /* bytes, 1..STORE_SIZE_MAX, any; the last unit ends in zeros */
	struct store_id image; /* zero: none, then zeros */
	size_t n;
	struct store_delta *delta; /* owned; ascending units, all within size */
};

struct store_manifest_blob {
	uint32_t type; /* ascending; see store.h */
	uint32_t len; /* 1..STORE_BLOB_MAX */
	struct store_id hash;
};

struct store_manifest {
	unsigned n_regions, n_blobs;
	struct store_manifest_region regions[STORE_REGIONS_MAX]; /* by kind, then number */
	struct store_manifest_blob blobs[STORE_BLOBS_MAX];
};

static inline uint64_t store_units(const struct store_manifest_region *r)
{
	return ((r->size - 1) >> store_kind_unit_log2(r->kind)) + 1;
}

/* *ret_data is the caller's to free. -ENOMEM, -E2BIG. */
int store_manifest_write(
	const struct store_manifest *m, void **ret_data, size_t *ret_len, struct volt_err *err);
/* -EBADMSG, -ENOTSUP (newer), -ENOMEM. m is the caller's to give to store_manifest_done(). */
int store_manifest_read(
	const void *data, size_t len, struct store_manifest *m, struct volt_err *err);
void store_manifest_done(struct store_manifest *m);

/* Units that lie one behind the other in the region and in the pack. */
struct store_span {
	uint32_t unit, n; /* n >= 1 */
	uint32_t pack; /* STORE_NO_PACK: zeros, and off4k is 0 */
	uint32_t off4k; /* in the pack, STORE_PAGE bytes each */
};

struct store_layout_region {
	uint32_t base; /* the pack that is the image; STORE_NO_PACK: none */
	size_t n;
	struct store_span *spans; /* owned */
};

struct store_layout {
	struct store_id manifest;
	unsigned n_regions, n_blobs;
	struct store_layout_region regions[STORE_REGIONS_MAX];
	struct store_span blobs[STORE_BLOBS_MAX]; /* unit 0, n 1 */
};

int store_layout_write(
	const struct store_layout *l, void **ret_data, size_t *ret_len, struct volt_err *err);
/*
 * Reads the layout of m, whose id is given. The spans are those of the delta's units, each once,
 * in order, without data exactly where the manifest says zeros. Numbers of packs and places in
 * them are the caller's to check.
 */
int store_layout_read(const void *data, size_t len, const struct store_id *id,
	const struct store_manifest *m, struct store_layout *l, struct volt_err *err);
void store_layout_done(struct store_layout *l);

/* Appends a unit, as part of the last span if it continues it. -ENOMEM. */
int store_layout_add(struct store_layout_region *r, unsigned unit_log2, uint32_t unit,
	uint32_t pack, uint32_t off4k);

#endif
