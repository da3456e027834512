/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rate limit in an event loop: a limiter, and the timer for all that it makes wait. Who is
 * refused puts its request back and stops; when the timer ends, the owner's callback begins again.
 * The owner may use the timer for other waits too. Loop thread, but for opening and closing.
 */
#ifndef VOLT_THROTTLE_H
#define VOLT_THROTTLE_H

#include <stdatomic.h>

#include "bucket.h"
#include "loop.h"

struct throttle {
	struct loop_src src; /* the timer */
	struct loop *loop;   /* borrowed */
	int timerfd;	     /* owned */
	struct limiter limiter; /* not refilled by a reset: that would be a way around it */
	uint64_t armed_ns; /* when the timer ends; 0: it is not set */
	uint64_t until_ns; /* until then the limit lets nothing pass; 0: it does */
};

/*
 * fn finds its owner through src, and calls throttle_expire() first. throttle_close() undoes it in
 * any state, also after a failure.
 */
int throttle_open(struct throttle *t, struct loop *loop, const struct limiter_params *params,
	const char *name, void (*fn)(struct loop_src *src, uint32_t events), struct volt_err *err);
void throttle_close(struct throttle *t);

/*
 * True: one operation of `bytes` may pass. Else it is counted, and throttle_holds() until the
 * timer.
 */
bool throttle_take(struct throttle *t, uint64_t bytes, _Atomic uint64_t *refused);

static inline bool throttle_holds(const struct throttle *t)
{
	return t->until_ns != 0;
}

/* Makes the timer end at `at_ns` or before. */
void throttle_arm(struct throttle *t, uint64_t at_ns, uint64_t now_ns);

/*
 * The timer has ended. False: it was not for the limit, which still holds. *released is incremented
 * if it was.
 */
bool throttle_expire(struct throttle *t, _Atomic uint64_t *released);

/* Nothing waits any more. */
void throttle_forget(struct throttle *t);

struct state;

/* Machine state: what the limit has left. Who waited tries again. */
void throttle_state(struct throttle *t, struct state *s);

/* Changes the limit, and makes what waits try again at once, by the timer. */
void throttle_change(struct throttle *t, const struct limiter_change *change);

#endif
