/* SPDX-License-Identifier: Apache-2.0 */
/* The progress bar, see store-bar.h. */
#include "store-bar.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define WIDTH     30
#define PERIOD_NS (100 * NSEC_PER_MSEC)

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

void store_bar_init(struct store_bar *bar, const char *what)
{
	*bar = (struct store_bar){ .what = what, .on = isatty(STDERR_FILENO) != 0 };
	bar->begun_ns = now_ns();
}

void store_bar_tell(void *ctx, uint64_t done, uint64_t total)
{
	static const char full[] = "##############################",
			  none[] = "                              ";
	struct store_bar *bar = ctx;
	uint64_t now = bar->on ? now_ns() : 0;
	double seconds = (double)(now - bar->begun_ns) / (double)NSEC_PER_SEC;
	int n = total ? (int)(MIN(done, total) * WIDTH / total) : 0;

	_Static_assert(
		sizeof(full) == WIDTH + 1 && sizeof(none) == WIDTH + 1, "as wide as the bar");
	if (!bar->on || (now - bar->shown_ns < PERIOD_NS && bar->shown_ns))
		return;
	bar->shown_ns = now;
	if (total)
		fprintf(stderr, "\r%s [%.*s%.*s] %3u%%", bar->what, n, full, WIDTH - n, none,
			(unsigned)(MIN(done, total) * 100 / total));
	else
		fprintf(stderr, "\r%s", bar->what);
	fprintf(stderr, "  %ju MiB, %.0f MiB/s\033[K", (uintmax_t)(done / MIB),
		seconds > 0 ? (double)done / (double)MIB / seconds : 0);
}

void store_bar_done(struct store_bar *bar)
{
	if (bar->on && bar->shown_ns)
		fprintf(stderr, "\r\033[K");
	bar->on = false;
}
