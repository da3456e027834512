/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the store is needed: by names, by leases, and by manifests that are too young to be
 * judged. For the store; one thread.
 */
#ifndef VOLT_STORE_MARK_H
#define VOLT_STORE_MARK_H

#include "store-pack.h"

struct store_mark_pack {
	struct store_px *px; /* of the store's index */
	bool base; /* is the image of a snapshot: needed as it is */
	uint8_t *live; /* for each entry */
	uint64_t live_bytes;
};

struct store_mark {
	struct store *s;
	uint64_t n_refs, n_leases, region_bytes, manifest_bytes;
	int64_t young; /* seconds since 1970: manifests from then on are needed */
	size_t n_ids;
	struct store_id *ids; /* sorted, of what is needed */
	size_t n_packs;
	struct store_mark_pack *packs;
};

/*
 * Fills m. -EBADMSG: a name or a lease leads to something that is not there or damaged. Leases
 * without an owner are removed if clear. The index is read anew.
 */
int store_mark_all(
	struct store *s, int64_t grace_s, bool clear, struct store_mark *m, struct volt_err *err);
void store_mark_done(struct store_mark *m);
bool store_mark_needs(const struct store_mark *m, const struct store_id *id);
struct store_mark_pack *store_mark_pack(const struct store_mark *m, uint32_t number);

/*
 * Compares a snapshot with the indices: every unit that it has is where its layout says. With m,
 * they are marked.
 */
int store_mark_snapshot(struct store *s, const struct store_snapshot *snap, struct store_mark *m,
	struct volt_err *err);

#endif
