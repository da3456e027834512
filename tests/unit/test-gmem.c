/* SPDX-License-Identifier: Apache-2.0 */
/* The only way to guest memory: every edge of every region, and nothing past it. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gmem.h"
#include "layout.h"

#define HIGH_BYTES (16 * MIB)

static int map(void **state)
{
	static struct gmem m;
	struct volt_err err = { 0 };

	*state = &m;
	return gmem_map(&m, LAYOUT_GAP_START + HIGH_BYTES, &err);
}

static int unmap(void **state)
{
	gmem_unmap(*state);
	return 0;
}

static void test_sizes(void **state)
{
	struct volt_err err = { 0 };
	struct gmem m;

	(void)state;
	assert_int_equal(gmem_map(&m, 0, &err), -EINVAL);
	err = (struct volt_err){ 0 };
	assert_int_equal(gmem_map(&m, 4097, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "4097"));
	err = (struct volt_err){ 0 };
	assert_int_equal(gmem_map(&m, UINT64_MAX & ~UINT64_C(4095), &err), -ENOMEM);
	assert_int_equal(gmem_bytes(&m), 0);
	assert_int_equal(gmem_low_end(&m), 0);
	assert_int_equal(gmem_map(&m, 2 * MIB, &err), 0);
	assert_int_equal(m.n_regions, 1);
	assert_int_equal(gmem_bytes(&m), 2 * MIB);
	assert_int_equal(gmem_low_end(&m), 2 * MIB);
	gmem_unmap(&m);
	assert_int_equal(gmem_bytes(&m), 0);
}

/* The lines of /proc/self/smaps about the mapping at p. */
static void smaps(const void *p, char *ret, size_t size)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512], start[32];
	bool here = false;
	size_t used = 0;

	assert_non_null(f);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)p);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, start, strlen(start)) == 0)
			here = true;
		if (here && used < size)
			used += snprintf(ret + used, size - used, "%s", line);
		if (here && strncmp(line, "VmFlags:", 8) == 0)
			break;
	}
	fclose(f);
	assert_true(here);
}

