/* SPDX-License-Identifier: Apache-2.0 */
/* PUT /boot-source: kernel, initrd and command line; the files are opened at once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api-resources.h"
#include "cleanup.h"
#include "resources.h"

static const struct serde_field fields[] = {
	{ "kernel_image_path", { SERDE_STRING }, .required = true },
	{ "initrd_path", { SERDE_STRING } },
	{ "boot_args", { SERDE_STRING } },
};
static const struct serde_object body = { "BootSourceConfig", true, fields, ARRAY_SIZE(fields) };

/* False: answered. */
static bool cmdline_ok(struct api_call *c, const char *args)
{
	size_t len = args ? strlen(args) : 0;

	if (len >= LIMIT_CMDLINE) {
		api_fault(c, "Boot source error: The kernel command line is invalid: Command line "
			     "string overflowed the maximum size %d.", LIMIT_CMDLINE);
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		if (args[i] >= 0x20 && args[i] < 0x7f)
			continue;
		api_fault(c, "Boot source error: The kernel command line is invalid: String "
			     "contains a non-printable ASCII character.");
		return false;
	}
	return true;
}

static void put_boot(struct api_call *c)
{
	const char *kernel = api_string(c, "kernel_image_path");
	const char *initrd = api_string(c, "initrd_path"), *args = api_string(c, "boot_args");
	_cleanup_close_ int kernelfd = -1, initrdfd = -1;
	struct resources *res = c->api->res;
	struct vm_config *cfg = c->api->cfg;
	char why[128];

	if (!cmdline_ok(c, args))
		return;
	if (resources_open_read(kernel, &kernelfd) < 0) {
		api_fault(c, "Boot source error: The kernel file cannot be opened: %s",
			api_os_error(errno, why, sizeof(why)));
		return;
	}
	if (initrd && resources_open_read(initrd, &initrdfd) < 0) {
		api_fault(c, "Boot source error: The initrd file cannot be opened due to invalid "
			     "path or invalid permissions. %s",
			api_os_error(errno, why, sizeof(why)));
		return;
	}
	free(cfg->initrd_path);
	cfg->initrd_path = NULL;
	free(cfg->cmdline);
	cfg->cmdline = strdup(vmcfg_default_cmdline());
	if (!cfg->cmdline || !api_apply(c, "boot-source", cfg, "Boot source error: "))
		return;
	fd_close(res->kernelfd);
	res->kernelfd = take_fd(&kernelfd);
	fd_close(res->initrdfd);
	res->initrdfd = take_fd(&initrdfd);
}

json_t *api_boot_json(const struct vm_config *cfg)
{
	return json_pack("{s:o, s:o, s:o}", "kernel_image_path", api_text_or_null(cfg->kernel_path),
		"initrd_path", api_text_or_null(cfg->initrd_path), "boot_args",
		api_text_or_null(cfg->cmdline));
}

const struct api_route api_boot_routes[] = {
	{ HTTP_PUT, "/boot-source", API_PRE, .body = &body, .serve = put_boot,
		.counter = "boot_source", .doc = "Names the kernel, an initrd and the kernel's "
						 "command line." },
};
const size_t api_boot_n_routes = ARRAY_SIZE(api_boot_routes);
