/* SPDX-License-Identifier: Apache-2.0 */
/* A layer's file: what is made, what is believed of it, and what is refused in which words. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "num.h"
#include "overlay.h"

#define DISK (3 * MIB + 512)

static int temp(void)
{
	int fd = memfd_create("overlay", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static int made(void)
{
	int fd = temp();

	assert_int_equal(overlay_format(fd, DISK, 12, NULL, NULL), 0);
	return fd;
}

static struct overlay *opened(int fd)
{
	struct overlay *o;

	assert_int_equal(overlay_open(fd, true, NULL, 0, &o, NULL), 0);
	return o;
}

static void poke(int fd, uint64_t at, uint8_t byte)
{
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
}

static void refused(int fd, int code, const char *text)
{
	struct volt_err err = { 0 };
	struct overlay *o;

	assert_int_equal(overlay_open(fd, true, NULL, 0, &o, &err), code);
	assert_string_equal(err.msg, text);
	assert_true(fcntl(fd, F_GETFD) >= 0); /* still the caller's */
	close(fd);
}

static void makes_what_is_documented(void **state)
{
	uint8_t header[4096], below[16];
	int fd = temp();
	struct overlay *o;

	(void)state;
	memset(below, 7, sizeof(below));
	assert_int_equal(overlay_format(fd, DISK, 13, below, NULL), 0);
	assert_int_equal(pread(fd, header, sizeof(header), 0), sizeof(header));
	assert_memory_equal(header, "VOLTOVL\0\1\0\0\0", 12);
	assert_int_equal(num_get_le64(header + 16), DISK);
	assert_int_equal(num_get_le32(header + 24), 13);
	assert_memory_equal(header + 48, below, 16);
	o = opened(fd);
	assert_int_equal(o->n_blocks, 385);
	assert_int_equal(o->map_bytes, 4096);
	assert_int_equal(o->data_at, 65536);
	assert_int_equal(overlay_file_bytes(o), 65536 + 385 * 8192);
	assert_memory_equal(o->id, header + 32, 16);
	overlay_close(o);
}

static void makes_one_of_an_interrupted_making(void **state)
{
	struct volt_err err = { 0 };
	int fd = made();

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0); /* what a crash leaves at worst */
	assert_int_equal(overlay_format(fd, DISK, 12, NULL, NULL), 0);
	assert_int_equal(overlay_format(fd, DISK, 12, NULL, &err), -EEXIST);
	assert_string_equal(err.msg, "overlay: the file is not empty");
	overlay_close(opened(fd));
	fd = temp();
	err = (struct volt_err){ 0 };
	assert_int_equal(overlay_format(fd, 1000, 12, NULL, &err), -EINVAL);
	assert_string_equal(err.msg, "overlay: no disk of 1000 bytes can have one; it needs a "
				     "multiple of 512 up to 4 TiB");
	assert_int_equal(overlay_format(fd, OVERLAY_DISK_MAX + 512, 12, NULL, NULL), -EINVAL);
	assert_int_equal(lseek(fd, 0, SEEK_END), 0);
	close(fd);
}

static void refuses_what_is_unsound(void **state)
{
	int fd = made();

	(void)state;
	poke(fd, 4096, 0x0c);
	refused(fd, -EBADMSG, "overlay: the map is unsound near block 0");
	fd = made(); /* 769 blocks: block 769 is behind the end */
	poke(fd, 4096 + 769 / 4, 1 << 769 % 4 * 2);
	refused(fd, -EBADMSG, "overlay: the map speaks of block 769 of 769");
	fd = made();
	poke(fd, 0, 'v');
	refused(fd, -EBADMSG, "overlay: the file is none: no magic number");
	fd = made();
	poke(fd, 8, 2);
	refused(fd, -ENOTSUP, "overlay: version 2 of the format; this program knows version 1");
	fd = made();
	poke(fd, 40, 1);
	poke(fd, 41, 1);
	refused(fd, -EBADMSG, "overlay: the header's checksum is wrong");
	fd = made();
	assert_int_equal(ftruncate(fd, 65536 + 769 * 4096 - 1), 0);
	refused(fd, -EBADMSG, "overlay: the file has 3215359 bytes, and should have 3215360");
	refused(temp(), -EBADMSG, "overlay: the file is too short for a header");
	refused(open("/dev/null", O_RDWR | O_CLOEXEC), -EINVAL, "overlay: not a regular file");
}

