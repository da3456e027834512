/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-balloon: configuration, inflating, deflating, reporting, and which queue is which. */
#include "test.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_mmio.h>

#include "balloon-guest.h"
#include "log.h"

#define F_STATS	  VIRTIO_BIT(VIRTIO_BALLOON_F_STATS_VQ)
#define F_OOM	  VIRTIO_BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM)
#define F_HINT	  VIRTIO_BIT(VIRTIO_BALLOON_F_FREE_PAGE_HINT)
#define F_REPORT  VIRTIO_BIT(VIRTIO_BALLOON_F_REPORTING)
#define F_BALLOON (F_STATS | F_OOM | F_HINT | F_REPORT)

static const struct balloon_params everything = { 8, 1, true, true, true };
static const struct balloon_params plain = { 4, 0, false, false, false };

static int setup_all(void **state)
{
	return bg_setup(state, &everything, 5);
}

static int setup_plain(void **state)
{
	return bg_setup(state, &plain, 2);
}

static int setup_no_stats(void **state)
{
	return bg_setup(state, &(struct balloon_params){ 0, 0, false, true, true }, 4);
}

static void describes_itself(void **state)
{
	struct bg *f = *state;
	struct balloon_params p;
	uint8_t byte;

	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_DEVICE_ID), 5);
	assert_int_equal(f->v->features, VIRTIO_COMMON_FEATURES | F_BALLOON);
	assert_int_equal(bg_config32(f, 0), 8 * 256);
	assert_int_equal(bg_config32(f, 1), 0);
	assert_int_equal(bg_config32(f, 2), 0);
	drv_read(&f->d, VIRTIO_MMIO_CONFIG + 12, &byte, 1);
	assert_int_equal(byte, 0); /* behind the end */
	balloon_read_params(f->v, &p);
	assert_int_equal(p.amount_mib, 8);
	assert_int_equal(p.stats_interval_s, 1);
	assert_true(p.deflate_on_oom && p.hinting && p.reporting);
}

static void offers_only_what_is_asked_for(void **state)
{
	struct bg *f = *state;
	struct balloon_hinting h;
	struct balloon_params p;
	struct balloon_stats s;

	assert_int_equal(f->v->features, VIRTIO_COMMON_FEATURES);
	balloon_read_params(f->v, &p);
	assert_int_equal(p.amount_mib, 4);
	assert_int_equal(p.stats_interval_s, 0);
	assert_false(p.deflate_on_oom || p.hinting || p.reporting);
	assert_int_equal(balloon_read_stats(f->v, &s), -ENOTSUP);
	assert_int_equal(balloon_set_interval(f->v, 0), 0);
	assert_int_equal(balloon_set_interval(f->v, 1), -ENOTSUP);
	assert_int_equal(balloon_start_hinting(f->v, true), -ENOTSUP);
	assert_int_equal(balloon_stop_hinting(f->v), -ENOTSUP);
	assert_int_equal(balloon_read_hinting(f->v, &h), -ENOTSUP);
}

static void inflating_frees_the_pages(void **state)
{
	struct bg *f = *state;
	uint32_t pfns[256];

	bg_dirty(f, BG_PAGES, MIB + 4096);
	assert_int_equal(bg_resident(f, BG_PAGES, MIB), 256);
	for (unsigned i = 0; i < 256; i++)
		pfns[i] = BG_PFN + i;
	bg_give_pfns(f, 0, pfns, 256);
	assert_int_equal(bg_resident(f, BG_PAGES, MIB), 0);
	assert_int_equal(bg_resident(f, BG_PAGES + MIB, 4096), 1);
	assert_int_equal(drv_get8(&f->d, BG_PAGES + 77), 0);
	assert_int_equal(drv_get8(&f->d, BG_PAGES + MIB), 0xa5);
	assert_int_equal(balloon_counters(f->v)->inflated_pages, 256);
	assert_int_equal(balloon_counters(f->v)->discards, 1); /* a row is one call */
	bg_give_pfns(f, 1, pfns, 256);
	assert_int_equal(balloon_counters(f->v)->deflated_pages, 256);
	assert_int_equal(balloon_counters(f->v)->malformed, 0);
	assert_int_equal(bg_interrupts(f) & 1, 1);
}