static long free_huge_pages(void)
{
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "r");
	long n = 0;

	if (f && fscanf(f, "%ld", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

static void test_huge_pages(void **state)
{
	const uint32_t value = 7;
	struct volt_err err = { 0 };
	char text[4096] = "";
	struct gmem m;
	bool enough;
	int r;

	(void)state;
	assert_int_equal(gmem_map(&m, 4 * MIB, &err), 0);
	assert_int_equal(gmem_set_pages(&m, GMEM_PAGES_DEFAULT, &err), 0);
	smaps(m.regions[0].host, text, sizeof(text));
	assert_null(strstr(text, " hg"));
	assert_int_equal(gmem_set_pages(&m, GMEM_PAGES_TRANSPARENT, &err), 0);
	smaps(m.regions[0].host, text, sizeof(text));
	assert_non_null(strstr(text, " hg"));
	assert_int_equal(gmem_write(&m, GPA(2 * MIB), &value, sizeof(value)), 0);
	enough = free_huge_pages() >= 2;
	r = gmem_set_pages(&m, GMEM_PAGES_2M, &err);
	if (enough) {
		assert_int_equal(r, 0);
		assert_int_equal(gmem_write(&m, GPA(2 * MIB), &value, sizeof(value)), 0);
		smaps(m.regions[0].host, text, sizeof(text));
		assert_non_null(strstr(text, "KernelPageSize:     2048 kB"));
	} else {
		assert_int_equal(r, -ENOMEM);
		assert_non_null(strstr(err.msg, "2 free ones are needed"));
	}
	gmem_unmap(&m);
	err = (struct volt_err){ 0 };
	assert_int_equal(gmem_map(&m, 3 * MIB, &err), 0);
	assert_int_equal(gmem_set_pages(&m, GMEM_PAGES_DEFAULT, &err), 0);
	assert_int_equal(gmem_set_pages(&m, GMEM_PAGES_TRANSPARENT, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "not whole pages of 2 MiB"));
	gmem_unmap(&m);
}

/* KVM can give the guest huge pages only where both addresses agree modulo their size. */
static void test_alignment(void **state)
{
	const struct gmem *m = *state;

	for (size_t i = 0; i < m->n_regions; i++) {
		const struct gmem_region *r = &m->regions[i];

		assert_int_equal(((uintptr_t)r->host - r->gpa) % (2 * MIB), 0);
	}
}

static void test_edges(void **state)
{
	static const struct {
		uint64_t gpa, len;
		bool ok;
	} rows[] = {
		{ 0, 1, true },
		{ 0, 0, true },
		{ LAYOUT_GAP_START - 8, 8, true },
		{ LAYOUT_GAP_START - 8, 9, false },
		{ LAYOUT_GAP_START - 1, 2, false },
		{ LAYOUT_GAP_START, 1, false },
		{ LAYOUT_GAP_END - 1, 1, false },
		{ LAYOUT_GAP_END - 1, 2, false },
		{ LAYOUT_GAP_END, 8, true },
		{ LAYOUT_GAP_END + HIGH_BYTES - 8, 8, true },
		{ LAYOUT_GAP_END + HIGH_BYTES - 7, 8, false },
		{ LAYOUT_GAP_END + HIGH_BYTES, 1, false },
		{ 0, UINT64_MAX, false },
		{ 8, UINT64_MAX - 7, false },
		{ UINT64_MAX, 1, false },
		{ UINT64_MAX, UINT64_MAX, false },
		{ UINT64_MAX - 3, 8, false },
		{ LAYOUT_GAP_END, UINT64_MAX - LAYOUT_GAP_END + 1, false },
	};
	struct gmem *m = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct gpa a = GPA(rows[i].gpa);
		struct iovec iov = { 0 };
		char buf[16] = "";

		if (gmem_contains(m, a, rows[i].len) != rows[i].ok)
			fail_msg("row %zu", i);
		assert_int_equal(gmem_slice(m, a, rows[i].len, &iov), rows[i].ok ? 0 : -EFAULT);
		assert_true(!!iov.iov_base == rows[i].ok);
		if (rows[i].len > sizeof(buf))
			continue;
		assert_int_equal(gmem_read(m, a, buf, rows[i].len), rows[i].ok ? 0 : -EFAULT);
		assert_int_equal(gmem_write(m, a, buf, rows[i].len), rows[i].ok ? 0 : -EFAULT);
		assert_int_equal(gmem_fill(m, a, 0, rows[i].len), rows[i].ok ? 0 : -EFAULT);
	}
}

static void test_content(void **state)
{
	struct gmem *m = *state;
	struct gpa a = GPA(LAYOUT_GAP_START - 8);
	char buf[8] = "";

	assert_int_equal(gmem_write(m, a, "1234567", 8), 0);
	assert_int_equal(gmem_read(m, a, buf, 8), 0);
	assert_string_equal(buf, "1234567");
	assert_int_equal(gmem_fill(m, GPA(a.v + 1), 'x', 2), 0);
	assert_int_equal(gmem_read(m, a, buf, 8), 0);
	assert_string_equal(buf, "1xx4567");
	/* what does not fit leaves both sides alone */
	assert_int_equal(gmem_write(m, GPA(a.v + 1), "abcdefgh", 8), -EFAULT);
	memset(buf, 'z', 8);
	assert_int_equal(gmem_read(m, GPA(a.v + 1), buf, 8), -EFAULT);
	assert_memory_equal(buf, "zzzzzzzz", 8);
	assert_int_equal(gmem_read(m, a, buf, 8), 0);
	assert_string_equal(buf, "1xx4567");
}

static void test_indices(void **state)
{
	struct gmem *m = *state;
	uint64_t end = LAYOUT_GAP_END + HIGH_BYTES;
	uint8_t bytes[2];
	uint16_t v = 0;

	assert_int_equal(gmem_store_u16_release(m, GPA(end - 2), 0x1234), 0);
	assert_int_equal(gmem_load_u16_acquire(m, GPA(end - 2), &v), 0);
	assert_int_equal(v, 0x1234);
	assert_int_equal(gmem_read(m, GPA(end - 2), bytes, 2), 0);
	assert_int_equal(bytes[0], 0x34);
	assert_int_equal(gmem_load_u16_acquire(m, GPA(end - 3), &v), -EINVAL);
	assert_int_equal(gmem_store_u16_release(m, GPA(1), 0), -EINVAL);
	assert_int_equal(gmem_load_u16_acquire(m, GPA(end), &v), -EFAULT);
	assert_int_equal(gmem_store_u16_release(m, GPA(UINT64_MAX - 1), 0), -EFAULT);
	assert_int_equal(v, 0x1234);
}

/* Pages of [gpa, gpa + bytes) that the host holds for us. */
static unsigned resident(const struct gmem *m, uint64_t gpa, uint64_t bytes)
{
	unsigned char pages[16];
	struct iovec iov;
	unsigned n = 0;

	assert_int_equal(gmem_slice(m, GPA(gpa), bytes, &iov), 0);
	assert_int_equal(mincore(iov.iov_base, bytes, pages), 0);
	for (unsigned i = 0; i < bytes / GMEM_PAGE; i++)
		n += pages[i] & 1;
	return n;
}

static void test_discard(void **state)
{
	static const struct {
		uint64_t off, len; /* from two pages before the end of the first region */
		uint64_t ram;
		unsigned left; /* of these two pages */
		uint8_t at[3]; /* what is at offset 0, 100 and 4096 + 100 */
	} rows[] = {
		{ 0, 4096, 4096, 1, { 0, 0, 'x' } },
		{ 4096, 4096, 4096, 1, { 'x', 'x', 0 } },
		{ 0, 8192, 8192, 0, { 0, 0, 0 } },
		{ 0, 1 << 20, 8192, 0, { 0, 0, 0 } },		 /* into the gap */
		{ 0, GIB + 16 * MIB, HIGH_BYTES, 0, { 0, 0, 0 } }, /* and beyond it */
		{ 1, 8191, 8191, 1, { 'x', 'x', 0 } },		 /* whole pages only */
		{ 0, 8191, 8191, 1, { 0, 0, 'x' } },
		{ 100, 4096, 4096, 2, { 'x', 'x', 'x' } },
		{ 4096, 0, 0, 2, { 'x', 'x', 'x' } },
		{ 8192, 4096, 0, 2, { 'x', 'x', 'x' } },
		{ 8192, UINT64_MAX, HIGH_BYTES, 2, { 'x', 'x', 'x' } },
	};
	uint64_t base = LAYOUT_GAP_START - 8192, ram;
	struct gmem *m = *state;

	assert_int_equal(LAYOUT_GAP_END - LAYOUT_GAP_START, GIB);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t got[3];

		assert_int_equal(gmem_fill(m, GPA(base), 'x', 8192), 0);
		assert_int_equal(gmem_fill(m, GPA(LAYOUT_GAP_END), 'y', 8192), 0);
		assert_int_equal(resident(m, base, 8192), 2);
		assert_int_equal(gmem_discard(m, GPA(base + rows[i].off), rows[i].len, &ram), 0);
		if (ram != rows[i].ram || resident(m, base, 8192) != rows[i].left)
			fail_msg("row %zu: %llu of RAM", i, (unsigned long long)ram);
		assert_int_equal(resident(m, LAYOUT_GAP_END, 8192), rows[i].len > GIB ? 0 : 2);
		assert_int_equal(gmem_read(m, GPA(base), got, 1), 0);
		assert_int_equal(gmem_read(m, GPA(base + 100), got + 1, 1), 0);
		assert_int_equal(gmem_read(m, GPA(base + 4196), got + 2, 1), 0);
		assert_memory_equal(got, rows[i].at, 3);
	}
	assert_int_equal(gmem_discard(m, GPA(UINT64_MAX), UINT64_MAX, &ram), 0);
	assert_int_equal(ram, 0);
	assert_int_equal(gmem_discard(m, GPA(0), UINT64_MAX, &ram), 0);
	assert_int_equal(ram, gmem_bytes(m));
}

