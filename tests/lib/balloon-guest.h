/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-balloon behind the MMIO transport with a driver, for unit tests; what is wrong fails the
 * test. Whether memory went back to the host is asked of the host's kernel.
 */
#ifndef VOLT_BALLOON_GUEST_H
#define VOLT_BALLOON_GUEST_H

#include "balloon.h"
#include "drv.h"
#include "loop.h"
#include "vmmio.h"

#define BG_MIBS	 16u
#define BG_BUF	 0x200000ull /* what a request points to */
#define BG_PAGES 0x800000ull /* memory that is given up */
#define BG_PFN	 (BG_PAGES >> 12)
#define BG_HEAP	 0x10000ull
#define BG_ALL_F (~UINT64_C(0))

struct bg {
	struct gmem mem;
	struct loop loop;
	struct virtio_dev *v;
	struct vmmio *m;
	struct drv d;
};

/* A balloon that has n_queues, started with all features. */
int bg_setup(void **state, const struct balloon_params *p, unsigned n_queues);
int bg_teardown(void **state);

/* Hands n buffers over as one request and waits until it is given back; nothing was written. */
void bg_give(struct bg *f, unsigned q, const struct drv_buf *bufs, unsigned n);
void bg_put_pfns(struct bg *f, uint64_t at, const uint32_t *pfns, unsigned n);
void bg_give_pfns(struct bg *f, unsigned q, const uint32_t *pfns, unsigned n);
/* A command of hinting, and the block of a MiB of that number from BG_PAGES as a hint. */
void bg_command(struct bg *f, unsigned q, uint32_t cmd);
void bg_hint(struct bg *f, unsigned q, unsigned block);

void bg_dirty(struct bg *f, uint64_t gpa, uint64_t bytes);
/* Pages of a range that the host holds. */
unsigned bg_resident(struct bg *f, uint64_t gpa, uint64_t bytes);

uint32_t bg_config32(struct bg *f, unsigned word);
/* Reads and acknowledges the interrupt status. */
uint32_t bg_interrupts(struct bg *f);

#endif
