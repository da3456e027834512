/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel and initrd loaders: what is loaded where, and one message for each way a file can be
 * wrong.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "cleanup.h"
#include "initrd.h"
#include "kernel-image.h"
#include "kernel.h"

#define RAM  (16 * MIB)
#define TEXT 0x200000
#define GAP  0x100000
#define PREF 0x400000
#define INIT 0x10000

static struct gmem ram;

static int map(void **state)
{
	(void)state;
	return gmem_map(&ram, RAM, NULL);
}

static int unmap(void **state)
{
	(void)state;
	gmem_unmap(&ram);
	return 0;
}

static int load(const struct image *img, struct kernel_image *k, struct volt_err *err)
{
	_cleanup_close_ int fd = image_fd(img);

	assert_true(fd >= 0);
	*err = (struct volt_err){ 0 };
	return kernel_load(fd, &ram, k, err);
}

static void assert_ram(uint64_t gpa, const uint8_t *want, size_t len)
{
	struct iovec v;

	assert_int_equal(gmem_slice(&ram, GPA(gpa), len, &v), 0);
	assert_memory_equal(v.iov_base, want, len);
}

static void assert_all(uint64_t gpa, uint8_t byte, size_t len)
{
	struct iovec v;

	assert_int_equal(gmem_slice(&ram, GPA(gpa), len, &v), 0);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(((uint8_t *)v.iov_base)[i], byte);
}

static void loads_vmlinux(void **state)
{
	struct kernel_image k;
	struct volt_err err;
	struct image img;

	(void)state;
	assert_int_equal(gmem_fill(&ram, GPA(0), 0xee, RAM), 0);
	image_elf(&img, TEXT, GAP);
	assert_int_equal(load(&img, &k, &err), 0);
	assert_false(k.bzimage);
	assert_true(k.linux64);
	assert_true(k.pvh);
	assert_int_equal(k.entry, TEXT + 0x10);
	assert_int_equal(k.pvh_entry, TEXT + 0x20);
	assert_int_equal(k.start, TEXT);
	assert_int_equal(k.end, TEXT + GAP + ELF_DATA_BYTES + ELF_BSS_BYTES);
	assert_int_equal(k.header.boot_flag, 0xaa55);
	assert_int_equal(k.header.kernel_alignment, 0x1000000);
	assert_true(kernel_image_is_linux(&ram, &k));
	assert_false(kernel_image_has_acpi(&ram, &k));
	assert_int_equal(gmem_write(&ram, GPA(k.end - 8), "RSD PTR ", 8), 0);
	assert_true(kernel_image_has_acpi(&ram, &k));
	assert_int_equal(gmem_fill(&ram, GPA(k.end - 8), 0, 8), 0);

	assert_all(0, 0xee, TEXT);
	assert_ram(TEXT, img.bytes + ELF_TEXT, ELF_TEXT_BYTES);
	assert_all(TEXT + ELF_TEXT_BYTES, 0xee, GAP - ELF_TEXT_BYTES);
	assert_ram(TEXT + GAP, img.bytes + ELF_DATA, ELF_DATA_BYTES);
	assert_all(TEXT + GAP + ELF_DATA_BYTES, 0, ELF_BSS_BYTES);
	assert_all(k.end, 0xee, RAM - k.end);
}

/* Appends a section table: .rodata at file offset `off`, and the names. */
static void add_sections(struct image *img, uint64_t off, uint64_t bytes)
{
	static const char names[] = "\0.shstrtab\0.rodata";
	const Elf64_Shdr table[] = {
		{ 0 },
		{ .sh_name = 11, .sh_type = SHT_PROGBITS, .sh_offset = off, .sh_size = bytes },
		{ .sh_name = 1, .sh_type = SHT_STRTAB, .sh_offset = ELF_LEN,
			.sh_size = sizeof(names) },
	};
	Elf64_Ehdr h;

	static_assert(ELF_LEN + 0x20 + sizeof(table) <= IMAGE_MAX, "");
	memcpy(&h, img->bytes, sizeof(h));
	h.e_shoff = ELF_LEN + 0x20;
	h.e_shentsize = sizeof(table[0]);
	h.e_shnum = ARRAY_SIZE(table);
	h.e_shstrndx = 2;
	memcpy(img->bytes, &h, sizeof(h));
	memcpy(img->bytes + ELF_LEN, names, sizeof(names));
	memcpy(img->bytes + h.e_shoff, table, sizeof(table));
	img->len = h.e_shoff + sizeof(table);
}

