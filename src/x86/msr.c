/* SPDX-License-Identifier: Apache-2.0 */
/* Model-specific registers at boot, see msr.h. Numbers: Intel SDM volume 4. */
#include "msr.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "kvm.h"

static const struct {
	uint32_t index;
	uint64_t value;
	const char *name;
} boot_msrs[] = {
	{ 0x00000174, 0, "IA32_SYSENTER_CS" },
	{ 0x00000175, 0, "IA32_SYSENTER_ESP" },
	{ 0x00000176, 0, "IA32_SYSENTER_EIP" },
	{ 0xc0000081, 0, "STAR" },
	{ 0xc0000083, 0, "CSTAR" },
	{ 0xc0000102, 0, "KERNEL_GS_BASE" },
	{ 0xc0000084, 0, "SYSCALL_MASK" },
	{ 0xc0000082, 0, "LSTAR" },
	{ 0x00000010, 0, "IA32_TSC" },
	{ 0x000001a0, 1, "IA32_MISC_ENABLE" },	  /* fast strings */
	{ 0x000002ff, 0x806, "IA32_MTRR_DEF_TYPE" }, /* enabled, write-back by default */
};

/* KVM takes up to 255 at a time. */
#define CHUNK 64

struct chunk { /* struct kvm_msrs with its entries */
	uint32_t n, padding;
	struct kvm_msr_entry entries[CHUNK];
};

static_assert(offsetof(struct chunk, entries) == offsetof(struct kvm_msrs, entries),
	"struct kvm_msrs");
static_assert(ARRAY_SIZE(boot_msrs) <= CHUNK, "");

static ssize_t transfer(int vcpufd, struct kvm_msr_entry *entries, size_t n, bool set)
{
	size_t done = 0;

	while (done < n) {
		struct chunk c = { .n = (uint32_t)MIN(n - done, (size_t)CHUNK) };
		struct kvm_msrs *msrs = (struct kvm_msrs *)(void *)&c;
		int r;

		memcpy(c.entries, entries + done, c.n * sizeof(c.entries[0]));
		r = set ? kvm_set_msrs(vcpufd, msrs) : kvm_get_msrs(vcpufd, msrs);
		if (r < 0)
			return r;
		memcpy(entries + done, c.entries, (size_t)r * sizeof(c.entries[0]));
		done += (size_t)r;
		if ((uint32_t)r < c.n)
			break;
	}
	return (ssize_t)done;
}

ssize_t msr_get(int vcpufd, struct kvm_msr_entry *entries, size_t n)
{
	return transfer(vcpufd, entries, n, false);
}

ssize_t msr_set(int vcpufd, struct kvm_msr_entry *entries, size_t n)
{
	return transfer(vcpufd, entries, n, true);
}

int msr_setup(int vcpufd, struct volt_err *err)
{
	struct kvm_msr_entry entries[ARRAY_SIZE(boot_msrs)];
	ssize_t n;

	for (size_t i = 0; i < ARRAY_SIZE(boot_msrs); i++)
		entries[i] = (struct kvm_msr_entry){ .index = boot_msrs[i].index,
			.data = boot_msrs[i].value };
	n = msr_set(vcpufd, entries, ARRAY_SIZE(boot_msrs));
	if (n < 0)
		return volt_err_set(err, (int)-n, "set MSRs: %m");
	if ((size_t)n < ARRAY_SIZE(boot_msrs))
		return volt_err_set(err, EIO, "KVM refuses to set MSR 0x%x (%s) to 0x%llx",
			boot_msrs[n].index, boot_msrs[n].name,
			(unsigned long long)boot_msrs[n].value);
	return 0;
}
