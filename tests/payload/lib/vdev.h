/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small virtio-mmio driver (virtio 1.2, sections 2.7 and 4.2). It is meant to be easy to abuse:
 * hostile payloads reach into the rings directly.
 */
#ifndef PAYLOAD_VDEV_H
#define PAYLOAD_VDEV_H

#include "payload.h"

#define REG_MAGIC	  0x000
#define REG_VERSION	  0x004
#define REG_DEVICE_ID	  0x008
#define REG_FEATURES	  0x010
#define REG_FEATURES_SEL  0x014
#define REG_DRIVER	  0x020
#define REG_DRIVER_SEL	  0x024
#define REG_QUEUE_SEL	  0x030
#define REG_QUEUE_MAX	  0x034
#define REG_QUEUE_NUM	  0x038
#define REG_QUEUE_READY	  0x044
#define REG_NOTIFY	  0x050
#define REG_IRQ_STATUS	  0x060
#define REG_IRQ_ACK	  0x064
#define REG_STATUS	  0x070
#define REG_QUEUE_DESC	  0x080
#define REG_QUEUE_DRIVER  0x090
#define REG_QUEUE_DEVICE  0x0a0
#define REG_GENERATION	  0x0fc
#define REG_CONFIG	  0x100

#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER	   2
#define STATUS_DRIVER_OK   4
#define STATUS_FEATURES_OK 8
#define STATUS_NEEDS_RESET 0x40

#define F_INDIRECT  (UINT64_C(1) << 28)
#define F_EVENT_IDX (UINT64_C(1) << 29)
#define F_VERSION_1 (UINT64_C(1) << 32)

#define DESC_NEXT     1
#define DESC_WRITE    2
#define DESC_INDIRECT 4

#define RING_MAX 256

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct ring { /* the avail ring; used_event follows the entries of the negotiated size */
	uint16_t flags, idx, entries[RING_MAX + 1];
};

struct used {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} entries[RING_MAX];
	uint16_t avail_event[2];
};

struct vdev {
	uint64_t base;
	unsigned gsi;
	uint64_t features; /* negotiated */
};

struct virtq {
	struct vdev *dev;
	unsigned index, size;
	struct desc desc[RING_MAX] __attribute__((aligned(4096)));
	volatile struct ring avail __attribute__((aligned(4096)));
	volatile struct used used __attribute__((aligned(4096)));
	uint16_t next_desc, last_used;
};

struct seg {
	const void *p;
	uint32_t len;
	bool write; /* the device writes it */
};

/* Devices are in pages from 0xc0001000, GSIs from 5 on, or where mmio=, mmio.step=, gsi= say. */
void vdev_at(struct vdev *d, unsigned slot);
/* The n-th device of a kind (2: blk, 4: rng); fails the test if there is none. */
void vdev_find(struct vdev *d, uint32_t device_id, unsigned n);

void vdev_reset(struct vdev *d);
uint64_t vdev_offered(const struct vdev *d);
/* Up to FEATURES_OK: VERSION_1 and those of `wanted` that are offered. */
void vdev_negotiate(struct vdev *d, uint64_t wanted);
void vdev_ok(struct vdev *d);
uint32_t vdev_status(const struct vdev *d);
/* Waits for DEVICE_NEEDS_RESET. */
bool vdev_broken(const struct vdev *d);

/* Between FEATURES_OK and DRIVER_OK. size 0: the device's maximum. */
void virtq_init(struct virtq *q, struct vdev *d, unsigned index, unsigned size);
/* A chain of n segments, direct or through an indirect table; not yet visible. Returns its head. */
uint16_t virtq_add(struct virtq *q, const struct seg *segs, unsigned n);
uint16_t virtq_add_indirect(
	struct virtq *q, const struct seg *segs, unsigned n, struct desc *table);
void virtq_publish(struct virtq *q, uint16_t head);
void virtq_kick(struct virtq *q);
bool virtq_more(const struct virtq *q);
/* Waits for the next used entry; false: none came. */
bool virtq_wait(struct virtq *q, uint32_t *ret_head, uint32_t *ret_len);
volatile uint16_t *virtq_used_event(struct virtq *q);
volatile uint16_t *virtq_avail_event(struct virtq *q);

/* vblk.c */
#define BLK_IN		 0
#define BLK_OUT		 1
#define BLK_FLUSH	 4
#define BLK_GET_ID	 8
#define BLK_DISCARD	 11
#define BLK_WRITE_ZEROES 13

#define BLK_OK	   0
#define BLK_IOERR  1
#define BLK_UNSUPP 2

#define BLK_F_RO	   (UINT64_C(1) << 5)
#define BLK_F_FLUSH	   (UINT64_C(1) << 9)
#define BLK_F_MQ	   (UINT64_C(1) << 12)
#define BLK_F_DISCARD	   (UINT64_C(1) << 13)
#define BLK_F_WRITE_ZEROES (UINT64_C(1) << 14)

struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct blk {
	struct vdev dev;
	struct virtq *q; /* the queue in use */
	uint64_t sectors;
	/* What blk_do() has done and was answered well. */
	uint64_t reads, read_bytes, writes, written_bytes, flushes;
};

/* Reset, negotiate, one queue, DRIVER_OK. */
void blk_start(struct blk *b, struct virtq *q, uint64_t wanted);
/* One request of one data segment, polled; the status byte, or -1 if no answer came. */
int blk_do(struct blk *b, uint32_t type, uint64_t sector, void *data, uint32_t len);
/* Reads sector 0 .. 0 and its neighbour through the whole path; fails the test if that fails. */
void blk_must_work(struct blk *b, const char *when);
/* Content that depends on its place: 8 bytes a step. */
void blk_pattern(void *buf, uint32_t len, uint64_t sector, uint64_t salt);

#endif
