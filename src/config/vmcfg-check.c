/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the values mean together: ranges (again, whoever filled them in), duplicates, conflicts. No
 * file is looked at here, see vmcfg-check-file.c. Main thread.
 */
#include <ctype.h>
#include <string.h>

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

static void check_disk(const struct vm_config *cfg, size_t index, struct vmcfg_errors *errors)
{
	const struct disk_config *d = &cfg->disks[index];
	char where[LIMIT_DISK_ID + 16];

	if (!d->id) {
		vmcfg_error(errors, "disk", "number %zu has no id", index);
		return;
	}
	snprintf(where, sizeof(where), "disk '%.64s'", d->id);
	check_rows(vmcfg_doc_section("drives"), d, where, errors);
	if (!d->path && !cfg->partial)
		vmcfg_error(errors, where, "has no path");
	if (!made_of(d->id, "-_"))
		vmcfg_error(errors, where,
			"the id may have only letters, digits, hyphens and underscores");
	for (size_t i = 0; i < index; i++) {
		if (!cfg->disks[i].id || strcmp(cfg->disks[i].id, d->id) != 0)
			continue;
		vmcfg_error(errors, where, "two disks have this id; each needs its own");
		break;
	}
}

static void check_disks(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	const struct disk_config *root = NULL;

	for (size_t i = 0; i < cfg->n_disks; i++) {
		const struct disk_config *d = &cfg->disks[i];

		check_disk(cfg, i, errors);
		if (d->root && root && d->id && root->id)
			vmcfg_error(errors, "disks",
				"both '%s' and '%s' are the root disk; there can be one",
				root->id, d->id);
		else if (d->root)
			root = d;
	}
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

		if (s->kind == VMCFG_OBJECT || s->kind == VMCFG_LAUNCH)
			check_rows(s, cfg, s->name, errors);
	}
	check_machine(cfg, errors);
	check_cmdline(cfg, errors);
	check_disks(cfg, errors);
	check_console(cfg, errors);
}

void vmcfg_check(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	vmcfg_check_values(cfg, errors);
	vmcfg_check_files(cfg, errors);
}
