/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the values mean together: ranges (again, whoever filled them in), duplicates, conflicts. No
 * file is looked at here, see vmcfg-check-file.c. Main thread.
 */
#include <ctype.h>
#include <string.h>

#include "vmcfg-list.h"
#include "vmcfg-net.h"
#include "vmcfg-row.h"

static bool made_of(const char *id, const char *others)
{
	for (; *id; id++)
		if (!isascii(*id) || (!isalnum(*id) && !strchr(others, *id)))
			return false;
	return true;
}

static void check_rows(const struct vmcfg_section *s, const void *base, const char *where,
	struct vmcfg_errors *errors)
{
	for (size_t i = 0; i < s->n_rows; i++)
		vmcfg_row_check(&s->rows[i], base, where, errors);
}

static void check_machine(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	if (!cfg->kernel_path && !cfg->partial)
		vmcfg_error(errors, "kernel",
			"none is given; use --kernel PATH or --config-file PATH "
			"(--help lists all)");
	if (cfg->smt && cfg->vcpus > 1 && cfg->vcpus % 2 && cfg->vcpus <= LIMIT_VCPUS)
		vmcfg_error(errors, "vCPUs",
			"%u do not make whole cores of two threads; with smt give 1 or an even "
			"number",
			cfg->vcpus);
	if (!cfg->id)
		vmcfg_error(errors, "id", "is missing");
	else if (!made_of(cfg->id, "-"))
		vmcfg_error(errors, "id", "'%s' may have only letters, digits and hyphens",
			cfg->id);
}

static void check_cmdline(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	if (!cfg->cmdline)
		return;
	for (size_t i = 0; cfg->cmdline[i]; i++) {
		if (cfg->cmdline[i] >= 0x20 && cfg->cmdline[i] < 0x7f)
			continue;
		vmcfg_error(errors, "kernel command line",
			"byte %zu (0x%02x) is not printable ASCII; the kernel takes nothing else",
			i, (unsigned char)cfg->cmdline[i]);
		return;
	}
}

static bool same_id(const struct vmcfg_section *s, const struct vm_config *cfg, size_t i, size_t j)
{
	const char *a = vmcfg_list_id(s, cfg, i), *b = vmcfg_list_id(s, cfg, j);

	return a && b && strcmp(a, b) == 0;
}

static void check_item(const struct vmcfg_section *s, const struct vm_config *cfg, size_t index,
	struct vmcfg_errors *errors)
{
	const char *what = s->list->what, *id = vmcfg_list_id(s, cfg, index);
	char where[LIMIT_DISK_ID + 16];

	if (!id) {
		vmcfg_error(errors, what, "number %zu has no id", index);
		return;
	}
	snprintf(where, sizeof(where), "%s '%.64s'", what, id);
	check_rows(s, vmcfg_list_item(s, cfg, index), where, errors);
	if (!made_of(id, "-_"))
		vmcfg_error(errors, where,
			"the id may have only letters, digits, hyphens and underscores");
	for (size_t i = 0; i < index; i++) {
		if (!same_id(s, cfg, i, index))
			continue;
		vmcfg_error(errors, where, "two %ss have this id; each needs its own", what);
		break;
	}
}

static void check_lists(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	for (size_t i = 0; i < vmcfg_doc_n_sections; i++) {
		const struct vmcfg_section *s = &vmcfg_doc_sections[i];

		if (s->kind != VMCFG_LIST)
			continue;
		for (size_t j = 0; j < vmcfg_list_count(s, cfg); j++)
			check_item(s, cfg, j, errors);
	}
}

static void check_disks(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	const struct disk_config *root = NULL;
	char where[LIMIT_DISK_ID + 16];

	for (size_t i = 0; i < cfg->n_disks; i++) {
		const struct disk_config *d = &cfg->disks[i];

		if (!d->path && d->id && !cfg->partial) {
			snprintf(where, sizeof(where), "disk '%.64s'", d->id);
			vmcfg_error(errors, where, "has no path");
		}
		if (d->root && root && d->id && root->id)
			vmcfg_error(errors, "disks",
				"both '%s' and '%s' are the root disk; there can be one",
				root->id, d->id);
		else if (d->root)
			root = d;
	}
}

static void check_devices(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	size_t n = cfg->n_disks + cfg->n_nets + !!cfg->vsock_path + cfg->entropy;

	if (n > LIMIT_VIRTIO)
		vmcfg_error(errors, "devices",
			"%zu virtio devices are too many (disks %zu, interfaces %zu, vsock %d, "
			"entropy %d); there is room for %d",
			n, cfg->n_disks, cfg->n_nets, !!cfg->vsock_path, cfg->entropy,
			LIMIT_VIRTIO);
}

static void check_console(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	if (cfg->console == CONSOLE_FILE && !cfg->console_path && !cfg->partial)
		vmcfg_error(errors, "console", "has mode File and no path to write to");
	if (cfg->console != CONSOLE_FILE && cfg->console_path)
		vmcfg_error(errors, "console", "has the path %s, which only mode File uses",
			cfg->console_path);
}

void vmcfg_check_values(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	for (size_t i = 0; i < vmcfg_doc_n_sections; i++) {
		const struct vmcfg_section *s = &vmcfg_doc_sections[i];

		if (vmcfg_doc_over_vm(s) &&
			(s->kind != VMCFG_OPTIONAL || vmcfg_row_present(s, cfg)))
			check_rows(s, cfg, s->name, errors);
	}
	check_machine(cfg, errors);
	check_cmdline(cfg, errors);
	check_lists(cfg, errors);
	check_disks(cfg, errors);
	vmcfg_net_check(cfg, errors);
	check_devices(cfg, errors);
	check_console(cfg, errors);
}

void vmcfg_check(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	vmcfg_check_values(cfg, errors);
	vmcfg_check_files(cfg, errors);
}
