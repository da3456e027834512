/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot in the making: what put, import and the collector share. For the store; one thread.
 */
#ifndef VOLT_STORE_TXN_H
#define VOLT_STORE_TXN_H

#include "store-pack.h"

/* Exchanges two values of one type. */
#define SWAP(a, b)                                                                                 \
	do {                                                                                       \
		__typeof__(a) swap_ = (a);                                                         \
		(a) = (b);                                                                         \
		(b) = swap_;                                                                       \
	} while (0)

#define STORE_RUN_MEMORY  4u /* units: a shorter part of a run is stored again beside the rest */
#define STORE_SPANS_MAX   1024u /* extents of a region; with more a new image is made */
#define STORE_DELTA_FLOOR 256u /* units that a delta may have in any image */

struct store_txn {
	struct store *s;
	bool failed;
	struct store_snapshot *snap; /* regions and blobs in the order in which they were put */
};

/* The next region of the transaction; the caller fills it. NULL and err: there are too many. */
struct store_manifest_region *store_txn_region(struct store_txn *t, enum store_kind kind,
	unsigned number, uint64_t size, struct store_layout_region **ret_layout,
	struct volt_err *err);

/*
 * Stores units that follow each other, n of them at data with their hashes, none of zeros, and adds
 * them to the region: by reference where that makes no more extents, else at the end of the log.
 * near: where each was before, or NULL; .pack STORE_NO_PACK: nowhere.
 */
int store_txn_units(struct store_txn *t, struct store_manifest_region *m,
	struct store_layout_region *l, uint32_t unit, const void *data,
	const struct store_id *hashes, const struct store_span *near, size_t n,
	struct volt_err *err);
/* A unit that is there already, or zeros. */
int store_txn_unit_at(struct store_manifest_region *m, struct store_layout_region *l, uint32_t unit,
	const struct store_id *hash, uint32_t pack, uint32_t off4k, struct volt_err *err);

#endif
