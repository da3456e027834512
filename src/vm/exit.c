/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest exit means: one switch, on the vCPU's thread. A reason that is not here is an error
 * of KVM or of the monitor and ends the VM with a report.
 */
#include "bus.h"
#include "probe.h"
#include "vm.h"

/* Port I/O: `count` items of `size` bytes, at data_offset in the shared page. */
static void port_io(struct vcpu *v)
{
	const __typeof__(v->run->io) io = v->run->io;
	uint8_t *data = (uint8_t *)v->run + io.data_offset;

	for (uint32_t i = 0; i < io.count; i++, data += io.size) {
		if (io.direction == KVM_EXIT_IO_OUT)
			bus_write(&v->vm->ports, io.port, data, io.size);
		else
			bus_read(&v->vm->ports, io.port, data, io.size);
	}
}

static void mmio(struct vcpu *v)
{
	if (v->run->mmio.is_write)
		bus_write(&v->vm->mmio, v->run->mmio.phys_addr, v->run->mmio.data,
			v->run->mmio.len);
	else
		bus_read(&v->vm->mmio, v->run->mmio.phys_addr, v->run->mmio.data, v->run->mmio.len);
}

static void internal_error(struct vcpu *v)
{
	const struct kvm_run *run = v->run;

	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		vm_end(v->vm, VM_END_KVM_ERROR, v,
			"KVM could not emulate an instruction of the guest (internal error 1)%s",
			probe_no_hardware_virtualization() ?
				": this machine's KVM is software and cannot run every guest; use "
				"lab/volt-lab run" :
				"");
	else
		vm_end(v->vm, VM_END_KVM_ERROR, v, "KVM internal error %u", run->internal.suberror);
}

static void count(_Atomic uint64_t *c)
{
	atomic_fetch_add_explicit(c, 1, memory_order_relaxed);
}

static void count_since(_Atomic uint64_t *exits, struct latency *latency, uint64_t start_ns)
{
	count(exits);
	latency_between(latency, start_ns, loop_now_ns());
}

static void handle_io(struct vcpu *v)
{
	bool out = v->run->io.direction == KVM_EXIT_IO_OUT;
	uint64_t start_ns = loop_now_ns();

	port_io(v);
	count_since(out ? &v->exits_io_out : &v->exits_io_in, out ? &v->io_out : &v->io_in,
		start_ns);
}

static void handle_mmio(struct vcpu *v)
{
	bool write = v->run->mmio.is_write;
	uint64_t start_ns = loop_now_ns();

	mmio(v);
	count_since(write ? &v->exits_mmio_write : &v->exits_mmio_read,
		write ? &v->mmio_write : &v->mmio_read, start_ns);
}

static bool fail(struct vcpu *v)
{
	count(&v->failures);
	return false;
}

/* #syscalls vcpu: clock_gettime */
bool exit_handle(struct vcpu *v)
{
	const struct kvm_run *run = v->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(v);
		break;
	case KVM_EXIT_MMIO:
		handle_mmio(v);
		break;
	case KVM_EXIT_IOAPIC_EOI:
		count(&v->exits_other);
		ioapic_eoi(&v->vm->ioapic, run->eoi.vector);
		break;
	case KVM_EXIT_INTR:
		count(&v->exits_other);
		break;
	case KVM_EXIT_SHUTDOWN:
		vm_end(v->vm, VM_END_TRIPLE_FAULT, v, "triple fault");
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		vm_end(v->vm, VM_END_KVM_ERROR, v, "the CPU refused the guest's state (0x%llx)",
			(unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		return fail(v);
	case KVM_EXIT_INTERNAL_ERROR:
		internal_error(v);
		return fail(v);
	default:
		vm_end(v->vm, VM_END_KVM_ERROR, v, "unexpected KVM exit %u", run->exit_reason);
		return fail(v);
	}
	return !vm_ended(v->vm);
}
