/* SPDX-License-Identifier: Apache-2.0 */
/* /network-interfaces/{id}. PUT opens the tap. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api-resources.h"
#include "log.h"
#include "net.h"
#include "netif.h"
#include "resources.h"
#include "vhost-net.h"
#include "vm.h"

#define PREFIX "Network config error: "

static const char *const backends[] = { "Tap", "Macvtap", "Networkd", "Passt", NULL };
static const char *const modes[] = { "Bridge", "Vepa", "Private", "Passthru", NULL };
static const char *judge_mac(const char *text)
{
	return vmcfg_mac_ok(text) ? NULL : "The provided MAC address is invalid.";
}

static const struct serde_type port = { SERDE_STRING };

static const struct serde_field put_fields[] = {
	{ "iface_id", { SERDE_STRING }, .required = true },
	{ "host_dev_name", { SERDE_STRING }, .required = true }, /* not looked at for passt */
	{ "guest_mac", { SERDE_STRING, .judge = judge_mac } },
	{ "mtu", { SERDE_U16 } },
	{ "rx_rate_limiter", { SERDE_OBJECT, .object = &api_rate_limiter } },
	{ "tx_rate_limiter", { SERDE_OBJECT, .object = &api_rate_limiter } },
	{ "backend", { SERDE_ENUM, .names = backends }, .ours = true },
	{ "n_queue_pairs", { SERDE_U8 }, .ours = true },
	{ "vhost", { SERDE_BOOL }, .ours = true },
	{ "bridge", { SERDE_STRING }, .ours = true },
	{ "macvtap_mode", { SERDE_ENUM, .names = modes }, .ours = true },
	{ "ports", { SERDE_LIST, .item = &port }, .ours = true },
};
static const struct serde_object put_body = { "NetworkInterfaceConfig", true, put_fields,
	ARRAY_SIZE(put_fields) };

static const struct serde_field patch_fields[] = {
	{ "iface_id", { SERDE_STRING }, .required = true },
	{ "rx_rate_limiter", { SERDE_OBJECT, .object = &api_rate_limiter } },
	{ "tx_rate_limiter", { SERDE_OBJECT, .object = &api_rate_limiter } },
};
static const struct serde_object patch_body = { "NetworkInterfaceUpdateConfig", true, patch_fields,
	ARRAY_SIZE(patch_fields) };

/* n_nets if there is none. */
static size_t find(const struct vm_config *cfg, const char *id)
{
	size_t i = 0;

	while (i < cfg->n_nets && strcmp(cfg->nets[i].id, id) != 0)
		i++;
	return i;
}

/* False: answered. */
static bool judge(struct api_call *c)
{
	const struct vm_config *cfg = c->api->cfg;
	const char *mac = api_string(c, "guest_mac"), *backend = api_string(c, "backend");
	const json_t *mtu = json_object_get(c->body, "mtu");

	if (backend && strcmp(backend, "Passt") == 0)
		json_object_del(c->body, "host_dev_name");
	for (size_t i = 0; mac && i < cfg->n_nets; i++) {
		if (!cfg->nets[i].mac || strcasecmp(cfg->nets[i].mac, mac) != 0 ||
			strcmp(cfg->nets[i].id, c->id) == 0)
			continue;
		api_fault(c, PREFIX "The MAC address is already in use: %s", mac);
		return false;
	}
	if (mtu && json_integer_value(mtu) < 68) {
		api_fault(c, PREFIX "MTU %lld is out of range [68, 65535]",
			(long long)json_integer_value(mtu));
		return false;
	}
	return true;
}

/* Firecracker replaces by removal and appending: the last takes the place of the removed one. */
static void forget(struct api *a, size_t i)
{
	size_t last = --a->cfg->n_nets;

	vmcfg_item_done("network-interfaces", &a->cfg->nets[i]);
	resources_net_forget(a->res, i);
	a->cfg->nets[i] = a->cfg->nets[last];
	a->res->nets[i] = a->res->nets[last];
	a->res->vhosts[i] = a->res->vhosts[last];
	a->res->nets[last] = NULL;
	a->res->vhosts[last] = NULL;
	memset(&a->cfg->nets[last], 0, sizeof(a->cfg->nets[last]));
}

