/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets with Firecracker's meaning, two to a limiter: bytes and operations. A bucket of
 * `size` tokens starts full, and an extra credit of one_time_burst is spent first and never comes
 * back. Tokens return linearly, `size` of them in refill_ms. A request larger than a whole bucket
 * passes when the bucket is full, and the debt is paid by waiting: so a rate holds on average
 * whatever the size of the requests.
 * Who was refused and comes back late, because the host is busy, loses nothing: the request counts
 * as taken at the moment that it was told to wait for, and so do those that follow at once.
 *
 * Pure arithmetic: time is given by the caller (CLOCK_MONOTONIC, nanoseconds) and never runs
 * backwards. No thread of its own; the owner's lock.
 */
#ifndef VOLT_BUCKET_H
#define VOLT_BUCKET_H

#include <stdbool.h>

#include "compiler.h"

#define LIMITER_LATE_NS	  NSEC_PER_SEC /* how late a refused request may come back */
#define LIMITER_FOLLOW_NS (NSEC_PER_SEC / 20) /* and what is "at once" */

struct bucket_params {
	uint64_t size, refill_ms; /* tokens, milliseconds; one of them 0: no limit */
	uint64_t one_time_burst; /* tokens */
};

struct limiter_params {
	struct bucket_params bandwidth, ops; /* bytes, operations */
};

struct bucket {
	struct bucket_params params;
	uint64_t burst; /* what is left of one_time_burst */
	uint64_t tokens; /* <= size */
	uint64_t at_ns; /* tokens are those of this moment */
	uint64_t debt_ns; /* until this moment nothing passes */
};

struct limiter {
	struct bucket bandwidth, ops;
	uint64_t promised_ns; /* the moment that a refusal named, or how far it is made up for */
	uint64_t promise_ends_ns; /* then it is too late for that */
};

void limiter_init(struct limiter *l, const struct limiter_params *params, uint64_t now_ns);

/* What is to be changed; NULL: that bucket stays as it is, tokens and all. */
struct limiter_change {
	const struct bucket_params *bandwidth, *ops;
};

/* A bucket that is given takes the place of the old one, and is full. */
void limiter_change(struct limiter *l, const struct limiter_change *change, uint64_t now_ns);

/* True if no bucket limits anything: then limiter_take() always says yes, without a look at time.
 */
bool limiter_off(const struct limiter *l);

/*
 * Takes one operation and `bytes` from both buckets, or from neither. 0: taken. Else: refused, and
 * the nanoseconds after which it is worth trying again.
 */
uint64_t limiter_take(struct limiter *l, uint64_t bytes, uint64_t now_ns) MUST_CHECK;

struct state;

/* Machine state: what is left in the buckets, and owed, but not how large they are. */
void limiter_state(struct limiter *l, struct state *s, uint64_t now_ns);

/* Takes as many bytes of the bandwidth as there are now, at most `bytes`: their number. */
uint64_t limiter_take_some(struct limiter *l, uint64_t bytes, uint64_t now_ns) MUST_CHECK;

#endif
