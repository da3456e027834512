/* SPDX-License-Identifier: Apache-2.0 */
/* The state at entry by the Linux 64-bit protocol (Documentation/arch/x86/boot.rst) or by PVH. */
#include "payload.h"

static void linux64(void)
{
	CHECK(rd16(boot.info + 0x1fe) == 0xaa55, "zero page: boot flag");
	CHECK(rd32(boot.info + 0x202) == 0x53726448, "zero page: no HdrS");
	CHECK(rd8(boot.info + 0x210) == 0xff, "zero page: loader type %x", rd8(boot.info + 0x210));
	CHECK(boot.cr0 & 1 && boot.cr0 >> 31, "CR0 %lx", boot.cr0);
	CHECK(boot.cr4 & 0x20, "CR4 %lx", boot.cr4);
	CHECK((boot.efer & 0x500) == 0x500, "EFER %x", boot.efer);
	CHECK(boot.cs == 0x10, "CS %x, the protocol wants __BOOT_CS (10)", boot.cs);
	CHECK(boot.ds == 0x18 && boot.es == 0x18 && boot.ss == 0x18, "DS %x ES %x SS %x", boot.ds,
		boot.es, boot.ss);
}

static void pvh(void)
{
	CHECK(rd32(boot.info) == 0x336ec578, "start info: magic %x", rd32(boot.info));
	CHECK(rd32(boot.info + 4) >= 1, "start info: version %u", rd32(boot.info + 4));
	CHECK((boot.cr0 & ~UINT64_C(0x10)) == 1, "CR0 %lx", boot.cr0);
	CHECK(boot.cr4 == 0, "CR4 %lx", boot.cr4);
	CHECK(boot.efer == 0, "EFER %x", boot.efer);
}

int main(void)
{
	struct e820 map[32];

	console_print("hello, protocol %u\n", boot.protocol);
	CHECK(boot.protocol == boot_number("expect.protocol", BOOT_LINUX64), "protocol %u",
		boot.protocol);
	if (boot.protocol == BOOT_PVH)
		pvh();
	else
		linux64();
	CHECK(!(boot.rflags & 0x200), "interrupts are on: RFLAGS %lx", boot.rflags);
	CHECK(!(boot.rflags & 0x20000), "RFLAGS.VM");
	CHECK(boot_has("payload.word"), "command line: '%s'", boot_cmdline());
	CHECK(boot_number("payload.number", 0) == 4711, "command line: '%s'", boot_cmdline());
	CHECK(boot_e820(map, 32) >= 2, "memory map of %u entries", boot_e820(map, 32));
	return 0;
}
