/* SPDX-License-Identifier: Apache-2.0 */
/* /balloon: the target, the statistics and the hinting of the balloon. Loop thread. */
#include <errno.h>
#include <linux/virtio_ids.h>

#include "api-resources.h"
#include "balloon.h"
#include "virtio.h"
#include "vm.h"
#include "vmmio.h"

#define CONFIG	 "Balloon config error: "
#define UPDATE	 "Balloon update error: "
#define INTERNAL "Internal VMM error: "

static const struct serde_field put_fields[] = {
	{ "amount_mib", { SERDE_U32 }, .required = true },
	{ "deflate_on_oom", { SERDE_BOOL }, .required = true },
	{ "stats_polling_interval_s", { SERDE_U16 }, .not_null = true },
	{ "free_page_hinting", { SERDE_BOOL }, .not_null = true },
	{ "free_page_reporting", { SERDE_BOOL }, .not_null = true },
};
static const struct serde_object put_body = { "BalloonDeviceConfig", true, put_fields,
	ARRAY_SIZE(put_fields) };

static const struct serde_field update_fields[] = {
	{ "amount_mib", { SERDE_U32 }, .required = true },
};
static const struct serde_object update_body = { "BalloonUpdateConfig", true, update_fields,
	ARRAY_SIZE(update_fields) };

static const struct serde_field interval_fields[] = {
	{ "stats_polling_interval_s", { SERDE_U16 }, .required = true },
};
static const struct serde_object interval_body = { "BalloonUpdateStatsConfig", true,
	interval_fields, ARRAY_SIZE(interval_fields) };

static const struct serde_field start_fields[] = {
	{ "acknowledge_on_stop", { SERDE_BOOL }, .not_null = true },
};
static const struct serde_object start_body = { "StartHintingCmd", false, start_fields,
	ARRAY_SIZE(start_fields) };

/* The device, or NULL. */
static struct virtio_dev *find(const struct api *api)
{
	for (size_t i = 0; api->started && i < api->vm->n_virtio; i++) {
		struct virtio_dev *v = vmmio_virtio(api->vm->virtio[i]);

		if (v->ops->id == VIRTIO_ID_BALLOON)
			return v;
	}
	return NULL;
}

/* The same, after InstanceStart; a fault that begins with `prefix` if there is none. */
static struct virtio_dev *need(struct api_call *c, const char *prefix)
{
	struct virtio_dev *v = find(c->api);

	if (!v)
		api_fault(c, "%sFailed perform action on device: Device not found", prefix);
	return v;
}

json_t *api_balloon_json(const struct api *api)
{
	const struct balloon_config *b = &api->cfg->balloon;
	struct balloon_params p = { b->amount_mib, b->stats_interval_s, b->deflate_on_oom,
		b->hinting, b->reporting };
	struct virtio_dev *v = find(api);

	if (v)
		balloon_read_params(v, &p);
	else if (api->started || !b->present)
		return json_null();
	return json_pack("{s:I, s:b, s:i, s:b, s:b}", "amount_mib", (json_int_t)p.amount_mib,
		"deflate_on_oom", p.deflate_on_oom, "stats_polling_interval_s",
		(int)p.stats_interval_s, "free_page_hinting", p.hinting, "free_page_reporting",
		p.reporting);
}

static void get(struct api_call *c)
{
	if (c->api->started && !need(c, INTERNAL))
		return;
	if (!c->api->started && !c->api->cfg->balloon.present)
		api_fault(c, CONFIG "No balloon device found.");
	else
		api_json(c, api_balloon_json(c->api));
}

static uint32_t number(const struct api_call *c, const char *field)
{
	return (uint32_t)json_integer_value(json_object_get(c->body, field));
}

static void put(struct api_call *c)
{
	struct vm_config *cfg = c->api->cfg;
	struct balloon_config before = cfg->balloon;
	struct vmcfg_errors errors = { 0 };

	if (number(c, "amount_mib") * MIB > cfg->mem_bytes) {
		api_fault(c, CONFIG "Amount of pages requested is too large.");
		return;
	}
	cfg->balloon = (struct balloon_config){ .present = true };
	vmcfg_apply("balloon", cfg, c->body, &errors);
	if (errors.n > 0) {
		cfg->balloon = before;
		api_fault(c, CONFIG "%s", errors.text[0] ? errors.text[0] : "out of memory");
	}
	vmcfg_errors_done(&errors);
}

static void patch(struct api_call *c)
{
	struct virtio_dev *v = need(c, UPDATE);
	uint32_t amount_mib = number(c, "amount_mib");
	int r = v ? balloon_set_target(v, amount_mib) : 0;

	if (r == -ENXIO)
		api_fault(c, UPDATE "Balloon: Device not activated yet.");
	else if (r < 0)
		api_fault(c, UPDATE "Balloon: Requested memory should be less than %uMiB",
			amount_mib);
}

