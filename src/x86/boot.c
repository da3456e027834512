/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel finds in low memory, see boot.h. */
#include "boot.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <string.h>

#include "initrd.h"
#include "kernel.h"
#include "layout.h"
#include "limit.h"

#define E820_RAM      1
#define E820_RESERVED 2
#define E820_MAX      (3 + GMEM_REGIONS_MAX)

/* hvm_start_info version 1, hvm_modlist_entry and hvm_memmap_table_entry. */
#define PVH_MAGIC 0x336ec578

struct pvh_info {
	uint32_t magic, version, flags, n_modules;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t n_memmap, reserved;
};

struct pvh_module {
	uint64_t gpa, bytes, cmdline, reserved;
};

struct pvh_memmap {
	uint64_t gpa, bytes;
	uint32_t type, reserved;
};

struct e820 {
	uint64_t gpa, bytes;
	uint32_t type;
};

/* Page table entries: present and writable; PS is a 2 MiB page. */
#define PTE_TABLE UINT64_C(0x003)
#define PTE_PAGE  UINT64_C(0x083)

static unsigned memory_map(const struct gmem *m, struct e820 map[E820_MAX])
{
	unsigned n = 0;

	map[n++] = (struct e820){ 0, LAYOUT_LOW_RAM_END, E820_RAM };
	map[n++] = (struct e820){ LAYOUT_SYSTEM, LAYOUT_SYSTEM_BYTES, E820_RESERVED };
	for (size_t i = 0; i < m->n_regions; i++) {
		const struct gmem_region *r = &m->regions[i];
		uint64_t start = MAX(r->gpa, (uint64_t)LAYOUT_HIGH_RAM_START);

		if (r->kind != GMEM_RAM)
			continue; /* its device says where it is */
		map[n++] = (struct e820){ start, r->gpa + r->bytes - start, E820_RAM };
	}
	return n;
}

/*
 * Flat code and data where the boot protocol wants them (__BOOT_CS 0x10, __BOOT_DS 0x18), and an
 * identity map of KERNEL_MAPPED with 2 MiB pages.
 */
static int write_tables(const struct gmem *m, bool long_mode)
{
	const uint64_t gdt[] = { 0, 0,
		long_mode ? UINT64_C(0x00af9b000000ffff) : UINT64_C(0x00cf9b000000ffff),
		UINT64_C(0x00cf93000000ffff) };
	const uint64_t idt = 0, pml4 = LAYOUT_PDPT | PTE_TABLE, pdpt = LAYOUT_PD | PTE_TABLE;
	uint64_t pd[512];

	static_assert(LAYOUT_GDT + sizeof(gdt) <= LAYOUT_IDT, "the GDT ends where the IDT begins");
	static_assert(ARRAY_SIZE(pd) * 2 * MIB == KERNEL_MAPPED, "one page directory maps it");
	for (size_t i = 0; i < ARRAY_SIZE(pd); i++)
		pd[i] = i * 2 * MIB | PTE_PAGE;
	if (gmem_write(m, GPA(LAYOUT_GDT), gdt, sizeof(gdt)) < 0 ||
		gmem_write(m, GPA(LAYOUT_IDT), &idt, sizeof(idt)) < 0 ||
		gmem_write(m, GPA(LAYOUT_PML4), &pml4, sizeof(pml4)) < 0 ||
		gmem_write(m, GPA(LAYOUT_PDPT), &pdpt, sizeof(pdpt)) < 0)
		return -EFAULT;
	return gmem_write(m, GPA(LAYOUT_PD), pd, sizeof(pd));
}

static int write_zero_page(const struct gmem *m, const struct boot_params_in *in)
{
	struct boot_params zp = { .hdr = in->kernel->header };
	struct e820 map[E820_MAX];

	zp.e820_entries = (uint8_t)memory_map(m, map);
	for (unsigned i = 0; i < zp.e820_entries; i++)
		zp.e820_table[i] =
			(struct boot_e820_entry){ map[i].gpa, map[i].bytes, map[i].type };
	zp.hdr.type_of_loader = 0xff; /* no assigned id */
	zp.hdr.cmd_line_ptr = LAYOUT_CMDLINE;
	if (!in->kernel->bzimage) /* in a bzImage it is the kernel's own limit */
		zp.hdr.cmdline_size = LIMIT_CMDLINE - 1;
	if (in->initrd) { /* both below 4 GiB: see initrd_load() */
		zp.hdr.ramdisk_image = (uint32_t)in->initrd->gpa;
		zp.hdr.ramdisk_size = (uint32_t)in->initrd->bytes;
	}
	zp.acpi_rsdp_addr = in->acpi ? LAYOUT_RSDP : 0;
	return gmem_write(m, GPA(LAYOUT_ZERO_PAGE), &zp, sizeof(zp));
}

