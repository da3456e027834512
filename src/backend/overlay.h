/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One layer of a copy-on-write disk: a file with the blocks that differ from what is below it;
 * docs/overlay-format.md has the bytes. A block is at the same place in every layer, so the map
 * holds states and no addresses: two bits for each block, in memory as in the file.
 *
 *	OVERLAY_BELOW	not in this layer: look below
 *	OVERLAY_DATA	in this layer's file
 *	OVERLAY_ZERO	zeros, whatever is in this layer's file and below
 *
 * What was set is in the file only after overlay_sync(), which makes the blocks durable before the
 * map that speaks of them. So at every instant the file's map speaks of nothing that is not there;
 * it may be older than the one in memory. The caller writes blocks into the file, then sets them.
 *
 * The file is hostile: header, size and map are checked as a whole before anything is believed. One
 * thread at a time; no two writable at once for one file, which the caller's lock sees to.
 */
#ifndef VOLT_OVERLAY_H
#define VOLT_OVERLAY_H

#include <stdbool.h>

#include "err.h"

#define OVERLAY_ID_BYTES     16
#define OVERLAY_SHIFT_MIN    12
#define OVERLAY_SHIFT_MAX    16
#define OVERLAY_SHIFT	     12 /* of a new one: blocks of 4 KiB, see docs/adr/0018 */
#define OVERLAY_DISK_MAX     (4ull << 40) /* bytes: a map of 256 MiB */
#define OVERLAY_HEADER_BYTES 4096u

enum overlay_block { OVERLAY_BELOW = 0, OVERLAY_DATA = 1, OVERLAY_ZERO = 2 };

struct overlay {
	int fd; /* owned */
	bool writable;
	uint64_t disk_bytes; /* a multiple of 512 */
	unsigned shift;	     /* of a block: 4 KiB to 64 KiB */
	uint64_t n_blocks;   /* the last may reach beyond the disk */
	uint64_t data_at;    /* where block 0 is in the file */
	uint8_t id[OVERLAY_ID_BYTES];	 /* of what the disk is, seen from the top of this layer */
	uint8_t below[OVERLAY_ID_BYTES]; /* the id of the layer below; zeros: the base is below */
	uint8_t *map;	     /* owned; map_bytes */
	uint64_t map_bytes;  /* whole pages */
	uint8_t *stale;	     /* owned; for each page of the map: the file's is another */
	bool any_stale;
	bool unsynced; /* the caller's to set: blocks of the file were written */
	bool failed;   /* a sync failed: what the file holds is not known any more */
};

/*
 * Makes an empty layer in an empty regular file, durable when it returns. below: NULL for the base.
 * May be called again for what a crash left behind of it.
 */
int overlay_format(int fd, uint64_t disk_bytes, unsigned shift, const uint8_t *below,
	struct volt_err *err);

/*
 * A layer that comes into being in an empty regular file, which a crash leaves as none: it has
 * upper's id, and lies on what lower lies on. After the last overlay_set() overlay_publish() makes
 * it one, durably. fd is owned by the layer on success.
 */
int overlay_draft(int fd, const struct overlay *upper, const struct overlay *lower,
	struct overlay **ret, struct volt_err *err);
int overlay_publish(struct overlay *o);

/*
 * fd is owned by the layer on success. map: NULL, or a copy of overlay_map() of the one who has the
 * file open, in place of the file's, which may be older. -EBADMSG: it is no sound layer, -ENOTSUP:
 * of a newer version.
 */
int overlay_open(int fd, bool writable, const void *map, size_t map_len, struct overlay **ret,
	struct volt_err *err);
/* Syncs nothing. NULL is allowed. */
void overlay_close(struct overlay *o);

/* Block b and the number of those from it on, at most max > 0, that have the same state. */
uint64_t overlay_run(const struct overlay *o, uint64_t b, uint64_t max, enum overlay_block *ret);
/* [b, b + n) is inside; writable layers only. */
void overlay_set(struct overlay *o, uint64_t b, uint64_t n, enum overlay_block state);

/*
 * Everything that was written and set is durable. -errno: perhaps not; if the file's data is in
 * doubt, every later call fails too, and who writes must not go on.
 */
int overlay_sync(struct overlay *o);

/* The map as the file has it; borrowed, it changes with overlay_set(). */
const void *overlay_map(const struct overlay *o, size_t *ret_len);

/* Bytes of the file of a layer. */
uint64_t overlay_file_bytes(const struct overlay *o);

#endif
