/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory, see gmem.h. The words "host address of guest memory" appear in no other file. */
#include "gmem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "layout.h"

#define HUGE_PAGE (2 * MIB)

/*
 * KVM maps a huge page into the guest as one only where host and guest address agree modulo its
 * size. Regions begin at multiples of it, but kernels before 6.7 place a mapping at any page: so
 * more is taken than is needed, and what is over at both ends goes back.
 */
static int map_region(struct gmem *m, uint64_t gpa, uint64_t bytes, struct volt_err *err)
{
	uint64_t taken = bytes + HUGE_PAGE, head;
	uint8_t *p = mmap(NULL, taken, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return volt_err_set(err, errno, "map %llu MiB of guest memory: %m",
			(unsigned long long)(bytes / MIB));
	head = -(uintptr_t)p % HUGE_PAGE;
	if (head)
		munmap(p, head);
	munmap(p + head + bytes, taken - head - bytes);
	m->regions[m->n_regions++] =
		(struct gmem_region){ .gpa = gpa, .bytes = bytes, .host = p + head };
	return 0;
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

void gmem_unmap(struct gmem *m)
{
	for (size_t i = 0; i < m->n_regions; i++)
		munmap(m->regions[i].host, m->regions[i].bytes);
	*m = (struct gmem){ 0 };
}

/* Host address of [a, a + len), or NULL. The test cannot overflow. */
static uint8_t *lookup(const struct gmem *m, struct gpa a, uint64_t len)
{
	for (size_t i = 0; i < m->n_regions; i++) {
		const struct gmem_region *r = &m->regions[i];
		uint64_t off = a.v - r->gpa;

		if (a.v >= r->gpa && off <= r->bytes && len <= r->bytes - off)
			return r->host + off;
	}
	return NULL;
}

int gmem_read(const struct gmem *m, struct gpa a, void *dst, size_t len)
{
	const uint8_t *p = lookup(m, a, len);

	if (!p)
		return -EFAULT;
	memcpy(dst, p, len);
	return 0;
}

int gmem_write(const struct gmem *m, struct gpa a, const void *src, size_t len)
{
	uint8_t *p = lookup(m, a, len);

	if (!p)
		return -EFAULT;
	memcpy(p, src, len);
	return 0;
}

int gmem_fill(const struct gmem *m, struct gpa a, uint8_t byte, size_t len)
{
	uint8_t *p = lookup(m, a, len);

	if (!p)
		return -EFAULT;
	memset(p, byte, len);
	return 0;
}

int gmem_slice(const struct gmem *m, struct gpa a, size_t len, struct iovec *ret)
{
	uint8_t *p = lookup(m, a, len);

	if (!p)
		return -EFAULT;
	*ret = (struct iovec){ .iov_base = p, .iov_len = len };
	return 0;
}

int gmem_load_u16_acquire(const struct gmem *m, struct gpa a, uint16_t *ret)
{
	uint8_t *p = lookup(m, a, sizeof(uint16_t));

	if (a.v % sizeof(uint16_t) != 0)
		return -EINVAL;
	if (!p)
		return -EFAULT;
	*ret = __atomic_load_n((uint16_t *)(void *)p, __ATOMIC_ACQUIRE);
	return 0;
}

int gmem_store_u16_release(const struct gmem *m, struct gpa a, uint16_t v)
{
	uint8_t *p = lookup(m, a, sizeof(uint16_t));

	if (a.v % sizeof(uint16_t) != 0)
		return -EINVAL;
	if (!p)
		return -EFAULT;
	__atomic_store_n((uint16_t *)(void *)p, v, __ATOMIC_RELEASE);
	return 0;
}

bool gmem_contains(const struct gmem *m, struct gpa a, uint64_t len)
{
	return lookup(m, a, len) != NULL;
}

uint64_t gmem_bytes(const struct gmem *m)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < m->n_regions; i++)
		sum += m->regions[i].bytes;
	return sum;
}

uint64_t gmem_low_end(const struct gmem *m)
{
	return m->n_regions ? m->regions[0].gpa + m->regions[0].bytes : 0;
}
