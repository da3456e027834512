/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every payload guest has: ports, MMIO, a console, a verdict and ways to end. A payload
 * defines main(); returning from it is PASS, then the VM is powered off. The host looks for the
 * line "PASS" or "FAIL why" on the console. Options come on the kernel command line as name=value.
 *
 * The software KVM of a machine without VT-x emulates about 1.8 million instructions a second and
 * knows no SSE: loops are kept short, and everything is built with -mgeneral-regs-only.
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot.h"

static inline void out8(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint16_t in16(uint16_t port)
{
	uint16_t v;

	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

/* Single mov instructions, which every KVM decodes. */
static inline uint8_t rd8(uint64_t a)
{
	uint8_t v;

	__asm__ volatile("movb (%1), %0" : "=q"(v) : "r"(a) : "memory");
	return v;
}

static inline uint16_t rd16(uint64_t a)
{
	uint16_t v;

	__asm__ volatile("movw (%1), %0" : "=r"(v) : "r"(a) : "memory");
	return v;
}

static inline uint32_t rd32(uint64_t a)
{
	uint32_t v;

	__asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(a) : "memory");
	return v;
}

static inline uint64_t rd64(uint64_t a)
{
	uint64_t v;

	__asm__ volatile("movq (%1), %0" : "=r"(v) : "r"(a) : "memory");
	return v;
}

static inline void wr8(uint64_t a, uint8_t v)
{
	__asm__ volatile("movb %1, (%0)" : : "r"(a), "q"(v) : "memory");
}

static inline void wr16(uint64_t a, uint16_t v)
{
	__asm__ volatile("movw %1, (%0)" : : "r"(a), "r"(v) : "memory");
}

static inline void wr32(uint64_t a, uint32_t v)
{
	__asm__ volatile("movl %1, (%0)" : : "r"(a), "r"(v) : "memory");
}

static inline void wr64(uint64_t a, uint64_t v)
{
	__asm__ volatile("movq %1, (%0)" : : "r"(a), "r"(v) : "memory");
}

static inline uint64_t tsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}

static inline void barrier(void)
{
	__asm__ volatile("mfence" : : : "memory");
}

static inline void pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

/* 5 to 20 seconds of any machine's time stamp counter: longer than any honest answer takes. */
#define PATIENCE UINT64_C(20000000000)

void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);

void console_write(const char *s, size_t n);
void console_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void console_vprint(const char *fmt, va_list ap);

/* %s %c %d %u %x, with l for 64 bits, no widths. */
_Noreturn void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void pass(void);
_Noreturn void poweroff(void);
_Noreturn void reset_by_keyboard(void);
_Noreturn void triple_fault(uint64_t rax); /* a page fault without an IDT */

#define CHECK(cond, ...)                                                                           \
	do {                                                                                       \
		if (!(cond))                                                                       \
			fail(__VA_ARGS__);                                                         \
	} while (0)

int main(void);

/* The command line that the loader gave, and the value of name=value on it. */
const char *boot_cmdline(void);
bool boot_has(const char *word);
uint64_t boot_number(const char *name, uint64_t otherwise);

struct e820 {
	uint64_t base, bytes;
	uint32_t type; /* 1: RAM */
};

/* The memory map, by whichever protocol we came; number of entries. */
unsigned boot_e820(struct e820 *map, unsigned room);

/* irq.c: vectors 32..62 are free for interrupts; handlers run with interrupts off. */
struct isr_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

typedef void irq_handler(void);

void irq_init(void); /* IDT, local APIC on */
void irq_load_idt(void);
/* Edge-triggered, to this CPU, unmasked. */
void irq_route(unsigned gsi, uint8_t vector, irq_handler *handler);
void irq_mask(unsigned gsi);
uint32_t lapic_read(unsigned reg);
void lapic_write(unsigned reg, uint32_t v);
uint32_t ioapic_read(unsigned reg);
void ioapic_write(unsigned reg, uint32_t v);

/* Takes what is pending; interrupts are off before and after. */
static inline void irq_window(void)
{
	__asm__ volatile("sti; nop; nop; nop; cli" : : : "memory");
}

/* Sleeps until an interrupt was handled; interrupts are off before and after. */
static inline void irq_wait(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

/* smp.c: runs fn(apic_id) on another CPU, once; it then stays halted. */
void smp_start(uint8_t apic_id, void (*fn)(unsigned apic_id));
bool smp_wait(volatile uint32_t *counter, uint32_t value);

/* high.c: maps the GiB that gpa is in, which is beyond the first 8; once. */
void high_map(uint64_t gpa);

/* tables.c */
struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision, creator, creator_revision;
} __attribute__((packed));

bool tables_sum_ok(const void *p, size_t n);
const uint8_t *tables_rsdp(void); /* NULL if there is none */
const struct acpi_header *tables_find(const char *signature);
unsigned tables_madt_cpus(uint8_t *ids, unsigned room); /* enabled local APICs; 0 without a MADT */
unsigned tables_mp_cpus(uint8_t *ids, unsigned room);	/* 0 without an MP table */

#endif
