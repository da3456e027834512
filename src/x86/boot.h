/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel finds in low memory when it starts: memory map, command line, initrd and RSDP, in
 * the Linux zero page (Documentation/x86/boot.rst, zero-page.rst) or in the PVH start info (Xen
 * include/public/arch-x86/hvm/start_info.h), and the GDT and page tables of the entry state.
 * Main thread, before the guest runs.
 */
#ifndef VOLT_BOOT_H
#define VOLT_BOOT_H

#include <stdbool.h>

#include "gmem.h"

struct initrd;
struct kernel_image;

struct boot_params_in {
	const struct kernel_image *kernel;
	const struct initrd *initrd; /* NULL: none */
	const char *cmdline;	     /* complete; fewer than LIMIT_CMDLINE bytes */
	bool acpi;		     /* the RSDP is at LAYOUT_RSDP */
	bool prefer_linux64;	     /* the 64-bit entry even if the kernel has a PVH one */
};

/* Entry state of the boot processor, for regs_setup(). */
struct boot_regs {
	bool long_mode; /* else 32-bit protected mode without paging (PVH) */
	uint64_t rip;
	uint64_t rsi; /* zero page, long mode */
	uint64_t rbx; /* start info, PVH */
	uint64_t rsp;
};

/*
 * -ENOEXEC: the kernel lacks the wanted entry; -E2BIG: command line; -EFAULT: less than 1 MiB
 * of RAM.
 */
int boot_write(const struct gmem *m, const struct boot_params_in *in, struct boot_regs *ret,
	struct volt_err *err);

#endif
