/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk that is changed while it runs: its rate limit, and the file behind it; on both back
 * ends. A bucket of so many tokens that come back in an hour is as good as one that never fills
 * again, so no time is measured.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "blk.h"
#include "dev.h"
#include "drv.h"
#include "log.h"
#include "loop.h"
#include "num.h"
#include "vmmio.h"

#define HDR    0x200000ull
#define DATA   0x210000ull
#define STATUS 0x2f0000ull
#define HOUR   3600000u /* ms */

struct fixture {
	struct gmem mem;
	struct loop loop;
	struct virtio_dev *v;
	struct vmmio *m;
	struct drv d;
	const struct blk_counters *c;
};

static int file(unsigned sectors, int fill)
{
	int fd = memfd_create("blk", MFD_CLOEXEC);
	uint8_t sector[512];

	memset(sector, fill, sizeof(sector));
	for (unsigned i = 0; i < sectors; i++)
		assert_int_equal(write(fd, sector, sizeof(sector)), sizeof(sector));
	return fd;
}

static int make(void **state, struct limiter_params limit, bool uring)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct vmmio_env env = { .mem = &f->mem, .loop = &f->loop, .vmfd = -1, .base = 0xc0001000 };
	struct blk_params p = { .id = "data", .n_queues = 2, .limit = limit };

	assert_int_equal(gmem_map(&f->mem, 4 * MIB, NULL), 0);
	assert_int_equal(loop_init(&f->loop, NULL), 0);
	assert_int_equal(blk_create(&p, file(128, 1), uring, &f->loop, &f->v, NULL), 0);
	assert_int_equal(vmmio_create(f->v, &env, &f->m, NULL), 0);
	f->c = blk_counters(f->v);
	drv_init(&f->d, &f->mem, vmmio_dev(f->m), 0x10000);
	assert_int_equal(drv_start(&f->d, VIRTIO_COMMON_FEATURES, 2, 256), 0xf);
	drv_poll(&f->loop);
	*state = f;
	return 0;
}

static int setup_sync(void **state)
{
	return make(state, (struct limiter_params){ 0 }, false);
}

static int setup_uring(void **state)
{
	return make(state, (struct limiter_params){ 0 }, true);
}

/* Five requests now, and 4096 bytes. */
static const struct bucket_params five = { 5, HOUR, 0 }, page = { 4096, HOUR, 0 }, none;

static int setup_five(void **state)
{
	return make(state, (struct limiter_params){ .ops = five }, false);
}

static int setup_five_uring(void **state)
{
	return make(state, (struct limiter_params){ .ops = five }, true);
}

static int setup_page(void **state)
{
	return make(state, (struct limiter_params){ .bandwidth = page }, false);
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

static void ask(struct fixture *f, unsigned q, uint32_t type, uint64_t sector, uint32_t len)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct drv_buf bufs[] = { { HDR + 32 * type, 16, false }, { DATA, len, in },
		{ STATUS, 1, true } };
	uint8_t raw[16] = { 0 };

	num_put_le32(raw, type);
	num_put_le64(raw + 8, sector);
	assert_int_equal(gmem_write(&f->mem, GPA(bufs[0].gpa), raw, sizeof(raw)), 0);
	if (len == 0)
		bufs[1] = bufs[2];
	drv_add(&f->d, q, bufs, len ? 3 : 2);
	drv_kick(&f->d, q);
}

static unsigned answers(struct fixture *f, unsigned q)
{
	uint64_t end = loop_now_ns() + 10 * NSEC_PER_SEC;
	uint32_t id, len;
	unsigned n = 0;

	do {
		drv_poll(&f->loop);
		while (drv_used(&f->d, q, &id, &len))
			n++;
	} while (f->v->inflight > 0 && loop_now_ns() < end);
	return n;
}

