/* SPDX-License-Identifier: Apache-2.0 */
/* The whole store is read and told about, see store.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "store-mark.h"

struct verify {
	struct store *s;
	void (*problem)(void *ctx, const char *text);
	void *ctx;
	int n;
};

static void tell(struct verify *v, const char *what, const struct volt_err *err)
{
	char text[sizeof(err->msg) + 160];

	snprintf(text, sizeof(text), "%s: %s", what, err->msg);
	v->n++;
	v->problem(v->ctx, text);
}

/* Every unit of a pack has the hash that its index says. */
static int check_data(struct verify *v, const struct store_px *px, int fd, struct volt_err *err)
{
	struct store *s = v->s;
	_cleanup_free_ uint8_t *buffer = malloc(store_px_longest(px));
	int r = 0;

	if (!buffer)
		return volt_err_set(err, ENOMEM, "no memory to read a pack");
	for (size_t i = 0; r == 0 && i < px->n; i++) {
		const struct store_entry *e = &px->entries[i];
		struct store_id hash;

		r = store_sys_read(s->sys, fd, buffer, e->len, (uint64_t)e->off4k * STORE_PAGE);
		if (r < 0)
			r = volt_err_set(err, -r, "the unit at byte %ju cannot be read: %m",
				(uintmax_t)e->off4k * STORE_PAGE);
		else if (store_hash(s->hasher, buffer, e->len, &hash) < 0 ||
			 !store_id_same(&hash, &e->hash))
			r = volt_err_set(err, EBADMSG, "the unit at byte %ju is damaged",
				(uintmax_t)e->off4k * STORE_PAGE);
		store_tell(s, e->len);
	}
	return r;
}

static void check_pack(struct verify *v, const struct store_px *px)
{
	_cleanup_close_ int fd = -1;
	struct volt_err err = { 0 };
	struct store_id id;
	char what[32];
	int r = store_pack_open(v->s, px->number, &fd, &err);

	if (r == -ENOENT)
		return; /* debris, or else a snapshot needs it and says so */
	if (r == 0)
		r = check_data(v, px, fd, &err);
	if (r == 0 && px->flat &&
		(store_image_id(v->s->hasher, px, &id) < 0 || !store_id_same(&id, &px->image)))
		r = volt_err_set(&err, EBADMSG, "the image has not the id of its seal");
	snprintf(what, sizeof(what), "pack %08x", px->number);
	if (r < 0)
		tell(v, what, &err);
}

static void check_snapshot(struct verify *v, const char *what, const struct store_id *id)
{
	struct store_snapshot *snap;
	struct store_plan *plan;
	struct volt_err err = { 0 };
	char name[STORE_NAME_MAX];
	int r = store_snapshot_open(v->s, id, &snap, &err);

	if (r == 0) {
		r = store_mark_snapshot(v->s, snap, NULL, &err);
		store_snapshot_free(snap);
	}
	if (r == 0) { /* and the packs are there, and long enough */
		r = store_plan_open(v->s, id, &plan, &err);
		if (r == 0)
			store_plan_close(plan);
	}
	store_id_name(id, 'l', name);
	if (r == 0 && faccessat(v->s->layoutsfd, name, F_OK, 0) < 0)
		r = volt_err_set(&err, errno, "layouts/%s: %m", name);
	if (r < 0)
		tell(v, what, &err);
}

static int check_ref(void *ctx, const char *ref, int64_t mtime)
{
	struct verify *v = ctx;
	struct volt_err err = { 0 };
	struct store_id id;

	(void)mtime;
	if (store_resolve(v->s, ref, &id, &err) < 0)
		tell(v, ref, &err);
	else
		check_snapshot(v, ref, &id);
	return 0;
}

static int check_lease(void *ctx, const char *name, const struct store_id *id)
{
	char what[STORE_NAME_MAX + 8];

	snprintf(what, sizeof(what), "lease %.70s", name);
	check_snapshot(ctx, what, id);
	return 0;
}

int store_verify(struct store *s, void (*problem)(void *ctx, const char *text), void *ctx,
	struct volt_err *err)
{
	struct verify v = { s, problem, ctx, 0 };
	uint64_t total = 0;
	int r;

	if (s->txn)
		return volt_err_set(err, EBUSY, "%s: a transaction is open", s->path);
	store_log_close(s);
	store_index_done(&s->index);
	r = store_index_load(s, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->index.n; i++)
		for (size_t k = 0; k < s->index.px[i]->n; k++)
			total += s->index.px[i]->entries[k].len;
	store_tell_total(s, total);
	for (size_t i = 0; i < s->index.n; i++)
		check_pack(&v, s->index.px[i]);
	r = store_each_ref(s, check_ref, &v, err);
	if (r == 0)
		r = store_each_lease(s, false, check_lease, &v, err);
	return r < 0 ? r : v.n;
}

int store_stat(struct store *s, struct store_stat *ret, struct volt_err *err)
{
	struct store_names names;
	struct store_mark m;
	int r = s->txn ? volt_err_set(err, EBUSY, "%s: a transaction is open", s->path) : 0;

	*ret = (struct store_stat){ 0 };
	if (r == 0)
		r = store_mark_all(s, STORE_GRACE_S, false, &m, err);
	if (r < 0)
		return r;
	ret->refs = m.n_refs;
	ret->leases = m.n_leases;
	ret->region_bytes = m.region_bytes;
	for (size_t i = 0; i < m.n_packs; i++) {
		ret->live_bytes += m.packs[i].live_bytes;
		ret->images += m.packs[i].px->flat;
	}
	store_mark_done(&m);
	r = store_names_read(s->packsfd, &names, err);
	for (size_t i = 0; r == 0 && i < names.n; i++) {
		uint64_t bytes = store_file_blocks(s->packsfd, names.name[i]);

		if (store_pack_number(names.name[i], "pk") >= 0) {
			ret->packs++;
			ret->disk_bytes += bytes;
		} else {
			ret->index_bytes += bytes;
		}
	}
	store_names_done(&names);
	if (r == 0)
		r = store_names_read(s->manifestsfd, &names, err);
	for (size_t i = 0; r == 0 && i < names.n; i++) {
		ret->manifests++;
		ret->manifest_bytes += store_file_blocks(s->manifestsfd, names.name[i]);
	}
	store_names_done(&names);
	return r;
}
