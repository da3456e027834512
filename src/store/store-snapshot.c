/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests and layouts as files of the store, see store-core.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "store-pack.h"

int store_snapshot_manifest(struct store *s, const struct store_id *id, struct store_manifest *ret,
	size_t *ret_bytes, struct volt_err *err)
{
	_cleanup_free_ void *data = NULL;
	char name[STORE_NAME_MAX];
	struct store_id own;
	size_t len;
	int r;

	ret->n_regions = ret->n_blobs = 0;
	store_id_name(id, 'm', name);
	r = store_file_get(s, s->manifestsfd, name, STORE_MANIFEST_MAX, &data, &len, err);
	if (r == -ENOENT)
		return volt_err_set(err, ENOENT, "there is no manifest %s", name);
	if (r < 0)
		return r;
	r = store_hash(s->hasher, data, len, &own);
	if (r == 0 && !store_id_same(&own, id))
		return volt_err_set(err, EBADMSG,
			"manifest %s is damaged: it has not the hash that is "
			"its name",
			name);
	if (r == 0)
		r = store_manifest_read(data, len, ret, err);
	if (ret_bytes)
		*ret_bytes = len;
	return r < 0 ? volt_err_wrap(err, "manifest %s", name) : 0;
}

/* A layout says no more than the indices do: if it is lost, it is found again there. */
static int place_region(struct store *s, const struct store_manifest_region *m,
	struct store_layout_region *l, struct volt_err *err)
{
	uint32_t bytes = 1u << store_kind_unit_log2(m->kind);
	const struct store_px *image = NULL;

	l->base = STORE_NO_PACK;
	if (!store_id_is_zero(&m->image)) {
		image = store_index_image(&s->index, &m->image);
		if (!image)
			return volt_err_set(err, EBADMSG,
				"the image of region %u is not in the store", m->number);
		l->base = image->number;
	}
	for (size_t i = 0; i < m->n; i++) {
		struct store_place at;
		uint32_t pack = STORE_NO_PACK, off4k = 0;

		if (!store_id_is_zero(&m->delta[i].hash)) {
			if (!store_index_find(&s->index, &m->delta[i].hash, bytes, true, &at))
				return volt_err_set(err, EBADMSG,
					"unit %u of region %u is not in the "
					"store",
					m->delta[i].unit, m->number);
			pack = at.px->number;
			off4k = at.px->entries[at.i].off4k;
		}
		if (store_layout_add(
			    l, store_kind_unit_log2(m->kind), m->delta[i].unit, pack, off4k) < 0)
			return volt_err_set(err, ENOMEM, "no memory for a layout");
	}
	return 0;
}

int store_layout_place(struct store *s, const struct store_id *id, const struct store_manifest *m,
	struct store_layout *l, struct volt_err *err)
{
	int r = store_index_load(s, err);

	memset(l, 0, sizeof(*l));
	l->manifest = *id;
	for (; r == 0 && l->n_blobs < m->n_blobs; l->n_blobs++) {
		const struct store_manifest_blob *b = &m->blobs[l->n_blobs];
		struct store_place at;

		if (!store_index_find(&s->index, &b->hash, b->len, true, &at))
			return volt_err_set(err, EBADMSG, "blob %u is not in the store", b->type);
		l->blobs[l->n_blobs] =
			(struct store_span){ 0, 1, at.px->number, at.px->entries[at.i].off4k };
	}
	for (; r == 0 && l->n_regions < m->n_regions; l->n_regions++)
		r = place_region(s, &m->regions[l->n_regions], &l->regions[l->n_regions], err);
	if (r < 0)
		store_layout_done(l);
	return r;
}

static int open_layout(struct store *s, struct store_snapshot *snap, struct volt_err *err)
{
	_cleanup_free_ void *data = NULL;
	struct volt_err why = { 0 };
	char name[STORE_NAME_MAX];
	size_t len;
	int r;

	store_id_name(&snap->id, 'l', name);
	r = store_file_get(s, s->layoutsfd, name, STORE_MANIFEST_MAX, &data, &len, &why);
	if (r == 0)
		r = store_layout_read(data, len, &snap->id, &snap->manifest, &snap->layout, &why);
	if (r == -ENOENT || r == -EBADMSG)
		return store_layout_place(s, &snap->id, &snap->manifest, &snap->layout, err);
	return r < 0 ? volt_err_set(err, -r, "%s", why.msg) : 0;
}

int store_snapshot_open(struct store *s, const struct store_id *id, struct store_snapshot **ret,
	struct volt_err *err)
{
	struct store_snapshot *snap = calloc(1, sizeof(*snap));
	int r;

	if (!snap)
		return volt_err_set(err, ENOMEM, "no memory for a snapshot");
	snap->id = *id;
	r = store_snapshot_manifest(s, id, &snap->manifest, NULL, err);
	if (r == 0)
		r = open_layout(s, snap, err);
	if (r < 0)
		store_snapshot_free(snap);
	else
		*ret = snap;
	return r;
}

int store_layout_put(struct store *s, const struct store_layout *l, struct volt_err *err)
{
	_cleanup_free_ void *data = NULL;
	char name[STORE_NAME_MAX];
	size_t len;
	int r = store_layout_write(l, &data, &len, err);

	store_id_name(&l->manifest, 'l', name);
	return r < 0 ? r : store_file_put(s, s->layoutsfd, name, data, len, err);
}

/* Both are written even if they are there: a name that is not durable yet is made so again. */
int store_snapshot_put(struct store *s, struct store_snapshot *snap, struct volt_err *err)
{
	_cleanup_free_ void *data = NULL;
	char name[STORE_NAME_MAX];
	size_t len;
	int r = store_manifest_write(&snap->manifest, &data, &len, err);

	if (r < 0)
		return r;
	if (store_hash(s->hasher, data, len, &snap->id) < 0)
		return volt_err_set(err, ENOMEM, "SHA-256 failed");
	snap->layout.manifest = snap->id;
	store_id_name(&snap->id, 'm', name);
	r = store_layout_put(s, &snap->layout, err);
	if (r == 0)
		r = store_file_put(s, s->manifestsfd, name, data, len, err);
	if (r == 0)
		r = store_dir_sync(s, s->layoutsfd, "layouts", err);
	return r < 0 ? r : store_dir_sync(s, s->manifestsfd, "manifests", err);
}

void store_snapshot_free(struct store_snapshot *snap)
{
	if (!snap)
		return;
	store_manifest_done(&snap->manifest);
	store_layout_done(&snap->layout);
	free(snap);
}
