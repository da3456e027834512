/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a payload starts: by the Linux 64-bit protocol (entry64), by PVH (pvh32, if linked with
 * note.S) or, on the other CPUs, by SIPI (ap_trampoline, copied below 1 MiB). The first two save
 * the state that it found in `boot`, then loads the payload's own GDT and page tables (identity map
 * of 8 GiB in 2 MiB pages; the protocol's own map ends at 1 GiB, below the devices).
 */
#include "boot.h"

	.section .entry, "ax"
	.code64
	.globl entry64
entry64:
	movq	%rsi, boot + BOOT_INFO(%rip)
	movq	%rsp, boot + BOOT_RSP(%rip)
	leaq	boot_stack_end(%rip), %rsp
	pushfq
	popq	boot + BOOT_RFLAGS(%rip)
	cli
	movq	%cr0, %rax
	movq	%rax, boot + BOOT_CR0(%rip)
	movq	%cr3, %rax
	movq	%rax, boot + BOOT_CR3(%rip)
	movq	%cr4, %rax
	movq	%rax, boot + BOOT_CR4(%rip)
	movl	$0xc0000080, %ecx
	rdmsr
	movl	%eax, boot + BOOT_EFER(%rip)
	movw	%cs, boot + BOOT_CS(%rip)
	movw	%ds, boot + BOOT_DS(%rip)
	movw	%es, boot + BOOT_ES(%rip)
	movw	%ss, boot + BOOT_SS(%rip)
	sgdt	boot + BOOT_GDTR(%rip)
	movl	$BOOT_LINUX64, boot + BOOT_PROTOCOL(%rip)
	leaq	pml4(%rip), %rax
	movq	%rax, %cr3
	lgdt	gdtr(%rip)
	pushq	$SEL_CODE64
	leaq	start64(%rip), %rax
	pushq	%rax
	lretq

	.code32
	.globl pvh32
pvh32:
	movl	%ebx, boot + BOOT_INFO
	movl	%esp, boot + BOOT_RSP
	movl	$boot_stack_end, %esp
	pushfl
	popl	boot + BOOT_RFLAGS
	cli
	movl	%cr0, %eax
	movl	%eax, boot + BOOT_CR0
	movl	%cr4, %eax
	movl	%eax, boot + BOOT_CR4
	movl	$0xc0000080, %ecx
	rdmsr
	movl	%eax, boot + BOOT_EFER
	movw	%cs, boot + BOOT_CS
	movw	%ds, boot + BOOT_DS
	movw	%es, boot + BOOT_ES
	movw	%ss, boot + BOOT_SS
	movl	$BOOT_PVH, boot + BOOT_PROTOCOL
	lgdt	gdtr
	call	long_mode
	ljmp	$SEL_CODE64, $start64

/* Turns paging and long mode on; the caller then jumps to 64-bit code. */
long_mode:
	movl	%cr4, %eax
	orl	$0x20, %eax
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx
	rdmsr
	orl	$0x100, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$0x80000001, %eax
	movl	%eax, %cr0
	ret

	.code64
start64:
	movl	$SEL_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	leaq	boot_stack_end(%rip), %rsp
	call	payload_start
1:	hlt
	jmp	1b

/* The other CPUs, in real mode at SIPI_ADDRESS. */
	.code16
	.globl ap_trampoline, ap_trampoline_end
ap_trampoline:
	cli
	movw	%cs, %ax
	movw	%ax, %ds
	lgdtl	ap_gdtr - ap_trampoline
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$SEL_CODE32, $ap32
	.balign	4
ap_gdtr:
	.word	gdt_end - gdt - 1
	.long	gdt
ap_trampoline_end:

	.code32
ap32:
	movl	$SEL_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	$1, %eax
	cpuid
	shrl	$24, %ebx
	movl	%ebx, %esi
	incl	%ebx
	shll	$AP_STACK_SHIFT, %ebx
	leal	ap_stacks(%ebx), %esp
	call	long_mode
	ljmp	$SEL_CODE64, $ap64

	.code64
ap64:
	movl	%esi, %edi
	call	smp_ap_start
1:	cli
	hlt
	jmp	1b

/* Interrupts: a stub per vector pushes (error code,) vector and goes to isr_dispatch(frame). */
	.text
	.balign	16
	.globl isr_stubs
isr_stubs:
	.set	vector, 0
	.rept	N_VECTORS
	.if	(vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21)
	.else
	pushq	$0
	.endif
	pushq	$vector
	jmp	isr_common
	.balign	16
	.set	vector, vector + 1
	.endr

isr_common:
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rbx
	pushq	%rbp
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, %rdi
	movq	%rsp, %rbp
	andq	$~15, %rsp
	cld
	call	isr_dispatch
	movq	%rbp, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rbp
	popq	%rbx
	popq	%rdx
	popq	%rcx
	popq	%rax
	addq	$16, %rsp
	iretq

	.data
	.balign	16
gdt:
	.quad	0, 0
	.quad	0x00af9b000000ffff	/* SEL_CODE64 */
	.quad	0x00cf93000000ffff	/* SEL_DATA */
	.quad	0x00cf9b000000ffff	/* SEL_CODE32 */
gdt_end:
gdtr:
	.word	gdt_end - gdt - 1
	.quad	gdt

	.section .pagetables, "aw"
	.balign	4096
	.globl pml4
pml4:
	.quad	pdpt + 3
	.fill	511, 8, 0
pdpt:
	.set	i, 0
	.rept	8
	.quad	pd + i * 4096 + 3
	.set	i, i + 1
	.endr
	.fill	504, 8, 0
pd:
	.set	i, 0
	.rept	8 * 512
	.quad	(i << 21) + 0x83
	.set	i, i + 1
	.endr

	.bss
	.balign	4096
	.skip	16384
boot_stack_end:
	.globl ap_stacks
ap_stacks:
	.skip	(1 << AP_STACK_SHIFT) * AP_MAX
	.section .note.GNU-stack, "", @progbits