static void requests_beyond_the_limit_wait(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 4; i++) {
		ask(f, 0, VIRTIO_BLK_T_IN, i, 512);
		ask(f, 1, i % 2 ? VIRTIO_BLK_T_FLUSH : VIRTIO_BLK_T_GET_ID, 0, i % 2 ? 0 : 20);
	}
	assert_int_equal(answers(f, 0) + answers(f, 1), 5);
	assert_int_equal(f->c->throttled, 1); /* and then nothing is even looked at */
	assert_int_equal(f->c->limiter_events, 0);
	/* Another limit: at once. */
	blk_set_limiter(f->v, &(struct limiter_change){ .ops = &none });
	assert_int_equal(answers(f, 0) + answers(f, 1), 3);
	assert_int_equal(f->c->limiter_events, 1);
	for (unsigned i = 0; i < 20; i++)
		ask(f, 0, VIRTIO_BLK_T_IN, i, 512);
	assert_int_equal(answers(f, 0), 20);
	assert_int_equal(f->c->throttled, 1);
}

static void only_reads_and_writes_have_bytes(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 4; i++) {
		ask(f, 0, VIRTIO_BLK_T_GET_ID, 0, 20);
		ask(f, 0, VIRTIO_BLK_T_FLUSH, 0, 0);
		ask(f, 0, i % 2 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 0, 1024);
	}
	assert_int_equal(answers(f, 0), 12);
	ask(f, 0, VIRTIO_BLK_T_OUT, 0, 512);
	assert_int_equal(answers(f, 0), 0);
	assert_int_equal(f->c->throttled, 1);
}

static void an_absent_bucket_keeps_its_tokens(void **state)
{
	static const struct bucket_params plenty = { 1 << 30, 1, 0 };
	struct fixture *f = *state;

	for (unsigned i = 0; i < 6; i++)
		ask(f, 0, VIRTIO_BLK_T_IN, 0, 512);
	assert_int_equal(answers(f, 0), 5);
	blk_set_limiter(f->v, &(struct limiter_change){ .bandwidth = &plenty });
	assert_int_equal(answers(f, 0), 0);
	assert_int_equal(f->c->throttled, 2); /* it has tried */
	/* A new bucket is a full one. */
	blk_set_limiter(f->v, &(struct limiter_change){ .ops = &five });
	for (unsigned i = 0; i < 6; i++)
		ask(f, 0, VIRTIO_BLK_T_IN, 0, 512);
	assert_int_equal(answers(f, 0), 5);
}

static void the_timer_lets_it_go_on(void **state)
{
	static const struct bucket_params quick = { 1, 2, 0 };
	struct fixture *f = *state;
	uint64_t end = loop_now_ns() + 10 * NSEC_PER_SEC;
	unsigned n = 0;

	blk_set_limiter(f->v, &(struct limiter_change){ .ops = &quick });
	for (unsigned i = 0; i < 8; i++)
		ask(f, i % 2, VIRTIO_BLK_T_IN, 0, 512);
	while (n < 8 && loop_now_ns() < end)
		n += answers(f, 0) + answers(f, 1);
	assert_int_equal(n, 8);
	assert_true(f->c->limiter_events > 0);
}

/* A reset is no way around the limit, and leaves nothing behind. */
static void reset_while_a_request_waits(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 6; i++)
		ask(f, 0, VIRTIO_BLK_T_IN, 0, 512);
	assert_int_equal(answers(f, 0), 5);
	drv_reset(&f->d);
	assert_int_equal(drv_start(&f->d, VIRTIO_COMMON_FEATURES, 2, 256), 0xf);
	ask(f, 0, VIRTIO_BLK_T_IN, 0, 512);
	assert_int_equal(answers(f, 0), 0);
	blk_set_limiter(f->v, &(struct limiter_change){ .ops = &none });
	assert_int_equal(answers(f, 0), 1);
}

static void paused_it_does_not_go_on(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 6; i++)
		ask(f, 0, VIRTIO_BLK_T_IN, 0, 512);
	assert_int_equal(answers(f, 0), 5);
	assert_int_equal(virtio_pause(f->v, loop_now_ns() + NSEC_PER_SEC), 0);
	blk_set_limiter(f->v, &(struct limiter_change){ .ops = &none });
	assert_int_equal(answers(f, 0), 0);
	virtio_resume(f->v);
	assert_int_equal(answers(f, 0), 1);
}

/* -- the file -------------------------------------------------------------------------------- */

static uint64_t capacity(struct fixture *f)
{
	uint8_t raw[8];

	drv_read(&f->d, VIRTIO_MMIO_CONFIG, raw, sizeof(raw));
	return num_get_le64(raw);
}

