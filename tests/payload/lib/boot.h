/* SPDX-License-Identifier: Apache-2.0 */
/* What entry.S and C share: offsets in struct boot, selectors, sizes. */
#ifndef PAYLOAD_BOOT_H
#define PAYLOAD_BOOT_H

#define BOOT_LINUX64 1
#define BOOT_PVH     2

#define BOOT_INFO     0
#define BOOT_RSP      8
#define BOOT_RFLAGS   16
#define BOOT_CR0      24
#define BOOT_CR3      32
#define BOOT_CR4      40
#define BOOT_EFER     48
#define BOOT_PROTOCOL 52
#define BOOT_CS	      56
#define BOOT_DS	      58
#define BOOT_ES	      60
#define BOOT_SS	      62
#define BOOT_GDTR     64

#define SEL_CODE64 0x10
#define SEL_DATA   0x18
#define SEL_CODE32 0x20

#define AP_STACK_SHIFT 12
#define AP_MAX	       64
#define SIPI_ADDRESS   0x10000
#define N_VECTORS      64

#ifndef __ASSEMBLER__
#include <stdint.h>

/* The state in which the payload was entered. */
struct boot {
	uint64_t info; /* zero page (RSI) or PVH start info (EBX) */
	uint64_t rsp, rflags, cr0, cr3, cr4;
	uint32_t efer, protocol;
	uint16_t cs, ds, es, ss;
	uint8_t gdtr[16];
};

extern struct boot boot;
#endif

#endif
