/* SPDX-License-Identifier: Apache-2.0 */
/* ELF kernels, see vmlinux.h. Program headers are copied once, checked as a whole, then loaded. */
#include "vmlinux.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "imgfile.h"
#include "layout.h"
#include "num.h"

#define PHDRS_MAX 64	/* Linux has five, Xen and unikernels fewer than ten */
#define NOTES_MAX 1024	/* in one PT_NOTE; Linux has about twenty */
#define SECTIONS_MAX 256 /* Linux has about fifty */

#define XEN_ELFNOTE_PHYS32_ENTRY 18

struct elf {
	int fd;
	uint64_t file_bytes;
	Elf64_Ehdr header;
	Elf64_Phdr segments[PHDRS_MAX];
	unsigned n_segments;
};

/* A segment that occupies memory; others are neither checked nor loaded. */
static bool occupies(const Elf64_Phdr *p)
{
	return p->p_type == PT_LOAD && p->p_memsz > 0;
}

static const char *type_name(unsigned type)
{
	switch (type) {
	case ET_REL:
		return "a relocatable object (a kernel module?)";
	case ET_DYN:
		return "a shared object or position-independent program";
	case ET_CORE:
		return "a core dump";
	default:
		return "of unknown type";
	}
}

static int check_header(const Elf64_Ehdr *h, struct volt_err *err)
{
	if (h->e_ident[EI_CLASS] != ELFCLASS64)
		return volt_err_set(err, ENOEXEC, "ELF class %u: %s; give a 64-bit vmlinux",
			h->e_ident[EI_CLASS],
			h->e_ident[EI_CLASS] == ELFCLASS32 ? "a 32-bit kernel" : "invalid");
	if (h->e_ident[EI_DATA] != ELFDATA2LSB)
		return volt_err_set(err, ENOEXEC,
			"ELF data encoding %u is not little-endian; give an x86-64 vmlinux",
			h->e_ident[EI_DATA]);
	if (h->e_machine != EM_X86_64)
		return volt_err_set(err, ENOEXEC,
			"ELF machine %u is not x86-64 (%d); give an x86-64 vmlinux", h->e_machine,
			EM_X86_64);
	if (h->e_type != ET_EXEC)
		return volt_err_set(err, ENOEXEC,
			"ELF file is %s (type %u), not an executable; give a vmlinux",
			type_name(h->e_type), h->e_type);
	if (h->e_phentsize != sizeof(Elf64_Phdr))
		return volt_err_set(err, ENOEXEC, "ELF program headers of %u bytes, not %zu",
			h->e_phentsize, sizeof(Elf64_Phdr));
	if (h->e_phnum == 0 || h->e_phnum > PHDRS_MAX)
		return volt_err_set(err, ENOEXEC, "%u ELF program headers, not 1 to %d", h->e_phnum,
			PHDRS_MAX);
	return 0;
}

static int read_headers(struct elf *e, struct volt_err *err)
{
	uint64_t table;
	int r;

	r = imgfile_read(e->fd, 0, &e->header, sizeof(e->header), "the ELF header", err);
	if (r < 0)
		return r;
	r = check_header(&e->header, err);
	if (r < 0)
		return r;
	e->n_segments = e->header.e_phnum;
	table = e->n_segments * sizeof(Elf64_Phdr);
	if (e->header.e_phoff > e->file_bytes || table > e->file_bytes - e->header.e_phoff)
		return volt_err_set(err, ENOEXEC,
			"%u ELF program headers at offset 0x%llx are behind the end of the file "
			"(%llu bytes): it is truncated",
			e->n_segments, (unsigned long long)e->header.e_phoff,
			(unsigned long long)e->file_bytes);
	return imgfile_read(e->fd, e->header.e_phoff, e->segments, table, "ELF program headers",
		err);
}

/* The file part of segment i, PT_LOAD or PT_NOTE. */
static int check_file_range(const struct elf *e, unsigned i, struct volt_err *err)
{
	const Elf64_Phdr *p = &e->segments[i];

	if (p->p_offset > e->file_bytes || p->p_filesz > e->file_bytes - p->p_offset)
		return volt_err_set(err, ENOEXEC,
			"ELF segment %u, 0x%llx bytes at offset 0x%llx, is behind the end of the "
			"file (%llu bytes): it is truncated",
			i, (unsigned long long)p->p_filesz, (unsigned long long)p->p_offset,
			(unsigned long long)e->file_bytes);
	return 0;
}

