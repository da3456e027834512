/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every virtio device is (virtio 1.2, section 2): queues, features, status, and one way to
 * fail. A device embeds struct virtio_dev, finds itself by container_of and supplies struct
 * virtio_ops; a transport (vmmio.h) drives it through the functions below.
 *
 * Locks. The device has one lock, which belongs to the transport and is held around every call of
 * virtio_ops. Register accesses come on vCPU threads, kicks and completions on the loop thread;
 * code of a device that runs for another reason (a disk that is done) takes virtio_lock() itself.
 * The words that a driver polls (status, interrupt status, generation) are atomics and need no lock
 * to be read.
 *
 * Life of a device:
 *
 *	create --> [reset] -- negotiate, DRIVER_OK --> active -- broken protocol --> failed
 *	              ^                                  |                             |
 *	              +---------- virtio_reset() --------+-----------------------------+
 *
 * A data path in the kernel (vhost). A device may hand queues to the kernel: it borrows their
 * doorbells, tells the kernel where the rings are, and calls virtio_kernel_path(). From then on the
 * kernel raises the line by itself and nobody sets the interrupt status, so that "used" always
 * reads as set. Such a device holds a virtio_begin() for the time, so that a reset calls
 * ops->cancel, which ends it.
 *
 * A pause. While the VM stands still (vm-pause.c) a device takes no request and nothing from the
 * host: virtio_running() says no, whatever the reason for which its code runs. virtio_resume()
 * kicks every queue, so nothing that came meanwhile need be remembered. The driver is still there:
 * what is in flight may be given back, and virtio_alive() says yes.
 *
 * A reset stops new requests, waits until the loop thread has finished or cancelled those in
 * flight, then clears the state of the negotiation and of the queues and nothing else: guest memory
 * belongs to the VM, the back end to the device. So reset, negotiation and I/O may follow each
 * other any number of times.
 */
#ifndef VOLT_VIRTIO_H
#define VOLT_VIRTIO_H

#include <pthread.h>
#include <stdatomic.h>

#include <linux/virtio_config.h>

#include "limit.h"
#include "virtq.h"

#define VIRTIO_BIT(n) (UINT64_C(1) << (n))

/* ACCESS_PLATFORM is never offered: guests use plain guest-physical addresses, without an IOMMU. */
#define VIRTIO_COMMON_FEATURES                                                                     \
	(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTQ_F_EVENT_IDX) |                          \
		VIRTIO_BIT(VIRTQ_F_INDIRECT))

#define VIRTIO_QUEUES_MAX (2 * LIMIT_NET_PAIRS + 1)
#define VIRTIO_BATCH	  64 /* requests a kick may usually take before others have their turn */
#define VIRTIO_NAME_MAX	  72

#define VIRTIO_ISR_USED	  1u
#define VIRTIO_ISR_CONFIG 2u

struct state;
struct virtio_dev;

/* Every entry is present; see the virtio_no_*() functions. The device's lock is held. */
struct virtio_ops {
	const char *name;
	uint16_t id;	    /* virtio 1.2, section 5 */
	uint16_t queue_max; /* entries in each queue; a power of two */
	/* The configuration space as it is now; valid while the lock is held. */
	const void *(*config)(struct virtio_dev *v, size_t *ret_len);
	/*
	 * off + len is inside the configuration space. -EINVAL: not writable, ignored and counted.
	 */
	int (*config_write)(struct virtio_dev *v, size_t off, const void *data, size_t len);
	/* DRIVER_OK: features and queues are final. Negative: the device fails. vCPU thread. */
	int (*activate)(struct virtio_dev *v);
	/* Queue q may have requests; the device is running. Loop thread. Usually virtio_drain(). */
	void (*kick)(struct virtio_dev *v, unsigned q);
	/*
	 * A reset, or the end, waits for what is in flight, or the device has failed: give back now
	 * what may never be done by itself. Loop thread; also several times. virtio_no_cancel() if
	 * all requests end.
	 */
	void (*cancel)(struct virtio_dev *v);
	/*
	 * The VM is going to stand still; virtio_running() says no already. Ends by deadline_ns
	 * what is in flight in a back end, or a path in the kernel, and lets go of sources of the
	 * loop that would come again and again. Negative: that could not be; resume() follows in
	 * any case. Loop thread, no lock. Both may be NULL: there is nothing to do.
	 */
	int (*pause)(struct virtio_dev *v, uint64_t deadline_ns);
	/*
	 * It goes on: the queues have been kicked; looks again what the host has. Loop thread, no
	 * lock.
	 */
	void (*resume)(struct virtio_dev *v);
	/* Nothing is in flight. Forgets what this driver negotiated or configured; vCPU thread. */
	void (*reset)(struct virtio_dev *v);
	/*
	 * Machine state of this kind of device, behind that which every device has; paused. What
	 * is loaded comes to a new device, activated as its driver had it. NULL: there is nothing.
	 * Loop thread.
	 */
	void (*state)(struct virtio_dev *v, struct state *s);
	/* Frees the device. What is in flight in a back end has been waited for. No lock. */
	void (*destroy)(struct virtio_dev *v);
};

