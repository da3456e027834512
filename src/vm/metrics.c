/* SPDX-License-Identifier: Apache-2.0 */
/* Counters to a file, see metrics.h. */
#include "metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"

/* One line holds every counter: names are ours and short. */
#define LINE_BYTES (METRICS_MAX * 80)

static void on_timer(struct loop_src *src, uint32_t events)
{
	struct metrics *m = container_of(src, struct metrics, timer_src);

	(void)events;
	if (loop_drain(m->timerfd))
		metrics_flush(m);
}

int metrics_init(struct metrics *m, struct loop *loop, int fd, struct volt_err *err)
{
	int r;

	m->fd = fd;
	m->timerfd = -1;
	m->timer_src = (struct loop_src){ on_timer, "metrics-timer", -1 };
	m->n = 0;
	if (fd < 0)
		return 0;
	m->timerfd = loop_timer_open(err);
	if (m->timerfd < 0)
		return m->timerfd;
	r = loop_add(loop, &m->timer_src, m->timerfd, EPOLLIN);
	if (r == 0)
		r = loop_timer_set(m->timerfd, METRICS_PERIOD_NS, METRICS_PERIOD_NS);
	return r < 0 ? volt_err_set(err, -r, "metrics timer: %m") : 0;
}

void metrics_add(struct metrics *m, const char *group, const char *name,
	const _Atomic uint64_t *value)
{
	assert(m->n < METRICS_MAX);
	m->list[m->n++] = (struct metric){ group, name, value };
}

void metrics_flush(struct metrics *m)
{
	_cleanup_free_ char *line = NULL;
	const char *group = NULL;
	struct timespec ts;
	size_t n;

	if (m->fd < 0)
		return;
	line = malloc(LINE_BYTES);
	if (!line) {
		m->dropped++;
		return;
	}
	clock_gettime(CLOCK_REALTIME, &ts);
	n = (size_t)snprintf(line, LINE_BYTES, "{\"utc_timestamp_ms\":%" PRIu64,
		(uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000);
	for (size_t i = 0; i < m->n && n < LINE_BYTES - 256; i++) {
		const struct metric *e = &m->list[i];
		bool same = group && strcmp(group, e->group) == 0;

		if (!same)
			n += (size_t)snprintf(line + n, LINE_BYTES - n, "%s,\"%s\":{",
				group ? "}" : "", e->group);
		n += (size_t)snprintf(line + n, LINE_BYTES - n, "%s\"%s\":%" PRIu64,
			same ? "," : "", e->name,
			atomic_load_explicit(e->value, memory_order_relaxed));
		group = e->group;
	}
	n += (size_t)snprintf(line + n, LINE_BYTES - n, "%s}\n", group ? "}" : "");
	/* #syscalls loop: write */
	if (write(m->fd, line, n) != (ssize_t)n)
		m->dropped++;
}

void metrics_done(struct metrics *m)
{
	m->timerfd = fd_close(m->timerfd);
	m->fd = fd_close(m->fd);
}
