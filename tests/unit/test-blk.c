/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk behind the MMIO transport, on both back ends, driven by the test driver. */
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

#define SECTORS 128
#define HDR	0x200000ull /* in guest memory: header, data, status */
#define DATA	0x210000ull
#define STATUS	0x2f0000ull
#define ALL_F	(~VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE))

enum { SYNC, URING };

struct fixture {
	struct gmem mem;
	struct loop loop;
	struct virtio_dev *v;
	struct vmmio *m;
	struct drv d;
	int fd; /* ours, of the same file */
	pthread_t loop_thread;
	int quitfd;
	struct loop_src quit;
};

static void make(struct fixture *f, const struct blk_params *p, int how)
{
	struct vmmio_env env = { .mem = &f->mem, .loop = &f->loop, .vmfd = -1, .base = 0xc0001000 };
	int fd = memfd_create("blk", MFD_CLOEXEC);
	uint8_t sector[512];

	for (unsigned i = 0; i < SECTORS; i++) {
		memset(sector, (int)i, sizeof(sector));
		assert_int_equal(write(fd, sector, sizeof(sector)), sizeof(sector));
	}
	assert_int_equal(ftruncate(fd, SECTORS * 512 + 100), 0); /* the tail is not a sector */
	f->fd = dup(fd);
	assert_int_equal(gmem_map(&f->mem, 4 * MIB, NULL), 0);
	assert_int_equal(loop_init(&f->loop, NULL), 0);
	assert_int_equal(blk_create(p, fd, how == URING, &f->loop, &f->v, NULL), 0);
	assert_int_equal(vmmio_create(f->v, &env, &f->m, NULL), 0);
	drv_init(&f->d, &f->mem, vmmio_dev(f->m), 0x10000);
}

static const struct blk_params plain = { .id = "rootfs", .n_queues = 2 };

static int setup(void **state, const struct blk_params *p, int how)
{
	struct fixture *f = calloc(1, sizeof(*f));

	make(f, p, how);
	assert_int_equal(drv_start(&f->d, ALL_F, p->n_queues, 256), 0xf);
	*state = f;
	return 0;
}

static int setup_sync(void **state)
{
	return setup(state, &plain, SYNC);
}

static int setup_uring(void **state)
{
	return setup(state, &plain, URING);
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

static void header(struct fixture *f, uint64_t gpa, uint32_t type, uint64_t sector)
{
	uint8_t raw[16] = { 0 };

	num_put_le32(raw, type);
	num_put_le64(raw + 8, sector);
	assert_int_equal(gmem_write(&f->mem, GPA(gpa), raw, sizeof(raw)), 0);
}

struct answer {
	uint8_t status;
	uint32_t len;
};

static struct answer wait_answer(struct fixture *f, unsigned q)
{
	struct answer a;
	uint32_t id;

	drv_kick(&f->d, q);
	assert_true(drv_wait(&f->d, &f->loop, q, &id, &a.len));
	a.status = drv_get8(&f->d, STATUS);
	return a;
}

/* One request: header, data (in the direction of the type), status. */
static struct answer request(struct fixture *f, uint32_t type, uint64_t sector, uint32_t len)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct drv_buf bufs[] = { { HDR, 16, false }, { DATA, len, in }, { STATUS, 1, true } };

	header(f, HDR, type, sector);
	drv_put8(&f->d, STATUS, 0xff);
	if (len)
		drv_add(&f->d, 0, bufs, 3);
	else
		drv_add(&f->d, 0, (struct drv_buf[]){ bufs[0], bufs[2] }, 2);
	return wait_answer(f, 0);
}

static void assert_answer(struct answer a, uint8_t status, uint32_t len)
{
	assert_int_equal(a.status, status);
	assert_int_equal(a.len, len);
}

static void assert_sector(struct fixture *f, unsigned sector, uint8_t value)
{
	uint8_t data[512];

	assert_int_equal(pread(f->fd, data, sizeof(data), (off_t)sector * 512), sizeof(data));
	for (size_t i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], value);
}

