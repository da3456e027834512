/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of counters as text: sums, what came since, names that JSON must escape, lines of a file. */
#include "test.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "counters.h"
#include "latency.h"
#include "metrics.h"
#include "vmcfg.h"

struct thing {
	_Atomic uint64_t a, b;
	struct latency took;
};

struct other {
	_Atomic uint64_t c;
};

#define FROM(n, type, field) { n, offsetof(type, field) }

static const struct counters_field fields[] = {
	{ "sum", COUNTERS_COUNT, { FROM(1, struct thing, a), FROM(2, struct other, c) } },
	{ "kept", COUNTERS_STORED, { FROM(1, struct thing, b) } },
	{ "took", COUNTERS_LATENCY, { FROM(1, struct thing, took) } },
	{ "none", COUNTERS_COUNT },
};

static struct thing things[2];
static struct other other;

static void add(struct counters *c, const char *name, const struct thing *t, bool shown)
{
	const void *const objects[] = { t, &other };

	counters_add(c, name, fields, ARRAY_SIZE(fields), objects, shown);
}

/* What follows the time, in a buffer of exactly the promised size. */
static const char *text(struct counters *c, const char *more)
{
	static char rest[2048];
	size_t size = counters_bytes(c, strlen(more));
	char *buf = malloc(size), *comma;
	size_t n = counters_text(c, more, buf);

	assert_true(n < size);
	assert_int_equal(strlen(buf), n);
	assert_int_equal(strncmp(buf, "{\"utc_timestamp_ms\":", 20), 0);
	comma = strpbrk(buf + 20, ",}");
	snprintf(rest, sizeof(rest), "%s", comma);
	free(buf);
	return rest;
}

static int setup(void **state)
{
	memset(things, 0, sizeof(things));
	other.c = 0;
	*state = NULL;
	return 0;
}

static void an_empty_set_is_the_time(void **state UNUSED)
{
	struct counters *c = counters_new(false);
	char buf[128];
	uint64_t now = (uint64_t)time(NULL) * 1000;
	uint64_t ms;

	counters_text(c, "", buf);
	ms = strtoull(buf + 20, NULL, 10);
	assert_true(ms >= now && ms < now + 60000);
	assert_string_equal(text(c, ",\"x\":1"), ",\"x\":1}\n");
	assert_true(counters_complete(c));
	counters_free(c);
	counters_free(NULL);
}

static void a_value_is_the_sum_of_its_counters(void **state UNUSED)
{
	struct counters *c = counters_new(false);

	add(c, "g", &things[0], true);
	things[0].a = 40;
	things[0].b = 7;
	other.c = 2;
	latency_add(&things[0].took, 5000);
	latency_add(&things[0].took, 3999);
	for (int i = 0; i < 2; i++)
		assert_string_equal(text(c, ""),
			",\"g\":{\"sum\":42,\"kept\":7,\"took\":{\"min_us\":3,\"max_us\":5,"
			"\"sum_us\":8},\"none\":0}}\n");
	counters_free(c);
}

static void deltas_are_since_the_last_text(void **state UNUSED)
{
	struct counters *c = counters_new(true);

	add(c, "g", &things[0], true);
	things[0].a = things[0].b = UINT64_MAX - 1;
	latency_add(&things[0].took, 5000);
	text(c, "");
	things[0].a += 1;
	latency_add(&things[0].took, 9000);
	assert_string_equal(text(c, ""),
		",\"g\":{\"sum\":1,\"kept\":18446744073709551614,\"took\":{\"min_us\":5,"
		"\"max_us\":9,\"sum_us\":9},\"none\":0}}\n");
	assert_string_equal(text(c, ""),
		",\"g\":{\"sum\":0,\"kept\":18446744073709551614,\"took\":{\"min_us\":5,"
		"\"max_us\":9,\"sum_us\":0},\"none\":0}}\n");
	counters_free(c);
}

static void sums_are_of_the_parts_before_them(void **state UNUSED)
{
	struct counters *c = counters_new(true);
	char want[512];
	const char *part = "{\"sum\":%u,\"kept\":0,\"took\":{\"min_us\":%u,\"max_us\":%u,"
			   "\"sum_us\":%u},\"none\":0}";
	int n;

	add(c, "g_1", &things[0], true);
	add(c, "g_2", &things[1], true);
	counters_add_sum(c, "g", fields, ARRAY_SIZE(fields));
	things[0].a = 3;
	things[1].a = 4;
	latency_add(&things[0].took, 5000);
	latency_add(&things[1].took, 2000);
	n = snprintf(want, sizeof(want), ",\"g_1\":");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	n += snprintf(want + n, sizeof(want) - (size_t)n, part, 3u, 5u, 5u, 5u);
	n += snprintf(want + n, sizeof(want) - (size_t)n, ",\"g_2\":");
	n += snprintf(want + n, sizeof(want) - (size_t)n, part, 4u, 2u, 2u, 2u);
	n += snprintf(want + n, sizeof(want) - (size_t)n, ",\"g\":");
	n += snprintf(want + n, sizeof(want) - (size_t)n, part, 7u, 0u, 0u, 7u);
#pragma GCC diagnostic pop
	snprintf(want + n, sizeof(want) - (size_t)n, "}\n");
	assert_string_equal(text(c, ""), want);
	counters_free(c);
}