static void rows_are_found_in_both_directions(void **state)
{
	static const struct {
		uint32_t pfns[6];
		unsigned n, calls, pages;
	} cases[] = {
		{ { BG_PFN, BG_PFN + 1, BG_PFN + 2 }, 3, 1, 3 },
		{ { BG_PFN + 2, BG_PFN + 1, BG_PFN }, 3, 1, 3 },
		{ { BG_PFN, BG_PFN + 2, BG_PFN + 4 }, 3, 3, 3 },
		{ { BG_PFN + 1, BG_PFN + 2, BG_PFN, BG_PFN + 3 }, 4, 1, 4 },
		{ { BG_PFN, BG_PFN, BG_PFN }, 3, 3, 3 },
		{ { BG_PFN, BG_PFN + 1, BG_PFN + 8, BG_PFN + 7 }, 4, 2, 4 },
		{ { BG_PFN }, 1, 1, 1 },
	};
	struct bg *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct balloon_counters *k = balloon_counters(f->v);
		uint64_t calls = k->discards, pages = k->inflated_pages;

		bg_dirty(f, BG_PAGES - 4096, 16 * 4096);
		bg_give_pfns(f, 0, cases[i].pfns, cases[i].n);
		assert_int_equal(k->discards - calls, cases[i].calls);
		assert_int_equal(k->inflated_pages - pages, cases[i].pages);
		for (unsigned p = 0; p < 15; p++) {
			bool named = false;

			for (unsigned j = 0; j < cases[i].n; j++)
				named |= cases[i].pfns[j] == BG_PFN + p;
			assert_int_equal(bg_resident(f, BG_PAGES + 4096 * p, 4096), !named);
		}
		assert_int_equal(bg_resident(f, BG_PAGES - 4096, 4096), 1);
	}
}

static void pages_that_are_not_ram_are_passed_over(void **state)
{
	const uint32_t pfns[] = { BG_PFN, BG_MIBS * 256 - 1, BG_MIBS * 256, BG_MIBS * 256 + 1,
		0xc0001, UINT32_MAX, BG_PFN + 1, 0xfee00 };
	struct bg *f = *state;

	bg_dirty(f, BG_PAGES, 8192);
	bg_dirty(f, BG_MIBS * MIB - 4096, 4096);
	bg_give_pfns(f, 0, pfns, ARRAY_SIZE(pfns));
	assert_int_equal(bg_resident(f, BG_PAGES, 8192), 0);
	assert_int_equal(bg_resident(f, BG_MIBS * MIB - 4096, 4096), 0);
	assert_int_equal(balloon_counters(f->v)->inflated_pages, 3);
	assert_int_equal(balloon_counters(f->v)->skipped_pages, 5);
	assert_int_equal(drv_status(&f->d), 0xf);
}

/* Any split into descriptors is the same list. */
static void lists_may_be_in_pieces(void **state)
{
	const uint32_t pfns[] = { BG_PFN, BG_PFN + 1, BG_PFN + 2, BG_PFN + 3 };
	struct bg *f = *state;

	bg_dirty(f, BG_PAGES, 16384);
	bg_put_pfns(f, BG_BUF, pfns, 4);
	bg_give(f, 0,
		(struct drv_buf[]){ { BG_BUF, 1, false }, { BG_BUF + 1, 6, false },
			{ BG_BUF + 7, 0, false }, { BG_BUF + 7, 9, false } },
		4);
	assert_int_equal(bg_resident(f, BG_PAGES, 16384), 0);
	assert_int_equal(balloon_counters(f->v)->malformed, 0);
}