static int check_load(const struct elf *e, unsigned i, const struct gmem *m, struct volt_err *err)
{
	const Elf64_Phdr *p = &e->segments[i];
	uint64_t low_end = gmem_low_end(m);
	char size[IMGFILE_SIZE_TEXT], ram[IMGFILE_SIZE_TEXT];

	if (p->p_filesz > p->p_memsz)
		return volt_err_set(err, ENOEXEC,
			"ELF segment %u has more bytes in the file (0x%llx) than in memory "
			"(0x%llx)",
			i, (unsigned long long)p->p_filesz, (unsigned long long)p->p_memsz);
	if (p->p_paddr < LAYOUT_HIGH_RAM_START)
		return volt_err_set(err, ENOEXEC,
			"ELF segment %u at 0x%llx is below 1 MiB, where the boot data is", i,
			(unsigned long long)p->p_paddr);
	if (p->p_paddr > low_end || p->p_memsz > low_end - p->p_paddr)
		return volt_err_set(err, ENOMEM,
			"ELF segment %u at 0x%llx (%s) does not fit in %s of guest memory%s", i,
			(unsigned long long)p->p_paddr, imgfile_size_text(p->p_memsz, size),
			imgfile_size_text(low_end, ram),
			p->p_memsz <= LAYOUT_GAP_START &&
					p->p_paddr <= LAYOUT_GAP_START - p->p_memsz ?
				": give the guest more memory" :
				", nor below the MMIO gap of any guest");
	for (unsigned j = 0; j < i; j++) {
		const Elf64_Phdr *q = &e->segments[j];

		if (occupies(q) && p->p_paddr < q->p_paddr + q->p_memsz &&
			q->p_paddr < p->p_paddr + p->p_memsz)
			return volt_err_set(err, ENOEXEC,
				"ELF segments %u and %u overlap at 0x%llx", j, i,
				(unsigned long long)MAX(p->p_paddr, q->p_paddr));
	}
	return check_file_range(e, i, err);
}

/* Checks all PT_LOAD segments and finds their extent. */
static int check_segments(const struct elf *e, const struct gmem *m, struct kernel_image *image,
	struct volt_err *err)
{
	image->start = UINT64_MAX;
	for (unsigned i = 0; i < e->n_segments; i++) {
		const Elf64_Phdr *p = &e->segments[i];
		int r;

		if (!occupies(p))
			continue;
		r = check_load(e, i, m, err);
		if (r < 0)
			return r;
		image->start = MIN(image->start, p->p_paddr);
		image->end = MAX(image->end, p->p_paddr + p->p_memsz);
	}
	if (image->end == 0)
		return volt_err_set(err, ENOEXEC, "ELF file has nothing to load");
	return 0;
}

/* Looks for the PVH entry in one PT_NOTE segment. 1: found. */
static int scan_notes(const struct elf *e, unsigned i, uint64_t *ret_entry, struct volt_err *err)
{
	const Elf64_Phdr *p = &e->segments[i];
	uint64_t align = p->p_align == 8 ? 8 : 4, off = 0;

	for (unsigned n = 0; n < NOTES_MAX && p->p_filesz - off >= sizeof(Elf64_Nhdr); n++) {
		Elf64_Nhdr note;
		uint64_t name, desc, next;
		uint8_t text[4], value[8] = { 0 };
		int r;

		r = imgfile_read(e->fd, p->p_offset + off, &note, sizeof(note), "an ELF note", err);
		if (r < 0)
			return r;
		name = off + sizeof(note);
		desc = ALIGN_UP(name + note.n_namesz, align);
		next = ALIGN_UP(desc + note.n_descsz, align);
		if (desc > p->p_filesz || note.n_descsz > p->p_filesz - desc)
			return volt_err_set(err, ENOEXEC,
				"ELF note %u of segment %u is longer than the segment", n, i);
		if (note.n_type == XEN_ELFNOTE_PHYS32_ENTRY && note.n_namesz == sizeof(text) &&
			(note.n_descsz == 4 || note.n_descsz == 8)) {
			r = imgfile_read(e->fd, p->p_offset + name, text, sizeof(text),
				"an ELF note", err);
			if (r == 0)
				r = imgfile_read(e->fd, p->p_offset + desc, value, note.n_descsz,
					"the PVH note", err);
			if (r < 0)
				return r;
			if (memcmp(text, "Xen", sizeof(text)) == 0) {
				*ret_entry = num_get_le64(value);
				return 1;
			}
		}
		if (next >= p->p_filesz)
			break;
		off = next;
	}
	return 0;
}

/* True if a loaded segment holds `entry` and the boot page tables reach it. */
static bool reachable(const struct elf *e, uint64_t entry)
{
	for (unsigned i = 0; i < e->n_segments; i++) {
		const Elf64_Phdr *p = &e->segments[i];

		if (occupies(p) && entry >= p->p_paddr && entry - p->p_paddr < p->p_filesz)
			return entry < KERNEL_MAPPED;
	}
	return false;
}

