/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /balloon with a real device and a driver behind it.
 */
#include "test.h"

#include <linux/virtio_balloon.h>
#include <linux/virtio_mmio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api-call.h"
#include "api-resources.h"
#include "balloon.h"
#include "dev.h"
#include "drv.h"
#include "log.h"
#include "num.h"
#include "vm.h"
#include "vmmio.h"

#define MIBS 16u
#define BUF  0x200000ull

#define UPDATE	 "400 Balloon update error: "
#define INTERNAL "400 Internal VMM error: "
#define NONE	 "Failed perform action on device: Device not found"

struct fixture {
	struct vm_config cfg;
	struct vm vm;
	struct api api;
	struct drv d;
	struct vmmio *m;
};

static const char *call(struct fixture *f, enum http_method method, const char *path,
	const char *body)
{
	return api_call_said(&f->api, method, path, NULL, body);
}

#define GET(path)	  call(f, HTTP_GET, path, NULL)
#define PUT(body)	  call(f, HTTP_PUT, "/balloon", body)
#define PATCH(path, body) call(f, HTTP_PATCH, path, body)

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	vmcfg_defaults(&f->cfg);
	f->cfg.mem_bytes = MIBS * MIB;
	f->api = (struct api){ .cfg = &f->cfg, .vm = &f->vm };
	*state = f;
	return 0;
}

/* What InstanceStart leads to, as far as it matters here. */
static void start(struct fixture *f)
{
	const struct balloon_config *b = &f->cfg.balloon;
	const struct balloon_params p = { b->amount_mib, b->stats_interval_s, b->deflate_on_oom,
		b->hinting, b->reporting };
	struct vmmio_env env = { .mem = &f->vm.mem, .loop = &f->vm.loop, .vmfd = -1,
		.base = 0xc0001000 };
	struct virtio_dev *v;

	f->api.started = true;
	if (!b->present)
		return;
	assert_int_equal(gmem_map(&f->vm.mem, MIBS * MIB, NULL), 0);
	assert_int_equal(loop_init(&f->vm.loop, NULL), 0);
	assert_int_equal(balloon_create(&p, &f->vm.loop, &v, NULL), 0);
	assert_int_equal(vmmio_create(v, &env, &f->m, NULL), 0);
	f->vm.virtio[f->vm.n_virtio++] = f->m;
	drv_init(&f->d, &f->vm.mem, vmmio_dev(f->m), 0x10000);
}

static void drive(struct fixture *f, unsigned n_queues)
{
	assert_int_equal(drv_start(&f->d, ~UINT64_C(0), n_queues, 64), 0xf);
	drv_poll(&f->vm.loop);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->m) {
		vmmio_destroy(f->m);
		loop_done(&f->vm.loop);
		gmem_unmap(&f->vm.mem);
	}
	vmcfg_done(&f->cfg);
	free(f);
	return 0;
}

static void before_the_start_it_is_configuration(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(
		GET("/balloon"), "400 Balloon config error: No balloon device found.");
	assert_int_equal(json_typeof(api_balloon_json(&f->api)), JSON_NULL);
	assert_string_equal(PUT("{\"amount_mib\": 17, \"deflate_on_oom\": true}"),
		"400 Balloon config error: Amount of pages requested is too large.");
	assert_string_equal(PUT("{\"amount_mib\": 4294967295, \"deflate_on_oom\": true}"),
		"400 Balloon config error: Amount of pages requested is too large.");
	assert_false(f->cfg.balloon.present);
	assert_string_equal(PUT("{\"amount_mib\": 16, \"deflate_on_oom\": true, "
				"\"stats_polling_interval_s\": 65535, \"free_page_hinting\": true, "
				"\"free_page_reporting\": true}"),
		"204");
	assert_string_equal(GET("/balloon"),
		"200 {\"amount_mib\":16,\"deflate_on_oom\":true,"
		"\"stats_polling_interval_s\":65535,\"free_page_hinting\":true,"
		"\"free_page_reporting\":true}");
	/* A second PUT is a new balloon, with the defaults for what it does not say. */
	assert_string_equal(PUT("{\"amount_mib\": 0, \"deflate_on_oom\": false}"), "204");
	assert_string_equal(GET("/balloon"),
		"200 {\"amount_mib\":0,\"deflate_on_oom\":false,"
		"\"stats_polling_interval_s\":0,\"free_page_hinting\":false,"
		"\"free_page_reporting\":false}");
}

