/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot that is opened to be read, see store.h. */
#include "store-plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

#define TRIES 3 /* a collector may move units once or twice while we open */

struct opened {
	uint32_t number;
	int fd;
	uint64_t size; /* bytes */
};

struct store_plan {
	struct store *s;
	struct store_snapshot *snap;
	size_t n_packs;
	struct opened *packs;
	struct store_plan_region regions[STORE_REGIONS_MAX];
	struct store_px images[STORE_REGIONS_MAX];
};

/* The pack, opened when it is first asked for. -ENOENT without text: it is not there. */
static int get_pack(struct store_plan *p, uint32_t number, struct opened *ret, struct volt_err *err)
{
	struct opened o = { .number = number };
	void *more;
	int r;

	for (size_t i = 0; i < p->n_packs; i++)
		if (p->packs[i].number == number) {
			*ret = p->packs[i];
			return 0;
		}
	more = realloc(p->packs, (p->n_packs + 1) * sizeof(*p->packs));
	if (!more)
		return volt_err_set(err, ENOMEM, "no memory for a list of packs");
	p->packs = more;
	r = store_pack_open(p->s, number, &o.fd, err);
	if (r < 0)
		return r;
	r = store_file_size(o.fd, &o.size);
	if (r < 0) {
		fd_close(o.fd);
		return volt_err_set(err, -r, "pack %08x: %m", number);
	}
	p->packs[p->n_packs++] = o;
	*ret = o;
	return 0;
}

static void add_extent(
	struct store_plan_region *r, struct store_extent *list, const struct store_extent *e)
{
	struct store_extent *last = r->n ? &list[r->n - 1] : NULL;

	/* two spans of a layout may be one here: the first extent is never one of them */
	if (r->n > 1 && last->fd == e->fd && last->offset + last->bytes == e->offset &&
		(e->fd < 0 || last->fd_offset + last->bytes == e->fd_offset))
		last->bytes += e->bytes;
	else
		list[r->n++] = *e;
}

static int plan_base(struct store_plan *p, const struct store_manifest_region *m, uint32_t base,
	struct store_extent *ret, struct volt_err *err)
{
	struct opened o = { 0 };
	struct store_id id;
	int r;

	*ret = (struct store_extent){ .bytes = ALIGN_UP(m->size, (uint64_t)STORE_PAGE), .fd = -1 };
	if (base == STORE_NO_PACK)
		return 0;
	r = get_pack(p, base, &o, err);
	if (r == 0)
		r = store_px_image(p->s, base, &id, err);
	if (r < 0)
		return r;
	if (!store_id_same(&id, &m->image) || o.size < ret->bytes)
		return volt_err_set(err, EBADMSG,
			"pack %08x is not the image of region %u, or it is cut "
			"off",
			base, m->number);
	ret->fd = o.fd;
	return 0;
}

static int plan_region(struct store_plan *p, unsigned i, struct volt_err *err)
{
	const struct store_manifest_region *m = &p->snap->manifest.regions[i];
	const struct store_layout_region *l = &p->snap->layout.regions[i];
	struct store_plan_region *region = &p->regions[i];
	struct store_extent *list = malloc((l->n + 1) * sizeof(*list));
	unsigned log2 = store_kind_unit_log2(m->kind);
	uint64_t end = ALIGN_UP(m->size, (uint64_t)STORE_PAGE);
	int r;

	if (!list)
		return volt_err_set(err, ENOMEM, "no memory for %zu extents", l->n);
	*region = (struct store_plan_region){
		.kind = m->kind, .number = m->number, .size = m->size, .extents = list, .n = 1
	};
	r = plan_base(p, m, l->base, &list[0], err);
	for (size_t k = 0; r == 0 && k < l->n; k++) {
		const struct store_span *sp = &l->spans[k];
		struct store_extent e = { .offset = (uint64_t)sp->unit << log2,
			.bytes = (uint64_t)sp->n << log2,
			.fd = -1,
			.fd_offset = (uint64_t)sp->off4k * STORE_PAGE };

		if (sp->pack != STORE_NO_PACK) {
			struct opened o = { 0 };

			r = get_pack(p, sp->pack, &o, err);
			if (r == 0 && e.fd_offset + e.bytes > o.size)
				r = volt_err_set(err, EBADMSG,
					"pack %08x is cut off: unit %u of "
					"region %u is behind its end",
					sp->pack, sp->unit, m->number);
			if (r < 0)
				break;
			e.fd = o.fd;
		}
		e.bytes = MIN(e.bytes, end - e.offset);
		add_extent(region, list, &e);
	}
	return r;
}

static void clear(struct store_plan *p)
{
	for (size_t i = 0; i < p->n_packs; i++)
		fd_close(p->packs[i].fd);
	free(p->packs);
	p->packs = NULL;
	p->n_packs = 0;
	for (unsigned i = 0; i < STORE_REGIONS_MAX; i++) {
		free((void *)(uintptr_t)p->regions[i].extents);
		p->regions[i] = (struct store_plan_region){ 0 };
		store_px_done(&p->images[i]);
	}
	store_snapshot_free(p->snap);
	p->snap = NULL;
}

