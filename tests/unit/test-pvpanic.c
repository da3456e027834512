/* SPDX-License-Identifier: Apache-2.0 */
/* A panic is told, a crash kernel's start and everything else is only counted. */
#include "test.h"

#include "port.h"
#include "pvpanic.h"

static void count(void *owner)
{
	(*(int *)owner)++;
}

static void tells_the_panic(void **state)
{
	struct pvpanic p;
	int n = 0;

	(void)state;
	pvpanic_init(&p, &(struct pvpanic_events){ count, &n });
	assert_int_equal(port_in(&p.dev, 0), 3);
	port_out(&p.dev, 0, 0);
	port_out(&p.dev, 0, 0xfc);
	assert_int_equal(p.ignored, 2);
	port_out(&p.dev, 0, 2);
	assert_int_equal(p.crash_loads, 1);
	assert_int_equal(n, 0);
	port_out(&p.dev, 0, 1);
	port_out(&p.dev, 0, 0xff);
	assert_int_equal(n, 2);
	assert_int_equal(p.panics, 2);
	pvpanic_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(tells_the_panic) };

	return cmocka_run_group_tests_name("pvpanic", tests, NULL, NULL);
}
