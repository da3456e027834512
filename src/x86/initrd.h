/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The initial RAM disk: read to the highest page-aligned place below the MMIO gap (and below what
 * the kernel's header allows) that does not touch the kernel. Main thread, before the guest runs.
 */
#ifndef VOLT_INITRD_H
#define VOLT_INITRD_H

#include "gmem.h"

struct kernel_image;

struct initrd {
	uint64_t gpa, bytes;
};

/*
 * fd is borrowed, a seekable file. -ENOMEM: it does not fit above the kernel, and by how much;
 * -EINVAL: empty file; -EIO: the file became shorter.
 */
int initrd_load(int fd, const struct gmem *m, const struct kernel_image *kernel,
	struct initrd *ret, struct volt_err *err);

#endif
