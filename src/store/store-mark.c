/* SPDX-License-Identifier: Apache-2.0 */
/* What is needed, see store-mark.h. */
#include "store-mark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static int compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct store_id));
}

static int add_id(struct store_mark *m, const struct store_id *id, struct volt_err *err)
{
	if ((m->n_ids & (m->n_ids - 1)) == 0) {
		void *more = realloc(m->ids, MAX(m->n_ids * 2, 16u) * sizeof(*m->ids));

		if (!more)
			return volt_err_set(err, ENOMEM, "no memory for the list of snapshots");
		m->ids = more;
	}
	m->ids[m->n_ids++] = *id;
	return 0;
}

struct walk {
	struct store_mark *m;
	struct volt_err *err;
};

static int take_ref(void *ctx, const char *ref, int64_t mtime)
{
	struct walk *w = ctx;
	struct store_id id;
	int r = store_resolve(w->m->s, ref, &id, w->err);

	(void)mtime;
	w->m->n_refs++;
	return r < 0 ? r : add_id(w->m, &id, w->err);
}

static int take_lease(void *ctx, const char *name, const struct store_id *id)
{
	struct walk *w = ctx;

	(void)name;
	w->m->n_leases++;
	return add_id(w->m, id, w->err);
}

bool store_mark_needs(const struct store_mark *m, const struct store_id *id)
{
	return m->n_ids && bsearch(id, m->ids, m->n_ids, sizeof(*id), compare_ids);
}

struct store_mark_pack *store_mark_pack(const struct store_mark *m, uint32_t number)
{
	for (size_t i = 0; i < m->n_packs; i++)
		if (m->packs[i].px->number == number)
			return &m->packs[i];
	return NULL;
}

/* One unit or blob with this hash is at that place. */
static bool mark_entry(struct store *s, struct store_mark *m, uint32_t pack, uint32_t off4k,
	uint32_t len, const struct store_id *hash)
{
	const struct store_px *px = store_index_px(&s->index, pack);
	const struct store_entry *e = px ? store_px_at(px, off4k) : NULL;
	struct store_mark_pack *mp;

	if (!e || e->len != len || !store_id_same(&e->hash, hash))
		return false;
	mp = m ? store_mark_pack(m, pack) : NULL;
	if (mp && !mp->live[e - px->entries]) {
		mp->live[e - px->entries] = 1;
		mp->live_bytes += store_entry_span(e);
	}
	return true;
}

static int mark_region(struct store *s, const struct store_manifest_region *region,
	const struct store_layout_region *l, struct store_mark *m, struct volt_err *err)
{
	unsigned log2 = store_kind_unit_log2(region->kind);
	size_t at = 0;

	if (l->base != STORE_NO_PACK) {
		const struct store_px *px = store_index_px(&s->index, l->base);
		struct store_mark_pack *mp = m && px ? store_mark_pack(m, l->base) : NULL;

		if (!px || !px->flat || !store_id_same(&px->image, &region->image) ||
			px->kind != region->kind || px->size != region->size)
			return volt_err_set(err, EBADMSG, "pack %08x is not the image of region %u",
				l->base, region->number);
		if (mp && !mp->base) {
			mp->base = true;
			mp->live_bytes = px->n << log2;
			memset(mp->live, 1, px->n);
		}
	}
	for (size_t i = 0; i < l->n; i++)
		for (uint32_t k = 0; k < l->spans[i].n; k++, at++)
			if (l->spans[i].pack != STORE_NO_PACK &&
				!mark_entry(s, m, l->spans[i].pack,
					l->spans[i].off4k + (k << (log2 - 12)), 1u << log2,
					&region->delta[at].hash))
				return volt_err_set(err, EBADMSG,
					"unit %u of region %u is not where "
					"the layout says, in pack %08x",
					region->delta[at].unit, region->number, l->spans[i].pack);
	return 0;
}

int store_mark_snapshot(struct store *s, const struct store_snapshot *snap, struct store_mark *m,
	struct volt_err *err)
{
	int r = store_index_load(s, err);