static void odd_buffers_are_counted_and_given_back(void **state)
{
	struct bg *f = *state;
	const _Atomic uint64_t *bad = &balloon_counters(f->v)->malformed;
	const uint32_t pfns[] = { BG_PFN, BG_PFN + 1 };

	bg_dirty(f, BG_PAGES, 8192);
	bg_put_pfns(f, BG_BUF, pfns, 2);
	bg_give(f, 0, &(struct drv_buf){ BG_BUF, 3, false }, 1); /* no number */
	bg_give(f, 0, &(struct drv_buf){ BG_BUF, 64, true }, 1); /* nothing to read */
	bg_give(f, 1, &(struct drv_buf){ BG_BUF, 2, false }, 1);
	assert_int_equal(*bad, 3);
	assert_int_equal(bg_resident(f, BG_PAGES, 8192), 2);
	bg_give(f, 0, &(struct drv_buf){ BG_BUF, 0, false }, 1); /* nothing is nothing */
	assert_int_equal(*bad, 3);
	bg_give(f, 0, &(struct drv_buf){ BG_BUF, 7, false }, 1); /* a number and a bit */
	assert_int_equal(*bad, 4);
	assert_int_equal(bg_resident(f, BG_PAGES, 8192), 1);
	/* All of memory as a list: what is in front is done, and it ends. */
	bg_give(f, 0, &(struct drv_buf){ BG_PAGES + 4096, 4 * MIB, false }, 1);
	assert_int_equal(*bad, 5);
	assert_int_equal(drv_status(&f->d), 0xf);
}

static void many_buffers_take_their_turns(void **state)
{
	struct bg *f = *state;
	uint32_t pfns[64], id, len;

	bg_dirty(f, BG_PAGES, 64 * 4096);
	for (unsigned i = 0; i < 64; i++) {
		pfns[i] = BG_PFN + i;
		drv_add(&f->d, 0, &(struct drv_buf){ BG_BUF + 4 * i, 4, false }, 1);
	}
	bg_put_pfns(f, BG_BUF, pfns, 64);
	drv_kick(&f->d, 0);
	for (unsigned i = 0; i < 64; i++)
		assert_true(drv_wait(&f->d, &f->loop, 0, &id, &len));
	assert_int_equal(bg_resident(f, BG_PAGES, 64 * 4096), 0);
	assert_in_range(balloon_counters(f->v)->inflates, 4, 64);
}

/* The rings are memory too: a driver that gives them up must not hurt anyone but itself. */
static void a_driver_may_give_up_its_own_rings(void **state)
{
	struct bg *f = *state;
	uint32_t pfns[64];

	for (unsigned i = 0; i < 64; i++)
		pfns[i] = (uint32_t)(BG_HEAP >> 12) + i;
	bg_put_pfns(f, BG_BUF, pfns, 64);
	drv_add(&f->d, 0, &(struct drv_buf){ BG_BUF, 256, false }, 1);
	drv_kick(&f->d, 0);
	drv_poll(&f->loop);
	drv_reset(&f->d);
	assert_int_equal(drv_start(&f->d, BG_ALL_F, 5, 64), 0xf);
	bg_give_pfns(f, 0, (uint32_t[]){ BG_PFN }, 1);
}

