/* SPDX-License-Identifier: Apache-2.0 */
/* Address to device, see bus.h. */
#include "bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev.h"

void bus_init(struct bus *b, const char *name)
{
	*b = (struct bus){ .name = name };
}

int bus_add(struct bus *b, uint64_t base, uint64_t bytes, struct dev *dev, struct volt_err *err)
{
	assert(!b->frozen && bytes > 0 && base + bytes > base);
	for (size_t i = 0; i < b->n_ranges; i++) {
		const struct bus_range *r = &b->ranges[i];

		if (base < r->base + r->bytes && r->base < base + bytes)
			return volt_err_set(err, EEXIST, "%s range 0x%llx of %s overlaps %s",
				b->name, (unsigned long long)base, dev->ops->name,
				r->dev->ops->name);
	}
	if (b->n_ranges == BUS_RANGES_MAX)
		return volt_err_set(err, ENOSPC, "more than %d %s ranges", BUS_RANGES_MAX, b->name);
	b->ranges[b->n_ranges++] = (struct bus_range){ base, bytes, dev };
	return 0;
}

static int by_base(const void *a, const void *b)
{
	const struct bus_range *x = a, *y = b;

	return (x->base > y->base) - (x->base < y->base);
}

void bus_freeze(struct bus *b)
{
	qsort(b->ranges, b->n_ranges, sizeof(b->ranges[0]), by_base);
	b->frozen = true;
}

/* The range that holds all of [addr, addr + len), or NULL. */
static const struct bus_range *find(const struct bus *b, uint64_t addr, unsigned len)
{
	size_t lo = 0, hi = b->n_ranges;

	/* KVM splits an access that crosses a page: its parts have any length. */
	if (!IS_POW2(len) || len > 8)
		return NULL;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct bus_range *r = &b->ranges[mid];

		if (addr < r->base)
			hi = mid;
		else if (addr - r->base >= r->bytes)
			lo = mid + 1;
		else
			return len <= r->bytes - (addr - r->base) ? r : NULL;
	}
	return NULL;
}

void bus_read(struct bus *b, uint64_t addr, void *data, unsigned len)
{
	const struct bus_range *r = find(b, addr, len);

	if (!r) {
		memset(data, 0xff, len);
		atomic_fetch_add_explicit(&b->unclaimed_reads, 1, memory_order_relaxed);
		return;
	}
	memset(data, 0, len);
	if (!r->dev->ops->locks_itself)
		pthread_mutex_lock(&r->dev->lock);
	r->dev->ops->read(r->dev, addr - r->base, data, len);
	if (!r->dev->ops->locks_itself)
		pthread_mutex_unlock(&r->dev->lock);
}

void bus_write(struct bus *b, uint64_t addr, const void *data, unsigned len)
{
	const struct bus_range *r = find(b, addr, len);

	if (!r) {
		atomic_fetch_add_explicit(&b->unclaimed_writes, 1, memory_order_relaxed);
		return;
	}
	/* #syscalls loop vcpu: futex */
	if (!r->dev->ops->locks_itself)
		pthread_mutex_lock(&r->dev->lock);
	r->dev->ops->write(r->dev, addr - r->base, data, len);
	if (!r->dev->ops->locks_itself)
		pthread_mutex_unlock(&r->dev->lock);
}
