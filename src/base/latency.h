/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long something took, each time: Firecracker's {min_us, max_us, sum_us}. Written by one
 * thread, read by any.
 */
#ifndef VOLT_LATENCY_H
#define VOLT_LATENCY_H

#include <stdatomic.h>

#include "compiler.h"

struct latency {
	_Atomic uint64_t min_us, max_us, sum_us; /* min_us 0: nothing yet, or less than 1 us */
};

static inline void latency_add(struct latency *l, uint64_t ns)
{
	uint64_t us = ns / 1000, min = atomic_load_explicit(&l->min_us, memory_order_relaxed);

	if (min == 0 || us < min)
		atomic_store_explicit(&l->min_us, us, memory_order_relaxed);
	if (us > atomic_load_explicit(&l->max_us, memory_order_relaxed))
		atomic_store_explicit(&l->max_us, us, memory_order_relaxed);
	atomic_fetch_add_explicit(&l->sum_us, us, memory_order_relaxed);
}

/*
 * From one moment to another. Each is rounded, not the difference, so that the sum of many short
 * times is right.
 */
static inline void latency_between(struct latency *l, uint64_t start_ns, uint64_t end_ns)
{
	latency_add(l, (end_ns / 1000 - start_ns / 1000) * 1000);
}

#endif
