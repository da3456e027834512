/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machine state in sections of named fields; docs/snapshot-format.md has the bytes.
 *
 * Every part of the machine has one function that visits its fields, whatever is done with them:
 *
 *	void foo_state(struct foo *f, struct state *s)
 *	{
 *		state_u8(s, "status", &f->status);
 *		state_u64(s, "address", &f->address);
 *		if (state_since(s, 2))
 *			state_u32(s, "limit", &f->limit);
 *		if (state_loading(s) && f->address % 4096)
 *			state_refuse(s, "address", "is not the start of a page");
 *	}
 *
 * STATE_SAVE appends what the fields are, STATE_LOAD puts what the file says into them, and
 * STATE_COMPARE changes nothing and tells the first field that differs from the file's.
 *
 * What a file says is as hostile as what a guest says. Whoever visits checks what is loaded before
 * the machine believes it (ranges, addresses, lengths), by state_refuse(). Errors stick: after the
 * first nothing is read or written any more and fields keep what they had, so a function may go
 * on to its end. Fields are found by their order; a name that is not the expected one is an
 * error. A name may come more than once in a section: an array is its elements, one by one.
 *
 * Memory: a struct state owns what it writes, borrows what it reads. One thread at a time. Reading
 * allocates in state_read() only, saving when it needs more room. Nothing is logged.
 */
#ifndef VOLT_STATE_H
#define VOLT_STATE_H

#include <stdbool.h>

#include "err.h"

#define STATE_BYTES_MAX	   (16u << 20) /* of a file */
#define STATE_SECTIONS_MAX 4096u
#define STATE_NAME_MAX	   31u /* of a section's type, or of a field: a-z 0-9 _ - . */

enum state_mode { STATE_SAVE, STATE_LOAD, STATE_COMPARE };

struct state;

/* An empty state to save into; -ENOMEM. */
int state_new(struct state **ret);
/*
 * A state to load from or to compare with. Checks header, lengths, names, table and checksums of
 * all of it: -EBADMSG and what is wrong where, -ENOTSUP for a newer version of the format. data
 * is borrowed until state_free().
 */
int state_read(const void *data, size_t len, enum state_mode mode, struct state **ret,
	struct volt_err *err);
void state_free(struct state *s);

/* After the last section was saved: the whole file, owned by s; or the first error. */
int state_finish(struct state *s, const void **ret_data, size_t *ret_len, struct volt_err *err);

/*
 * Begins a section. type and instance name it ("virtio-blk", 0); version is this program's, 1 or
 * more. When it is read: a section that is missing is an error, so is one of a newer version.
 */
void state_begin(struct state *s, const char *type, unsigned instance, unsigned version);
/* A field that was not visited is an error. */
void state_end(struct state *s);
/* Reading: there is such a section. */
bool state_has(const struct state *s, const char *type, unsigned instance);
/* Reading, at the end: every section was visited, or this is an error that names one. */
void state_done(struct state *s);

/* The fields of version n are there: in a file of version n or later, and in any that is saved. */
bool state_since(const struct state *s, unsigned n);
enum state_mode state_mode(const struct state *s);
static inline bool state_loading(const struct state *s)
{
	return state_mode(s) == STATE_LOAD;
}

void state_bool(struct state *s, const char *name, bool *v);
void state_u8(struct state *s, const char *name, uint8_t *v);
void state_u16(struct state *s, const char *name, uint16_t *v);
void state_u32(struct state *s, const char *name, uint32_t *v);
void state_u64(struct state *s, const char *name, uint64_t *v);
/* Exactly len bytes, as the processor or the kernel lays them out. */
void state_bytes(struct state *s, const char *name, void *data, size_t len);
/* *len of at most max bytes. */
void state_blob(struct state *s, const char *name, void *data, size_t *len, size_t max);
/* A string in a buffer of max + 1 bytes. */
void state_text(struct state *s, const char *name, char *text, size_t max);

/*
 * For a field that is not a plain member (an atomic, a bit-field) or has a limit: saves v; returns
 * what to set, which is v unless it was loaded. More than max is refused.
 */
uint64_t state_value(struct state *s, const char *name, uint64_t v, uint64_t max);

/*
 * What the machine was made with, which a file cannot change: if it says something else it is
 * refused, for then it is the state of another machine.
 */
void state_fixed(struct state *s, const char *name, uint64_t v);
void state_fixed_text(struct state *s, const char *name, const char *text);

/* What was loaded cannot be: "SECTION INSTANCE: FIELD: text". */
void state_refuse(struct state *s, const char *field, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* 0, or -EBADMSG and the first error; STATE_COMPARE: -EILSEQ and the first difference. */
int state_error(const struct state *s, struct volt_err *err);

/* Prints every section and field of any version, with what is wrong if something is. */
int state_print(const void *data, size_t len, void (*line)(void *ctx, const char *text), void *ctx,
	struct volt_err *err);

#endif
