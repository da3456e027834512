/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two layers of a disk become one file that is the same as both. It has the upper one's id, so that
 * whatever lies on that lies on this, and it lies on what the lower one lies on.
 */
#ifndef VOLT_OVERLAY_MERGE_H
#define VOLT_OVERLAY_MERGE_H

#include <stdatomic.h>

#include "overlay.h"

/*
 * fd: an empty regular file, borrowed; it is a layer, and durable, only if this succeeds. Nobody
 * sets anything in the two layers meanwhile; they need not be synced. Any thread; blocks for as
 * long as it takes to copy what they hold. *stop, if there is one, set by another thread:
 * -ECANCELED.
 */
int overlay_merge(const struct overlay *upper, const struct overlay *lower, int fd,
	const atomic_bool *stop, struct volt_err *err);

#endif
