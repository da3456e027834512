/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration from bytes of a stranger. The first byte says whether the rest is a document
 * or a command line (words ended by newlines). Oracle: either there are errors, each a single
 * line, or the configuration is within its limits and its dump reads back to the same dump. No
 * file is touched. Reading and dumping again costs ten times the rest, so that only one input in
 * eight pays for it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "vmcfg.h"

#define ARGS_MAX 48

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_errors(const struct vmcfg_errors *e)
{
	for (size_t i = 0; i < e->n && i < VMCFG_ERRORS_MAX; i++) {
		assert(e->text[i] && strstr(e->text[i], ": "));
		for (const char *c = e->text[i]; *c; c++)
			assert((unsigned char)*c >= 0x20 && *c != 0x7f);
	}
}

static void check_id(const char *id, size_t max)
{
	assert(id && *id && strlen(id) <= max);
	for (; *id; id++)
		assert(*id == '-' || *id == '_' || (*id >= '0' && *id <= '9') ||
			(*id >= 'a' && *id <= 'z') || (*id >= 'A' && *id <= 'Z'));
}

static void check_limits(const struct vm_config *cfg)
{
	check_id(cfg->id, LIMIT_ID);
	assert(cfg->kernel_path && *cfg->kernel_path);
	assert(cfg->cmdline && strlen(cfg->cmdline) < LIMIT_CMDLINE);
	for (const char *c = cfg->cmdline; *c; c++)
		assert(*c >= 0x20 && *c < 0x7f);
	assert(cfg->vcpus >= 1 && cfg->vcpus <= LIMIT_VCPUS);
	assert(!cfg->smt || cfg->vcpus == 1 || cfg->vcpus % 2 == 0);
	assert(cfg->mem_bytes && cfg->mem_bytes % MIB == 0);
	assert(cfg->mem_bytes / MIB <= LIMIT_MEM_MIB);
	assert(cfg->shutdown_timeout_ms);
	assert((cfg->console == CONSOLE_FILE) == (cfg->console_path != NULL));
	assert(cfg->n_disks <= LIMIT_DISKS);
	for (size_t i = 0; i < cfg->n_disks; i++) {
		const struct disk_config *d = &cfg->disks[i];

		check_id(d->id, LIMIT_DISK_ID);
		assert(d->path && *d->path && strlen(d->path) < LIMIT_PATH);
		assert(d->n_queues <= LIMIT_DISK_QUEUES);
		assert(!d->root || i == 0);
		for (size_t j = 0; j < i; j++)
			assert(strcmp(d->id, cfg->disks[j].id) != 0);
	}
}

static char *dump(const struct vm_config *cfg)
{
	static char buf[1 << 18]; /* larger than 17 disks with the longest names */
	FILE *f = fmemopen(buf, sizeof(buf), "w");

	assert(f && vmcfg_dump(cfg, f) == 0);
	fclose(f);
	return strdup(buf);
}

static void round_trip(const struct vm_config *cfg)
{
	struct vmcfg_errors e = { 0 };
	struct vm_config again;
	char *once = dump(cfg), *twice;

	vmcfg_defaults(&again);
	vmcfg_json(&again, once, strlen(once), "dump", &e);
	vmcfg_check_values(&again, &e);
	assert(e.n == 0);
	twice = dump(&again);
	assert(strcmp(once, twice) == 0);
	vmcfg_done(&again);
	free(once);
	free(twice);
}

static void read_words(struct vm_config *cfg, char *text, struct vmcfg_errors *e)
{
	static char self[] = "volt-vmm";
	char *argv[ARGS_MAX + 1] = { self }, *rest = text, *word;
	enum vmcfg_action action;
	int argc = 1;

	while ((word = strsep(&rest, "\n")) && argc < ARGS_MAX)
		if (!strstr(word, "config-file")) /* would open files */
			argv[argc++] = word;
	vmcfg_cli(cfg, argc, argv, &action, e);
}

/* FNV-1a, so that the same input always takes the same way. */
static bool chosen(const uint8_t *data, size_t size)
{
	uint32_t h = 2166136261;

	for (size_t i = 0; i < size; i++)
		h = (uint32_t)((h ^ data[i]) * UINT64_C(16777619));
	return (h >> 16) % 8 == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmcfg_errors e = { 0 };
	struct vm_config cfg;
	char *text;

	if (size < 1)
		return 0;
	text = malloc(size);
	assert(text);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	vmcfg_defaults(&cfg);
	if (data[0] & 1)
		read_words(&cfg, text, &e);
	else
		vmcfg_json(&cfg, text, size - 1, "f.json", &e);
	assert(cfg.partial == (e.n > 0));
	vmcfg_check_values(&cfg, &e);
	check_errors(&e);
	if (e.n == 0) {
		check_limits(&cfg);
		if (chosen(data, size))
			round_trip(&cfg);
	}
	vmcfg_errors_done(&e);
	vmcfg_done(&cfg);
	free(text);
	return 0;
}