/* The map beside an array of states: runs, and what the file has after a sync and only then. */
static void keeps_states(void **state)
{
	static uint8_t want[769];
	struct overlay *o = opened(made()), *again;
	unsigned seed = 1;

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t b = (uint64_t)rand_r(&seed) % 769, n = 1 + (uint64_t)rand_r(&seed) % 200;
		enum overlay_block s = (enum overlay_block)(rand_r(&seed) % 3), got;

		n = MIN(n, 769 - b);
		overlay_set(o, b, n, s);
		memset(want + b, (int)s, n);
		b = (uint64_t)rand_r(&seed) % 769;
		n = overlay_run(o, b, 769 - b, &got);
		assert_int_equal(got, want[b]);
		for (uint64_t k = b; k < b + n; k++)
			assert_int_equal(want[k], want[b]);
		assert_true(b + n == 769 || want[b + n] != want[b]);
	}
	again = opened(fcntl(o->fd, F_DUPFD_CLOEXEC, 3));
	assert_int_equal(again->map[0], 0); /* nothing was synced */
	overlay_close(again);
	assert_int_equal(overlay_sync(o), 0);
	again = opened(fcntl(o->fd, F_DUPFD_CLOEXEC, 3));
	assert_memory_equal(again->map, o->map, o->map_bytes);
	overlay_close(again);
	overlay_close(o);
}

static void takes_a_map_that_is_given(void **state)
{
	struct overlay *o = opened(made()), *clone;
	struct volt_err err = { 0 };
	const void *map;
	uint8_t bad[4096] = { 3 };
	size_t len;
	int fd = fcntl(o->fd, F_DUPFD_CLOEXEC, 3);

	(void)state;
	overlay_set(o, 5, 100, OVERLAY_ZERO);
	map = overlay_map(o, &len);
	assert_int_equal(overlay_open(fd, false, bad, sizeof(bad), &clone, &err), -EBADMSG);
	assert_string_equal(err.msg, "overlay: the map is unsound near block 0");
	err = (struct volt_err){ 0 };
	assert_int_equal(overlay_open(fd, false, map, len - 1, &clone, &err), -EBADMSG);
	assert_string_equal(err.msg,
		"overlay: a map of 4095 bytes was given, and should have 4096");
	assert_int_equal(overlay_open(fd, false, map, len, &clone, NULL), 0);
	assert_memory_equal(clone->map, map, len);
	overlay_close(clone);
	overlay_close(o);
}

static void is_none_before_it_is_published(void **state)
{
	uint8_t below[16] = { 1 };
	struct overlay *lower = opened(made()), *upper, *draft;
	int fd = temp();

	(void)state;
	memcpy(below, lower->id, sizeof(below));
	assert_int_equal(overlay_format(fd, DISK, 12, below, NULL), 0);
	upper = opened(fd);
	fd = temp();
	assert_int_equal(overlay_draft(fd, upper, lower, &draft, NULL), 0);
	overlay_set(draft, 0, 9, OVERLAY_ZERO);
	assert_int_equal(overlay_sync(draft), 0);
	refused(fcntl(fd, F_DUPFD_CLOEXEC, 3), -EBADMSG,
		"overlay: the file is none: no magic number");
	assert_int_equal(overlay_publish(draft), 0);
	overlay_close(draft);
	overlay_close(upper);
	overlay_close(lower);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_what_is_documented),
		cmocka_unit_test(makes_one_of_an_interrupted_making),
		cmocka_unit_test(refuses_what_is_unsound),
		cmocka_unit_test(keeps_states),
		cmocka_unit_test(takes_a_map_that_is_given),
		cmocka_unit_test(is_none_before_it_is_published),
	};

	return cmocka_run_group_tests_name("overlay", tests, NULL, NULL);
}
