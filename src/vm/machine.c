/* SPDX-License-Identifier: Apache-2.0 */
/* The devices of a VM, see machine.h. */
#include "machine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "balloon.h"
#include "blk.h"
#include "cleanup.h"
#include "log.h"
#include "machine-mmds.h"
#include "net-vhost.h"
#include "net.h"
#include "netif.h"
#include "pmem.h"
#include "region.h"
#include "rng.h"
#include "vcon.h"
#include "virtio.h"
#include "vm.h"
#include "vmem.h"
#include "vmmio.h"
#include "vsock.h"

/* ---- what devices tell the VM; vCPU threads, under the device's lock ---- */

/* The vCPU thread that makes the access: its registers belong into a report. */
static struct vcpu *current(struct vm *vm)
{
	for (size_t i = 0; i < vm->n_vcpus; i++)
		if (pthread_equal(vm->vcpus[i].thread, pthread_self()))
			return &vm->vcpus[i];
	return NULL;
}

static void on_poweroff(void *owner)
{
	vm_end(owner, VM_END_POWEROFF, NULL, "power off");
}

static void on_reset(void *owner)
{
	vm_end(owner, VM_END_RESET, NULL, "reset");
}

static void on_panic(void *owner)
{
	vm_end(owner, VM_END_PANIC, current(owner), "it wrote to the pvpanic port");
}

/* Firecracker's line, which scripts look for. */
static void on_boot(void *owner, uint64_t now_ns, uint64_t cpu_ns)
{
	struct vm *vm = owner;
	uint64_t us = (now_ns - atomic_load(&vm->timeline->ns[TIMELINE_EXEC])) / 1000;

	timeline_mark(vm->timeline, TIMELINE_INIT);
	log_guest(LOG_INFO, "Guest-boot-time = %6llu us %llu ms, %6llu CPU us %llu CPU ms",
		(unsigned long long)us, (unsigned long long)us / 1000,
		(unsigned long long)cpu_ns / 1000, (unsigned long long)cpu_ns / 1000000);
}

/* ---- platform devices ---- */

static int add_port(struct vm *vm, uint64_t port, uint64_t n, struct dev *dev, struct volt_err *err)
{
	return bus_add(&vm->ports, port, n, dev, err);
}

static int create_platform(struct vm *vm, struct volt_err *err)
{
	const struct acpi_pm_events pm = { on_poweroff, on_reset, vm };
	const struct i8042_events i8042 = { on_reset, vm };
	const struct pvpanic_events pvpanic = { on_panic, vm };
	const struct boot_timer_events boot = { on_boot, vm };
	int r;

	ioapic_init(&vm->ioapic, vm->vmfd);
	i8042_init(&vm->i8042, &vm->ioapic, &i8042);
	acpi_pm_init(&vm->pm, &vm->ioapic, &pm);
	vmgenid_init(&vm->vmgenid, &vm->mem, &vm->ioapic);
	pvpanic_init(&vm->pvpanic, &pvpanic);
	boot_timer_init(&vm->boot_timer, &boot);

	r = bus_add(&vm->mmio, LAYOUT_IOAPIC, LAYOUT_IOAPIC_BYTES, &vm->ioapic.dev, err);
	if (r == 0 && vm->cfg->boot_timer)
		r = bus_add(&vm->mmio, LAYOUT_BOOT_TIMER, BOOT_TIMER_BYTES, &vm->boot_timer.dev,
			err);
	if (r == 0)
		r = add_port(vm, LAYOUT_PORT_SERIAL, SERIAL_PORTS, &vm->serial->dev, err);
	if (r == 0)
		r = add_port(vm, LAYOUT_PORT_I8042_DATA, I8042_PORTS, &vm->i8042.dev, err);
	if (r == 0)
		r = add_port(vm, LAYOUT_PORT_PVPANIC, PVPANIC_PORTS, &vm->pvpanic.dev, err);
	if (r == 0)
		r = add_port(vm, LAYOUT_PORT_ACPI, ACPI_PM_PORTS, &vm->pm.dev, err);
	return r;
}

/* ---- virtio devices ---- */

static struct layout_slot slot(size_t n)
{
	return (struct layout_slot){
		.base = LAYOUT_MMIO_DEVICES + n * LAYOUT_MMIO_WINDOW,
		.gsi = LAYOUT_GSI_VIRTIO + (unsigned)n,
	};
}

/*
 * Gives the device the next window and interrupt; irqfd: one that the kernel can raise by itself.
 * The device is owned by the VM or destroyed.
 */
static int attach(struct vm *vm, struct virtio_dev *v, bool irqfd, struct volt_err *err)
{
	struct layout_slot where = slot(vm->n_virtio);
	struct vmmio_env env = {
		.mem = &vm->mem,
		.loop = &vm->loop,
		.vmfd = vm->vmfd,
		.base = where.base,
		.ioapic = &vm->ioapic,
		.gsi = where.gsi,
		.irqfd = irqfd,
	};
	struct vmmio *m;
	int r;

	if (vm->n_virtio == LIMIT_VIRTIO) {
		v->ops->destroy(v);
		return volt_err_set(err, ENOSPC, "more than %d virtio devices", LIMIT_VIRTIO);
	}
	r = vmmio_create(v, &env, &m, err);
	if (r < 0) {
		v->ops->destroy(v);
		return r;
	}
	vm->virtio[vm->n_virtio++] = m;
	return bus_add(&vm->mmio, where.base, VMMIO_BYTES, vmmio_dev(m), err);
}

