/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What anything with registers is: an ops table and a lock. A device embeds struct dev and finds
 * itself by container_of.
 *
 * Threads: read and write are called on a vCPU thread. The bus takes dev->lock around them, unless
 * the ops say that the device takes it itself (the virtio transport, whose interrupt status must
 * not wait behind a disk read). Callbacks on the loop thread take dev->lock too. Lock order: a
 * device's lock, then the IOAPIC's. A device never takes another device's lock.
 */
#ifndef VOLT_DEV_H
#define VOLT_DEV_H

#include <pthread.h>
#include <stdbool.h>

#include "compiler.h"

struct dev;

struct dev_ops {
	const char *name;
	bool locks_itself;
	/*
	 * off: from the start of the registered range; len: 1, 2, 4 or 8, and off + len is inside
	 * the range. data is zeroed before a read. A device cannot refuse: it ignores and counts.
	 */
	void (*read)(struct dev *d, uint64_t off, void *data, unsigned len);
	void (*write)(struct dev *d, uint64_t off, const void *data, unsigned len);
};

struct dev {
	const struct dev_ops *ops;
	pthread_mutex_t lock;
};

static inline void dev_init(struct dev *d, const struct dev_ops *ops)
{
	d->ops = ops;
	pthread_mutex_init(&d->lock, NULL);
}

static inline void dev_done(struct dev *d)
{
	pthread_mutex_destroy(&d->lock);
}

#endif
