/* SPDX-License-Identifier: Apache-2.0 */
/* Entry state of vCPUs, and which call is named when KVM refuses it. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "boot.h"
#include "kvm.h"
#include "num.h"
#include "regs.h"

/* The KVM of this test: it keeps what it is given, and refuses the call that is named. */
static struct {
	struct kvm_fpu fpu;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvm_lapic_state lapic;
	const char *refuse;
	bool wrote_regs, wrote_sregs;
} fake;

static int answer(const char *call)
{
	return fake.refuse && strcmp(fake.refuse, call) == 0 ? -EINVAL : 0;
}

int kvm_set_fpu(int fd, const struct kvm_fpu *fpu)
{
	(void)fd;
	fake.fpu = *fpu;
	return answer("fpu");
}

int kvm_get_sregs(int fd, struct kvm_sregs *sregs)
{
	(void)fd;
	*sregs = fake.sregs;
	return answer("get_sregs");
}

int kvm_set_sregs(int fd, const struct kvm_sregs *sregs)
{
	(void)fd;
	fake.sregs = *sregs;
	fake.wrote_sregs = true;
	return answer("sregs");
}

int kvm_set_regs(int fd, const struct kvm_regs *regs)
{
	(void)fd;
	fake.regs = *regs;
	fake.wrote_regs = true;
	return answer("regs");
}

int kvm_get_lapic(int fd, struct kvm_lapic_state *lapic)
{
	(void)fd;
	*lapic = fake.lapic;
	return answer("get_lapic");
}

int kvm_set_lapic(int fd, const struct kvm_lapic_state *lapic)
{
	(void)fd;
	fake.lapic = *lapic;
	return answer("lapic");
}

static int reset(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	fake.sregs.cr0 = 0x60000010; /* as KVM resets it */
	fake.sregs.apic_base = 0xfee00900;
	num_put_le32(fake.lapic.regs + 0x350, 0x10000);
	num_put_le32(fake.lapic.regs + 0x360, 0x10000);
	return 0;
}

static void enters_long_mode(void **state)
{
	const struct boot_regs boot = { .long_mode = true, .rip = 0x1000200, .rsi = 0x7000,
		.rsp = 0x8ff0 };

	(void)state;
	assert_int_equal(regs_setup(3, &boot, NULL), 0);
	assert_int_equal(fake.regs.rip, 0x1000200);
	assert_int_equal(fake.regs.rsi, 0x7000);
	assert_int_equal(fake.regs.rsp, 0x8ff0);
	assert_int_equal(fake.regs.rbp, 0x8ff0);
	assert_int_equal(fake.regs.rflags, 2);
	assert_int_equal(fake.sregs.cr0 & 0x80000001, 0x80000001);
	assert_int_equal(fake.sregs.cr3, 0x9000);
	assert_int_equal(fake.sregs.cr4, 0x20);
	assert_int_equal(fake.sregs.efer, 0x500);
	assert_int_equal(fake.sregs.cs.selector, 0x10);
	assert_int_equal(fake.sregs.cs.l, 1);
	assert_int_equal(fake.sregs.cs.db, 0);
	assert_int_equal(fake.sregs.ss.selector, 0x18);
	assert_int_equal(fake.sregs.tr.type, 0xb);
	assert_int_equal(fake.sregs.gdt.base, 0x500);
	assert_int_equal(fake.sregs.gdt.limit, 31);
	assert_int_equal(fake.sregs.apic_base, 0xfee00900);
	assert_int_equal(fake.fpu.fcw, 0x37f);
	assert_int_equal(fake.fpu.mxcsr, 0x1f80);
	assert_int_equal(num_get_le32(fake.lapic.regs + 0x350), 0x700);
	assert_int_equal(num_get_le32(fake.lapic.regs + 0x360), 0x400);
}

static void enters_protected_mode(void **state)
{
	const struct boot_regs boot = { .rip = 0x1000850, .rbx = 0x6000, .rsp = 0x8ff0 };

	(void)state;
	assert_int_equal(regs_setup(3, &boot, NULL), 0);
	assert_int_equal(fake.regs.rbx, 0x6000);
	assert_int_equal(fake.sregs.cr0, 0x11);
	assert_int_equal(fake.sregs.cr4, 0);
	assert_int_equal(fake.sregs.efer, 0);
	assert_int_equal(fake.sregs.cs.l, 0);
	assert_int_equal(fake.sregs.cs.db, 1);
	assert_int_equal(fake.sregs.cs.limit, UINT32_MAX);
}

static void leaves_others_waiting(void **state)
{
	(void)state;
	assert_int_equal(regs_setup(3, NULL, NULL), 0);
	assert_false(fake.wrote_regs);
	assert_false(fake.wrote_sregs);
	assert_int_equal(num_get_le32(fake.lapic.regs + 0x360), 0x400);
}

static void names_the_call(void **state)
{
	static const char *const calls[][2] = {
		{ "fpu", "set FPU: Invalid argument" },
		{ "get_sregs", "set segment and control registers: Invalid argument" },
		{ "sregs", "set segment and control registers: Invalid argument" },
		{ "regs", "set general registers: Invalid argument" },
		{ "get_lapic", "set local APIC: Invalid argument" },
		{ "lapic", "set local APIC: Invalid argument" },
	};
	const struct boot_regs boot = { .long_mode = true };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		struct volt_err err = { 0 };

		fake.refuse = calls[i][0];
		assert_int_equal(regs_setup(3, &boot, &err), -EINVAL);
		assert_string_equal(err.msg, calls[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(enters_long_mode, reset),
		cmocka_unit_test_setup(enters_protected_mode, reset),
		cmocka_unit_test_setup(leaves_others_waiting, reset),
		cmocka_unit_test_setup(names_the_call, reset),
	};

	return cmocka_run_group_tests_name("regs", tests, NULL, NULL);
}
