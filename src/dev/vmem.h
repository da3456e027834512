/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mem (virtio 1.2, section 5.15): memory that comes and goes in blocks. The guest plugs and
 * unplugs blocks of one region until as many are plugged as is wanted. Which blocks are plugged is
 * known to struct gmem, so that no device reaches one that is not; and KVM is told of a slot, a
 * number of blocks, only while one of them is plugged.
 *
 *	block	    unplugged, of a slot without others	    nobody reaches it
 *		    unplugged, of a slot with others	    a hostile guest reaches it, and has that
 *							    much more memory; so slots should not be
 *							    large
 *		    plugged				    memory
 *
 * Requests come on the loop thread. Any thread may read the counters.
 */
#ifndef VOLT_VMEM_H
#define VOLT_VMEM_H

#include <stdatomic.h>

#include "err.h"
#include "latency.h"

struct gmem;
struct virtio_dev;

struct vmem_params {
	const struct gmem *mem; /* has a region of blocks; borrowed */
	int vmfd;		/* borrowed */
	uint32_t first_slot;	/* KVM's number of the first slot; those from it on are ours */
	uint64_t slot_bytes;	/* a multiple of the block's size, a divisor of the region's */
	uint64_t wanted_bytes;	/* at first */
};

/* One kind of request. */
struct vmem_requests {
	_Atomic uint64_t count, fails; /* fails: answered by another word than ACK */
	_Atomic uint64_t bytes;
	struct latency latency;
};

struct vmem_counters {
	struct vmem_requests plug, unplug, unplug_all, state;
	_Atomic uint64_t unknown;	 /* requests of no kind that there is; answered by ERROR */
	_Atomic uint64_t malformed;	 /* too short, no room for the answer: the device fails */
	_Atomic uint64_t slots_attached, slots_detached;
	_Atomic uint64_t slot_fails;	 /* KVM refused one */
	_Atomic uint64_t discard_fails; /* unplugged memory that the host did not take back */
	_Atomic uint64_t activate_fails; /* drivers that would use what is not plugged */
};

struct vmem_status {
	uint64_t block_bytes, total_bytes, slot_bytes, plugged_bytes, wanted_bytes;
};

/* Building thread. No slot is attached yet, no block plugged. */
int vmem_create(const struct vmem_params *params, struct virtio_dev **ret, struct volt_err *err);

/*
 * v was made by vmem_create(), here and below. The guest is asked to have so much plugged. -EINVAL:
 * not a multiple of the block's size, or more than there is; -ENODEV: no driver is running. Loop
 * thread.
 */
int vmem_want(struct virtio_dev *v, uint64_t bytes) MUST_CHECK;

/* Loop thread. */
void vmem_status(struct virtio_dev *v, struct vmem_status *ret);

/* Any thread. */
const struct vmem_counters *vmem_counters(const struct virtio_dev *v);

#endif
