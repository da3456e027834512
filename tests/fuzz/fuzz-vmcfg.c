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

static void check_link(const char *name)
{
	assert(*name && strlen(name) < LIMIT_IFNAME && !strpbrk(name, " /:%"));
	assert(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
}

/* "tcp:1:65535 udp:53:53" */
static void check_ports(const char *text)
{
	assert(*text && strlen(text) < LIMIT_PATH);
	while (*text) {
		unsigned long host, guest;
		char *end;

		assert(strncmp(text, "tcp:", 4) == 0 || strncmp(text, "udp:", 4) == 0);
		assert(text[4] >= '0' && text[4] <= '9');
		host = strtoul(text + 4, &end, 10);
		assert(*end == ':' && end[1] >= '0' && end[1] <= '9');
		guest = strtoul(end + 1, &end, 10);
		assert(host >= 1 && host <= 65535 && guest >= 1 && guest <= 65535);
		assert(!*end || (*end == ' ' && end[1]));
		text = end + (*end == ' ');
	}
}

static void check_limiter(const struct limiter_params *l)
{
	assert(l->bandwidth.size <= INT64_MAX && l->ops.size <= INT64_MAX);
	assert(l->bandwidth.one_time_burst <= INT64_MAX && l->ops.one_time_burst <= INT64_MAX);
	assert(l->bandwidth.refill_ms <= UINT64_MAX / 1000000);
	assert(l->ops.refill_ms <= UINT64_MAX / 1000000);
}

static void check_net(const struct vm_config *cfg, size_t index)
{
	static const uint8_t zero[6];
	const struct net_config *n = &cfg->nets[index];
	bool tap = n->backend == NET_BACKEND_TAP, passt = n->backend == NET_BACKEND_PASST;

	check_id(n->id, LIMIT_NET_ID);
	assert(n->backend <= NET_BACKEND_PASST && n->macvtap_mode <= MACVTAP_PASSTHRU);
	if (n->host_dev)
		check_link(n->host_dev);
	if (n->bridge)
		check_link(n->bridge);
	if (n->ports)
		check_ports(n->ports);
	assert(n->fd == -1 || (n->fd > 2 && tap));
	assert((n->host_dev != NULL) + (n->fd >= 0) == !passt);
	assert(!(n->mac_bytes[0] & 1) && memcmp(n->mac_bytes, zero, 6) != 0);
	assert(n->mac ? strlen(n->mac) == 17 : (n->mac_bytes[0] & 3) == 2);
	assert(n->mtu == 0 || n->mtu >= 68);
	assert(n->n_queue_pairs >= 1 && n->n_queue_pairs <= LIMIT_NET_PAIRS);
	assert(n->n_queue_pairs == 1 || (tap && n->host_dev));
	assert(!n->bridge || n->backend == NET_BACKEND_NETWORKD);
	assert(!n->ports || passt);
	assert(!n->vhost || !passt);
	check_limiter(&n->rx);
	check_limiter(&n->tx);
	for (size_t j = 0; j < index; j++) {
		const struct net_config *m = &cfg->nets[j];

		assert(strcmp(n->id, m->id) != 0 && memcmp(n->mac_bytes, m->mac_bytes, 6) != 0);
		assert(n->fd < 0 || n->fd != m->fd);
	}
}

static void check_memory(const struct vm_config *cfg)
{
	bool root = cfg->n_disks && cfg->disks[0].root;

	assert(cfg->n_pmems <= LIMIT_PMEMS);
	for (size_t i = 0; i < cfg->n_pmems; i++) {
		const struct pmem_config *p = &cfg->pmems[i];

		check_id(p->id, LIMIT_PMEM_ID);
		assert(p->path && *p->path && strlen(p->path) < LIMIT_PATH);
		assert(!(p->root && root));
		root = root || p->root;
	}
	if (!cfg->hotplug)
		return;
	assert(IS_POW2(cfg->hotplug_block_bytes) && cfg->hotplug_block_bytes >= 2 * MIB);
	assert(cfg->hotplug_slot_bytes >= 128 * MIB &&
		cfg->hotplug_slot_bytes % cfg->hotplug_block_bytes == 0);
	assert(cfg->hotplug_bytes > 0 && cfg->hotplug_bytes % cfg->hotplug_slot_bytes == 0);
	assert(cfg->hotplug_wanted_bytes <= cfg->hotplug_bytes &&
		cfg->hotplug_wanted_bytes % cfg->hotplug_block_bytes == 0);
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
	assert(cfg->huge_pages <= HUGE_PAGES_2M && cfg->cpu_template <= CPU_TEMPLATE_T2A);
	assert(cfg->huge_pages == HUGE_PAGES_NONE || cfg->mem_bytes % (2 * MIB) == 0);
	assert(!cfg->cpu_config || *cfg->cpu_config == '{' || *cfg->cpu_config == '"');
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
	assert(cfg->n_nets <= LIMIT_NETS);
	for (size_t i = 0; i < cfg->n_nets; i++)
		check_net(cfg, i);
	assert(cfg->vsock_cid >= 3 && cfg->vsock_cid <= 0xfffffffe);
	if (cfg->vsock_path)
		assert(*cfg->vsock_path && strlen(cfg->vsock_path) < LIMIT_SOCKET_PATH);
	check_memory(cfg);
	assert(cfg->n_disks + cfg->n_nets + cfg->n_pmems + (cfg->vsock_path != NULL) +
			cfg->entropy + cfg->hotplug <=
		LIMIT_VIRTIO);
}

static char *dump(const struct vm_config *cfg)
{
	static char buf[1 << 19]; /* larger than 17 disks with the longest names */
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
