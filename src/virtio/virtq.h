/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split virtqueue (virtio 1.2, section 2.7), device side.
 *
 * THEORY OF OPERATION
 *
 * A queue is three areas in guest memory, all little-endian, for `size` (a power of two) entries:
 *
 *	descriptors	size x { u64 gpa; u32 len; u16 flags; u16 next }	the driver writes
 *	available ring	u16 flags, idx, ring[size], used_event			the driver writes
 *	used ring	u16 flags, idx, { u32 id, len } ring[size], avail_event	the device writes
 *
 * A request is a chain of descriptors: first the ones the device reads, then the ones it writes. A
 * descriptor with INDIRECT points to a table of more of them. The driver puts the index of the
 * first descriptor, the head, into ring[idx % size] of the available ring and increments idx; the
 * device answers with the head and the number of bytes written in the used ring. The indices run
 * freely and wrap at 2^16, so every comparison is made on a 16-bit difference:
 *
 *	     next_used        next_avail            avail idx
 *	---------+----------------+---------------------+-------->
 *	  used   |   in flight    |    not yet looked at |
 *	         |<------------- at most size ---------->|
 *
 * Who wakes whom. Without EVENT_IDX each side has a flag "do not tell me". With it, each side names
 * the index at which it wants to be told: used_event by the driver, avail_event by the device.
 * Telling is a race between "I publish an index, then look whether you want to know" and "I say I
 * want to know, then look at the index", which is safe only with a full barrier between the two
 * halves on both sides. So a device that has found the queue empty calls virtq_kicks_on(), which
 * looks again, and goes on if it says so; virtq_should_notify() has the other half. While a device
 * drains a queue, kicks are off.
 *
 * Trust. The driver may be hostile, and writes while we look. Each index and each descriptor is
 * copied once and judged on the copy. Ring addresses are checked by virtq_configure() and are live
 * only after it. virtq_pop() answers a driver that broke the protocol with -EBADMSG and one that
 * named memory which does not exist with -EFAULT; the device then stops until the driver resets it.
 * A walk is bounded by the queue size, so a loop of descriptors ends.
 *
 * Thread: whoever holds the device's lock. The state is plain numbers.
 */
#ifndef VOLT_VIRTQ_H
#define VOLT_VIRTQ_H

#include <stdbool.h>
#include <sys/uio.h>

#include "compiler.h"
#include "gmem.h"
#include "limit.h"

/* Feature bits, virtio 1.2 section 6. */
#define VIRTQ_F_INDIRECT  28
#define VIRTQ_F_EVENT_IDX 29

struct virtq {
	const struct gmem *mem; /* borrowed for the life of the queue */
	uint16_t size_max;

	/* As the driver wrote it; means nothing before virtq_configure(). */
	uint16_t size;
	bool ready;
	uint64_t desc_gpa, avail_gpa, used_gpa;

	/* Set by virtq_configure(). */
	bool live, event_idx, indirect;

	uint16_t next_avail; /* the next entry of the available ring to take */
	uint16_t next_used;  /* the next entry of the used ring to fill */
	uint16_t signalled;  /* next_used at the last look at used_event */
	bool signalled_valid; /* false: the next completion interrupts in any case */
	bool kicks_off;	     /* NO_NOTIFY is set in the used ring */
};

/* One request: what the device reads (out) comes first in segs, what it writes (in) behind it. */
struct virtq_chain {
	uint16_t head;
	unsigned n_out, n_in;	  /* segments; empty descriptors are left out */
	uint64_t out_len, in_len; /* bytes; together at most UINT32_MAX */
	const char *fault;	  /* after an error of virtq_pop(): what the driver did wrong */
	struct iovec segs[LIMIT_SEGS];
};

enum virtq_dir { VIRTQ_OUT, VIRTQ_IN };

/* size_max: a power of two, at most 32768. The queue starts as after virtq_reset(). */
void virtq_init(struct virtq *q, const struct gmem *mem, uint16_t size_max);

/* Forgets what the driver wrote and all progress. Guest memory, size_max: stay. */
void virtq_reset(struct virtq *q);

/*
 * Brings a ready queue to life: size a power of two, areas aligned to 16, 2 and 4 and inside RAM.
 * `features` are the negotiated ones. 0, or -EINVAL, -EFAULT with the queue still dead.
 */
int virtq_configure(struct virtq *q, uint64_t features) MUST_CHECK;

/*
 * Takes the next request. 1: taken, *c is filled and a virtq_push() of c->head is owed; 0: none, or
 * the queue is not live; -EBADMSG, -EFAULT: nothing is taken, c->fault says why.
 */
int virtq_pop(struct virtq *q, struct virtq_chain *c) MUST_CHECK;

/*
 * Takes back the last n calls of virtq_pop(), whose requests were not used: they will be popped,
 * and judged, again. None of them may have been pushed.
 */
void virtq_unpop(struct virtq *q, unsigned n);

/*
 * Gives a request back: len bytes were written from the start of its in part. In any order. A dead
 * queue swallows it. -EFAULT cannot happen on a configured queue.
 */
int virtq_push(struct virtq *q, uint16_t head, uint32_t len) MUST_CHECK;

/* One entry of the used ring. */
struct virtq_used {
	uint16_t head;
	uint32_t len;
};

/*
 * Gives n requests back at once: the driver sees all of them or none, as the buffers of one merged
 * network frame must be. n is at most what is in flight.
 */
int virtq_push_many(struct virtq *q, const struct virtq_used *used, unsigned n) MUST_CHECK;

/* True if the driver wants an interrupt for what was pushed since the last call. */
bool virtq_should_notify(struct virtq *q);

/* Asks the driver not to kick; only a hint, kicks may still come. */
void virtq_kicks_off(struct virtq *q);
/* Asks for kicks again. True if a request came meanwhile: then pop again, no kick need follow. */
bool virtq_kicks_on(struct virtq *q) MUST_CHECK;

/*
 * The three areas of a live queue as the kernel is told of them: descriptors, available, used ring.
 */
int virtq_areas(const struct virtq *q, struct iovec ret[3]) MUST_CHECK;

/*
 * The kernel has served the queue meanwhile: it took the entries up to `next_avail` and has given
 * all of them back.
 */
void virtq_resume(struct virtq *q, uint16_t next_avail);

struct state;

/*
 * Machine state: what the driver wrote, and how far we are. Nothing may be in flight. Loaded, the
 * queue is dead: virtq_configure() checks its addresses, then the next completion interrupts in any
 * case, and kicks are on when the device has looked.
 */
void virtq_state(struct virtq *q, struct state *s);

/* Requests taken and not yet given back. */
static inline uint16_t virtq_in_flight(const struct virtq *q)
{
	return (uint16_t)(q->next_avail - q->next_used);
}

/* Requests that are available and were not taken: what the driver says, at most size. */
uint16_t virtq_waiting(const struct virtq *q);

/* Copies len bytes out of the out part, from byte `off` of it; false if it is shorter. */
bool virtq_read(const struct virtq_chain *c, uint64_t off, void *dst, size_t len) MUST_CHECK;
/* Copies len bytes into the in part; false, and nothing is written, if it is shorter. */
bool virtq_write(const struct virtq_chain *c, uint64_t off, const void *src, size_t len) MUST_CHECK;

/*
 * Bytes [off, off + len) of one part, as arguments of a system call. ret has room for LIMIT_SEGS.
 * Returns the number of entries; the range must be inside the part (0 otherwise, or if len is 0).
 */
unsigned virtq_slice(const struct virtq_chain *c, enum virtq_dir dir, uint64_t off, uint64_t len,
	struct iovec *ret);

#endif
