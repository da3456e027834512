/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlay disk against a model: any sequence of operations; and the crash matrix: in the same
 * sequences each call that changes a file fails, is cut short, or is the last one before the
 * process is killed or the power goes.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "overlay-merge.h"
#include "overlay-rig.h"

#define SECTORS	257 /* the last block is no whole one */
#define FEW	89  /* likewise, for the crash matrix, which does the same thousands of times */

static struct rig rig;

static int setup(void **state)
{
	(void)state;
	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	rig_host_reset();
	return 0;
}

/* Random operations until the process is dead. */
static void work(unsigned seed, unsigned n_ops)
{
	for (unsigned i = 0; i < n_ops && !rig_host_dead(); i++) {
		uint32_t what = (uint32_t)rand_r(&seed), where = (uint32_t)rand_r(&seed);

		rig_random(&rig, what, where);
	}
}

static void is_what_was_written(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 40; seed++) {
		rig_host_reset();
		rig_open(&rig, SECTORS, 12 + seed % 5);
		for (unsigned i = 0; i < 20; i++) {
			work(seed * 100 + i, 12);
			rig_check(&rig);
		}
		assert_true(rig_flush(&rig));
		rig_crash(&rig, true, seed);
		rig_check(&rig);
		assert_null(rig.wrong);
		rig_close(&rig);
	}
}

/* Goes on after a fault, then crashes; everything that was acknowledged is there. */
static void one(enum rig_fault fault, unsigned call, unsigned shift, unsigned seed, bool power)
{
	rig_host_reset();
	rig_open(&rig, FEW, shift);
	rig_host_fail(fault, rig_host_calls() + call);
	work(seed, 40);
	rig_crash(&rig, power, seed + call);
	if (rig.wrong)
		fail_msg("%s: fault %d at call %u, shift %u, seed %u, %s", rig.wrong, fault, call,
			shift, seed, power ? "power cut" : "killed");
	/* It is a disk as before. */
	work(seed + 1, 10);
	assert_true(rig_flush(&rig));
	rig_check(&rig);
	rig_crash(&rig, true, seed);
	rig_check(&rig);
	assert_null(rig.wrong);
	rig_close(&rig);
}

static unsigned calls_of(unsigned shift, unsigned seed)
{
	unsigned before, n;

	rig_host_reset();
	rig_open(&rig, FEW, shift);
	before = rig_host_calls();
	work(seed, 40);
	n = rig_host_calls() - before;
	assert_null(rig.wrong);
	rig_close(&rig);
	return n;
}

static void every_call(enum rig_fault fault)
{
	unsigned sum = 0;

	for (unsigned seed = 1; seed <= 3; seed++) {
		unsigned shift = seed % 2 ? 12 : 14, n = calls_of(shift, seed);

		for (unsigned call = 0; call < n; call++) {
			one(fault, call, shift, seed, false);
			one(fault, call, shift, seed, true);
		}
		sum += n;
	}
	print_message("%u calls, twice each\n", sum);
	assert_true(sum > 150);
}

static void survives_a_kill(void **state)
{
	(void)state;
	every_call(RIG_KILL);
}

static void survives_a_torn_write(void **state)
{
	(void)state;
	every_call(RIG_TORN);
}

static void survives_eio(void **state)
{
	(void)state;
	every_call(RIG_EIO);
}

static void survives_enospc(void **state)
{
	(void)state;
	every_call(RIG_ENOSPC);
}

static void finishes_short_writes(void **state)
{
	(void)state;
	every_call(RIG_SHORT);
}

/* ---- layers ---- */

static int open_rig(void **state)
{
	setup(state);
	rig_open(&rig, SECTORS, 12);
	return 0;
}

