/* SPDX-License-Identifier: Apache-2.0 */
/* A rate limit in an event loop, see throttle.h. */
#include "throttle.h"

#include <errno.h>

#include "cleanup.h"
#include "trace.h"

int throttle_open(struct throttle *t, struct loop *loop, const struct limiter_params *params,
	const char *name, void (*fn)(struct loop_src *src, uint32_t events), struct volt_err *err)
{
	int r;

	*t = (struct throttle){ .src = { fn, name, -1 }, .loop = loop };
	limiter_init(&t->limiter, params, loop_now_ns());
	t->timerfd = loop_timer_open(err);
	if (t->timerfd < 0)
		return t->timerfd;
	r = loop_add(loop, &t->src, t->timerfd, EPOLLIN);
	return r < 0 ? volt_err_set(err, -r, "%s: watch the timer: %m", name) : 0;
}

void throttle_close(struct throttle *t)
{
	if (!t->loop)
		return; /* was never opened */
	loop_del(t->loop, &t->src);
	t->timerfd = fd_close(t->timerfd);
}

void throttle_arm(struct throttle *t, uint64_t at_ns, uint64_t now_ns)
{
	if (t->armed_ns && t->armed_ns <= at_ns)
		return;
	/* #syscalls loop: timerfd_settime */
	if (loop_timer_set(t->timerfd, at_ns > now_ns ? at_ns - now_ns : 1, 0) == 0)
		t->armed_ns = at_ns;
}

bool throttle_take(struct throttle *t, uint64_t bytes, _Atomic uint64_t *refused)
{
	uint64_t now_ns, wait_ns;

	if (limiter_off(&t->limiter))
		return true;
	now_ns = loop_now_ns();
	wait_ns = limiter_take(&t->limiter, bytes, now_ns);
	if (wait_ns == 0)
		return true;
	atomic_fetch_add_explicit(refused, 1, memory_order_relaxed);
	TRACE2(throttle, t->src.name, wait_ns);
	t->until_ns = now_ns + wait_ns;
	throttle_arm(t, t->until_ns, now_ns);
	return false;
}

bool throttle_expire(struct throttle *t, _Atomic uint64_t *released)
{
	uint64_t now_ns = loop_now_ns();

	loop_drain(t->timerfd);
	t->armed_ns = 0;
	if (t->until_ns > now_ns) {
		throttle_arm(t, t->until_ns, now_ns);
		return false;
	}
	if (t->until_ns)
		atomic_fetch_add_explicit(released, 1, memory_order_relaxed);
	t->until_ns = 0;
	return true;
}

void throttle_forget(struct throttle *t)
{
	t->until_ns = t->armed_ns = 0;
	loop_timer_set(t->timerfd, 0, 0);
}

void throttle_change(struct throttle *t, const struct limiter_change *change)
{
	uint64_t now_ns = loop_now_ns();

	if (!change->bandwidth && !change->ops)
		return;
	limiter_change(&t->limiter, change, now_ns);
	if (!throttle_holds(t))
		return;
	t->until_ns = now_ns;
	throttle_arm(t, now_ns, now_ns);
}

void throttle_state(struct throttle *t, struct state *s)
{
	limiter_state(&t->limiter, s, loop_now_ns());
}
