/* SPDX-License-Identifier: Apache-2.0 */
/* The MP table, walked as a kernel walks it. */
#include "test.h"

#include <errno.h>

#include "layout.h"
#include "limit.h"
#include "mptable.h"
#include "num.h"

static struct gmem ram;

static int map(void **state)
{
	(void)state;
	return gmem_map(&ram, 2 * MIB, NULL);
}

static int unmap(void **state)
{
	(void)state;
	gmem_unmap(&ram);
	return 0;
}

static const uint8_t *at(uint64_t gpa, size_t len)
{
	struct iovec v;

	assert_int_equal(gmem_slice(&ram, GPA(gpa), len, &v), 0);
	return v.iov_base;
}

static unsigned sum(const uint8_t *p, size_t len)
{
	unsigned s = 0;

	for (size_t i = 0; i < len; i++)
		s += p[i];
	return s & 0xff;
}

static void check(unsigned n_vcpus)
{
	unsigned cpus = 0, buses = 0, ioapics = 0, irqs = 0, local = 0, entries;
	const uint8_t *f, *h, *p, *end;
	uint64_t ret_end;

	assert_int_equal(mptable_write(&ram, n_vcpus, &ret_end, NULL), 0);
	f = at(LAYOUT_SYSTEM, 16);
	assert_memory_equal(f, "_MP_", 4);
	assert_int_equal(sum(f, 16), 0);
	assert_memory_equal(f + 8, "\1\4", 2);
	h = at(num_get_le32(f + 4), 44);
	assert_memory_equal(h, "PCMP", 4);
	h = at(num_get_le32(f + 4), num_get_le16(h + 4));
	assert_int_equal(sum(h, num_get_le16(h + 4)), 0);
	assert_int_equal(h[6], 4);
	assert_memory_equal(h + 8, "VOLT    MICROVM     ", 20);
	assert_int_equal(num_get_le32(h + 36), LAYOUT_LAPIC);
	entries = num_get_le16(h + 34);
	end = h + num_get_le16(h + 4);
	for (p = h + 44; p < end; entries--) {
		switch (p[0]) {
		case 0:
			assert_int_equal(p[1], cpus);
			assert_int_equal(p[3], cpus == 0 ? 3 : 1);
			cpus++;
			p += 20;
			break;
		case 1:
			assert_memory_equal(p + 2, "ISA   ", 6);
			buses++;
			p += 8;
			break;
		case 2:
			assert_int_equal(p[1], n_vcpus); /* no processor's id */
			assert_int_equal(p[3], 1);
			assert_int_equal(num_get_le32(p + 4), LAYOUT_IOAPIC);
			ioapics++;
			p += 8;
			break;
		case 3:
			assert_int_equal(p[1], 0);
			assert_int_equal(num_get_le16(p + 2), 0);
			assert_int_equal(p[5], irqs);
			assert_int_equal(p[6], n_vcpus);
			assert_int_equal(p[7], irqs);
			irqs++;
			p += 8;
			break;
		case 4:
			assert_int_equal(p[1], local == 0 ? 3 : 1);
			assert_int_equal(p[6], local == 0 ? 0 : 0xff);
			assert_int_equal(p[7], local);
			local++;
			p += 8;
			break;
		default:
			fail_msg("entry type %u", p[0]);
		}
	}
	assert_ptr_equal(p, end);
	assert_int_equal(entries, 0);
	assert_int_equal(cpus, n_vcpus);
	assert_int_equal(buses, 1);
	assert_int_equal(ioapics, 1);
	assert_int_equal(irqs, LAYOUT_N_GSI);
	assert_int_equal(local, 2);
	assert_int_equal(ret_end % 16, 0);
	assert_true(ret_end >= num_get_le32(f + 4) + num_get_le16(h + 4));
	assert_true(ret_end < LAYOUT_SYSTEM + 1024);
}

static void describes_the_machine(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= LIMIT_VCPUS; n++)
		check(n);
}

static void needs_memory(void **state)
{
	struct volt_err err = { 0 };
	struct gmem small;
	uint64_t end;

	(void)state;
	assert_int_equal(gmem_map(&small, 512 * KIB, NULL), 0);
	assert_int_equal(mptable_write(&small, 1, &end, &err), -EFAULT);
	assert_string_equal(err.msg, "MP table: guest memory ends below 1 MiB");
	gmem_unmap(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(describes_the_machine),
		cmocka_unit_test(needs_memory),
	};

	return cmocka_run_group_tests_name("mptable", tests, map, unmap);
}
