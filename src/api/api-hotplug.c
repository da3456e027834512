/* SPDX-License-Identifier: Apache-2.0 */
/* /hotplug/memory: memory that comes and goes. */
#include <errno.h>
#include <linux/virtio_ids.h>

#include "api-resources.h"
#include "machine.h"
#include "vmem.h"

#define PREFIX	      "Memory hotplug config error: "
#define UPDATE_PREFIX "Memory hotplug update error: "
#define NO_DEVICE     "Failed perform action on device: Device not found"

#define BLOCK_MIB 2 /* the defaults, which are the minima too */
#define SLOT_MIB  128

static const struct serde_field put_fields[] = {
	{ "total_size_mib", { SERDE_USIZE }, .required = true },
	{ "block_size_mib", { SERDE_USIZE }, .not_null = true },
	{ "slot_size_mib", { SERDE_USIZE }, .not_null = true },
	{ "requested_size_mib", { SERDE_USIZE }, .not_null = true, .ours = true },
};
static const struct serde_object put_body = { "MemoryHotplugConfig", true, put_fields,
	ARRAY_SIZE(put_fields) };

static const struct serde_field patch_fields[] = {
	{ "requested_size_mib", { SERDE_USIZE }, .required = true },
};
static const struct serde_object patch_body = { "MemoryHotplugSizeUpdate", true, patch_fields,
	ARRAY_SIZE(patch_fields) };

static uint64_t number(const struct api_call *c, const char *key, uint64_t otherwise)
{
	const json_t *v = json_object_get(c->body, key);

	return v ? (uint64_t)json_integer_value(v) : otherwise;
}

/* False: answered. In Firecracker's order. */
static bool judge(struct api_call *c)
{
	uint64_t total = number(c, "total_size_mib", 0);
	uint64_t block = number(c, "block_size_mib", BLOCK_MIB);
	uint64_t slot = number(c, "slot_size_mib", SLOT_MIB);
	uint64_t wanted = number(c, "requested_size_mib", 0);

	if (block < BLOCK_MIB)
		api_fault(c, PREFIX "Block size must not be lower than %d MiB", BLOCK_MIB);
	else if (!IS_POW2(block))
		api_fault(c, PREFIX "Block size must be a power of 2");
	else if (slot < SLOT_MIB)
		api_fault(c, PREFIX "Slot size must not be lower than %d MiB", SLOT_MIB);
	else if (slot % block)
		api_fault(c, PREFIX "Slot size must be a multiple of block size (%llu MiB)",
			(unsigned long long)block);
	else if (total < slot)
		api_fault(c, PREFIX "Total size must not be lower than slot size (%llu MiB)",
			(unsigned long long)slot);
	else if (total % slot)
		api_fault(c, PREFIX "Total size must be a multiple of slot size (%llu MiB)",
			(unsigned long long)slot);
	else if (wanted % block || wanted > total)
		api_fault(c, PREFIX "Requested size must be a multiple of block size (%llu MiB) "
				    "and not larger than total size",
			(unsigned long long)block);
	else
		return true;
	return false;
}

static void put_hotplug(struct api_call *c)
{
	struct vm_config *cfg = c->api->cfg;

	if (!judge(c))
		return;
	cfg->hotplug_block_bytes = BLOCK_MIB * MIB;
	cfg->hotplug_slot_bytes = SLOT_MIB * MIB;
	cfg->hotplug_wanted_bytes = 0;
	cfg->hotplug = api_apply(c, "memory-hotplug", cfg, PREFIX);
}

static void get_hotplug(struct api_call *c)
{
	struct virtio_dev *v = machine_find(c->api->vm, VIRTIO_ID_MEM, NULL);
	struct vmem_status s;

	if (!v) {
		api_fault(c, "Internal VMM error: " NO_DEVICE);
		return;
	}
	vmem_status(v, &s);
	api_json(c, json_pack("{s:I, s:I, s:I, s:I, s:I}", "block_size_mib",
			    (json_int_t)(s.block_bytes / MIB), "total_size_mib",
			    (json_int_t)(s.total_bytes / MIB), "slot_size_mib",
			    (json_int_t)(s.slot_bytes / MIB), "plugged_size_mib",
			    (json_int_t)(s.plugged_bytes / MIB), "requested_size_mib",
			    (json_int_t)(s.wanted_bytes / MIB)));
}

static void patch_hotplug(struct api_call *c)
{
	struct virtio_dev *v = machine_find(c->api->vm, VIRTIO_ID_MEM, NULL);
	uint64_t mib = number(c, "requested_size_mib", 0);
	uint64_t bytes = mib <= UINT64_MAX / MIB ? mib * MIB : UINT64_MAX;
	int r;

	if (!v) {
		api_fault(c, UPDATE_PREFIX NO_DEVICE);
		return;
	}
	/* "to create": so it is in Firecracker, whatever was to be done. */
	r = vmem_want(v, bytes);
	if (r == -ENODEV)
		api_fault(c, UPDATE_PREFIX "Failed to create memory hotplug device: Device is not "
					   "active");
	else if (r < 0)
		api_fault(c, UPDATE_PREFIX "Failed to create memory hotplug device: Size %llu is "
					   "invalid: it must be a multiple of block size and less "
					   "than the total size",
			(unsigned long long)bytes);
}

json_t *api_hotplug_json(const struct vm_config *cfg)
{
	if (!cfg->hotplug)
		return json_null();
	return json_pack("{s:I, s:I, s:I}", "total_size_mib",
		(json_int_t)(cfg->hotplug_bytes / MIB), "block_size_mib",
		(json_int_t)(cfg->hotplug_block_bytes / MIB), "slot_size_mib",
		(json_int_t)(cfg->hotplug_slot_bytes / MIB));
}

const struct api_route api_hotplug_routes[] = {
	{ HTTP_PUT, "/hotplug/memory", API_PRE, .body = &put_body, .serve = put_hotplug,
		.counter = "hotplug_memory", .doc = "Adds memory that can be plugged." },
	{ HTTP_GET, "/hotplug/memory", API_POST, .serve = get_hotplug,
		.counter = "hotplug_memory", .doc = "Says how much is plugged." },
	{ HTTP_PATCH, "/hotplug/memory", API_POST, .body = &patch_body, .serve = patch_hotplug,
		.counter = "hotplug_memory", .doc = "Asks the guest to plug so much." },
};
const size_t api_hotplug_n_routes = ARRAY_SIZE(api_hotplug_routes);
