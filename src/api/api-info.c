/* SPDX-License-Identifier: Apache-2.0 */
/* GET / and GET /version: who answers here, and whether the VM runs. */
#include "api-resources.h"
#include "version.h"

static void get_instance(struct api_call *c)
{
	const struct api *a = c->api;
	bool firecracker = a->cfg->firecracker;

	api_json(c, json_pack("{s:s, s:s, s:s, s:s}", "id", a->cfg->id, "state",
		a->paused ? "Paused" : a->started ? "Running" : "Not started", "vmm_version",
		firecracker ? API_LEVEL : VOLT_VERSION, "app_name",
		firecracker ? "Firecracker" : "Volt"));
}

static void get_version(struct api_call *c)
{
	api_json(c, json_pack("{s:s}", "firecracker_version", API_LEVEL));
}

const struct api_route api_info_routes[] = {
	{ HTTP_GET, "/", API_BOTH, .serve = get_instance, .counter = "instance_info",
		.doc = "The id, state and version of this instance." },
	{ HTTP_GET, "/version", API_BOTH, .serve = get_version, .counter = "vmm_version",
		.doc = "The version of Firecracker whose API this is." },
};
const size_t api_info_n_routes = ARRAY_SIZE(api_info_routes);
