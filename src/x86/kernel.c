/* SPDX-License-Identifier: Apache-2.0 */
/* Which format a kernel file has, see kernel.h. */
#include "kernel.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "bzimage.h"
#include "imgfile.h"
#include "vmlinux.h"

#define HEAD_BYTES 0x210

/* Formats that we know and do not boot, by the bytes at `offset`. The first that matches counts. */
static const struct format {
	unsigned offset, len;
	const char *magic;
	const char *name, *advice;
} formats[] = {
	{ 0x38, 4, "ARM\x64", "an arm64 Image", "give an x86-64 vmlinux or bzImage" },
	{ 0x38, 4, "RSC\x05", "a RISC-V Image", "give an x86-64 vmlinux or bzImage" },
	{ 4, 4, "zimg", "an EFI zboot image", "give a vmlinux or bzImage" },
	{ 0, 2, "MZ", "an EFI program without a Linux setup header",
		"give the vmlinux or bzImage that is in it" },
	{ 0, 2, "\x1f\x8b", "compressed with gzip", "unpack it with gunzip" },
	{ 0, 6, "\xfd\x37zXZ\0", "compressed with xz", "unpack it with unxz" },
	{ 0, 4, "\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with unzstd" },
	{ 0, 4, "\x04\x22\x4d\x18", "compressed with lz4", "unpack it with unlz4" },
	{ 0, 4, "\x02\x21\x4c\x18", "compressed with lz4", "unpack it with unlz4" },
	{ 0, 4, "\x89LZO", "compressed with lzop", "unpack it with lzop -d" },
	{ 0, 3, "BZh", "compressed with bzip2", "unpack it with bunzip2" },
	{ 0, 3, "\x5d\0\0", "compressed with lzma", "unpack it with unlzma" },
	{ 0, 4, "\x27\x05\x19\x56", "a U-Boot uImage", "give a vmlinux or bzImage" },
	{ 0, 5, "07070", "a cpio archive", "it is an initrd, not a kernel" },
	{ 0, 2, "#!", "a script", "give a vmlinux or bzImage" },
};

static int refuse(const uint8_t *head, size_t len, struct volt_err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		const struct format *f = &formats[i];

		if (len >= f->offset + f->len && memcmp(head + f->offset, f->magic, f->len) == 0)
			return volt_err_set(err, ENOEXEC, "the file is %s: %s", f->name, f->advice);
	}
	return volt_err_set(err, ENOEXEC,
		"neither an ELF vmlinux nor a bzImage (it starts with %02x %02x %02x %02x)",
		head[0], head[1], head[2], head[3]);
}

static int load(int fd, const struct gmem *m, struct kernel_image *ret, struct volt_err *err)
{
	uint8_t head[HEAD_BYTES] = { 0 };
	uint64_t bytes;
	size_t len;
	int r;

	r = imgfile_size(fd, &bytes, err);
	if (r < 0)
		return r;
	if (bytes < sizeof(Elf64_Ehdr))
		return volt_err_set(err, ENOEXEC, "the file has %llu bytes, too few for a kernel",
			(unsigned long long)bytes);
	len = (size_t)MIN(bytes, (uint64_t)sizeof(head));
	r = imgfile_read(fd, 0, head, len, "the first sector", err);
	if (r < 0)
		return r;
	if (memcmp(head, ELFMAG, SELFMAG) == 0)
		return vmlinux_load(fd, bytes, m, ret, err);
	if (bzimage_detect(head, len))
		return bzimage_load(fd, bytes, m, ret, err);
	return refuse(head, len, err);
}

int kernel_load(int fd, const struct gmem *m, struct kernel_image *ret, struct volt_err *err)
{
	int r = load(fd, m, ret, err);

	return r < 0 ? volt_err_wrap(err, "kernel") : 0;
}

/*
 * Does the loaded ELF image contain `text`? A bzImage is compressed: false. A whole vmlinux takes
 * several milliseconds to search, its constants a fraction of one.
 */
static bool contains(const struct gmem *m, const struct kernel_image *image, const char *text)
{
	uint64_t at = image->strings_bytes ? image->strings : image->start;
	uint64_t bytes = image->strings_bytes ? image->strings_bytes : image->end - image->start;
	struct iovec all;

	if (image->bzimage || gmem_slice(m, GPA(at), bytes, &all) < 0)
		return false;
	return memmem(all.iov_base, all.iov_len, text, strlen(text)) != NULL;
}

bool kernel_image_is_linux(const struct gmem *m, const struct kernel_image *image)
{
	return image->bzimage || contains(m, image, "Linux version ");
}

bool kernel_image_has_acpi(const struct gmem *m, const struct kernel_image *image)
{
	return contains(m, image, "RSD PTR ");
}
