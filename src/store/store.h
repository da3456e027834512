/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stellarium: snapshots of memory, disks and machine state in a folder, each thing once.
 * docs/store-format.md has the files, docs/adr/0015-stellarium.md the reasons.
 *
 * One process may write at a time (a lock), any number read without one. A snapshot is put in a
 * transaction: what store_commit() has returned 0 for is there after a crash, anything else has
 * changed nothing. A region is one image, which is one file to map, and the units that differ from
 * it; there are never more than these two layers, however many snapshots were made of each other.
 *
 * One thread at a time for a store and what was opened from it. Errors: -errno and err. -ENOENT: no
 * such snapshot; -EBUSY: another writer; -EBADMSG: damaged; -EROFS: opened to read; -EUCLEAN: an
 * earlier fsync failed, so that this store must be opened again before more is written.
 */
#ifndef VOLT_STORE_H
#define VOLT_STORE_H

#include "store-manifest.h"
#include "store-sys.h"

#define STORE_REF_MAX   129u /* "namespace/name", 64 bytes each */
#define STORE_NAMESPACE "default" /* of a name without one */
#define STORE_GRACE_S   3600 /* what nothing refers to is kept so long: its reader may be late */

struct store;
struct store_txn;
struct store_plan;

/* Called as long work goes on; total may grow. tell NULL: not. */
struct store_progress {
	void (*tell)(void *ctx, uint64_t done, uint64_t total);
	void *ctx;
};

/* Makes the folder a store. -EEXIST: there is a store, or a folder that is not empty. */
int store_create(const char *path, const struct store_sys *sys, struct volt_err *err);

enum store_open_mode { STORE_READ, STORE_WRITE };

/*
 * Opens a store; to write it also takes the lock and clears what a crash left in tmp/. sys is
 * borrowed for the store's life.
 */
int store_open(const char *path, enum store_open_mode mode, const struct store_sys *sys,
	struct store **ret, struct volt_err *err);
/* NULL: nothing. Gives up the lock, and an open transaction. */
void store_close(struct store *s);
void store_set_progress(struct store *s, const struct store_progress *p);
/* What the progress of put, copy and import is told against; 0: not known. */
void store_set_total(struct store *s, uint64_t total);

/* ---- Writing ---- */

struct store_run {
	uint64_t offset, bytes; /* in the region; rounded out to units */
};

struct store_region {
	enum store_kind kind;
	uint16_t number; /* of the region among those of its kind */
	uint64_t size; /* bytes */
	/*
	 * The content, which must not change meanwhile: at mem, or if that is NULL in fd from
	 * fd_offset on (a file that ends earlier goes on with zeros).
	 */
	const void *mem;
	int fd;
	uint64_t fd_offset;
	/*
	 * With runs, only these may differ from the region of the same kind and number and size in
	 * the snapshot base, and nothing else is read: ascending, not overlapping. Without, all of
	 * the content is read, and compared with the region of base, if there is such a one. base
	 * NULL: none; then an image that seems to be the same for the most part is used as one.
	 */
	const struct store_id *base;
	const struct store_run *runs;
	size_t n_runs;
};

/* One transaction at a time. It ends with store_commit() or store_abort(). */
int store_begin(struct store *s, struct store_txn **ret, struct volt_err *err);
/* After an error the transaction can only be aborted. */
int store_put_region(struct store_txn *t, const struct store_region *r, struct volt_err *err);
/* type: 1 the machine's state, others are free; 1..STORE_BLOB_MAX bytes. */
#define STORE_BLOB_STATE 1u
int store_put_blob(
	struct store_txn *t, uint32_t type, const void *data, size_t len, struct volt_err *err);
/*
 * Makes all of it durable under the name ref, in place of what had the name before. Frees t in any
 * case. After an error the name still means what it meant before, but for one: if the last fsync
 * failed, the text says that it may be the one or the other.
 */
int store_commit(
	struct store_txn *t, const char *ref, struct store_id *ret_id, struct volt_err *err);