static int write_pvh(const struct gmem *m, const struct boot_params_in *in)
{
	struct pvh_info info = {
		.magic = PVH_MAGIC,
		.version = 1,
		.cmdline = LAYOUT_CMDLINE,
		.rsdp = in->acpi ? LAYOUT_RSDP : 0,
		.memmap = LAYOUT_PVH_MEMMAP,
	};
	struct pvh_memmap table[E820_MAX];
	struct e820 map[E820_MAX];

	static_assert(sizeof(struct pvh_info) == 56 && sizeof(struct pvh_module) == 32 &&
			sizeof(struct pvh_memmap) == 24,
		"start_info.h");
	info.n_memmap = memory_map(m, map);
	for (unsigned i = 0; i < info.n_memmap; i++)
		table[i] = (struct pvh_memmap){ map[i].gpa, map[i].bytes, map[i].type, 0 };
	if (in->initrd) {
		const struct pvh_module initrd = { .gpa = in->initrd->gpa,
			.bytes = in->initrd->bytes };

		info.n_modules = 1;
		info.modules = LAYOUT_PVH_MODULES;
		if (gmem_write(m, GPA(LAYOUT_PVH_MODULES), &initrd, sizeof(initrd)) < 0)
			return -EFAULT;
	}
	if (gmem_write(m, GPA(LAYOUT_PVH_MEMMAP), table, info.n_memmap * sizeof(table[0])) < 0)
		return -EFAULT;
	return gmem_write(m, GPA(LAYOUT_PVH_INFO), &info, sizeof(info));
}

/*
 * What a PC has its firmware for: real-mode code that resets. Linux with hardware-reduced ACPI and
 * without EFI tries EFI first, and then jumps to the reset vector (arch/x86/kernel/reboot.c).
 */
static int write_reset_vector(const struct gmem *m)
{
	static const uint8_t code[] = {
		0xba, LAYOUT_PORT_RESET & 0xff, LAYOUT_PORT_RESET >> 8, /* mov $port, %dx */
		0xb0, LAYOUT_RESET_VALUE,				 /* mov $value, %al */
		0xee,							 /* out %al, %dx */
		0xfa, 0xf4, 0xeb, 0xfd,					 /* cli; 1: hlt; jmp 1b */
	};
	static_assert(sizeof(code) <= LAYOUT_HIGH_RAM_START - LAYOUT_RESET_VECTOR, "");

	return gmem_write(m, GPA(LAYOUT_RESET_VECTOR), code, sizeof(code));
}

int boot_write(const struct gmem *m, const struct boot_params_in *in, struct boot_regs *ret,
	struct volt_err *err)
{
	const struct kernel_image *k = in->kernel;
	bool long_mode = k->linux64 && (in->prefer_linux64 || !k->pvh);
	size_t len = strlen(in->cmdline) + 1;
	int r;

	if (in->prefer_linux64 && !k->linux64)
		return volt_err_set(err, ENOEXEC,
			"boot: this kernel has no 64-bit entry below 1 GiB, only a PVH one");
	if (len > LIMIT_CMDLINE)
		return volt_err_set(err, E2BIG, "boot: command line of %zu bytes, %d are allowed",
			len, LIMIT_CMDLINE);
	if (k->bzimage && len - 1 > k->header.cmdline_size)
		return volt_err_set(err, E2BIG,
			"boot: command line of %zu bytes, this kernel takes %u", len - 1,
			k->header.cmdline_size);
	if (gmem_low_end(m) <= LAYOUT_HIGH_RAM_START)
		return volt_err_set(err, EFAULT, "boot: guest memory ends below 1 MiB");
	r = gmem_write(m, GPA(LAYOUT_CMDLINE), in->cmdline, len);
	if (r == 0)
		r = write_tables(m, long_mode);
	if (r == 0)
		r = write_reset_vector(m);
	if (r == 0)
		r = long_mode ? write_zero_page(m, in) : write_pvh(m, in);
	if (r < 0)
		return volt_err_set(err, -r, "boot: write boot data: %m");
	*ret = (struct boot_regs){ .long_mode = long_mode, .rsp = LAYOUT_BOOT_STACK };
	if (long_mode) {
		ret->rip = k->entry;
		ret->rsi = LAYOUT_ZERO_PAGE;
	} else {
		ret->rip = k->pvh_entry;
		ret->rbx = LAYOUT_PVH_INFO;
	}
	return 0;
}