static void searches_the_constants_only(void **state)
{
	struct kernel_image k;
	struct volt_err err;
	struct image img;

	(void)state;
	image_elf(&img, TEXT, GAP);
	memcpy(img.bytes + ELF_DATA + 0x20, "RSD PTR ", 8);
	add_sections(&img, ELF_DATA + 0x10, 0x30);
	assert_int_equal(load(&img, &k, &err), 0);
	assert_int_equal(k.strings, TEXT + GAP + 0x10);
	assert_int_equal(k.strings_bytes, 0x30);
	assert_true(kernel_image_has_acpi(&ram, &k));
	assert_false(kernel_image_is_linux(&ram, &k)); /* that text is in another section */
	/* What no segment holds, or no file has, is not believed: all is searched. */
	for (uint64_t bytes = ELF_LEN; bytes; bytes = bytes == ELF_LEN ? UINT64_MAX : 0) {
		add_sections(&img, ELF_DATA + 0x10, bytes);
		assert_int_equal(load(&img, &k, &err), 0);
		assert_int_equal(k.strings_bytes, 0);
		assert_true(kernel_image_is_linux(&ram, &k));
	}
	for (unsigned i = 0; i < 64; i++) {
		img.bytes[ELF_EHDR_AT(e_shoff) + i % 8] ^= (uint8_t)(1 + i);
		img.bytes[ELF_EHDR_AT(e_shstrndx)] = (uint8_t)i;
		assert_int_equal(load(&img, &k, &err), 0);
	}
}

static void finds_entries(void **state)
{
	struct kernel_image k;
	struct volt_err err;
	struct image img;

	(void)state;
	image_elf(&img, TEXT, GAP);
	image_patch(&img, ELF_NOTE_1 + 8, 4, 17); /* another type of Xen note */
	assert_int_equal(load(&img, &k, &err), 0);
	assert_false(k.pvh);
	assert_true(k.linux64);

	image_elf(&img, TEXT, GAP);
	image_patch(&img, ELF_NOTE_1 + 12, 1, 'x'); /* another's type 18 */
	assert_int_equal(load(&img, &k, &err), 0);
	assert_false(k.pvh);

	image_elf(&img, TEXT, GAP);
	image_patch(&img, ELF_NOTE_1 + 4, 4, 4); /* a 32-bit entry */
	image_patch(&img, ELF_PHDR_AT(2, p_filesz), 8, ELF_NOTES_BYTES - 4);
	assert_int_equal(load(&img, &k, &err), 0);
	assert_true(k.pvh);
	assert_int_equal(k.pvh_entry, TEXT + 0x20);

	image_elf(&img, TEXT, GAP); /* a virtual entry address: PVH only */
	image_patch(&img, ELF_EHDR_AT(e_entry), 8, 0xffffffff81000000);
	assert_int_equal(load(&img, &k, &err), 0);
	assert_true(k.pvh);
	assert_false(k.linux64);
	assert_int_equal(k.entry, 0);
}

static void ignores_empty_segments(void **state)
{
	struct kernel_image k;
	struct volt_err err;
	struct image img;

	(void)state;
	image_elf(&img, TEXT, GAP);
	image_patch(&img, ELF_PHDR_AT(1, p_memsz), 8, 0); /* wherever it says it is */
	image_patch(&img, ELF_PHDR_AT(1, p_paddr), 8, TEXT + 1);
	assert_int_equal(load(&img, &k, &err), 0);
	assert_int_equal(k.end, TEXT + ELF_TEXT_BYTES);
}