static void without_a_balloon_there_is_none(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_string_equal(GET("/balloon"), INTERNAL NONE);
	assert_string_equal(GET("/balloon/statistics"), INTERNAL NONE);
	assert_string_equal(PATCH("/balloon", "{\"amount_mib\": 1}"), UPDATE NONE);
	assert_string_equal(
		PATCH("/balloon/statistics", "{\"stats_polling_interval_s\": 1}"), UPDATE NONE);
	assert_string_equal(PATCH("/balloon/hinting/start", NULL), UPDATE NONE);
	assert_string_equal(PATCH("/balloon/hinting/stop", NULL), UPDATE NONE);
	assert_string_equal(GET("/balloon/hinting/status"), UPDATE NONE);
	assert_int_equal(json_typeof(api_balloon_json(&f->api)), JSON_NULL);
}

static void target_follows_patch(void **state)
{
	struct fixture *f = *state;

	PUT("{\"amount_mib\": 2, \"deflate_on_oom\": false}");
	start(f);
	assert_string_equal(PATCH("/balloon", "{\"amount_mib\": 1}"),
		UPDATE "Balloon: Device not activated yet.");
	drive(f, 2);
	assert_string_equal(PATCH("/balloon", "{\"amount_mib\": 16}"), "204");
	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_CONFIG), 16 * 256);
	assert_string_equal(PATCH("/balloon", "{\"amount_mib\": 17}"),
		UPDATE "Balloon: Requested memory should be less than 17MiB");
	assert_string_equal(PATCH("/balloon", "{\"amount_mib\": 4294967295}"),
		UPDATE "Balloon: Requested memory should be less than 4294967295MiB");
	/* Whatever stands behind /balloon acts as /balloon. */
	assert_string_equal(
		api_call_said(&f->api, HTTP_PATCH, "/balloon/{id}", "config",
			"{\"amount_mib\": 3}"), "204");
	assert_string_equal(GET("/balloon"),
		"200 {\"amount_mib\":3,\"deflate_on_oom\":false,"
		"\"stats_polling_interval_s\":0,\"free_page_hinting\":false,"
		"\"free_page_reporting\":false}");
}

static void what_is_off_stays_off(void **state)
{
	static const char off[] = UPDATE "Balloon: Attempting to use hinting when not enabled";
	static const char fixed[] =
		UPDATE "Balloon: Statistics cannot be enabled/disabled after activation.";
	struct fixture *f = *state;

	PUT("{\"amount_mib\": 2, \"deflate_on_oom\": false}");
	start(f);
	drive(f, 2);
	assert_string_equal(GET("/balloon/statistics"),
		INTERNAL "Balloon: Received stats query when stats are disabled.");
	assert_string_equal(
		PATCH("/balloon/statistics", "{\"stats_polling_interval_s\": 1}"), fixed);
	assert_string_equal(
		PATCH("/balloon/statistics", "{\"stats_polling_interval_s\": 0}"), "204");
	assert_string_equal(PATCH("/balloon/hinting/start", NULL), off);
	assert_string_equal(PATCH("/balloon/hinting/stop", NULL), off);
	assert_string_equal(GET("/balloon/hinting/status"), off);
}

static void statistics_show_what_the_guest_sent(void **state)
{
	struct fixture *f = *state;
	uint32_t actual = 300;
	uint8_t raw[20];

	PUT("{\"amount_mib\": 2, \"deflate_on_oom\": false, \"stats_polling_interval_s\": 60}");
	start(f);
	drive(f, 3);
	assert_string_equal(GET("/balloon/statistics"),
		"200 {\"target_pages\":512,\"actual_pages\":0,\"target_mib\":2,\"actual_mib\":0}");
	drv_write(&f->d, VIRTIO_MMIO_CONFIG + 4, &actual, 4);
	num_put_le16(raw, VIRTIO_BALLOON_S_MEMTOT);
	num_put_le64(raw + 2, 123456789012);
	num_put_le16(raw + 10, VIRTIO_BALLOON_S_SWAP_IN);
	num_put_le64(raw + 12, UINT64_MAX);
	assert_int_equal(gmem_write(&f->vm.mem, GPA(BUF), raw, sizeof(raw)), 0);
	drv_add(&f->d, 2, &(struct drv_buf){ BUF, sizeof(raw), false }, 1);
	drv_kick(&f->d, 2);
	drv_poll(&f->vm.loop);
	assert_string_equal(GET("/balloon/statistics"),
		"200 {\"target_pages\":512,\"actual_pages\":300,\"target_mib\":2,\"actual_mib\":1,"
		"\"swap_in\":9223372036854775807,\"total_memory\":123456789012}");
	assert_string_equal(
		PATCH("/balloon/statistics", "{\"stats_polling_interval_s\": 0}"),
		UPDATE "Balloon: Statistics cannot be enabled/disabled after activation.");
	assert_string_equal(
		PATCH("/balloon/statistics", "{\"stats_polling_interval_s\": 7}"), "204");
	assert_non_null(strstr(GET("/balloon"), "\"stats_polling_interval_s\":7"));
}

