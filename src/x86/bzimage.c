/* SPDX-License-Identifier: Apache-2.0 */
/* Linux bzImage, see bzimage.h. */
#include "bzimage.h"

#include <errno.h>
#include <string.h>

#include "imgfile.h"
#include "layout.h"
#include "num.h"

#define BOOT_FLAG_OFFSET   0x1fe
#define HEADER_LEN_OFFSET  0x201 /* the header ends this many bytes behind 0x202 */
#define HEADER_MAGIC	   0x202
#define HEADER_MAGIC_VALUE 0x53726448 /* "HdrS" */
#define BOOT_FLAG_VALUE	   0xaa55
#define VERSION_MIN	   0x020c /* xloadflags */
#define SECTOR		   512
#define ENTRY64		   0x200
#define PARAGRAPH	   16

bool bzimage_detect(const uint8_t *head, size_t len)
{
	return len >= HEADER_MAGIC + 4 &&
		num_get_le16(head + BOOT_FLAG_OFFSET) == BOOT_FLAG_VALUE &&
		num_get_le32(head + HEADER_MAGIC) == HEADER_MAGIC_VALUE;
}

/* Copies the setup header, as much of it as this kernel has. */
static int read_header(int fd, struct setup_header *h, struct volt_err *err)
{
	uint8_t raw[HEADER_MAGIC + 0x100];
	size_t end;
	int r;

	memset(h, 0, sizeof(*h));
	r = imgfile_read(fd, 0, raw, HEADER_MAGIC + 6, "the bzImage setup header", err);
	if (r < 0)
		return r;
	memcpy(h, raw + BZIMAGE_HEADER, HEADER_MAGIC + 6 - BZIMAGE_HEADER);
	if (h->version < VERSION_MIN)
		return volt_err_set(err, ENOEXEC,
			"bzImage has boot protocol %u.%02u, 2.12 is needed: give a kernel of Linux "
			"3.8 or later",
			h->version >> 8, h->version & 0xffu);
	end = HEADER_MAGIC + (size_t)raw[HEADER_LEN_OFFSET];
	if (end - BZIMAGE_HEADER < offsetof(struct setup_header, handover_offset))
		return volt_err_set(err, ENOEXEC,
			"bzImage setup header of %zu bytes is too short for boot protocol 2.12",
			end - BZIMAGE_HEADER);
	end = MIN(end, BZIMAGE_HEADER + sizeof(*h));
	r = imgfile_read(fd, 0, raw, end, "the bzImage setup header", err);
	if (r < 0)
		return r;
	memcpy(h, raw + BZIMAGE_HEADER, end - BZIMAGE_HEADER);
	return 0;
}

static int check_header(const struct setup_header *h, struct volt_err *err)
{
	if (h->version < VERSION_MIN || h->header != HEADER_MAGIC_VALUE)
		return volt_err_set(err, ENOEXEC, "bzImage setup header changed while it was read");
	if (!(h->loadflags & LOADED_HIGH))
		return volt_err_set(err, ENOEXEC,
			"this is a zImage (it loads below 1 MiB): give a bzImage");
	if (!(h->xloadflags & XLF_KERNEL_64))
		return volt_err_set(err, ENOEXEC,
			"bzImage does not provide a 64-bit entry point (XLF_KERNEL_64): it is a "
			"32-bit kernel; give an x86-64 one");
	if (h->pref_address < LAYOUT_HIGH_RAM_START)
		return volt_err_set(err, ENOEXEC,
			"bzImage pref_address 0x%llx is below 1 MiB, where the boot data is",
			(unsigned long long)h->pref_address);
	if (!IS_POW2(h->kernel_alignment) || h->pref_address % h->kernel_alignment != 0)
		return volt_err_set(err, ENOEXEC,
			"bzImage pref_address 0x%llx is not a multiple of its kernel_alignment "
			"0x%x",
			(unsigned long long)h->pref_address, h->kernel_alignment);
	return 0;
}

/* Where the payload is in the file, and that it has room in guest memory. */
static int place(const struct setup_header *h, uint64_t file_bytes, const struct gmem *m,
	uint64_t *ret_off, uint64_t *ret_len, uint64_t *ret_end, struct volt_err *err)
{
	unsigned sects = h->setup_sects ? h->setup_sects : 4; /* 0 means 4 */
	uint64_t off = (sects + 1) * SECTOR;
	uint64_t len = (uint64_t)h->syssize * PARAGRAPH, need, low_end = gmem_low_end(m);
	char size[IMGFILE_SIZE_TEXT], ram[IMGFILE_SIZE_TEXT];

	if (len <= ENTRY64)
		return volt_err_set(err, ENOEXEC, "bzImage has a payload of only %llu bytes",
			(unsigned long long)len);
	/* syssize is rounded up, the file need not be. */
	if (file_bytes < off || file_bytes - off + PARAGRAPH <= len)
		return volt_err_set(err, ENOEXEC,
			"bzImage payload, 0x%llx bytes at offset 0x%llx, is behind the end of the "
			"file (%llu bytes): it is truncated",
			(unsigned long long)len, (unsigned long long)off,
			(unsigned long long)file_bytes);
	len = MIN(len, file_bytes - off);
	need = MAX(len, (uint64_t)h->init_size);
	if (h->pref_address >= KERNEL_MAPPED || need > KERNEL_MAPPED - h->pref_address)
		return volt_err_set(err, ENOEXEC,
			"bzImage at 0x%llx (%s) is not wholly below 1 GiB, which the boot page "
			"tables map",
			(unsigned long long)h->pref_address, imgfile_size_text(need, size));
	if (h->pref_address > low_end || need > low_end - h->pref_address)
		return volt_err_set(err, ENOMEM,
			"bzImage at 0x%llx needs %s to unpack, which does not fit in %s of guest "
			"memory: give the guest more memory",
			(unsigned long long)h->pref_address, imgfile_size_text(need, size),
			imgfile_size_text(low_end, ram));
	*ret_off = off;
	*ret_len = len;
	*ret_end = h->pref_address + need;
	return 0;
}

int bzimage_load(int fd, uint64_t file_bytes, const struct gmem *m, struct kernel_image *ret,
	struct volt_err *err)
{
	struct kernel_image image = { .bzimage = true, .linux64 = true };
	uint64_t off, len;
	int r;

	r = read_header(fd, &image.header, err);
	if (r < 0)
		return r;
	r = check_header(&image.header, err);
	if (r < 0)
		return r;
	r = place(&image.header, file_bytes, m, &off, &len, &image.end, err);
	if (r < 0)
		return r;
	image.start = image.header.pref_address;
	image.entry = image.start + ENTRY64;
	r = imgfile_load(fd, off, m, image.start, len, "the bzImage payload", err);
	if (r < 0)
		return r;
	*ret = image;
	return 0;
}
