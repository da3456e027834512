/* SPDX-License-Identifier: Apache-2.0 */
/* Cold boot, see boot-load.h. */
#include "boot-load.h"

#include <errno.h>
#include <stdio.h>

#include "acpi.h"
#include "boot.h"
#include "cmdline.h"
#include "cpu-setup.h"
#include "initrd.h"
#include "kernel.h"
#include "log.h"
#include "machine.h"
#include "mptable.h"
#include "probe.h"
#include "regs.h"
#include "vm.h"

/*
 * A KVM made of software runs small guests, but not Linux: say so instead of hanging in its boot.
 */
static int check_software_kvm(const struct vm *vm, int kvmfd, const struct kernel_image *kernel,
	struct volt_err *err)
{
	if (!probe_no_hardware_virtualization() || !kernel_image_is_linux(&vm->mem, kernel) ||
		probe_run(kvmfd) == 0)
		return 0;
	return volt_err_set(err, ENOTSUP,
		"this machine has no VT-x or AMD-V, and its KVM is software that cannot run a "
		"Linux "
		"kernel: run in the lab, which emulates a machine that can: "
		"lab/volt-lab run -- volt-vmm ...");
}

static int write_tables(const struct vm *vm, struct volt_err *err)
{
	struct acpi_config acpi = {
		.n_vcpus = vm->cfg->vcpus,
		.serial = true,
		.keyboard = true,
		.pvpanic = true,
	};
	uint64_t end;
	int r = mptable_write(&vm->mem, vm->cfg->vcpus, &end, err);

	if (r < 0 || vm->cfg->no_acpi)
		return r;
	acpi.n_virtio = machine_slots(vm, acpi.virtio);
	return acpi_write(&vm->mem, end, &acpi, err);
}

/*
 * A kernel finds the virtio devices in the DSDT, or by virtio_mmio.device= if it has no ACPI. One
 * that gets both reports each device of the second kind as an error, so it gets both only if we
 * cannot tell.
 */
static int build_cmdline(const struct vm *vm, const struct kernel_image *kernel,
	char ret[LIMIT_CMDLINE], struct volt_err *err)
{
	bool acpi = !vm->cfg->no_acpi && kernel_image_has_acpi(&vm->mem, kernel);
	const struct disk_config *disk = vm->cfg->n_disks ? &vm->cfg->disks[0] : NULL;
	struct layout_slot slots[LIMIT_VIRTIO];
	char root[64] = "/dev/vda";
	struct cmdline_config in = {
		.user = vm->cfg->cmdline,
		.pci_off = true,
		.virtio = slots,
		.n_virtio = acpi ? 0 : machine_slots(vm, slots),
	};

	if (disk && disk->root) {
		if (disk->partuuid)
			snprintf(root, sizeof(root), "PARTUUID=%s", disk->partuuid);
		in.root = root;
		in.root_read_only = disk->read_only;
	}
	for (size_t i = 0; i < vm->cfg->n_pmems; i++) {
		if (!vm->cfg->pmems[i].root)
			continue;
		snprintf(root, sizeof(root), "/dev/pmem%zu", i);
		in.root = root;
		in.root_read_only = vm->cfg->pmems[i].read_only;
	}
	return cmdline_build(&in, ret, err);
}

static int set_vcpus(struct vm *vm, const struct resources *res, const struct boot_regs *regs,
	struct volt_err *err)
{
	int r = cpu_setup(res->kvmfd, vm->cfg, res->cpu_template, vm->vcpus, vm->n_vcpus, err);

	for (unsigned i = 0; r == 0 && i < vm->n_vcpus; i++) {
		r = regs_setup(vm->vcpus[i].fd, i == 0 ? regs : NULL, err);
		if (r < 0)
			volt_err_wrap(err, "vCPU %u", i);
	}
	return r;
}

int boot_load(struct vm *vm, const struct resources *res, struct volt_err *err)
{
	struct initrd initrd = { 0 };
	struct kernel_image kernel;
	char cmdline[LIMIT_CMDLINE];
	struct boot_regs regs;
	struct boot_params_in in = {
		.kernel = &kernel,
		.initrd = res->initrdfd >= 0 ? &initrd : NULL,
		.cmdline = cmdline,
		.acpi = !vm->cfg->no_acpi,
		.prefer_linux64 = vm->cfg->boot_protocol == BOOT_PROTOCOL_LINUX,
	};
	int r;

	if (res->kernelfd < 0)
		return cpu_setup(
			res->kvmfd, vm->cfg, res->cpu_template, vm->vcpus, vm->n_vcpus, err);
	r = kernel_load(res->kernelfd, &vm->mem, &kernel, err);

	if (r < 0)
		return volt_err_wrap(err, "'%s'", vm->cfg->kernel_path);
	if (vm->cfg->boot_protocol == BOOT_PROTOCOL_PVH && !kernel.pvh)
		return volt_err_set(err, ENOEXEC,
			"'%s' has no PVH entry: leave out --boot-protocol pvh",
			vm->cfg->kernel_path);
	r = check_software_kvm(vm, res->kvmfd, &kernel, err);
	if (r == 0 && in.initrd) {
		r = initrd_load(res->initrdfd, &vm->mem, &kernel, &initrd, err);
		if (r < 0)
			volt_err_wrap(err, "'%s'", vm->cfg->initrd_path);
	}
	if (r == 0)
		r = build_cmdline(vm, &kernel, cmdline, err);
	if (r == 0)
		r = write_tables(vm, err);
	if (r == 0)
		r = vmgenid_first(&vm->vmgenid, err);
	if (r == 0)
		r = boot_write(&vm->mem, &in, &regs, err);
	if (r < 0)
		return r;
	log_debug("Kernel loaded using %s boot protocol%s",
		regs.long_mode ? "Linux 64-bit" : "PVH", kernel.bzimage ? " (bzImage)" : "");
	log_debug("command line: %s", cmdline);
	return set_vcpus(vm, res, &regs, err);
}
