/* SPDX-License-Identifier: Apache-2.0 */
/* Boot time stamps, see timeline.h. */
#include "timeline.h"

#include "loop.h"

static const char *const stages[TIMELINE_N] = {
	[TIMELINE_MAIN] = "exec",
	[TIMELINE_CONFIG] = "config",
	[TIMELINE_KVM] = "KVM set-up",
	[TIMELINE_LOAD] = "load",
	[TIMELINE_RUN] = "start",
	[TIMELINE_INIT] = "kernel to init",
	[TIMELINE_END] = "init to end",
};

void timeline_mark(struct timeline *t, enum timeline_mark mark)
{
	uint64_t unset = 0;

	atomic_compare_exchange_strong(&t->ns[mark], &unset, loop_now_ns());
}

void timeline_start(struct timeline *t, uint64_t start_time_us)
{
	uint64_t main_ns = atomic_load(&t->ns[TIMELINE_MAIN]), start_ns;

	if (!start_time_us || __builtin_mul_overflow(start_time_us, UINT64_C(1000), &start_ns) ||
		start_ns > main_ns)
		start_ns = main_ns;
	atomic_store(&t->ns[TIMELINE_EXEC], start_ns);
}

void timeline_print(const struct timeline *t, FILE *out)
{
	uint64_t first = atomic_load(&t->ns[TIMELINE_EXEC]);
	uint64_t last = first;

	fprintf(out, "timeline          ms    from start\n");
	for (size_t i = TIMELINE_MAIN; i < TIMELINE_N; i++) {
		uint64_t now = atomic_load(&t->ns[i]);

		if (!now || now < last)
			continue;
		fprintf(out, "  %-14s %8.2f  %8.2f\n", stages[i], (double)(now - last) / 1e6,
			(double)(now - first) / 1e6);
		last = now;
	}
	fprintf(out, "  %-14s %8.2f\n", "total", (double)(last - first) / 1e6);
}
