/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A region is put: as a delta to an image that is there, or as a new image, see store.h.
 *
 * The units of the new delta are those of the base's delta outside of the runs, and inside of the
 * runs those that differ from the image. So it is cumulative: whatever it was made from, there is
 * an image and one delta. It is given up for a new image when it has grown too large to be read
 * fast; then what it has appended to the log is taken back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store-plan.h"
#include "store-txn.h"

#define SAMPLES     64u /* units that are compared to guess an image */
#define SAMPLES_MIN 4u /* of them that have to be there to tell anything */

#define CHUNK_UNITS (STORE_CHUNK / STORE_PAGE) /* the most in a chunk */

struct put {
	struct store_txn *t;
	struct store *s;
	const struct store_region *r;
	unsigned log2; /* of the unit */
	uint64_t units;
	struct store_plan *plan; /* of base; NULL: none */
	unsigned region; /* in plan */
	const struct store_manifest_region *old; /* NULL: none, or only an image was guessed */
	struct store_span *places; /* of old's units */
	const struct store_px *image; /* what the delta is to; NULL: zeros */
	struct store_manifest_region *m;
	struct store_layout_region *l;
};

/* Bytes of the source at offset, zeros behind its end. len a multiple of units. */
static int fetch(
	const struct put *p, uint64_t offset, size_t len, uint8_t *to, struct volt_err *err)
{
	const struct store_region *r = p->r;
	size_t have = (size_t)MIN(len, r->size - offset), done = 0;

	if (r->mem) {
		memcpy(to, (const uint8_t *)r->mem + offset, have);
		done = have;
	}
	while (done < have) {
		ssize_t n = p->s->sys->pread(
			r->fd, to + done, have - done, (off_t)(r->fd_offset + offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return volt_err_set(err, errno, "read the source at byte %ju: %m",
				(uintmax_t)(r->fd_offset + offset + done));
		if (n == 0)
			break;
		done += (size_t)n;
	}
	memset(to + done, 0, len - done);
	return 0;
}

/* First unit from unit on that may have data: holes of a file are passed over. */
static uint64_t next_data(const struct put *p, uint64_t unit)
{
	const struct store_region *r = p->r;
	off_t at;

	if (r->mem)
		return unit;
	at = lseek(r->fd, (off_t)(r->fd_offset + (unit << p->log2)), SEEK_DATA);
	if (at < 0)
		return errno == ENXIO ? p->units : unit;
	return MAX(unit, MIN(((uint64_t)at - r->fd_offset) >> p->log2, p->units));
}

/* The runs as units: the one that ends behind unit, or the first after it. n 0: no more. */
struct units {
	uint64_t unit, n;
};

static struct units run_from(const struct put *p, uint64_t unit)
{
	const struct store_region *r = p->r;
	uint64_t mask = (UINT64_C(1) << p->log2) - 1;
	size_t low = 0, high = r->n_runs;

	if (!r->runs)
		return (struct units){ unit, p->units - unit };
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if ((r->runs[mid].offset + r->runs[mid].bytes + mask) >> p->log2 <= unit)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == r->n_runs || unit >= p->units)
		return (struct units){ p->units, 0 };
	unit = MAX(unit, r->runs[low].offset >> p->log2);
	return (struct units){ unit,
		((r->runs[low].offset + r->runs[low].bytes + mask) >> p->log2) - unit };
}

/* ---- A new image ---- */

/* All content of units [u, u + n): of the base outside of the runs, of the source inside. */
static int fetch_all(struct put *p, uint64_t u, size_t n, uint8_t *to, struct volt_err *err)
{
	struct units run;
	bool any;
	int r;

	if (!p->r->runs)
		return fetch(p, u << p->log2, n << p->log2, to, err);
	r = store_plan_read(p->plan, p->region, u, n, to, &any, err);
	for (uint64_t at = u; r == 0 && at < u + n; at = run.unit + run.n) {
		run = run_from(p, at);
		if (run.n == 0 || run.unit >= u + n)
			break;
		run.n = MIN(run.n, u + n - run.unit);
		r = fetch(p, run.unit << p->log2, run.n << p->log2,
			to + ((run.unit - u) << p->log2), err);
	}
	return r;
}

static int put_image(struct put *p, struct volt_err *err)
{
	struct store_image im;
	const struct store_px *px;
	uint64_t chunk = STORE_CHUNK >> p->log2, n;
	int r = store_image_begin(&im, p->s, p->r->kind, p->r->size, err);

	for (uint64_t u = 0; r == 0 && u < p->units; u += n) {
		uint64_t from = p->r->runs ? u : next_data(p, u);

		store_tell(p->s, (from - u) << p->log2);
		u = from;
		n = MIN(chunk, p->units - u);
		if (n == 0)
			break;
		r = fetch_all(p, u, (size_t)n, p->s->chunk, err);
		if (r == 0)
			r = store_image_add(&im, u, p->s->chunk, (size_t)n, err);
		store_tell(p->s, n << p->log2);
	}
	if (r == 0 && im.px.n) {
		r = store_image_end(&im, &px, err);
		if (r == 0) {
			p->m->image = px->image;
			p->l->base = px->number;
		}
	}
	store_image_done(&im);
	return r;
}

/* ---- A delta ---- */

/* The image's hash of the unit; NULL: zeros there. *at goes on with ascending units. */
static const struct store_id *image_hash(const struct put *p, uint64_t unit)
{
	const struct store_entry *e =
		!p->image ? NULL : store_px_at(p->image, (uint32_t)(unit << (p->log2 - 12)));

	return e ? &e->hash : NULL;
}

static int keep_old(struct put *p, size_t from, size_t to, struct volt_err *err)
{
	int r = 0;

	for (size_t i = from; r == 0 && i < to; i++)
		r = store_txn_unit_at(p->m, p->l, p->old->delta[i].unit, &p->old->delta[i].hash,
			p->places[i].pack, p->places[i].off4k, err);
	return r;
}

struct stretch { /* units that have to be stored, one after the other */
	uint64_t unit;
	size_t n, at; /* at: its first in the chunk */
	struct store_id hash[CHUNK_UNITS];
	struct store_span near[CHUNK_UNITS];
};

static int flush(struct put *p, struct stretch *st, struct volt_err *err)
{
	int r = 0;

	if (st->n)
		r = store_txn_units(p->t, p->m, p->l, (uint32_t)st->unit,
			p->s->chunk + (st->at << p->log2), st->hash, st->near, st->n, err);
	st->n = 0;
	return r;
}

static struct store_span old_place(const struct put *p, uint64_t unit)
{
	size_t i = p->old ? store_delta_find(p->old->delta, p->old->n, unit) : 0;

	if (p->old && i < p->old->n && p->old->delta[i].unit == unit)
		return p->places[i];
	return (struct store_span){ .pack = STORE_NO_PACK };
}

/* n units from unit on, which stand in the store's chunk. */
static int put_chunk(
	struct put *p, struct stretch *st, uint64_t unit, size_t n, struct volt_err *err)
{
	static const struct store_id zero;
	size_t bytes = (size_t)1 << p->log2;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct store_id *has = image_hash(p, unit + i);
		struct store_id hash = zero;

		if (!store_zero(p->s->chunk + i * bytes, bytes)) {
			if (store_hash(p->s->hasher, p->s->chunk + i * bytes, bytes, &hash) < 0)
				return volt_err_set(err, ENOMEM, "SHA-256 failed");
			if (!has || !store_id_same(has, &hash)) {
				if (st->n == 0) {
					st->unit = unit + i;
					st->at = i;
				}
				st->near[st->n] = old_place(p, unit + i);
				st->hash[st->n++] = hash;
				continue;
			}
			has = NULL; /* as in the image */
		}
		r = flush(p, st, err);
		if (r == 0 && has) /* zeros now */
			r = store_txn_unit_at(
				p->m, p->l, (uint32_t)(unit + i), &zero, STORE_NO_PACK, 0, err);
	}
	return r < 0 ? r : flush(p, st, err);
}

