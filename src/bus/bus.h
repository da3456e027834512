/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which device answers at an address: one bus for ports, one for MMIO. Ranges are added while the
 * VM is built; from bus_freeze() on the table is sorted, constant and read without a lock by all
 * vCPU threads.
 */
#ifndef VOLT_BUS_H
#define VOLT_BUS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "err.h"

#define BUS_RANGES_MAX 64

struct dev;

struct bus_range {
	uint64_t base, bytes;
	struct dev *dev; /* borrowed */
};

struct bus {
	const char *name; /* "port" or "mmio" */
	struct bus_range ranges[BUS_RANGES_MAX];
	size_t n_ranges;
	bool frozen;
	/* Accesses that no device answered: a guest may probe, so they are counted, not logged. */
	_Atomic uint64_t unclaimed_reads, unclaimed_writes;
};

void bus_init(struct bus *b, const char *name);

/* Building thread only. -EEXIST with both names if the range overlaps; -ENOSPC. */
int bus_add(struct bus *b, uint64_t base, uint64_t bytes, struct dev *dev, struct volt_err *err);
void bus_freeze(struct bus *b);

/*
 * vCPU threads. An access that nobody claims, or that crosses the end of its range, reads as all
 * ones (what an ISA bus without a device gives) and ignores a write. len is 1, 2, 4 or 8.
 */
void bus_read(struct bus *b, uint64_t addr, void *data, unsigned len);
void bus_write(struct bus *b, uint64_t addr, const void *data, unsigned len);

#endif
