/* SPDX-License-Identifier: Apache-2.0 */
/* PUT /actions: start, flush of the metrics, Ctrl-Alt-Del. */
#include <string.h>

#include "api-resources.h"
#include "vm.h"

static const char *const actions[] = { "FlushMetrics", "InstanceStart", "SendCtrlAltDel", NULL };

static const struct serde_field fields[] = {
	{ "action_type", { SERDE_ENUM, .names = actions }, .required = true },
};
static const struct serde_object body = { "ActionBody", true, fields, ARRAY_SIZE(fields) };

static void wrong_stage(struct api_call *c)
{
	api_fault(c, "The requested operation is not supported %s starting the microVM.",
		c->api->started ? "after" : "before");
}

static void start(struct api_call *c)
{
	struct api *a = c->api;
	struct volt_err err = { 0 };

	if (!a->cfg->kernel_path) {
		api_fault(c, "Start microvm error: Cannot start microvm without kernel "
			     "configuration.");
		return;
	}
	if (a->start(a->owner, &err) < 0)
		api_fault(c, "Start microvm error: %s", err.msg);
	else
		a->started = true;
}

static void put_action(struct api_call *c)
{
	const char *action = api_string(c, "action_type");
	bool wants_start = strcmp(action, "InstanceStart") == 0;

	if (wants_start == c->api->started)
		wrong_stage(c);
	else if (wants_start)
		start(c);
	else if (strcmp(action, "FlushMetrics") == 0)
		metrics_flush(&c->api->vm->metrics);
	else if (i8042_ctrl_alt_del(&c->api->vm->i8042) < 0)
		api_fault(c, "Internal VMM error: I8042 error: the guest has no keyboard driver");
}

const struct api_route api_actions_routes[] = {
	{ HTTP_PUT, "/actions", API_BOTH, .body = &body, .serve = put_action, .counter = "actions",
		.doc = "Starts the VM, writes the metrics, or presses Ctrl-Alt-Del." },
};
const size_t api_actions_n_routes = ARRAY_SIZE(api_actions_routes);