static bool too_much(const struct put *p)
{
	return p->l->n > STORE_SPANS_MAX || p->m->n > MAX(p->units / 4, STORE_DELTA_FLOOR);
}

static int put_run(struct put *p, struct stretch *st, const struct units *run, struct volt_err *err)
{
	uint64_t end = run->unit + run->n, n;
	int r = 0;

	for (uint64_t u = run->unit; r == 0 && u < end && !too_much(p); u += n) {
		n = MIN(end - u, (uint64_t)STORE_CHUNK >> p->log2);
		r = fetch(p, u << p->log2, n << p->log2, p->s->chunk, err);
		if (r == 0)
			r = put_chunk(p, st, u, n, err);
		store_tell(p->s, n << p->log2);
	}
	return r;
}

static int put_delta(struct put *p, struct volt_err *err)
{
	struct stretch *st = calloc(1, sizeof(*st));
	size_t n_old = p->old ? p->old->n : 0, i = 0;
	int r = st ? 0 : volt_err_set(err, ENOMEM, "no memory for a chunk");
	struct units run;

	for (uint64_t u = 0; r == 0 && u < p->units && !too_much(p); u = run.unit + run.n) {
		size_t to;

		run = run_from(p, u);
		to = run.n ? store_delta_find(p->old ? p->old->delta : NULL, n_old, run.unit)
			   : n_old;
		r = keep_old(p, i, to, err);
		if (r == 0 && run.n)
			r = put_run(p, st, &run, err);
		if (run.n == 0)
			break;
		i = store_delta_find(p->old ? p->old->delta : NULL, n_old, run.unit + run.n);
	}
	free(st);
	return r;
}

/* ---- What it is put as ---- */