static void target_changes_are_told(void **state)
{
	struct bg *f = *state;
	struct balloon_params p;
	uint32_t actual = 1234;
	uint8_t byte = 9;

	bg_interrupts(f);
	assert_int_equal(balloon_set_target(f->v, BG_MIBS), 0);
	assert_int_equal(bg_config32(f, 0), BG_MIBS * 256);
	assert_int_equal(bg_interrupts(f), 2);
	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_CONFIG_GENERATION), 1);
	assert_int_equal(balloon_set_target(f->v, BG_MIBS + 1), -ERANGE);
	assert_int_equal(balloon_set_target(f->v, UINT32_MAX), -ERANGE);
	assert_int_equal(bg_interrupts(f), 0);
	assert_int_equal(balloon_set_target(f->v, 0), 0);
	assert_int_equal(bg_config32(f, 0), 0);
	balloon_read_params(f->v, &p);
	assert_int_equal(p.amount_mib, 0);
	/* The driver writes how much it has given, and nothing else. */
	drv_write(&f->d, VIRTIO_MMIO_CONFIG + 4, &actual, 4);
	assert_int_equal(bg_config32(f, 1), 1234);
	drv_write(&f->d, VIRTIO_MMIO_CONFIG, &actual, 4);
	drv_write(&f->d, VIRTIO_MMIO_CONFIG + 8, &actual, 4);
	drv_write(&f->d, VIRTIO_MMIO_CONFIG + 3, &byte, 1);
	assert_int_equal(bg_config32(f, 0), 0);
	assert_int_equal(bg_config32(f, 2), 0);
	assert_int_equal(f->v->counters.bad_config, 3);
	/* A VM that stands still learns of it when it goes on. */
	assert_int_equal(virtio_pause(f->v, loop_now_ns() + NSEC_PER_SEC), 0);
	assert_int_equal(balloon_set_target(f->v, 2), 0);
	virtio_resume(f->v);
	assert_int_equal(bg_config32(f, 0), 2 * 256);
	assert_int_equal(bg_interrupts(f), 2);
	drv_reset(&f->d);
	assert_int_equal(bg_config32(f, 1), 0);
	assert_int_equal(balloon_set_target(f->v, 1), -ENXIO);
}

static void reported_pages_are_freed(void **state)
{
	struct bg *f = *state;
	const struct balloon_counters *k = balloon_counters(f->v);

	bg_dirty(f, BG_PAGES, 4 * MIB);
	bg_give(f, 4,
		(struct drv_buf[]){ { BG_PAGES, 2 * MIB, true },
			{ BG_PAGES + 3 * MIB, MIB, true } },
		2);
	assert_int_equal(bg_resident(f, BG_PAGES, 2 * MIB), 0);
	assert_int_equal(bg_resident(f, BG_PAGES + 2 * MIB, MIB), 256);
	assert_int_equal(bg_resident(f, BG_PAGES + 3 * MIB, MIB), 0);
	assert_int_equal(k->report_ranges, 2);
	assert_int_equal(k->report_bytes, 3 * MIB);
	/* What is to be read must not be lost, nor what shares a page with others. */
	bg_give(f, 4, &(struct drv_buf){ BG_PAGES + 2 * MIB, MIB, false }, 1);
	bg_give(f, 4, &(struct drv_buf){ BG_PAGES + 2 * MIB + 1, 8190, true }, 1);
	assert_int_equal(bg_resident(f, BG_PAGES + 2 * MIB, MIB), 256);
	assert_int_equal(k->malformed, 1);
	assert_int_equal(k->report_errors, 0);
}

/* Linux numbers only the queues of the features that it has taken. */
static void queues_are_those_that_were_negotiated(void **state)
{
	static const struct {
		uint64_t features;
		int hint, report; /* queue, or -1 */
	} cases[] = {
		{ F_BALLOON, 3, 4 },
		{ F_HINT | F_REPORT, 2, 3 },
		{ F_STATS | F_REPORT, -1, 3 },
		{ F_REPORT, -1, 2 },
		{ F_HINT, 2, -1 },
		{ 0, -1, -1 },
	};
	struct bg *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		drv_reset(&f->d);
		assert_int_equal(drv_start(&f->d, cases[i].features, 5, 32), 0xf);
		drv_poll(&f->loop);
		bg_dirty(f, BG_PAGES, 3 * MIB);
		bg_give_pfns(f, 0, (uint32_t[]){ BG_PFN }, 1);
		assert_int_equal(bg_resident(f, BG_PAGES, 4096), 0);
		if (cases[i].report >= 0)
			bg_give(f, (unsigned)cases[i].report,
				&(struct drv_buf){ BG_PAGES + MIB, MIB, true }, 1);
		assert_int_equal(
			bg_resident(f, BG_PAGES + MIB, MIB), cases[i].report < 0 ? 256 : 0);
		if (cases[i].hint >= 0) {
			assert_int_equal(balloon_start_hinting(f->v, true), 0);
			bg_command(f, (unsigned)cases[i].hint, bg_config32(f, 2));
			bg_hint(f, (unsigned)cases[i].hint, 2);
		}
		assert_int_equal(
			bg_resident(f, BG_PAGES + 2 * MIB, MIB), cases[i].hint < 0 ? 256 : 0);
	}
}