static void loads_bzimage(void **state)
{
	struct kernel_image k;
	struct volt_err err;
	struct image img;

	(void)state;
	assert_int_equal(gmem_fill(&ram, GPA(0), 0xee, RAM), 0);
	image_bzimage(&img, PREF, INIT);
	assert_int_equal(load(&img, &k, &err), 0);
	assert_true(k.bzimage);
	assert_true(k.linux64);
	assert_false(k.pvh);
	assert_int_equal(k.entry, PREF + 0x200);
	assert_int_equal(k.start, PREF);
	assert_int_equal(k.end, PREF + INIT);
	assert_memory_equal(&k.header, img.bytes + 0x1f1, sizeof(k.header));
	assert_true(kernel_image_is_linux(&ram, &k));
	assert_all(0, 0xee, PREF);
	assert_ram(PREF, img.bytes + BZ_PAYLOAD, BZ_PAYLOAD_BYTES);
	assert_all(PREF + BZ_PAYLOAD_BYTES, 0xee, RAM - PREF - BZ_PAYLOAD_BYTES);

	/* less than the payload: the payload counts */
	image_patch(&img, BZ_AT(init_size), 4, 0x10);
	assert_int_equal(load(&img, &k, &err), 0);
	assert_int_equal(k.end, PREF + BZ_PAYLOAD_BYTES);

	image_bzimage(&img, PREF, INIT);
	img.len -= 15; /* syssize is rounded up */
	assert_int_equal(load(&img, &k, &err), 0);

	image_bzimage(&img, PREF, INIT);
	img.bytes[0x201] = 0x62; /* the header of protocol 2.12 ends here */
	assert_int_equal(load(&img, &k, &err), 0);
	assert_int_equal(k.header.kernel_info_offset, 0);
	assert_int_equal(k.header.init_size, INIT);

	image_bzimage(&img, PREF, INIT);
	image_patch(&img, BZ_AT(setup_sects), 1, 0); /* means 4 */
	image_patch(&img, BZ_AT(syssize), 4, 0x40);
	assert_int_equal(load(&img, &k, &err), 0);
	assert_ram(PREF, img.bytes + 5 * 512, 0x400);
}

enum base { ELF, BZ };

