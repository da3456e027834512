/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory, and the only way to reach it. A guest-physical address is a struct gpa, so that it
 * cannot be mistaken for a length or a host pointer. Every access is checked against the regions;
 * what a decision depends on is copied once with gmem_read() and decided on the copy, because the
 * guest writes while we look.
 *
 * Regions are mapped before the first KVM call and stay where they are until gmem_unmap(): the host
 * address under a region never changes, so a slice stays valid for the life of the VM. Any thread.
 *
 * Besides RAM there may be files (pmem), which the guest sees as memory, some of them read-only;
 * and one region of blocks that come and go (virtio-mem). A block that is not plugged is no memory:
 * it is found by no function. The loop thread plugs and unplugs, any thread may look meanwhile. Who
 * holds a slice of a block that goes has an address that is still mapped, where zeros are; what is
 * written there is the guest's loss.
 *
 * Errors: -EFAULT, the range is not wholly inside one region, not plugged, or not to be written.
 */
#ifndef VOLT_GMEM_H
#define VOLT_GMEM_H

#include <stdbool.h>
#include <sys/uio.h>

#include "err.h"
#include "limit.h"

#define GMEM_RAM_MAX	 2
#define GMEM_REGIONS_MAX (GMEM_RAM_MAX + LIMIT_PMEMS + 1)
#define GMEM_PAGE	 4096u

struct gpa {
	uint64_t v;
};

#define GPA(x) ((struct gpa){ (x) })

enum gmem_kind { GMEM_RAM, GMEM_FILE, GMEM_BLOCKS };

struct gmem_region {
	uint64_t gpa, bytes;
	uint8_t *host; /* owned by the gmem */
	enum gmem_kind kind;
	bool read_only; /* of a file: neither the guest nor we may write */
	/* Of BLOCKS; a bit for each, set while it is plugged; owned. */
	uint64_t block_bytes;
	_Atomic uint64_t *plugged;
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

enum gmem_pages {
	GMEM_PAGES_DEFAULT,	/* the host's policy */
	GMEM_PAGES_TRANSPARENT, /* the kernel is asked for huge pages, and gives what it has */
	GMEM_PAGES_2M,		/* the host's reserved ones: all are set aside now */
};

/*
 * After gmem_map() of whole 2 MiB, before anything else; what is in the memory is lost. -ENOMEM:
 * the host has not reserved enough huge pages; the message says how to.
 */
int gmem_set_pages(struct gmem *m, enum gmem_pages pages, struct volt_err *err);
/*
 * Adds the first `bytes` (> 0) of a file at gpa, shared with it. The region is rounded up to 2 MiB;
 * what is written behind the file's end is lost. gpa is a multiple of 2 MiB and above all regions
 * so far; the same holds for gmem_add_blocks(). fd is borrowed for the call.
 */
int gmem_add_file(struct gmem *m, uint64_t gpa, int fd, uint64_t bytes, bool read_only,
	struct volt_err *err);

/*
 * Adds a region of blocks, none of which is plugged. block_bytes: a power of two from 2 MiB up, of
 * which gpa and bytes are multiples. One region at most.
 */
int gmem_add_blocks(struct gmem *m, uint64_t gpa, uint64_t bytes, uint64_t block_bytes,
	struct volt_err *err);

/* Where byte `off` of a region is, as KVM is told of it: an address in this process. */
uint64_t gmem_kvm_address(const struct gmem_region *r, uint64_t off);

/* The region of blocks; NULL: there is none. */
const struct gmem_region *gmem_blocks(const struct gmem *m);
/* True if the n blocks from `first` on are plugged; they are in the region. */
bool gmem_plugged(const struct gmem_region *r, uint64_t first, uint64_t n);
/* Loop thread. Plugs n blocks. */
void gmem_plug(const struct gmem_region *r, uint64_t first, uint64_t n);
/*
 * Loop thread. Unplugs n blocks, whatever their state, and gives their memory back to the host; if
 * that fails, with -errno, they are unplugged all the same.
 */
int gmem_unplug(const struct gmem_region *r, uint64_t first, uint64_t n);

int gmem_read(const struct gmem *m, struct gpa a, void *dst, size_t len) MUST_CHECK;
int gmem_write(const struct gmem *m, struct gpa a, const void *src, size_t len) MUST_CHECK;
int gmem_fill(const struct gmem *m, struct gpa a, uint8_t byte, size_t len) MUST_CHECK;

/*
 * Host view of a guest range, as an argument of a system call or of a copy whose length was fixed
 * before: its bytes may change under the reader. len > 0.
 */
int gmem_slice(const struct gmem *m, struct gpa a, size_t len, struct iovec *ret) MUST_CHECK;
/* The same for who will only read. */
int gmem_view(const struct gmem *m, struct gpa a, size_t len, struct iovec *ret) MUST_CHECK;

/* Ring indices: naturally aligned 16-bit loads and stores, -EINVAL if a is odd. */
int gmem_load_u16_acquire(const struct gmem *m, struct gpa a, uint16_t *ret) MUST_CHECK;
int gmem_store_u16_release(const struct gmem *m, struct gpa a, uint16_t v) MUST_CHECK;

/*
 * Gives the whole pages in a range back to the host; the guest finds zeros there. *ret_ram: bytes
 * of the range that are RAM or plugged blocks, the rest is passed over. 0, or -errno of the first
 * part that the host refused; the others are gone nevertheless. Loop thread.
 */
int gmem_discard(const struct gmem *m, struct gpa a, uint64_t len, uint64_t *ret_ram) MUST_CHECK;
/* The same for what gmem_slice() or a request of a queue named. */
int gmem_discard_slice(const struct iovec *slice) MUST_CHECK;

/* True if [a, a + len) is memory within one region, though perhaps only to be read. */
bool gmem_contains(const struct gmem *m, struct gpa a, uint64_t len);

/* Size of all RAM, without files and blocks; and the end of the region below the gap. */
uint64_t gmem_bytes(const struct gmem *m);
uint64_t gmem_low_end(const struct gmem *m);

#endif
