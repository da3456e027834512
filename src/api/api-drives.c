/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /drives/{id}. PUT opens and locks the backing file. The configuration's list has the root drive
 * first, and struct resources has the same order.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "api-resources.h"
#include "blk.h"
#include "cleanup.h"
#include "resources.h"
#include "vm.h"

#define PREFIX "Drive config error: "

static const char *const cache_types[] = { "Unsafe", "Writeback", NULL };
static const char *const io_engines[] = { "Async", "Sync", NULL };

static const struct serde_field put_fields[] = {
	{ "drive_id", { SERDE_STRING }, .required = true },
	{ "partuuid", { SERDE_STRING } },
	{ "is_root_device", { SERDE_BOOL }, .required = true },
	{ "cache_type", { SERDE_ENUM, .names = cache_types }, .not_null = true },
	{ "is_read_only", { SERDE_BOOL } },
	{ "path_on_host", { SERDE_STRING } },
	{ "rate_limiter", { SERDE_OBJECT, .object = &api_rate_limiter } },
	{ "io_engine", { SERDE_ENUM, .names = io_engines } },
	{ "socket", { SERDE_STRING } },
	{ "n_queues", { SERDE_U8 }, .ours = true },
	{ "overlay_path", { SERDE_STRING }, .ours = true },
};
static const struct serde_object put_body = { "BlockDeviceConfig", true, put_fields,
	ARRAY_SIZE(put_fields) };

static const struct serde_field patch_fields[] = {
	{ "drive_id", { SERDE_STRING }, .required = true },
	{ "path_on_host", { SERDE_STRING } },
	{ "rate_limiter", { SERDE_OBJECT, .object = &api_rate_limiter } },
};
static const struct serde_object patch_body = { "BlockDeviceUpdateConfig", true, patch_fields,
	ARRAY_SIZE(patch_fields) };

/* n_disks if there is none. */
static size_t find(const struct vm_config *cfg, const char *id)
{
	size_t i = 0;

	while (i < cfg->n_disks && strcmp(cfg->disks[i].id, id) != 0)
		i++;
	return i;
}

static void move(struct api *a, size_t from, size_t to)
{
	struct disk_config disk = a->cfg->disks[from];
	int fd = a->res->diskfds[from], overlayfd = a->res->overlayfds[from];

	if (from < to)
		return;
	memmove(&a->cfg->disks[to + 1], &a->cfg->disks[to], (from - to) * sizeof(disk));
	memmove(&a->res->diskfds[to + 1], &a->res->diskfds[to], (from - to) * sizeof(fd));
	memmove(&a->res->overlayfds[to + 1], &a->res->overlayfds[to],
		(from - to) * sizeof(overlayfd));
	a->cfg->disks[to] = disk;
	a->res->diskfds[to] = fd;
	a->res->overlayfds[to] = overlayfd;
}

static bool is_async(const struct api_call *c)
{
	const char *engine = api_string(c, "io_engine");

	return engine && strcmp(engine, "Async") == 0;
}

/* False: answered. */
static bool judge(struct api_call *c)
{
	const struct vm_config *cfg = c->api->cfg;

	if (api_has(c, "socket") && !api_has(c, "path_on_host") && !api_has(c, "is_read_only") &&
		!api_has(c, "rate_limiter") && !api_has(c, "io_engine")) {
		api_fault(c, PREFIX "Unable to create the virtio block device: this monitor has no "
				    "vhost-user drives; give path_on_host.");
		return false;
	}
	if (api_has(c, "socket") || !api_has(c, "path_on_host")) {
		api_fault(c, PREFIX "Unable to create the virtio block device: Invalid block "
				    "config.");
		return false;
	}
	if (api_has(c, "overlay_path") && (api_true(c, "is_read_only") || is_async(c))) {
		api_fault(c, PREFIX "A drive with overlay_path is neither read-only nor Async.");
		return false;
	}
	for (size_t i = 0; i < cfg->n_disks && api_true(c, "is_root_device"); i++) {
		if (!cfg->disks[i].root || strcmp(cfg->disks[i].id, c->id) == 0)
			continue;
		api_fault(c, PREFIX "A root block device already exists!");
		return false;
	}
	for (size_t i = 0; i < cfg->n_pmems && api_true(c, "is_root_device"); i++) {
		if (!cfg->pmems[i].root)
			continue;
		api_fault(c, PREFIX "Attempt to add block as a root device while the root device "
				    "defined as a pmem device");
		return false;
	}
	return true;
}

static void fault_of_file(struct api_call *c, const char *path, const struct volt_err *err)
{
	char why[128];

	if (err->code == EBUSY)
		api_fault(c, PREFIX "Unable to create the virtio block device: Virtio backend "
				    "error: %s", err->msg);
	else
		api_fault(c, PREFIX "Unable to create the virtio block device: Virtio backend "
				    "error: Error manipulating the backing file: %s %s",
			api_os_error(err->code, why, sizeof(why)), path);
}

static void replace(struct api *a, size_t i, const struct disk_config *disk, int fd, int overlayfd)
{
	if (i < a->cfg->n_disks) {
		vmcfg_item_done("drives", &a->cfg->disks[i]);
		fd_close(a->res->diskfds[i]);
		fd_close(a->res->overlayfds[i]);
	} else {
		a->cfg->n_disks++;
	}
	a->cfg->disks[i] = *disk;
	a->res->diskfds[i] = fd;
	a->res->overlayfds[i] = overlayfd;
	if (disk->root)
		move(a, i, 0);
}