static void hinting_starts_and_stops(void **state)
{
	struct fixture *f = *state;
	uint8_t raw[4];

	PUT("{\"amount_mib\": 0, \"deflate_on_oom\": false, \"free_page_hinting\": true}");
	start(f);
	assert_string_equal(PATCH("/balloon/hinting/start", NULL),
		UPDATE "Balloon: Device not activated yet.");
	assert_string_equal(PATCH("/balloon/hinting/stop", NULL),
		UPDATE "Balloon: Device not activated yet.");
	assert_string_equal(
		GET("/balloon/hinting/status"), "200 {\"host_cmd\":0,\"guest_cmd\":null}");
	drive(f, 3);
	/* Without a word the end is acknowledged; with false the host has to stop. */
	for (unsigned i = 0; i < 3; i++) {
		static const char *const bodies[] = { NULL, "{\"acknowledge_on_stop\": true}",
			"{\"acknowledge_on_stop\": false}" };
		char want[64];
		uint32_t cmd = 2 + i;

		assert_string_equal(PATCH("/balloon/hinting/start", bodies[i]), "204");
		for (unsigned step = 0; step < 2; step++) {
			num_put_le32(raw, step ? BALLOON_HINT_STOP : cmd);
			assert_int_equal(gmem_write(&f->vm.mem, GPA(BUF), raw, 4), 0);
			drv_add(&f->d, 2, &(struct drv_buf){ BUF, 4, false }, 1);
			drv_kick(&f->d, 2);
			drv_poll(&f->vm.loop);
			snprintf(want, sizeof(want), "200 {\"host_cmd\":%u,\"guest_cmd\":%u}",
				step && i < 2 ? BALLOON_HINT_DONE : cmd,
				step ? BALLOON_HINT_STOP : cmd);
			assert_string_equal(GET("/balloon/hinting/status"), want);
		}
	}
	assert_string_equal(PATCH("/balloon/hinting/stop", NULL), "204");
	assert_string_equal(
		GET("/balloon/hinting/status"), "200 {\"host_cmd\":1,\"guest_cmd\":0}");
}

static void unknown_paths_have_their_texts(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(api_call_said(&f->api, HTTP_GET, "/balloon/{id}", "x", NULL),
		"400 Unrecognized GET request path `x`.");
	assert_string_equal(
		GET("/balloon/hinting"), "400 Unrecognized GET request path `/hinting/`.");
	assert_string_equal(api_call_said(&f->api, HTTP_GET, "/balloon/hinting/{id}", "x", NULL),
		"400 Unrecognized GET request path `/hinting/x`.");
	assert_string_equal(PATCH("/balloon/hinting", NULL),
		"400 Unrecognized PATCH request path `/hinting/`.");
	assert_string_equal(api_call_said(&f->api, HTTP_PATCH, "/balloon/hinting/{id}", "x", NULL),
		"400 Unrecognized PATCH request path `/hinting/x`.");
}

/* A route with {id} takes what an earlier one does not. */
static void exact_paths_come_first(void **state)
{
	bool open = false;

	(void)state;
	for (size_t i = 0; i < api_balloon_n_routes; i++) {
		open |= strstr(api_balloon_routes[i].path, "{id}") != NULL;
		if (open)
			assert_null(strstr(api_balloon_routes[i].path, "statistics"));
		assert_true(!open || !strstr(api_balloon_routes[i].path, "/st"));
	}
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(before_the_start_it_is_configuration),
		T(without_a_balloon_there_is_none),
		T(target_follows_patch),
		T(what_is_off_stays_off),
		T(statistics_show_what_the_guest_sent),
		T(hinting_starts_and_stops),
		T(unknown_paths_have_their_texts),
		T(exact_paths_come_first),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("api-balloon", tests, NULL, NULL);
}