/* What the host refuses is an error, and the rest is gone nevertheless. */
static void test_discard_refused(void **state)
{
	struct gmem *m = *state;
	struct iovec iov;
	uint64_t ram;

	assert_int_equal(gmem_fill(m, GPA(LAYOUT_GAP_END), 'y', 8192), 0);
	assert_int_equal(gmem_slice(m, GPA(0), 4096, &iov), 0);
	assert_int_equal(munmap(iov.iov_base, 4096), 0);
	assert_int_equal(gmem_discard_slice(&iov), -ENOMEM);
	assert_int_equal(gmem_discard(m, GPA(0), UINT64_MAX, &ram), -ENOMEM);
	assert_int_equal(resident(m, LAYOUT_GAP_END, 8192), 0);
}

/* What is at gpa, if it can be read and if it can be written. */
static void expect(const struct gmem *m, uint64_t gpa, uint64_t len, bool readable, bool writable)
{
	struct iovec v;
	uint8_t b[16];

	assert_int_equal(gmem_contains(m, GPA(gpa), len), readable);
	assert_int_equal(gmem_view(m, GPA(gpa), len, &v), readable ? 0 : -EFAULT);
	assert_int_equal(gmem_slice(m, GPA(gpa), len, &v), writable ? 0 : -EFAULT);
	if (len > sizeof(b))
		return;
	assert_int_equal(gmem_read(m, GPA(gpa), b, len), readable ? 0 : -EFAULT);
	if (readable)
		assert_int_equal(gmem_write(m, GPA(gpa), b, len), writable ? 0 : -EFAULT);
	if (!writable) {
		assert_int_equal(gmem_fill(m, GPA(gpa), 0, len), -EFAULT);
		if (gpa % 2 == 0)
			assert_int_equal(gmem_store_u16_release(m, GPA(gpa), 0), -EFAULT);
	}
}