static void get_statistics(struct api_call *c)
{
	struct virtio_dev *v = need(c, INTERNAL);
	struct balloon_stats s;
	json_t *out;

	if (!v)
		return;
	if (balloon_read_stats(v, &s) < 0) {
		api_fault(c, INTERNAL "Balloon: Received stats query when stats are disabled.");
		return;
	}
	out = json_pack("{s:I, s:I, s:I, s:I}", "target_pages", (json_int_t)s.target_pages,
		"actual_pages", (json_int_t)s.actual_pages, "target_mib",
		(json_int_t)(s.target_pages / BALLOON_PAGES_PER_MIB), "actual_mib",
		(json_int_t)(s.actual_pages / BALLOON_PAGES_PER_MIB));
	for (unsigned i = 0; i < BALLOON_STATS; i++)
		/* A guest may send any number; JSON's here end at 2^63. */
		if (s.known & 1u << i)
			json_object_set_new(out, balloon_stat_names[i],
				json_integer((json_int_t)MIN(s.values[i], (uint64_t)INT64_MAX)));
	api_json(c, out);
}

static void patch_statistics(struct api_call *c)
{
	struct virtio_dev *v = need(c, UPDATE);

	if (v && balloon_set_interval(v, (uint16_t)number(c, "stats_polling_interval_s")) < 0)
		api_fault(c, UPDATE "Balloon: Statistics cannot be enabled/disabled after "
				    "activation.");
}

static void answer_hinting(struct api_call *c, int r)
{
	if (r == -ENOTSUP)
		api_fault(c, UPDATE "Balloon: Attempting to use hinting when not enabled");
	else if (r < 0)
		api_fault(c, UPDATE "Balloon: Device not activated yet.");
}

static void start_hinting(struct api_call *c)
{
	struct virtio_dev *v = need(c, UPDATE);
	const json_t *ack = json_object_get(c->body, "acknowledge_on_stop");

	if (v)
		answer_hinting(c, balloon_start_hinting(v, !json_is_false(ack)));
}

static void stop_hinting(struct api_call *c)
{
	struct virtio_dev *v = need(c, UPDATE);

	if (v)
		answer_hinting(c, balloon_stop_hinting(v));
}

static void get_hinting(struct api_call *c)
{
	struct virtio_dev *v = need(c, UPDATE);
	struct balloon_hinting h;
	int r = v ? balloon_read_hinting(v, &h) : 0;

	if (r < 0)
		answer_hinting(c, r);
	else if (v)
		api_json(c,
			json_pack("{s:I, s:o}", "host_cmd", (json_int_t)h.host_cmd, "guest_cmd",
				h.has_guest_cmd ? json_integer(h.guest_cmd) : json_null()));
}

/* Firecracker has texts of its own for what is not below /balloon. */
static void get_unknown(struct api_call *c)
{
	api_fault(c, "Unrecognized GET request path `%s`.", c->id);
}

static void get_unknown_hinting(struct api_call *c)
{
	api_fault(c, "Unrecognized GET request path `/hinting/%s`.", c->id ? c->id : "");
}

static void patch_unknown_hinting(struct api_call *c)
{
	api_fault(c, "Unrecognized PATCH request path `/hinting/%s`.", c->id ? c->id : "");
}

const struct api_route api_balloon_routes[] = {
	{ HTTP_PUT, "/balloon", API_PRE, .body = &put_body, .serve = put,
		.doc = "Gives the VM a balloon, or replaces its configuration." },
	{ HTTP_GET, "/balloon", API_BOTH, .serve = get,
		.doc = "The balloon's configuration, with the present target." },
	{ HTTP_PATCH, "/balloon", API_POST, .body = &update_body, .serve = patch,
		.doc = "Sets the target that the guest is asked to give up." },
	{ HTTP_GET, "/balloon/statistics", API_POST, .serve = get_statistics,
		.doc = "Target and size of the balloon, and what the guest last told of itself." },
	{ HTTP_PATCH, "/balloon/statistics", API_POST, .body = &interval_body,
		.serve = patch_statistics, .doc = "Sets the interval of the statistics." },
	{ HTTP_PATCH, "/balloon/hinting/start", API_POST, .body = &start_body,
		.body_optional = true, .serve = start_hinting,
		.doc = "Asks the guest to give all its free pages back." },
	{ HTTP_PATCH, "/balloon/hinting/stop", API_POST, .body_optional = true,
		.serve = stop_hinting,
		.doc = "Ends the run: the guest may use the pages again." },
	{ HTTP_GET, "/balloon/hinting/status", API_POST, .serve = get_hinting,
		.doc = "The last commands of host and guest." },
	/* What is left must come behind. */
	{ HTTP_GET, "/balloon/hinting", API_BOTH, .serve = get_unknown_hinting },
	{ HTTP_GET, "/balloon/hinting/{id}", API_BOTH, .serve = get_unknown_hinting },
	{ HTTP_GET, "/balloon/{id}", API_BOTH, .serve = get_unknown },
	{ HTTP_PATCH, "/balloon/hinting", API_BOTH, .body_optional = true,
		.serve = patch_unknown_hinting },
	{ HTTP_PATCH, "/balloon/hinting/{id}", API_BOTH, .body_optional = true,
		.serve = patch_unknown_hinting },
	{ HTTP_PATCH, "/balloon/{id}", API_POST, .body = &update_body,
		.serve = patch },
};
const size_t api_balloon_n_routes = ARRAY_SIZE(api_balloon_routes);
