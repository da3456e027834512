/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk back end that writes beside its image: reads go to the first layer that has the block
 * and to the base if none has it, writes to the topmost layer. Requests are done at once, within
 * disk_submit(). The base is never written and must not change.
 *
 * To keep what the disk is at this moment, the topmost layer is frozen below a new, empty one: that
 * copies nothing and costs the same for any disk. Copies of the disk lay a new layer over the same
 * frozen ones. So that layers never become a chain, the two frozen ones are merged into one file
 * that takes their place while the guest runs (overlay-merge.h); before that there is no next
 * freeze. See docs/adr/0018-overlay-disk.md. Loop thread.
 */
#ifndef VOLT_DISK_OVERLAY_H
#define VOLT_DISK_OVERLAY_H

#include "disk.h"
#include "overlay.h"

#define DISK_OVERLAY_LAYERS 3 /* writable; frozen; the frozen one below that waits to be merged */

/*
 * layers: n of them, the topmost first; each lies on the next by its header, the last on the base.
 * The base has as many bytes as they say. basefd and layers are the disk's on success.
 */
int disk_overlay_create(int basefd, struct overlay *const *layers, unsigned n,
	const struct disk_params *params, struct disk **ret, struct volt_err *err);

/*
 * A disk of a base and one file over it, which may be empty: then it becomes a layer now. Both are
 * the disk's on success. -EINVAL: the file's layer lies on another one.
 */
int disk_overlay_open(int basefd, int fd, const struct disk_params *params, struct disk **ret,
	struct volt_err *err);

/* d was made by one of the above; so for all that follows. Layer i from the top; NULL behind. */
const struct overlay *disk_overlay_layer(const struct disk *d, unsigned i);

/*
 * Freezes the topmost layer below next, which is empty and lies on it, and is the disk's on
 * success. Calls nothing of the system. What was not flushed is not durable yet: the next flush
 * sees to it, or disk_overlay_sync(), which who makes clones or a snapshot calls before these are
 * to survive a power cut. -EBUSY: there are DISK_OVERLAY_LAYERS already. Nothing is in flight.
 */
int disk_overlay_freeze(struct disk *d, struct overlay *next, struct volt_err *err);

/* Makes all layers durable, as a flush does. */
int disk_overlay_sync(struct disk *d);

/*
 * merged is what overlay_merge() made of the two frozen layers: it takes their place, they are
 * closed. -EINVAL: it is something else.
 */
int disk_overlay_replace(struct disk *d, struct overlay *merged, struct volt_err *err);

#endif
