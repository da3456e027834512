/* SPDX-License-Identifier: Apache-2.0 */
/* Counters to a file, see metrics.h. */
#include "metrics.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "vmcfg.h"

static void on_timer(struct loop_src *src, uint32_t events)
{
	struct metrics *m = container_of(src, struct metrics, timer_src);

	(void)events;
	if (loop_drain(m->timerfd))
		metrics_flush(m);
}

int metrics_init(struct metrics *m, bool firecracker, struct volt_err *err)
{
	*m = (struct metrics){
		.own = counters_new(false),
		.firecracker = firecracker ? counters_new(true) : NULL,
		.fd = -1,
		.timerfd = -1,
		.timer_src = { on_timer, "metrics-timer", -1 },
	};
	atomic_flag_clear(&m->busy);
	if (!m->own || (firecracker && !m->firecracker))
		return volt_err_set(err, ENOMEM, "metrics: %m");
	return 0;
}

static struct counters *in_file(struct metrics *m)
{
	return m->firecracker ? m->firecracker : m->own;
}

/* The id has no character that JSON would write in another way. */
static char *more_of(const struct vm_config *cfg)
{
	bool id = cfg->metrics_emit_id, properties = cfg->metrics_properties;
	char *more;

	if (asprintf(&more, "%s%s%s%s%s", id ? ",\"id\":\"" : "", id ? cfg->id : "",
		    id ? "\"" : "", properties ? ",\"properties\":" : "",
		    properties ? cfg->metrics_properties : "") < 0)
		return NULL;
	return more;
}

static int start_timer(struct metrics *m, struct loop *loop, struct volt_err *err)
{
	int r;

	m->timerfd = loop_timer_open(err);
	if (m->timerfd < 0)
		return m->timerfd;
	r = loop_add(loop, &m->timer_src, m->timerfd, EPOLLIN);
	if (r == 0)
		r = loop_timer_set(m->timerfd, METRICS_PERIOD_NS, METRICS_PERIOD_NS);
	return r < 0 ? volt_err_set(err, -r, "metrics timer: %m") : 0;
}

int metrics_start(struct metrics *m, const struct vm_config *cfg, struct loop *loop, int fd,
	struct volt_err *err)
{
	m->fd = fd;
	if (!counters_complete(m->own) || (m->firecracker && !counters_complete(m->firecracker)))
		return volt_err_set(err, ENOMEM, "metrics: %m");
	if (fd < 0)
		return 0;
	m->more = more_of(cfg);
	if (m->more)
		m->line = malloc(counters_bytes(in_file(m), strlen(m->more)));
	if (!m->line)
		return volt_err_set(err, ENOMEM, "metrics: %m");
	return start_timer(m, loop, err);
}

void metrics_flush(struct metrics *m)
{
	size_t n;

	if (!m->line)
		return;
	if (atomic_flag_test_and_set_explicit(&m->busy, memory_order_acquire)) {
		atomic_fetch_add_explicit(&m->missed, 1, memory_order_relaxed);
		return;
	}
	n = counters_text(in_file(m), m->more, m->line);
	/* #syscalls loop vcpu: write */
	if (write(m->fd, m->line, n) != (ssize_t)n)
		atomic_fetch_add_explicit(&m->failed, 1, memory_order_relaxed);
	atomic_flag_clear_explicit(&m->busy, memory_order_release);
}

char *metrics_text(struct metrics *m)
{
	char *text = malloc(counters_bytes(m->own, 0));

	if (text)
		counters_text(m->own, "", text);
	return text;
}

void metrics_done(struct metrics *m)
{
	m->timerfd = fd_close(m->timerfd);
	m->fd = fd_close(m->fd);
	counters_free(m->own);
	counters_free(m->firecracker);
	free(m->more);
	free(m->line);
	m->own = m->firecracker = NULL;
	m->more = m->line = NULL;
}
