/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON text from left to right: white space, words, strings, numbers, and values that nobody
 * wants. Where something is wrong, serde_json's words and place for it are in the fault; the first
 * fault stays. Functions return false after a fault. No state but the struct; any thread.
 */
#ifndef VOLT_SERDE_SCAN_H
#define VOLT_SERDE_SCAN_H

#include "serde-fault.h"

#define SERDE_EOF_VALUE	    "EOF while parsing a value"
#define SERDE_EOF_LIST	    "EOF while parsing a list"
#define SERDE_EOF_OBJECT    "EOF while parsing an object"
#define SERDE_NO_VALUE	    "expected value"
#define SERDE_NO_KEY	    "key must be a string"
#define SERDE_NO_LIST_END   "expected `,` or `]`"
#define SERDE_NO_OBJECT_END "expected `,` or `}`"

struct serde_scan {
	const char *text;
	size_t len, at; /* bytes in all, bytes read */
	unsigned depth; /* of open lists and objects; the caller's */
	struct serde_say say;
	/*
	 * Room for any string (decoded ones are not longer than the text) or number of the text,
	 * or for the brackets that are open in a value that is skipped.
	 */
	char *scratch;
};

enum serde_number_kind { SERDE_POSITIVE, SERDE_NEGATIVE, SERDE_REAL };

struct serde_number {
	enum serde_number_kind kind;
	uint64_t magnitude; /* of an integer */
	double real;	    /* finite */
};

bool serde_scan_init(struct serde_scan *s, const char *text, size_t len, struct serde_fault *fault);
void serde_scan_done(struct serde_scan *s);

/* Skips white space; the byte behind it, not read, or -1 at the end of the text. */
int serde_scan_peek(struct serde_scan *s);

/* A fault of what was read, and of the byte that comes next. Always false. */
bool serde_scan_fault(struct serde_scan *s, const char *what);
bool serde_scan_fault_next(struct serde_scan *s, const char *what);

/* null, true or false, as its first letter says, which comes next. */
bool serde_scan_word(struct serde_scan *s);
/* A digit or a minus sign comes next. */
bool serde_scan_number(struct serde_scan *s, struct serde_number *n);
/* A quote comes next. A new reference to a string, which has no zero byte; NULL after a fault. */
json_t *serde_scan_string(struct serde_scan *s);
/* The colon behind a key. */
bool serde_scan_colon(struct serde_scan *s);
/* Any value, of any depth, checked for its syntax only. */
bool serde_scan_skip(struct serde_scan *s);

/*
 * The faults of a value that is not the expected one: of a number that was read, and of whatever
 * comes next, whose first byte (or -1) is c. Always false.
 */
bool serde_scan_wrong_number(struct serde_scan *s, const struct serde_number *n, bool type_is_right,
	const char *expected);
bool serde_scan_wrong(struct serde_scan *s, int c, const char *expected);

#endif
