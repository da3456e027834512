/* SPDX-License-Identifier: Apache-2.0 */
/* PUT /vsock: the socket is bound at once. */
#include <stdlib.h>

#include "api-resources.h"
#include "resources.h"

static const struct serde_field fields[] = {
	{ "vsock_id", { SERDE_STRING } },
	{ "guest_cid", { SERDE_U32 }, .required = true },
	{ "uds_path", { SERDE_STRING }, .required = true },
};
static const struct serde_object body = { "VsockDeviceConfig", true, fields, ARRAY_SIZE(fields) };

static void put_vsock(struct api_call *c)
{
	struct api *a = c->api;
	struct volt_err err = { 0 };
	char why[128];

	if (api_has(c, "vsock_id"))
		api_deprecated(c, "vsock_id of /vsock");
	resources_close_vsock(a->res);
	free(a->cfg->vsock_path);
	a->cfg->vsock_path = NULL;
	if (!api_apply(c, "vsock", a->cfg, "Vsock config error: "))
		return;
	if (resources_open_vsock(a->res, a->cfg, &err) == 0)
		return;
	free(a->cfg->vsock_path);
	a->cfg->vsock_path = NULL;
	api_fault(c, "Vsock config error: Cannot create backend for vsock device: Error binding to "
		     "the host-side Unix socket: %s", api_os_error(err.code, why, sizeof(why)));
}

json_t *api_vsock_json(const struct vm_config *cfg)
{
	if (!cfg->vsock_path)
		return json_null();
	return json_pack("{s:I, s:s}", "guest_cid", (json_int_t)cfg->vsock_cid, "uds_path",
		cfg->vsock_path);
}

const struct api_route api_vsock_routes[] = {
	{ HTTP_PUT, "/vsock", API_PRE, .body = &body, .serve = put_vsock, .counter = "vsock",
		.doc = "Adds the vsock device, or replaces it." },
};
const size_t api_vsock_n_routes = ARRAY_SIZE(api_vsock_routes);