static void assert_works(struct fixture *f)
{
	assert_answer(request(f, VIRTIO_BLK_T_IN, 5, 1024), VIRTIO_BLK_S_OK, 1025);
	assert_int_equal(drv_get8(&f->d, DATA), 5);
	assert_int_equal(drv_get8(&f->d, DATA + 512), 6);
}

static void reads_and_writes(void **state)
{
	struct fixture *f = *state;

	assert_works(f);
	assert_int_equal(gmem_fill(&f->mem, GPA(DATA), 0x77, 1024), 0);
	assert_answer(request(f, VIRTIO_BLK_T_OUT, 9, 1024), VIRTIO_BLK_S_OK, 1);
	assert_sector(f, 8, 8);
	assert_sector(f, 9, 0x77);
	assert_sector(f, 10, 0x77);
	assert_sector(f, 11, 11);
	assert_answer(request(f, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK, 1);
	assert_int_equal(blk_counters(f->v)->reads, 1);
	assert_int_equal(blk_counters(f->v)->read_bytes, 1024);
	assert_int_equal(blk_counters(f->v)->writes, 1);
	assert_int_equal(blk_counters(f->v)->written_bytes, 1024);
	assert_int_equal(blk_counters(f->v)->flushes, 1);
	assert_int_equal(f->v->inflight, 0);
}

static void any_layout_of_descriptors_is_the_same_request(void **state)
{
	struct fixture *f = *state;
	struct drv_buf split[20], one[2], bytes[64];
	unsigned n = 0;

	/* Header in pieces of 5, 1, 10; the data in one piece with the status. */
	header(f, HDR, VIRTIO_BLK_T_IN, 7);
	split[n++] = (struct drv_buf){ HDR, 5, false };
	split[n++] = (struct drv_buf){ HDR + 5, 1, false };
	split[n++] = (struct drv_buf){ HDR + 6, 10, false };
	split[n++] = (struct drv_buf){ DATA, 100, true };
	split[n++] = (struct drv_buf){ STATUS - 412, 413, true };
	drv_add(&f->d, 0, split, n);
	assert_answer(wait_answer(f, 0), VIRTIO_BLK_S_OK, 513);
	assert_int_equal(drv_get8(&f->d, DATA), 7);
	assert_int_equal(drv_get8(&f->d, STATUS - 1), 7);
	/* Header and data of a write in one descriptor. */
	header(f, DATA - 16, VIRTIO_BLK_T_OUT, 20);
	assert_int_equal(gmem_fill(&f->mem, GPA(DATA), 0x42, 512), 0);
	one[0] = (struct drv_buf){ DATA - 16, 528, false };
	one[1] = (struct drv_buf){ STATUS, 1, true };
	drv_add(&f->d, 0, one, 2);
	assert_answer(wait_answer(f, 0), VIRTIO_BLK_S_OK, 1);
	assert_sector(f, 20, 0x42);
	/* Indirect, and the data byte by byte where it begins. */
	header(f, HDR, VIRTIO_BLK_T_IN, 30);
	bytes[0] = (struct drv_buf){ HDR, 16, false };
	for (unsigned i = 0; i < 62; i++)
		bytes[1 + i] = (struct drv_buf){ DATA + i, i == 61 ? 512 - 61 : 1, true };
	bytes[63] = (struct drv_buf){ STATUS, 1, true };
	drv_add_indirect(&f->d, 0, bytes, 64);
	assert_answer(wait_answer(f, 0), VIRTIO_BLK_S_OK, 513);
	assert_int_equal(drv_get8(&f->d, DATA + 511), 30);
}

static void bounds_are_exact(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
		bool ok;
	} cases[] = {
		{ SECTORS - 1, 512, true }, { SECTORS - 2, 1024, true },
		{ SECTORS, 0, true }, { SECTORS, 512, false },
		{ SECTORS - 1, 1024, false }, { SECTORS + 1, 0, false },
		{ UINT64_MAX, 512, false }, { UINT64_MAX / 512, 512, false },
		{ UINT64_MAX / 512 + 2, 512, false }, { 1ull << 55, 512, false },
		{ 0, 511, false }, { 0, 513, false }, { 0, 1, false }, { 0, 0, true },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
			uint32_t len = type == VIRTIO_BLK_T_IN ? cases[i].len + 1 : 1;

			assert_answer(request(f, type, cases[i].sector, cases[i].len),
				cases[i].ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR,
				cases[i].ok ? len : 1);
		}
	assert_int_equal(blk_counters(f->v)->bad_length, 6);
	assert_int_equal(blk_counters(f->v)->out_of_range, 14);
}