static uint8_t status_of(struct fixture *f, uint32_t type, uint64_t sector, uint32_t len)
{
	ask(f, 0, type, sector, len);
	assert_int_equal(answers(f, 0), 1);
	return drv_get8(&f->d, STATUS);
}

static void another_file_takes_its_place(void **state)
{
	struct fixture *f = *state;
	int second = file(512, 2), ours = dup(second);
	uint32_t generation = drv_get(&f->d, VIRTIO_MMIO_CONFIG_GENERATION);
	uint8_t byte;

	assert_int_equal(capacity(f), 128);
	assert_int_equal(status_of(f, VIRTIO_BLK_T_IN, 200, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_set_backing(f->v, second, NULL), 0);
	assert_int_equal(capacity(f), 512);
	assert_int_not_equal(drv_get(&f->d, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	assert_int_equal(virtio_isr(f->v) & VIRTIO_ISR_CONFIG, VIRTIO_ISR_CONFIG);
	assert_int_equal(status_of(f, VIRTIO_BLK_T_IN, 200, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(drv_get8(&f->d, DATA), 2);
	assert_int_equal(gmem_fill(&f->mem, GPA(DATA), 0x77, 512), 0);
	assert_int_equal(status_of(f, VIRTIO_BLK_T_OUT, 511, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(pread(ours, &byte, 1, 511 * 512), 1);
	assert_int_equal(byte, 0x77);
	/* And a smaller one. */
	assert_int_equal(blk_set_backing(f->v, file(64, 3), NULL), 0);
	assert_int_equal(capacity(f), 64);
	assert_int_equal(status_of(f, VIRTIO_BLK_T_IN, 64, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(status_of(f, VIRTIO_BLK_T_IN, 63, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(drv_get8(&f->d, DATA), 3);
	assert_int_equal(f->c->updates, 2);
	close(ours);
}

static void what_is_in_flight_ends_on_the_old_file(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 60; i++)
		ask(f, 0, VIRTIO_BLK_T_IN, 127, 512);
	virtio_lock(f->v);
	virtio_kick(f->v, 0);
	virtio_unlock(f->v);
	assert_int_equal(blk_set_backing(f->v, file(64, 2), NULL), 0);
	assert_int_equal(f->v->inflight, 0);
	assert_int_equal(answers(f, 0), 60);
	assert_int_equal(f->c->reads, 60);
	assert_int_equal(f->c->io_errors + f->c->out_of_range, 0);
	assert_int_equal(drv_get8(&f->d, DATA), 1);
	assert_int_equal(status_of(f, VIRTIO_BLK_T_IN, 127, 512), VIRTIO_BLK_S_IOERR);
}

static void what_is_no_disk_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct volt_err err = { 0 };
	int fd = open("/dev/null", O_RDWR);

	assert_int_equal(blk_set_backing(f->v, fd, &err), -EINVAL);
	assert_string_equal(err.msg, "disk 'data': neither a regular file nor a block device");
	assert_int_equal(capacity(f), 128);
	assert_int_equal(status_of(f, VIRTIO_BLK_T_IN, 127, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(f->c->update_failures, 1);
	assert_int_equal(virtio_isr(f->v) & VIRTIO_ISR_CONFIG, 0);
	assert_int_equal(close(fd), 0); /* still ours */
}

int main(void)
{
#define T(fn, how) { #fn "/" #how, fn, setup_##how, teardown, NULL }
	const struct CMUnitTest tests[] = {
		T(requests_beyond_the_limit_wait, five),
		T(requests_beyond_the_limit_wait, five_uring),
		T(only_reads_and_writes_have_bytes, page),
		T(an_absent_bucket_keeps_its_tokens, five),
		T(the_timer_lets_it_go_on, five),
		T(the_timer_lets_it_go_on, five_uring),
		T(reset_while_a_request_waits, five),
		T(paused_it_does_not_go_on, five),
		T(another_file_takes_its_place, sync),
		T(another_file_takes_its_place, uring),
		T(what_is_in_flight_ends_on_the_old_file, sync),
		T(what_is_in_flight_ends_on_the_old_file, uring),
		T(what_is_no_disk_changes_nothing, sync),
		T(what_is_no_disk_changes_nothing, uring),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("blk-change", tests, NULL, NULL);
}
