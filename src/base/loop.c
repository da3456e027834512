/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop, see loop.h. */
#include "loop.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"

int loop_init(struct loop *l, struct volt_err *err)
{
	*l = (struct loop){ .epollfd = epoll_create1(EPOLL_CLOEXEC) };
	if (l->epollfd < 0)
		return volt_err_set(err, errno, "epoll_create1: %m");
	return 0;
}

void loop_done(struct loop *l)
{
	l->epollfd = fd_close(l->epollfd);
}

int loop_add(struct loop *l, struct loop_src *src, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	/* #syscalls loop: epoll_ctl */
	if (epoll_ctl(l->epollfd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	src->fd = fd;
	return 0;
}

int loop_mod(struct loop *l, struct loop_src *src, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	return epoll_ctl(l->epollfd, EPOLL_CTL_MOD, src->fd, &ev) < 0 ? -errno : 0;
}

void loop_del(struct loop *l, struct loop_src *src)
{
	if (src->fd < 0)
		return;
	epoll_ctl(l->epollfd, EPOLL_CTL_DEL, src->fd, NULL);
	src->fd = -1;
	for (int i = l->at; i < l->n_pending; i++)
		if (l->pending[i].data.ptr == src)
			l->pending[i].data.ptr = NULL;
}

int loop_poll(struct loop *l, int timeout_ms)
{
	/* #syscalls loop: epoll_wait */
	int n = epoll_wait(l->epollfd, l->pending, LOOP_BATCH, timeout_ms);

	if (n < 0 && errno != EINTR)
		return -errno;
	l->n_pending = MAX(n, 0);
	for (l->at = 0; l->at < l->n_pending;) {
		struct epoll_event *ev = &l->pending[l->at++];
		struct loop_src *src = ev->data.ptr;

		if (src)
			src->fn(src, ev->events);
	}
	l->n_pending = 0;
	return 0;
}

int loop_run(struct loop *l)
{
	int r = 0;

	while (!l->quit && r == 0)
		r = loop_poll(l, -1);
	return r;
}

void loop_quit(struct loop *l)
{
	l->quit = true;
}

int loop_timer_open(struct volt_err *err)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	return fd < 0 ? volt_err_set(err, errno, "timerfd_create: %m") : fd;
}

int loop_timer_set(int timerfd, uint64_t delay_ns, uint64_t period_ns)
{
	struct itimerspec its = {
		.it_value = { (time_t)(delay_ns / NSEC_PER_SEC), (long)(delay_ns % NSEC_PER_SEC) },
		.it_interval = { (time_t)(period_ns / NSEC_PER_SEC),
			(long)(period_ns % NSEC_PER_SEC) },
	};

	/* #syscalls loop: timerfd_settime */
	return timerfd_settime(timerfd, 0, &its, NULL) < 0 ? -errno : 0;
}

uint64_t loop_drain(int fd)
{
	uint64_t v;

	/* #syscalls loop: read */
	return read(fd, &v, sizeof(v)) == (ssize_t)sizeof(v) ? v : 0;
}

uint64_t loop_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}
