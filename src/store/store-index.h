/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All indices of packs in memory, and from hash to place. For the store; one thread.
 */
#ifndef VOLT_STORE_INDEX_H
#define VOLT_STORE_INDEX_H

#include "store-hash.h"

struct store;
struct store_entry;
struct store_px;

/* Where a unit is. */
struct store_place {
	const struct store_px *px;
	size_t i; /* of its entries */
};

struct store_index {
	bool loaded;
	size_t n;
	struct store_px **px; /* owned; ascending numbers but for those of this process */
	uint64_t *slots; /* n_slots of them: px << 32 | entry, plus 1; 0 is empty */
	size_t n_slots, used;
};

/* Reads the indices of all packs once. Packs without a good index are left out. */
int store_index_load(struct store *s, struct volt_err *err);
void store_index_done(struct store_index *x);
/* Takes px over. */
int store_index_add_px(struct store_index *x, struct store_px *px);
/* Makes the last entry of px known. px is one of the index. */
int store_index_add(struct store_index *x, const struct store_px *px, size_t i);

struct store_px *store_index_px(const struct store_index *x, uint32_t number);
/* The image with that id. */
const struct store_px *store_index_image(const struct store_index *x, const struct store_id *id);
/*
 * A place of the unit with that hash and length: the one that came last. any: also in packs that
 * are not trusted.
 */
bool store_index_find(const struct store_index *x, const struct store_id *hash, uint32_t len,
	bool any, struct store_place *ret);

#endif
