/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters by group and name, as one JSON object. The counters belong to devices; a set knows where
 * they are, by tables of fields. One set is Volt's own: everything, as it is. Another is
 * Firecracker's: its names, and of counters what came since the last text.
 *
 * Sets are put together by the building thread. A text may then be made by any one thread at a
 * time, also in a signal handler: that takes no lock and no memory.
 */
#ifndef VOLT_COUNTERS_H
#define VOLT_COUNTERS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "compiler.h"

enum counters_kind {
	COUNTERS_COUNT,	  /* _Atomic uint64_t that only grow */
	COUNTERS_STORED,  /* _Atomic uint64_t, always shown as it is */
	COUNTERS_LATENCY, /* one struct latency: {"min_us":, "max_us":, "sum_us":} */
};

#define COUNTERS_FROM 6

/* Where a counter is. */
struct counters_from {
	unsigned object; /* 1 is the first of the objects that counters_add() gets; 0: no counter */
	size_t offset;
};

/* The sum of some counters; of none it is 0. */
struct counters_field {
	const char *name; /* borrowed */
	enum counters_kind kind;
	struct counters_from from[COUNTERS_FROM]; /* up to one of no object */
};

struct counters;

/* NULL: no memory. deltas: see above. */
struct counters *counters_new(bool deltas);
void counters_free(struct counters *c); /* NULL is allowed */

/*
 * Adds a group, or adds to the group that was added last if the name is the same. What is not
 * shown is for a sum. objects are borrowed for the life of the set; one that is NULL, because there
 * is no such device, counts nothing. Without memory the group is missing, see counters_complete().
 */
void counters_add(struct counters *c, const char *group, const struct counters_field *fields,
	size_t n, const void *const objects[], bool shown);
/*
 * A group whose values are the sums of the groups with the same fields that were added before. Of a
 * latency that is the sum alone, the rest is 0, as Firecracker's clients expect it; unless the
 * parts are not shown.
 */
void counters_add_sum(struct counters *c, const char *group, const struct counters_field *fields,
	size_t n);
/* False: something could not be added for want of memory. */
bool counters_complete(const struct counters *c);

/* How long a text can be, with the NUL and `more` bytes of the caller's. */
size_t counters_bytes(const struct counters *c, size_t more);
/*
 * Writes `{"utc_timestamp_ms":N` and `more`, then the groups, "}" and a line feed into buf, which
 * has counters_bytes(). more: ",key:value" in JSON, or "". Returns the length.
 */
size_t counters_text(struct counters *c, const char *more, char *buf);

#endif
