/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel loader. The format is recognised by content:
 *
 *	ELF	64-bit little-endian x86-64 executable (vmlinux). PT_LOAD segments go to p_paddr.
 *		If a PT_NOTE carries XEN_ELFNOTE_PHYS32_ENTRY the kernel has a PVH entry too.
 *	bzImage	Linux boot protocol >= 2.12 with the 64-bit entry (XLF_KERNEL_64); the payload goes
 *		to pref_address and unpacks itself there.
 *
 * Segments are read straight into guest memory; headers are copied once and decided on the copy.
 * The file is not trusted: it may be truncated, change under us, or be made to hurt. Main thread,
 * before the guest runs.
 *
 * Errors: -ENOEXEC, not a kernel that can be booted here; -ENOMEM, it does not fit guest memory;
 * -EIO and what pread(2) says. The message says what, where, why and what to do.
 */
#ifndef VOLT_KERNEL_H
#define VOLT_KERNEL_H

#include <asm/bootparam.h>
#include <stdbool.h>

#include "gmem.h"

/* The boot page tables map this much, one to one. */
#define KERNEL_MAPPED GIB

struct kernel_image {
	bool bzimage;
	bool pvh;	    /* pvh_entry is valid */
	bool linux64;	    /* entry is valid: always, but for an ELF file with only a PVH entry */
	uint64_t entry;	    /* 64-bit, Documentation/x86/boot.rst "64-bit boot protocol" */
	uint64_t pvh_entry; /* 32-bit, below KERNEL_MAPPED */
	uint64_t start;	    /* lowest address used */
	uint64_t end; /* first free address above the kernel, with BSS or bzImage's init_size */
	uint64_t strings, strings_bytes; /* an ELF kernel's constants; 0 bytes: unknown */
	struct setup_header header; /* the file's for a bzImage, else what an ELF kernel expects */
};

/* fd is borrowed and may be at any position; it must be seekable. ret is set only on success. */
int kernel_load(int fd, const struct gmem *m, struct kernel_image *ret, struct volt_err *err);

/*
 * True for a bzImage or if the loaded image contains "Linux version ": a Linux kernel, which cannot
 * run where KVM is software. Reads the constants, or the whole image: cold path only.
 */
bool kernel_image_is_linux(const struct gmem *m, const struct kernel_image *image);

/*
 * True if the loaded image contains the signature of ACPI's root pointer, so that it will look for
 * it; false if not, or if it cannot be seen (bzImage). Costs the same.
 */
bool kernel_image_has_acpi(const struct gmem *m, const struct kernel_image *image);

#endif