#define PMEM (512 * GIB)
#define MORE (513 * GIB)

static int memfd(const char *text, off_t bytes)
{
	int fd = memfd_create("gmem", MFD_CLOEXEC);

	assert_true(fd >= 0 && ftruncate(fd, bytes) == 0);
	assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
	return fd;
}

static void test_files(void **state)
{
	struct gmem *m = *state;
	uint64_t ram = gmem_bytes(m);
	int fd = memfd("hello", 5000), ro = memfd("fixed", 2 * MIB);
	char buf[8] = "";

	assert_int_equal(gmem_add_file(m, PMEM, fd, 5000, false, NULL), 0);
	/* Places that are taken, or not aligned. */
	assert_int_equal(gmem_add_file(m, PMEM, ro, 2 * MIB, true, NULL), -EINVAL);
	assert_int_equal(gmem_add_file(m, 0, ro, 2 * MIB, true, NULL), -EINVAL);
	assert_int_equal(gmem_add_file(m, PMEM + 2 * MIB + 4096, ro, 2 * MIB, true, NULL), -EINVAL);
	assert_int_equal(gmem_add_file(m, PMEM + 2 * MIB, ro, 2 * MIB, true, NULL), 0);
	assert_int_equal(gmem_bytes(m), ram);
	expect(m, PMEM, 2 * MIB, true, true); /* the padding too */
	expect(m, PMEM, 2 * MIB + 1, false, false);
	expect(m, PMEM + 2 * MIB, 2 * MIB, true, false);
	expect(m, PMEM + 2 * MIB, 4, true, false);
	expect(m, PMEM + 4 * MIB, 1, false, false);
	/* It is the file, both ways. */
	assert_int_equal(gmem_read(m, GPA(PMEM), buf, 5), 0);
	assert_string_equal(buf, "hello");
	assert_int_equal(gmem_write(m, GPA(PMEM), "HE", 2), 0);
	assert_int_equal(pread(fd, buf, 5, 0), 5);
	assert_string_equal(buf, "HEllo");
	assert_int_equal(pwrite(ro, "F", 1, 0), 1);
	assert_int_equal(gmem_read(m, GPA(PMEM + 2 * MIB), buf, 5), 0);
	assert_string_equal(buf, "Fixed");
	close(fd);
	close(ro);
}

