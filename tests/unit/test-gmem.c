/* SPDX-License-Identifier: Apache-2.0 */
/* The only way to guest memory: every edge of every region, and nothing past it. */
#include "test.h"

#include <errno.h>
#include <string.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test_setup_teardown(test_alignment, map, unmap),
		cmocka_unit_test_setup_teardown(test_edges, map, unmap),
		cmocka_unit_test_setup_teardown(test_content, map, unmap),
		cmocka_unit_test_setup_teardown(test_indices, map, unmap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
