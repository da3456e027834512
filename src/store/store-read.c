/* SPDX-License-Identifier: Apache-2.0 */
/* The content of an open snapshot, checked unit by unit, see store-plan.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store-plan.h"

int store_plan_image(
	struct store_plan *p, unsigned region, const struct store_px **ret, struct volt_err *err)
{
	const struct store_snapshot *snap = store_plan_snapshot(p);
	struct store_px *px = store_plan_image_slot(p, region);
	uint32_t base = snap->layout.regions[region].base;
	int r;

	*ret = NULL;
	if (base == STORE_NO_PACK)
		return 0;
	if (!px->entries) {
		r = store_px_load(store_plan_store(p), base, px, err);
		if (r < 0)
			return r;
		if (!px->sealed || px->kind != snap->manifest.regions[region].kind ||
			px->size != snap->manifest.regions[region].size)
			return volt_err_set(err, EBADMSG, "pack %08x is not the image of region %u",
				base, snap->manifest.regions[region].number);
	}
	*ret = px;
	return 0;
}

size_t store_delta_find(const struct store_delta *delta, size_t n, uint64_t unit)
{
	size_t low = 0;

	while (low < n) {
		size_t mid = low + (n - low) / 2;

		if (delta[mid].unit < unit)
			low = mid + 1;
		else
			n = mid;
	}
	return low;
}

int store_plan_places(
	const struct store_plan *p, unsigned region, struct store_span **ret, struct volt_err *err)
{
	const struct store_snapshot *snap = store_plan_snapshot(p);
	const struct store_layout_region *l = &snap->layout.regions[region];
	const struct store_manifest_region *m = &snap->manifest.regions[region];
	uint32_t pages = 1u << (store_kind_unit_log2(m->kind) - 12);
	struct store_span *place = malloc(MAX(m->n, 1u) * sizeof(*place));
	size_t at = 0;

	if (!place)
		return volt_err_set(err, ENOMEM, "no memory for %zu units", m->n);
	for (size_t i = 0; i < l->n; i++)
		for (uint32_t k = 0; k < l->spans[i].n; k++)
			place[at++] = (struct store_span){ l->spans[i].unit + k, 1,
				l->spans[i].pack,
				l->spans[i].off4k +
					(l->spans[i].pack == STORE_NO_PACK ? 0 : k * pages) };
	*ret = place;
	return 0;
}

struct piece { /* units that are asked for */
	struct store_plan *p;
	unsigned region, log2;
	uint64_t unit;
	size_t n;
	uint8_t *data;
};

static int load(const struct piece *c, int fd, uint64_t unit, uint64_t n, uint64_t from,
	struct volt_err *err)
{
	uint8_t *to = c->data + ((unit - c->unit) << c->log2);
	int r;

	if (fd < 0) {
		memset(to, 0, n << c->log2);
		return 0;
	}
	r = store_sys_read(store_plan_store(c->p)->sys, fd, to, n << c->log2, from);
	return r < 0 ? volt_err_set(err, -r, "read a pack: %m") : 0;
}

/* Loads what the image has, in runs; returns with the first of its entries in *ret_first. */
static int load_image(
	const struct piece *c, const struct store_px *px, size_t *ret_first, struct volt_err *err)
{
	const struct store_plan_region *region = store_plan_at(c->p, c->region);
	uint32_t pages = 1u << (c->log2 - 12);
	size_t low = 0, high = px->n, first;
	int r = 0;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (px->entries[mid].off4k / pages < c->unit)
			low = mid + 1;
		else
			high = mid;
	}
	first = low;
	while (r == 0 && low < px->n && px->entries[low].off4k / pages < c->unit + c->n) {
		uint64_t unit = px->entries[low].off4k / pages, n = 1;

		for (low++; low < px->n && px->entries[low].off4k / pages == unit + n &&
			    unit + n < c->unit + c->n;
			low++)
			n++;
		r = load(c, region->extents[0].fd, unit, n, unit << c->log2, err);
	}
	*ret_first = first;
	return r;
}

