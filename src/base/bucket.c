/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets, see bucket.h. A bucket is refilled whenever it is looked at, by whole tokens; the
 * time that makes a part of a token stays owed. A debt is a stretch of time in which nothing is
 * refilled: the same as if the number of tokens were negative, without a sign.
 */
#include "bucket.h"

#include "state.h"

/* Of a refill time, and of any moment: 146 years. Sums of two such do not overflow. */
#define TIME_MAX_NS (UINT64_C(1) << 62)

static bool unlimited(const struct bucket *b)
{
	return b->params.size == 0 || b->params.refill_ms == 0;
}

static uint64_t refill_ns(const struct bucket *b)
{
	return MIN(b->params.refill_ms, TIME_MAX_NS / NSEC_PER_MSEC) * NSEC_PER_MSEC;
}

/* The time in which `tokens` come back, rounded up. */
static uint64_t time_of(const struct bucket *b, uint64_t tokens)
{
	unsigned __int128 product = (unsigned __int128)tokens * refill_ns(b);
	unsigned __int128 ns = (product + b->params.size - 1) / b->params.size;

	return (uint64_t)MIN(ns, TIME_MAX_NS);
}

static void refill(struct bucket *b, uint64_t now_ns)
{
	uint64_t missing = b->params.size - b->tokens;
	unsigned __int128 back;

	if (now_ns <= b->at_ns)
		return; /* there is a debt */
	back = (unsigned __int128)(now_ns - b->at_ns) * b->params.size / refill_ns(b);
	if (back >= missing) {
		b->tokens = b->params.size;
		b->at_ns = now_ns;
	} else {
		b->tokens += (uint64_t)back;
		b->at_ns += time_of(b, (uint64_t)back);
	}
}

/* What the bucket itself must give for `n` tokens; the one-time burst gives the rest. */
static uint64_t beyond_burst(const struct bucket *b, uint64_t n)
{
	return n - MIN(n, b->burst);
}

/* Nanoseconds until n tokens can be taken; 0: now. */
static uint64_t wait_for(struct bucket *b, uint64_t n, uint64_t now_ns)
{
	uint64_t need;

	if (unlimited(b))
		return 0;
	refill(b, now_ns);
	need = MIN(beyond_burst(b, n), b->params.size); /* a larger one needs it full */
	if (need == 0)
		return 0;
	if (now_ns < b->debt_ns)
		return b->debt_ns - now_ns + time_of(b, need);
	if (need <= b->tokens)
		return 0;
	return MAX(b->at_ns + time_of(b, need - b->tokens) - now_ns, UINT64_C(1));
}

static void take(struct bucket *b, uint64_t n, uint64_t now_ns)
{
	uint64_t need = beyond_burst(b, n);

	if (unlimited(b))
		return;
	b->burst -= n - need;
	if (need <= b->tokens) {
		b->tokens -= need;
		return;
	}
	b->debt_ns = now_ns + time_of(b, need - b->tokens);
	b->at_ns = b->debt_ns;
	b->tokens = 0;
}

static void init(struct bucket *b, const struct bucket_params *params, uint64_t now_ns)
{
	*b = (struct bucket){
		.params = *params,
		.burst = params->one_time_burst,
		.tokens = params->size,
		.at_ns = now_ns,
	};
}

void limiter_init(struct limiter *l, const struct limiter_params *params, uint64_t now_ns)
{
	init(&l->bandwidth, &params->bandwidth, now_ns);
	init(&l->ops, &params->ops, now_ns);
	l->promised_ns = l->promise_ends_ns = 0;
}

void limiter_change(struct limiter *l, const struct limiter_change *change, uint64_t now_ns)
{
	if (change->bandwidth)
		init(&l->bandwidth, change->bandwidth, now_ns);
	if (change->ops)
		init(&l->ops, change->ops, now_ns);
	l->promised_ns = l->promise_ends_ns = 0; /* it was made by the old ones */
}

bool limiter_off(const struct limiter *l)
{
	return unlimited(&l->bandwidth) && unlimited(&l->ops);
}

/* As if it were `now_ns`. */
static uint64_t try_take(struct limiter *l, uint64_t bytes, uint64_t now_ns)
{
	uint64_t by_bytes = wait_for(&l->bandwidth, bytes, now_ns);
	uint64_t by_ops = wait_for(&l->ops, 1, now_ns);

	if (by_bytes || by_ops)
		return MAX(by_bytes, by_ops);
	take(&l->bandwidth, bytes, now_ns);
	take(&l->ops, 1, now_ns);
	return 0;
}

uint64_t limiter_take(struct limiter *l, uint64_t bytes, uint64_t now_ns)
{
	uint64_t at_ns = now_ns < l->promise_ends_ns ? MIN(l->promised_ns, now_ns) : now_ns;
	uint64_t wait_ns;

	/* The time since the promise is gone through again, as if requests had waited in it. */
	while ((wait_ns = try_take(l, bytes, at_ns)) != 0) {
		at_ns += wait_ns;
		if (at_ns > now_ns) {
			l->promised_ns = at_ns;
			l->promise_ends_ns = at_ns + LIMITER_LATE_NS;
			return at_ns - now_ns;
		}
	}
	l->promised_ns = at_ns;
	l->promise_ends_ns = at_ns < now_ns ? now_ns + LIMITER_FOLLOW_NS : 0;
	return 0;
}

uint64_t limiter_take_some(struct limiter *l, uint64_t bytes, uint64_t now_ns)
{
	struct bucket *b = &l->bandwidth;
	uint64_t n;

	if (unlimited(b))
		return bytes;
	refill(b, now_ns);
	n = MIN(bytes, b->burst);
	n += MIN(bytes - n, b->tokens);
	take(b, n, now_ns);
	return n;
}

static void bucket_fields(struct bucket *b, struct state *s, uint64_t now_ns)
{
	uint64_t tokens = b->tokens, burst = b->burst;
	uint64_t debt_ns = b->debt_ns > now_ns ? b->debt_ns - now_ns : 0;

	state_u64(s, "tokens", &tokens);
	state_u64(s, "burst", &burst);
	state_u64(s, "debt-ns", &debt_ns);
	if (!state_loading(s))
		return;
	/* The buckets may be smaller ones than those that were saved. */
	b->tokens = MIN(tokens, b->params.size);
	b->burst = MIN(burst, b->params.one_time_burst);
	b->at_ns = b->debt_ns = now_ns + MIN(debt_ns, TIME_MAX_NS / 2);
}

void limiter_state(struct limiter *l, struct state *s, uint64_t now_ns)
{
	bucket_fields(&l->bandwidth, s, now_ns);
	bucket_fields(&l->ops, s, now_ns);
	if (state_loading(s))
		l->promised_ns = l->promise_ends_ns = 0;
}
