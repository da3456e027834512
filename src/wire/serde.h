/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON text against the description of an object, with the faults that Firecracker's clients
 * know: the words, lines and columns of serde_json 1.0 and of derive(Deserialize). Jansson has
 * neither positions of values nor these words, so the text is read here; what comes out is a
 * jansson value. The text is from a client and may be anything. No state; any thread.
 *
 * Positions: lines from 1, columns are bytes read in the line, so that a fault found after the
 * last byte of a value has the column of that byte. Faults about a byte that is not read yet have
 * its column.
 *
 * As in Rust, an object may also be written as the list of its fields' values in their order, and a
 * name of an enum as {"NAME": null}.
 *
 * Other than in Rust:
 * - A string or key with U+0000 is a fault unless it is skipped: it could not be a C string.
 * - An integer from 2^63 to 2^64-1 is a fault: json_int_t is signed. (Larger ones are reals.)
 * - Reals are rounded exactly; serde_json is off in the last bit for some of 17 digits and more.
 * - In quoted strings only the usual invisible characters are escaped, not all that Rust escapes.
 * - A fault is cut to SERDE_FAULT_BYTES, but never its position.
 */
#ifndef VOLT_SERDE_H
#define VOLT_SERDE_H

#include <jansson.h>
#include <stdbool.h>

#include "compiler.h"

#define SERDE_DEPTH_MAX	  127 /* serde_json's recursion limit is 128 */
#define SERDE_FAULT_BYTES 512 /* a longer text is cut */
#define SERDE_FIELDS_MAX  64

enum serde_kind {
	SERDE_BOOL,
	SERDE_U8,
	SERDE_U16,
	SERDE_U32,
	SERDE_U64, /* up to 2^63-1 */
	SERDE_USIZE,
	SERDE_STRING,
	SERDE_PATH, /* a string too; only the fault differs */
	SERDE_IPV4, /* "169.254.169.254" */
	SERDE_ENUM,   /* one of `names` */
	SERDE_OBJECT, /* `object` */
	SERDE_LIST,   /* of `item` */
	SERDE_MAP,    /* of texts to texts; of equal keys the last counts */
	SERDE_ANY,    /* see serde_read_any() */
};

struct serde_object;

struct serde_type {
	enum serde_kind kind;
	const char *const *names;	   /* SERDE_ENUM: up to NULL */
	const struct serde_object *object; /* SERDE_OBJECT */
	const struct serde_type *item;	   /* SERDE_LIST */
	/* SERDE_STRING: NULL, or says what is wrong with the text; its NULL: nothing. */
	const char *(*judge)(const char *text);
};

struct serde_field {
	const char *name;
	struct serde_type type;
	bool required; /* else null is the same as absence, unless not_null */
	bool not_null; /* optional with a default, no Option<> in Rust: null is of the wrong type */
	bool ours;     /* not Firecracker's: it is taken, and not named in "expected one of" */
};

struct serde_object {
	const char *name; /* of the struct, for "expected struct NAME" */
	bool deny_unknown;
	const struct serde_field *fields; /* in the order of "expected one of" */
	size_t n_fields;		  /* up to SERDE_FIELDS_MAX */
};

struct serde_fault {
	char text[SERDE_FAULT_BYTES]; /* with " at line L column C" where serde_json has it */
};

/*
 * A new reference to an object that has the described fields that are present and not null, and,
 * unless deny_unknown, none of the others; or NULL and the fault. "out of memory" is a fault too.
 */
json_t *serde_read(const struct serde_object *o, const char *text, size_t len,
	struct serde_fault *fault) MUST_CHECK;

/*
 * Any value, as serde_json::Value reads it: of equal keys in one object the last counts. The keys
 * keep their order (Firecracker shows them sorted).
 */
json_t *serde_read_any(const char *text, size_t len, struct serde_fault *fault) MUST_CHECK;

#endif
