/* SPDX-License-Identifier: Apache-2.0 */
/* All indices in memory, see store-index.h. */
#include "store-index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "num.h"
#include "store-pack.h"

static size_t slot_of(const struct store_index *x, const struct store_id *hash)
{
	return (size_t)num_get_le64(hash->b) & (x->n_slots - 1);
}

static const struct store_entry *entry_of(
	const struct store_index *x, uint64_t slot, struct store_place *ret)
{
	ret->px = x->px[(slot - 1) >> 32];
	ret->i = (uint32_t)(slot - 1);
	return ret->i < ret->px->n ? &ret->px->entries[ret->i] : NULL; /* dropped */
}

static int grow(struct store_index *x, size_t want)
{
	uint64_t *old = x->slots;
	size_t n = x->n_slots, room = MAX(x->n_slots, 1024u);
	struct store_place place;

	while (room < want * 2)
		room *= 2;
	if (room == n)
		return 0;
	x->slots = calloc(room, sizeof(*x->slots));
	if (!x->slots) {
		x->slots = old;
		return -ENOMEM;
	}
	x->n_slots = room;
	x->used = 0;
	for (size_t i = 0; i < n; i++)
		if (old[i] && entry_of(x, old[i], &place))
			store_index_add(x, place.px, place.i);
	free(old);
	return 0;
}

int store_index_add(struct store_index *x, const struct store_px *px, size_t i)
{
	const struct store_id *hash = &px->entries[i].hash;
	struct store_place place;
	size_t at, number = x->n;

	if (x->used * 2 >= x->n_slots && grow(x, x->used + 1) < 0)
		return -ENOMEM;
	while (x->px[--number] != px)
		;
	for (at = slot_of(x, hash); x->slots[at]; at = (at + 1) & (x->n_slots - 1)) {
		const struct store_entry *e = entry_of(x, x->slots[at], &place);

		/* a place that others may refer to is not hidden by one that they may not */
		if (e && store_id_same(&e->hash, hash) && place.px->trusted <= px->trusted)
			break;
	}
	x->used += x->slots[at] == 0;
	x->slots[at] = ((uint64_t)number << 32 | (uint64_t)i) + 1;
	return 0;
}

bool store_index_find(const struct store_index *x, const struct store_id *hash, uint32_t len,
	bool any, struct store_place *ret)
{
	if (!x->n_slots)
		return false;
	for (size_t at = slot_of(x, hash); x->slots[at]; at = (at + 1) & (x->n_slots - 1)) {
		const struct store_entry *e = entry_of(x, x->slots[at], ret);

		if (e && e->len == len && store_id_same(&e->hash, hash) &&
			(any || ret->px->trusted))
			return true;
	}
	return false;
}

int store_index_add_px(struct store_index *x, struct store_px *px)
{
	if ((x->n & (x->n - 1)) == 0) {
		void *more = realloc(x->px, MAX(x->n * 2, 16u) * sizeof(*x->px));

		if (!more)
			return -ENOMEM;
		x->px = more;
	}
	x->px[x->n++] = px;
	return 0;
}

struct store_px *store_index_px(const struct store_index *x, uint32_t number)
{
	for (size_t i = x->n; i-- > 0;) /* the one that is wanted most is the last */
		if (x->px[i]->number == number)
			return x->px[i];
	return NULL;
}

const struct store_px *store_index_image(const struct store_index *x, const struct store_id *id)
{
	for (size_t i = 0; i < x->n; i++)
		if (x->px[i]->flat && store_id_same(&x->px[i]->image, id))
			return x->px[i];
	return NULL;
}

static int load(struct store *s, uint32_t number)
{
	struct store_index *x = &s->index;
	struct store_px *px = malloc(sizeof(*px));
	int r = px ? store_px_load(s, number, px, NULL) : -ENOMEM;

	if (r == 0)
		r = store_index_add_px(x, px);
	if (r < 0) { /* no good index: nothing refers to this pack, or a reader will say so */
		if (px)
			store_px_done(px);
		free(px);
		return r == -ENOMEM ? r : 0;
	}
	r = grow(x, x->used + px->n);
	for (size_t i = 0; r == 0 && i < px->n; i++)
		r = store_index_add(x, px, i);
	return r;
}

int store_index_load(struct store *s, struct volt_err *err)
{
	struct store_index *x = &s->index;
	struct store_names names = { 0 };
	int r;

	if (x->loaded)
		return 0;
	r = store_names_read(s->packsfd, &names, err);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < names.n; i++) {
		int64_t number = store_pack_number(names.name[i], "px");

		if (number >= 0)
			r = load(s, (uint32_t)number);
	}
	store_names_done(&names);
	if (r < 0) {
		store_index_done(x);
		return volt_err_set(err, -r, "no memory for the indices of the packs");
	}
	x->loaded = true;
	return 0;
}

void store_index_done(struct store_index *x)
{
	for (size_t i = 0; i < x->n; i++) {
		store_px_done(x->px[i]);
		free(x->px[i]);
	}
	free(x->px);
	free(x->slots);
	memset(x, 0, sizeof(*x));
}
