/* SPDX-License-Identifier: Apache-2.0 */
/* Where pmem and memory that can be plugged lie, for CPUs of all widths. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake-kvm.h"
#include "region.h"
#include "vm.h"

struct fixture {
	struct vm_config cfg;
	struct resources res;
	struct vm vm;
	struct volt_err err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_kvm_reset();
	fake_kvm.n_memslots = 512;
	resources_init(&f->res);
	f->res.kvmfd = FAKE_KVM_FD;
	f->vm.cfg = &f->cfg;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	gmem_unmap(&f->vm.mem);
	f->res.kvmfd = -1;
	resources_done(&f->res);
	free(f);
	return 0;
}

static void pmem(struct fixture *f, off_t bytes, bool read_only)
{
	static char name[] = "p";
	size_t i = f->cfg.n_pmems++;

	f->cfg.pmems[i] = (struct pmem_config){ .id = name, .read_only = read_only };
	f->res.pmemfds[i] = memfd_create("pmem", MFD_CLOEXEC);
	assert_int_equal(ftruncate(f->res.pmemfds[i], bytes), 0);
}

static void hotplug(struct fixture *f, uint64_t bytes, uint64_t block, uint64_t slot)
{
	f->cfg.hotplug = true;
	f->cfg.hotplug_bytes = bytes;
	f->cfg.hotplug_block_bytes = block;
	f->cfg.hotplug_slot_bytes = slot;
}

static int map(struct fixture *f, unsigned bits, uint64_t ram)
{
	gmem_unmap(&f->vm.mem);
	memset(&f->err, 0, sizeof(f->err));
	fake_kvm.address_bits = bits;
	assert_int_equal(gmem_map(&f->vm.mem, ram, NULL), 0);
	return region_map(&f->vm, &f->res, &f->err);
}

static void nothing_is_asked_for(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(map(f, 48, 128 * MIB), 0);
	assert_int_equal(f->vm.mem.n_regions, 1);
}

static void they_follow_each_other(void **state)
{
	struct fixture *f = *state;
	const struct gmem_region *r;

	pmem(f, 1, false);
	pmem(f, 4 * MIB + 1, true);
	hotplug(f, 256 * MIB, 2 * MIB, 128 * MIB);
	assert_int_equal(map(f, 48, 5 * GIB), 0);
	assert_int_equal(f->vm.mem.n_regions, 5);
	r = region_of_pmem(&f->vm, 0);
	assert_true(r->gpa == 512 * GIB && r->bytes == 2 * MIB && !r->read_only);
	r = region_of_pmem(&f->vm, 1);
	assert_true(r->gpa == 512 * GIB + 2 * MIB && r->bytes == 6 * MIB && r->read_only);
	r = gmem_blocks(&f->vm.mem);
	assert_true(r->gpa == 514 * GIB && r->bytes == 256 * MIB && r->block_bytes == 2 * MIB);
	assert_int_equal(region_first_slot(&f->vm), 5);
}

static void the_base_follows_cpu_and_ram(void **state)
{
	static const struct {
		unsigned eax;
		uint64_t ram, base;
	} rows[] = {
		{ 52, 128 * MIB, 512 * GIB },
		{ 40, 128 * MIB, 512 * GIB },
		{ 39, 128 * MIB, 256 * GIB },
		{ 36, 128 * MIB, 32 * GIB },
		{ 0, 128 * MIB, 32 * GIB },	     /* it does not say */
		{ 48 << 16 | 52, 128 * MIB, 512 * GIB },
		{ 39 << 16 | 46, 128 * MIB, 256 * GIB }, /* what KVM maps counts */
		{ 39, 300 * GIB, 301 * GIB },	     /* above RAM, which has a gap of 1 GiB */
		{ 46, 600 * GIB + MIB, 602 * GIB },
	};
	struct fixture *f = *state;

	pmem(f, 4096, false);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(map(f, rows[i].eax, rows[i].ram), 0);
		assert_int_equal(region_of_pmem(&f->vm, 0)->gpa, rows[i].base);
	}
}

static void what_has_no_place_is_refused(void **state)
{
	struct fixture *f = *state;

	pmem(f, 4096, false);
	assert_int_equal(map(f, 36, 63 * GIB), -ENOSPC);
	assert_non_null(strstr(f->err.msg, "pmem 'p': 2 MiB at 0x1000000000 are beyond"));
	hotplug(f, 16 * GIB, 2 * MIB, 128 * MIB);
	assert_int_equal(map(f, 36, 128 * MIB), 0);
	hotplug(f, 31 * GIB, 2 * MIB, 128 * MIB);
	assert_int_equal(map(f, 36, 128 * MIB), -ENOSPC); /* it begins at 34 GiB */
	assert_non_null(strstr(f->err.msg, "memory-hotplug: "));
	assert_int_equal(map(f, 37, 128 * MIB), 0);
	fake_kvm.n_memslots = 31 * 8 + 1; /* RAM and pmem have two */
	assert_int_equal(map(f, 37, 128 * MIB), -ENOSPC);
	assert_non_null(strstr(f->err.msg, "slot_size_mib"));
	fake_kvm.n_memslots = 31 * 8 + 2;
	assert_int_equal(map(f, 37, 128 * MIB), 0);
	assert_int_equal(ftruncate(f->res.pmemfds[0], 0), 0);
	assert_int_equal(map(f, 37, 128 * MIB), -EINVAL);
}

static void large_blocks_are_aligned(void **state)
{
	struct fixture *f = *state;

	pmem(f, 4096, false);
	hotplug(f, 16 * GIB, 8 * GIB, 8 * GIB);
	assert_int_equal(map(f, 48, 128 * MIB), 0);
	assert_int_equal(gmem_blocks(&f->vm.mem)->gpa, 520 * GIB);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(nothing_is_asked_for),
		T(they_follow_each_other),
		T(the_base_follows_cpu_and_ram),
		T(what_has_no_place_is_refused),
		T(large_blocks_are_aligned),
	};

	return cmocka_run_group_tests_name("region", tests, NULL, NULL);
}
