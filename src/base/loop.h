/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: epoll over sources that are embedded in their owners. All functions belong to the
 * loop's thread, but for loop_add() and loop_del() before loop_run(). A source may be removed, and
 * its owner freed, from any callback, its own included: events that were already fetched for it are
 * dropped. A timer is a source over a timerfd.
 */
#ifndef VOLT_LOOP_H
#define VOLT_LOOP_H

#include <stdbool.h>
#include <sys/epoll.h>

#include "err.h"

#define LOOP_BATCH 32

struct loop_src {
	/* Called with EPOLL* bits; the owner is found by container_of. */
	void (*fn)(struct loop_src *src, uint32_t events);
	const char *name; /* what this source is, for traces; borrowed */
	int fd;		  /* borrowed; -1 while not in a loop */
};

struct loop {
	int epollfd; /* owned */
	bool quit;
	int n_pending, at;
	struct epoll_event pending[LOOP_BATCH];
};

int loop_init(struct loop *l, struct volt_err *err);
void loop_done(struct loop *l);

/* Watches fd for `events` (EPOLLIN...). src must live until loop_del(). 0 or -errno. */
int loop_add(struct loop *l, struct loop_src *src, int fd, uint32_t events);
int loop_mod(struct loop *l, struct loop_src *src, uint32_t events);
/* Stops watching; nothing if src is not watched. The fd stays open. */
void loop_del(struct loop *l, struct loop_src *src);

/* Dispatches until loop_quit(). 0, or -errno if waiting fails. */
int loop_run(struct loop *l);
/* One round: waits at most timeout_ms (-1: for ever) for events and dispatches them; also after loop_quit(). */
int loop_poll(struct loop *l, int timeout_ms);
void loop_quit(struct loop *l);

/* Timers: fd from loop_timer_open(); delay 0 disarms; a period of 0 fires once. Nanoseconds. */
int loop_timer_open(struct volt_err *err);
int loop_timer_set(int timerfd, uint64_t delay_ns, uint64_t period_ns);

/* Reads the 8-byte counter of an eventfd or timerfd; 0 if nothing was pending. */
uint64_t loop_drain(int fd);

/* CLOCK_MONOTONIC, nanoseconds. Any thread. */
uint64_t loop_now_ns(void);

#endif
