/* SPDX-License-Identifier: Apache-2.0 */
/* /machine-config: vCPUs and memory. */
#include <string.h>

#include "api-resources.h"

static const char *const huge_pages[] = {
	[HUGE_PAGES_NONE] = "None",
	[HUGE_PAGES_TRANSPARENT] = "Transparent",
	[HUGE_PAGES_2M] = "2M",
	NULL,
};
/* In the order of the fault that lists them. */
static const char *const templates[] = { "C3", "T2", "T2S", "T2CL", "T2A", "None", NULL };

#define FIELDS(put)                                                                                \
	{ "vcpu_count", { SERDE_U8 }, .required = (put) },                                         \
		{ "mem_size_mib", { SERDE_USIZE }, .required = (put) },                            \
		{ "smt", { SERDE_BOOL }, .not_null = (put) },                                      \
		{ "cpu_template", { SERDE_ENUM, .names = templates } },                            \
		{ "track_dirty_pages", { SERDE_BOOL }, .not_null = (put) },                        \
	{                                                                                          \
		"huge_pages", { SERDE_ENUM, .names = huge_pages }, .not_null = (put)               \
	}

static const struct serde_field put_fields[] = { FIELDS(true) };
static const struct serde_field patch_fields[] = { FIELDS(false) };
static const struct serde_object put_body = { "MachineConfig", true, put_fields,
	ARRAY_SIZE(put_fields) };
static const struct serde_object patch_body = { "MachineConfigUpdate", true, patch_fields,
	ARRAY_SIZE(patch_fields) };

/* A number of the body, else what stands. */
static uint64_t number(const struct api_call *c, const char *key, uint64_t now)
{
	const json_t *v = json_object_get(c->body, key);

	return v ? (uint64_t)json_integer_value(v) : now;
}

static bool flag(const struct api_call *c, const char *key, bool now)
{
	const json_t *v = json_object_get(c->body, key);

	return v ? json_is_true(v) : now;
}

/* Firecracker's own judgement; false: answered. */
static bool judge(struct api_call *c)
{
	const struct vm_config *cfg = c->api->cfg;
	uint64_t vcpus = number(c, "vcpu_count", cfg->vcpus);
	uint64_t mib = number(c, "mem_size_mib", cfg->mem_bytes / MIB);
	const char *huge = api_string(c, "huge_pages");
	bool is_huge = huge ? strcmp(huge, "None") != 0 : cfg->huge_pages != HUGE_PAGES_NONE;

	if (vcpus < 1 || vcpus > LIMIT_VCPUS ||
		(flag(c, "smt", cfg->smt) && vcpus > 1 && vcpus % 2)) {
		api_fault(c, "Machine config error: The number of vCPUs must be greater than 0, "
			     "less than 32 and must be 1 or an even number if SMT is enabled.");
		return false;
	}
	if (!mib || (is_huge && mib % 2)) {
		api_fault(c, "Machine config error: The memory size (MiB) is either 0, or not a "
			     "multiple of the configured page size.");
		return false;
	}
	if (cfg->balloon.present && mib < cfg->balloon.amount_mib) {
		api_fault(c, "Machine config error: The memory size (MiB) is smaller than the "
			     "previously set balloon device target size.");
		return false;
	}
	return true;
}

static void update(struct api_call *c)
{
	if (api_has(c, "cpu_template"))
		api_deprecated(c, "cpu_template of /machine-config");
	if (!judge(c))
		return;
	if (api_has(c, "cpu_template"))
		api_cpu_forget(c->api);
	api_apply(c, "machine-config", c->api->cfg, "Machine config error: ");
}

/* PUT replaces: what it does not name gets the default. */
static void put_machine(struct api_call *c)
{
	if (!api_has(c, "smt"))
		json_object_set_new(c->body, "smt", json_false());
	if (!api_has(c, "track_dirty_pages"))
		json_object_set_new(c->body, "track_dirty_pages", json_false());
	if (!api_has(c, "huge_pages"))
		json_object_set_new(c->body, "huge_pages", json_string("None"));
	update(c);
}

static void patch_machine(struct api_call *c)
{
	if (json_object_size(c->body) == 0)
		api_fault(c, "Empty PATCH request.");
	else
		update(c);
}

json_t *api_machine_json(const struct vm_config *cfg)
{
	json_t *v = json_pack("{s:i, s:I, s:b}", "vcpu_count", (int)cfg->vcpus, "mem_size_mib",
		(json_int_t)(cfg->mem_bytes / MIB), "smt", cfg->smt);

	if (cfg->cpu_template != CPU_TEMPLATE_NONE)
		json_object_set_new(v, "cpu_template",
			json_string(vmcfg_cpu_template_names[cfg->cpu_template]));
	json_object_set_new(v, "track_dirty_pages", json_boolean(cfg->track_dirty_pages));
	json_object_set_new(v, "huge_pages", json_string(huge_pages[cfg->huge_pages]));
	return v;
}

static void get_machine(struct api_call *c)
{
	api_json(c, api_machine_json(c->api->cfg));
}

const struct api_route api_machine_routes[] = {
	{ HTTP_GET, "/machine-config", API_BOTH, .serve = get_machine, .counter = "machine_cfg",
		.doc = "The number of vCPUs, the size of memory and what belongs to them." },
	{ HTTP_PUT, "/machine-config", API_PRE, .body = &put_body, .serve = put_machine,
		.counter = "machine_cfg", .doc = "Replaces the machine's configuration." },
	{ HTTP_PATCH, "/machine-config", API_PRE, .body = &patch_body, .serve = patch_machine,
		.counter = "machine_cfg", .doc = "Changes a part of the machine's configuration." },
};
const size_t api_machine_n_routes = ARRAY_SIZE(api_machine_routes);
