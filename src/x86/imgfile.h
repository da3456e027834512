/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading an image file (kernel, initrd) that is not trusted to keep its size: every read is whole
 * or an error. Main thread, before the guest runs.
 */
#ifndef VOLT_IMGFILE_H
#define VOLT_IMGFILE_H

#include "gmem.h"

/* -EINVAL: not a regular file. */
int imgfile_size(int fd, uint64_t *ret_bytes, struct volt_err *err);

/* len bytes at `off`; `what` names them in errors. -EIO: the file ends before. */
int imgfile_read(int fd, uint64_t off, void *dst, size_t len, const char *what,
	struct volt_err *err);

/* The same, straight into guest memory, without a copy between. len may be 0. */
int imgfile_load(int fd, uint64_t off, const struct gmem *m, uint64_t gpa, uint64_t len,
	const char *what, struct volt_err *err);

/* "20 MiB", rounded up, or "77 bytes". Returns buf. */
#define IMGFILE_SIZE_TEXT 32

const char *imgfile_size_text(uint64_t bytes, char buf[IMGFILE_SIZE_TEXT]);

#endif