static void shows_its_id(void **state)
{
	struct fixture *f = *state;
	char id[21] = "";

	assert_answer(request(f, VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK, 21);
	assert_int_equal(gmem_read(&f->mem, GPA(DATA), id, 20), 0);
	assert_memory_equal(id, "rootfs\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	assert_answer(request(f, VIRTIO_BLK_T_GET_ID, 0, 19), VIRTIO_BLK_S_IOERR, 1);
	assert_answer(request(f, VIRTIO_BLK_T_GET_ID, 0, 64), VIRTIO_BLK_S_OK, 21);
}

static void unknown_types_are_unsupported(void **state)
{
	static const uint32_t types[] = { 2, 3, 5, 7, 10, 12, 14, 0x80000000, UINT32_MAX };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		assert_answer(request(f, types[i], 0, 512), VIRTIO_BLK_S_UNSUPP, 1);
	assert_int_equal(blk_counters(f->v)->unsupported, ARRAY_SIZE(types));
	assert_works(f);
}

static void range(struct fixture *f, unsigned i, uint64_t sector, uint32_t n, uint32_t flags)
{
	uint8_t raw[16];

	num_put_le64(raw, sector);
	num_put_le32(raw + 8, n);
	num_put_le32(raw + 12, flags);
	assert_int_equal(gmem_write(&f->mem, GPA(DATA + 16 * i), raw, sizeof(raw)), 0);
}

static void zeroes_and_discards_several_ranges(void **state)
{
	struct fixture *f = *state;

	range(f, 0, 8, 8, 0);
	range(f, 1, 33, 1, 1); /* unmap */
	range(f, 2, 40, 0, 0); /* nothing */
	range(f, 3, SECTORS - 1, 1, 0);
	assert_answer(request(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, 64), VIRTIO_BLK_S_OK, 1);
	for (unsigned i = 8; i < 16; i++)
		assert_sector(f, i, 0);
	assert_sector(f, 7, 7);
	assert_sector(f, 16, 16);
	assert_sector(f, 33, 0);
	assert_sector(f, 34, 34);
	assert_sector(f, SECTORS - 1, 0);
	range(f, 0, 64, 16, 0);
	range(f, 1, 96, 8, 0);
	assert_answer(request(f, VIRTIO_BLK_T_DISCARD, 0, 32), VIRTIO_BLK_S_OK, 1);
	assert_sector(f, 63, 63);
	assert_sector(f, 64, 0); /* a hole, here */
	assert_sector(f, 104, 104);
	assert_int_equal(blk_counters(f->v)->write_zeroes, 1);
	assert_int_equal(blk_counters(f->v)->discards, 1);
}

static void bad_ranges_change_nothing(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t n, flags, len;
		uint8_t zeroes, discard;
	} cases[] = {
		{ 0, 8, 2, 32, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_S_UNSUPP },
		{ 0, 8, 1, 32, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP },
		{ SECTORS, 1, 0, 32, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_IOERR },
		{ UINT64_MAX, 2, 0, 32, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_IOERR },
		{ 0, UINT32_MAX, 0, 32, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_IOERR },
		{ 0, 8, 0, 0, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_IOERR },
		{ 0, 8, 0, 31, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_IOERR },
		{ 0, 8, 0, 17 * 16, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_IOERR },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		range(f, 0, 100, 1, 0); /* a good one in front */
		range(f, 1, cases[i].sector, cases[i].n, cases[i].flags);
		assert_int_equal(request(f, VIRTIO_BLK_T_DISCARD, 0, cases[i].len).status,
			cases[i].discard);
		if (cases[i].zeroes != VIRTIO_BLK_S_OK) {
			assert_int_equal(
				request(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, cases[i].len).status,
				cases[i].zeroes);
			assert_sector(f, 100, 100);
		}
	}
}

static void malformed_requests_need_a_reset(void **state)
{
	static const struct drv_buf shapes[][2] = {
		{ { HDR, 15, false }, { STATUS, 1, true } },  /* header too short */
		{ { HDR, 16, false }, { DATA, 512, false } }, /* no status byte */
		{ { DATA, 16, true }, { STATUS, 1, true } },  /* no header */
		{ { HDR, 0, false }, { STATUS, 0, true } },   /* nothing at all */
	};
	struct fixture *f = *state;

	header(f, HDR, VIRTIO_BLK_T_IN, 0);
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		drv_add(&f->d, 0, shapes[i], 2);
		drv_kick(&f->d, 0);
		drv_poll(&f->loop);
		assert_int_equal(drv_status(&f->d), 0x4f);
		drv_reset(&f->d);
		assert_int_equal(drv_start(&f->d, ALL_F, 2, 128), 0xf);
		assert_works(f);
	}
	assert_int_equal(blk_counters(f->v)->malformed, ARRAY_SIZE(shapes));
}