static const struct {
	enum base base;
	size_t at, width;
	uint64_t value;
	int code;
	const char *message; /* behind "kernel: " */
} wrong[] = {
	/* ELF header */
	{ ELF, 0, 0, 100, ENOEXEC,
		"3 ELF program headers at offset 0x40 are behind the end of the file "
		"(100 bytes): it is truncated" },
	{ ELF, ELF_EHDR_AT(e_ident[EI_CLASS]), 1, ELFCLASS32, ENOEXEC,
		"ELF class 1: a 32-bit kernel; give a 64-bit vmlinux" },
	{ ELF, ELF_EHDR_AT(e_ident[EI_CLASS]), 1, 9, ENOEXEC,
		"ELF class 9: invalid; give a 64-bit vmlinux" },
	{ ELF, ELF_EHDR_AT(e_ident[EI_DATA]), 1, ELFDATA2MSB, ENOEXEC,
		"ELF data encoding 2 is not little-endian; give an x86-64 vmlinux" },
	{ ELF, ELF_EHDR_AT(e_machine), 2, EM_AARCH64, ENOEXEC,
		"ELF machine 183 is not x86-64 (62); give an x86-64 vmlinux" },
	{ ELF, ELF_EHDR_AT(e_type), 2, ET_REL, ENOEXEC,
		"ELF file is a relocatable object (a kernel module?) (type 1), not an "
		"executable; give a vmlinux" },
	{ ELF, ELF_EHDR_AT(e_type), 2, ET_DYN, ENOEXEC,
		"ELF file is a shared object or position-independent program (type 3), "
		"not an executable; give a vmlinux" },
	{ ELF, ELF_EHDR_AT(e_type), 2, ET_CORE, ENOEXEC,
		"ELF file is a core dump (type 4), not an executable; give a vmlinux" },
	{ ELF, ELF_EHDR_AT(e_type), 2, 0, ENOEXEC,
		"ELF file is of unknown type (type 0), not an executable; give a "
		"vmlinux" },
	{ ELF, ELF_EHDR_AT(e_phentsize), 2, 32, ENOEXEC,
		"ELF program headers of 32 bytes, not 56" },
	{ ELF, ELF_EHDR_AT(e_phnum), 2, 0, ENOEXEC,
		"0 ELF program headers, not 1 to 64" },
	{ ELF, ELF_EHDR_AT(e_phnum), 2, 65535, ENOEXEC,
		"65535 ELF program headers, not 1 to 64" },
	{ ELF, ELF_EHDR_AT(e_phoff), 8, ELF_LEN - 10, ENOEXEC,
		"3 ELF program headers at offset 0x15f6 are behind the end of the file "
		"(5632 bytes): it is truncated" },
	{ ELF, ELF_EHDR_AT(e_phoff), 8, UINT64_MAX, ENOEXEC,
		"3 ELF program headers at offset 0xffffffffffffffff are behind the end "
		"of the file (5632 bytes): it is truncated" },
	/* ELF segments */
	{ ELF, 0, 0, ELF_DATA + 5, ENOEXEC,
		"ELF segment 1, 0x100 bytes at offset 0x1400, is behind the end of the "
		"file (5125 bytes): it is truncated" },
	{ ELF, ELF_PHDR_AT(0, p_offset), 8, UINT64_MAX, ENOEXEC,
		"ELF segment 0, 0x400 bytes at offset 0xffffffffffffffff, is behind "
		"the end of the file (5632 bytes): it is truncated" },
	{ ELF, ELF_PHDR_AT(0, p_filesz), 8, 0x401, ENOEXEC,
		"ELF segment 0 has more bytes in the file (0x401) than in memory "
		"(0x400)" },
	{ ELF, ELF_PHDR_AT(0, p_paddr), 8, 0xff000, ENOEXEC,
		"ELF segment 0 at 0xff000 is below 1 MiB, where the boot data is" },
	{ ELF, ELF_PHDR_AT(0, p_paddr), 8, 0x1000000, ENOMEM,
		"ELF segment 0 at 0x1000000 (1024 bytes) does not fit in 16 MiB of "
		"guest memory: give the guest more memory" },
	{ ELF, ELF_PHDR_AT(1, p_memsz), 8, 20 * MIB, ENOMEM,
		"ELF segment 1 at 0x300000 (20 MiB) does not fit in 16 MiB of guest "
		"memory: give the guest more memory" },
	{ ELF, ELF_PHDR_AT(1, p_memsz), 8, UINT64_MAX, ENOMEM,
		"ELF segment 1 at 0x300000 (17592186044416 MiB) does not fit in 16 MiB "
		"of guest memory, nor below the MMIO gap of any guest" },
	{ ELF, ELF_PHDR_AT(1, p_paddr), 8, 0xffffffff81000000, ENOMEM,
		"ELF segment 1 at 0xffffffff81000000 (8192 bytes) does not fit in 16 "
		"MiB of guest memory, nor below the MMIO gap of any guest" },
	{ ELF, ELF_PHDR_AT(1, p_paddr), 8, TEXT + 0x3ff, ENOEXEC,
		"ELF segments 0 and 1 overlap at 0x2003ff" },
	{ ELF, ELF_EHDR_AT(e_phoff), 8, ELF_PHDR(2), ENOEXEC,
		"ELF file has nothing to load" },
	/* ELF entries and notes */
	{ ELF, ELF_PHDR_AT(2, p_filesz), 8, 0x1000, ENOEXEC,
		"ELF segment 2, 0x1000 bytes at offset 0x1500, is behind the end of "
		"the file (5632 bytes): it is truncated" },
	{ ELF, ELF_NOTE_1 + 4, 4, 0x10000, ENOEXEC,
		"ELF note 1 of segment 2 is longer than the segment" },
	{ ELF, ELF_NOTES, 4, UINT32_MAX, ENOEXEC,
		"ELF note 0 of segment 2 is longer than the segment" },
	{ ELF, ELF_NOTE_1 + 16, 8, 0x100000, ENOEXEC,
		"PVH entry 0x100000 is not in a loaded segment below 1 GiB" },
	{ ELF, ELF_NOTE_1 + 16, 8, TEXT + ELF_TEXT_BYTES, ENOEXEC,
		"PVH entry 0x200400 is not in a loaded segment below 1 GiB" },
	/* bzImage */
	{ BZ, 0, 0, 0x207, EIO,
		"the file ends inside the bzImage setup header, at offset 0x207: it is "
		"truncated" },
	{ BZ, 0, 0, 0x220, EIO,
		"the file ends inside the bzImage setup header, at offset 0x220: it is "
		"truncated" },
	{ BZ, 0, 0, BZ_PAYLOAD - 1, ENOEXEC,
		"bzImage payload, 0x800 bytes at offset 0x600, is behind the end of "
		"the file (1535 bytes): it is truncated" },
	{ BZ, 0, 0, BZ_PAYLOAD + BZ_PAYLOAD_BYTES - 16, ENOEXEC,
		"bzImage payload, 0x800 bytes at offset 0x600, is behind the end of "
		"the file (3568 bytes): it is truncated" },
	{ BZ, BZ_AT(boot_flag), 2, 0, ENOEXEC,
		"the file is an EFI program without a Linux setup header: give the "
		"vmlinux or bzImage that is in it" },
	{ BZ, BZ_AT(header), 4, 0, ENOEXEC,
		"the file is an EFI program without a Linux setup header: give the "
		"vmlinux or bzImage that is in it" },
	{ BZ, BZ_AT(version), 2, 0x020b, ENOEXEC,
		"bzImage has boot protocol 2.11, 2.12 is needed: give a kernel of "
		"Linux 3.8 or later" },
	{ BZ, 0x201, 1, 0x40, ENOEXEC,
		"bzImage setup header of 81 bytes is too short for boot protocol 2.12" },
	{ BZ, BZ_AT(loadflags), 1, 0, ENOEXEC,
		"this is a zImage (it loads below 1 MiB): give a bzImage" },
	{ BZ, BZ_AT(xloadflags), 2, 0, ENOEXEC,
		"bzImage does not provide a 64-bit entry point (XLF_KERNEL_64): it is "
		"a 32-bit kernel; give an x86-64 one" },
	{ BZ, BZ_AT(pref_address), 8, 0x10000, ENOEXEC,
		"bzImage pref_address 0x10000 is below 1 MiB, where the boot data is" },
	{ BZ, BZ_AT(pref_address), 8, PREF + 1, ENOEXEC,
		"bzImage pref_address 0x400001 is not a multiple of its "
		"kernel_alignment 0x1000" },
	{ BZ, BZ_AT(kernel_alignment), 4, 0x3000, ENOEXEC,
		"bzImage pref_address 0x400000 is not a multiple of its "
		"kernel_alignment 0x3000" },
	{ BZ, BZ_AT(kernel_alignment), 4, 0, ENOEXEC,
		"bzImage pref_address 0x400000 is not a multiple of its "
		"kernel_alignment 0x0" },
	{ BZ, BZ_AT(pref_address), 8, 0xfffffffffffff000, ENOEXEC,
		"bzImage at 0xfffffffffffff000 (65536 bytes) is not wholly below 1 "
		"GiB, which the boot page tables map" },
	{ BZ, BZ_AT(pref_address), 8, 0x2000000, ENOMEM,
		"bzImage at 0x2000000 needs 65536 bytes to unpack, which does not fit "
		"in 16 MiB of guest memory: give the guest more memory" },
	{ BZ, BZ_AT(init_size), 4, 20 * MIB, ENOMEM,
		"bzImage at 0x400000 needs 20 MiB to unpack, which does not fit in 16 "
		"MiB of guest memory: give the guest more memory" },
	{ BZ, BZ_AT(init_size), 4, UINT32_MAX, ENOEXEC,
		"bzImage at 0x400000 (4096 MiB) is not wholly below 1 GiB, which the "
		"boot page tables map" },
	{ BZ, BZ_AT(syssize), 4, 0, ENOEXEC,
		"bzImage has a payload of only 0 bytes" },
	{ BZ, BZ_AT(syssize), 4, UINT32_MAX, ENOEXEC,
		"bzImage payload, 0xffffffff0 bytes at offset 0x600, is behind the end "
		"of the file (3584 bytes): it is truncated" },
};

