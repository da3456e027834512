/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The collector, see store.h. Each thing is removed only after it is durable that nothing refers to
 * it; a crash anywhere leaves what the next one removes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "cleanup.h"
#include "store-mark.h"

#define SMALL_BYTES (16u << 20) /* packs below are small, and */
#define SMALL_MANY  32u /* more of them than this are made one */

struct place {
	uint32_t pack, off4k;
};

struct gc {
	struct store *s;
	struct store_mark m;
	struct place **moved; /* for each pack of m that is given up: where its entries are now */
	uint32_t first_new; /* number of pack */
	struct store_gc_result *result;
};

static int sync_space(struct store *s, const char *ns, struct volt_err *err)
{
	_cleanup_close_ int fd =
		s->sys->openat(s->refsfd, ns, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (fd < 0)
		return errno == ENOTDIR ? 0 : volt_err_set(err, errno, "open refs/%s: %m", ns);
	return store_dir_sync(s, fd, "refs", err);
}

/*
 * A process that was killed may have left names that we see and the disk does not have: what we
 * decide must be decided by what the disk has.
 */
static int sync_names(struct store *s, struct volt_err *err)
{
	struct store_names spaces;
	int r = store_names_read(s->refsfd, &spaces, err);

	for (size_t i = 0; r == 0 && i < spaces.n; i++)
		r = sync_space(s, spaces.name[i], err);
	store_names_done(&spaces);
	if (r == 0)
		r = store_dir_sync(s, s->refsfd, "refs", err);
	if (r == 0)
		r = store_dir_sync(s, s->layoutsfd, "layouts", err);
	if (r == 0)
		r = store_dir_sync(s, s->manifestsfd, "manifests", err);
	return r < 0 ? r : store_dir_sync(s, s->packsfd, "packs", err);
}

/* Files of the folder with ids that are not needed. */
static int sweep_ids(struct gc *g, int dirfd, char ext, struct volt_err *err)
{
	struct store *s = g->s;
	struct store_names names;
	int r = store_names_read(dirfd, &names, err);

	for (size_t i = 0; r == 0 && i < names.n; i++) {
		struct store_id id;

		if (store_id_of_name(names.name[i], ext, &id) < 0 || store_mark_needs(&g->m, &id))
			continue;
		if (s->sys->unlinkat(dirfd, names.name[i], 0) < 0)
			r = volt_err_set(err, errno, "remove %s: %m", names.name[i]);
		g->result->manifests += ext == 'm';
	}
	store_names_done(&names);
	return r < 0 ? r : store_dir_sync(s, dirfd, ext == 'm' ? "manifests" : "layouts", err);
}

/* Under the lock of leases: whoever takes one before is seen, whoever comes later finds nothing. */
static int mark_and_sweep_ids(struct gc *g, int64_t grace_s, struct volt_err *err)
{
	struct store *s = g->s;
	int r;

	if (flock(s->leasesfd, LOCK_EX) < 0)
		return volt_err_set(err, errno, "lock leases: %m");
	r = store_mark_all(s, grace_s, true, &g->m, err);
	if (r == 0)
		r = sweep_ids(g, s->manifestsfd, 'm', err);
	flock(s->leasesfd, LOCK_UN);
	return r < 0 ? r : sweep_ids(g, s->layoutsfd, 'l', err);
}

/* ---- Packs that are given up, though some of their units are needed ---- */

static bool give_up(const struct store_mark_pack *mp, bool small_too)
{
	uint64_t end = 0;

	for (size_t i = 0; i < mp->px->n; i++)
		end += store_entry_span(&mp->px->entries[i]);
	return mp->live_bytes && !mp->base &&
	       (mp->live_bytes * 2 < end || !mp->px->trusted ||
		       (small_too && !mp->px->flat && end < SMALL_BYTES));
}

static int move_entry(struct gc *g, int fd, const struct store_entry *e, uint8_t *buffer,
	struct place *ret, struct volt_err *err)
{
	struct store *s = g->s;
	struct store_id hash;
	int r = store_sys_read(s->sys, fd, buffer, e->len, (uint64_t)e->off4k * STORE_PAGE);

	if (r < 0)
		return volt_err_set(err, -r, "read a pack: %m");
	if (store_hash(s->hasher, buffer, e->len, &hash) < 0 || !store_id_same(&hash, &e->hash))
		return volt_err_set(err, EBADMSG,
			"a unit at byte %ju is damaged: it has not its hash",
			(uintmax_t)e->off4k * STORE_PAGE);
	g->result->moved_bytes += e->len;
	return store_log_add(s, e->kind, buffer, e->len, &hash, &ret->pack, &ret->off4k, err);
}

static int move_pack(struct gc *g, size_t i, struct volt_err *err)
{
	const struct store_mark_pack *mp = &g->m.packs[i];
	_cleanup_free_ uint8_t *buffer = malloc(store_px_longest(mp->px));
	_cleanup_close_ int fd = -1;
	int r;

	g->moved[i] = calloc(MAX(mp->px->n, 1u), sizeof(**g->moved));
	if (!g->moved[i] || !buffer)
		return volt_err_set(err, ENOMEM, "no memory to move units");
	r = store_pack_open(g->s, mp->px->number, &fd, err);
	if (r == -ENOENT)
		r = volt_err_set(err, EBADMSG, "it is not there");
	for (size_t k = 0; r == 0 && k < mp->px->n; k++)
		if (mp->live[k])
			r = move_entry(g, fd, &mp->px->entries[k], buffer, &g->moved[i][k], err);
	return r < 0 ? volt_err_wrap(err, "pack %08x", mp->px->number) : 0;
}

/* Where it is now; true if it was moved. */
static bool follow(const struct gc *g, uint32_t *pack, uint32_t *off4k)
{
	for (size_t i = 0; i < g->m.n_packs; i++) {
		const struct store_px *px = g->m.packs[i].px;

		if (px->number == *pack && g->moved[i]) {
			struct place to = g->moved[i][store_px_at(px, *off4k) - px->entries];

			*pack = to.pack;
			*off4k = to.off4k;
			return true;
		}
	}
	return false;
}

static int new_layout(struct gc *g, const struct store_snapshot *snap, struct store_layout *l,
	bool *ret_changed, struct volt_err *err)
{
	*l = (struct store_layout){ .manifest = snap->id };
	for (; l->n_blobs < snap->layout.n_blobs; l->n_blobs++) {
		struct store_span *b = &l->blobs[l->n_blobs];

		*b = snap->layout.blobs[l->n_blobs];
		*ret_changed |= follow(g, &b->pack, &b->off4k);
	}
	for (; l->n_regions < snap->layout.n_regions; l->n_regions++) {
		const struct store_layout_region *old = &snap->layout.regions[l->n_regions];
		unsigned log2 = store_kind_unit_log2(snap->manifest.regions[l->n_regions].kind);

		l->regions[l->n_regions].base = old->base;
		for (size_t i = 0; i < old->n; i++)
			for (uint32_t k = 0; k < old->spans[i].n; k++) {
				uint32_t pack = old->spans[i].pack;
				uint32_t off4k = old->spans[i].off4k + (k << (log2 - 12));

				if (pack != STORE_NO_PACK)
					*ret_changed |= follow(g, &pack, &off4k);
				if (store_layout_add(&l->regions[l->n_regions], log2,
					    old->spans[i].unit + k, pack, off4k) < 0)
					return volt_err_set(err, ENOMEM, "no memory for a layout");
			}
	}
	return 0;
}

static int rewrite_layout(struct gc *g, const struct store_id *id, struct volt_err *err)
{
	struct store_layout *l = calloc(1, sizeof(*l));
	struct store_snapshot *snap = NULL;
	bool changed = false;
	int r = l ? 0 : volt_err_set(err, ENOMEM, "no memory for a layout");

	if (r == 0 && (store_snapshot_open(g->s, id, &snap, NULL) < 0 ||
			      store_mark_snapshot(g->s, snap, NULL, NULL) < 0)) {
		store_snapshot_free(snap);
		free(l);
		return 0; /* young and not whole: it was not marked either */
	}
	if (r == 0)
		r = new_layout(g, snap, l, &changed, err);
	if (r == 0 && changed)
		r = store_layout_put(g->s, l, err);
	if (l)
		store_layout_done(l);
	store_snapshot_free(snap);
	free(l);
	return r;
}

static int compact(struct gc *g, struct volt_err *err)
{
	struct store *s = g->s;
	size_t small = 0, given_up = 0;
	int r = 0;

	g->moved = calloc(MAX(g->m.n_packs, 1u), sizeof(*g->moved));
	if (!g->moved)
		return volt_err_set(err, ENOMEM, "no memory to move units");
	for (size_t i = 0; i < g->m.n_packs; i++)
		small += !g->m.packs[i].px->flat && g->m.packs[i].live_bytes &&
			 store_px_end(g->m.packs[i].px) < SMALL_BYTES;
	for (size_t i = 0; r == 0 && i < g->m.n_packs; i++)
		if (give_up(&g->m.packs[i], small > SMALL_MANY)) {
			r = move_pack(g, i, err);
			given_up++;
		}
	if (r < 0 || !given_up)
		return r;
	r = store_log_sync(s, err);
	if (r == 0)
		r = store_dir_sync(s, s->packsfd, "packs", err);
	if (r < 0)
		return r;
	store_log_keep(s); /* layouts refer to it from here on */
	for (size_t i = 0; r == 0 && i < g->m.n_ids; i++)
		r = rewrite_layout(g, &g->m.ids[i], err);
	return r < 0 ? r : store_dir_sync(s, s->layoutsfd, "layouts", err);
}

/* ---- Packs that nothing needs ---- */

static bool is_needed(const struct gc *g, uint32_t number)
{
	for (size_t i = 0; i < g->m.n_packs; i++)
		if (g->m.packs[i].px->number == number)
			return g->m.packs[i].base || (g->m.packs[i].live_bytes && !g->moved[i]);
	return false;
}

/* Debris is swept too: a pack that is not in the index, and an index that cannot be read. */
static int sweep_packs(struct gc *g, const char *ext, struct volt_err *err)
{
	struct store *s = g->s;
	struct store_names names;
	size_t gone = 0;
	int r = store_names_read(s->packsfd, &names, err);

	for (size_t i = 0; r == 0 && i < names.n; i++) {
		int64_t number = store_pack_number(names.name[i], ext);

		if (number < 0 || number >= g->first_new || is_needed(g, (uint32_t)number))
			continue;
		if (s->sys->unlinkat(s->packsfd, names.name[i], 0) < 0)
			r = volt_err_set(err, errno, "remove %s: %m", names.name[i]);
		gone++;
	}
	store_names_done(&names);
	g->result->packs += ext[1] == 'k' ? gone : 0;
	return r < 0 || !gone ? r : store_dir_sync(s, s->packsfd, "packs", err);
}

static uint64_t disk_bytes(struct store *s)
{
	struct store_names names;
	uint64_t sum = 0;

	if (store_names_read(s->packsfd, &names, NULL) < 0)
		return 0;
	for (size_t i = 0; i < names.n; i++)
		sum += store_file_blocks(s->packsfd, names.name[i]);
	store_names_done(&names);
	return sum;
}

static int collect(struct gc *g, int64_t grace_s, struct volt_err *err)
{
	int r = mark_and_sweep_ids(g, grace_s, err);

	g->first_new = g->s->next_pack; /* what is moved goes into packs from there on */
	if (r == 0)
		r = compact(g, err);
	if (r == 0)
		r = sweep_packs(g, "px", err);
	return r < 0 ? r : sweep_packs(g, "pk", err);
}

int store_gc(struct store *s, int64_t grace_s, struct store_gc_result *ret, struct volt_err *err)
{
	struct volt_err own = { 0 }, *e = err ? err : &own;
	struct gc g = { .s = s, .result = ret };
	uint64_t before = disk_bytes(s), after;
	int r = store_check_writable(s, e);

	*ret = (struct store_gc_result){ 0 };
	if (r == 0 && s->txn)
		r = volt_err_set(e, EBUSY, "%s: a transaction is open", s->path);
	if (r == 0)
		r = sync_names(s, e);
	if (r == 0)
		r = collect(&g, grace_s, e);
	if (r < 0)
		store_log_drop(s);
	for (size_t i = 0; g.moved && i < g.m.n_packs; i++)
		free(g.moved[i]);
	free(g.moved);
	store_mark_done(&g.m);
	if (s->log->pkfd >= 0)
		store_log_close(s);
	store_index_done(&s->index); /* read anew: it has packs that are gone */
	after = disk_bytes(s);
	ret->freed_bytes = before > after ? before - after : 0;
	return r;
}
