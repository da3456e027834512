/* SPDX-License-Identifier: Apache-2.0 */
/* Both disk back ends against the same expectations, on a file and on a memfd (no ZERO_RANGE
 * there). */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "drv.h"
#include "log.h"
#include "loop.h"

#define BYTES	(256 * 1024)

struct fixture {
	bool uring, memfd;
	struct loop loop;
	struct disk *disk;
	int fd; /* borrowed from the disk */
	unsigned n_done;
	struct disk_req *last;
	int result;
};

static void on_done(void *owner, const struct disk_result *results, unsigned n)
{
	struct fixture *f = owner;

	f->n_done += n;
	f->last = results[n - 1].req;
	f->result = results[n - 1].result;
}

static int open_file(bool memfd)
{
	char path[] = "/var/tmp/volt-test-disk-XXXXXX";
	int fd = memfd ? memfd_create("disk", MFD_CLOEXEC) : mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	if (!memfd)
		unlink(path);
	return fd;
}

static int setup(void **state, bool uring, bool memfd)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct disk_params params = { .in_flight = 64, .done = on_done, .owner = f };
	uint8_t page[4096];

	f->uring = uring;
	f->memfd = memfd;
	f->fd = open_file(memfd);
	memset(page, 0xaa, sizeof(page));
	for (unsigned i = 0; i < BYTES / sizeof(page); i++)
		assert_int_equal(write(f->fd, page, sizeof(page)), sizeof(page));
	assert_int_equal(loop_init(&f->loop, NULL), 0);
	assert_int_equal(disk_create(uring, f->fd, &f->loop, &params, &f->disk, NULL), 0);
	*state = f;
	return 0;
}

static int setup_sync(void **state)
{
	return setup(state, false, false);
}

static int setup_sync_memfd(void **state)
{
	return setup(state, false, true);
}

static int setup_uring(void **state)
{
	return setup(state, true, false);
}

static int setup_uring_memfd(void **state)
{
	return setup(state, true, true);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	disk_destroy(f->disk);
	assert_int_equal(fcntl(f->fd, F_GETFD), -1); /* the disk owned it */
	loop_done(&f->loop);
	free(f);
	return 0;
}

/* Runs one request to its end. */
static int run(struct fixture *f, struct disk_req *req)
{
	uint64_t end = loop_now_ns() + 10 * NSEC_PER_SEC;
	unsigned before = f->n_done;
	int r = disk_submit(f->disk, req);

	disk_commit(f->disk);
	if (r != -EINPROGRESS)
		return r;
	while (f->n_done == before && loop_now_ns() < end)
		drv_poll(&f->loop);
	assert_int_equal(f->n_done, before + 1);
	assert_ptr_equal(f->last, req);
	return f->result;
}

static int transfer(struct fixture *f, enum disk_op op, uint64_t offset, void *data, size_t len)
{
	struct iovec iov[2] = { { data, len / 3 }, { (uint8_t *)data + len / 3, len - len / 3 } };
	struct disk_req req = { .op = op, .offset = offset, .bytes = len, .iov = iov, .n_iov = 2 };

	return run(f, &req);
}

static void uses_the_back_end_it_was_asked_for(void **state)
{
	struct fixture *f = *state;

	if (f->uring && strcmp(f->disk->ops->name, "uring") != 0)
		skip(); /* the kernel says no, the rest of these tests ran on sync */
	assert_string_equal(f->disk->ops->name, f->uring ? "uring" : "sync");
	assert_int_equal(f->disk->bytes, BYTES);
}

static void reads_what_was_written(void **state)
{
	struct fixture *f = *state;
	uint8_t out[3000], in[3000];

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7);
	assert_int_equal(transfer(f, DISK_WRITE, 512, out, sizeof(out)), 0);
	assert_int_equal(transfer(f, DISK_READ, 512, in, sizeof(in)), 0);
	assert_memory_equal(out, in, sizeof(out));
	assert_int_equal(pread(f->fd, in, sizeof(in), 512), sizeof(in));
	assert_memory_equal(out, in, sizeof(out));
	assert_int_equal(run(f, &(struct disk_req){ .op = DISK_FLUSH }), 0);
}

static void short_read_is_an_error(void **state)
{
	struct fixture *f = *state;
	uint8_t in[1024];

	assert_int_equal(ftruncate(f->fd, BYTES - 100), 0);
	assert_int_equal(transfer(f, DISK_READ, BYTES - sizeof(in), in, sizeof(in)), -EIO);
}

