/* SPDX-License-Identifier: Apache-2.0 */
/* /pmem/{id}. PUT only writes down what is asked for; the file is opened at the start. */
#include <linux/virtio_ids.h>
#include <string.h>

#include "api-resources.h"
#include "cleanup.h"
#include "machine.h"
#include "pmem.h"
#include "resources.h"

#define PREFIX "Pmem config error: "

static const char *const io_engines[] = { "Async", "Sync", NULL };

static const struct serde_field put_fields[] = {
	{ "id", { SERDE_STRING }, .required = true },
	{ "path_on_host", { SERDE_STRING }, .required = true },
	{ "root_device", { SERDE_BOOL }, .not_null = true },
	{ "read_only", { SERDE_BOOL }, .not_null = true },
	{ "rate_limiter", { SERDE_OBJECT, .object = &api_rate_limiter } },
	{ "io_engine", { SERDE_ENUM, .names = io_engines }, .ours = true },
};
static const struct serde_object put_body = { "PmemConfig", true, put_fields,
	ARRAY_SIZE(put_fields) };

static const struct serde_field patch_fields[] = {
	{ "id", { SERDE_STRING }, .required = true },
	{ "rate_limiter", { SERDE_OBJECT, .object = &api_rate_limiter } },
};
static const struct serde_object patch_body = { "PmemDeviceUpdateConfig", true, patch_fields,
	ARRAY_SIZE(patch_fields) };

/* n_pmems if there is none. */
static size_t find(const struct vm_config *cfg, const char *id)
{
	size_t i = 0;

	while (i < cfg->n_pmems && strcmp(cfg->pmems[i].id, id) != 0)
		i++;
	return i;
}

/* False: answered. */
static bool judge(struct api_call *c, size_t place)
{
	const struct vm_config *cfg = c->api->cfg;

	for (size_t i = 0; i < cfg->n_disks && api_true(c, "root_device"); i++) {
		if (!cfg->disks[i].root)
			continue;
		api_fault(c, PREFIX "Attempt to add pmem as a root device while the root device "
				    "defined as a block device");
		return false;
	}
	for (size_t i = 0; i < cfg->n_pmems && api_true(c, "root_device"); i++) {
		if (!cfg->pmems[i].root || i == place)
			continue;
		api_fault(c, PREFIX "A root pmem device already exist");
		return false;
	}
	if (place < LIMIT_PMEMS)
		return true;
	api_fault(c, PREFIX "there are %d pmem devices already, which is the maximum", LIMIT_PMEMS);
	return false;
}

static void put_pmem(struct api_call *c)
{
	struct vm_config *cfg = c->api->cfg;
	struct resources *res = c->api->res;
	size_t i = find(cfg, c->id);
	struct pmem_config pmem;

	if (!judge(c, i))
		return;
	vmcfg_item_default("pmem", &pmem);
	if (!api_apply(c, "pmem", &pmem, PREFIX)) {
		vmcfg_item_done("pmem", &pmem);
		return;
	}
	if (i < cfg->n_pmems)
		vmcfg_item_done("pmem", &cfg->pmems[i]);
	else
		cfg->n_pmems++;
	cfg->pmems[i] = pmem;
	/* Of a start that failed: the next one opens what is there then. */
	res->pmemfds[i] = fd_close(res->pmemfds[i]);
}

static void patch_pmem(struct api_call *c)
{
	size_t i = find(c->api->cfg, c->id);
	struct virtio_dev *v = machine_find(c->api->vm, VIRTIO_ID_PMEM, c->id);
	struct api_limiter patch;

	if (i == c->api->cfg->n_pmems || !v) {
		api_fault(c, PREFIX "Failed perform action on device: Device not found");
		return;
	}
	api_limiter_read(json_object_get(c->body, "rate_limiter"), &patch);
	api_limiter_store(&patch, &c->api->cfg->pmems[i].limiter);
	pmem_limit(v, patch.change.bandwidth, patch.change.ops);
}

static void delete_pmem(struct api_call *c)
{
	api_fault(c, "PCI is not enabled");
}

json_t *api_pmem_json(const struct vm_config *cfg)
{
	json_t *list = json_array();

	for (size_t i = 0; i < cfg->n_pmems; i++) {
		const struct pmem_config *p = &cfg->pmems[i];

		json_array_append_new(list,
			json_pack("{s:s, s:s, s:b, s:b, s:o}", "id", p->id, "path_on_host", p->path,
				"root_device", p->root, "read_only", p->read_only, "rate_limiter",
				api_limiter_json(&p->limiter)));
	}
	return list;
}

const struct api_route api_pmem_routes[] = {
	{ HTTP_PUT, "/pmem/{id}", API_PRE, .body = &put_body, .id_field = "id", .serve = put_pmem,
		.counter = "pmem", .doc = "Adds a pmem device, or replaces it." },
	{ HTTP_PATCH, "/pmem/{id}", API_POST, .body = &patch_body, .id_field = "id",
		.serve = patch_pmem, .counter = "pmem",
		.doc = "Gives a running pmem device another rate limit." },
	{ HTTP_DELETE, "/pmem/{id}", API_POST, .serve = delete_pmem,
		.doc = "Needs PCI, which is not there." },
};
const size_t api_pmem_n_routes = ARRAY_SIZE(api_pmem_routes);