static void names_what_is_wrong(void **state)
{
	struct kernel_image k;
	struct volt_err err;
	struct image img;
	unsigned bad = 0;

	(void)state;
	assert_int_equal(gmem_fill(&ram, GPA(0), 0xee, RAM), 0);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		if (wrong[i].base == ELF)
			image_elf(&img, TEXT, GAP);
		else
			image_bzimage(&img, PREF, INIT);
		if (wrong[i].width == 0)
			img.len = wrong[i].value;
		else
			image_patch(&img, wrong[i].at, wrong[i].width, wrong[i].value);
		k.end = 77;
		if (load(&img, &k, &err) != -wrong[i].code || err.code != wrong[i].code ||
			strncmp(err.msg, "kernel: ", 8) != 0 ||
			strcmp(err.msg + 8, wrong[i].message) != 0) {
			print_error("%zu: want %d '%s'\n   have %d '%s'\n", i, wrong[i].code,
				wrong[i].message, err.code, err.msg);
			bad++;
		}
		assert_int_equal(k.end, 77);
	}
	assert_int_equal(bad, 0);
	assert_all(0, 0xee, RAM); /* nothing is loaded of a file that is refused */
}

static void names_other_formats(void **state)
{
	static const struct {
		size_t at;
		const char *magic;
		size_t len;
		const char *message;
	} others[] = {
		{ 0, "\x1f\x8b", 2, "the file is compressed with gzip: unpack it with gunzip" },
		{ 0, "\xfd\x37zXZ\0", 6, "the file is compressed with xz: unpack it with unxz" },
		{ 0, "\x28\xb5\x2f\xfd", 4,
			"the file is compressed with zstd: unpack it with unzstd" },
		{ 0, "\x04\x22\x4d\x18", 4,
			"the file is compressed with lz4: unpack it with unlz4" },
		{ 0, "\x02\x21\x4c\x18", 4,
			"the file is compressed with lz4: unpack it with unlz4" },
		{ 0, "\x89LZO", 4, "the file is compressed with lzop: unpack it with lzop -d" },
		{ 0, "BZh", 3, "the file is compressed with bzip2: unpack it with bunzip2" },
		{ 0, "\x5d\0\0", 3, "the file is compressed with lzma: unpack it with unlzma" },
		{ 0, "MZ", 2,
			"the file is an EFI program without a Linux setup header: give the vmlinux "
			"or bzImage that is in it" },
		{ 0, "MZ\0\0zimg", 8, "the file is an EFI zboot image: give a vmlinux or bzImage" },
		{ 0x38, "ARM\x64", 4,
			"the file is an arm64 Image: give an x86-64 vmlinux or bzImage" },
		{ 0x38, "RSC\x05", 4,
			"the file is a RISC-V Image: give an x86-64 vmlinux or bzImage" },
		{ 0, "\x27\x05\x19\x56", 4,
			"the file is a U-Boot uImage: give a vmlinux or bzImage" },
		{ 0, "070701", 6, "the file is a cpio archive: it is an initrd, not a kernel" },
		{ 0, "#!/bin/sh", 9, "the file is a script: give a vmlinux or bzImage" },
		{ 0, "\x01\x02\x03\x04", 4,
			"neither an ELF vmlinux nor a bzImage (it starts with 01 02 03 04)" },
	};
	struct kernel_image k;
	struct volt_err err;
	struct image img;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		img = (struct image){ .len = 600 };
		memcpy(img.bytes + others[i].at, others[i].magic, others[i].len);
		assert_int_equal(load(&img, &k, &err), -ENOEXEC);
		assert_string_equal(err.msg + 8, others[i].message);
	}
	img = (struct image){ .len = 0 };
	assert_int_equal(load(&img, &k, &err), -ENOEXEC);
	assert_string_equal(err.msg, "kernel: the file has 0 bytes, too few for a kernel");
}

