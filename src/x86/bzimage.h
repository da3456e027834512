/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux bzImage (Documentation/x86/boot.rst). Part of kernel_load(), which see for errors and
 * thread.
 *
 * Where the payload goes: to the header's pref_address. The 64-bit entry of a relocatable kernel
 * unpacks to its own address, or to pref_address if that is higher; a kernel that is not
 * relocatable unpacks to pref_address. So memory from pref_address to pref_address + init_size is
 * used in any case, and a payload put there costs no page besides: at 1 MiB it would touch as many
 * more pages as it is long (14 MiB for a distribution kernel), each a fault in the host.
 */
#ifndef VOLT_BZIMAGE_H
#define VOLT_BZIMAGE_H

#include "kernel.h"

/* Where the setup header is in the file, and in the zero page. */
#define BZIMAGE_HEADER 0x1f1

/* True if the first `len` bytes of a file have the magic of a setup header. */
bool bzimage_detect(const uint8_t *head, size_t len);

int bzimage_load(int fd, uint64_t file_bytes, const struct gmem *m, struct kernel_image *ret,
	struct volt_err *err);

#endif
