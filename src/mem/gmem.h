/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory, and the only way to reach it. A guest-physical address is a struct gpa, so that it
 * cannot be mistaken for a length or a host pointer. Every access is checked against the regions;
 * what a decision depends on is copied once with gmem_read() and decided on the copy, because the
 * guest writes while we look.
 *
 * Regions are mapped by gmem_map() before the first KVM call and stay where they are until
 * gmem_unmap(): the host address under a region never changes, so a slice stays valid for the life
 * of the VM. Any thread.
 *
 * Errors: -EFAULT, the range is not wholly inside one region.
 */
#ifndef VOLT_GMEM_H
#define VOLT_GMEM_H

#include <stdbool.h>
#include <sys/uio.h>

#include "err.h"

#define GMEM_REGIONS_MAX 2

struct gpa {
	uint64_t v;
};

#define GPA(x) ((struct gpa){ (x) })

struct gmem_region {
	uint64_t gpa, bytes;
	uint8_t *host; /* owned by the gmem */
};

struct gmem {
	struct gmem_region regions[GMEM_REGIONS_MAX];
	size_t n_regions;
};

/*
 * Reserves `bytes` (a multiple of 4 KiB, > 0) of RAM, laid out on both sides of the MMIO gap.
 * Nothing is committed before the guest touches it.
 */
int gmem_map(struct gmem *m, uint64_t bytes, struct volt_err *err);
void gmem_unmap(struct gmem *m);

int gmem_read(const struct gmem *m, struct gpa a, void *dst, size_t len) MUST_CHECK;
int gmem_write(const struct gmem *m, struct gpa a, const void *src, size_t len) MUST_CHECK;
int gmem_fill(const struct gmem *m, struct gpa a, uint8_t byte, size_t len) MUST_CHECK;

/*
 * Host view of a guest range, as an argument of a system call or of a copy whose length was fixed
 * before: its bytes may change under the reader. len > 0.
 */
int gmem_slice(const struct gmem *m, struct gpa a, size_t len, struct iovec *ret) MUST_CHECK;

/* Ring indices: naturally aligned 16-bit loads and stores, -EINVAL if a is odd. */
int gmem_load_u16_acquire(const struct gmem *m, struct gpa a, uint16_t *ret) MUST_CHECK;
int gmem_store_u16_release(const struct gmem *m, struct gpa a, uint16_t v) MUST_CHECK;

/* True if [a, a + len) is RAM within one region. */
bool gmem_contains(const struct gmem *m, struct gpa a, uint64_t len);

/* Size of all RAM, and the end of the region below the gap. */
uint64_t gmem_bytes(const struct gmem *m);
uint64_t gmem_low_end(const struct gmem *m);

#endif