static int create_balloon(struct vm *vm, struct volt_err *err)
{
	const struct balloon_config *b = &vm->cfg->balloon;
	const struct balloon_params params = {
		.amount_mib = b->amount_mib,
		.stats_interval_s = b->stats_interval_s,
		.deflate_on_oom = b->deflate_on_oom,
		.hinting = b->hinting,
		.reporting = b->reporting,
	};
	struct virtio_dev *v;
	int r;

	if (!b->present)
		return 0;
	r = balloon_create(&params, &vm->loop, &v, err);
	return r < 0 ? r : attach(vm, v, false, err);
}

static unsigned queues(const struct vm *vm, const struct disk_config *d)
{
	return d->n_queues ? d->n_queues : MIN(vm->cfg->vcpus, (unsigned)LIMIT_DISK_QUEUES);
}

static int create_disks(struct vm *vm, struct resources *res, struct volt_err *err)
{
	for (size_t i = 0; i < vm->cfg->n_disks; i++) {
		const struct disk_config *d = &vm->cfg->disks[i];
		const struct blk_params params = {
			.id = d->id,
			.read_only = d->read_only,
			.unsafe_cache = d->cache == DISK_CACHE_UNSAFE,
			.n_queues = queues(vm, d),
			.limit = d->limit,
		};
		struct virtio_dev *v;
		int r = d->overlay ? blk_create_overlay(&params, res->diskfds[i],
					     res->overlayfds[i], &vm->loop, &v, err) :
				     blk_create(&params, res->diskfds[i],
					     d->io == DISK_IO_URING, &vm->loop, &v, err);

		if (r == 0) {
			take_fd(&res->diskfds[i]);
			take_fd(&res->overlayfds[i]);
			vm->disks[i] = v;
			r = attach(vm, v, false, err);
		}
		if (r < 0)
			return volt_err_wrap(err, "disk '%s'", d->id);
	}
	return 0;
}

static int create_net(struct vm *vm, struct resources *res, size_t i, struct volt_err *err)
{
	const struct net_config *n = &vm->cfg->nets[i];
	struct net_params params = { .id = n->id, .mtu = n->mtu, .rx = n->rx, .tx = n->tx };
	struct virtio_dev *v;
	bool vhost = res->vhosts[i];
	int r = vhost ? net_vhost_set_memory(res->vhosts[i], &vm->mem, err) : 0;

	memcpy(params.mac, n->mac_bytes, sizeof(params.mac));
	if (r == 0)
		r = machine_mmds_attach(vm, res, n, &params, err);
	if (r == 0)
		r = net_create(&params, res->nets[i], res->vhosts[i], &vm->loop, &v, err);
	if (r < 0)
		return r;
	/* A MAC that was made up appears nowhere else. */
	log_info("net '%s': %s%s%s, MAC %02x:%02x:%02x:%02x:%02x:%02x", n->id,
		res->nets[i]->ops->name, n->host_dev ? " " : "", n->host_dev ? n->host_dev : "",
		params.mac[0], params.mac[1], params.mac[2], params.mac[3], params.mac[4],
		params.mac[5]);
	take_ptr(&res->nets[i]);
	take_ptr(&res->vhosts[i]);
	vm->nets[i] = v;
	return attach(vm, v, vhost, err);
}

static int create_nets(struct vm *vm, struct resources *res, struct volt_err *err)
{
	for (size_t i = 0; i < vm->cfg->n_nets; i++)
		if (create_net(vm, res, i, err) < 0)
			return volt_err_wrap(err, "net '%s'", vm->cfg->nets[i].id);
	return 0;
}

static int create_pmems(struct vm *vm, struct resources *res, struct volt_err *err)
{
	for (size_t i = 0; i < vm->cfg->n_pmems; i++) {
		const struct pmem_config *p = &vm->cfg->pmems[i];
		const struct pmem_params params = {
			.id = p->id,
			.region = region_of_pmem(vm, i),
			.read_only = p->read_only,
			.uring = p->io == DISK_IO_URING,
			.limiter = p->limiter,
		};
		struct virtio_dev *v;
		int r = pmem_create(&params, res->pmemfds[i], &vm->loop, &v, err);

		if (r == 0) {
			take_fd(&res->pmemfds[i]);
			r = attach(vm, v, false, err);
		}
		if (r < 0)
			return volt_err_wrap(err, "pmem '%s'", p->id);
	}
	return 0;
}

static int create_vsock(struct vm *vm, struct resources *res, struct volt_err *err)
{
	const struct vsock_params params = { vm->cfg->vsock_cid, vm->cfg->vsock_path };
	struct virtio_dev *v;
	int r;

	if (res->vsockfd < 0)
		return 0;
	r = vsock_create(&params, res->vsockfd, &vm->loop, &v, err);
	if (r < 0)
		return r;
	take_fd(&res->vsockfd);
	return attach(vm, v, false, err);
}