static void refuses_what_is_no_file(void **state)
{
	_cleanup_close_ int dir = open("/", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct volt_err err = { 0 };
	struct kernel_image k;

	(void)state;
	assert_int_equal(kernel_load(dir, &ram, &k, &err), -EINVAL);
	assert_string_equal(err.msg, "kernel: not a regular file");
	err = (struct volt_err){ 0 };
	assert_int_equal(kernel_load(null, &ram, &k, &err), -EINVAL);
	err = (struct volt_err){ 0 };
	assert_int_equal(kernel_load(-1, &ram, &k, &err), -EBADF);
	assert_string_equal(err.msg, "kernel: fstat: Bad file descriptor");
}

static void knows_linux(void **state)
{
	struct kernel_image k;
	struct volt_err err;
	struct image img;

	(void)state;
	assert_int_equal(gmem_fill(&ram, GPA(0), 0, RAM), 0);
	image_elf(&img, TEXT, GAP);
	image_patch(&img, ELF_TEXT + 0x80, 1, 'l');
	assert_int_equal(load(&img, &k, &err), 0);
	assert_false(kernel_image_is_linux(&ram, &k));
}

static int load_initrd(size_t len, uint64_t kernel_end, uint32_t addr_max, struct initrd *rd,
	struct volt_err *err)
{
	const struct kernel_image k = { .end = kernel_end, .header.initrd_addr_max = addr_max };
	_cleanup_close_ int fd = memfd_create("initrd", MFD_CLOEXEC);
	_cleanup_free_ uint8_t *bytes = malloc(len + 1);

	assert_true(fd >= 0 && bytes);
	memset(bytes, 0x42, len);
	assert_int_equal(pwrite(fd, bytes, len, 0), len);
	*err = (struct volt_err){ 0 };
	return initrd_load(fd, &ram, &k, rd, err);
}

static void places_initrd(void **state)
{
	struct volt_err err;
	struct initrd rd;

	(void)state;
	assert_int_equal(gmem_fill(&ram, GPA(0), 0, RAM), 0);
	assert_int_equal(load_initrd(5000, 4 * MIB, 0x7fffffff, &rd, &err), 0);
	assert_int_equal(rd.gpa, RAM - 8192);
	assert_int_equal(rd.bytes, 5000);
	assert_all(rd.gpa - 4096, 0, 4096);
	assert_all(rd.gpa, 0x42, 5000);
	assert_all(rd.gpa + 5000, 0, 8192 - 5000);

	assert_int_equal(load_initrd(4096, 4 * MIB, 8 * MIB - 1, &rd, &err), 0);
	assert_int_equal(rd.gpa, 8 * MIB - 4096);
	assert_int_equal(load_initrd(4096, 4 * MIB, 8 * MIB - 2, &rd, &err), 0);
	assert_int_equal(rd.gpa, 8 * MIB - 8192); /* the last byte is what the header names */

	/* Exactly between the kernel and the end, and one byte more. */
	assert_int_equal(load_initrd(8192, RAM - 8192 - 1, 0x7fffffff, &rd, &err), 0);
	assert_int_equal(rd.gpa, RAM - 8192);
	assert_int_equal(load_initrd(8193, RAM - 8192, 0x7fffffff, &rd, &err), -ENOMEM);
	assert_string_equal(err.msg,
		"initrd: 8193 bytes do not fit between the kernel's end 0xffe000 and 0x1000000 "
		"(8192 bytes): 1 bytes are missing, give the guest more memory");
	assert_int_equal(load_initrd(3 * MIB, 15 * MIB, 8 * MIB - 1, &rd, &err), -ENOMEM);
	assert_string_equal(err.msg,
		"initrd: 3 MiB do not fit between the kernel's end 0xf00000 and 0x800000 (0 "
		"bytes): 3 MiB are missing, give the guest more memory");
	assert_int_equal(load_initrd(0, 4 * MIB, 0x7fffffff, &rd, &err), -EINVAL);
	assert_string_equal(err.msg, "initrd: the file is empty");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loads_vmlinux),
		cmocka_unit_test(searches_the_constants_only),
		cmocka_unit_test(finds_entries),
		cmocka_unit_test(ignores_empty_segments),
		cmocka_unit_test(loads_bzimage),
		cmocka_unit_test(names_what_is_wrong),
		cmocka_unit_test(names_other_formats),
		cmocka_unit_test(refuses_what_is_no_file),
		cmocka_unit_test(knows_linux),
		cmocka_unit_test(places_initrd),
	};

	return cmocka_run_group_tests_name("kernel", tests, map, unmap);
}
