/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small kernel files for tests: a valid vmlinux and a valid bzImage, to be damaged by the caller.
 * The addresses are parameters, so that a fuzz target can work with little guest memory.
 */
#ifndef VOLT_KERNEL_IMAGE_H
#define VOLT_KERNEL_IMAGE_H

#include <asm/bootparam.h>
#include <elf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "compiler.h"

#define IMAGE_MAX 0x1700

struct image {
	uint8_t bytes[IMAGE_MAX];
	size_t len;
};

/* ELF: two segments with data, one note segment. Offsets for patches. */
#define ELF_PHDR(i)	  (sizeof(Elf64_Ehdr) + (i) * sizeof(Elf64_Phdr))
#define ELF_EHDR_AT(f)	  offsetof(Elf64_Ehdr, f)
#define ELF_PHDR_AT(i, f) (ELF_PHDR(i) + offsetof(Elf64_Phdr, f))
#define ELF_TEXT	  0x1000 /* file offset of segment 0 */
#define ELF_TEXT_BYTES	  0x400
#define ELF_DATA	  0x1400
#define ELF_DATA_BYTES	  0x100
#define ELF_BSS_BYTES	  0x1f00
#define ELF_NOTES	  0x1500
#define ELF_NOTE_1	  (ELF_NOTES + 20) /* the second note: the first is 12 + 4 + 4 long */
#define ELF_NOTES_BYTES	  (20 + 12 + 4 + 8)
#define ELF_LEN		  0x1600

static inline void image_pattern(struct image *img, size_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		img->bytes[at + i] = (uint8_t)(1 + (at + i) * 7 % 251);
}

/* text: physical address of segment 0; segment 1 is `gap` behind it. */
static inline void image_elf(struct image *img, uint64_t text, uint64_t gap)
{
	const Elf64_Ehdr h = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = text + 0x10,
		.e_phoff = ELF_PHDR(0),
		.e_ehsize = sizeof(h),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 3,
	};
	const Elf64_Phdr p[] = {
		{ .p_type = PT_LOAD, .p_offset = ELF_TEXT, .p_paddr = text,
			.p_filesz = ELF_TEXT_BYTES, .p_memsz = ELF_TEXT_BYTES },
		{ .p_type = PT_LOAD, .p_offset = ELF_DATA, .p_paddr = text + gap,
			.p_filesz = ELF_DATA_BYTES, .p_memsz = ELF_DATA_BYTES + ELF_BSS_BYTES },
		{ .p_type = PT_NOTE, .p_offset = ELF_NOTES, .p_filesz = ELF_NOTES_BYTES,
			.p_memsz = ELF_NOTES_BYTES, .p_align = 4 },
	};
	const struct {
		Elf64_Nhdr first;
		char first_name[4];
		uint32_t first_desc;
		Elf64_Nhdr pvh;
		char pvh_name[4];
		uint32_t pvh_desc[2];
	} notes = { { 4, 4, 3 }, "GNU", 7, { 4, 8, 18 }, "Xen", { (uint32_t)text + 0x20, 0 } };

	memset(img, 0, sizeof(*img));
	img->len = ELF_LEN;
	image_pattern(img, ELF_TEXT, ELF_LEN - ELF_TEXT);
	memcpy(img->bytes, &h, sizeof(h));
	memcpy(img->bytes + h.e_phoff, p, sizeof(p));
	memcpy(img->bytes + ELF_TEXT + 0x80, "Linux version 6.1", 17);
	memcpy(img->bytes + ELF_NOTES, &notes, sizeof(notes));
}

#define BZ_AT(f)	 (0x1f1 + offsetof(struct setup_header, f))
#define BZ_PAYLOAD	 0x600 /* boot sector and two sectors of setup */
#define BZ_PAYLOAD_BYTES 0x800

static inline void image_bzimage(struct image *img, uint64_t pref_address, uint32_t init_size)
{
	const struct setup_header h = {
		.setup_sects = 2,
		.syssize = BZ_PAYLOAD_BYTES / 16,
		.boot_flag = 0xaa55,
		.jump = 0x6aeb, /* the header ends 0x6a behind 0x202 */
		.header = 0x53726448,
		.version = 0x020f,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x1000,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,
		.pref_address = pref_address,
		.init_size = init_size,
	};

	memset(img, 0, sizeof(*img));
	img->len = BZ_PAYLOAD + BZ_PAYLOAD_BYTES;
	image_pattern(img, 0, img->len);
	img->bytes[0] = 'M';
	img->bytes[1] = 'Z';
	memcpy(img->bytes + 0x1f1, &h, sizeof(h));
}

static inline void image_patch(struct image *img, size_t at, size_t width, uint64_t value)
{
	memcpy(img->bytes + at, &value, width);
}

/* A file with these bytes; the caller closes it. */
static inline int image_fd(const struct image *img)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	if (fd >= 0 && pwrite(fd, img->bytes, img->len, 0) != (ssize_t)img->len) {
		close(fd);
		return -1;
	}
	return fd;
}

#endif
