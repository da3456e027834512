/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory, see gmem.h. The words "host address of guest memory" appear in no other file. */
#include "gmem.h"

#include <errno.h>
#include <linux/mman.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "layout.h"

#define HUGE_PAGE (2 * MIB)
#define WORD_BITS 64

/*
 * Address space for a region. KVM maps a huge page into the guest as one only where host and guest
 * address agree modulo its size. Regions begin at multiples of it, but kernels before 6.7 place a
 * mapping at any page: so more is taken than is needed, and what is over at both ends goes back.
 */
static int reserve(uint64_t bytes, int prot, uint8_t **ret, struct volt_err *err)
{
	uint64_t taken = bytes + HUGE_PAGE, head;
	uint8_t *p =
		mmap(NULL, taken, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return volt_err_set(err, errno, "map %llu MiB of guest memory: %m",
			(unsigned long long)(bytes / MIB));
	head = -(uintptr_t)p % HUGE_PAGE;
	if (head)
		munmap(p, head);
	munmap(p + head + bytes, taken - head - bytes);
	*ret = p + head;
	return 0;
}

static int map_region(struct gmem *m, uint64_t gpa, uint64_t bytes, struct volt_err *err)
{
	struct gmem_region r = { .gpa = gpa, .bytes = bytes };
	int e = reserve(bytes, PROT_READ | PROT_WRITE, &r.host, err);

	if (e == 0)
		m->regions[m->n_regions++] = r;
	return e;
}

int gmem_map(struct gmem *m, uint64_t bytes, struct volt_err *err)
{
	uint64_t low = MIN(bytes, LAYOUT_GAP_START);
	int r;

	*m = (struct gmem){ 0 };
	if (bytes == 0 || bytes % (4 * KIB) != 0)
		return volt_err_set(err, EINVAL, "guest memory of %llu bytes is not whole pages",
			(unsigned long long)bytes);
	r = map_region(m, 0, low, err);
	if (r == 0 && bytes > low)
		r = map_region(m, LAYOUT_GAP_END, bytes - low, err);
	if (r < 0)
		gmem_unmap(m);
	return r;
}

/*
 * Over the mapping that is there, which is aligned. Without MAP_NORESERVE, so that a host that
 * lacks pages says so here, and not by SIGBUS when the guest touches one.
 */
static int map_huge(const struct gmem_region *r, struct volt_err *err)
{
	void *p = mmap(r->host, r->bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);

	if (p != MAP_FAILED)
		return 0;
	return volt_err_set(err, errno,
		"map %llu MiB of guest memory in pages of 2 MiB: %m: %llu free ones are needed; "
		"reserve them with /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
		(unsigned long long)(r->bytes / MIB), (unsigned long long)(r->bytes / HUGE_PAGE));
}

int gmem_set_pages(struct gmem *m, enum gmem_pages pages, struct volt_err *err)
{
	for (size_t i = 0; i < m->n_regions; i++) {
		const struct gmem_region *r = &m->regions[i];

		if (pages != GMEM_PAGES_DEFAULT && r->bytes % HUGE_PAGE != 0)
			return volt_err_set(err, EINVAL,
				"guest memory of %llu bytes is not whole pages of 2 MiB",
				(unsigned long long)r->bytes);
		if (pages == GMEM_PAGES_2M) {
			int e = map_huge(r, err);

			if (e < 0)
				return e;
		}
		if (pages == GMEM_PAGES_TRANSPARENT &&
			madvise(r->host, r->bytes, MADV_HUGEPAGE) < 0)
			return volt_err_set(err, errno,
				"ask for transparent huge pages: %m: the host's kernel may lack "
				"them, see /sys/kernel/mm/transparent_hugepage");
	}
	return 0;
}

static int check_place(const struct gmem *m, uint64_t gpa, struct volt_err *err)
{
	const struct gmem_region *last = &m->regions[m->n_regions - 1];

	if (m->n_regions == 0 || m->n_regions == GMEM_REGIONS_MAX)
		return volt_err_set(err, ENOSPC, "no place for a region among %zu", m->n_regions);
	if (gpa % HUGE_PAGE != 0 || gpa < last->gpa || gpa - last->gpa < last->bytes)
		return volt_err_set(err, EINVAL, "no region can be at 0x%llx",
			(unsigned long long)gpa);
	return 0;
}

int gmem_add_file(struct gmem *m, uint64_t gpa, int fd, uint64_t bytes, bool read_only,
	struct volt_err *err)
{
	int prot = read_only ? PROT_READ : PROT_READ | PROT_WRITE;
	struct gmem_region r = {
		.gpa = gpa,
		.bytes = ALIGN_UP(bytes, HUGE_PAGE),
		.kind = GMEM_FILE,
		.read_only = read_only,
	};
	int e = check_place(m, gpa, err);

	if (e == 0)
		e = reserve(r.bytes, prot, &r.host, err);
	if (e < 0)
		return e;
	/* Over the reservation, which remains as the padding. */
	if (mmap(r.host, bytes, prot, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) ==
		MAP_FAILED) {
		e = volt_err_set(err, errno, "map the file: %m");
		munmap(r.host, r.bytes);
		return e;
	}
	m->regions[m->n_regions++] = r;
	return 0;
}

int gmem_add_blocks(struct gmem *m, uint64_t gpa, uint64_t bytes, uint64_t block_bytes,
	struct volt_err *err)
{
	struct gmem_region r = {
		.gpa = gpa,
		.bytes = bytes,
		.kind = GMEM_BLOCKS,
		.block_bytes = block_bytes,
	};
	int e = check_place(m, gpa, err);

	assert(IS_POW2(block_bytes) && block_bytes >= HUGE_PAGE && bytes > 0);
	assert(gpa % block_bytes == 0 && bytes % block_bytes == 0 && !gmem_blocks(m));
	if (e < 0)
		return e;
	r.plugged = calloc(bytes / block_bytes / WORD_BITS + 1, sizeof(*r.plugged));
	if (!r.plugged)
		return volt_err_set(err, ENOMEM, "memory blocks: %m");
	e = reserve(bytes, PROT_READ | PROT_WRITE, &r.host, err);
	if (e < 0)
		free(r.plugged);
	else
		m->regions[m->n_regions++] = r;
	return e;
}

void gmem_unmap(struct gmem *m)
{
	for (size_t i = 0; i < m->n_regions; i++) {
		munmap(m->regions[i].host, m->regions[i].bytes);
		free(m->regions[i].plugged);
	}
	*m = (struct gmem){ 0 };
}

uint64_t gmem_kvm_address(const struct gmem_region *r, uint64_t off)
{
	return (uintptr_t)r->host + off;
}

const struct gmem_region *gmem_blocks(const struct gmem *m)
{
	for (size_t i = 0; i < m->n_regions; i++)
		if (m->regions[i].kind == GMEM_BLOCKS)
			return &m->regions[i];
	return NULL;
}

static uint64_t bit_of(uint64_t block)
{
	return UINT64_C(1) << block % WORD_BITS;
}

bool gmem_plugged(const struct gmem_region *r, uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n; i++)
		if (!(atomic_load(&r->plugged[i / WORD_BITS]) & bit_of(i)))
			return false;
	return true;
}

