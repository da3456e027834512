/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /snapshot: the bodies are read and the stages are checked as they will be; the snapshot itself is
 * not built yet, and each call says so.
 */
#include "api-resources.h"

static const char *const types[] = { "Diff", "Full", NULL };
static const char *const backends[] = { "File", "Uffd", NULL };
static const char *const huge_pages[] = { "Snapshot", "None", "Transparent", "2M", NULL };

static const struct serde_field create_fields[] = {
	{ "snapshot_type", { SERDE_ENUM, .names = types }, .not_null = true },
	{ "snapshot_path", { SERDE_PATH }, .required = true },
	{ "mem_file_path", { SERDE_PATH }, .required = true },
};
static const struct serde_object create_body = { "CreateSnapshotParams", true, create_fields,
	ARRAY_SIZE(create_fields) };

static const struct serde_field backend_fields[] = {
	{ "backend_path", { SERDE_PATH }, .required = true },
	{ "backend_type", { SERDE_ENUM, .names = backends }, .required = true },
};
static const struct serde_object backend = { "MemBackendConfig", true, backend_fields,
	ARRAY_SIZE(backend_fields) };

static const struct serde_field network_fields[] = {
	{ "iface_id", { SERDE_STRING }, .required = true },
	{ "host_dev_name", { SERDE_STRING }, .required = true },
};
static const struct serde_object network = { "NetworkOverride", false, network_fields,
	ARRAY_SIZE(network_fields) };
static const struct serde_type network_item = { SERDE_OBJECT, .object = &network };

static const struct serde_field vsock_fields[] = {
	{ "uds_path", { SERDE_STRING }, .required = true },
};
static const struct serde_object vsock = { "VsockOverride", false, vsock_fields,
	ARRAY_SIZE(vsock_fields) };

static const struct serde_field load_fields[] = {
	{ "snapshot_path", { SERDE_PATH }, .required = true },
	{ "mem_file_path", { SERDE_PATH } },
	{ "mem_backend", { SERDE_OBJECT, .object = &backend } },
	{ "enable_diff_snapshots", { SERDE_BOOL }, .not_null = true },
	{ "track_dirty_pages", { SERDE_BOOL }, .not_null = true },
	{ "resume_vm", { SERDE_BOOL }, .not_null = true },
	{ "network_overrides", { SERDE_LIST, .item = &network_item }, .not_null = true },
	{ "vsock_override", { SERDE_OBJECT, .object = &vsock } },
	{ "clock_realtime", { SERDE_BOOL }, .not_null = true },
	{ "huge_pages", { SERDE_ENUM, .names = huge_pages }, .not_null = true },
};
static const struct serde_object load_body = { "LoadSnapshotConfig", true, load_fields,
	ARRAY_SIZE(load_fields) };

static void put_create(struct api_call *c)
{
	if (!c->api->paused)
		api_fault(c, "Create snapshot error: Cannot save the microVM state: Operation not "
			     "allowed: save/restore unavailable while running");
	else
		api_fault(c, "Create snapshot error: not built yet: this version has no snapshots");
}

static void put_load(struct api_call *c)
{
	bool file = api_has(c, "mem_file_path"), named = api_has(c, "mem_backend");

	if (file || api_has(c, "enable_diff_snapshots"))
		api_deprecated(c, "mem_file_path or enable_diff_snapshots of /snapshot/load");
	if (!file && !named)
		api_fault(c, "An error occurred when deserializing the json body of a request: "
			     "missing field: either `mem_backend` or `mem_file_path` is required.");
	else if (file && named)
		api_fault(c, "An error occurred when deserializing the json body of a request: too "
			     "many fields: either `mem_backend` or `mem_file_path` exclusively is "
			     "required.");
	else
		api_fault(c, "Load snapshot error: not built yet: this version has no snapshots");
}

const struct api_route api_snapshot_routes[] = {
	{ HTTP_PUT, "/snapshot/create", API_POST, .body = &create_body, .serve = put_create,
		.doc = "Not built yet." },
	{ HTTP_PUT, "/snapshot/load", API_PRE, .body = &load_body, .serve = put_load,
		.doc = "Not built yet." },
};
const size_t api_snapshot_n_routes = ARRAY_SIZE(api_snapshot_routes);
