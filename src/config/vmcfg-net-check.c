/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the values of network interfaces mean together: which keys belong to which back end, and
 * what two interfaces cannot both have. Each value by itself was judged by its row. Main thread.
 */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "vmcfg-judge.h"
#include "vmcfg-mac.h"
#include "vmcfg-net.h"
#include "vmcfg-row.h"

#define WHERE_MAX (LIMIT_NET_ID + 32)

/* "interface 'net0'.mtu" */
static const char *where(const struct net_config *net, const char *key, char buf[WHERE_MAX])
{
	snprintf(buf, WHERE_MAX, "interface '%.64s'%s%s", net->id, *key ? "." : "", key);
	return buf;
}

static const char *backend_name(const struct net_config *net)
{
	const struct vmcfg_section *s = vmcfg_doc_section("network-interfaces");
	size_t index = MIN((size_t)net->backend, (size_t)NET_BACKEND_PASST);

	return vmcfg_doc_row(s, "backend")->names[index];
}

static bool limited(const struct limiter_params *l)
{
	return (l->bandwidth.size && l->bandwidth.refill_ms) || (l->ops.size && l->ops.refill_ms);
}

/* What stands for the host's side: one name, one descriptor, or neither. */
static void check_host_side(const struct net_config *net, bool partial, struct vmcfg_errors *errors)
{
	bool tap = net->backend == NET_BACKEND_TAP, passt = net->backend == NET_BACKEND_PASST;
	char at[WHERE_MAX];

	if (net->fd >= 0 && !tap)
		vmcfg_error(errors, where(net, "fd", at),
			"is for the back end Tap, and this one is %s", backend_name(net));
	else if (net->fd >= 0 && net->host_dev)
		vmcfg_error(errors, where(net, "fd", at),
			"and host_dev_name '%s' exclude each other; give one of them",
			net->host_dev);
	if (net->host_dev && passt)
		vmcfg_error(errors, where(net, "host_dev_name", at),
			"does not go with the back end Passt, which needs no interface of the "
			"host");
	if (!net->host_dev && !passt && net->fd < 0 && !partial)
		vmcfg_error(errors, where(net, "host_dev_name", at), "is missing; the back end %s "
			"needs %s", backend_name(net),
			net->backend == NET_BACKEND_MACVTAP ? "the name of a link of the host" :
			tap ? "the name of a tap, or fd" :
				"the name of a tap");
}

/* Keys that mean nothing to this back end would be ignored: a mistake. */
static void check_keys(const struct vm_config *cfg, const struct net_config *net,
	struct vmcfg_errors *errors)
{
	char at[WHERE_MAX];

	if (net->bridge && net->backend != NET_BACKEND_NETWORKD)
		vmcfg_error(errors, where(net, "bridge", at),
			"is for the back end Networkd, and this one is %s", backend_name(net));
	if (net->ports && net->backend != NET_BACKEND_PASST)
		vmcfg_error(errors, where(net, "ports", at),
			"is for the back end Passt, and this one is %s", backend_name(net));
	if (net->macvtap_mode != MACVTAP_BRIDGE && net->backend != NET_BACKEND_MACVTAP)
		vmcfg_error(errors, where(net, "macvtap_mode", at),
			"is for the back end Macvtap, and this one is %s", backend_name(net));
	if (net->n_queue_pairs > 1 && (net->backend != NET_BACKEND_TAP || net->fd >= 0))
		vmcfg_error(errors, where(net, "n_queue_pairs", at),
			"is %u, and only a tap by name has more than 1", net->n_queue_pairs);
	if (net->vhost && net->backend == NET_BACKEND_PASST)
		vmcfg_error(errors, where(net, "vhost", at),
			"does not go with the back end Passt, whose frames the kernel cannot move");
	if (net->vhost && (limited(&net->rx) || limited(&net->tx)))
		vmcfg_error(errors, where(net, "vhost", at),
			"does not go with a rate limiter, because the kernel would not keep to it; "
			"give up one of them");
	if (net->vhost && cfg->hotplug)
		vmcfg_error(errors, where(net, "vhost", at),
			"does not go with memory-hotplug, because the kernel would not see memory "
			"come and go; give up one of them");
}

/* Taps have one owner; so has a link below a macvtap in mode Passthru. */
static bool share_device(const struct net_config *a, const struct net_config *b)
{
	bool macvtap_a = a->backend == NET_BACKEND_MACVTAP;
	bool macvtap_b = b->backend == NET_BACKEND_MACVTAP;

	if (!a->host_dev || !b->host_dev || strcmp(a->host_dev, b->host_dev) != 0)
		return false;
	if (macvtap_a && macvtap_b)
		return a->macvtap_mode == MACVTAP_PASSTHRU || b->macvtap_mode == MACVTAP_PASSTHRU;
	return !macvtap_a && !macvtap_b;
}