void gmem_plug(const struct gmem_region *r, uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n; i++)
		atomic_fetch_or(&r->plugged[i / WORD_BITS], bit_of(i));
}

int gmem_unplug(const struct gmem_region *r, uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n; i++)
		atomic_fetch_and(&r->plugged[i / WORD_BITS], ~bit_of(i));
	/* #syscalls loop: madvise=MADV_DONTNEED */
	if (madvise(r->host + first * r->block_bytes, n * r->block_bytes, MADV_DONTNEED) < 0)
		return -errno;
	return 0;
}

/* May [off, off + len) of a region be used so? */
static bool usable(const struct gmem_region *r, uint64_t off, uint64_t len, bool write)
{
	uint64_t first;

	if (r->kind == GMEM_FILE)
		return !write || !r->read_only;
	if (r->kind == GMEM_RAM || len == 0)
		return true;
	first = off / r->block_bytes;
	return gmem_plugged(r, first, (off + len - 1) / r->block_bytes - first + 1);
}

/* Host address of [a, a + len), or NULL. The test cannot overflow. */
static uint8_t *lookup(const struct gmem *m, struct gpa a, uint64_t len, bool write)
{
	for (size_t i = 0; i < m->n_regions; i++) {
		const struct gmem_region *r = &m->regions[i];
		uint64_t off = a.v - r->gpa;

		if (a.v >= r->gpa && off <= r->bytes && len <= r->bytes - off)
			return usable(r, off, len, write) ? r->host + off : NULL;
	}
	return NULL;
}

