/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPU state before the first instruction, see regs.h. Bit names: Intel SDM volume 3A, chapters
 * 2 and 3.
 */
#include "regs.h"

#include "boot.h"
#include "kvm.h"
#include "layout.h"
#include "num.h"

#define CR0_PE UINT64_C(0x00000001)
#define CR0_ET UINT64_C(0x00000010)
#define CR0_PG UINT64_C(0x80000000)

#define CR4_PAE UINT64_C(0x20)

#define EFER_LME UINT64_C(0x100)
#define EFER_LMA UINT64_C(0x400)

#define RFLAGS_RESERVED 0x2

/* Selectors into the GDT of boot.c. */
#define SELECTOR_CODE 0x10
#define SELECTOR_DATA 0x18

#define SEGMENT_DATA 0x3 /* read, write, accessed */
#define SEGMENT_CODE 0xb /* execute, read, accessed */
#define SEGMENT_TSS  0xb /* busy; a system segment */

#define LAPIC_LVT_LINT0	  0x350
#define LAPIC_LVT_LINT1	  0x360
#define LAPIC_MODE_EXTINT UINT32_C(0x700)
#define LAPIC_MODE_NMI	  UINT32_C(0x400)
#define LAPIC_MODE_MASK	  UINT32_C(0x700)
#define LAPIC_LVT_MASKED  UINT32_C(0x10000)

static int set_fpu(int vcpufd)
{
	const struct kvm_fpu fpu = { .fcw = 0x37f, .mxcsr = 0x1f80 };

	return kvm_set_fpu(vcpufd, &fpu);
}

static void set_mode(struct kvm_lapic_state *lapic, unsigned reg, uint32_t mode)
{
	uint32_t lvt = num_get_le32(lapic->regs + reg);

	num_put_le32(lapic->regs + reg, (lvt & ~(LAPIC_MODE_MASK | LAPIC_LVT_MASKED)) | mode);
}

/* LINT0 is where a PIC would be, LINT1 the NMI: what the MP table and the MADT say. */
static int set_lapic(int vcpufd)
{
	struct kvm_lapic_state lapic;
	int r = kvm_get_lapic(vcpufd, &lapic);

	if (r < 0)
		return r;
	set_mode(&lapic, LAPIC_LVT_LINT0, LAPIC_MODE_EXTINT);
	set_mode(&lapic, LAPIC_LVT_LINT1, LAPIC_MODE_NMI);
	return kvm_set_lapic(vcpufd, &lapic);
}

static int set_sregs(int vcpufd, bool long_mode)
{
	const struct kvm_segment data = { .limit = UINT32_MAX, .selector = SELECTOR_DATA,
		.type = SEGMENT_DATA, .present = 1, .db = 1, .s = 1, .g = 1 };
	struct kvm_segment code = data;
	struct kvm_sregs s;
	int r;

	r = kvm_get_sregs(vcpufd, &s);
	if (r < 0)
		return r;
	code.selector = SELECTOR_CODE;
	code.type = SEGMENT_CODE;
	code.l = long_mode;
	code.db = !long_mode;
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.tr = (struct kvm_segment){ .limit = 0x67, .type = SEGMENT_TSS, .present = 1 };
	s.gdt = (struct kvm_dtable){ .base = LAYOUT_GDT, .limit = 4 * 8 - 1 };
	s.idt = (struct kvm_dtable){ .base = LAYOUT_IDT, .limit = 7 };
	if (long_mode) {
		s.cr0 |= CR0_PE | CR0_PG;
		s.cr3 = LAYOUT_PML4;
		s.cr4 |= CR4_PAE;
		s.efer |= EFER_LME | EFER_LMA;
	} else {
		s.cr0 = CR0_PE | CR0_ET;
		s.cr4 = 0;
	}
	return kvm_set_sregs(vcpufd, &s);
}

static int set_regs(int vcpufd, const struct boot_regs *boot)
{
	const struct kvm_regs regs = { .rip = boot->rip, .rsi = boot->rsi, .rbx = boot->rbx,
		.rsp = boot->rsp, .rbp = boot->rsp, .rflags = RFLAGS_RESERVED };

	return kvm_set_regs(vcpufd, &regs);
}

int regs_setup(int vcpufd, const struct boot_regs *boot, struct volt_err *err)
{
	int r;

	r = set_fpu(vcpufd);
	if (r < 0)
		return volt_err_set(err, -r, "set FPU: %m");
	if (boot) {
		r = set_sregs(vcpufd, boot->long_mode);
		if (r < 0)
			return volt_err_set(err, -r, "set segment and control registers: %m");
		r = set_regs(vcpufd, boot);
		if (r < 0)
			return volt_err_set(err, -r, "set general registers: %m");
	}
	r = set_lapic(vcpufd);
	if (r < 0)
		return volt_err_set(err, -r, "set local APIC: %m");
	return 0;
}
