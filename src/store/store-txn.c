/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions, see store.h. */
#include "store-txn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int store_begin(struct store *s, struct store_txn **ret, struct volt_err *err)
{
	struct store_txn *t;
	int r = store_check_writable(s, err);

	if (r < 0)
		return r;
	if (s->txn)
		return volt_err_set(err, EBUSY, "%s: there is a transaction already", s->path);
	r = store_index_load(s, err);
	if (r < 0)
		return r;
	t = calloc(1, sizeof(*t));
	if (t)
		t->snap = calloc(1, sizeof(*t->snap));
	if (!t || !t->snap) {
		free(t);
		return volt_err_set(err, ENOMEM, "no memory for a transaction");
	}
	t->s = s;
	s->txn = t;
	*ret = t;
	return 0;
}

static void free_txn(struct store_txn *t)
{
	t->s->txn = NULL;
	store_snapshot_free(t->snap);
	free(t);
}

void store_abort(struct store_txn *t)
{
	if (!t)
		return;
	store_log_drop(t->s);
	free_txn(t);
}

struct store_manifest_region *store_txn_region(struct store_txn *t, enum store_kind kind,
	unsigned number, uint64_t size, struct store_layout_region **ret_layout,
	struct volt_err *err)
{
	struct store_manifest *m = &t->snap->manifest;
	struct store_layout *l = &t->snap->layout;

	for (unsigned i = 0; i < m->n_regions; i++)
		if (m->regions[i].kind == kind && m->regions[i].number == number) {
			volt_err_set(err, EINVAL, "region %u is put twice", number);
			return NULL;
		}
	if (m->n_regions == STORE_REGIONS_MAX) {
		volt_err_set(err, E2BIG, "a snapshot has at most %u regions", STORE_REGIONS_MAX);
		return NULL;
	}
	m->regions[m->n_regions] = (struct store_manifest_region){
		.kind = kind, .number = (uint16_t)number, .size = size
	};
	*ret_layout = &l->regions[m->n_regions];
	**ret_layout = (struct store_layout_region){ .base = STORE_NO_PACK };
	l->n_regions++;
	return &m->regions[m->n_regions++];
}

int store_txn_unit_at(struct store_manifest_region *m, struct store_layout_region *l, uint32_t unit,
	const struct store_id *hash, uint32_t pack, uint32_t off4k, struct volt_err *err)
{
	if ((m->n & (m->n - 1)) == 0) {
		void *more = realloc(m->delta, MAX(m->n * 2, 64u) * sizeof(*m->delta));

		if (!more)
			return volt_err_set(err, ENOMEM, "no memory for the list of units");
		m->delta = more;
	}
	m->delta[m->n++] = (struct store_delta){ unit, *hash };
	if (store_layout_add(l, store_kind_unit_log2(m->kind), unit, pack, off4k) < 0)
		return volt_err_set(err, ENOMEM, "no memory for the list of extents");
	return 0;
}

/* Is the unit at p followed at once by one with that hash? Then p is moved there. */
static bool continues(struct store_place *p, const struct store_id *hash)
{
	const struct store_entry *e = &p->px->entries[p->i];

	if (p->i + 1 >= p->px->n || e[1].off4k != e->off4k + e->len / STORE_PAGE ||
		e[1].len != e->len || !store_id_same(&e[1].hash, hash))
		return false;
	p->i++;
	return true;
}

/* Where the unit was before, if that is still what it was. */
static bool was_near(const struct store *s, const struct store_span *near,
	const struct store_id *hash, struct store_place *ret)
{
	const struct store_entry *e;

	if (near->pack == STORE_NO_PACK)
		return false;
	ret->px = store_index_px(&s->index, near->pack);
	e = ret->px ? store_px_at(ret->px, near->off4k) : NULL;
	if (!e || !store_id_same(&e->hash, hash))
		return false;
	ret->i = (size_t)(e - ret->px->entries);
	return true;
}

/* Fills place[] with where the units are; px NULL: nowhere. */
static void find_places(struct store *s, const struct store_id *hashes,
	const struct store_span *near, size_t n, uint32_t bytes, struct store_place *place)
{
	for (size_t i = 0; i < n; i++) {
		struct store_place at;

		if (near && was_near(s, &near[i], &hashes[i], &at)) {
			place[i] = at;
			continue;
		}
		if (i && place[i - 1].px) {
			at = place[i - 1];
			if (continues(&at, &hashes[i])) {
				place[i] = at;
				continue;
			}
		}
		if (!store_index_find(&s->index, &hashes[i], bytes, false, &at))
			at.px = NULL;
		place[i] = at;
	}
}

/* Units from i on that are found one behind the other, or (found false) that are nowhere. */
static size_t part_length(const struct store_place *place, size_t i, size_t n)
{
	size_t k = i + 1;

	if (!place[i].px)
		for (; k < n && !place[k].px; k++)
			;
	else
		for (; k < n && place[k].px == place[i].px && place[k].i == place[i].i + (k - i);
			k++)
			;
	return k - i;
}

