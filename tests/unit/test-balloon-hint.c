/* SPDX-License-Identifier: Apache-2.0 */
/* Free page hinting: which ranges belong to a run, and who ends it. */
#include "test.h"

#include <errno.h>

#include "balloon-guest.h"
#include "log.h"

static const struct balloon_params everything = { 8, 1, true, true, true };

static int setup(void **state)
{
	return bg_setup(state, &everything, 5);
}

static void assert_hinting(struct bg *f, uint32_t host, bool has, uint32_t guest)
{
	struct balloon_hinting h;

	assert_int_equal(balloon_read_hinting(f->v, &h), 0);
	assert_int_equal(h.host_cmd, host);
	assert_int_equal(h.has_guest_cmd, has);
	if (has)
		assert_int_equal(h.guest_cmd, guest);
	assert_int_equal(bg_config32(f, 2), host);
}

static void hinting_has_runs(void **state)
{
	struct bg *f = *state;
	const struct balloon_counters *k = balloon_counters(f->v);

	bg_dirty(f, BG_PAGES, 8 * MIB);
	assert_hinting(f, 0, false, 0);
	bg_hint(f, 3, 0); /* nobody has asked */
	bg_interrupts(f);
	assert_int_equal(balloon_start_hinting(f->v, true), 0);
	assert_int_equal(bg_interrupts(f), 2);
	assert_hinting(f, 2, false, 0);
	bg_hint(f, 3, 0); /* of no run */
	bg_command(f, 3, 2);
	assert_hinting(f, 2, true, 2);
	bg_hint(f, 3, 1);
	assert_int_equal(bg_resident(f, BG_PAGES, MIB), 256);
	assert_int_equal(bg_resident(f, BG_PAGES + MIB, MIB), 0);
	bg_interrupts(f);
	bg_command(f, 3, 0);
	assert_hinting(f, 1, true, 0); /* it need not wait for us */
	assert_int_equal(bg_interrupts(f) & 2, 2);
	bg_hint(f, 3, 2);
	/* The next run is the host's to end. */
	assert_int_equal(balloon_start_hinting(f->v, false), 0);
	assert_hinting(f, 3, true, 0);
	bg_command(f, 3, 2); /* late: of the first run */
	bg_hint(f, 3, 3);
	bg_command(f, 3, 3);
	bg_hint(f, 3, 4);
	bg_command(f, 3, 0);
	assert_hinting(f, 3, true, 0);
	bg_hint(f, 3, 5);
	assert_int_equal(balloon_stop_hinting(f->v), 0);
	assert_hinting(f, 1, true, 0);
	bg_command(f, 3, 3);
	bg_hint(f, 3, 6);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(
			bg_resident(f, BG_PAGES + i * MIB, MIB), i == 1 || i == 4 ? 0 : 256);
	assert_int_equal(k->hint_ranges, 2);
	assert_int_equal(k->hint_bytes, 2 * MIB);
	assert_int_equal(k->hint_stale, 6);
	assert_int_equal(k->malformed, 0);
	bg_give(f, 3, &(struct drv_buf){ BG_BUF, 5, false }, 1);
	bg_give(f, 3, &(struct drv_buf){ BG_BUF, 3, false }, 1);
	assert_int_equal(k->malformed, 2);
}

static void a_reset_ends_a_run(void **state)
{
	struct bg *f = *state;

	assert_int_equal(balloon_start_hinting(f->v, true), 0);
	bg_command(f, 3, 2);
	drv_reset(&f->d);
	assert_int_equal(balloon_start_hinting(f->v, true), -ENXIO);
	assert_int_equal(balloon_stop_hinting(f->v), -ENXIO);
	assert_int_equal(drv_start(&f->d, BG_ALL_F, 5, 64), 0xf);
	assert_hinting(f, 0, false, 0);
	assert_int_equal(balloon_start_hinting(f->v, true), 0);
	assert_hinting(f, 3, false, 0); /* ids are not used twice */
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, bg_teardown)
	const struct CMUnitTest tests[] = {
		T(hinting_has_runs),
		T(a_reset_ends_a_run),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("balloon-hint", tests, NULL, NULL);
}