/* -ENOENT without text: a pack that the layout names is not there. */
static int open_all(struct store_plan *p, const struct store_id *id, struct volt_err *err)
{
	int r = store_snapshot_open(p->s, id, &p->snap, err);

	for (unsigned i = 0; r == 0 && i < p->snap->manifest.n_regions; i++)
		r = plan_region(p, i, err);
	for (unsigned i = 0; r == 0 && i < p->snap->manifest.n_blobs; i++) {
		const struct store_manifest_blob *b = &p->snap->manifest.blobs[i];
		const struct store_span *at = &p->snap->layout.blobs[i];
		struct opened o = { 0 };

		r = get_pack(p, at->pack, &o, err);
		if (r == 0 && (uint64_t)at->off4k * STORE_PAGE + b->len > o.size)
			r = volt_err_set(err, EBADMSG,
				"pack %08x is cut off: blob %u is behind its "
				"end",
				at->pack, b->type);
	}
	return r;
}

int store_plan_open(
	struct store *s, const struct store_id *id, struct store_plan **ret, struct volt_err *err)
{
	struct store_plan *p = calloc(1, sizeof(*p));
	struct volt_err why = { 0 };
	char text[STORE_ID_HEX + 1];
	int r = -ENOENT;

	if (!p)
		return volt_err_set(err, ENOMEM, "no memory for a snapshot");
	p->s = s;
	for (int i = 0; r == -ENOENT && !why.code && i < TRIES; i++) {
		clear(p);
		r = open_all(p, id, &why);
	}
	if (r == 0) {
		*ret = p;
		return 0;
	}
	store_plan_close(p);
	store_id_text(id, text);
	return volt_err_set(err, -r, "snapshot %.12s: %s", text,
		why.code ? why.msg : "a pack with its units is not there");
}

void store_plan_close(struct store_plan *p)
{
	if (!p)
		return;
	clear(p);
	free(p);
}

const struct store_manifest *store_plan_manifest(const struct store_plan *p)
{
	return &p->snap->manifest;
}

const struct store_snapshot *store_plan_snapshot(const struct store_plan *p)
{
	return p->snap;
}

struct store *store_plan_store(const struct store_plan *p)
{
	return p->s;
}

int store_plan_fd(const struct store_plan *p, uint32_t pack)
{
	for (size_t i = 0; i < p->n_packs; i++)
		if (p->packs[i].number == pack)
			return p->packs[i].fd;
	return -1;
}

struct store_px *store_plan_image_slot(struct store_plan *p, unsigned region)
{
	return &p->images[region];
}

size_t store_plan_count(const struct store_plan *p)
{
	return p->snap->manifest.n_regions;
}

const struct store_plan_region *store_plan_at(const struct store_plan *p, size_t i)
{
	return &p->regions[i];
}

int store_plan_index(const struct store_plan *p, enum store_kind kind, unsigned number)
{
	for (unsigned i = 0; i < p->snap->manifest.n_regions; i++)
		if (p->regions[i].kind == kind && p->regions[i].number == number)
			return (int)i;
	return -1;
}

const struct store_plan_region *store_plan_find(
	const struct store_plan *p, enum store_kind kind, unsigned number)
{
	int i = store_plan_index(p, kind, number);

	return i < 0 ? NULL : &p->regions[i];
}

int store_plan_blob(
	struct store_plan *p, uint32_t type, void **ret_data, size_t *ret_len, struct volt_err *err)
{
	const struct store_manifest *m = &p->snap->manifest;
	_cleanup_free_ void *data = NULL;
	struct store_id hash;
	struct opened o = { 0 };
	unsigned i = 0;
	int r;

	while (i < m->n_blobs && m->blobs[i].type != type)
		i++;
	if (i == m->n_blobs)
		return volt_err_set(err, ENOENT,
			type == STORE_BLOB_STATE ? "the snapshot has no machine state"
						 : "the snapshot has no such blob");
	data = malloc(m->blobs[i].len);
	if (!data)
		return volt_err_set(
			err, ENOMEM, "no memory for a blob of %u bytes", m->blobs[i].len);
	r = get_pack(p, p->snap->layout.blobs[i].pack, &o, err);
	if (r == 0)
		r = store_sys_read(p->s->sys, o.fd, data, m->blobs[i].len,
			(uint64_t)p->snap->layout.blobs[i].off4k * STORE_PAGE);
	if (r < 0)
		return volt_err_set(err, -r, "read blob %u: %m", type);
	r = store_hash(p->s->hasher, data, m->blobs[i].len, &hash);
	if (r < 0 || !store_id_same(&hash, &m->blobs[i].hash))
		return volt_err_set(err, EBADMSG,
			"blob %u in pack %08x is damaged: it has not its hash", type, o.number);
	*ret_data = take_ptr(&data);
	*ret_len = m->blobs[i].len;
	return 0;
}