static int load_delta(const struct piece *c, struct volt_err *err)
{
	const struct store_layout_region *l = &store_plan_snapshot(c->p)->layout.regions[c->region];
	uint64_t end = c->unit + c->n;
	size_t low = 0, high = l->n;
	int r = 0;

	while (low < high) { /* the first span that ends behind our beginning */
		size_t mid = low + (high - low) / 2;

		if (l->spans[mid].unit + (uint64_t)l->spans[mid].n <= c->unit)
			low = mid + 1;
		else
			high = mid;
	}
	for (; r == 0 && low < l->n && l->spans[low].unit < end; low++) {
		const struct store_span *sp = &l->spans[low];
		uint64_t from = MAX((uint64_t)sp->unit, c->unit);
		uint64_t to = MIN(sp->unit + (uint64_t)sp->n, end);
		int fd = sp->pack == STORE_NO_PACK ? -1 : store_plan_fd(c->p, sp->pack);

		r = load(c, fd, from, to - from,
			(uint64_t)sp->off4k * STORE_PAGE + ((from - sp->unit) << c->log2), err);
	}
	return r;
}

/* Every unit has the hash that the manifest, or the image's index, says it has. */
static int check(const struct piece *c, const struct store_px *px, size_t at, bool *ret_any,
	struct volt_err *err)
{
	const struct store_manifest_region *m =
		&store_plan_snapshot(c->p)->manifest.regions[c->region];
	uint32_t pages = 1u << (c->log2 - 12);
	size_t d = store_delta_find(m->delta, m->n, c->unit);

	*ret_any = false;
	for (uint64_t u = c->unit; u < c->unit + c->n; u++) {
		const struct store_id *want = NULL;
		struct store_id hash;
		int r;

		if (px && at < px->n && px->entries[at].off4k / pages == u)
			want = &px->entries[at++].hash;
		if (d < m->n && m->delta[d].unit == u)
			want = &m->delta[d++].hash;
		if (!want || store_id_is_zero(want))
			continue; /* loaded as zeros */
		*ret_any = true;
		r = store_hash(store_plan_store(c->p)->hasher, c->data + ((u - c->unit) << c->log2),
			(size_t)1 << c->log2, &hash);
		if (r < 0 || !store_id_same(&hash, want))
			return volt_err_set(err, EBADMSG,
				"unit %ju of %s %u is damaged: it has not "
				"its hash",
				(uintmax_t)u, m->kind == STORE_MEMORY ? "memory" : "disk",
				m->number);
	}
	return 0;
}

int store_plan_read(struct store_plan *p, unsigned region, uint64_t unit, size_t n, void *data,
	bool *ret_any, struct volt_err *err)
{
	struct piece c = { p, region, store_kind_unit_log2(store_plan_at(p, region)->kind), unit, n,
		data };
	const struct store_px *px;
	size_t first = 0;
	int r = store_plan_image(p, region, &px, err);

	memset(data, 0, n << c.log2);
	if (r == 0 && px)
		r = load_image(&c, px, &first, err);
	if (r == 0)
		r = load_delta(&c, err);
	return r < 0 ? r : check(&c, px, first, ret_any, err);
}

/* Writes what is not zeros. */
static int write_units(
	struct store *s, int fd, const uint8_t *data, uint64_t offset, size_t len, size_t unit)
{
	for (size_t i = 0, from = 0; i < len + unit; i += unit) {
		if (i < len && !store_zero(data + i, MIN(unit, ALIGN_UP(len - i, (size_t)64))))
			continue;
		if (MIN(i, len) > from) {
			int r = store_sys_write(
				s->sys, fd, data + from, MIN(i, len) - from, offset + from);

			if (r < 0)
				return r;
		}
		from = i + unit;
	}
	return 0;
}

int store_plan_copy(
	struct store_plan *p, const struct store_plan_region *region, int fd, struct volt_err *err)
{
	struct store *s = store_plan_store(p);
	int at = store_plan_index(p, region->kind, region->number);
	unsigned log2 = store_kind_unit_log2(region->kind);
	uint64_t units = ((region->size - 1) >> log2) + 1;
	int r = 0;

	if (s->sys->ftruncate(fd, (off_t)region->size) < 0)
		return volt_err_set(err, errno, "a file of %ju bytes: %m", (uintmax_t)region->size);
	for (uint64_t u = 0, n; r == 0 && u < units; u += n) {
		uint64_t offset = u << log2;
		bool any;

		n = MIN(units - u, (uint64_t)STORE_CHUNK >> log2);
		r = store_plan_read(p, (unsigned)at, u, n, s->chunk, &any, err);
		if (r == 0 && any) {
			r = write_units(s, fd, s->chunk, offset,
				MIN(n << log2, region->size - offset), (size_t)1 << log2);
			if (r < 0)
				volt_err_set(err, -r, "write the copy: %m");
		}
		store_tell(s, MIN(n << log2, region->size - offset));
	}
	return r;
}