	for (unsigned i = 0; r == 0 && i < snap->manifest.n_regions; i++)
		r = mark_region(s, &snap->manifest.regions[i], &snap->layout.regions[i], m, err);
	for (unsigned i = 0; r == 0 && i < snap->manifest.n_blobs; i++) {
		const struct store_manifest_blob *b = &snap->manifest.blobs[i];

		if (!mark_entry(s, m, snap->layout.blobs[i].pack, snap->layout.blobs[i].off4k,
			    b->len, &b->hash))
			r = volt_err_set(
				err, EBADMSG, "blob %u is not where the layout says", b->type);
	}
	return r;
}

static int mark_id(struct store_mark *m, const struct store_id *id, struct volt_err *err)
{
	struct store_snapshot *snap;
	char text[STORE_ID_HEX + 1];
	int r = store_snapshot_open(m->s, id, &snap, err);

	if (r < 0) {
		store_id_text(id, text);
		return volt_err_wrap(err, "snapshot %.12s", text);
	}
	r = store_mark_snapshot(m->s, snap, m, err);
	for (unsigned i = 0; i < snap->manifest.n_regions; i++)
		m->region_bytes += snap->manifest.regions[i].size;
	store_snapshot_free(snap);
	store_id_text(id, text);
	return r < 0 ? volt_err_wrap(err, "snapshot %.12s", text) : 0;
}

/* Those that nothing refers to, but that a reader may have just looked up: if they are whole. */
static int mark_young(struct store_mark *m, struct volt_err *err)
{
	struct store_names names;
	size_t needed = m->n_ids;
	uint64_t bytes = m->region_bytes;
	int r = store_names_read(m->s->manifestsfd, &names, err);

	for (size_t i = 0; r == 0 && i < names.n; i++) {
		struct store_id id;
		struct stat st;

		if (store_id_of_name(names.name[i], 'm', &id) < 0 ||
			fstatat(m->s->manifestsfd, names.name[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (st.st_mtime < m->young ||
			(needed && bsearch(&id, m->ids, needed, sizeof(id), compare_ids)))
			continue;
		mark_id(m, &id, NULL);
		r = add_id(m, &id, err); /* stays, whole or not */
	}
	store_names_done(&names);
	m->region_bytes = bytes;
	if (r == 0 && m->n_ids)
		qsort(m->ids, m->n_ids, sizeof(*m->ids), compare_ids);
	return r;
}

static int prepare(struct store_mark *m, struct volt_err *err)
{
	struct store *s = m->s;
	int r;

	store_log_close(s);
	store_index_done(&s->index);
	r = store_index_load(s, err);
	if (r < 0)
		return r;
	m->packs = calloc(MAX(s->index.n, 1u), sizeof(*m->packs));
	for (; m->packs && m->n_packs < s->index.n; m->n_packs++) {
		struct store_mark_pack *mp = &m->packs[m->n_packs];

		mp->px = s->index.px[m->n_packs];
		mp->live = calloc(MAX(mp->px->n, 1u), 1);
		if (!mp->live)
			break;
	}
	return m->packs && m->n_packs == s->index.n
		       ? 0
		       : volt_err_set(err, ENOMEM, "no memory to mark what is needed");
}

int store_mark_all(
	struct store *s, int64_t grace_s, bool clear, struct store_mark *m, struct volt_err *err)
{
	struct volt_err own = { 0 };
	struct walk w = { m, err ? err : &own };
	size_t n = 0;
	int r;

	*m = (struct store_mark){ .s = s, .young = (int64_t)time(NULL) - grace_s + 1 };
	r = prepare(m, err);
	if (r == 0)
		r = store_each_ref(s, take_ref, &w, w.err);
	if (r == 0)
		r = store_each_lease(s, clear, take_lease, &w, w.err);
	if (r == 0 && m->n_ids)
		qsort(m->ids, m->n_ids, sizeof(*m->ids), compare_ids);
	for (size_t i = 0; r == 0 && i < m->n_ids; i++)
		if (!n || !store_id_same(&m->ids[n - 1], &m->ids[i])) {
			m->ids[n++] = m->ids[i];
			r = mark_id(m, &m->ids[i], w.err);
		}
	m->n_ids = n;
	if (r == 0)
		r = mark_young(m, w.err);
	if (r < 0)
		store_mark_done(m);
	return r;
}

void store_mark_done(struct store_mark *m)
{
	for (size_t i = 0; i < m->n_packs; i++)
		free(m->packs[i].live);
	free(m->packs);
	free(m->ids);
	*m = (struct store_mark){ 0 };
}
