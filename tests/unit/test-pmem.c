/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-pmem over a real file, by both disk back ends, driven by the test driver. */
#include "test.h"

#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev.h"
#include "drv.h"
#include "log.h"
#include "loop.h"
#include "num.h"
#include "pmem.h"
#include "vmmio.h"

#define PMEM   (512 * GIB)
#define BYTES  5000
#define REQ    0x200000ull /* + 16 * n: a request */
#define ANSWER 0x210000ull /* + 16 * n: its answer */

struct fixture {
	struct gmem mem;
	struct loop loop;
	struct virtio_dev *v;
	struct vmmio *m;
	struct drv d;
	int fd; /* the file once more */
	const struct pmem_counters *c;
};

static void make(struct fixture *f, bool uring, struct limiter_params limiter)
{
	struct vmmio_env env = { .mem = &f->mem, .loop = &f->loop, .vmfd = -1, .base = 0xc0001000 };
	struct pmem_params p = { .id = "root", .uring = uring, .limiter = limiter };
	char name[] = "/tmp/test-pmem-XXXXXX";

	f->fd = mkstemp(name);
	assert_true(f->fd >= 0);
	unlink(name);
	assert_int_equal(ftruncate(f->fd, BYTES), 0);
	assert_int_equal(gmem_map(&f->mem, 4 * MIB, NULL), 0);
	assert_int_equal(gmem_add_file(&f->mem, PMEM, f->fd, BYTES, false, NULL), 0);
	p.region = &f->mem.regions[f->mem.n_regions - 1];
	assert_int_equal(loop_init(&f->loop, NULL), 0);
	assert_int_equal(pmem_create(&p, dup(f->fd), &f->loop, &f->v, NULL), 0);
	assert_int_equal(vmmio_create(f->v, &env, &f->m, NULL), 0);
	f->c = pmem_counters(f->v);
	drv_init(&f->d, &f->mem, vmmio_dev(f->m), 0x10000);
	assert_int_equal(drv_start(&f->d, VIRTIO_COMMON_FEATURES, 1, 256), 0xf);
}

static int setup_sync(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	make(*state, false, (struct limiter_params){ 0 });
	return 0;
}

static int setup_uring(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	make(*state, true, (struct limiter_params){ 0 });
	return 0;
}

/* Two operations a second. */
static int setup_limit(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	make(*state, false, (struct limiter_params){ .ops = { 2, 1000, 0 } });
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vmmio_destroy(f->m);
	loop_done(&f->loop);
	gmem_unmap(&f->mem);
	close(f->fd);
	free(f);
	return 0;
}

/* Publishes request n; its answer is filled with a word that no device gives. */
static void add(struct fixture *f, unsigned n, uint32_t type)
{
	struct drv_buf bufs[] = { { REQ + 16 * n, 4, false }, { ANSWER + 16 * n, 4, true } };
	uint8_t raw[4];

	num_put_le32(raw, type);
	assert_int_equal(gmem_write(&f->mem, GPA(REQ + 16 * n), raw, 4), 0);
	assert_int_equal(gmem_fill(&f->mem, GPA(ANSWER + 16 * n), 0x55, 4), 0);
	drv_add(&f->d, 0, bufs, 2);
}

static uint32_t answer(struct fixture *f, unsigned n)
{
	uint8_t raw[4];

	assert_int_equal(gmem_read(&f->mem, GPA(ANSWER + 16 * n), raw, 4), 0);
	return num_get_le32(raw);
}

static void done(struct fixture *f, unsigned n)
{
	uint32_t id, len;

	for (unsigned i = 0; i < n; i++) {
		assert_true(drv_wait(&f->d, &f->loop, 0, &id, &len));
		assert_int_equal(len, 4);
	}
	assert_false(drv_used(&f->d, 0, &id, &len));
}

