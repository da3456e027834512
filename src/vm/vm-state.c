/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving and loading a machine, see vm-state.h.
 *
 * Saving looks at the clock first, as it goes on while we look at the rest. Loading reads all of
 * the file about the vCPUs before KVM gets any of it, then in the order of cpu-state.c: registers
 * of all vCPUs, the clock, then their time. Devices come last, the one that makes memory
 * (virtio-mem) before those that look at it. Nothing raises an interrupt before vm_state_wake(): so
 * the state of a machine that was loaded is that which was saved.
 */
#include "vm-state.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>

#include "cleanup.h"
#include "cpu-state.h"
#include "state.h"
#include "virtio.h"
#include "vm.h"
#include "vmmio.h"

/* -- what the machine was made with ---------------------------------------------------------- */

static void machine_fields(const struct vm *vm, struct state *s)
{
	state_begin(s, "machine", 0, 1);
	state_fixed(s, "vcpus", vm->n_vcpus);
	state_fixed(s, "regions", vm->mem.n_regions);
	for (size_t i = 0; i < vm->mem.n_regions; i++) {
		const struct gmem_region *r = &vm->mem.regions[i];

		state_fixed(s, "region-kind", r->kind);
		state_fixed(s, "region-address", r->gpa);
		state_fixed(s, "region-bytes", r->bytes);
		state_fixed(s, "region-read-only", r->read_only);
	}
	state_fixed(s, "boot-timer", vm->cfg->boot_timer);
	state_fixed(s, "virtio-devices", vm->n_virtio);
	state_end(s);
}

/* -- devices --------------------------------------------------------------------------------- */

static bool makes_memory(const struct vm *vm, size_t i)
{
	return vmmio_virtio(vm->virtio[i])->ops->id == VIRTIO_ID_MEM;
}

/* The pvpanic port and the boot timer have no state. */
static void device_fields(struct vm *vm, struct state *s)
{
	ioapic_state(&vm->ioapic, s);
	serial_state(vm->serial, s);
	i8042_state(&vm->i8042, s);
	acpi_pm_state(&vm->pm, s);
	for (size_t i = 0; i < vm->n_virtio; i++)
		if (makes_memory(vm, i))
			vmmio_state(vm->virtio[i], s, (unsigned)i);
	for (size_t i = 0; i < vm->n_virtio; i++)
		if (!makes_memory(vm, i))
			vmmio_state(vm->virtio[i], s, (unsigned)i);
}

void vm_state_wake(struct vm *vm)
{
	ioapic_wake(&vm->ioapic);
	serial_wake(vm->serial);
	i8042_wake(&vm->i8042);
}

/* -- saving ---------------------------------------------------------------------------------- */

static int find_msrs(struct vm *vm, struct volt_err *err)
{
	struct cpu_msrs *msrs;
	int r;

	if (vm->msrs)
		return 0;
	msrs = calloc(1, sizeof(*msrs));
	if (!msrs)
		return volt_err_set(err, ENOMEM, "MSRs: %m");
	r = cpu_msrs_find(&vm->host, vm->vcpus[0].fd, msrs, err);
	if (r < 0)
		free(msrs);
	else
		vm->msrs = msrs;
	return r;
}

static int save_vcpus(struct vm *vm, struct state *s, struct volt_err *err)
{
	_cleanup_free_ struct cpu_state *c = calloc(1, sizeof(*c));

	if (!c)
		return volt_err_set(err, ENOMEM, "vCPUs: %m");
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		if (cpu_state_get(vm->vcpus[i].fd, &vm->host, vm->msrs, c, err) < 0)
			return volt_err_wrap(err, "vCPU %u", i);
		if (i == 0)
			cpu_host_state(&vm->host, &c->cpuid, s);
		cpu_state_fields(c, &vm->host, i, s);
	}
	return 0;
}

int vm_save(struct vm *vm, struct state *s, struct volt_err *err)
{
	struct cpu_clock clock;
	int r;

	if (!vm_paused(vm))
		return volt_err_set(err, EBUSY, "the VM runs: pause it first");
	r = cpu_clock_get(vm->vmfd, &clock, err);
	if (r == 0)
		r = find_msrs(vm, err);
	if (r < 0)
		return r;
	machine_fields(vm, s);
	cpu_clock_state(&clock, s);
	r = save_vcpus(vm, s, err);
	if (r < 0)
		return r;
	device_fields(vm, s);
	return state_error(s, err);
}

/* -- loading --------------------------------------------------------------------------------- */

static int set_vcpus(struct vm *vm, const struct cpu_state *cpus, const struct cpu_clock *clock,
	struct volt_err *err)
{
	struct cpu_clock now;
	int r;

	for (unsigned i = 0; i < vm->n_vcpus; i++)
		if (cpu_state_set(vm->vcpus[i].fd, &vm->host, &cpus[i], err) < 0)
			return volt_err_wrap(err, "vCPU %u", i);
	r = cpu_clock_set(vm->vmfd, clock, &now, err);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < vm->n_vcpus; i++)
		if (cpu_state_set_time(vm->vcpus[i].fd, &cpus[i], clock, &now, err) < 0)
			return volt_err_wrap(err, "vCPU %u", i);
	return 0;
}

static int load_vcpus(struct vm *vm, struct state *s, struct volt_err *err)
{
	_cleanup_free_ struct cpu_state *cpus = calloc(vm->n_vcpus, sizeof(*cpus));
	struct cpu_clock clock = { 0 };
	int r;

	if (!cpus)
		return volt_err_set(err, ENOMEM, "vCPUs: %m");
	cpu_clock_state(&clock, s);
	cpu_host_state(&vm->host, NULL, s);
	for (unsigned i = 0; i < vm->n_vcpus; i++)
		cpu_state_fields(&cpus[i], &vm->host, i, s);
	r = state_error(s, err);
	return r < 0 ? r : set_vcpus(vm, cpus, &clock, err);
}

int vm_load(struct vm *vm, struct state *s, struct volt_err *err)
{
	int r;

	assert(!vm->started);
	r = vm_pause(vm, err);
	if (r < 0)
		return r;
	machine_fields(vm, s);
	r = state_error(s, err);
	if (r == 0)
		r = load_vcpus(vm, s, err);
	if (r < 0)
		return r;
	device_fields(vm, s);
	state_done(s);
	vm->pause.loaded = true;
	return state_error(s, err);
}
