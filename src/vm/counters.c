/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters as JSON, see counters.h. A text is made in two steps: all values are taken, then
 * printed, so that a sum equals its parts, whatever is counted meanwhile.
 */
#include "counters.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "latency.h"

#define NUMBER_BYTES  20 /* of UINT64_MAX */
#define FRAME_BYTES   (sizeof("{\"utc_timestamp_ms\":}\n") + NUMBER_BYTES)
#define LATENCY_BYTES (sizeof("{\"min_us\":,\"max_us\":,\"sum_us\":}") + 2 * NUMBER_BYTES)

struct row {
	const char *name;
	enum counters_kind kind;
	const void *from[COUNTERS_FROM]; /* NULL ends them */
	uint64_t last;			 /* the value at the last text */
	uint64_t now, min_us, max_us;	 /* for this text; now is what is shown */
};

struct group {
	char *name; /* as JSON, with the quotes */
	const struct counters_field *fields; /* what it was made of at first */
	bool shown, sum;
	struct row *rows;
	size_t n;
};

struct counters {
	bool deltas, incomplete;
	struct group *groups;
	size_t n;
	size_t bytes; /* of the groups' text, at most */
};

struct counters *counters_new(bool deltas)
{
	struct counters *c = calloc(1, sizeof(*c));

	if (c)
		c->deltas = deltas;
	return c;
}

void counters_free(struct counters *c)
{
	for (size_t i = 0; c && i < c->n; i++) {
		free(c->groups[i].name);
		free(c->groups[i].rows);
	}
	if (c)
		free(c->groups);
	free(c);
}

/* -- putting together ------------------------------------------------------------------------ */

static struct group *new_group(struct counters *c, const char *name,
	const struct counters_field *fields, bool shown)
{
	struct group *all = realloc(c->groups, (c->n + 1) * sizeof(*all));
	json_t *text = json_string(name);

	if (all) {
		c->groups = all;
		all[c->n] = (struct group){ .fields = fields, .shown = shown };
		all[c->n].name = json_dumps(text, JSON_ENCODE_ANY);
	}
	json_decref(text);
	if (!all || !all[c->n].name)
		return NULL;
	c->bytes += strlen(all[c->n].name) + sizeof(",:{}");
	return &all[c->n++];
}

/* The group to add to; NULL: no memory. */
static struct group *group_of(struct counters *c, const char *name,
	const struct counters_field *fields, bool shown)
{
	struct group *last = c->n ? &c->groups[c->n - 1] : NULL;
	size_t len = strlen(name);

	if (last && !last->sum && shown && last->shown && strlen(last->name) == len + 2 &&
		memcmp(last->name + 1, name, len) == 0)
		return last;
	return new_group(c, name, fields, shown);
}

static void fill_row(struct row *row, const struct counters_field *f, const void *const objects[])
{
	size_t n = 0;

	*row = (struct row){ .name = f->name, .kind = f->kind };
	for (size_t i = 0; i < COUNTERS_FROM && f->from[i].object; i++) {
		const char *object = objects ? objects[f->from[i].object - 1] : NULL;

		if (object)
			row->from[n++] = object + f->from[i].offset;
	}
}

static bool fill(struct counters *c, struct group *g, const struct counters_field *fields, size_t n,
	const void *const objects[])
{
	struct row *rows = g ? realloc(g->rows, (g->n + n) * sizeof(*rows)) : NULL;

	if (!rows) {
		c->incomplete = true;
		return false;
	}
	g->rows = rows;
	for (size_t i = 0; i < n; i++) {
		fill_row(&rows[g->n++], &fields[i], objects);
		c->bytes += strlen(fields[i].name) + sizeof(",\"\":") + NUMBER_BYTES +
			(fields[i].kind == COUNTERS_LATENCY ? LATENCY_BYTES : 0);
	}
	return true;
}

