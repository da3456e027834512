/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the store share: its state, and files that appear whole or not at all. For the
 * store only; one thread.
 */
#ifndef VOLT_STORE_CORE_H
#define VOLT_STORE_CORE_H

#include "store-index.h"
#include "store.h"

#define STORE_CHUNK    (1u << 20) /* what is read or written at a time; a multiple of every unit */
#define STORE_UUID     16
#define STORE_NAME_MAX 80 /* bytes of a file name of ours, with the NUL */

struct store_log;

struct store {
	const struct store_sys *sys;
	char *path;
	uint8_t uuid[STORE_UUID];
	int rootfd, packsfd, manifestsfd, layoutsfd, refsfd, leasesfd, tmpfd; /* folders */
	int lockfd; /* -1: opened to read */
	bool broken; /* an fsync failed: what is in the page cache may not be on the disk */
	struct store_hasher *hasher;
	struct store_index index; /* loaded when it is first needed */
	struct store_log *log;
	uint32_t next_pack;
	unsigned next_tmp;
	struct store_txn *txn;
	uint8_t *chunk; /* STORE_CHUNK bytes, for whoever needs them and calls no other */
	struct store_progress progress;
	uint64_t done, total;
};

/* -EROFS, -EUCLEAN: nothing may be written. */
int store_check_writable(struct store *s, struct volt_err *err);
/* A call that makes data durable failed: nothing more is written by this process. */
int store_broke(struct store *s, int code, const char *what, struct volt_err *err);

void store_tell_total(struct store *s, uint64_t total);
void store_tell(struct store *s, uint64_t more);

/* A name in tmp/ that is not in use. name has room for STORE_NAME_MAX bytes. */
void store_tmp_name(struct store *s, char *name);
/*
 * Writes a file into tmp/, syncs it and renames it to name in dirfd. The folder is not yet synced.
 */
int store_file_put(struct store *s, int dirfd, const char *name, const void *data, size_t len,
	struct volt_err *err);
/* All of a file of at most max bytes; *ret_data is the caller's. -ENOENT without text. */
int store_file_get(struct store *s, int dirfd, const char *name, size_t max, void **ret_data,
	size_t *ret_len, struct volt_err *err);
int store_dir_sync(struct store *s, int dirfd, const char *what, struct volt_err *err);
/* Size of a file; -errno. */
int store_file_size(int fd, uint64_t *ret);
/* Bytes that it takes on the disk. */
uint64_t store_file_blocks(int dirfd, const char *name);

/* Names in a folder, sorted, without those that begin with a dot. */
struct store_names {
	size_t n;
	char **name;
};
int store_names_read(int dirfd, struct store_names *ret, struct volt_err *err);
void store_names_done(struct store_names *names);

/* "<id>.m" or "<id>.l"; name has room for STORE_NAME_MAX bytes. */
void store_id_name(const struct store_id *id, char ext, char *name);
/* The id of such a name. -EINVAL. */
int store_id_of_name(const char *name, char ext, struct store_id *ret);

/* A manifest with its layout, both owned; from the files, and the layout anew if it is not good. */
struct store_snapshot {
	struct store_id id;
	struct store_manifest manifest;
	struct store_layout layout;
};
int store_snapshot_open(struct store *s, const struct store_id *id, struct store_snapshot **ret,
	struct volt_err *err);
/* Only the manifest: checked against its name. */
int store_snapshot_manifest(struct store *s, const struct store_id *id, struct store_manifest *ret,
	size_t *ret_bytes, struct volt_err *err);
/* Writes manifest and layout, and syncs their folders. */
int store_snapshot_put(struct store *s, struct store_snapshot *snap, struct volt_err *err);
/* Makes the layout of a manifest from the indices. -EBADMSG: something is not in the store. */
int store_layout_place(struct store *s, const struct store_id *id, const struct store_manifest *m,
	struct store_layout *l, struct volt_err *err);
int store_layout_put(struct store *s, const struct store_layout *l, struct volt_err *err);
void store_snapshot_free(struct store_snapshot *snap);

/* Removes what a crash left in tmp/. */
int store_clear_tmp(struct store *s, struct volt_err *err);

/* Every lease that is in use. clear: the others are removed. The folder is the caller's to lock. */
int store_each_lease(struct store *s, bool clear,
	int (*each)(void *ctx, const char *name, const struct store_id *id), void *ctx,
	struct volt_err *err);

/* "ns/name" or "name" -> its parts, checked. */
struct store_ref {
	char ns[65], name[65];
};
int store_ref_parse(const char *text, struct store_ref *ret, struct volt_err *err);
/* Points ref to id: the commit point. */
int store_ref_put(struct store *s, const struct store_ref *ref, const struct store_id *id,
	struct volt_err *err);

#endif
