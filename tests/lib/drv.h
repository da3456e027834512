/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest driver in user space: it keeps its rings in a gmem and drives a virtio-mmio device
 * through its registers, as the bus would. It can also do everything wrong, entry by entry. Helpers
 * that set up what every test needs abort on failure; what a test is about is returned.
 */
#ifndef VOLT_DRV_H
#define VOLT_DRV_H

#include <stdbool.h>
#include <stdint.h>

#include "gmem.h"
#include "virtio.h"

#define DRV_NEXT     1u
#define DRV_WRITE    2u
#define DRV_INDIRECT 4u

struct dev;
struct loop;

struct drv_queue {
	uint16_t size;
	uint64_t desc, avail, used;
	uint16_t avail_idx, used_idx; /* what we have published, what we have seen */
	uint16_t next_desc;
};

struct drv {
	const struct gmem *mem;
	struct dev *dev;
	uint64_t heap, heap_start;
	struct drv_queue q[VIRTIO_QUEUES_MAX];
};

/* A part of a request; `in`: the device writes it. */
struct drv_buf {
	uint64_t gpa;
	uint32_t len;
	bool in;
};

/* heap: where in guest memory rings and buffers may be placed. */
void drv_init(struct drv *d, const struct gmem *mem, struct dev *dev, uint64_t heap);
/* Zeroed guest memory, aligned to 4 KiB. It is given back by drv_reset(). */
uint64_t drv_alloc(struct drv *d, size_t bytes);

uint32_t drv_get(struct drv *d, uint64_t off);
void drv_set(struct drv *d, uint64_t off, uint32_t v);
void drv_read(struct drv *d, uint64_t off, void *data, unsigned len);
void drv_write(struct drv *d, uint64_t off, const void *data, unsigned len);
uint32_t drv_status(struct drv *d);

/* Status 0, and forgets the rings. */
void drv_reset(struct drv *d);
/* ACKNOWLEDGE, DRIVER, `wanted` of what is offered and VERSION_1, FEATURES_OK. The status. */
uint32_t drv_negotiate(struct drv *d, uint64_t wanted);
/* Places a queue and makes it ready. */
void drv_queue(struct drv *d, unsigned q, uint16_t size);
/* All of it for queues 0..n_queues-1, up to DRIVER_OK. The status. */
uint32_t drv_start(struct drv *d, uint64_t wanted, unsigned n_queues, uint16_t size);

void drv_put16(const struct drv *d, uint64_t gpa, uint16_t v);
uint16_t drv_get16(const struct drv *d, uint64_t gpa);
void drv_put8(const struct drv *d, uint64_t gpa, uint8_t v);
uint8_t drv_get8(const struct drv *d, uint64_t gpa);
/* Entry i of the descriptor table at `table`. */
void drv_desc(const struct drv *d, uint64_t table, unsigned i, uint64_t gpa, uint32_t len,
	unsigned flags, unsigned next);
/* Puts a head into the available ring and publishes it. */
void drv_publish(struct drv *d, unsigned q, uint16_t head);

/* Chains bufs, publishes them; the head. */
uint16_t drv_add(struct drv *d, unsigned q, const struct drv_buf *bufs, unsigned n);
uint16_t drv_add_indirect(struct drv *d, unsigned q, const struct drv_buf *bufs, unsigned n);
void drv_kick(struct drv *d, unsigned q);
/* The next used entry, if there is one. */
bool drv_used(struct drv *d, unsigned q, uint32_t *ret_id, uint32_t *ret_len);

/* Dispatches what is ready in the loop until nothing is. */
void drv_poll(struct loop *l);
/* Dispatches until queue q has a used entry, at most 10 s; false: none. */
bool drv_wait(struct drv *d, struct loop *l, unsigned q, uint32_t *ret_id, uint32_t *ret_len);

#endif
