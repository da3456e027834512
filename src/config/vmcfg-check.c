/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the values mean together: ranges (again, whoever filled them in), duplicates, conflicts. No
 * file is looked at here, see vmcfg-check-file.c. Main thread.
 */
#include <ctype.h>
#include <inttypes.h>
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
	if (!cfg->kernel_path && !cfg->partial && !cfg->no_guest && !cfg->api_path &&
		!cfg->replay_path)
		vmcfg_error(errors, "kernel",
			"none is given; use --kernel PATH or --config-file PATH "
			"(--help lists all)");
	if (cfg->smt && cfg->vcpus > 1 && cfg->vcpus % 2 && cfg->vcpus <= LIMIT_VCPUS)
		vmcfg_error(errors, "vCPUs",
			"%u do not make whole cores of two threads; with smt give 1 or an even "
			"number",
			cfg->vcpus);
	if (cfg->huge_pages != HUGE_PAGES_NONE && cfg->mem_bytes % (2 * MIB))
		vmcfg_error(errors, "memory",
			"%llu MiB are not whole huge pages; with huge_pages give an even number",
			(unsigned long long)(cfg->mem_bytes / MIB));
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

static void check_overlay(const struct disk_config *d, struct vmcfg_errors *errors)
{
	char where[LIMIT_DISK_ID + 16];

	snprintf(where, sizeof(where), "disk '%.64s'", d->id);
	if (d->read_only)
		vmcfg_error(errors, where,
			"it is read-only and has an overlay, which is for writing; leave out one");
	if (d->io != DISK_IO_SYNC)
		vmcfg_error(errors, where,
			"a disk with an overlay is read and written by plain system calls; leave "
			"out io_uring");
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
		if (d->overlay && d->id)
			check_overlay(d, errors);
		if (d->root && root && d->id && root->id)
			vmcfg_error(errors, "disks",
				"both '%s' and '%s' are the root disk; there can be one",
				root->id, d->id);
		else if (d->root)
			root = d;
	}
}

static void check_pmems(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	const struct pmem_config *root = NULL;
	char where[LIMIT_PMEM_ID + 16];

	for (size_t i = 0; i < cfg->n_pmems; i++) {
		const struct pmem_config *p = &cfg->pmems[i];

		if (!p->id)
			continue;
		snprintf(where, sizeof(where), "pmem '%.64s'", p->id);
		if (!p->path && !cfg->partial)
			vmcfg_error(errors, where, "has no path");
		if (p->root && root)
			vmcfg_error(errors, where, "is a root device, and so is pmem '%s'; there "
				"can be one",
				root->id);
		else if (p->root && cfg->n_disks && cfg->disks[0].root && cfg->disks[0].id)
			vmcfg_error(errors, where, "is a root device, and so is disk '%s'; there "
				"can be one",
				cfg->disks[0].id);
		if (p->root)
			root = p;
	}
}

/* In Firecracker's order and with its limits. */
static void check_hotplug(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	uint64_t total = cfg->hotplug_bytes / MIB, block = cfg->hotplug_block_bytes / MIB;
	uint64_t slot = cfg->hotplug_slot_bytes / MIB, wanted = cfg->hotplug_wanted_bytes / MIB;
	static const char at[] = "memory-hotplug";

	if (!cfg->hotplug)
		return;
	if (!IS_POW2(block))
		vmcfg_error(errors, at, "block_size_mib must be a power of two, not %" PRIu64,
			block);
	else if (slot % block)
		vmcfg_error(errors, at,
			"slot_size_mib must be a multiple of block_size_mib, which %" PRIu64
			" is not of %" PRIu64,
			slot, block);
	else if (slot == 0 || total < slot || total % slot)
		vmcfg_error(errors, at,
			"total_size_mib must be a multiple of slot_size_mib, which %" PRIu64
			" is not of %" PRIu64,
			total, slot);
	else if (wanted > total || wanted % block)
		vmcfg_error(errors, at,
			"requested_size_mib must be a multiple of block_size_mib and at most "
			"total_size_mib, not %" PRIu64,
			wanted);
}

static void check_devices(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	const struct {
		const char *what;
		size_t n;
	} rows[] = {
		{ "disks", cfg->n_disks },
		{ "interfaces", cfg->n_nets },
		{ "pmem", cfg->n_pmems },
		{ "vsock", !!cfg->vsock_path },
		{ "balloon", cfg->balloon.present },
		{ "entropy", cfg->entropy },
		{ "memory-hotplug", cfg->hotplug },
		{ "console", cfg->console_device == CONSOLE_VIRTIO },
	};
	char list[256] = "";
	size_t n = 0, used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		n += rows[i].n;
		if (rows[i].n)
			used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s %zu",
				used ? ", " : "", rows[i].what, rows[i].n);
	}
	if (n > LIMIT_VIRTIO)
		vmcfg_error(errors, "devices",
			"%zu virtio devices are too many (%s); there is room for %d", n, list,
			LIMIT_VIRTIO);
}

static void check_balloon(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	if (cfg->balloon.present && cfg->balloon.amount_mib * MIB > cfg->mem_bytes)
		vmcfg_error(errors, "balloon.amount_mib",
			"%u MiB are more than the guest's memory of %llu MiB",
			cfg->balloon.amount_mib, (unsigned long long)(cfg->mem_bytes / MIB));
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

		if (vmcfg_doc_over_vm(s) && vmcfg_row_present(s, cfg))
			check_rows(s, cfg, s->name, errors);
	}
	check_machine(cfg, errors);
	check_cmdline(cfg, errors);
	check_lists(cfg, errors);
	check_disks(cfg, errors);
	check_pmems(cfg, errors);
	check_hotplug(cfg, errors);
	vmcfg_net_check(cfg, errors);
	check_devices(cfg, errors);
	check_balloon(cfg, errors);
	check_console(cfg, errors);
}

void vmcfg_check(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	vmcfg_check_values(cfg, errors);
	vmcfg_check_files(cfg, errors);
}
