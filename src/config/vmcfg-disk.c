/* SPDX-License-Identifier: Apache-2.0 */
/* Disks from flags, and their order; see vmcfg-disk.h. */
#include "vmcfg-disk.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "vmcfg-list.h"
#include "vmcfg-row.h"

static const struct vmcfg_row *row_of(const char *key)
{
	return vmcfg_doc_row(vmcfg_doc_section("drives"), key);
}

/* A choice in the flag's words: "Sync" of the document is "sync", "Async" is "uring". */
struct choice {
	const char *text;
	unsigned value;
};

static void choose(const char *key, const char *text, const struct choice choices[2],
	unsigned *field, struct vmcfg_errors *errors)
{
	for (size_t i = 0; i < 2; i++) {
		if (strcmp(text, choices[i].text) == 0) {
			*field = choices[i].value;
			return;
		}
	}
	vmcfg_error(errors, "--disk", "%s= must be %s or %s, not '%.40s'", key, choices[0].text,
		choices[1].text, text);
}

/* One "key=value" or "key" behind the path. */
static void apply(struct disk_config *disk, char *word, struct vmcfg_errors *errors)
{
	static const struct choice io[2] = { { "sync", DISK_IO_SYNC }, { "uring", DISK_IO_URING } };
	static const struct choice cache[2] = { { "writeback", DISK_CACHE_WRITEBACK },
		{ "unsafe", DISK_CACHE_UNSAFE } };
	char *value = strchr(word, '=');
	unsigned choice;

	if (value)
		*value++ = '\0';
	if (!value && strcmp(word, "ro") == 0) {
		disk->read_only = true;
	} else if (!value && strcmp(word, "root") == 0) {
		disk->root = true;
	} else if (value && strcmp(word, "id") == 0) {
		vmcfg_row_set_text(row_of("drive_id"), disk, value, "--disk: id", errors);
	} else if (value && strcmp(word, "overlay") == 0) {
		vmcfg_row_set_text(row_of("overlay_path"), disk, value, "--disk: overlay", errors);
	} else if (value && strcmp(word, "queues") == 0) {
		vmcfg_row_set_text(row_of("n_queues"), disk, value, "--disk: queues", errors);
	} else if (value && strcmp(word, "io") == 0) {
		choice = disk->io;
		choose("io", value, io, &choice, errors);
		disk->io = (enum disk_io)choice;
	} else if (value && strcmp(word, "cache") == 0) {
		choice = disk->cache;
		choose("cache", value, cache, &choice, errors);
		disk->cache = (enum disk_cache)choice;
	} else {
		vmcfg_error(errors, "--disk",
			"'%.40s' is not known behind the path; there are ro, root, id=ID, "
			"overlay=FILE, io=sync|uring, cache=writeback|unsafe and queues=N",
			word);
	}
}

void vmcfg_disk_flag(struct vm_config *cfg, const char *spec, struct vmcfg_errors *errors)
{
	_cleanup_free_ char *copy = NULL;
	struct disk_config *disk;
	char *word, *rest;

	if (!vmcfg_row_set_string(&copy, spec, errors))
		return;
	disk = vmcfg_list_add(vmcfg_doc_section("drives"), cfg, "--disk", errors);
	if (!disk)
		return;
	disk->cache = DISK_CACHE_WRITEBACK; /* who types a flag does not expect to lose data */
	rest = copy;
	word = strsep(&rest, ",");
	vmcfg_row_set_text(row_of("path_on_host"), disk, word, "--disk", errors);
	while ((word = strsep(&rest, ",")))
		apply(disk, word, errors);
}

void vmcfg_disk_settle(struct vm_config *cfg, struct vmcfg_errors *errors)
{
	struct disk_config root;

	vmcfg_list_name(vmcfg_doc_section("drives"), cfg, errors);
	for (size_t i = 0; i < cfg->n_disks; i++) {
		if (!cfg->disks[i].root)
			continue;
		root = cfg->disks[i];
		memmove(&cfg->disks[1], &cfg->disks[0], i * sizeof(root));
		cfg->disks[0] = root;
		return;
	}
}
