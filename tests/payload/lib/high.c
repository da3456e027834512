/* SPDX-License-Identifier: Apache-2.0 */
/* Page tables for memory above the 8 GiB that every payload has mapped, see payload.h. */
#include "payload.h"

#define PRESENT UINT64_C(0x003)
#define LARGE	UINT64_C(0x083)

/* One GiB of one entry of the top level: a payload has one such place. */
static uint64_t pdpt[512] __attribute__((aligned(4096)));
static uint64_t pd[512] __attribute__((aligned(4096)));

void high_map(uint64_t gpa)
{
	uint64_t cr3, *pml4, *table;

	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	pml4 = (uint64_t *)(cr3 & ~UINT64_C(0xfff));
	for (unsigned i = 0; i < 512; i++)
		pd[i] = (gpa & ~((UINT64_C(1) << 30) - 1)) + ((uint64_t)i << 21) + LARGE;
	if (!pml4[gpa >> 39])
		pml4[gpa >> 39] = (uint64_t)pdpt | PRESENT;
	table = (uint64_t *)(pml4[gpa >> 39] & ~UINT64_C(0xfff));
	table[gpa >> 30 & 511] = (uint64_t)pd | PRESENT;
	__asm__ volatile("movq %0, %%cr3" : : "r"(cr3) : "memory");
}