/* What the transport gives to its device. */
struct virtio_link {
	pthread_mutex_t *lock;
	/* Tells the driver to look at the interrupt status. */
	void (*interrupt)(struct virtio_link *link);
	/* Makes the loop thread call ops->kick(q) in a later round. Any thread. */
	void (*kick)(struct virtio_link *link, unsigned q);

	/* The rest is for data paths in the kernel. Loop thread, lock held. */

	/*
	 * The doorbell of queue q, an eventfd, which the loop stops to watch; borrowed until
	 * reclaim(). link->kick(q) goes on to work.
	 */
	int (*lend)(struct virtio_link *link, unsigned q);
	/*
	 * The loop watches the doorbell again, and is kicked if the device goes on: what was rung
	 * meanwhile is served.
	 */
	void (*reclaim)(struct virtio_link *link, unsigned q);
	/*
	 * An eventfd that raises the device's line within the kernel; owned by the transport. -1:
	 * none was asked for when the transport was made, so there can be no such data path.
	 */
	int callfd;
};

struct virtio_counters {
	_Atomic uint64_t kicks;	       /* that reached the device */
	_Atomic uint64_t stray_kicks;  /* for a queue that is not running, or that does not exist */
	_Atomic uint64_t empty_kicks;  /* a queue of requests had none when it was looked at */
	_Atomic uint64_t interrupts, config_interrupts;
	_Atomic uint64_t resets;
	_Atomic uint64_t bad_access;   /* registers: width, offset, value or moment was wrong */
	_Atomic uint64_t bad_status;   /* status writes that were refused */
	_Atomic uint64_t bad_features; /* FEATURES_OK that was refused */
	_Atomic uint64_t bad_config;   /* configuration writes that were refused */
	_Atomic uint64_t failures;     /* DEVICE_NEEDS_RESET */
	_Atomic uint64_t bad_chains;   /* of these: -EBADMSG */
	_Atomic uint64_t bad_addresses; /* of these: -EFAULT */
	_Atomic uint64_t activate_failures; /* of these: at DRIVER_OK */
};

struct virtio_dev {
	const struct virtio_ops *ops;
	char name[VIRTIO_NAME_MAX]; /* for the log and traces */
	struct virtio_link *link;   /* borrowed; NULL until a transport has attached */
	uint64_t features;	    /* offered */
	uint64_t acked;		    /* written by the driver; final from FEATURES_OK on */
	unsigned n_queues;
	struct virtq queues[VIRTIO_QUEUES_MAX];

	_Atomic uint32_t status;     /* VIRTIO_CONFIG_S_* */
	_Atomic uint32_t isr;	     /* VIRTIO_ISR_* */
	_Atomic uint32_t isr_always; /* VIRTIO_ISR_* that read as set and cannot be acknowledged */
	_Atomic uint32_t generation; /* of the configuration space */

	bool paused;	     /* by virtio_pause() */
	bool loaded;	     /* by virtio_state(), and has not gone on since */
	bool put_back;	     /* by virtio_put_back(), for virtio_drain() */
	unsigned draining;   /* resets that wait for what is in flight */
	unsigned inflight;   /* virtio_begin() without virtio_end() */
	pthread_cond_t idle; /* inflight became 0 */

	struct virtio_counters counters;
};

/* -- for devices ----------------------------------------------------------------------------- */

/*
 * features are added to VIRTIO_COMMON_FEATURES. n_queues: 1..VIRTIO_QUEUES_MAX. The name is copied.
 */
void virtio_init(struct virtio_dev *v, const struct virtio_ops *ops, const char *name,
	uint64_t features, unsigned n_queues);
void virtio_done(struct virtio_dev *v);

/*
 * Takes up to `budget` requests from queue q and hands each to handle(), then interrupts if the
 * driver wants it; kicks itself again if there are more. Ends when the device fails, be it by a
 * broken chain or because handle() called virtio_fail(). Loop thread, lock held.
 */
void virtio_drain(struct virtio_dev *v, unsigned q, unsigned budget,
	void (*handle)(struct virtio_dev *v, unsigned q, const struct virtq_chain *c));

