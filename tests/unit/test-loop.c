/* SPDX-License-Identifier: Apache-2.0 */
/* Sources are dispatched until they are removed, even by one another in the same batch. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "loop.h"

struct counter {
	struct loop_src src;
	struct loop *loop;
	struct counter *victim; /* freed by our callback */
	int fd, calls, quit_at;
};

static void on_event(struct loop_src *src, uint32_t events)
{
	struct counter *c = container_of(src, struct counter, src);

	assert_int_equal(events, EPOLLIN);
	if (c->victim) {
		loop_del(c->loop, &c->victim->src);
		close(c->victim->fd);
		free(c->victim);
		c->victim = NULL;
	}
	if (++c->calls == c->quit_at)
		loop_quit(c->loop);
}

static struct counter *counter(struct loop *l, unsigned value, int quit_at)
{
	struct counter *c = calloc(1, sizeof(*c));

	c->src = (struct loop_src){ .fn = on_event, .name = "counter", .fd = -1 };
	c->loop = l;
	c->quit_at = quit_at;
	c->fd = eventfd(value, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(loop_add(l, &c->src, c->fd, EPOLLIN), 0);
	return c;
}

static void drop(struct counter *c)
{
	loop_del(c->loop, &c->src);
	loop_del(c->loop, &c->src); /* nothing the second time */
	close(c->fd);
	free(c);
}

static void ready_sources_are_called_until_quit(void **state)
{
	struct loop l;
	struct counter *ready, *quiet;

	(void)state;
	assert_int_equal(loop_init(&l, NULL), 0);
	ready = counter(&l, 1, 5);
	quiet = counter(&l, 0, 0);
	assert_int_equal(loop_run(&l), 0);
	assert_int_equal(ready->calls, 5);
	assert_int_equal(quiet->calls, 0);
	assert_int_equal(loop_drain(ready->fd), 1);
	assert_int_equal(loop_drain(ready->fd), 0);
	assert_int_equal(loop_add(&l, &quiet->src, quiet->fd, EPOLLIN), -EEXIST);
	drop(ready);
	drop(quiet);
	loop_done(&l);
	assert_int_equal(l.epollfd, -1);
}

/* Both are ready; whichever is called first frees the other, whose event was fetched already. */
static void a_source_may_free_another_of_its_batch(void **state)
{
	struct loop l;
	struct counter *a, *b;

	(void)state;
	assert_int_equal(loop_init(&l, NULL), 0);
	a = counter(&l, 1, 3);
	b = counter(&l, 1, 0);
	a->victim = b;
	assert_int_equal(loop_run(&l), 0);
	assert_int_equal(a->calls, 3);
	drop(a);
	loop_done(&l);
}

static void a_modified_source_goes_quiet(void **state)
{
	struct loop l;
	struct counter *muted, *other;

	(void)state;
	assert_int_equal(loop_init(&l, NULL), 0);
	muted = counter(&l, 1, 0);
	other = counter(&l, 1, 4);
	assert_int_equal(loop_mod(&l, &muted->src, 0), 0);
	assert_int_equal(loop_run(&l), 0);
	assert_int_equal(muted->calls, 0);
	drop(muted);
	drop(other);
	loop_done(&l);
}

static void timers_fire_once_or_again(void **state)
{
	struct loop l;
	struct counter *c;
	uint64_t t0 = loop_now_ns();

	(void)state;
	assert_int_equal(loop_init(&l, NULL), 0);
	c = counter(&l, 0, 1);
	loop_del(&l, &c->src);
	close(c->fd);
	c->fd = loop_timer_open(NULL);
	assert_true(c->fd >= 0);
	assert_int_equal(loop_add(&l, &c->src, c->fd, EPOLLIN), 0);
	assert_int_equal(loop_timer_set(c->fd, 2000000, 0), 0);
	assert_int_equal(loop_run(&l), 0);
	assert_true(loop_now_ns() - t0 >= 2000000);
	assert_int_equal(loop_drain(c->fd), 1);
	assert_int_equal(loop_timer_set(c->fd, 1, 1000000), 0);
	for (c->quit_at = 4; c->calls < 4;) {
		l.quit = false;
		c->quit_at = c->calls + 1;
		assert_int_equal(loop_run(&l), 0);
		assert_true(loop_drain(c->fd) >= 1);
	}
	assert_int_equal(loop_timer_set(c->fd, 0, 0), 0);
	assert_int_equal(loop_drain(c->fd), 0);
	drop(c);
	loop_done(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ready_sources_are_called_until_quit),
		cmocka_unit_test(a_source_may_free_another_of_its_batch),
		cmocka_unit_test(a_modified_source_goes_quiet),
		cmocka_unit_test(timers_fire_once_or_again),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