/* A queue that nobody serves: its requests lie there, and nothing else happens. */
static void queues_that_were_not_negotiated_are_dead(void **state)
{
	struct bg *f = *state;
	uint32_t id, len;

	drv_reset(&f->d);
	assert_int_equal(drv_start(&f->d, 0, 5, 32), 0xf);
	bg_dirty(f, BG_PAGES, MIB);
	for (unsigned q = 2; q < 5; q++) {
		drv_add(&f->d, q, &(struct drv_buf){ BG_PAGES, MIB, true }, 1);
		drv_kick(&f->d, q);
		drv_poll(&f->loop);
		assert_false(drv_used(&f->d, q, &id, &len));
	}
	assert_int_equal(bg_resident(f, BG_PAGES, MIB), 256);
	assert_int_equal(drv_status(&f->d), 0xf);
}

static void queues_without_statistics_move_up(void **state)
{
	struct bg *f = *state;

	bg_dirty(f, BG_PAGES, 2 * MIB);
	bg_give(f, 3, &(struct drv_buf){ BG_PAGES, MIB, true }, 1);
	assert_int_equal(balloon_start_hinting(f->v, true), 0);
	bg_command(f, 2, 2);
	bg_hint(f, 2, 1);
	assert_int_equal(bg_resident(f, BG_PAGES, 2 * MIB), 0);
}

static void memory_outside_ram_needs_a_reset(void **state)
{
	struct bg *f = *state;

	drv_add(&f->d, 4, &(struct drv_buf){ BG_MIBS * MIB - 4096, 8192, true }, 1);
	drv_kick(&f->d, 4);
	drv_poll(&f->loop);
	assert_int_equal(drv_status(&f->d), 0x4f);
	assert_int_equal(balloon_set_target(f->v, 1), -ENXIO);
	assert_int_equal(balloon_set_interval(f->v, 9), 0);
	drv_reset(&f->d);
	assert_int_equal(drv_start(&f->d, BG_ALL_F, 5, 64), 0xf);
	assert_int_equal(balloon_set_target(f->v, 1), 0);
}

int main(void)
{
#define T(fn, how) cmocka_unit_test_setup_teardown(fn, setup_##how, bg_teardown)
	const struct CMUnitTest tests[] = {
		T(describes_itself, all),
		T(offers_only_what_is_asked_for, plain),
		T(inflating_frees_the_pages, plain),
		T(rows_are_found_in_both_directions, plain),
		T(pages_that_are_not_ram_are_passed_over, plain),
		T(lists_may_be_in_pieces, plain),
		T(odd_buffers_are_counted_and_given_back, plain),
		T(many_buffers_take_their_turns, plain),
		T(a_driver_may_give_up_its_own_rings, all),
		T(target_changes_are_told, all),
		T(reported_pages_are_freed, all),
		T(queues_are_those_that_were_negotiated, all),
		T(queues_that_were_not_negotiated_are_dead, all),
		T(queues_without_statistics_move_up, no_stats),
		T(memory_outside_ram_needs_a_reset, all),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("balloon", tests, NULL, NULL);
}
