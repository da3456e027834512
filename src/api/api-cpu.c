/* SPDX-License-Identifier: Apache-2.0 */
/* PUT /cpu-config: a custom CPU template. Loop thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api-resources.h"
#include "cpu-template.h"
#include "resources.h"

static const char *const registers[] = { "eax", "ebx", "ecx", "edx", NULL };

static const struct serde_field register_fields[] = {
	{ "register", { SERDE_ENUM, .names = registers }, .required = true },
	{ "bitmap", { SERDE_STRING }, .required = true },
};
static const struct serde_object register_object = { "CpuidRegisterModifier", false,
	register_fields, ARRAY_SIZE(register_fields) };
static const struct serde_type register_type = { SERDE_OBJECT, .object = &register_object };

static const struct serde_field leaf_fields[] = {
	{ "leaf", { SERDE_STRING }, .required = true },
	{ "subleaf", { SERDE_STRING }, .required = true },
	{ "flags", { SERDE_U32 }, .required = true },
	{ "modifiers", { SERDE_LIST, .item = &register_type }, .required = true },
};
static const struct serde_object leaf_object = { "CpuidLeafModifier", false, leaf_fields,
	ARRAY_SIZE(leaf_fields) };
static const struct serde_type leaf_type = { SERDE_OBJECT, .object = &leaf_object };

static const struct serde_field msr_fields[] = {
	{ "addr", { SERDE_STRING }, .required = true },
	{ "bitmap", { SERDE_STRING }, .required = true },
};
static const struct serde_object msr_object = { "RegisterModifier", false, msr_fields,
	ARRAY_SIZE(msr_fields) };
static const struct serde_type msr_type = { SERDE_OBJECT, .object = &msr_object };

static const struct serde_type capability_type = { SERDE_STRING };

static const struct serde_field template_fields[] = {
	{ "kvm_capabilities", { SERDE_LIST, .item = &capability_type } },
	{ "cpuid_modifiers", { SERDE_LIST, .item = &leaf_type } },
	{ "msr_modifiers", { SERDE_LIST, .item = &msr_type } },
};
static const struct serde_object template_body = { "CustomCpuTemplate", true, template_fields,
	ARRAY_SIZE(template_fields) };

static void keep(struct api *api, struct cpu_template *t)
{
	free(api->res->cpu_template);
	api->res->cpu_template = t;
	api->cfg->cpu_template = CPU_TEMPLATE_NONE;
}

void api_cpu_forget(struct api *api)
{
	free(api->res->cpu_template);
	api->res->cpu_template = NULL;
	free(api->cfg->cpu_config);
	api->cfg->cpu_config = NULL;
}

/* The texts in the body are judged here: to a client that is a fault of its JSON. */
static void put_cpu(struct api_call *c)
{
	struct vmcfg_errors errors = { 0 };
	struct volt_err err = { 0 };
	struct cpu_template *t = cpu_template_json_read(c->body, NULL, &err);

	if (!t && err.code == EINVAL) {
		api_fault(c,
			"An error occurred when deserializing the json body of a request: %s%s",
			err.msg, err.msg[strlen(err.msg) - 1] == '.' ? "" : ".");
		return;
	}
	if (!t) {
		api_fault(c, "Configure CPU error: %s", err.msg);
		return;
	}
	vmcfg_apply("cpu-config", c->api->cfg, c->body, &errors);
	if (errors.n) {
		api_fault(c, "Configure CPU error: %s", errors.text[0] ? errors.text[0] : "");
		free(t);
	} else {
		keep(c->api, t);
	}
	vmcfg_errors_done(&errors);
}

const struct api_route api_cpu_routes[] = {
	{ HTTP_PUT, "/cpu-config", API_PRE, .body = &template_body, .serve = put_cpu,
		.counter = "cpu_cfg",
		.doc = "Sets the CPU template, in place of any template that was set before." },
};
const size_t api_cpu_n_routes = ARRAY_SIZE(api_cpu_routes);
