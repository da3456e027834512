/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What put, export and verify need of an open snapshot besides store.h. For the store; one thread.
 */
#ifndef VOLT_STORE_PLAN_H
#define VOLT_STORE_PLAN_H

#include "store-pack.h"

const struct store_snapshot *store_plan_snapshot(const struct store_plan *p);
struct store *store_plan_store(const struct store_plan *p);
/* A pack that the layout names. */
int store_plan_fd(const struct store_plan *p, uint32_t pack);
/* Where store_plan_image() puts what it loads. */
struct store_px *store_plan_image_slot(struct store_plan *p, unsigned region);

/* Index of the region in the manifest, -1: there is none. */
int store_plan_index(const struct store_plan *p, enum store_kind kind, unsigned number);

/*
 * The index of the region's image, loaded when it is first asked for; NULL in *ret: no image.
 */
int store_plan_image(
	struct store_plan *p, unsigned region, const struct store_px **ret, struct volt_err *err);

/*
 * Units [unit, unit + n) of a region, zeros too, each checked against its hash. *ret_any: some of
 * it is not zeros. At most STORE_CHUNK bytes.
 */
int store_plan_read(struct store_plan *p, unsigned region, uint64_t unit, size_t n, void *data,
	bool *ret_any, struct volt_err *err);

/* The units of a delta one by one: where each is. n of the region's delta; the caller's to free. */
int store_plan_places(
	const struct store_plan *p, unsigned region, struct store_span **ret, struct volt_err *err);

/* First of the n ascending units that is not before unit. */
size_t store_delta_find(const struct store_delta *delta, size_t n, uint64_t unit);

#endif