/* Fills in what the drive will be and opens its file; false: answered. */
static bool prepare(struct api_call *c, size_t i, struct disk_config *disk, int *ret_fd,
	int *ret_overlayfd)
{
	struct api *a = c->api;
	struct volt_err err = { 0 };

	if (!api_apply(c, "drives", disk, PREFIX))
		return false;
	if (i == LIMIT_DISKS) {
		api_fault(c, PREFIX "there are %d drives already, which is the maximum",
			LIMIT_DISKS);
		return false;
	}
	/* The lock that this drive has must not keep it from its own file. */
	if (i < a->cfg->n_disks && strcmp(a->cfg->disks[i].path, disk->path) == 0)
		a->res->diskfds[i] = fd_close(a->res->diskfds[i]);
	if (i < a->cfg->n_disks && disk->overlay)
		a->res->overlayfds[i] = fd_close(a->res->overlayfds[i]);
	if (resources_open_disk(disk, disk->path, ret_fd, &err) < 0) {
		fault_of_file(c, disk->path, &err);
		return false;
	}
	if (!disk->overlay || resources_open_overlay(disk, ret_overlayfd, &err) == 0)
		return true;
	fault_of_file(c, disk->overlay, &err);
	*ret_fd = fd_close(*ret_fd);
	return false;
}

static void put_drive(struct api_call *c)
{
	size_t i = find(c->api->cfg, c->id);
	struct disk_config disk;
	int fd, overlayfd = -1;

	if (!judge(c))
		return;
	vmcfg_item_default("drives", &disk);
	if (prepare(c, i, &disk, &fd, &overlayfd))
		replace(c->api, i, &disk, fd, overlayfd);
	else
		vmcfg_item_done("drives", &disk);
}

/* ---- while the VM runs ---- */

static void patch_backing(struct api_call *c, size_t i, struct virtio_dev *v)
{
	const char *path = api_string(c, "path_on_host");
	struct volt_err err = { 0 };
	int fd;

	if (c->api->cfg->disks[i].overlay) {
		api_fault(c, PREFIX "Unable to patch the block device: Block: the drive has an "
				    "overlay, which belongs to the file that it has. Please verify "
				    "the request arguments.");
		return;
	}
	if (resources_open_disk(&c->api->cfg->disks[i], path, &fd, &err) < 0) {
		char why[128];

		api_fault(c, PREFIX "Unable to patch the block device: Block: Virtio backend "
				    "error: Error manipulating the backing file: %s %s Please "
				    "verify the request arguments.",
			err.code == EBUSY ? err.msg : api_os_error(err.code, why, sizeof(why)),
			path);
		return;
	}
	if (blk_set_backing(v, fd, &err) < 0) {
		fd_close(fd);
		api_fault(c, PREFIX "Unable to patch the block device: Block: %s Please verify the "
				    "request arguments.", err.msg);
		return;
	}
	json_object_del(c->body, "rate_limiter"); /* patch_drive() has it; here it would replace */
	api_apply(c, "drives", &c->api->cfg->disks[i], PREFIX);
}

static void patch_drive(struct api_call *c)
{
	size_t i = find(c->api->cfg, c->id);
	json_t *limiter = json_object_get(c->body, "rate_limiter");
	struct api_limiter patch;
	struct virtio_dev *v;

	if (i == c->api->cfg->n_disks) {
		api_fault(c, PREFIX "Unable to patch the block device: Failed perform action on "
				    "device: Device not found Please verify the request "
				    "arguments.");
		return;
	}
	v = c->api->vm->disks[i];
	if (!limiter && !api_has(c, "path_on_host")) {
		api_fault(c, PREFIX "Unable to patch the block device: Block: Running method "
				    "expected different backend. Please verify the request "
				    "arguments.");
		return;
	}
	api_limiter_read(limiter, &patch);
	if (api_has(c, "path_on_host"))
		patch_backing(c, i, v);
	if (c->resp->status)
		return;
	api_limiter_store(&patch, &c->api->cfg->disks[i].limit);
	blk_set_limiter(v, &patch.change);
}

static void delete_drive(struct api_call *c)
{
	api_fault(c, "PCI is not enabled");
}

json_t *api_drives_json(const struct vm_config *cfg)
{
	json_t *list = json_array();

	for (size_t i = 0; i < cfg->n_disks; i++) {
		const struct disk_config *d = &cfg->disks[i];

		json_array_append_new(list,
			json_pack("{s:s, s:o, s:b, s:s, s:b, s:s, s:o, s:s, s:n}", "drive_id",
				d->id,
				"partuuid", api_text_or_null(d->partuuid), "is_root_device",
				d->root, "cache_type",
				d->cache == DISK_CACHE_UNSAFE ? "Unsafe" : "Writeback",
				"is_read_only", d->read_only, "path_on_host", d->path,
				"rate_limiter", api_limiter_json(&d->limit), "io_engine",
				d->io == DISK_IO_URING ? "Async" : "Sync", "socket"));
	}
	return list;
}

const struct api_route api_drives_routes[] = {
	{ HTTP_PUT, "/drives/{id}", API_PRE, .body = &put_body, .id_field = "drive_id",
		.serve = put_drive, .counter = "drive", .doc = "Adds a drive, or replaces it." },
	{ HTTP_PATCH, "/drives/{id}", API_POST, .body = &patch_body, .id_field = "drive_id",
		.serve = patch_drive, .counter = "drive",
		.doc = "Gives a running drive another file, or another rate limit." },
	{ HTTP_DELETE, "/drives/{id}", API_POST, .serve = delete_drive,
		.doc = "Needs PCI, which is not there." },
};
const size_t api_drives_n_routes = ARRAY_SIZE(api_drives_routes);
