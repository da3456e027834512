/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng behind the MMIO transport, driven by the test driver. */
#include "test.h"

#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>

#include "dev.h"
#include "drv.h"
#include "log.h"
#include "loop.h"
#include "rng.h"
#include "vmmio.h"

#define DATA 0x200000ull

struct fixture {
	struct gmem mem;
	struct loop loop;
	struct virtio_dev *v;
	struct vmmio *m;
	struct drv d;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct vmmio_env env = { .mem = &f->mem, .loop = &f->loop, .vmfd = -1 };

	assert_int_equal(gmem_map(&f->mem, 4 * MIB, NULL), 0);
	assert_int_equal(loop_init(&f->loop, NULL), 0);
	assert_int_equal(rng_create(&(struct limiter_params){ 0 }, &f->loop, &f->v, NULL), 0);
	env.base = 0xc0001000;
	assert_int_equal(vmmio_create(f->v, &env, &f->m, NULL), 0);
	drv_init(&f->d, &f->mem, vmmio_dev(f->m), 0x10000);
	assert_int_equal(drv_start(&f->d, VIRTIO_COMMON_FEATURES, 1, 64), 0xf);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vmmio_destroy(f->m);
	loop_done(&f->loop);
	gmem_unmap(&f->mem);
	free(f);
	return 0;
}

static uint32_t ask(struct fixture *f, const struct drv_buf *bufs, unsigned n)
{
	uint32_t id, len;
	uint16_t head = drv_add(&f->d, 0, bufs, n);

	drv_kick(&f->d, 0);
	assert_true(drv_wait(&f->d, &f->loop, 0, &id, &len));
	assert_int_equal(id, head);
	return len;
}

static unsigned zeros(struct fixture *f, uint64_t gpa, size_t len)
{
	unsigned n = 0;

	for (size_t i = 0; i < len; i++)
		n += drv_get8(&f->d, gpa + i) == 0;
	return n;
}

static void fills_all_buffers_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct drv_buf bufs[] = { { DATA, 1000, true }, { DATA + 4096, 3000, true } };

	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_DEVICE_ID), 4);
	assert_int_equal(ask(f, bufs, 2), 4000);
	assert_in_range(zeros(f, DATA, 1000), 0, 40);
	assert_in_range(zeros(f, DATA + 4096, 3000), 0, 60);
	assert_int_equal(zeros(f, DATA + 1000, 3096), 3096);
	assert_int_equal(rng_counters(f->v)->bytes, 4000);
	assert_int_equal(rng_counters(f->v)->requests, 1);
}

static void gives_at_most_64_kib(void **state)
{
	struct fixture *f = *state;
	struct drv_buf buf = { DATA, 1 << 20, true };

	assert_int_equal(ask(f, &buf, 1), RNG_BYTES_MAX);
	assert_int_equal(zeros(f, DATA + RNG_BYTES_MAX, 4096), 4096);
}

static void answers_a_request_without_room(void **state)
{
	struct fixture *f = *state;
	struct drv_buf buf = { DATA, 64, false };

	assert_int_equal(ask(f, &buf, 1), 0);
	assert_int_equal(zeros(f, DATA, 64), 64);
	assert_int_equal(rng_counters(f->v)->failed, 0);
}

static void survives_a_storm_and_resets(void **state)
{
	struct fixture *f = *state;
	struct drv_buf buf = { DATA, 64, true };
	uint32_t id, len;

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 64; i++)
			drv_add(&f->d, 0, &buf, 1);
		drv_kick(&f->d, 0);
		drv_poll(&f->loop);
		for (unsigned i = 0; i < 64; i++)
			assert_true(drv_used(&f->d, 0, &id, &len) && len == 64);
		drv_reset(&f->d);
		assert_int_equal(drv_start(&f->d, 0, 1, 64), 0xf);
	}
}

static void requests_beyond_the_limit_wait(void **state)
{
	static const struct bucket_params bytes = { 100, 3600000, 0 }, none;
	struct fixture *f = *state;
	struct drv_buf buf = { DATA, 64, true };
	uint32_t id, len;

	rng_set_limiter(f->v, &(struct limiter_change){ .bandwidth = &bytes });
	assert_int_equal(ask(f, &buf, 1), 64);
	drv_add(&f->d, 0, &buf, 1);
	drv_kick(&f->d, 0);
	drv_poll(&f->loop);
	assert_false(drv_used(&f->d, 0, &id, &len));
	assert_int_equal(rng_counters(f->v)->throttled, 1);
	assert_int_equal(rng_counters(f->v)->bytes, 64);
	rng_set_limiter(f->v, &(struct limiter_change){ .bandwidth = &none });
	assert_true(drv_wait(&f->d, &f->loop, 0, &id, &len));
	assert_int_equal(rng_counters(f->v)->limiter_events, 1);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(fills_all_buffers_and_nothing_else),
		T(gives_at_most_64_kib),
		T(answers_a_request_without_room),
		T(survives_a_storm_and_resets),
		T(requests_beyond_the_limit_wait),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
