/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs and their indices as bytes and files. A pack (NUMBER.pk) holds nothing but units, its index
 * (NUMBER.px) an entry for each: both grow at the end only. A log holds what came one after the
 * other; an image holds one region, each unit at its own place, zeros as holes. An index whose last
 * entry is a seal is complete: only then others take its units for their own. For the store.
 */
#ifndef VOLT_STORE_PACK_H
#define VOLT_STORE_PACK_H

#include "store-core.h"

#define STORE_PACK_BYTES_MAX (UINT64_C(1) << 30) /* of a log */
#define STORE_PX_HEAD        64u
#define STORE_PX_ENTRY       48u

enum store_entry_kind {
	STORE_ENTRY_MEMORY = 1,
	STORE_ENTRY_DISK,
	STORE_ENTRY_BLOB,
	STORE_ENTRY_SEAL
};

struct store_entry {
	struct store_id hash;
	uint32_t off4k;
	uint32_t len; /* bytes */
	uint8_t kind; /* store_entry_kind */
};

/* An index in memory. */
struct store_px {
	uint32_t number;
	bool flat, sealed;
	bool trusted; /* new snapshots may refer to its units */
	enum store_kind kind; /* of an image */
	uint64_t size; /* of an image's region */
	struct store_id image; /* its id; zero: a log */
	size_t n;
	struct store_entry *entries; /* ascending places that do not overlap */
};

/* Bytes of the head, and of entry i of the pack with that number. */
void store_px_put_head(uint8_t *head, const struct store *s, const struct store_px *px);
void store_px_put_entry(uint8_t *p, uint32_t number, uint64_t i, const struct store_entry *e);
/*
 * Reads an index: the entries until the first that is no entry, which is where a crash ended it. In
 * a sealed one that is damage. px has to be given to store_px_done() in any case.
 */
int store_px_parse(const struct store *s, const uint8_t *data, size_t len, uint32_t number,
	struct store_px *px, struct volt_err *err);
int store_px_load(struct store *s, uint32_t number, struct store_px *px, struct volt_err *err);
void store_px_done(struct store_px *px);
/* The id of a sealed image, by the two ends of its index only. -EBADMSG: it is no image. */
int store_px_image(struct store *s, uint32_t number, struct store_id *ret, struct volt_err *err);

/* Bytes of the longest entry, at least 1. */
size_t store_px_longest(const struct store_px *px);
/* First byte behind the last entry. */
uint64_t store_px_end(const struct store_px *px);
/* The entry at that place, or NULL. */
const struct store_entry *store_px_at(const struct store_px *px, uint32_t off4k);

static inline uint64_t store_entry_span(const struct store_entry *e)
{
	return ALIGN_UP((uint64_t)e->len, STORE_PAGE);
}

/* "0000002a.pk"; ext is "pk" or "px". name has room for 16 bytes. */
void store_pack_name(uint32_t number, const char *ext, char *name);
/* The number of such a name, -1 if it is none. */
int64_t store_pack_number(const char *name, const char *ext);
/* Opens a pack to read. -ENOENT is for the caller to explain: err is not set then. */
int store_pack_open(struct store *s, uint32_t number, int *ret_fd, struct volt_err *err);

/* The id of an image: hash of what it is and of each unit's place and hash. */
int store_image_id(struct store_hasher *h, const struct store_px *px, struct store_id *ret);

/* ---- The log that this process writes ---- */

struct store_log {
	int pkfd, pxfd; /* -1: none */
	uint32_t number;
	uint64_t end, flushed; /* of the pack: with what is buffered, written */
	uint64_t px_end; /* of the index */
	uint64_t kept_end, kept_px_end; /* of what commits have made durable */
	size_t kept_n;
	uint8_t *buffer; /* of STORE_CHUNK bytes */
};

/* A unit at the end of the log; kind as of its entry. Known from now on, durable with the sync. */
int store_log_add(struct store *s, enum store_entry_kind kind, const void *data, size_t len,
	const struct store_id *hash, uint32_t *ret_pack, uint32_t *ret_off4k, struct volt_err *err);
/* Makes readable by pread what is buffered. */
int store_log_flush(struct store *s, struct volt_err *err);
/* Steps 1 and 2 of a commit: data, then index. */
int store_log_sync(struct store *s, struct volt_err *err);
/* Where the log is; and back to there, if nothing behind it was synced: else it is only waste. */
struct store_log_mark {
	uint32_t number;
	uint64_t end;
	size_t n;
};
struct store_log_mark store_log_mark(const struct store *s);
void store_log_rollback(struct store *s, const struct store_log_mark *mark);
/* What was added since the last sync that a commit followed is given up, and so is the pack. */
void store_log_drop(struct store *s);
/* A commit follows: what is synced stays. */
void store_log_keep(struct store *s);
/* Ends the pack with a seal. Best effort: without it others store its units again. */
void store_log_close(struct store *s);

/* ---- An image that is made ---- */

struct store_image {
	struct store *s;
	struct store_px px;
	size_t room;
	int fd;
	char pk[STORE_NAME_MAX], px_name[STORE_NAME_MAX]; /* in tmp/ */
};

int store_image_begin(struct store_image *im, struct store *s, enum store_kind kind, uint64_t size,
	struct volt_err *err);
/*
 * Units n from unit on, n * unit bytes at data; zeros are left out. Each unit's hash is computed.
 * Ascending.
 */
int store_image_add(
	struct store_image *im, uint64_t unit, const void *data, size_t n, struct volt_err *err);
/*
 * Durable, but for the name: a commit syncs the folder. Or there is one with the same content: then
 * that one. *ret is the store's.
 */
int store_image_end(struct store_image *im, const struct store_px **ret, struct volt_err *err);
/* Also after store_image_end(). */
void store_image_done(struct store_image *im);

#endif