static unsigned blocks_resident(const struct gmem_region *r, uint64_t first, uint64_t n)
{
	unsigned char pages[1024] = { 0 };
	unsigned sum = 0;

	assert_true(n * r->block_bytes / 4096 <= sizeof(pages));
	assert_int_equal(mincore(r->host + first * r->block_bytes, n * r->block_bytes, pages), 0);
	for (size_t i = 0; i < n * r->block_bytes / 4096; i++)
		sum += pages[i] & 1;
	return sum;
}

static void test_blocks(void **state)
{
	struct gmem *m = *state;
	const struct gmem_region *r;
	uint64_t ram = gmem_bytes(m), block = 2 * MIB;
	struct iovec stale;
	uint8_t b = 1;

	assert_null(gmem_blocks(m));
	/* 130 blocks: the bitmap has more than two words. */
	assert_int_equal(gmem_add_blocks(m, MORE, 130 * block, block, NULL), 0);
	r = gmem_blocks(m);
	assert_non_null(r);
	assert_int_equal(gmem_bytes(m), ram);
	expect(m, MORE, 1, false, false);
	gmem_plug(r, 63, 2);
	expect(m, MORE + 63 * block, 2 * block, true, true);
	expect(m, MORE + 63 * block - 1, 2, false, false);
	expect(m, MORE + 65 * block - 1, 1, true, true);
	expect(m, MORE + 65 * block - 1, 2, false, false);
	expect(m, MORE + 62 * block, 3 * block, false, false);
	gmem_plug(r, 129, 1);
	expect(m, MORE + 129 * block, block, true, true);
	expect(m, MORE + 129 * block, block + 1, false, false);
	assert_true(gmem_plugged(r, 63, 2) && !gmem_plugged(r, 63, 3) && !gmem_plugged(r, 62, 2));

	/* What is unplugged goes back to the host, and who still has a slice finds zeros. */
	assert_int_equal(gmem_slice(m, GPA(MORE + 64 * block), 4096, &stale), 0);
	assert_int_equal(gmem_fill(m, GPA(MORE + 63 * block), 0xaa, 2 * block), 0);
	assert_true(blocks_resident(r, 63, 2) > 0);
	assert_int_equal(gmem_unplug(r, 64, 1), 0);
	assert_int_equal(blocks_resident(r, 64, 1), 0);
	assert_int_equal(*(uint8_t *)stale.iov_base, 0);
	expect(m, MORE + 64 * block, 1, false, false);
	expect(m, MORE + 63 * block, block, true, true);
	assert_int_equal(gmem_read(m, GPA(MORE + 64 * block - 1), &b, 1), 0);
	assert_int_equal(b, 0xaa);
	gmem_plug(r, 64, 1);
	assert_int_equal(gmem_read(m, GPA(MORE + 64 * block), &b, 1), 0);
	assert_int_equal(b, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_huge_pages),
		cmocka_unit_test_setup_teardown(test_alignment, map, unmap),
		cmocka_unit_test_setup_teardown(test_edges, map, unmap),
		cmocka_unit_test_setup_teardown(test_content, map, unmap),
		cmocka_unit_test_setup_teardown(test_indices, map, unmap),
		cmocka_unit_test_setup_teardown(test_discard, map, unmap),
		cmocka_unit_test_setup_teardown(test_discard_refused, map, unmap),
		cmocka_unit_test_setup_teardown(test_files, map, unmap),
		cmocka_unit_test_setup_teardown(test_blocks, map, unmap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
