/* SPDX-License-Identifier: Apache-2.0 */
/* How a VM ends, and what is said about it; see vm.h. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "vcon.h"
#include "vm.h"

static const struct {
	int status;
	const char *text;
} ends[] = {
	[VM_END_NONE] = { 1, "still running" },
	[VM_END_POWEROFF] = { 0, "the guest powered off" },
	[VM_END_RESET] = { 0, "the guest rebooted" },
	[VM_END_QUIT] = { 0, "stopped from outside" },
	[VM_END_PANIC] = { 16, "the guest's kernel panicked" },
	[VM_END_TRIPLE_FAULT] = { 17, "the guest's CPU shut down" },
	[VM_END_KVM_ERROR] = { 18, "KVM could not run the guest" },
	[VM_END_KILLED] = { 19, "the guest did not stop in time and was killed" },
	[VM_END_ERROR] = { 1, "the monitor failed" },
};

void vm_end(struct vm *vm, enum vm_end why, struct vcpu *v, const char *fmt, ...)
{
	struct vm_report *report = &vm->report;
	uint64_t one = 1;
	va_list ap;

	if (atomic_exchange(&vm->ending, true))
		return;
	va_start(ap, fmt);
	vsnprintf(report->text, sizeof(report->text), fmt, ap);
	va_end(ap);
	if (v) {
		memcpy(report->vcpu, v->name, sizeof(report->vcpu));
		report->have_regs = kvm_get_regs(v->fd, &report->regs) == 0 &&
			kvm_get_sregs(v->fd, &report->sregs) == 0;
	}
	timeline_mark(vm->timeline, TIMELINE_END);
	atomic_store_explicit(&vm->end, (int)why, memory_order_release);
	/* #syscalls loop vcpu: write */
	if (write(vm->endfd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		log_error("end of the VM: cannot wake the loop: %m");
}

bool vm_ended(const struct vm *vm)
{
	return atomic_load_explicit(&vm->end, memory_order_acquire) != VM_END_NONE;
}

/*
 * The end of what the guest wrote, with room for CONSOLE_TAIL_BYTES: to hvc0 if it did, else
 * serial.
 */
static size_t last_output(const struct vm *vm, char *tail)
{
	size_t n = vm->vcon ? vcon_tail(vm->vcon, tail, CONSOLE_TAIL_BYTES) : 0;

	return n ? n : serial_tail(vm->serial, tail, CONSOLE_TAIL_BYTES);
}

/*
 * A kernel without the pvpanic driver says on its console that it panicked, and then resets
 * (panic=1): that is a panic too.
 */
static enum vm_end reason(const struct vm *vm)
{
	enum vm_end why = (enum vm_end)atomic_load(&vm->end);
	char tail[CONSOLE_TAIL_BYTES + 1];
	size_t n;

	if (why != VM_END_RESET && why != VM_END_TRIPLE_FAULT)
		return why;
	n = last_output(vm, tail);
	tail[n] = '\0';
	for (size_t i = 0; i < n; i++)
		if (!tail[i])
			tail[i] = ' ';
	return strstr(tail, "Kernel panic - not syncing") ? VM_END_PANIC : why;
}

/* Firecracker knows of no panic, only of the reset behind it; what else goes wrong is 1 there. */
int vm_exit_status(const struct vm *vm)
{
	enum vm_end why = reason(vm);
	int status = ends[why].status;

	if (!vm->cfg->firecracker || !status)
		return status;
	return why == VM_END_PANIC ? 0 : 1;
}

static void print_segment(FILE *out, const char *name, const struct kvm_segment *s)
{
	fprintf(out, "  %-4s %04x base %016" PRIx64 " limit %08x type %x%s%s\n", name, s->selector,
		(uint64_t)s->base, s->limit, s->type, s->l ? " 64-bit" : "",
		s->present ? "" : " not present");
}

static void print_regs(FILE *out, const struct vm_report *p)
{
	const struct kvm_regs *r = &p->regs;
	const struct kvm_sregs *s = &p->sregs;

	fprintf(out, "registers of %s\n", p->vcpu);
	fprintf(out, "  rip %016llx  rfl %016llx\n", r->rip, r->rflags);
	fprintf(out, "  rax %016llx  rbx %016llx  rcx %016llx  rdx %016llx\n", r->rax, r->rbx,
		r->rcx, r->rdx);
	fprintf(out, "  rsi %016llx  rdi %016llx  rsp %016llx  rbp %016llx\n", r->rsi, r->rdi,
		r->rsp, r->rbp);
	fprintf(out, "  r8  %016llx  r9  %016llx  r10 %016llx  r11 %016llx\n", r->r8, r->r9, r->r10,
		r->r11);
	fprintf(out, "  r12 %016llx  r13 %016llx  r14 %016llx  r15 %016llx\n", r->r12, r->r13,
		r->r14, r->r15);
	fprintf(out, "  cr0 %016llx  cr2 %016llx  cr3 %016llx  cr4 %016llx\n", s->cr0, s->cr2,
		s->cr3, s->cr4);
	fprintf(out, "  efer %016llx\n", s->efer);
	print_segment(out, "cs", &s->cs);
	print_segment(out, "ss", &s->ss);
	print_segment(out, "ds", &s->ds);
	fprintf(out, "  gdt  base %016llx limit %04x   idt base %016llx limit %04x\n", s->gdt.base,
		s->gdt.limit, s->idt.base, s->idt.limit);
}

/* The last lines of the console; control characters, which a hostile guest may send, as dots. */
static void print_tail(FILE *out, const struct vm *vm)
{
	char tail[CONSOLE_TAIL_BYTES];
	size_t n = last_output(vm, tail), start = n, lines = 0;

	while (start > 0 && lines <= 20)
		if (tail[--start] == '\n')
			lines++;
	if (start < n && tail[start] == '\n')
		start++;
	if (start == n)
		return;
	fprintf(out, "last lines of the console\n  ");
	for (size_t i = start; i < n; i++) {
		char c = tail[i];

		if (c == '\r')
			continue;
		fputc(c == '\n' || (c >= ' ' && c < 0x7f) ? c : '.', out);
		if (c == '\n' && i + 1 < n)
			fputs("  ", out);
	}
	if (tail[n - 1] != '\n')
		fputc('\n', out);
}

void vm_report_print(struct vm *vm, FILE *out)
{
	enum vm_end why = reason(vm);

	if (ends[why].status == 0) {
		log_info("%s", ends[why].text);
		return;
	}
	fprintf(out, "volt-vmm: %s: %s\n", ends[why].text, vm->report.text);
	if (why == VM_END_KILLED || why == VM_END_ERROR)
		return;
	if (vm->report.have_regs)
		print_regs(out, &vm->report);
	print_tail(out, vm);
}
