/* SPDX-License-Identifier: Apache-2.0 */
/* /mmds: the guest's metadata, and how it reaches it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api-resources.h"
#include "cleanup.h"
#include "mmds.h"
#include "resources.h"
#include "vm.h"

#define PREFIX "MMMDS config error: " /* Firecracker's spelling */

static const char *const versions[] = { "V1", "V2", NULL };

static const struct serde_type id = { SERDE_STRING };

static const struct serde_field config_fields[] = {
	{ "version", { SERDE_ENUM, .names = versions }, .not_null = true },
	{ "network_interfaces", { SERDE_LIST, .item = &id }, .required = true },
	{ "ipv4_address", { SERDE_IPV4 } },
	{ "imds_compat", { SERDE_BOOL }, .not_null = true },
};
static const struct serde_object config_body = { "MmdsConfig", true, config_fields,
	ARRAY_SIZE(config_fields) };

/* NULL if there is none. */
static const struct net_config *find(const struct vm_config *cfg, const char *iface)
{
	for (size_t i = 0; iface && i < cfg->n_nets; i++)
		if (strcmp(cfg->nets[i].id, iface) == 0)
			return &cfg->nets[i];
	return NULL;
}

/* False: answered. */
static bool judge(struct api_call *c)
{
	const json_t *list = json_object_get(c->body, "network_interfaces"), *v;
	const char *ipv4 = api_string(c, "ipv4_address");
	size_t i;

	if (ipv4 && vmcfg_judge_link_local(ipv4, NULL) < 0) {
		api_fault(c, PREFIX "The MMDS IPv4 address is not link local.");
		return false;
	}
	if (json_array_size(list) == 0) {
		api_fault(c, PREFIX "The list of network interface IDs that allow forwarding MMDS "
				    "requests is empty.");
		return false;
	}
	json_array_foreach(list, i, v) {
		const struct net_config *net = find(c->api->cfg, json_string_value(v));

		if (!net) {
			api_fault(c, PREFIX "The list of network interface IDs provided contains "
					    "at least one ID that does not correspond to any "
					    "existing network interface.");
			return false;
		}
		if (net->vhost) {
			api_fault(c, PREFIX "The network interface %s has vhost, with which the "
					    "metadata service sees no frames.", net->id);
			return false;
		}
	}
	return true;
}

/* What is there, or can be: NULL, and answered, if the VM was started without. */
static struct mmds *service(struct api_call *c)
{
	struct volt_err err = { 0 };
	struct api *a = c->api;

	if (a->started && !a->vm->mmds)
		api_fault(c, "MMDS error: The MMDS data store is not initialized.");
	else if (resources_mmds_open(a->res, a->cfg, &err) < 0)
		api_fault(c, "MMDS error: %s", err.msg);
	else
		return a->res->mmds;
	return NULL;
}

static void put_config(struct api_call *c)
{
	const char *version = api_string(c, "version");
	json_t *defaults;

	if (!version || strcmp(version, "V1") == 0)
		api_deprecated(c, "PUT /mmds/config: V1");
	if (!judge(c) || !service(c))
		return;
	/* It replaces what was put before. */
	defaults = json_pack("{s:s, s:s, s:b}", "version", "V1", "ipv4_address", "169.254.169.254",
		"imds_compat", false);
	if (!defaults || json_object_update_missing(c->body, defaults) < 0)
		api_fault(c, PREFIX "out of memory");
	else if (api_apply(c, "mmds-config", c->api->cfg, PREFIX))
		c->api->cfg->mmds.present = true;
	json_decref(defaults);
}

static void answer(struct api_call *c, int r)
{
	if (r == -E2BIG)
		api_fault_status(c, 413,
			"MMDS limit exceeded error: The MMDS patch request doesn't fit.");
	else if (r == -ENOENT)
		api_fault(c, "MMDS error: The MMDS data store is not initialized.");
	else if (r < 0)
		api_fault(c, "MMDS error: out of memory");
}

static void put_data(struct api_call *c)
{
	struct mmds *m = service(c);

	if (m)
		answer(c, mmds_store_put(&m->store, c->body));
}

static void patch_data(struct api_call *c)
{
	struct mmds *m = service(c);

	if (m)
		answer(c, mmds_store_patch(&m->store, c->body));
}

/* As the guest would see all of it, but for null. */
static void get_data(struct api_call *c)
{
	struct mmds *m = service(c);

	if (!m)
		return;
	if (!m->store.value || json_is_null(m->store.value)) {
		api_json(c, json_object());
		return;
	}
	if (mmds_store_get(&m->store, "/", false, &c->resp->body, &c->resp->body_len) < 0) {
		api_fault(c, "MMDS error: out of memory");
		return;
	}
	c->resp->status = 200;
}

json_t *api_mmds_json(const struct vm_config *cfg)
{
	_cleanup_free_ char *words = strdup(cfg->mmds.interfaces ? cfg->mmds.interfaces : "");
	char *rest = words, *word;
	json_t *list;

	if (!cfg->mmds.present)
		return json_null();
	if (!words)
		return NULL;
	list = json_array();
	while ((word = strsep(&rest, " ")))
		json_array_append_new(list, json_string(word));
	return json_pack("{s:s, s:o, s:s, s:b}", "version", versions[cfg->mmds.version],
		"network_interfaces", list, "ipv4_address", cfg->mmds.ipv4, "imds_compat",
		cfg->mmds.imds_compat);
}

const struct api_route api_mmds_routes[] = {
	{ HTTP_PUT, "/mmds/config", API_PRE, .body = &config_body, .serve = put_config,
		.counter = "mmds",
		.doc = "Says on which interfaces the guest reaches its metadata." },
	{ HTTP_PUT, "/mmds", API_BOTH, .serve = put_data, .counter = "mmds",
		.doc = "Replaces the metadata by any JSON value." },
	{ HTTP_PATCH, "/mmds", API_BOTH, .serve = patch_data, .counter = "mmds",
		.doc = "Changes the metadata by a JSON merge patch (RFC 7396)." },
	{ HTTP_GET, "/mmds", API_BOTH, .serve = get_data, .counter = "mmds",
		.doc = "The metadata." },
};
const size_t api_mmds_n_routes = ARRAY_SIZE(api_mmds_routes);