static void says_where_it_is(void **state)
{
	struct fixture *f = *state;
	uint64_t config[2];

	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_DEVICE_ID), 27);
	for (unsigned i = 0; i < 4; i++)
		((uint32_t *)config)[i] = drv_get(&f->d, VIRTIO_MMIO_CONFIG + 4 * i);
	assert_int_equal(config[0], PMEM);
	assert_int_equal(config[1], 2 * MIB);
}

static void one_flush_serves_all_that_wait(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 40; i++)
		add(f, i, 0);
	drv_kick(&f->d, 0);
	done(f, 40);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(answer(f, i), 0);
	assert_int_equal(f->c->flushes, 40);
	assert_int_equal(f->c->syncs, 1);
	/* More than a batch: all are served, in two. */
	for (unsigned i = 0; i < 100; i++)
		add(f, i, 0);
	drv_kick(&f->d, 0);
	done(f, 100);
	assert_int_equal(f->c->flushes, 140);
	assert_int_equal(f->c->syncs, 3);
	assert_int_equal(f->v->inflight, 0);
}

static void other_requests_are_refused_one_by_one(void **state)
{
	struct fixture *f = *state;

	add(f, 0, 1);
	add(f, 1, 0);
	add(f, 2, UINT32_MAX);
	drv_kick(&f->d, 0);
	done(f, 3);
	assert_int_equal(answer(f, 0), UINT32_MAX);
	assert_int_equal(answer(f, 1), 0);
	assert_int_equal(answer(f, 2), UINT32_MAX);
	assert_int_equal(f->c->unsupported, 2);
}

static void answers_may_be_in_pieces(void **state)
{
	struct fixture *f = *state;
	struct drv_buf bufs[] = { { REQ, 1, false }, { REQ + 1, 3, false }, { ANSWER, 1, true },
		{ ANSWER + 1, 2, true }, { ANSWER + 3, 61, true } };

	assert_int_equal(gmem_fill(&f->mem, GPA(REQ), 0, 4), 0);
	assert_int_equal(gmem_fill(&f->mem, GPA(ANSWER), 0x55, 64), 0);
	drv_add(&f->d, 0, bufs, 5);
	drv_kick(&f->d, 0);
	done(f, 1);
	assert_int_equal(answer(f, 0), 0);
	assert_int_equal(drv_get8(&f->d, ANSWER + 4), 0x55);
}

static void requests_without_room_fail_the_device(void **state)
{
	struct fixture *f = *state;
	const struct drv_buf bad[][2] = {
		{ { REQ, 4, false }, { ANSWER, 3, true } },
		{ { REQ, 3, false }, { ANSWER, 4, true } },
		{ { REQ, 4, false }, { REQ + 8, 4, false } },
		{ { ANSWER, 4, true }, { ANSWER + 8, 4, true } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		drv_add(&f->d, 0, bad[i], 2);
		drv_kick(&f->d, 0);
		drv_poll(&f->loop);
		assert_int_equal(drv_status(&f->d) & 0x40, 0x40);
		assert_int_equal(f->c->malformed, i + 1);
		drv_reset(&f->d);
		assert_int_equal(drv_start(&f->d, 0, 1, 256), 0xf);
	}
	add(f, 0, 0);
	drv_kick(&f->d, 0);
	done(f, 1);
}

static void buffers_may_lie_in_the_file(void **state)
{
	struct fixture *f = *state;
	struct drv_buf bufs[] = { { PMEM + 64, 4, false }, { PMEM + 128, 4, true } };
	uint32_t word = 7;

	drv_add(&f->d, 0, bufs, 2); /* the file is zero: a flush */
	drv_kick(&f->d, 0);
	done(f, 1);
	assert_int_equal(pread(f->fd, &word, 4, 128), 4);
	assert_int_equal(word, 0);
	assert_int_equal(f->c->flushes, 1);
}

static void a_reset_waits_for_the_flush(void **state)
{
	struct fixture *f = *state;

	for (unsigned round = 0; round < 20; round++) {
		add(f, 0, 0);
		drv_kick(&f->d, 0);
		if (round % 2)
			drv_poll(&f->loop);
		else
			loop_poll(&f->loop, 0);
		while (f->v->inflight > 0)
			loop_poll(&f->loop, 10);
		drv_reset(&f->d);
		assert_int_equal(drv_start(&f->d, VIRTIO_COMMON_FEATURES, 1, 256), 0xf);
	}
	add(f, 0, 0);
	drv_kick(&f->d, 0);
	done(f, 1);
}

/* What comes while a flush runs is not answered by it. */
static void later_requests_wait_for_the_next_flush(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 50; i++) {
		add(f, i, 0);
		drv_kick(&f->d, 0);
		loop_poll(&f->loop, 0);
	}
	done(f, 50);
	assert_int_equal(f->c->flushes, 50);
	assert_in_range(f->c->syncs, 1, 50);
}