static int close_rig(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

/* A second disk over the frozen layer of the first: each sees what was, and its own writes. */
static void clones_share_what_is_frozen(void **state)
{
	const struct disk_params params = { .in_flight = 16 };
	struct overlay *layers[2];
	const struct overlay *frozen;
	struct disk *clone;
	uint8_t data[512], want[512];
	struct iovec iov = { data, 512 };
	struct disk_req req = { .op = DISK_READ, .bytes = 512, .iov = &iov, .n_iov = 1 };
	size_t len;
	const void *map;

	(void)state;
	assert_true(rig_write(&rig, 0, 3, 77));
	assert_true(rig_freeze(&rig));
	/* Nothing was flushed: the clone gets the map from memory, as a fork hands it over. */
	frozen = disk_overlay_layer(rig.disk, 1);
	map = overlay_map(frozen, &len);
	assert_int_equal(overlay_open(fcntl(frozen->fd, F_DUPFD_CLOEXEC, 3), false, map, len,
				 &layers[1], NULL), 0);
	layers[0] = NULL;
	{
		int fd = memfd_create("clone", MFD_CLOEXEC);

		assert_int_equal(overlay_format(fd, frozen->disk_bytes, 12, frozen->id, NULL), 0);
		assert_int_equal(overlay_open(fd, true, NULL, 0, &layers[0], NULL), 0);
	}
	assert_int_equal(disk_overlay_create(fcntl(rig.basefd, F_DUPFD_CLOEXEC, 3), layers, 2,
				 &params, &clone, NULL), 0);
	assert_true(rig_write(&rig, 0, 1, 99));
	assert_int_equal(disk_submit(clone, &req), 0);
	memset(want, 77, sizeof(want));
	assert_memory_equal(data, want, 512);
	memset(data, 55, sizeof(data));
	iov = (struct iovec){ data, 512 };
	req = (struct disk_req){ .op = DISK_WRITE, .offset = 512, .bytes = 512, .iov = &iov,
		.n_iov = 1 };
	assert_int_equal(disk_submit(clone, &req), 0);
	rig_check(&rig);
	assert_null(rig.wrong);
	disk_destroy(clone);
}

static void refuses_a_third_frozen_layer(void **state)
{
	const struct overlay *top;
	struct volt_err err = { 0 };
	struct overlay *next;
	int fd = memfd_create("next", MFD_CLOEXEC);

	(void)state;
	assert_true(rig_freeze(&rig));
	assert_true(rig_freeze(&rig));
	top = disk_overlay_layer(rig.disk, 0);
	assert_null(disk_overlay_layer(rig.disk, 3));
	assert_int_equal(overlay_format(fd, top->disk_bytes, 12, top->id, NULL), 0);
	assert_int_equal(overlay_open(fd, true, NULL, 0, &next, NULL), 0);
	assert_int_equal(disk_overlay_freeze(rig.disk, next, &err), -EBUSY);
	assert_string_equal(err.msg,
		"overlay: the layers of the last snapshot are still being merged");
	assert_true(rig_merge(&rig));
	assert_int_equal(disk_overlay_freeze(rig.disk, next, NULL), 0);
}

static void refuses_what_does_not_fit(void **state)
{
	const struct overlay *top = disk_overlay_layer(rig.disk, 0);
	struct volt_err err = { 0 };
	struct overlay *other;
	int fd = memfd_create("other", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(overlay_format(fd, top->disk_bytes, 12, NULL, NULL), 0);
	assert_int_equal(overlay_open(fd, true, NULL, 0, &other, NULL), 0);
	assert_int_equal(disk_overlay_freeze(rig.disk, other, &err), -EINVAL);
	assert_string_equal(err.msg, "overlay: it does not lie on the one below");
	err = (struct volt_err){ 0 };
	assert_int_equal(disk_overlay_replace(rig.disk, other, &err), -EINVAL);
	assert_int_equal(overlay_merge(other, top, memfd_create("m", MFD_CLOEXEC), NULL, NULL),
		-EINVAL);
	assert_int_equal(disk_set_file(rig.disk, rig.basefd, &err), -EOPNOTSUPP);
	overlay_close(other);
}

static void opens_over_its_base_only(void **state)
{
	const struct disk_params params = { .in_flight = 16 };
	struct volt_err err = { 0 };
	int small = memfd_create("small", MFD_CLOEXEC);
	struct disk *d;

	(void)state;
	assert_int_equal(ftruncate(small, 4096), 0);
	assert_int_equal(disk_overlay_open(small, rig.files[0], &params, &d, &err), -EINVAL);
	assert_string_equal(err.msg,
		"overlay: it is for a disk of 131584 bytes, and the base has 4096");
	assert_true(fcntl(small, F_GETFD) >= 0 && fcntl(rig.files[0], F_GETFD) >= 0);
	assert_true(rig_freeze(&rig));
	err = (struct volt_err){ 0 };
	assert_int_equal(disk_overlay_open(rig.basefd, rig.files[0], &params, &d, &err), -EINVAL);
	assert_string_equal(err.msg,
		"overlay: it lies on another one, which is not given: merge them first");
}

/* A merge that was stopped, or whose host failed, leaves a file that nobody takes for a layer. */
static void merges_all_or_nothing(void **state)
{
	atomic_bool stop = true;
	int fd = memfd_create("merged", MFD_CLOEXEC);
	struct volt_err err = { 0 };
	struct overlay *o;

	(void)state;
	assert_true(rig_write(&rig, 0, 64, 9));
	assert_true(rig_freeze(&rig));
	assert_true(rig_freeze(&rig));
	assert_int_equal(overlay_merge(disk_overlay_layer(rig.disk, 1),
				 disk_overlay_layer(rig.disk, 2), fd, &stop, NULL), -ECANCELED);
	assert_int_equal(overlay_open(fd, true, NULL, 0, &o, &err), -EBADMSG);
	assert_string_equal(err.msg, "overlay: the file is none: no magic number");
	close(fd);
	for (unsigned call = 0;; call++) {
		int r;

		fd = memfd_create("merged", MFD_CLOEXEC);
		rig_host_fail(RIG_EIO, rig_host_calls() + call);
		r = overlay_merge(disk_overlay_layer(rig.disk, 1), disk_overlay_layer(rig.disk, 2),
			fd, NULL, NULL);
		rig_host_fail(RIG_NONE, 0);
		close(fd);
		if (r == 0) {
			assert_true(call > 4);
			break;
		}
		assert_int_equal(r, -EIO);
	}
	assert_true(rig_merge(&rig));
	rig_check(&rig);
	assert_null(rig.wrong);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(is_what_was_written, setup),
		cmocka_unit_test_setup(survives_a_kill, setup),
		cmocka_unit_test_setup(survives_a_torn_write, setup),
		cmocka_unit_test_setup(survives_eio, setup),
		cmocka_unit_test_setup(survives_enospc, setup),
		cmocka_unit_test_setup(finishes_short_writes, setup),
		cmocka_unit_test_setup_teardown(clones_share_what_is_frozen, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(refuses_a_third_frozen_layer, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(refuses_what_does_not_fit, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(opens_over_its_base_only, open_rig, close_rig),
		cmocka_unit_test_setup_teardown(merges_all_or_nothing, open_rig, close_rig),
	};

	return cmocka_run_group_tests_name("disk-overlay", tests, NULL, NULL);
}