static void all_queues_fill_up_and_drain(void **state)
{
	struct fixture *f = *state;
	unsigned answers = 0;
	uint32_t id, len;

	header(f, HDR, VIRTIO_BLK_T_IN, 3);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned q = 0; q < 2; q++) {
			for (unsigned i = 0; i < 256; i++) /* as many as the queue has entries */
				drv_add_indirect(&f->d, q,
					(struct drv_buf[]){ { HDR, 16, false }, { DATA, 512, true },
						{ STATUS, 1, true } },
					3);
			f->d.heap -= 256 * 4096; /* the same tables for all */
			drv_kick(&f->d, q);
		}
		for (unsigned q = 0; q < 2; q++)
			for (unsigned i = 0; i < 256; i++) {
				assert_true(drv_wait(&f->d, &f->loop, q, &id, &len));
				answers += len == 513;
			}
	}
	assert_int_equal(answers, 3 * 512);
	assert_int_equal(f->v->inflight, 0);
}

/* Seed 004, fix 1. */
static void reset_negotiate_io_any_number_of_times(void **state)
{
	struct fixture *f = *state;

	for (unsigned round = 0; round < 8; round++) {
		assert_works(f);
		drv_reset(&f->d);
		assert_int_equal(drv_start(&f->d, round % 2 ? ALL_F : 0, 2, 256), 0xf);
	}
	assert_works(f);
}

static void on_quit(struct loop_src *src, uint32_t events)
{
	struct fixture *f = container_of(src, struct fixture, quit);

	(void)events;
	loop_quit(&f->loop);
}

static void *run_loop(void *arg)
{
	struct fixture *f = arg;

	loop_run(&f->loop);
	return NULL;
}

