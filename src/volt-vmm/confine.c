/* SPDX-License-Identifier: Apache-2.0 */
/* Confinement of this process, see confine.h. */
#include "confine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "console.h"
#include "fatal.h"
#include "log.h"
#include "sandbox.h"

/* The folder of a path; NULL if there is no memory. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
}

/* The directories in which a drive may find another file, each owned by the caller. */
static size_t allowed(const struct vm_config *cfg, char *folders[LIMIT_DISKS])
{
	if (!cfg->api_path)
		return 0;
	if (cfg->firecracker) {
		log_info("drives can be given any file by the API: Firecracker's clients know of "
			 "no limit (Landlock)");
		folders[0] = strdup("/");
		return 1;
	}
	for (size_t i = 0; i < cfg->n_disks; i++)
		folders[i] = folder_of(cfg->disks[i].path);
	return cfg->n_disks;
}

static int close_files(const struct vm_config *cfg, struct volt_err *err)
{
	struct sandbox_path paths[LIMIT_DISKS] = { 0 };
	char *folders[LIMIT_DISKS] = { NULL };
	struct volt_err warning = { 0 };
	size_t n;
	int r = 0;

	if (cfg->no_landlock) {
		log_warn("Landlock is off: --no-landlock");
		return 0;
	}
	n = allowed(cfg, folders);
	for (size_t i = 0; i < n; i++) {
		paths[i] = (struct sandbox_path){ folders[i], .writable = true, .existing = true };
		if (!folders[i])
			r = -ENOMEM;
	}
	if (r == 0)
		r = sandbox_landlock(paths, n, &warning);
	for (size_t i = 0; i < n; i++)
		free(folders[i]);
	if (r < 0)
		return volt_err_set(err, -r, "%s", warning.code ? warning.msg : "out of memory");
	if (r == 0)
		log_warn("%s", warning.msg);
	return 0;
}

/* Async-signal-safe. */
static void on_bad_syscall(void)
{
	console_restore();
	fatal_bad_syscall();
}

int confine_process(const struct vm_config *cfg, const struct resources *res, struct volt_err *err)
{
	int r = close_files(cfg, err);

	if (r < 0)
		return r;
	if (cfg->no_seccomp) {
		log_warn("seccomp is off: --no-seccomp");
		return 0;
	}
	return sandbox_sigsys_init(res->logfd, on_bad_syscall, err);
}