static void short_write_is_continued(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, limit;
	uint8_t *out = malloc(8192);

	/* RLIMIT_FSIZE cuts the first attempt short; the second finds no room at all. */
	memset(out, 0x55, 8192);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = (struct rlimit){ BYTES - 4096, old.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(transfer(f, DISK_WRITE, BYTES - 8192, out, 8192), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(pread(f->fd, out, 1, BYTES - 4097), 1);
	assert_int_equal(out[0], 0x55);
	assert_int_equal(transfer(f, DISK_WRITE, BYTES - 8192, out, 8192), 0);
	free(out);
}

static void assert_bytes(struct fixture *f, uint64_t offset, uint64_t bytes, uint8_t value)
{
	uint8_t data;

	for (uint64_t i = 0; i < bytes; i += 13) {
		assert_int_equal(pread(f->fd, &data, 1, (off_t)(offset + i)), 1);
		assert_int_equal(data, value);
	}
}

static void zeroes_exactly_the_range(void **state)
{
	struct fixture *f = *state;
	struct stat before, after;

	for (unsigned unmap = 0; unmap < 2; unmap++) {
		struct disk_req req = {
			.op = DISK_WRITE_ZEROES,
			.unmap = unmap,
			.offset = 8192 + unmap * 65536 + 512,
			.bytes = 40960,
		};

		assert_int_equal(fstat(f->fd, &before), 0);
		assert_int_equal(run(f, &req), 0);
		assert_bytes(f, req.offset - 600, 600, 0xaa);
		assert_bytes(f, req.offset, req.bytes, 0);
		assert_bytes(f, req.offset + req.bytes, 600, 0xaa);
		assert_int_equal(fstat(f->fd, &after), 0);
		assert_int_equal(after.st_size, BYTES);
		if (unmap)
			assert_true(after.st_blocks < before.st_blocks);
		else
			assert_true(after.st_blocks >= before.st_blocks);
	}
}

static void discard_gives_blocks_back(void **state)
{
	struct fixture *f = *state;
	struct disk_req req = { .op = DISK_DISCARD, .offset = 4096, .bytes = 65536 };
	struct stat before, after;

	assert_int_equal(fstat(f->fd, &before), 0);
	assert_int_equal(run(f, &req), 0);
	assert_int_equal(fstat(f->fd, &after), 0);
	assert_true(after.st_blocks < before.st_blocks);
	assert_bytes(f, 4096 + 65536, 600, 0xaa);
}

static void many_at_once_all_come_back(void **state)
{
	struct fixture *f = *state;
	struct disk_req reqs[64];
	struct iovec iov[64];
	uint8_t *data = malloc(64 * 512);
	unsigned at_once = 0;

	for (unsigned i = 0; i < 64; i++) {
		memset(data + i * 512, (int)i, 512);
		iov[i] = (struct iovec){ data + i * 512, 512 };
		reqs[i] = (struct disk_req){ .op = DISK_WRITE,
			.offset = i * 1024,
			.bytes = 512,
			.iov = &iov[i],
			.n_iov = 1 };
		at_once += disk_submit(f->disk, &reqs[i]) == 0;
	}
	disk_commit(f->disk);
	while (f->n_done + at_once < 64)
		drv_poll(&f->loop);
	for (unsigned i = 0; i < 64; i++)
		assert_bytes(f, i * 1024, 512, (uint8_t)i);
	free(data);
}

/* Destroyed with requests pending: the memory may be freed afterwards (ASan looks on). */
static void destroy_waits(void **state)
{
	struct fixture *f = *state;
	struct disk_req *reqs = calloc(32, sizeof(*reqs));
	struct iovec *iov = calloc(32, sizeof(*iov));
	uint8_t *data = malloc(32 * 4096);
	struct disk_params params = f->disk->params;
	int fd = open_file(false);
	struct disk *disk;

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(disk_create(f->uring, fd, &f->loop, &params, &disk, NULL), 0);
	for (unsigned i = 0; i < 32; i++) {
		iov[i] = (struct iovec){ data + i * 4096, 4096 };
		reqs[i] = (struct disk_req){
			.op = DISK_READ, .bytes = 4096, .iov = &iov[i], .n_iov = 1
		};
		disk_submit(disk, &reqs[i]);
		if (i == 15)
			disk_commit(disk); /* half of them are with the kernel */
	}
	disk_destroy(disk);
	free(reqs);
	free(iov);
	free(data);
	drv_poll(&f->loop);
	assert_int_equal(f->n_done, 0);
}

static void refuses_what_is_no_disk(void **state)
{
	struct loop loop;
	struct disk_params params = { .in_flight = 1, .done = on_done };
	struct volt_err err = { 0 };
	struct disk *disk = NULL;
	int fds[2];

	(void)state;
	assert_int_equal(loop_init(&loop, NULL), 0);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(disk_create(false, fds[0], &loop, &params, &disk, &err), -EINVAL);
	assert_null(disk);
	assert_string_equal(err.msg, "neither a regular file nor a block device");
	close(fds[0]); /* still the caller's */
	close(fds[1]);
	loop_done(&loop);
}

/* Without io_uring (here: no descriptors left for it) there is a sync disk, and no error. */
static void falls_back_to_sync(void **state)
{
	struct loop loop;
	struct disk_params params = { .in_flight = 16, .done = on_done };
	struct rlimit old, limit;
	struct disk *disk = NULL;
	int fd = open_file(true);

	(void)state;
	assert_int_equal(loop_init(&loop, NULL), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	limit = (struct rlimit){ 3, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(disk_create(true, fd, &loop, &params, &disk, NULL), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_string_equal(disk->ops->name, "sync");
	disk_destroy(disk);
	loop_done(&loop);
}

int main(void)
{
#define T(fn, how) { #fn "/" #how, fn, setup_##how, teardown, NULL }
#define ALL(how)                                                                                   \
	T(uses_the_back_end_it_was_asked_for, how), T(reads_what_was_written, how),                \
		T(short_read_is_an_error, how), T(short_write_is_continued, how),                  \
		T(zeroes_exactly_the_range, how), T(discard_gives_blocks_back, how),               \
		T(many_at_once_all_come_back, how), T(destroy_waits, how)
	const struct CMUnitTest tests[] = {
		ALL(sync),
		ALL(sync_memfd),
		ALL(uring),
		ALL(uring_memfd),
		cmocka_unit_test(refuses_what_is_no_disk),
		cmocka_unit_test(falls_back_to_sync),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("disk", tests, NULL, NULL);
}
