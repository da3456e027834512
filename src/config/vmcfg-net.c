/* SPDX-License-Identifier: Apache-2.0 */
/* Interfaces and vsock from flags, and their MAC addresses; see vmcfg-net.h. */
#include "vmcfg-net.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "num.h"
#include "vmcfg-list.h"
#include "vmcfg-mac.h"
#include "vmcfg-row.h"

#define MS_MAX (UINT64_MAX / 1000000) /* as the row of refill_time has it */

static const struct vmcfg_row *row_of(const char *key)
{
	return vmcfg_doc_row(vmcfg_doc_section("network-interfaces"), key);
}

enum takes {
	TAKES_ROW,   /* the value of a key of the document */
	TAKES_ON,    /* on, off or nothing */
	TAKES_PORT,  /* may be repeated */
	TAKES_BYTES, /* a bucket at `offset` */
	TAKES_OPS,
};

/* The words behind the back end. */
static const struct word {
	const char *name;
	enum takes takes;
	const char *key;
	size_t offset;
} words[] = {
	{ "id", TAKES_ROW, "iface_id", 0 },
	{ "mac", TAKES_ROW, "guest_mac", 0 },
	{ "mtu", TAKES_ROW, "mtu", 0 },
	{ "queues", TAKES_ROW, "n_queue_pairs", 0 },
	{ "vhost", TAKES_ON, "vhost", 0 },
	{ "mode", TAKES_ROW, "macvtap_mode", 0 },
	{ "bridge", TAKES_ROW, "bridge", 0 },
	{ "tcp", TAKES_PORT, "ports", 0 },
	{ "udp", TAKES_PORT, "ports", 0 },
	{ "rx-bandwidth", TAKES_BYTES, NULL, offsetof(struct net_config, rx.bandwidth) },
	{ "rx-ops", TAKES_OPS, NULL, offsetof(struct net_config, rx.ops) },
	{ "tx-bandwidth", TAKES_BYTES, NULL, offsetof(struct net_config, tx.bandwidth) },
	{ "tx-ops", TAKES_OPS, NULL, offsetof(struct net_config, tx.ops) },
};

static void set_port(struct net_config *net, const struct word *w, const char *value,
	const char *path, struct vmcfg_errors *errors)
{
	_cleanup_free_ char *port = NULL;

	if (asprintf(&port, "%s:%s", w->name, value) < 0) {
		port = NULL;
		vmcfg_error(errors, path, "out of memory");
		return;
	}
	vmcfg_row_add_word(row_of(w->key), net, port, path, errors);
}

static bool amount(const char *text, bool bytes, uint64_t min, uint64_t *ret)
{
	if (!bytes)
		return num_parse_u64(text, min, INT64_MAX, ret) == 0;
	return num_parse_size(text, 1, ret) == 0 && *ret >= min && *ret <= INT64_MAX;
}

/* "10M/1000/1M": tokens in milliseconds, and tokens once. Writes into value. */
static bool read_bucket(char *value, bool bytes, struct bucket_params *ret)
{
	char *size = strsep(&value, "/"), *ms = strsep(&value, "/"), *burst = value;

	*ret = (struct bucket_params){ 0 };
	return ms && amount(size, bytes, 1, &ret->size) &&
		num_parse_u64(ms, 1, MS_MAX, &ret->refill_ms) == 0 &&
		(!burst || amount(burst, bytes, 0, &ret->one_time_burst));
}

static void set_rate(struct net_config *net, const struct word *w, char *value, const char *path,
	struct vmcfg_errors *errors)
{
	struct bucket_params *field = (void *)((char *)net + w->offset), bucket;
	_cleanup_free_ char *given = NULL;

	if (!vmcfg_row_set_string(&given, value, errors))
		return;
	if (read_bucket(value, w->takes == TAKES_BYTES, &bucket))
		*field = bucket;
	else
		vmcfg_error(errors, path,
			"must be %s/MILLISECONDS or %s/MILLISECONDS/BURST, such as %s, not '%.40s'",
			w->takes == TAKES_BYTES ? "SIZE" : "N",
			w->takes == TAKES_BYTES ? "SIZE" : "N",
			w->takes == TAKES_BYTES ? "10M/1000" : "5000/1000", given);
}

static void set_switch(struct net_config *net, const char *value, const char *path,
	struct vmcfg_errors *errors)
{
	if (!value || strcmp(value, "on") == 0)
		net->vhost = true;
	else if (strcmp(value, "off") == 0)
		net->vhost = false;
	else
		vmcfg_error(errors, path, "must be on or off, not '%.40s'", value);
}

