/* SPDX-License-Identifier: Apache-2.0 */
/* What the API counts, in both sets, and GET /volt/stats. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "api-call.h"
#include "api-route.h"
#include "vm.h"

struct fixture {
	struct vm_config cfg;
	struct vm vm;
	struct api api;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	vmcfg_defaults(&f->cfg);
	f->api = (struct api){ .cfg = &f->cfg, .vm = &f->vm };
	assert_int_equal(metrics_init(&f->vm.metrics, true, NULL), 0);
	api_stats_add(&f->api);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	metrics_done(&f->vm.metrics);
	vmcfg_done(&f->cfg);
	free(f);
	return 0;
}

static struct api_counter *counter(struct fixture *f, enum http_method method, const char *path)
{
	return &f->api.counters[api_route_index(api_call_route(method, path))];
}

static json_int_t value(const json_t *all, const char *group, const char *name)
{
	const json_t *v = json_object_get(json_object_get(all, group), name);

	assert_true(json_is_integer(v));
	return json_integer_value(v);
}

static json_t *stats(struct fixture *f)
{
	const char *said = api_call_said(&f->api, HTTP_GET, "/volt/stats", NULL, NULL);
	json_t *all;

	assert_int_equal(strncmp(said, "200 ", 4), 0);
	all = json_loads(said + 4, 0, NULL);
	assert_non_null(all);
	return all;
}

static void requests_are_counted_by_method_and_name(void **state)
{
	struct fixture *f = *state;
	json_t *all;

	counter(f, HTTP_PUT, "/drives/{id}")->count = 3;
	counter(f, HTTP_PUT, "/drives/{id}")->fails = 2;
	counter(f, HTTP_PATCH, "/drives/{id}")->count = 1;
	counter(f, HTTP_GET, "/version")->count = 5;
	f->api.deprecated = 4;
	all = stats(f);
	assert_int_equal(value(all, "put_api_requests", "drive_count"), 3);
	assert_int_equal(value(all, "put_api_requests", "drive_fails"), 2);
	assert_int_equal(value(all, "patch_api_requests", "drive_count"), 1);
	assert_int_equal(value(all, "patch_api_requests", "drive_fails"), 0);
	assert_int_equal(value(all, "get_api_requests", "vmm_version_count"), 5);
	assert_int_equal(value(all, "put_api_requests", "actions_count"), 0);
	assert_int_equal(value(all, "deprecated_api", "deprecated_http_api_calls"), 4);
	json_decref(all);
}

/* A counter of a route that the table does not know would be lost. */
static void every_counter_of_a_route_is_shown(void **state)
{
	struct fixture *f = *state;
	const struct api_route *r;
	size_t wanted = 0, seen = 0;
	json_t *all;

	for (size_t i = 0; (r = api_route_nth(i)); i++) {
		if (!r->counter)
			continue;
		f->api.counters[i].count = 1;
		wanted++;
	}
	all = stats(f);
	for (const char *const *g = (const char *const[]){ "get_api_requests", "put_api_requests",
		     "patch_api_requests", NULL }; *g; g++) {
		const char *name;
		json_t *v;

		json_object_foreach(json_object_get(all, *g), name, v)
			seen += (size_t)json_integer_value(v);
	}
	assert_int_equal(seen, wanted);
	json_decref(all);
}

static void the_start_up_is_measured_if_the_launcher_says_when(void **state)
{
	struct fixture *f = *state;
	json_t *all;

	api_stats_started(&f->api);
	all = stats(f);
	assert_int_equal(value(all, "api_server", "process_startup_time_us"), 0);
	assert_int_equal(value(all, "api_server", "process_startup_time_cpu_us"), 0);
	json_decref(all);
	f->cfg.start_time_us = loop_now_ns() / 1000 - 5000;
	f->cfg.start_time_cpu_us = 1;
	f->cfg.parent_cpu_time_us = 1000000;
	api_stats_started(&f->api);
	all = stats(f);
	assert_true(value(all, "api_server", "process_startup_time_us") >= 5000);
	assert_true(value(all, "api_server", "process_startup_time_cpu_us") >= 1000000);
	json_decref(all);
	f->cfg.start_time_us = loop_now_ns(); /* in the future */
	api_stats_started(&f->api);
	all = stats(f);
	assert_int_equal(value(all, "api_server", "process_startup_time_us"), 0);
	json_decref(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			requests_are_counted_by_method_and_name, setup, teardown),
		cmocka_unit_test_setup_teardown(every_counter_of_a_route_is_shown, setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_start_up_is_measured_if_the_launcher_says_when, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
