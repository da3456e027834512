/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 64-bit ELF kernels (ELF-64 Object File Format; Xen docs/misc/pvh.pandoc for the note). Part of
 * kernel_load(), which see for errors and thread.
 */
#ifndef VOLT_VMLINUX_H
#define VOLT_VMLINUX_H

#include "kernel.h"

int vmlinux_load(int fd, uint64_t file_bytes, const struct gmem *m, struct kernel_image *ret,
	struct volt_err *err);

#endif
