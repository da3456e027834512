/* SPDX-License-Identifier: Apache-2.0 */
/* /mmds and /mmds/config: Firecracker's words and statuses, before and after the start. */
#include <stdlib.h>
#include <string.h>

#include "api-call.h"
#include "api-resources.h"
#include "mmds.h"
#include "resources.h"
#include "test.h"
#include "vm.h"

#define NOT_THERE "400 MMDS error: The MMDS data store is not initialized."
#define TOO_MUCH  "413 MMDS limit exceeded error: The MMDS patch request doesn't fit."
#define CONFIG	  "400 MMMDS config error: "

struct fixture {
	struct api api;
	struct vm_config cfg;
	struct resources res;
	struct vm vm;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	vmcfg_defaults(&f->cfg);
	resources_init(&f->res);
	f->cfg.mmds_size_limit = 200;
	f->cfg.n_nets = 2;
	f->cfg.nets[0] = (struct net_config){ .id = strdup("eth0"), .fd = -1 };
	f->cfg.nets[1] = (struct net_config){ .id = strdup("fast"), .fd = -1, .vhost = true };
	f->api = (struct api){ .cfg = &f->cfg, .res = &f->res, .vm = &f->vm };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	resources_mmds_done(&f->res);
	vmcfg_done(&f->cfg);
	free(f);
	return 0;
}

#define SAID(f, method, path, body, want)                                                          \
	assert_string_equal(api_call_said(&(f)->api, method, path, NULL, body), want)
#define PUT(f, body, want)   SAID(f, HTTP_PUT, "/mmds", body, want)
#define PATCH(f, body, want) SAID(f, HTTP_PATCH, "/mmds", body, want)
#define GET(f, want)	     SAID(f, HTTP_GET, "/mmds", NULL, want)
#define SET(f, body, want)   SAID(f, HTTP_PUT, "/mmds/config", body, want)

static void data_is_put_patched_and_got(void **state)
{
	struct fixture *f = *state;

	GET(f, "200 {}");
	PATCH(f, "{\"a\":1}", NOT_THERE);
	PUT(f, "{\"b\":{\"c\":\"d\"},\"a\":[1,null]}", "204");
	GET(f, "200 {\"a\":[1,null],\"b\":{\"c\":\"d\"}}");
	PATCH(f, "{\"a\":null,\"b\":{\"e\":2}}", "204");
	GET(f, "200 {\"b\":{\"c\":\"d\",\"e\":2}}");
	PUT(f, "\"text\"", "204");
	GET(f, "200 \"text\"");
	PUT(f, "null", "204");
	GET(f, "200 {}");
}

static void what_does_not_fit_is_413(void **state)
{
	char got[260] = "200 {\"a\":\"", *body = got + 4;
	struct fixture *f = *state;

	memset(body + 6, 'x', 200 - 8);
	strcpy(body + 198, "\"}");
	PUT(f, body, "204");
	PATCH(f, "{\"b\":1}", TOO_MUCH);
	GET(f, got);
	strcpy(body + 198, "x\"}");
	PUT(f, body, TOO_MUCH);
	PATCH(f, "{\"a\":\"\",\"b\":1}", "204");
}

static void a_config_is_judged_as_firecracker_does(void **state)
{
	struct fixture *f = *state;

	SET(f, "{\"network_interfaces\":[],\"ipv4_address\":\"10.0.0.1\"}",
		CONFIG "The MMDS IPv4 address is not link local.");
	SET(f, "{\"network_interfaces\":[\"eth0\"],\"ipv4_address\":\"169.254.0.1\"}",
		CONFIG "The MMDS IPv4 address is not link local.");
	SET(f, "{\"network_interfaces\":[]}",
		CONFIG "The list of network interface IDs that allow forwarding MMDS requests is "
		       "empty.");
	SET(f, "{\"network_interfaces\":[\"eth0\",\"eth1\"]}",
		CONFIG "The list of network interface IDs provided contains at least one ID that "
		       "does not correspond to any existing network interface.");
	SET(f, "{\"network_interfaces\":[\"eth0\",\"fast\"]}",
		CONFIG "The network interface fast has vhost, with which the metadata service sees "
		       "no frames.");
	assert_false(f->cfg.mmds.present);
	assert_int_equal(f->api.deprecated, 5); /* uses of V1, whatever came of them */
}

static void a_config_replaces_the_one_before(void **state)
{
	struct fixture *f = *state;
	json_t *v;
	char *text;

	SET(f, "{\"network_interfaces\":[\"eth0\"],\"version\":\"V2\","
	       "\"ipv4_address\":\"169.254.1.7\",\"imds_compat\":true}", "204");
	assert_int_equal(f->api.deprecated, 0);
	assert_true(f->cfg.mmds.present);
	assert_int_equal(f->cfg.mmds.version, MMDS_V2);
	assert_string_equal(f->cfg.mmds.ipv4, "169.254.1.7");
	assert_true(f->cfg.mmds.imds_compat);
	assert_string_equal(f->cfg.mmds.interfaces, "eth0");
	SET(f, "{\"network_interfaces\":[\"eth0\"]}", "204");
	assert_int_equal(f->api.deprecated, 1);
	v = api_mmds_json(&f->cfg);
	text = json_dumps(v, JSON_COMPACT);
	assert_string_equal(text,
		"{\"version\":\"V1\",\"network_interfaces\":[\"eth0\"],\"ipv4_address\":"
		"\"169.254.169.254\",\"imds_compat\":false}");
	json_decref(v);
	free(text);
}

static void after_the_start_an_interface_must_have_it(void **state)
{
	struct fixture *f = *state;

	PUT(f, "{\"a\":1}", "204");
	f->api.started = true;
	GET(f, NOT_THERE);
	PUT(f, "{}", NOT_THERE);
	PATCH(f, "{}", NOT_THERE);
	f->vm.mmds = f->res.mmds;
	GET(f, "200 {\"a\":1}");
	PATCH(f, "{\"b\":2}", "204");
	GET(f, "200 {\"a\":1,\"b\":2}");
}

static void stages_and_counters(void **state)
{
	(void)state;
	for (size_t i = 0; i < api_mmds_n_routes; i++) {
		const struct api_route *r = &api_mmds_routes[i];

		assert_string_equal(r->counter, "mmds");
		assert_int_equal(r->stage, strcmp(r->path, "/mmds") == 0 ? API_BOTH : API_PRE);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(data_is_put_patched_and_got),
		T(what_does_not_fit_is_413),
		T(a_config_is_judged_as_firecracker_does),
		T(a_config_replaces_the_one_before),
		T(after_the_start_an_interface_must_have_it),
		cmocka_unit_test(stages_and_counters),
	};

	return cmocka_run_group_tests_name("api-mmds", tests, NULL, NULL);
}