int gmem_read(const struct gmem *m, struct gpa a, void *dst, size_t len)
{
	const uint8_t *p = lookup(m, a, len, false);

	if (!p)
		return -EFAULT;
	memcpy(dst, p, len);
	return 0;
}

int gmem_write(const struct gmem *m, struct gpa a, const void *src, size_t len)
{
	uint8_t *p = lookup(m, a, len, true);

	if (!p)
		return -EFAULT;
	memcpy(p, src, len);
	return 0;
}

int gmem_fill(const struct gmem *m, struct gpa a, uint8_t byte, size_t len)
{
	uint8_t *p = lookup(m, a, len, true);

	if (!p)
		return -EFAULT;
	memset(p, byte, len);
	return 0;
}

int gmem_slice(const struct gmem *m, struct gpa a, size_t len, struct iovec *ret)
{
	uint8_t *p = lookup(m, a, len, true);

	if (!p)
		return -EFAULT;
	*ret = (struct iovec){ .iov_base = p, .iov_len = len };
	return 0;
}

int gmem_view(const struct gmem *m, struct gpa a, size_t len, struct iovec *ret)
{
	uint8_t *p = lookup(m, a, len, false);

	if (!p)
		return -EFAULT;
	*ret = (struct iovec){ .iov_base = p, .iov_len = len };
	return 0;
}

int gmem_load_u16_acquire(const struct gmem *m, struct gpa a, uint16_t *ret)
{
	uint8_t *p = lookup(m, a, sizeof(uint16_t), false);

	if (a.v % sizeof(uint16_t) != 0)
		return -EINVAL;
	if (!p)
		return -EFAULT;
	*ret = __atomic_load_n((uint16_t *)(void *)p, __ATOMIC_ACQUIRE);
	return 0;
}

int gmem_store_u16_release(const struct gmem *m, struct gpa a, uint16_t v)
{
	uint8_t *p = lookup(m, a, sizeof(uint16_t), true);

	if (a.v % sizeof(uint16_t) != 0)
		return -EINVAL;
	if (!p)
		return -EFAULT;
	__atomic_store_n((uint16_t *)(void *)p, v, __ATOMIC_RELEASE);
	return 0;
}

/*
 * The memory is private and anonymous, so that this frees its pages at once; what is touched again
 * is zero.
 */
int gmem_discard_slice(const struct iovec *slice)
{
	uintptr_t start = ALIGN_UP((uintptr_t)slice->iov_base, GMEM_PAGE);
	uintptr_t end = ((uintptr_t)slice->iov_base + slice->iov_len) & ~(uintptr_t)(GMEM_PAGE - 1);

	if (start >= end)
		return 0;
	/* #syscalls loop: madvise=MADV_DONTNEED */
	return madvise((void *)start, end - start, MADV_DONTNEED) < 0 ? -errno : 0;
}

int gmem_discard(const struct gmem *m, struct gpa a, uint64_t len, uint64_t *ret_ram)
{
	uint64_t ram = 0;
	int r = 0;

	for (size_t i = 0; i < m->n_regions; i++) {
		const struct gmem_region *region = &m->regions[i];
		uint64_t start = MAX(a.v, region->gpa);
		uint64_t end = MIN(a.v + MIN(len, UINT64_MAX - a.v), region->gpa + region->bytes);
		struct iovec part;
		int e;

		/* A file's pages are the file's, and blocks that are not plugged hold nothing. */
		if (start >= end || region->kind == GMEM_FILE ||
			!usable(region, start - region->gpa, end - start, true))
			continue;
		part = (struct iovec){ region->host + (start - region->gpa), end - start };
		ram += part.iov_len;
		e = gmem_discard_slice(&part);
		r = r ? r : e;
	}
	*ret_ram = ram;
	return r;
}

bool gmem_contains(const struct gmem *m, struct gpa a, uint64_t len)
{
	return lookup(m, a, len, false) != NULL;
}

uint64_t gmem_bytes(const struct gmem *m)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < m->n_regions; i++)
		if (m->regions[i].kind == GMEM_RAM)
			sum += m->regions[i].bytes;
	return sum;
}

uint64_t gmem_low_end(const struct gmem *m)
{
	return m->n_regions ? m->regions[0].gpa + m->regions[0].bytes : 0;
}
