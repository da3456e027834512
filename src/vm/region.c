/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory besides RAM, see region.h. */
#include "region.h"

#include <errno.h>
#include <unistd.h>

#include "cpuid.h"
#include "kvm.h"
#include "layout.h"
#include "vm.h"

#define FILE_ALIGN  (2 * MIB) /* gmem.h */
#define BLOCK_ALIGN (2 * GIB) /* the largest unit in which Linux adds memory on x86 */

/*
 * Where to begin, and where the guest's addresses end. CPUs with 39 bits, which desktops have, do
 * not reach 512 GiB: then the upper half of what they reach is taken, which RAM leaves free as long
 * as it is not larger than that.
 */
static uint64_t start_of(const struct vm *vm, int kvmfd, uint64_t *ret_end)
{
	const struct gmem_region *last = &vm->mem.regions[vm->mem.n_regions - 1];
	unsigned bits = MIN(cpuid_address_bits(kvmfd), 52u);

	*ret_end = UINT64_C(1) << bits;
	return MAX(MIN(LAYOUT_HOTPLUG, *ret_end / 2), ALIGN_UP(last->gpa + last->bytes, GIB));
}

static int check_end(uint64_t at, uint64_t bytes, uint64_t end, struct volt_err *err)
{
	if (at <= end && bytes <= end - at)
		return 0;
	return volt_err_set(err, ENOSPC,
		"%llu MiB at 0x%llx are beyond the last address that this CPU gives a guest, "
		"0x%llx: make them, or the guest's memory, smaller",
		(unsigned long long)(bytes / MIB), (unsigned long long)at,
		(unsigned long long)(end - 1));
}

static int map_pmem(struct vm *vm, int fd, uint64_t end, uint64_t *at, bool read_only,
	struct volt_err *err)
{
	off_t bytes = lseek(fd, 0, SEEK_END);
	int r;

	if (bytes <= 0)
		return volt_err_set(err, EINVAL, "the file has become empty");
	r = check_end(*at, ALIGN_UP((uint64_t)bytes, FILE_ALIGN), end, err);
	if (r == 0)
		r = gmem_add_file(&vm->mem, *at, fd, (uint64_t)bytes, read_only, err);
	*at += ALIGN_UP((uint64_t)bytes, FILE_ALIGN);
	return r;
}

static int map_blocks(struct vm *vm, int kvmfd, uint64_t at, uint64_t end, struct volt_err *err)
{
	const struct vm_config *cfg = vm->cfg;
	uint64_t slots = cfg->hotplug_bytes / cfg->hotplug_slot_bytes;
	int slots_max = kvm_check_extension(kvmfd, KVM_CAP_NR_MEMSLOTS);
	int r;

	at = ALIGN_UP(at, MAX(BLOCK_ALIGN, cfg->hotplug_block_bytes));
	r = check_end(at, cfg->hotplug_bytes, end, err);
	if (r < 0)
		return r;
	if (slots_max > 0 && slots + vm->mem.n_regions > (uint64_t)slots_max)
		return volt_err_set(err, ENOSPC,
			"%llu slots are more than the host's KVM has, %d: give a larger "
			"slot_size_mib",
			(unsigned long long)slots, slots_max);
	return gmem_add_blocks(&vm->mem, at, cfg->hotplug_bytes, cfg->hotplug_block_bytes, err);
}

int region_map(struct vm *vm, const struct resources *res, struct volt_err *err)
{
	const struct vm_config *cfg = vm->cfg;
	uint64_t at, end;

	if (cfg->n_pmems == 0 && !cfg->hotplug)
		return 0;
	at = start_of(vm, res->kvmfd, &end);
	for (size_t i = 0; i < cfg->n_pmems; i++)
		if (map_pmem(vm, res->pmemfds[i], end, &at, cfg->pmems[i].read_only, err) < 0)
			return volt_err_wrap(err, "pmem '%s'", cfg->pmems[i].id);
	if (cfg->hotplug && map_blocks(vm, res->kvmfd, at, end, err) < 0)
		return volt_err_wrap(err, "memory-hotplug");
	return 0;
}

const struct gmem_region *region_of_pmem(const struct vm *vm, size_t i)
{
	size_t n_ram = 0;

	while (vm->mem.regions[n_ram].kind == GMEM_RAM)
		n_ram++;
	return &vm->mem.regions[n_ram + i];
}

uint32_t region_first_slot(const struct vm *vm)
{
	return (uint32_t)vm->mem.n_regions;
}
