/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_load() on a valid vmlinux or bzImage with a few damaged fields.
 *
 * Input: one byte, bit 0 the template, bit 1 whether the file is cut; two bytes of file length if
 * it is; then patches of three bytes and a value: offset (16 bits, taken modulo the template),
 * width 1, 2, 4 or 8 (2 bits), and whether the value is a byte or a whole word.
 *
 * Oracle: after success, guest memory is what a loader of a few obvious lines makes of the same
 * file; after failure there is a code and a message. The first MiB is not accessible and guard
 * pages follow the end of RAM, so that a write elsewhere is seen at once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernel-image.h"
#include "kernel.h"
#include "layout.h"
#include "num.h"

#define RAM_BYTES UINT64_C(0x3800)
#define RAM_END	  (MIB + RAM_BYTES)
#define GUARD	  (64 * KIB)
#define FILLER	  0xaa

/*
 * Harness loops are not what the fuzzer should learn from, and tracing them costs most of the
 * time.
 */
#define QUIET __attribute__((no_sanitize("coverage", "undefined")))

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE_NAME__, __LINE__, #x);               \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gmem ram;
static uint8_t *high; /* the RAM from 1 MiB on */
static int fd = -1;
static struct image templates[2]; /* ELF, bzImage */

static void QUIET set_up(void)
{
	uint8_t *p = mmap(NULL, RAM_END + GUARD, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(p != MAP_FAILED);
	high = p + MIB;
	CHECK(mprotect(high, RAM_BYTES, PROT_READ | PROT_WRITE) == 0);
	ram = (struct gmem){ .n_regions = 1, .regions = { { 0, RAM_END, p } } };
	fd = memfd_create("image", MFD_CLOEXEC);
	CHECK(fd >= 0);
	image_elf(&templates[0], MIB, 0x1000);
	image_bzimage(&templates[1], MIB + 0x1000, 0x2000);
}

static void QUIET make_image(struct image *img, const uint8_t *data, size_t size)
{
	size_t i = 1;

	*img = templates[data[0] & 1];
	if (data[0] & 2 && size >= 3) {
		img->len = num_get_le16(data + 1) % (img->len + 1);
		i = 3;
	}
	while (size - i >= 4) {
		size_t at = num_get_le16(data + i), width = (size_t)1 << (data[i + 2] & 3);
		size_t have = data[i + 2] & 4 ? MIN((size_t)8, size - i - 3) : 1;
		uint64_t value = 0;

		memcpy(&value, data + i + 3, have);
		/* Most of the time the headers: ELF header and program headers, setup header. */
		if (data[i + 2] & 8)
			at = data[0] & 1 ? 0x1f1 + at % 0x7b : at % (64 + 3 * 56);
		if (data[i + 2] & 16)
			value += MIB;
		at %= IMAGE_MAX - 8;
		image_patch(img, at, width, value);
		i += 3 + have;
	}
}

/* A loader without caution; the real one said that the file is sound. */
static void QUIET reference(const struct image *img, const struct kernel_image *k, uint8_t *want)
{
	bool taken[RAM_BYTES] = { false };

	memset(want, FILLER, RAM_BYTES);
	if (k->bzimage) {
		unsigned sects = img->bytes[0x1f1] ? img->bytes[0x1f1] : 4;
		uint64_t len = (uint64_t)num_get_le32(img->bytes + 0x1f4) * 16;

		CHECK(num_get_le64(img->bytes + 0x258) == k->start && k->entry == k->start + 0x200);
		for (uint64_t i = 0; i < len; i++) {
			uint64_t from = (sects + 1) * 512 + i, to = k->start + i;

			if (from >= img->len)
				break;
			CHECK(to >= MIB && to < RAM_END && to < k->end);
			want[to - MIB] = img->bytes[from];
		}
		CHECK(k->end >= k->start + num_get_le32(img->bytes + 0x260));
		return;
	}
	for (unsigned s = 0; s < num_get_le16(img->bytes + 56); s++) {
		uint64_t at = num_get_le64(img->bytes + 32) + s * 56;
		uint64_t offset, gpa, in_file, in_memory;
		const uint8_t *p = img->bytes + at;

		CHECK(at + 56 <= img->len);
		if (num_get_le32(p) != PT_LOAD)
			continue;
		offset = num_get_le64(p + 8);
		gpa = num_get_le64(p + 24);
		in_file = num_get_le64(p + 32);
		in_memory = num_get_le64(p + 40);
		for (uint64_t i = 0; i < in_memory; i++) {
			uint64_t to = gpa + i, from = offset + i;

			CHECK(to >= MIB && to < RAM_END && to >= k->start && to < k->end);
			CHECK(i >= in_file || from < img->len);
			CHECK(!taken[to - MIB]); /* nothing twice */
			taken[to - MIB] = true;
			want[to - MIB] = i < in_file ? img->bytes[from] : 0;
		}
	}
}

int QUIET LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct image img;
	uint8_t want[RAM_BYTES];
	struct kernel_image k = { .end = 77 };
	struct volt_err err = { 0 };
	bool linux_;
	int r;

	if (size < 1)
		return 0;
	if (fd < 0)
		set_up();
	make_image(&img, data, size);
	CHECK(ftruncate(fd, (off_t)img.len) == 0);
	CHECK(pwrite(fd, img.bytes, img.len, 0) == (ssize_t)img.len);
	memset(high, FILLER, RAM_BYTES);

	r = kernel_load(fd, &ram, &k, &err);
	if (r < 0) {
		CHECK(r == -ENOEXEC || r == -ENOMEM || r == -EIO);
		CHECK(err.code == -r && strncmp(err.msg, "kernel: ", 8) == 0 && err.msg[8]);
		CHECK(k.end == 77);
		return 0;
	}
	CHECK(r == 0 && err.code == 0);
	CHECK(k.start >= MIB && k.start < k.end && k.end <= RAM_END);
	CHECK(k.linux64 || k.pvh);
	CHECK(!k.linux64 || (k.entry >= k.start && k.entry < k.end));
	CHECK(!k.pvh || (k.pvh_entry >= k.start && k.pvh_entry < k.end));
	reference(&img, &k, want);
	CHECK(memcmp(high, want, RAM_BYTES) == 0);
	linux_ = k.bzimage || memmem(want + (k.start - MIB), k.end - k.start, "Linux version ", 14);
	CHECK(kernel_image_is_linux(&ram, &k) == linux_);
	return 0;
}