/* How many of the samples are as in that image. */
static int compare(struct put *p, const struct store_px *px, bool *ret_same, struct volt_err *err)
{
	size_t n = MIN(px->n, SAMPLES), same = 0, bytes = (size_t)1 << p->log2;
	struct store_id hash;

	for (size_t i = 0; i < n; i++) {
		const struct store_entry *e = &px->entries[i * px->n / n];
		int r = fetch(p, (uint64_t)e->off4k * STORE_PAGE, bytes, p->s->chunk, err);

		if (r < 0)
			return r;
		if (store_zero(p->s->chunk, bytes))
			continue;
		if (store_hash(p->s->hasher, p->s->chunk, bytes, &hash) < 0)
			return volt_err_set(err, ENOMEM, "SHA-256 failed");
		same += store_id_same(&hash, &e->hash);
	}
	*ret_same = n >= SAMPLES_MIN && same * 2 >= n;
	return 0;
}

/* A region of which half is as in an image that is there is most likely a copy of it. */
static int guess(struct put *p, struct volt_err *err)
{
	const struct store_index *x = &p->s->index;
	int r = 0;

	for (size_t i = x->n; r == 0 && i-- > 0 && !p->image;) {
		bool same = false;

		if (x->px[i]->flat && x->px[i]->trusted && x->px[i]->kind == p->r->kind &&
			x->px[i]->size == p->r->size)
			r = compare(p, x->px[i], &same, err);
		if (same)
			p->image = x->px[i];
	}
	return r;
}

static int find_base(struct put *p, struct volt_err *err)
{
	const struct store_region *r = p->r;
	int at = -1, e = 0;

	if (r->base)
		e = store_plan_open(p->s, r->base, &p->plan, err);
	if (e < 0)
		return e;
	if (p->plan)
		at = store_plan_index(p->plan, r->kind, r->number);
	if (at >= 0 && store_plan_at(p->plan, (size_t)at)->size != r->size)
		at = -1;
	if (at < 0 && r->runs)
		return volt_err_set(err, EINVAL,
			"region %u: the base has no such region of %ju bytes", r->number,
			(uintmax_t)r->size);
	if (at < 0)
		return guess(p, err);
	p->region = (unsigned)at;
	p->old = &store_plan_manifest(p->plan)->regions[at];
	if (!store_id_is_zero(&p->old->image)) { /* the index is loaded: no need to read it again */
		p->image = store_index_image(&p->s->index, &p->old->image);
		if (!p->image)
			return volt_err_set(err, EBADMSG,
				"region %u: the index of the base's image is damaged", r->number);
	}
	return store_plan_places(p->plan, p->region, &p->places, err);
}

static int check(const struct store_region *r, struct volt_err *err)
{
	if ((r->kind != STORE_MEMORY && r->kind != STORE_DISK) || r->size < 1 ||
		r->size > STORE_SIZE_MAX)
		return volt_err_set(err, EINVAL, "region %u: kind %u of %ju bytes cannot be stored",
			r->number, r->kind, (uintmax_t)r->size);
	for (size_t i = 0; r->runs && i < r->n_runs; i++)
		if (r->runs[i].bytes < 1 || r->runs[i].offset >= r->size ||
			r->runs[i].bytes > r->size - r->runs[i].offset ||
			(i && r->runs[i - 1].offset + r->runs[i - 1].bytes > r->runs[i].offset))
			return volt_err_set(err, EINVAL,
				"region %u: run %zu is outside of it or out "
				"of order",
				r->number, i);
	return 0;
}

static int put(struct put *p, struct volt_err *err)
{
	struct store_log_mark mark = store_log_mark(p->s);
	int r;

	p->m = store_txn_region(p->t, p->r->kind, p->r->number, p->r->size, &p->l, err);
	if (!p->m)
		return -err->code;
	r = find_base(p, err);
	if (r == 0 && (p->image || p->old)) {
		if (p->image) {
			p->m->image = p->image->image;
			p->l->base = p->image->number;
		}
		r = put_delta(p, err);
		if (r < 0 || !too_much(p))
			return r;
		store_log_rollback(p->s, &mark);
		p->m->image = (struct store_id){ { 0 } };
		p->l->base = STORE_NO_PACK;
		p->m->n = p->l->n = 0;
	}
	return r < 0 ? r : put_image(p, err);
}

int store_put_region(struct store_txn *t, const struct store_region *r, struct volt_err *err)
{
	struct volt_err own = { 0 }, *e = err ? err : &own;
	struct put p = { .t = t, .s = t->s, .r = r };
	int code = t->failed ? volt_err_set(e, EINVAL, "the transaction has failed before")
			     : check(r, e);

	if (code == 0) {
		p.log2 = store_kind_unit_log2(r->kind);
		p.units = ((r->size - 1) >> p.log2) + 1;
		code = put(&p, e);
	}
	free(p.places);
	store_plan_close(p.plan);
	t->failed |= code < 0;
	return code;
}
