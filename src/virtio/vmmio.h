/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-mmio transport, version 2 (virtio 1.2, section 4.2): one page of registers, one
 * interrupt line and one doorbell per queue.
 *
 * A doorbell is an eventfd that KVM signals when the driver stores the index of the queue to
 * QueueNotify; the vCPU does not leave the kernel. The loop thread watches it and serves the queue.
 * A store that no ioeventfd matches comes to user space and signals the same eventfd.
 *
 * For a data path in the kernel (virtio.h) doorbells are lent: then the kernel waits for them, and
 * the loop does not. What we ourselves want to tell the loop thread, foremost that a reset waits,
 * takes another eventfd then.
 *
 * Threads: registers on vCPU threads. The interrupt registers, the status and the doorbells take no
 * lock, so that they do not wait behind a disk read on the loop thread; all others take dev->lock.
 * Accesses of a wrong width, to no register or at a wrong moment are ignored, read as 0 and
 * counted.
 */
#ifndef VOLT_VMMIO_H
#define VOLT_VMMIO_H

#include <stdbool.h>

#include "err.h"

#define VMMIO_BYTES  0x1000
#define VMMIO_VENDOR 0x544c4f56 /* "VOLT" */

struct dev;
struct gmem;
struct ioapic;
struct loop;
struct state;
struct virtio_dev;
struct vmmio;

struct vmmio_env {
	const struct gmem *mem; /* borrowed for the life of the device */
	struct loop *loop;	/* borrowed likewise */
	int vmfd;		/* borrowed for the call; -1: no ioeventfd (tests) */
	uint64_t base;		/* guest-physical address of the registers */
	struct ioapic *ioapic;	/* borrowed likewise; NULL: interrupts are only counted */
	unsigned gsi;		/* edge-triggered line */
	bool irqfd; /* the device may get a data path in the kernel: virtio_link.callfd */
};

/* Building thread. v is owned by the transport on success, and by the caller on failure. */
int vmmio_create(struct virtio_dev *v, const struct vmmio_env *env, struct vmmio **ret,
	struct volt_err *err);

/*
 * Loop thread, with the vCPUs stopped. Destroys the device too. The ioeventfds are left to die with
 * the VM: taking one away costs a grace period in KVM.
 */
void vmmio_destroy(struct vmmio *m);

/* What to put on the MMIO bus, at env.base for VMMIO_BYTES. */
struct dev *vmmio_dev(struct vmmio *m);
struct virtio_dev *vmmio_virtio(struct vmmio *m);

/*
 * Machine state of the transport and of its device, which is paused, as part number `instance`.
 * Loop thread.
 */
void vmmio_state(struct vmmio *m, struct state *s, unsigned instance);

/* Interrupts raised by us, not by a data path in the kernel; for the metrics. */
uint64_t vmmio_raised(const struct vmmio *m);

#endif
