/* SPDX-License-Identifier: Apache-2.0 */
/* PUT /cpu-config: the last template wins, and Firecracker's faults. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api-call.h"
#include "api-resources.h"
#include "cpu-template.h"
#include "resources.h"

static struct vm_config cfg;
static struct resources res;
static struct api api = { .cfg = &cfg, .res = &res };
static char answer[1024];

static bool put(const char *text)
{
	snprintf(answer, sizeof(answer), "%s",
		api_call_said(&api, HTTP_PUT, "/cpu-config", NULL, text));
	if (strncmp(answer, "400 ", 4) == 0)
		memmove(answer, answer + 4, strlen(answer + 4) + 1);
	return strcmp(answer, "204") == 0;
}

static void the_last_template_wins(void **state)
{
	(void)state;
	cfg.cpu_template = CPU_TEMPLATE_T2;
	assert_true(put("{\"kvm_capabilities\": [\"1\", \"!2\"]}"));
	assert_int_equal(cfg.cpu_template, CPU_TEMPLATE_NONE);
	assert_string_equal(cfg.cpu_config, "{\"kvm_capabilities\":[\"1\",\"!2\"]}");
	assert_int_equal(res.cpu_template->n_caps, 2);
	assert_true(put("{\"msr_modifiers\": [{\"addr\": \"0x10\", \"bitmap\": \"0b1\"}]}"));
	assert_int_equal(res.cpu_template->n_caps, 0);
	assert_int_equal(res.cpu_template->n_msrs, 1);
	assert_false(put("{\"kvm_capabilities\": [\"\"]}"));
	assert_int_equal(res.cpu_template->n_msrs, 1);
	assert_non_null(strstr(cfg.cpu_config, "msr_modifiers"));
	api_cpu_forget(&api);
	assert_null(res.cpu_template);
	assert_null(cfg.cpu_config);
	assert_true(put("{}"));
	assert_string_equal(cfg.cpu_config, "{}");
	api_cpu_forget(&api);
}

static void faults_are_firecrackers(void **state)
{
	(void)state;
	assert_false(put("{\"msr_modifiers\": [{\"addr\": \"16\", \"bitmap\": \"0b1\"}]}"));
	assert_string_equal(answer,
		"An error occurred when deserializing the json body of a request: No supported "
		"number system prefix found in value [16]. Make sure to prefix the number with "
		"'0x' for hexadecimal numbers or '0b' for binary numbers.");
	assert_false(put("{\"msr_modifiers\": [{\"addr\": \"0x1\", \"bitmap\": \"0b3\"}]}"));
	assert_string_equal(answer,
		"An error occurred when deserializing the json body of a request: Failed to parse "
		"string [0b3] as a bitmap - unknown character: 51.");
}

static void too_many_changes_are_refused(void **state)
{
	char *text = calloc(1, 5 * 1100 + 100), *p = text;

	(void)state;
	p += sprintf(p, "{\"kvm_capabilities\": [\"1\"");
	for (int i = 0; i < CPU_TEMPLATE_MAX; i++)
		p += sprintf(p, ",\"1\"");
	sprintf(p, "]}");
	assert_false(put(text));
	assert_string_equal(answer,
		"Configure CPU error: has 1025 entries, and the maximum is 1024");
	free(text);
}

static void it_is_a_route(void **state)
{
	(void)state;
	assert_int_equal(api_cpu_n_routes, 1);
	assert_string_equal(api_cpu_routes[0].path, "/cpu-config");
	assert_int_equal(api_cpu_routes[0].stage, API_PRE);
	assert_true(api_cpu_routes[0].body->deny_unknown);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_template_wins),
		cmocka_unit_test(faults_are_firecrackers),
		cmocka_unit_test(too_many_changes_are_refused),
		cmocka_unit_test(it_is_a_route),
	};

	return cmocka_run_group_tests_name("api-cpu", tests, NULL, NULL);
}
