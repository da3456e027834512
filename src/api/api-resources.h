/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of routes, one per resource file. Private to src/api. */
#ifndef VOLT_API_RESOURCES_H
#define VOLT_API_RESOURCES_H

#include "api.h"

#define API_RESOURCE(name)                                                                         \
	extern const struct api_route api_##name##_routes[];                                       \
	extern const size_t api_##name##_n_routes

API_RESOURCE(info);
API_RESOURCE(actions);
API_RESOURCE(balloon);
API_RESOURCE(boot);
API_RESOURCE(cpu);
API_RESOURCE(drives);
API_RESOURCE(entropy);
API_RESOURCE(hotplug);
API_RESOURCE(log);
API_RESOURCE(machine);
API_RESOURCE(mmds);
API_RESOURCE(net);
API_RESOURCE(pmem);
API_RESOURCE(serial);
API_RESOURCE(snapshot);
API_RESOURCE(stats);
API_RESOURCE(vm);
API_RESOURCE(vsock);

/* What GET /vm/config shows of a resource; new references, NULL: out of memory. */
json_t *api_balloon_json(const struct api *api);
json_t *api_boot_json(const struct vm_config *cfg);
json_t *api_drives_json(const struct vm_config *cfg);
json_t *api_entropy_json(const struct vm_config *cfg);
json_t *api_hotplug_json(const struct vm_config *cfg);
json_t *api_machine_json(const struct vm_config *cfg);
json_t *api_mmds_json(const struct vm_config *cfg);
json_t *api_net_json(const struct vm_config *cfg);
json_t *api_pmem_json(const struct vm_config *cfg);
json_t *api_vsock_json(const struct vm_config *cfg);

/* A static template is chosen (or "None"): the custom one counts no more. Loop thread. */
void api_cpu_forget(struct api *api);

#endif