void counters_add(struct counters *c, const char *group, const struct counters_field *fields,
	size_t n, const void *const objects[], bool shown)
{
	fill(c, group_of(c, group, fields, shown), fields, n, objects);
}

void counters_add_sum(struct counters *c, const char *group, const struct counters_field *fields,
	size_t n)
{
	struct group *g = new_group(c, group, fields, true);

	if (fill(c, g, fields, n, NULL))
		g->sum = true;
}

bool counters_complete(const struct counters *c)
{
	return !c->incomplete;
}

/* -- values ---------------------------------------------------------------------------------- */

static uint64_t load(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

static void take(struct row *row, bool deltas)
{
	uint64_t v = 0;

	if (row->kind == COUNTERS_LATENCY) {
		const struct latency *l = row->from[0];

		row->min_us = l ? load(&l->min_us) : 0;
		row->max_us = l ? load(&l->max_us) : 0;
		v = l ? load(&l->sum_us) : 0;
	} else {
		for (size_t i = 0; i < COUNTERS_FROM && row->from[i]; i++)
			v += load(row->from[i]);
	}
	row->now = deltas && row->kind != COUNTERS_STORED ? v - row->last : v;
	row->last = v;
}

static void merge(struct row *sum, const struct row *part, bool extremes)
{
	sum->now += part->now;
	if (!extremes)
		return;
	if (part->min_us && (!sum->min_us || part->min_us < sum->min_us))
		sum->min_us = part->min_us;
	sum->max_us = MAX(sum->max_us, part->max_us);
}

static void take_sum(struct counters *c, struct group *sum)
{
	for (size_t i = 0; i < sum->n; i++)
		sum->rows[i].now = sum->rows[i].min_us = sum->rows[i].max_us = 0;
	for (const struct group *g = c->groups; g < sum; g++)
		for (size_t i = 0; i < sum->n && g->fields == sum->fields && !g->sum; i++)
			merge(&sum->rows[i], &g->rows[i], !g->shown);
}

static void take_all(struct counters *c)
{
	for (struct group *g = c->groups; g < c->groups + c->n; g++) {
		for (size_t i = 0; i < g->n && !g->sum; i++)
			take(&g->rows[i], c->deltas);
		if (g->sum)
			take_sum(c, g);
	}
}

/* -- text; async-signal-safe ----------------------------------------------------------------- */

static char *put(char *to, const char *s)
{
	size_t n = strlen(s);

	memcpy(to, s, n);
	return to + n;
}

static char *put_number(char *to, uint64_t v)
{
	char digits[NUMBER_BYTES + 1];
	char *p = digits + NUMBER_BYTES;

	*p = '\0';
	do {
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	return put(to, p);
}

static char *put_row(char *to, const struct row *row)
{
	to = put(put(put(to, "\""), row->name), "\":");
	if (row->kind != COUNTERS_LATENCY)
		return put_number(to, row->now);
	to = put_number(put(to, "{\"min_us\":"), row->min_us);
	to = put_number(put(to, ",\"max_us\":"), row->max_us);
	to = put_number(put(to, ",\"sum_us\":"), row->now);
	return put(to, "}");
}

size_t counters_bytes(const struct counters *c, size_t more)
{
	return FRAME_BYTES + more + c->bytes;
}

size_t counters_text(struct counters *c, const char *more, char *buf)
{
	struct timespec ts;
	char *to;

	take_all(c);
	clock_gettime(CLOCK_REALTIME, &ts);
	to = put_number(put(buf, "{\"utc_timestamp_ms\":"),
		(uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000);
	to = put(to, more);
	for (const struct group *g = c->groups; g < c->groups + c->n; g++) {
		if (!g->shown)
			continue;
		to = put(put(put(to, ","), g->name), ":{");
		for (size_t i = 0; i < g->n; i++)
			to = put_row(i ? put(to, ",") : to, &g->rows[i]);
		to = put(to, "}");
	}
	to = put(to, "}\n");
	*to = '\0';
	return (size_t)(to - buf);
}