int store_txn_units(struct store_txn *t, struct store_manifest_region *m,
	struct store_layout_region *l, uint32_t unit, const void *data,
	const struct store_id *hashes, const struct store_span *near, size_t n,
	struct volt_err *err)
{
	uint32_t bytes = 1u << store_kind_unit_log2(m->kind);
	struct store_place *place = malloc(n * sizeof(*place));
	size_t least = m->kind == STORE_MEMORY ? STORE_RUN_MEMORY : 1;
	int r = 0;

	if (!place)
		return volt_err_set(err, ENOMEM, "no memory for %zu units", n);
	find_places(t->s, hashes, near, n, bytes, place);
	for (size_t i = 0, part; r == 0 && i < n; i += part) {
		part = part_length(place, i, n);
		/* a short reference in a longer run would be an extent more for each reader */
		bool refer = place[i].px && (part >= least || part == n);

		for (size_t k = i; r == 0 && k < i + part; k++) {
			uint32_t pack, off4k;

			if (refer) {
				pack = place[k].px->number;
				off4k = place[k].px->entries[place[k].i].off4k;
			} else {
				r = store_log_add(t->s, (enum store_entry_kind)m->kind,
					(const uint8_t *)data + k * bytes, bytes, &hashes[k], &pack,
					&off4k, err);
			}
			if (r == 0)
				r = store_txn_unit_at(
					m, l, unit + (uint32_t)k, &hashes[k], pack, off4k, err);
		}
	}
	free(place);
	return r;
}

static int put_blob(
	struct store_txn *t, uint32_t type, const void *data, size_t len, struct volt_err *err)
{
	struct store_manifest *m = &t->snap->manifest;
	struct store_manifest_blob *b = &m->blobs[m->n_blobs];
	struct store_span at = { .n = 1 };
	struct store_place place;
	int r;

	if (len < 1 || len > STORE_BLOB_MAX || m->n_blobs == STORE_BLOBS_MAX)
		return volt_err_set(err, E2BIG,
			"blob %u of %zu bytes: a snapshot has at most %u, each "
			"of 1 to %u bytes",
			type, len, STORE_BLOBS_MAX, STORE_BLOB_MAX);
	for (unsigned i = 0; i < m->n_blobs; i++)
		if (m->blobs[i].type == type)
			return volt_err_set(err, EINVAL, "blob %u is put twice", type);
	*b = (struct store_manifest_blob){ type, (uint32_t)len, { { 0 } } };
	r = store_hash(t->s->hasher, data, len, &b->hash);
	if (r < 0)
		return volt_err_set(err, -r, "SHA-256 failed");
	if (store_index_find(&t->s->index, &b->hash, b->len, false, &place)) {
		at.pack = place.px->number;
		at.off4k = place.px->entries[place.i].off4k;
	} else {
		r = store_log_add(
			t->s, STORE_ENTRY_BLOB, data, len, &b->hash, &at.pack, &at.off4k, err);
	}
	t->snap->layout.blobs[m->n_blobs] = at;
	m->n_blobs++;
	t->snap->layout.n_blobs++;
	return r;
}

int store_put_blob(
	struct store_txn *t, uint32_t type, const void *data, size_t len, struct volt_err *err)
{
	int r = t->failed ? volt_err_set(err, EINVAL, "the transaction has failed before")
			  : put_blob(t, type, data, len, err);

	t->failed |= r < 0;
	return r;
}

/* Into the one order that a manifest has; insertion, for there are few. */
static void sort(struct store_snapshot *snap)
{
	struct store_manifest *m = &snap->manifest;
	struct store_layout *l = &snap->layout;

	for (unsigned i = 1; i < m->n_blobs; i++)
		for (unsigned k = i; k && m->blobs[k].type < m->blobs[k - 1].type; k--) {
			SWAP(m->blobs[k], m->blobs[k - 1]);
			SWAP(l->blobs[k], l->blobs[k - 1]);
		}
	for (unsigned i = 1; i < m->n_regions; i++)
		for (unsigned k = i; k; k--) {
			struct store_manifest_region *b = &m->regions[k], *a = b - 1;

			if (a->kind < b->kind || (a->kind == b->kind && a->number < b->number))
				break;
			SWAP(*a, *b);
			SWAP(l->regions[k], l->regions[k - 1]);
		}
}

int store_commit(
	struct store_txn *t, const char *ref_text, struct store_id *ret_id, struct volt_err *err)
{
	struct store *s = t->s;
	struct store_ref ref;
	int r = t->failed ? volt_err_set(err, EINVAL, "the transaction has failed before") : 0;

	if (r == 0)
		r = store_check_writable(s, err);
	if (r == 0)
		r = store_ref_parse(ref_text, &ref, err);
	if (r == 0)
		r = store_log_sync(s, err);
	if (r == 0)
		r = store_dir_sync(s, s->packsfd, "packs", err);
	if (r == 0) {
		/* It is durable: what is written from here on may refer to it, come what may. */
		store_log_keep(s);
		sort(t->snap);
		r = store_snapshot_put(s, t->snap, err);
	}
	if (r == 0)
		r = store_ref_put(s, &ref, &t->snap->id, err);
	if (r < 0) {
		store_abort(t);
		return r;
	}
	if (ret_id)
		*ret_id = t->snap->id;
	free_txn(t);
	return 0;
}
