/* SPDX-License-Identifier: Apache-2.0 */
/* What the API counts, under Firecracker's names, and GET /volt/stats: all counters, live. */
#include <string.h>
#include <time.h>

#include "api-resources.h"
#include "api-route.h"
#include "loop.h"
#include "vm.h"

#define BOTH(method, name)                                                                         \
	{ method, name "_count", name, false },                                                    \
	{                                                                                          \
		method, name "_fails", name, true                                                  \
	}
#define COUNT(method, name) { method, name "_count", name, false }

/* The routes that have this counter, together. */
static const struct {
	enum http_method method;
	const char *name, *counter;
	bool fails;
} requests[] = {
	COUNT(HTTP_GET, "instance_info"),
	COUNT(HTTP_GET, "machine_cfg"),
	COUNT(HTTP_GET, "mmds"),
	COUNT(HTTP_GET, "vmm_version"),
	COUNT(HTTP_GET, "hotplug_memory"),
	BOTH(HTTP_PUT, "actions"),
	BOTH(HTTP_PUT, "boot_source"),
	BOTH(HTTP_PUT, "drive"),
	BOTH(HTTP_PUT, "logger"),
	BOTH(HTTP_PUT, "machine_cfg"),
	BOTH(HTTP_PUT, "cpu_cfg"),
	BOTH(HTTP_PUT, "metrics"),
	BOTH(HTTP_PUT, "network"),
	BOTH(HTTP_PUT, "mmds"),
	BOTH(HTTP_PUT, "vsock"),
	BOTH(HTTP_PUT, "pmem"),
	BOTH(HTTP_PUT, "serial"),
	BOTH(HTTP_PUT, "hotplug_memory"),
	BOTH(HTTP_PATCH, "drive"),
	BOTH(HTTP_PATCH, "network"),
	BOTH(HTTP_PATCH, "machine_cfg"),
	BOTH(HTTP_PATCH, "mmds"),
	BOTH(HTTP_PATCH, "hotplug_memory"),
	BOTH(HTTP_PATCH, "pmem"),
};

static const struct {
	enum http_method method;
	const char *name;
} groups[] = {
	{ HTTP_GET, "get_api_requests" },
	{ HTTP_PUT, "put_api_requests" },
	{ HTTP_PATCH, "patch_api_requests" },
};

#define STORED(name, field)                                                                        \
	{                                                                                          \
		name, COUNTERS_STORED, { { 1, offsetof(struct api, field) } }                      \
	}

static const struct counters_field api_server[] = {
	STORED("process_startup_time_us", startup_us),
	STORED("process_startup_time_cpu_us", startup_cpu_us),
};

static const struct counters_field deprecated_api[] = {
	{ "deprecated_http_api_calls", COUNTERS_COUNT,
		{ { 1, offsetof(struct api, deprecated) } } },
};

/* Without vmm_: from when the request came. This version has no snapshots. */
static const struct counters_field latencies_us[] = {
	{ "full_create_snapshot", COUNTERS_STORED },
	{ "diff_create_snapshot", COUNTERS_STORED },
	{ "load_snapshot", COUNTERS_STORED },
	STORED("pause_vm", latencies.pause_us),
	STORED("resume_vm", latencies.resume_us),
	{ "vmm_full_create_snapshot", COUNTERS_STORED },
	{ "vmm_diff_create_snapshot", COUNTERS_STORED },
	{ "vmm_load_snapshot", COUNTERS_STORED },
	STORED("vmm_pause_vm", latencies.vmm_pause_us),
	STORED("vmm_resume_vm", latencies.vmm_resume_us),
};

/* Where the counters of these routes are in struct api. */
static void find_routes(enum http_method method, const char *counter, bool fails,
	struct counters_from ret[COUNTERS_FROM])
{
	const struct api_route *r;
	size_t n = 0;

	for (size_t i = 0; (r = api_route_nth(i)) && n < COUNTERS_FROM; i++)
		if (r->method == method && r->counter && strcmp(r->counter, counter) == 0)
			ret[n++] = (struct counters_from){ 1,
				offsetof(struct api, counters) + i * sizeof(struct api_counter) +
					(fails ? offsetof(struct api_counter, fails)
					       : offsetof(struct api_counter, count)) };
}

static void add_requests(struct counters *c, const struct api *a, enum http_method method,
	const char *group)
{
	const void *const objects[] = { a };

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		struct counters_field f = { requests[i].name, COUNTERS_COUNT };

		if (requests[i].method != method)
			continue;
		find_routes(method, requests[i].counter, requests[i].fails, f.from);
		counters_add(c, group, &f, 1, objects, true);
	}
}

static void add(struct counters *c, const struct api *a)
{
	const void *const objects[] = { a };

	counters_add(c, "api_server", api_server, ARRAY_SIZE(api_server), objects, true);
	counters_add(c, "deprecated_api", deprecated_api, ARRAY_SIZE(deprecated_api), objects,
		true);
	counters_add(c, "latencies_us", latencies_us, ARRAY_SIZE(latencies_us), objects, true);
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		add_requests(c, a, groups[i].method, groups[i].name);
}

void api_stats_add(struct api *a)
{
	add(a->vm->metrics.own, a);
	if (a->vm->metrics.firecracker)
		add(a->vm->metrics.firecracker, a);
}

static uint64_t since(uint64_t now_ns, uint64_t before_us)
{
	return now_ns / 1000 > before_us ? now_ns / 1000 - before_us : 0;
}

void api_stats_started(struct api *a)
{
	const struct vm_config *cfg = a->cfg;
	struct timespec ts;
	uint64_t cpu_ns;

	if (cfg->start_time_us)
		atomic_store(&a->startup_us, since(loop_now_ns(), cfg->start_time_us));
	if (!cfg->start_time_cpu_us)
		return;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	cpu_ns = (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
	atomic_store(&a->startup_cpu_us,
		since(cpu_ns, cfg->start_time_cpu_us) + cfg->parent_cpu_time_us);
}

static void get_stats(struct api_call *c)
{
	char *text = metrics_text(&c->api->vm->metrics);

	if (!text) {
		api_fault_status(c, 500, "out of memory");
		return;
	}
	c->resp->status = 200;
	c->resp->body = text;
	c->resp->body_len = strlen(text);
}

const struct api_route api_stats_routes[] = {
	{ HTTP_GET, "/volt/stats", API_BOTH, .serve = get_stats,
		.doc = "All counters by group and name, as they are now; before the start, those "
		       "of the API. Volt's own." },
};
const size_t api_stats_n_routes = ARRAY_SIZE(api_stats_routes);
