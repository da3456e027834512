/* SPDX-License-Identifier: Apache-2.0 */
/* GET /vm/config and PATCH /vm: the whole configuration; pause and resume. */
#include <string.h>

#include "api-resources.h"
#include "loop.h"
#include "log.h"
#include "vm.h"

static const char *const states[] = { "Paused", "Resumed", NULL };

static const struct serde_field fields[] = {
	{ "state", { SERDE_ENUM, .names = states }, .required = true },
};
static const struct serde_object body = { "Vm", true, fields, ARRAY_SIZE(fields) };

static void get_config(struct api_call *c)
{
	const struct vm_config *cfg = c->api->cfg;
	json_t *v = json_object();

	json_object_set_new(v, "balloon", api_balloon_json(c->api));
	json_object_set_new(v, "drives", api_drives_json(cfg));
	json_object_set_new(v, "boot-source", api_boot_json(cfg));
	json_object_set_new(v, "cpu-config", json_null());
	json_object_set_new(v, "logger", json_null());
	json_object_set_new(v, "machine-config", api_machine_json(cfg));
	json_object_set_new(v, "metrics", json_null());
	json_object_set_new(v, "mmds-config", api_mmds_json(cfg));
	json_object_set_new(v, "network-interfaces", api_net_json(cfg));
	json_object_set_new(v, "vsock", api_vsock_json(cfg));
	json_object_set_new(v, "entropy", api_entropy_json(cfg));
	json_object_set_new(v, "pmem", api_pmem_json(cfg));
	json_object_set_new(v, "memory-hotplug", api_hotplug_json(cfg));
	api_json(c, v);
}

static void patch_vm(struct api_call *c)
{
	struct api *a = c->api;
	bool pause = strcmp(api_string(c, "state"), "Paused") == 0;
	struct volt_err err = { 0 };
	uint64_t start_ns = loop_now_ns(), now_ns, us;

	if (pause && vm_pause(a->vm, &err) < 0) {
		api_fault(c, "Internal VMM error: %s", err.msg);
		return;
	}
	if (!pause)
		vm_resume(a->vm);
	a->paused = pause;
	now_ns = loop_now_ns();
	us = (now_ns - start_ns) / 1000;
	atomic_store(pause ? &a->latencies.vmm_pause_us : &a->latencies.vmm_resume_us, us);
	atomic_store(pause ? &a->latencies.pause_us : &a->latencies.resume_us,
		(now_ns - a->call_ns) / 1000);
	log_info("'%s vm' VMM action took %llu us.", pause ? "pause" : "resume",
		(unsigned long long)us);
}

const struct api_route api_vm_routes[] = {
	{ HTTP_GET, "/vm/config", API_BOTH, .serve = get_config,
		.doc = "The whole configuration of the VM." },
	{ HTTP_PATCH, "/vm", API_POST, .body = &body, .serve = patch_vm,
		.doc = "Pauses the VM, or lets it go on." },
};
const size_t api_vm_n_routes = ARRAY_SIZE(api_vm_routes);
