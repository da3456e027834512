/* SPDX-License-Identifier: Apache-2.0 */
/* The initial RAM disk, see initrd.h. */
#include "initrd.h"

#include <errno.h>

#include "imgfile.h"
#include "kernel.h"

#define PAGE (4 * KIB)

static int place(uint64_t bytes, uint64_t top, uint64_t kernel_end, uint64_t *ret_gpa,
	struct volt_err *err)
{
	uint64_t floor = ALIGN_UP(kernel_end, PAGE), room = top > floor ? top - floor : 0;
	char size[IMGFILE_SIZE_TEXT], have[IMGFILE_SIZE_TEXT], lack[IMGFILE_SIZE_TEXT];

	if (bytes > room)
		return volt_err_set(err, ENOMEM,
			"%s do not fit between the kernel's end 0x%llx and 0x%llx (%s): %s are "
			"missing, give the guest more memory",
			imgfile_size_text(bytes, size), (unsigned long long)kernel_end,
			(unsigned long long)top, imgfile_size_text(room, have),
			imgfile_size_text(bytes - room, lack));
	*ret_gpa = (top - bytes) & ~(PAGE - 1);
	return 0;
}

static int load(int fd, const struct gmem *m, const struct kernel_image *kernel,
	struct initrd *ret, struct volt_err *err)
{
	uint64_t bytes, gpa, top;
	int r;

	r = imgfile_size(fd, &bytes, err);
	if (r < 0)
		return r;
	if (bytes == 0)
		return volt_err_set(err, EINVAL, "the file is empty");
	top = MIN(gmem_low_end(m), (uint64_t)kernel->header.initrd_addr_max + 1) & ~(PAGE - 1);
	r = place(bytes, top, kernel->end, &gpa, err);
	if (r < 0)
		return r;
	r = imgfile_load(fd, 0, m, gpa, bytes, "the initrd", err);
	if (r < 0)
		return r;
	*ret = (struct initrd){ .gpa = gpa, .bytes = bytes };
	return 0;
}

int initrd_load(int fd, const struct gmem *m, const struct kernel_image *kernel,
	struct initrd *ret, struct volt_err *err)
{
	int r = load(fd, m, kernel, ret, err);

	return r < 0 ? volt_err_wrap(err, "initrd") : 0;
}