static int create_entropy(struct vm *vm, struct volt_err *err)
{
	struct virtio_dev *v;
	int r;

	if (!vm->cfg->entropy)
		return 0;
	r = rng_create(&vm->cfg->entropy_limit, &vm->loop, &v, err);
	return r < 0 ? r : attach(vm, v, false, err);
}

/* Beside the serial port; the input is for it then. */
static int create_vcon(struct vm *vm, struct volt_err *err)
{
	struct virtio_dev *v;
	int r;

	if (vm->cfg->console_device != CONSOLE_VIRTIO)
		return 0;
	r = vcon_create(vm->console, &v, err);
	if (r == 0)
		r = attach(vm, v, false, err);
	if (r < 0)
		return r;
	vm->vcon = v;
	return vm->console ? console_add(vm->console, vcon_port(v), err) : 0;
}

static int create_hotplug(struct vm *vm, struct volt_err *err)
{
	const struct vmem_params params = {
		.mem = &vm->mem,
		.vmfd = vm->vmfd,
		.first_slot = region_first_slot(vm),
		.slot_bytes = vm->cfg->hotplug_slot_bytes,
		.wanted_bytes = vm->cfg->hotplug_wanted_bytes,
	};
	struct virtio_dev *v;

	if (!vm->cfg->hotplug)
		return 0;
	if (vmem_create(&params, &v, err) < 0 || attach(vm, v, false, err) < 0)
		return volt_err_wrap(err, "memory-hotplug");
	return 0;
}

/* ---- the whole ---- */

static void on_escape(void *owner, enum console_escape what)
{
	struct vm *vm = owner;

	switch (what) {
	case CONSOLE_STOP:
		vm_end(vm, VM_END_QUIT, NULL, "console escape");
		break;
	case CONSOLE_POWER_BUTTON:
		if (vm_paused(vm))
			log_info("the VM is paused: nobody is there to see the power button");
		else
			life_ask(&vm->life, "power button");
		break;
	}
}

int machine_open_console(struct vm *vm, struct volt_err *err)
{
	bool connected = vm->cfg->console != CONSOLE_OFF;
	struct console_params params = {
		.infd = vm->cfg->console == CONSOLE_AUTO ? 0 : -1,
		.outfd = vm->cfg->console == CONSOLE_AUTO ? 1 : -1,
		.path = vm->cfg->console == CONSOLE_FILE ? vm->cfg->console_path : NULL,
		.limit = vm->cfg->console_limit,
		.on_escape = on_escape,
		.owner = vm,
	};
	int r = serial_create(&vm->ioapic, connected, &vm->serial, err);

	if (r == 0 && connected)
		r = console_create(&vm->loop, &vm->serial->port, &params, &vm->console, err);
	return r;
}

int machine_create(struct vm *vm, struct resources *res, struct volt_err *err)
{
	int r;

	bus_init(&vm->ports, "port");
	bus_init(&vm->mmio, "mmio");
	r = create_platform(vm, err);
	if (r == 0)
		r = create_balloon(vm, err); /* Firecracker's order */
	if (r == 0)
		r = create_disks(vm, res, err);
	if (r == 0)
		r = create_nets(vm, res, err);
	if (r == 0)
		r = create_pmems(vm, res, err);
	if (r == 0)
		r = create_vsock(vm, res, err);
	if (r == 0)
		r = create_entropy(vm, err);
	if (r == 0)
		r = create_vcon(vm, err);
	if (r == 0)
		r = create_hotplug(vm, err);
	if (r < 0)
		return r;
	bus_freeze(&vm->ports);
	bus_freeze(&vm->mmio);
	return 0;
}

struct virtio_dev *machine_find(const struct vm *vm, uint16_t id, const char *name)
{
	for (size_t i = 0; i < vm->n_virtio; i++) {
		struct virtio_dev *v = vmmio_virtio(vm->virtio[i]);

		if (v->ops->id == id && (!name || strcmp(v->name, name) == 0))
			return v;
	}
	return NULL;
}

unsigned machine_slots(const struct vm *vm, struct layout_slot ret[LIMIT_VIRTIO])
{
	for (size_t i = 0; i < vm->n_virtio; i++)
		ret[i] = slot(i);
	return (unsigned)vm->n_virtio;
}

void machine_finish(struct vm *vm)
{
	if (vm->console)
		console_flush(vm->console, CONSOLE_FLUSH_MS);
	console_restore();
}

void machine_destroy(struct vm *vm)
{
	console_destroy(vm->console); /* it takes what devices still hold for it */
	while (vm->n_virtio > 0)
		vmmio_destroy(vm->virtio[--vm->n_virtio]);
	machine_mmds_destroy(vm);
	serial_destroy(vm->serial);
	boot_timer_done(&vm->boot_timer);
	pvpanic_done(&vm->pvpanic);
	acpi_pm_done(&vm->pm);
	i8042_done(&vm->i8042);
	ioapic_done(&vm->ioapic);
}