/* b comes before a. */
static void check_pair(const struct net_config *a, const struct net_config *b,
	struct vmcfg_errors *errors)
{
	char at[WHERE_MAX], mac[VMCFG_MAC_TEXT + 1];

	/* Two with one id are reported for that; made addresses are the same then. */
	if (strcmp(a->id, b->id) != 0 &&
		memcmp(a->mac_bytes, b->mac_bytes, sizeof(a->mac_bytes)) == 0) {
		vmcfg_mac_format(a->mac_bytes, mac);
		vmcfg_error(errors, where(a, "guest_mac", at),
			"the MAC address is already in use: %s is that of interface '%s'; each "
			"needs its own",
			mac, b->id);
	}
	if (share_device(a, b))
		vmcfg_error(errors, where(a, "host_dev_name", at),
			"%s is already that of interface '%s', and it cannot have two",
			a->host_dev, b->id);
	if (a->fd >= 0 && a->fd == b->fd)
		vmcfg_error(errors, where(a, "fd", at),
			"%d is already that of interface '%s'; each needs its own", a->fd, b->id);
}

/* A port of the host leads to one guest port; *text is moved on. False at the end. */
static bool next_port(const char **text, struct vmcfg_judge_forward *ret)
{
	char word[32];

	while (*text && **text) {
		size_t n = strcspn(*text, " ");

		snprintf(word, sizeof(word), "%.*s", (int)MIN(n, sizeof(word) - 1), *text);
		*text += n + ((*text)[n] == ' ');
		if (vmcfg_judge_forward(word, ret))
			return true;
	}
	return false;
}

/* A bit for each port of the host; too large for a stack. */
struct port_map {
	uint64_t used[2][65536 / 64];
};

/* True if the port was marked before. */
static bool mark_port(struct port_map *map, const struct vmcfg_judge_forward *f)
{
	uint64_t *word = &map->used[f->udp][f->host / 64], bit = UINT64_C(1) << f->host % 64;
	bool was = *word & bit;

	*word |= bit;
	return was;
}

static void check_ports(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	_cleanup_free_ struct port_map *map = calloc(1, sizeof(*map));
	struct vmcfg_judge_forward f;
	char at[WHERE_MAX];

	if (!map) {
		vmcfg_error(errors, "configuration", "out of memory");
		return;
	}
	for (size_t i = 0; i < cfg->n_nets; i++) {
		const char *text = cfg->nets[i].ports;

		if (!cfg->nets[i].id)
			continue;
		while (next_port(&text, &f))
			if (mark_port(map, &f))
				vmcfg_error(errors, where(&cfg->nets[i], "ports", at),
					"%s port %u of the host is forwarded twice",
					f.udp ? "udp" : "tcp", (unsigned)f.host);
	}
}

/* By its id, which `len` bytes of text are. */
static const struct net_config *find_net(const struct vm_config *cfg, const char *text, size_t len)
{
	for (size_t i = 0; i < cfg->n_nets; i++) {
		const char *id = cfg->nets[i].id;

		if (id && strlen(id) == len && memcmp(id, text, len) == 0)
			return &cfg->nets[i];
	}
	return NULL;
}

static void check_mmds(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	const char *word = cfg->mmds.interfaces ? cfg->mmds.interfaces : "";
	const char *where_mmds = "mmds-config.network_interfaces";

	if (!cfg->mmds.present || cfg->partial)
		return;
	if (!*word)
		vmcfg_error(errors, where_mmds, "is empty; name at least one interface");
	for (size_t n; *word; word += n + (word[n] == ' ')) {
		const struct net_config *net;

		n = strcspn(word, " ");
		net = find_net(cfg, word, n);
		if (!net)
			vmcfg_error(errors, where_mmds, "there is no interface '%.*s'", (int)n,
				word);
		else if (net->vhost)
			vmcfg_error(errors, where_mmds,
				"the interface '%s' has vhost, where the host's kernel moves the "
				"frames and the service sees none; give up one of them",
				net->id);
	}
}

void vmcfg_net_check(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	for (size_t i = 0; i < cfg->n_nets; i++) {
		const struct net_config *net = &cfg->nets[i];

		if (!net->id)
			continue; /* reported */
		check_host_side(net, cfg->partial, errors);
		check_keys(cfg, net, errors);
		for (size_t j = 0; j < i; j++)
			if (cfg->nets[j].id)
				check_pair(net, &cfg->nets[j], errors);
	}
	check_ports(cfg, errors);
	check_mmds(cfg, errors);
}
