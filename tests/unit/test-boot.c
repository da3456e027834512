/* SPDX-License-Identifier: Apache-2.0 */
/* Zero page, PVH start info, GDT and page tables, read back as a kernel reads them. */
#include "test.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <string.h>

#include "boot.h"
#include "initrd.h"
#include "kernel.h"
#include "layout.h"
#include "limit.h"
#include "num.h"

#define RAM (64 * MIB)

static const struct kernel_image bzimage = { .bzimage = true, .linux64 = true, .entry = 0x1000200,
	.header = { .boot_flag = 0xaa55, .header = 0x53726448, .version = 0x20f,
		.cmdline_size = 100, .init_size = 0x12345 } };
static const struct kernel_image vmlinux = { .linux64 = true, .pvh = true, .entry = 0x1000000,
	.pvh_entry = 0x1000850, .header = { .header = 0x53726448 } };
static const struct initrd initrd = { .gpa = 0x2000000, .bytes = 12345 };

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

static uint64_t read64(uint64_t gpa)
{
	uint64_t v;

	assert_int_equal(gmem_read(&ram, GPA(gpa), &v, sizeof(v)), 0);
	return v;
}

static void writes_zero_page(void **state)
{
	struct boot_params_in in = { .kernel = &bzimage, .initrd = &initrd, .cmdline = "a=1 b",
		.acpi = true };
	struct boot_params zp;
	struct boot_regs regs;
	char text[6];

	(void)state;
	assert_int_equal(gmem_fill(&ram, GPA(0), 0xee, MIB), 0);
	assert_int_equal(boot_write(&ram, &in, &regs, NULL), 0);
	assert_true(regs.long_mode);
	assert_int_equal(regs.rip, 0x1000200);
	assert_int_equal(regs.rsi, LAYOUT_ZERO_PAGE);
	assert_int_equal(regs.rsp, LAYOUT_BOOT_STACK);
	assert_int_equal(gmem_read(&ram, GPA(LAYOUT_ZERO_PAGE), &zp, sizeof(zp)), 0);
	assert_int_equal(zp.hdr.header, 0x53726448);
	assert_int_equal(zp.hdr.init_size, 0x12345);
	assert_int_equal(zp.hdr.type_of_loader, 0xff);
	assert_int_equal(zp.hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	assert_int_equal(zp.hdr.ramdisk_image, 0x2000000);
	assert_int_equal(zp.hdr.ramdisk_size, 12345);
	assert_int_equal(zp.acpi_rsdp_addr, LAYOUT_RSDP);
	assert_int_equal(zp.sentinel, 0);
	assert_int_equal(zp.e820_entries, 3);
	assert_int_equal(zp.e820_table[0].addr, 0);
	assert_int_equal(zp.e820_table[0].size, 0x9fc00);
	assert_int_equal(zp.e820_table[0].type, 1);
	assert_int_equal(zp.e820_table[1].addr, 0x9fc00);
	assert_int_equal(zp.e820_table[1].size, 0x40400);
	assert_int_equal(zp.e820_table[1].type, 2);
	assert_int_equal(zp.e820_table[2].addr, MIB);
	assert_int_equal(zp.e820_table[2].size, RAM - MIB);
	assert_int_equal(zp.e820_table[2].type, 1);
	assert_int_equal(gmem_read(&ram, GPA(LAYOUT_CMDLINE), text, sizeof(text)), 0);
	assert_string_equal(text, "a=1 b");

	in.acpi = false;
	in.initrd = NULL;
	in.kernel = &vmlinux;
	in.prefer_linux64 = true;
	assert_int_equal(boot_write(&ram, &in, &regs, NULL), 0);
	assert_int_equal(regs.rip, 0x1000000);
	assert_int_equal(gmem_read(&ram, GPA(LAYOUT_ZERO_PAGE), &zp, sizeof(zp)), 0);
	assert_int_equal(zp.acpi_rsdp_addr, 0);
	assert_int_equal(zp.hdr.ramdisk_image, 0);
	assert_int_equal(zp.hdr.cmdline_size, LIMIT_CMDLINE - 1);
}

/* What the CPU would do with the tables for a few addresses. */
static void maps_first_gib(void **state)
{
	const struct boot_params_in in = { .kernel = &bzimage, .cmdline = "" };
	struct boot_regs regs;

	(void)state;
	assert_int_equal(boot_write(&ram, &in, &regs, NULL), 0);
	for (uint64_t va = 0; va < GIB; va += 2 * MIB) {
		uint64_t pml4e = read64(LAYOUT_PML4 + (va >> 39 & 511) * 8);
		uint64_t pdpte = read64((pml4e & ~UINT64_C(0xfff)) + (va >> 30 & 511) * 8);
		uint64_t pde = read64((pdpte & ~UINT64_C(0xfff)) + (va >> 21 & 511) * 8);

		assert_int_equal(pml4e & 0xfff, 3);
		assert_int_equal(pdpte & 0xfff, 3);
		assert_int_equal(pde & 0xfff, 0x83);
		assert_int_equal(pde & ~UINT64_C(0xfff), va);
	}
	assert_int_equal(read64(LAYOUT_GDT), 0);
	assert_true(read64(LAYOUT_GDT + 0x10) == 0x00af9b000000ffff);
	assert_true(read64(LAYOUT_GDT + 0x18) == 0x00cf93000000ffff);
}

static void writes_pvh_info(void **state)
{
	struct boot_params_in in = { .kernel = &vmlinux, .initrd = &initrd, .cmdline = "x",
		.acpi = true };
	struct boot_regs regs;
	uint8_t b[56];

	(void)state;
	assert_int_equal(gmem_fill(&ram, GPA(0), 0xee, MIB), 0);
	assert_int_equal(boot_write(&ram, &in, &regs, NULL), 0);
	assert_false(regs.long_mode);
	assert_int_equal(regs.rip, 0x1000850);
	assert_int_equal(regs.rbx, LAYOUT_PVH_INFO);
	assert_int_equal(gmem_read(&ram, GPA(LAYOUT_PVH_INFO), b, sizeof(b)), 0);
	assert_int_equal(num_get_le32(b), 0x336ec578);
	assert_int_equal(num_get_le32(b + 4), 1);
	assert_int_equal(num_get_le32(b + 8), 0);
	assert_int_equal(num_get_le32(b + 12), 1);
	assert_int_equal(num_get_le64(b + 16), LAYOUT_PVH_MODULES);
	assert_int_equal(num_get_le64(b + 24), LAYOUT_CMDLINE);
	assert_int_equal(num_get_le64(b + 32), LAYOUT_RSDP);
	assert_int_equal(num_get_le64(b + 40), LAYOUT_PVH_MEMMAP);
	assert_int_equal(num_get_le32(b + 48), 3);
	assert_int_equal(read64(LAYOUT_PVH_MODULES), 0x2000000);
	assert_int_equal(read64(LAYOUT_PVH_MODULES + 8), 12345);
	assert_int_equal(read64(LAYOUT_PVH_MODULES + 16), 0);
	assert_int_equal(read64(LAYOUT_PVH_MEMMAP + 24), 0x9fc00);
	assert_int_equal(read64(LAYOUT_PVH_MEMMAP + 24 + 16), 2);
	assert_int_equal(read64(LAYOUT_PVH_MEMMAP + 48), MIB);
	assert_int_equal(read64(LAYOUT_PVH_MEMMAP + 48 + 8), RAM - MIB);
	assert_true(read64(LAYOUT_GDT + 0x10) == 0x00cf9b000000ffff);

	in.initrd = NULL;
	assert_int_equal(boot_write(&ram, &in, &regs, NULL), 0);
	assert_int_equal(gmem_read(&ram, GPA(LAYOUT_PVH_INFO), b, sizeof(b)), 0);
	assert_int_equal(num_get_le32(b + 12), 0);
	assert_int_equal(num_get_le64(b + 16), 0);
}

static void maps_memory_above_the_gap(void **state)
{
	const struct boot_params_in in = { .kernel = &bzimage, .cmdline = "" };
	struct boot_params zp;
	struct boot_regs regs;
	struct gmem big;

	(void)state;
	assert_int_equal(gmem_map(&big, 5 * GIB, NULL), 0);
	assert_int_equal(boot_write(&big, &in, &regs, NULL), 0);
	assert_int_equal(gmem_read(&big, GPA(LAYOUT_ZERO_PAGE), &zp, sizeof(zp)), 0);
	assert_int_equal(zp.e820_entries, 4);
	assert_true(zp.e820_table[2].addr + zp.e820_table[2].size == LAYOUT_GAP_START);
	assert_true(zp.e820_table[3].addr == LAYOUT_GAP_END);
	assert_true(zp.e820_table[3].size == 2 * GIB);
	gmem_unmap(&big);
}

/* mov $0x602, %dx; mov $0xb1, %al; out %al, %dx; in memory that the map does not call RAM. */
static void reset_vector_resets(void **state)
{
	static const uint8_t want[] = { 0xba, 0x02, 0x06, 0xb0, 0xb1, 0xee };
	struct boot_params_in in = { .kernel = &vmlinux, .cmdline = "" };
	struct boot_regs regs;
	uint8_t code[sizeof(want)];

	(void)state;
	assert_int_equal(boot_write(&ram, &in, &regs, NULL), 0);
	assert_int_equal(gmem_read(&ram, GPA(0xffff0), code, sizeof(code)), 0);
	assert_memory_equal(code, want, sizeof(want));
}

static void refuses(const struct gmem *m, const struct boot_params_in *in, int code,
	const char *message)
{
	struct volt_err err = { 0 };
	struct boot_regs regs;

	assert_int_equal(boot_write(m, in, &regs, &err), -code);
	assert_int_equal(err.code, code);
	assert_string_equal(err.msg, message);
}

static void names_what_is_wrong(void **state)
{
	const struct kernel_image pvh_only = { .pvh = true, .pvh_entry = 0x1000000 };
	struct boot_params_in in = { .kernel = &bzimage };
	struct gmem small;
	char line[2100];

	(void)state;
	memset(line, 'x', sizeof(line));
	line[101] = '\0';
	in.cmdline = line;
	refuses(&ram, &in, E2BIG, "boot: command line of 101 bytes, this kernel takes 100");
	line[101] = 'x';
	line[2048] = '\0';
	refuses(&ram, &in, E2BIG, "boot: command line of 2049 bytes, 2048 are allowed");
	in = (struct boot_params_in){ .kernel = &pvh_only, .cmdline = "", .prefer_linux64 = true };
	refuses(&ram, &in, ENOEXEC,
		"boot: this kernel has no 64-bit entry below 1 GiB, only a PVH one");
	assert_int_equal(gmem_map(&small, MIB, NULL), 0);
	in = (struct boot_params_in){ .kernel = &bzimage, .cmdline = "" };
	refuses(&small, &in, EFAULT, "boot: guest memory ends below 1 MiB");
	gmem_unmap(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_zero_page),
		cmocka_unit_test(maps_first_gib),
		cmocka_unit_test(writes_pvh_info),
		cmocka_unit_test(maps_memory_above_the_gap),
		cmocka_unit_test(reset_vector_resets),
		cmocka_unit_test(names_what_is_wrong),
	};

	return cmocka_run_group_tests_name("boot", tests, map, unmap);
}