static int find_entries(const struct elf *e, struct kernel_image *image, struct volt_err *err)
{
	for (unsigned i = 0; i < e->n_segments && !image->pvh; i++) {
		int r;

		if (e->segments[i].p_type != PT_NOTE)
			continue;
		r = check_file_range(e, i, err);
		if (r == 0)
			r = scan_notes(e, i, &image->pvh_entry, err);
		if (r < 0)
			return r;
		image->pvh = r > 0;
	}
	if (image->pvh && !reachable(e, image->pvh_entry))
		return volt_err_set(err, ENOEXEC,
			"PVH entry 0x%llx is not in a loaded segment below 1 GiB",
			(unsigned long long)image->pvh_entry);
	image->linux64 = reachable(e, e->header.e_entry);
	image->entry = image->linux64 ? e->header.e_entry : 0;
	if (!image->linux64 && !image->pvh)
		return volt_err_set(err, ENOEXEC,
			"ELF entry 0x%llx is not in a loaded segment below 1 GiB, and there is no "
			"PVH entry",
			(unsigned long long)e->header.e_entry);
	return 0;
}

/* Where the bytes [off, off + bytes) of the file come to lie; false if no segment holds them. */
static bool loaded_at(const struct elf *e, uint64_t off, uint64_t bytes, uint64_t *ret_gpa)
{
	for (unsigned i = 0; i < e->n_segments; i++) {
		const Elf64_Phdr *p = &e->segments[i];

		if (!occupies(p) || off < p->p_offset || off - p->p_offset > p->p_filesz ||
			bytes > p->p_filesz - (off - p->p_offset))
			continue;
		*ret_gpa = p->p_paddr + (off - p->p_offset);
		return true;
	}
	return false;
}

/* Section header i of the file; false if there is none that makes sense. */
static bool read_section(const struct elf *e, unsigned i, Elf64_Shdr *ret)
{
	const Elf64_Ehdr *h = &e->header;
	uint64_t off = i * sizeof(*ret);

	return i < h->e_shnum && h->e_shoff <= e->file_bytes - sizeof(*ret) &&
	       off <= e->file_bytes - sizeof(*ret) - h->e_shoff &&
	       imgfile_read(e->fd, h->e_shoff + off, ret, sizeof(*ret), "a section", NULL) == 0;
}

/* Finds .rodata. The section table is a convenience: a file without a sound one is no error. */
static void find_strings(const struct elf *e, struct kernel_image *image)
{
	static const char wanted[] = ".rodata";
	unsigned n = MIN(e->header.e_shnum, (unsigned)SECTIONS_MAX);
	char name[sizeof(wanted)];
	Elf64_Shdr names, s;

	if (e->header.e_shentsize != sizeof(s) || !read_section(e, e->header.e_shstrndx, &names) ||
		names.sh_offset > e->file_bytes)
		return;
	for (unsigned i = 1; i < n && read_section(e, i, &s); i++) {
		if (s.sh_name > e->file_bytes - names.sh_offset ||
			sizeof(name) > e->file_bytes - names.sh_offset - s.sh_name ||
			imgfile_read(e->fd, names.sh_offset + s.sh_name, name, sizeof(name),
				"a section's name", NULL) < 0 ||
			memcmp(name, wanted, sizeof(wanted)) != 0)
			continue;
		if (s.sh_type == SHT_PROGBITS &&
			loaded_at(e, s.sh_offset, s.sh_size, &image->strings))
			image->strings_bytes = s.sh_size;
		return;
	}
}

static int load_segments(const struct elf *e, const struct gmem *m, struct volt_err *err)
{
	for (unsigned i = 0; i < e->n_segments; i++) {
		const Elf64_Phdr *p = &e->segments[i];
		char what[32];
		int r;

		if (!occupies(p))
			continue;
		snprintf(what, sizeof(what), "ELF segment %u", i);
		r = imgfile_load(e->fd, p->p_offset, m, p->p_paddr, p->p_filesz, what, err);
		if (r < 0)
			return r;
		r = gmem_fill(m, GPA(p->p_paddr + p->p_filesz), 0, p->p_memsz - p->p_filesz);
		if (r < 0)
			return volt_err_set(err, -r, "%s: %m", what);
	}
	return 0;
}

int vmlinux_load(int fd, uint64_t file_bytes, const struct gmem *m, struct kernel_image *ret,
	struct volt_err *err)
{
	struct elf e = { .fd = fd, .file_bytes = file_bytes };
	struct kernel_image image = {
		.header = {
			.boot_flag = 0xaa55,
			.header = 0x53726448, /* "HdrS" */
			.version = 0x020c,
			.loadflags = LOADED_HIGH,
			.initrd_addr_max = 0x7fffffff, /* as every x86-64 bzImage says */
			.kernel_alignment = 16 * MIB,
		},
	};
	int r;

	r = read_headers(&e, err);
	if (r < 0)
		return r;
	r = check_segments(&e, m, &image, err);
	if (r < 0)
		return r;
	r = find_entries(&e, &image, err);
	if (r < 0)
		return r;
	r = load_segments(&e, m, err);
	if (r < 0)
		return r;
	find_strings(&e, &image);
	*ret = image;
	return 0;
}