/* The vCPU (this thread) resets while the loop thread has requests in the kernel. */
static void reset_with_requests_in_flight(void **state)
{
	struct fixture *f = *state;
	struct drv_buf bufs[] = { { HDR, 16, false }, { DATA, 4096, true }, { STATUS, 1, true } };
	int pipefd[2];
	uint32_t id, len;

	assert_int_equal(pipe(pipefd), 0);
	f->quit = (struct loop_src){ .fn = on_quit, .name = "quit", .fd = -1 };
	assert_int_equal(loop_add(&f->loop, &f->quit, pipefd[0], EPOLLIN), 0);
	assert_int_equal(pthread_create(&f->loop_thread, NULL, run_loop, f), 0);
	for (unsigned round = 0; round < 50; round++) {
		uint64_t end = loop_now_ns() + 10 * NSEC_PER_SEC;

		header(f, HDR, VIRTIO_BLK_T_IN, 3);
		for (unsigned i = 0; i < 80; i++)
			drv_add(&f->d, 0, bufs, 3);
		drv_kick(&f->d, 0);
		while (round % 2 && atomic_load(&blk_counters(f->v)->reads) == 0 &&
			loop_now_ns() < end)
			;
		drv_reset(&f->d);
		assert_int_equal(drv_status(&f->d), 0);
		virtio_lock(f->v);
		assert_int_equal(f->v->inflight, 0);
		virtio_unlock(f->v);
		assert_int_equal(drv_start(&f->d, ALL_F, 2, 256), 0xf);
		header(f, HDR, VIRTIO_BLK_T_IN, 3);
		drv_add(&f->d, 1, bufs, 3);
		drv_kick(&f->d, 1);
		while (!drv_used(&f->d, 1, &id, &len))
			assert_true(loop_now_ns() < end);
		assert_int_equal(len, 4097);
	}
	assert_int_equal(write(pipefd[1], "q", 1), 1);
	pthread_join(f->loop_thread, NULL);
	loop_del(&f->loop, &f->quit);
	close(pipefd[0]);
	close(pipefd[1]);
}

static void destroyed_with_requests_in_flight(void **state)
{
	struct fixture *f = *state;
	struct drv_buf bufs[] = { { HDR, 16, false }, { DATA, 4096, true }, { STATUS, 1, true } };

	header(f, HDR, VIRTIO_BLK_T_IN, 3);
	for (unsigned i = 0; i < 80; i++)
		drv_add(&f->d, 0, bufs, 3);
	virtio_lock(f->v);
	virtio_kick(f->v, 0); /* and nobody looks at the completions */
	virtio_unlock(f->v);
}

static int setup_read_only(void **state)
{
	return setup(state, &(struct blk_params){ "ro", true, false, 1 }, SYNC);
}

static void read_only_disk_is_never_written(void **state)
{
	struct fixture *f = *state;
	uint64_t features = f->v->features;

	assert_true(features & VIRTIO_BIT(VIRTIO_BLK_F_RO));
	assert_false(features & VIRTIO_BIT(VIRTIO_BLK_F_DISCARD));
	assert_false(features & VIRTIO_BIT(VIRTIO_BLK_F_MQ));
	range(f, 0, 0, 1, 0);
	assert_answer(request(f, VIRTIO_BLK_T_OUT, 3, 512), VIRTIO_BLK_S_IOERR, 1);
	assert_answer(request(f, VIRTIO_BLK_T_DISCARD, 0, 16), VIRTIO_BLK_S_IOERR, 1);
	assert_answer(request(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16), VIRTIO_BLK_S_IOERR, 1);
	assert_int_equal(blk_counters(f->v)->read_only, 3);
	assert_sector(f, 0, 0);
	assert_sector(f, 3, 3);
	assert_works(f);
}

static int setup_unsafe(void **state)
{
	return setup(state, &(struct blk_params){ "unsafe", false, true, 1 }, SYNC);
}

static void unsafe_cache_has_no_flush(void **state)
{
	struct fixture *f = *state;

	assert_false(f->v->features & VIRTIO_BIT(VIRTIO_BLK_F_FLUSH));
	assert_false(f->v->features & VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE));
	assert_answer(request(f, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_UNSUPP, 1);
}