/* One "key=value" or "key" behind the back end; seen has a bit for each word. */
static void apply(struct net_config *net, char *text, unsigned *seen, struct vmcfg_errors *errors)
{
	char *value = strchr(text, '='), path[32];
	const struct word *w = words, *end = words + ARRAY_SIZE(words);
	unsigned bit;

	if (value)
		*value++ = '\0';
	while (w < end && strcmp(w->name, text) != 0)
		w++;
	if (w == end || (!value && w->takes != TAKES_ON)) {
		vmcfg_error(errors, "--net",
			"'%.40s' is not known behind the back end; there are id=ID, mac=MAC, "
			"mtu=N, queues=N, vhost[=on|off], mode=MODE, bridge=NAME, tcp=HOST:GUEST, "
			"udp=HOST:GUEST, and rx-bandwidth, rx-ops, tx-bandwidth and tx-ops, each "
			"=SIZE/MILLISECONDS[/BURST]",
			text);
		return;
	}
	snprintf(path, sizeof(path), "--net: %s", w->name);
	bit = 1u << (w - words);
	if (*seen & bit && w->takes != TAKES_PORT)
		vmcfg_error(errors, path, "is given twice");
	else if (w->takes == TAKES_ROW)
		vmcfg_row_set_text(row_of(w->key), net, value, path, errors);
	else if (w->takes == TAKES_ON)
		set_switch(net, value, path, errors);
	else if (w->takes == TAKES_PORT)
		set_port(net, w, value, path, errors);
	else
		set_rate(net, w, value, path, errors);
	*seen |= bit;
}

/* The first word. False if it is none (reported). */
static bool set_backend(struct net_config *net, char *text, struct vmcfg_errors *errors)
{
	static const struct {
		const char *name;
		enum net_backend backend;
		const char *key; /* of its value; NULL: has none */
	} backends[] = {
		{ "tap", NET_BACKEND_TAP, "host_dev_name" },
		{ "fd", NET_BACKEND_TAP, "fd" },
		{ "macvtap", NET_BACKEND_MACVTAP, "host_dev_name" },
		{ "networkd", NET_BACKEND_NETWORKD, "host_dev_name" },
		{ "passt", NET_BACKEND_PASST, NULL },
	};
	size_t len = strcspn(text, "=");
	const char *value = text[len] ? text + len + 1 : NULL;
	char path[32];

	for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
		if (strncmp(text, backends[i].name, len) != 0 || backends[i].name[len] ||
			!value != !backends[i].key)
			continue;
		net->backend = backends[i].backend;
		snprintf(path, sizeof(path), "--net: %s", backends[i].name);
		return !value ||
			vmcfg_row_set_text(row_of(backends[i].key), net, value, path, errors);
	}
	vmcfg_error(errors, "--net",
		"must begin with tap=NAME, fd=N, macvtap=LINK, networkd=NAME or passt, not '%.40s'",
		text);
	return false;
}

void vmcfg_net_flag(struct vm_config *cfg, const char *spec, struct vmcfg_errors *errors)
{
	_cleanup_free_ char *copy = NULL;
	struct net_config *net;
	char *word, *rest;
	unsigned seen = 0;

	if (!vmcfg_row_set_string(&copy, spec, errors))
		return;
	net = vmcfg_list_add(vmcfg_doc_section("network-interfaces"), cfg, "--net", errors);
	if (!net)
		return;
	rest = copy;
	set_backend(net, strsep(&rest, ","), errors);
	while ((word = strsep(&rest, ",")))
		apply(net, word, &seen, errors);
}

void vmcfg_net_vsock_flag(struct vm_config *cfg, const char *spec, struct vmcfg_errors *errors)
{
	const struct vmcfg_section *s = vmcfg_doc_section("vsock");
	_cleanup_free_ char *copy = NULL;
	char *word, *rest;

	if (!vmcfg_row_set_string(&copy, spec, errors))
		return;
	rest = copy;
	word = strsep(&rest, ",");
	vmcfg_row_set_text(vmcfg_doc_row(s, "uds_path"), cfg, word, "--vsock", errors);
	while ((word = strsep(&rest, ","))) {
		if (strncmp(word, "cid=", 4) == 0)
			vmcfg_row_set_text(vmcfg_doc_row(s, "guest_cid"), cfg, word + 4,
				"--vsock: cid", errors);
		else
			vmcfg_error(errors, "--vsock",
				"'%.40s' is not known behind the path; there is cid=N", word);
	}
}

static bool has_own_id(const struct vm_config *cfg)
{
	const struct vmcfg_row *row = vmcfg_doc_row(vmcfg_doc_section("instance"), "id");

	return cfg->id && strcmp(cfg->id, row->def_text) != 0;
}

/*
 * VMs without an id of their own would all have the same addresses, and clash on one bridge: they
 * get random ones.
 */
static void choose_mac(const struct vm_config *cfg, struct net_config *net,
	struct vmcfg_errors *errors)
{
	struct volt_err err = { 0 };
	int r = 0;

	if (net->mac)
		r = vmcfg_mac_parse(net->mac, net->mac_bytes, &err);
	else if (net->id && has_own_id(cfg))
		vmcfg_mac_make(cfg->id, net->id, net->mac_bytes);
	else
		r = vmcfg_mac_random(net->mac_bytes, &err);
	if (r < 0)
		vmcfg_error(errors, "--net: mac", "%s", err.msg);
}

void vmcfg_net_settle(struct vm_config *cfg, struct vmcfg_errors *errors)
{
	vmcfg_list_name(vmcfg_doc_section("network-interfaces"), cfg, errors);
	for (size_t i = 0; i < cfg->n_nets; i++)
		choose_mac(cfg, &cfg->nets[i], errors);
}
