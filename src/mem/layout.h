/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest-physical map, the same as Firecracker's where both have a thing:
 *
 *	0x0000_0500		GDT, IDT (boot only)
 *	0x0000_6000		PVH start info, module list
 *	0x0000_7000		Linux zero page, or PVH memory map
 *	0x0000_9000		boot page tables
 *	0x0002_0000		kernel command line
 *	0x0009_fc00-0x000d_efff	MP table, ACPI tables (reserved)
 *	0x000d_f000		VM generation ID, one page (reserved)
 *	0x000e_0000		RSDP
 *	0x000f_fff0		reset vector
 *	0x0010_0000		kernel; RAM up to 3 GiB
 *	0xc000_0000-0xffff_ffff	MMIO gap: boot timer, then one page per device; IOAPIC, LAPIC, TSS
 *	0x1_0000_0000		RAM above 4 GiB
 *	0x80_0000_0000		pmem, then memory that can be plugged; see region.c
 */
#ifndef VOLT_LAYOUT_H
#define VOLT_LAYOUT_H

#include "compiler.h"

#define LAYOUT_GDT	   0x500
#define LAYOUT_IDT	   0x520
#define LAYOUT_PVH_INFO	   0x6000
#define LAYOUT_PVH_MODULES 0x6040
#define LAYOUT_PVH_MEMMAP  0x7000
#define LAYOUT_ZERO_PAGE   0x7000
#define LAYOUT_BOOT_STACK  0x8ff0
#define LAYOUT_PML4	   0x9000
#define LAYOUT_PDPT	   0xa000
#define LAYOUT_PD	   0xb000
#define LAYOUT_CMDLINE	   0x20000

#define LAYOUT_LOW_RAM_END    0x9fc00
#define LAYOUT_SYSTEM	      0x9fc00 /* MP table first, ACPI tables behind it */
#define LAYOUT_SYSTEM_BYTES   0x40400 /* up to 0xe0000 */
#define LAYOUT_TABLES_END     0xdf000 /* of these tables */
#define LAYOUT_VMGENID	      0xdf000 /* its page ends where the reserved memory does */
#define LAYOUT_RSDP	      0xe0000
#define LAYOUT_RESET_VECTOR   0xffff0 /* f000:fff0 in real mode; 16 bytes */
#define LAYOUT_HIGH_RAM_START 0x100000

#define LAYOUT_GAP_START     UINT64_C(0xc0000000)
#define LAYOUT_GAP_END	     UINT64_C(0x100000000)
#define LAYOUT_HOTPLUG	     UINT64_C(0x8000000000) /* 512 GiB, if the CPU reaches it */
#define LAYOUT_BOOT_TIMER    UINT64_C(0xc0000000)
#define LAYOUT_MMIO_DEVICES  UINT64_C(0xc0001000)
#define LAYOUT_MMIO_WINDOW   UINT64_C(0x1000)
#define LAYOUT_IOAPIC	     UINT64_C(0xfec00000)
#define LAYOUT_IOAPIC_BYTES  UINT64_C(0x1000)
#define LAYOUT_LAPIC	     UINT64_C(0xfee00000)
#define LAYOUT_IDENTITY_MAP  UINT64_C(0xfffbc000) /* Intel real-mode helper, one page */
#define LAYOUT_TSS	     UINT64_C(0xfffbd000) /* Intel real-mode helper, three pages */

/*
 * Global system interrupts. Serial and keyboard are where ISA has them, and 3 would be that of a
 * second serial port; virtio follows.
 */
#define LAYOUT_GSI_KEYBOARD 1
#define LAYOUT_GSI_VMGENID  3
#define LAYOUT_GSI_SERIAL   4
#define LAYOUT_GSI_VIRTIO   5 /* first one */
#define LAYOUT_GSI_POWER    23 /* power button */
#define LAYOUT_N_GSI	    24

/* Ports. */
#define LAYOUT_PORT_I8042_DATA	  0x60
#define LAYOUT_PORT_I8042_COMMAND 0x64
#define LAYOUT_PORT_SERIAL	  0x3f8
#define LAYOUT_PORT_PVPANIC	  0x505

/* ACPI's fixed registers of a machine without the PM blocks (ACPI 6.5, 4.8.3.7): one byte each. */
#define LAYOUT_PORT_ACPI	  0x600
#define LAYOUT_PORT_ACPI_BYTES	  3
#define LAYOUT_PORT_SLEEP_CONTROL 0x600 /* bits 4:2 SLP_TYP, bit 5 SLP_EN */
#define LAYOUT_PORT_SLEEP_STATUS  0x601 /* bit 7 WAK_STS */
#define LAYOUT_PORT_RESET	  0x602
#define LAYOUT_RESET_VALUE	  0xb1 /* what the guest writes to LAYOUT_PORT_RESET */
#define LAYOUT_SLEEP_S5		  5    /* SLP_TYP of soft off */

/* Where a virtio-mmio device is: one window, one line. */
struct layout_slot {
	uint64_t base;
	unsigned gsi;
};

#endif