/*
 * From within handle() of virtio_drain(), and instead of answering: the request stays in its queue,
 * to be taken and judged again, and the drain ends. Kicks stay off: the device comes back by
 * itself.
 */
void virtio_put_back(struct virtio_dev *v);

/* Kicks every queue of the driver, for when a wait has ended. Lock held. */
void virtio_kick_all(struct virtio_dev *v);

/*
 * Takes one request from queue q, for a device that has something to put into it. False: there is
 * none, or the device has failed because of it. Who waits for more asks virtq_kicks_on(). Loop
 * thread, lock held.
 */
bool virtio_pop(struct virtio_dev *v, unsigned q, struct virtq_chain *c) MUST_CHECK;

/* Brackets a request that is completed later, in any order. Lock held. */
void virtio_begin(struct virtio_dev *v);
void virtio_end(struct virtio_dev *v);

/* Gives a request back; nothing if the device was reset or failed meanwhile. Lock held. */
void virtio_push(struct virtio_dev *v, unsigned q, uint16_t head, uint32_t len);
/* The same for n requests that the driver must see at once. */
void virtio_push_many(
	struct virtio_dev *v, unsigned q, const struct virtq_used *used, unsigned n);
/* Interrupts if the driver wants to know of what was pushed to q. Lock held. */
void virtio_notify(struct virtio_dev *v, unsigned q);

/* The driver broke the protocol: sets DEVICE_NEEDS_RESET and stops until a reset. Lock held. */
void virtio_fail(struct virtio_dev *v, const char *reason);

/*
 * The kernel begins to serve queues (before it does), or has ended it: its last interrupts stay
 * visible in the status. Loop thread, lock held.
 */
void virtio_kernel_path(struct virtio_dev *v, bool on);

/* The interrupt status as the driver reads it. Any thread, no lock. */
uint32_t virtio_isr(const struct virtio_dev *v);

/* The configuration space has changed: new generation, and an interrupt. Lock held. */
void virtio_config_changed(struct virtio_dev *v);

void virtio_lock(struct virtio_dev *v);
void virtio_unlock(struct virtio_dev *v);

static inline bool virtio_acked(const struct virtio_dev *v, unsigned bit)
{
	return v->acked & VIRTIO_BIT(bit);
}

/* DRIVER_OK, not failed, not being reset: requests may be given back. Lock held. */
bool virtio_alive(const struct virtio_dev *v);
/* And not paused: requests may be taken. Lock held. */
bool virtio_running(const struct virtio_dev *v);

const void *virtio_no_config(struct virtio_dev *v, size_t *ret_len);
int virtio_no_config_write(struct virtio_dev *v, size_t off, const void *data, size_t len);
int virtio_no_activate(struct virtio_dev *v);
void virtio_no_cancel(struct virtio_dev *v);
void virtio_no_reset(struct virtio_dev *v);

static inline void virtio_count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* -- for transports -------------------------------------------------------------------------- */

/* Before anything else; mem and link are borrowed for the life of the device. */
void virtio_attach(struct virtio_dev *v, const struct gmem *mem, struct virtio_link *link);

/*
 * The driver writes `status`, not 0: one of ACKNOWLEDGE, + DRIVER, + FEATURES_OK, + DRIVER_OK, each
 * with all bits before it, not less than it is now; or anything with FAILED. Steps may be skipped,
 * their checks are not. Lock held.
 */
void virtio_set_status(struct virtio_dev *v, uint32_t status);

/*
 * The driver writes status 0. Waits for what is in flight. vCPU thread, lock held (and let go of).
 */
void virtio_reset(struct virtio_dev *v);

/*
 * The VM is going to stand still: no request is taken from now on, and those in flight in a back
 * end are done when this returns. Negative: not by deadline_ns; then virtio_resume() is due. A path
 * in the kernel has ended. Loop thread, no lock.
 */
int virtio_pause(struct virtio_dev *v, uint64_t deadline_ns) MUST_CHECK;
/* It goes on. Loop thread, no lock. */
void virtio_resume(struct virtio_dev *v);
/*
 * Gives back what a reset may be waiting for, as a kick would; for who waits for a vCPU and does
 * not dispatch meanwhile. Loop thread, no lock.
 */
void virtio_settle(struct virtio_dev *v);

/*
 * Machine state of a paused device, without ops->state. Loading: the rings are checked against
 * guest memory, and the device is activated; when it goes on, its queues are kicked, and the driver
 * gets an interrupt for what it may have missed. Loop thread, lock held.
 */
void virtio_state(struct virtio_dev *v, struct state *s);

/* The driver kicked queue q, or a reset waits. Loop thread, lock held. */
void virtio_kick(struct virtio_dev *v, unsigned q);

#endif
