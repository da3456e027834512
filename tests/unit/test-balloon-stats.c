/* SPDX-License-Identifier: Apache-2.0 */
/* The statistics of virtio-balloon: a buffer that the device keeps, and what is in it. */
#include "test.h"

#include <errno.h>
#include <linux/virtio_balloon.h>

#include "balloon-guest.h"
#include "log.h"
#include "num.h"

static const struct balloon_params everything = { 8, 1, true, true, true };

static int setup(void **state)
{
	return bg_setup(state, &everything, 5);
}

static void stat(struct bg *f, unsigned i, unsigned tag, uint64_t value)
{
	uint8_t raw[10];

	num_put_le16(raw, (uint16_t)tag);
	num_put_le64(raw + 2, value);
	assert_int_equal(gmem_write(&f->mem, GPA(BG_BUF + 10 * i), raw, 10), 0);
}

/* Gives a buffer of the statistics, which is kept. */
static uint16_t give_stats(struct bg *f, uint32_t len)
{
	uint16_t head = drv_add(&f->d, 2, &(struct drv_buf){ BG_BUF, len, false }, 1);

	drv_kick(&f->d, 2);
	drv_poll(&f->loop);
	return head;
}

static void statistics_are_asked_for_by_the_timer(void **state)
{
	struct bg *f = *state;
	struct balloon_stats s;
	uint32_t id, len;
	uint16_t head;

	assert_int_equal(balloon_read_stats(f->v, &s), 0);
	assert_int_equal(s.known, 0);
	assert_int_equal(s.target_pages, 8 * 256);
	stat(f, 0, VIRTIO_BALLOON_S_MEMFREE, 4711);
	stat(f, 1, 15, UINT64_MAX);
	stat(f, 2, 16, 1); /* of a later version */
	stat(f, 3, 0xffff, 1);
	for (uint64_t round = 0; round < 2; round++) {
		stat(f, 4, VIRTIO_BALLOON_S_SWAP_IN, round);
		head = give_stats(f, 50);
		assert_false(drv_used(&f->d, 2, &id, &len)); /* it is kept ... */
		assert_int_equal(balloon_read_stats(f->v, &s), 0);
		assert_int_equal(s.known, 1u << 4 | 1u << 15 | 1u << 0);
		assert_int_equal(s.values[4], 4711);
		assert_true(s.values[15] == UINT64_MAX);
		assert_int_equal(s.values[0], round);
		assert_true(drv_wait(&f->d, &f->loop, 2, &id, &len)); /* ... until the timer */
		assert_int_equal(id, head);
	}
	assert_int_equal(balloon_counters(f->v)->stats_updates, 2);
	assert_int_equal(balloon_counters(f->v)->stats_unknown, 4);
	assert_int_equal(balloon_counters(f->v)->stats_failed, 0);
	assert_string_equal(balloon_stat_names[4], "free_memory");
	assert_string_equal(balloon_stat_names[15], "direct_reclaim");
}

static void a_new_interval_asks_at_once(void **state)
{
	struct bg *f = *state;
	struct balloon_params p;
	uint32_t id, len;

	give_stats(f, 0);
	bg_interrupts(f);
	assert_int_equal(balloon_set_interval(f->v, 1), 0); /* no change, no question */
	assert_false(drv_used(&f->d, 2, &id, &len));
	assert_int_equal(balloon_set_interval(f->v, UINT16_MAX), 0);
	assert_true(drv_used(&f->d, 2, &id, &len));
	assert_int_equal(bg_interrupts(f), 1);
	assert_int_equal(balloon_set_interval(f->v, 0), -ENOTSUP);
	balloon_read_params(f->v, &p);
	assert_int_equal(p.stats_interval_s, UINT16_MAX);
}

static void forged_statistics_are_counted(void **state)
{
	struct bg *f = *state;
	const struct balloon_counters *k = balloon_counters(f->v);
	struct balloon_stats s;
	uint32_t id, len;

	stat(f, 0, 0, 1);
	stat(f, 1, 1, 2);
	give_stats(f, 19); /* one and a part */
	assert_int_equal(k->stats_failed, 1);
	balloon_read_stats(f->v, &s);
	assert_int_equal(s.known, 1);
	give_stats(f, 20); /* a second buffer: the first comes back */
	assert_int_equal(k->stats_failed, 2);
	assert_true(drv_used(&f->d, 2, &id, &len) && id == 0);
	assert_false(drv_used(&f->d, 2, &id, &len));
	give_stats(f, 8 * MIB); /* far too many: one too much, and of a wrong size */
	assert_int_equal(k->stats_failed, 4);
	assert_int_equal(drv_status(&f->d), 0xf);
	drv_reset(&f->d); /* what was kept is forgotten */
	assert_int_equal(drv_start(&f->d, BG_ALL_F, 5, 64), 0xf);
	drv_poll(&f->loop);
	balloon_read_stats(f->v, &s);
	assert_int_equal(s.known, 0);
	assert_int_equal(balloon_set_interval(f->v, 2), 0);
	assert_false(drv_used(&f->d, 2, &id, &len));
}

/* A device that has failed asks nobody; the driver's next start is a new beginning. */
static void nobody_is_asked_while_the_device_has_failed(void **state)
{
	struct bg *f = *state;
	uint32_t id, len;

	give_stats(f, 0);
	drv_add(&f->d, 4, &(struct drv_buf){ BG_MIBS * MIB, 4096, true }, 1);
	drv_kick(&f->d, 4);
	drv_poll(&f->loop);
	assert_int_equal(drv_status(&f->d), 0x4f);
	assert_int_equal(balloon_set_interval(f->v, 2), 0);
	assert_false(drv_used(&f->d, 2, &id, &len));
	drv_reset(&f->d);
	assert_int_equal(drv_start(&f->d, BG_ALL_F, 5, 64), 0xf);
	give_stats(f, 0);
	assert_true(drv_wait(&f->d, &f->loop, 2, &id, &len));
}

/* Nothing is written into a guest that stands still; its statistics go on with it. */
static void a_pause_puts_the_question_off(void **state)
{
	struct bg *f = *state;
	uint32_t id, len;

	give_stats(f, 0);
	assert_int_equal(virtio_pause(f->v, loop_now_ns() + NSEC_PER_SEC), 0);
	assert_int_equal(loop_poll(&f->loop, 10000), 0); /* the timer, which is all there is */
	assert_false(drv_used(&f->d, 2, &id, &len));
	virtio_resume(f->v);
	assert_true(drv_wait(&f->d, &f->loop, 2, &id, &len));
	assert_int_equal(balloon_counters(f->v)->stats_updates, 1);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, bg_teardown)
	const struct CMUnitTest tests[] = {
		T(statistics_are_asked_for_by_the_timer),
		T(a_new_interval_asks_at_once),
		T(forged_statistics_are_counted),
		T(nobody_is_asked_while_the_device_has_failed),
		T(a_pause_puts_the_question_off),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("balloon-stats", tests, NULL, NULL);
}