static void parts_that_are_not_shown_give_their_extremes(void **state UNUSED)
{
	struct counters *c = counters_new(true);

	add(c, "", &things[0], false);
	add(c, "", &things[1], false);
	counters_add_sum(c, "all", fields, ARRAY_SIZE(fields));
	counters_add_sum(c, "again", fields, 1);
	latency_add(&things[0].took, 5000);
	latency_add(&things[1].took, 2000);
	things[1].a = 1;
	assert_string_equal(text(c, ""),
		",\"all\":{\"sum\":1,\"kept\":0,\"took\":{\"min_us\":2,\"max_us\":5,\"sum_us\":7},"
		"\"none\":0},\"again\":{\"sum\":1}}\n");
	counters_free(c);
}

static void what_is_not_there_counts_nothing(void **state UNUSED)
{
	struct counters *c = counters_new(false);

	counters_add(c, "g", fields, ARRAY_SIZE(fields), NULL, true);
	add(c, "h", NULL, true);
	other.c = 5;
	assert_string_equal(text(c, ""),
		",\"g\":{\"sum\":0,\"kept\":0,\"took\":{\"min_us\":0,\"max_us\":0,\"sum_us\":0},"
		"\"none\":0},\"h\":{\"sum\":5,\"kept\":0,\"took\":{\"min_us\":0,\"max_us\":0,"
		"\"sum_us\":0},\"none\":0}}\n");
	counters_free(c);
}

static void a_group_grows_while_its_name_is_the_last(void **state UNUSED)
{
	struct counters *c = counters_new(false);

	counters_add(c, "g", &fields[3], 1, NULL, true);
	counters_add(c, "g", &fields[1], 1, NULL, true);
	counters_add(c, "gg", &fields[1], 1, NULL, true);
	assert_string_equal(text(c, ""), ",\"g\":{\"none\":0,\"kept\":0},\"gg\":{\"kept\":0}}\n");
	counters_free(c);
}

static void names_of_groups_are_json(void **state UNUSED)
{
	struct counters *c = counters_new(false);
	json_t *v;
	char *buf;

	counters_add(c, "a\"\\\n\xc3\xa9", &fields[3], 1, NULL, true);
	buf = malloc(counters_bytes(c, 0));
	counters_text(c, "", buf);
	v = json_loads(buf, 0, NULL);
	assert_non_null(json_object_get(v, "a\"\\\n\xc3\xa9"));
	json_decref(v);
	free(buf);
	assert_true(counters_complete(c));
	counters_add(c, "\xff", &fields[3], 1, NULL, true); /* cannot be written in JSON */
	assert_false(counters_complete(c));
	counters_free(c);
}

/* ---- a file of them ---- */

static const char *line_of(int fd)
{
	static char line[1024];
	ssize_t n = read(fd, line, sizeof(line) - 1);

	assert_true(n > 0);
	line[n] = '\0';
	return strpbrk(line + 20, ",}");
}

static void lines_have_what_the_configuration_asks_for(void **state UNUSED)
{
	static const char *const begins[] = { ",\"own\":{",
		",\"id\":\"vm-1\",\"properties\":{\"zone\":\"b\"},\"theirs\":{" };
	char id[] = "vm-1", properties[] = "{\"zone\":\"b\"}";
	struct vm_config cfg = { .id = id };
	struct metrics m;
	struct loop loop;
	char *all;
	int fds[2];

	for (int i = 0; i < 2; i++) {
		assert_int_equal(pipe(fds), 0);
		assert_int_equal(loop_init(&loop, NULL), 0);
		assert_int_equal(metrics_init(&m, i, NULL), 0);
		metrics_flush(&m); /* nothing yet */
		add(m.own, "own", &things[0], true);
		if (i)
			add(m.firecracker, "theirs", &things[0], true);
		cfg.metrics_emit_id = i;
		cfg.metrics_properties = i ? properties : NULL;
		assert_int_equal(metrics_start(&m, &cfg, &loop, fds[1], NULL), 0);
		metrics_flush(&m);
		all = metrics_text(&m);
		assert_non_null(strstr(all, ",\"own\":{"));
		assert_null(strstr(all, "theirs"));
		free(all);
		assert_int_equal(strncmp(line_of(fds[0]), begins[i], strlen(begins[i])), 0);
		close(fds[0]);
		metrics_done(&m);
		loop_done(&loop);
	}
}

static void a_file_that_takes_nothing_is_counted(void **state UNUSED)
{
	struct vm_config cfg = { 0 };
	struct metrics m;
	struct loop loop;
	int fds[2];

	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	assert_int_equal(loop_init(&loop, NULL), 0);
	assert_int_equal(metrics_init(&m, false, NULL), 0);
	assert_int_equal(metrics_start(&m, &cfg, &loop, fds[1], NULL), 0);
	while (write(fds[1], fds, 1) == 1)
		;
	metrics_flush(&m);
	assert_int_equal(m.failed, 1);
	assert_true(atomic_flag_test_and_set(&m.busy) == false); /* as in a signal handler */
	metrics_flush(&m);
	assert_int_equal(m.missed, 1);
	close(fds[0]);
	metrics_done(&m);
	loop_done(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_empty_set_is_the_time, setup),
		cmocka_unit_test_setup(a_value_is_the_sum_of_its_counters, setup),
		cmocka_unit_test_setup(deltas_are_since_the_last_text, setup),
		cmocka_unit_test_setup(sums_are_of_the_parts_before_them, setup),
		cmocka_unit_test_setup(parts_that_are_not_shown_give_their_extremes, setup),
		cmocka_unit_test_setup(what_is_not_there_counts_nothing, setup),
		cmocka_unit_test_setup(a_group_grows_while_its_name_is_the_last, setup),
		cmocka_unit_test_setup(names_of_groups_are_json, setup),
		cmocka_unit_test_setup(lines_have_what_the_configuration_asks_for, setup),
		cmocka_unit_test_setup(a_file_that_takes_nothing_is_counted, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