/* Firecracker's words are for its one kind of interface; ours say more: to the log then. */
static void fault_of_tap(struct api_call *c, const struct net_config *net,
	const struct volt_err *err)
{
	bool plain = net->backend == NET_BACKEND_TAP && net->host_dev && err->code;
	const char *why = err->msg;
	char text[192], os[128];

	if (plain) {
		log_error("%s", err->msg);
		snprintf(text, sizeof(text), "Error while creating ifreq structure: %s.",
			api_os_error(err->code, os, sizeof(os)));
		why = text;
	}
	api_fault(c, PREFIX "Could not create the network device: Open tap device failed: %s "
			    "Invalid TUN/TAP Backend provided by %s. Check our documentation on "
			    "setting up the network devices.",
		why, net->host_dev ? net->host_dev : "passt");
}

/* False: answered. */
static bool add(struct api_call *c, struct net_config *net)
{
	struct api *a = c->api;
	struct volt_err err = { 0 };
	size_t i = find(a->cfg, c->id);

	if (!api_apply(c, "network-interfaces", net, PREFIX))
		return false;
	if (i < a->cfg->n_nets)
		forget(a, i); /* also: its tap must not be busy because of us */
	i = a->cfg->n_nets;
	if (i == LIMIT_NETS) {
		api_fault(c, PREFIX "there are %d interfaces already, which is the maximum",
			LIMIT_NETS);
		return false;
	}
	a->cfg->nets[i] = *net;
	a->cfg->n_nets++;
	vmcfg_settle_macs(a->cfg);
	if (resources_open_net(a->res, a->cfg, i, &a->vm->loop, &err) == 0)
		return true;
	*net = a->cfg->nets[i];
	a->cfg->n_nets--;
	fault_of_tap(c, net, &err);
	return false;
}

static void put_net(struct api_call *c)
{
	struct net_config net;

	if (!judge(c))
		return;
	vmcfg_item_default("network-interfaces", &net);
	if (!add(c, &net))
		vmcfg_item_done("network-interfaces", &net);
}

static void patch_net(struct api_call *c)
{
	size_t i = find(c->api->cfg, c->id);
	struct api_limiter rx, tx;
	struct volt_err err = { 0 };
	struct net_config *n;

	if (i == c->api->cfg->n_nets) {
		api_fault(c, PREFIX "Failed perform action on device: Device not found");
		return;
	}
	n = &c->api->cfg->nets[i];
	api_limiter_read(json_object_get(c->body, "rx_rate_limiter"), &rx);
	api_limiter_read(json_object_get(c->body, "tx_rate_limiter"), &tx);
	if (net_set_limiters(c->api->vm->nets[i], &rx.change, &tx.change, &err) < 0) {
		api_fault(c, PREFIX "%s", err.msg);
		return;
	}
	api_limiter_store(&rx, &n->rx);
	api_limiter_store(&tx, &n->tx);
}

static void delete_net(struct api_call *c)
{
	api_fault(c, "PCI is not enabled");
}

json_t *api_net_json(const struct vm_config *cfg)
{
	json_t *list = json_array();

	for (size_t i = 0; i < cfg->n_nets; i++) {
		const struct net_config *n = &cfg->nets[i];

		json_array_append_new(list,
			json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "iface_id", n->id,
				"host_dev_name", api_text_or_null(n->host_dev), "guest_mac",
				api_text_or_null(n->mac), "mtu",
				n->mtu ? json_integer(n->mtu) : json_null(), "rx_rate_limiter",
				api_limiter_json(&n->rx), "tx_rate_limiter",
				api_limiter_json(&n->tx)));
	}
	return list;
}

const struct api_route api_net_routes[] = {
	{ HTTP_PUT, "/network-interfaces/{id}", API_PRE, .body = &put_body, .id_field = "iface_id",
		.serve = put_net, .counter = "network",
		.doc = "Adds a network interface, or replaces it." },
	{ HTTP_PATCH, "/network-interfaces/{id}", API_POST, .body = &patch_body,
		.id_field = "iface_id", .serve = patch_net, .counter = "network",
		.doc = "Changes the rate limits of an interface." },
	{ HTTP_DELETE, "/network-interfaces/{id}", API_POST, .serve = delete_net,
		.doc = "Needs PCI, which is not there." },
};
const size_t api_net_n_routes = ARRAY_SIZE(api_net_routes);