void store_abort(struct store_txn *t);

/* Removes a name; what only it kept goes with the next store_gc(). */
int store_remove(struct store *s, const char *ref, struct volt_err *err);

/* ---- Reading ---- */

/* To be mapped in order: a later extent may lie over an earlier one. */
struct store_extent {
	uint64_t offset, bytes; /* in the region, of pages: the last may go beyond its size */
	int fd; /* the plan's; -1: zeros */
	uint64_t fd_offset; /* a multiple of STORE_PAGE */
};

struct store_plan_region {
	enum store_kind kind;
	uint16_t number;
	uint64_t size;
	size_t n;
	const struct store_extent *extents; /* the first covers all of the region */
};

/* ref -> id. */
int store_resolve(struct store *s, const char *ref, struct store_id *ret, struct volt_err *err);
/*
 * Opens a snapshot: its manifest, its layout and the packs that hold its units, which stay readable
 * until store_plan_close() whatever is removed meanwhile.
 */
int store_plan_open(
	struct store *s, const struct store_id *id, struct store_plan **ret, struct volt_err *err);
void store_plan_close(struct store_plan *p);
const struct store_manifest *store_plan_manifest(const struct store_plan *p);
size_t store_plan_count(const struct store_plan *p);
const struct store_plan_region *store_plan_at(const struct store_plan *p, size_t i);
/* NULL: there is none. */
const struct store_plan_region *store_plan_find(
	const struct store_plan *p, enum store_kind kind, unsigned number);
/* The blob, checked against its hash; *ret_data is the caller's to free. -ENOENT. */
int store_plan_blob(struct store_plan *p, uint32_t type, void **ret_data, size_t *ret_len,
	struct volt_err *err);
/*
 * Writes a region into an empty file, checking every unit against its hash. Zeros are holes.
 * -EBADMSG: a unit is damaged.
 */
int store_plan_copy(
	struct store_plan *p, const struct store_plan_region *r, int fd, struct volt_err *err);

/*
 * A lease keeps a snapshot from being collected while its fd is open in any process. -EROFS where
 * the store cannot be written; then only open plans protect it. Needs no lock.
 */
int store_lease(struct store *s, const struct store_id *id, int *ret_fd, struct volt_err *err);

/* Calls each() for every name, in order of the bytes; a result other than 0 ends it. */
int store_each_ref(struct store *s, int (*each)(void *ctx, const char *ref, int64_t mtime),
	void *ctx, struct volt_err *err);

/* ---- The whole store ---- */

struct store_stat {
	uint64_t refs, leases, manifests, packs, images;
	uint64_t region_bytes; /* of all names: what they would take as plain files */
	uint64_t live_bytes; /* units that a name, a lease or a young manifest needs, once each */
	uint64_t disk_bytes; /* that the packs take on the disk */
	uint64_t index_bytes, manifest_bytes;
};

int store_stat(struct store *s, struct store_stat *ret, struct volt_err *err);

/*
 * Reads everything and calls problem() with a line for each that is wrong. Returns how many there
 * were, or -errno if it could not go on.
 */
int store_verify(struct store *s, void (*problem)(void *ctx, const char *text), void *ctx,
	struct volt_err *err);

struct store_gc_result {
	uint64_t manifests, packs; /* removed */
	uint64_t freed_bytes; /* on the disk, less what was written anew */
	uint64_t moved_bytes;
};

/*
 * Removes what no name and no lease needs and is older than grace_s seconds. Changes nothing while
 * a name cannot be followed (-EBADMSG): then verify tells more.
 */
int store_gc(struct store *s, int64_t grace_s, struct store_gc_result *ret, struct volt_err *err);

/* One snapshot as one stream of bytes into fd, from its present offset on. */
int store_export(struct store *s, const struct store_id *id, int fd, struct volt_err *err);
/* Reads such a stream, checks all of it, and commits it under ref. */
int store_import(
	struct store *s, int fd, const char *ref, struct store_id *ret_id, struct volt_err *err);

#endif