static void describes_itself(void **state)
{
	struct fixture *f = *state;
	struct virtio_blk_config c;

	drv_read(&f->d, VIRTIO_MMIO_CONFIG, &c, sizeof(c));
	assert_int_equal(c.capacity, SECTORS);
	assert_int_equal(c.seg_max, LIMIT_SEGS - 2);
	assert_int_equal(c.blk_size, 512);
	assert_int_equal(c.physical_block_exp, 3);
	assert_int_equal(c.num_queues, 2);
	assert_int_equal(c.max_discard_seg, 16);
	assert_int_equal(c.max_write_zeroes_seg, 16);
	assert_int_equal(c.write_zeroes_may_unmap, 1);
	assert_int_equal(c.max_secure_erase_seg, 0); /* behind the end */
	assert_true(f->v->features & VIRTIO_BIT(VIRTIO_BLK_F_MQ));
	assert_false(f->v->features & VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM));
}

static uint8_t wce(struct fixture *f)
{
	uint8_t v;

	drv_read(&f->d, VIRTIO_MMIO_CONFIG + offsetof(struct virtio_blk_config, wce), &v, 1);
	return v;
}

static void set_wce(struct fixture *f, uint8_t v)
{
	drv_write(&f->d, VIRTIO_MMIO_CONFIG + offsetof(struct virtio_blk_config, wce), &v, 1);
}

static void cache_mode_can_be_switched_if_negotiated(void **state)
{
	struct fixture *f = *state;
	uint64_t both = VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE) | VIRTIO_BIT(VIRTIO_BLK_F_FLUSH);

	assert_int_equal(wce(f), 1);
	set_wce(f, 0); /* not negotiated */
	assert_int_equal(wce(f), 1);
	assert_int_equal(f->v->counters.bad_config, 1);
	drv_reset(&f->d);
	drv_start(&f->d, both, 1, 64);
	set_wce(f, 0);
	assert_int_equal(wce(f), 0);
	assert_answer(request(f, VIRTIO_BLK_T_OUT, 9, 512), VIRTIO_BLK_S_OK, 1);
	set_wce(f, 2);
	assert_int_equal(wce(f), 0);
	set_wce(f, 1);
	assert_int_equal(wce(f), 1);
	drv_reset(&f->d);
	drv_start(&f->d, VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE), 1, 64); /* it cannot flush */
	assert_int_equal(wce(f), 0);
	drv_reset(&f->d);
	assert_int_equal(wce(f), 1);
	drv_start(&f->d, 0, 1, 64); /* neither: write-through */
	assert_answer(request(f, VIRTIO_BLK_T_OUT, 9, 512), VIRTIO_BLK_S_OK, 1);
	assert_int_equal(blk_counters(f->v)->written_bytes, 1024);
}

static void a_vanished_file_is_an_io_error(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ftruncate(f->fd, 512), 0);
	assert_answer(request(f, VIRTIO_BLK_T_IN, 5, 512), VIRTIO_BLK_S_IOERR, 1);
	assert_int_equal(blk_counters(f->v)->io_errors, 1);
	assert_answer(request(f, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK, 513);
}

int main(void)
{
#define T(fn, how) { #fn "/" #how, fn, setup_##how, teardown, NULL }
#define BOTH(fn) T(fn, sync), T(fn, uring)
	const struct CMUnitTest tests[] = {
		BOTH(reads_and_writes),
		BOTH(any_layout_of_descriptors_is_the_same_request),
		BOTH(bounds_are_exact),
		BOTH(shows_its_id),
		BOTH(unknown_types_are_unsupported),
		BOTH(zeroes_and_discards_several_ranges),
		BOTH(bad_ranges_change_nothing),
		BOTH(malformed_requests_need_a_reset),
		BOTH(all_queues_fill_up_and_drain),
		BOTH(reset_negotiate_io_any_number_of_times),
		BOTH(reset_with_requests_in_flight),
		BOTH(destroyed_with_requests_in_flight),
		BOTH(describes_itself),
		BOTH(cache_mode_can_be_switched_if_negotiated),
		BOTH(a_vanished_file_is_an_io_error),
		T(read_only_disk_is_never_written, read_only),
		T(unsafe_cache_has_no_flush, unsafe),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("blk", tests, NULL, NULL);
}
