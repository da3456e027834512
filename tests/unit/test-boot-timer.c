/* SPDX-License-Identifier: Apache-2.0 */
/* One byte of one value at one place tells the time. */
#include "test.h"

#include "boot-timer.h"
#include "loop.h"
#include "port.h"

struct seen {
	int n;
	uint64_t now_ns, cpu_ns;
};

static void record(void *owner, uint64_t now_ns, uint64_t cpu_ns)
{
	struct seen *s = owner;

	s->n++;
	s->now_ns = now_ns;
	s->cpu_ns = cpu_ns;
}

static void only_the_magic_byte_counts(void **state)
{
	uint64_t before = loop_now_ns(), wide = BOOT_TIMER_MAGIC;
	struct boot_timer t;
	struct seen s = { 0 };

	(void)state;
	boot_timer_init(&t, &(struct boot_timer_events){ record, &s });
	for (unsigned v = 0; v < 256; v++)
		if (v != BOOT_TIMER_MAGIC)
			port_out(&t.dev, 0, v);
	port_out(&t.dev, 1, BOOT_TIMER_MAGIC);
	t.dev.ops->write(&t.dev, 0, &wide, 4);
	assert_int_equal(s.n, 0);
	assert_int_equal(t.ignored, 257);
	port_out(&t.dev, 0, BOOT_TIMER_MAGIC);
	assert_int_equal(s.n, 1);
	assert_true(s.now_ns >= before && s.now_ns <= loop_now_ns());
	assert_true(s.cpu_ns > 0);
	assert_int_equal(port_in(&t.dev, 0), 0);
	boot_timer_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(only_the_magic_byte_counts) };

	return cmocka_run_group_tests_name("boot-timer", tests, NULL, NULL);
}