static void the_limit_lets_batches_pass(void **state)
{
	struct fixture *f = *state;
	uint64_t start = loop_now_ns();

	for (unsigned i = 0; i < 4; i++) {
		add(f, i, 0);
		drv_kick(&f->d, 0);
		done(f, 1);
	}
	/* Two at once, then one each half second. */
	assert_true(loop_now_ns() - start >= NSEC_PER_SEC / 2);
	assert_in_range(f->c->throttled, 1, 10);
	assert_in_range(f->c->limiter_events, 1, 10);
	assert_int_equal(f->c->flushes, 4);
}

static void a_new_limit_frees_what_waits(void **state)
{
	struct fixture *f = *state;
	struct bucket_params slow = { 1, 3600 * 1000, 0 }, off = { 0 };
	uint32_t id, len;

	pmem_limit(f->v, NULL, &slow);
	add(f, 0, 0);
	drv_kick(&f->d, 0);
	done(f, 1);
	add(f, 1, 0);
	drv_kick(&f->d, 0);
	drv_poll(&f->loop);
	assert_false(drv_used(&f->d, 0, &id, &len));
	assert_int_equal(f->c->throttled, 1);
	pmem_limit(f->v, &off, NULL); /* the other one stays, and its tokens */
	drv_poll(&f->loop);
	assert_false(drv_used(&f->d, 0, &id, &len));
	pmem_limit(f->v, NULL, &off);
	done(f, 1);
	/* A reset does not hang on what waits, and does not fill the bucket. */
	pmem_limit(f->v, NULL, &slow);
	add(f, 2, 0);
	drv_kick(&f->d, 0);
	done(f, 1);
	add(f, 3, 0);
	drv_kick(&f->d, 0);
	drv_poll(&f->loop);
	drv_reset(&f->d);
	assert_int_equal(drv_start(&f->d, VIRTIO_COMMON_FEATURES, 1, 256), 0xf);
	add(f, 0, 0);
	drv_kick(&f->d, 0);
	drv_poll(&f->loop);
	assert_false(drv_used(&f->d, 0, &id, &len));
}

int main(void)
{
#define S(fn) { #fn "_sync", fn, setup_sync, teardown, NULL }
#define U(fn) { #fn "_uring", fn, setup_uring, teardown, NULL }
#define L(fn) { #fn, fn, setup_limit, teardown, NULL }
	const struct CMUnitTest tests[] = {
		S(says_where_it_is),
		S(one_flush_serves_all_that_wait),
		U(one_flush_serves_all_that_wait),
		S(other_requests_are_refused_one_by_one),
		U(other_requests_are_refused_one_by_one),
		S(answers_may_be_in_pieces),
		S(requests_without_room_fail_the_device),
		S(buffers_may_lie_in_the_file),
		S(a_reset_waits_for_the_flush),
		U(a_reset_waits_for_the_flush),
		S(later_requests_wait_for_the_next_flush),
		U(later_requests_wait_for_the_next_flush),
		L(the_limit_lets_batches_pass),
		L(a_new_limit_frees_what_waits),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("pmem", tests, NULL, NULL);
}
