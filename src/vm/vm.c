/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building, running and taking down a VM, see vm.h. One builder: a restore will differ from a cold
 * boot only in boot_load().
 */
#include "vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "boot-load.h"
#include "cleanup.h"
#include "log.h"
#include "machine.h"
#include "region.h"
#include "sandbox.h"
#include "vmmio.h"

#define STOP_TIMEOUT_NS (10 * NSEC_PER_SEC)

/* ---- building ---- */

static uint32_t flags_of(const struct vm *vm, const struct gmem_region *r)
{
	return (vm->cfg->track_dirty_pages ? KVM_MEM_LOG_DIRTY_PAGES : 0) |
		(r->read_only ? KVM_MEM_READONLY : 0);
}

/* So that exceptions that are pending can be saved with all that belongs to them. */
static int enable_events(struct vm *vm, int kvmfd, struct volt_err *err)
{
	static const unsigned caps[] = { KVM_CAP_EXCEPTION_PAYLOAD,
		KVM_CAP_X86_TRIPLE_FAULT_EVENT };

	for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
		int r = kvm_check_extension(kvmfd, caps[i]);

		if (r > 0)
			r = kvm_enable_cap(vm->vmfd, caps[i], 1);
		if (r < 0)
			return volt_err_set(err, -r, "KVM_ENABLE_CAP %u: %m", caps[i]);
	}
	return 0;
}

static int create_kvm(struct vm *vm, int kvmfd, struct volt_err *err)
{
	int r;

	vm->vmfd = kvm_create_vm(kvmfd);
	if (vm->vmfd < 0)
		return volt_err_set(err, -vm->vmfd, "KVM_CREATE_VM: %m");
	/* Slots before the interrupt controller: the other order waits for an SRCU grace period. */
	for (size_t i = 0; i < vm->mem.n_regions; i++) {
		struct kvm_userspace_memory_region region = {
			.slot = (uint32_t)i,
			.flags = flags_of(vm, &vm->mem.regions[i]),
			.guest_phys_addr = vm->mem.regions[i].gpa,
			.memory_size = vm->mem.regions[i].bytes,
			.userspace_addr = gmem_kvm_address(&vm->mem.regions[i], 0),
		};

		if (vm->mem.regions[i].kind == GMEM_BLOCKS)
			continue; /* its device attaches what is plugged, see vmem.c */
		r = kvm_set_user_memory_region(vm->vmfd, &region);
		if (r < 0)
			return volt_err_set(err, -r, "KVM_SET_USER_MEMORY_REGION %zu: %m", i);
	}
	r = kvm_set_identity_map_addr(vm->vmfd, LAYOUT_IDENTITY_MAP);
	if (r == 0)
		r = kvm_set_tss_addr(vm->vmfd, LAYOUT_TSS);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_SET_TSS_ADDR: %m");
	r = kvm_enable_cap(vm->vmfd, KVM_CAP_SPLIT_IRQCHIP, LAYOUT_N_GSI);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_CAP_SPLIT_IRQCHIP: %m");
	return enable_events(vm, kvmfd, err);
}

static int create_vcpus(struct vm *vm, int kvmfd, struct volt_err *err)
{
	int bytes = kvm_get_vcpu_mmap_size(kvmfd);

	if (bytes < (int)sizeof(struct kvm_run))
		return volt_err_set(err, EIO, "KVM_GET_VCPU_MMAP_SIZE: %d", bytes);
	vm->vcpus = calloc(vm->cfg->vcpus, sizeof(*vm->vcpus));
	if (!vm->vcpus)
		return volt_err_set(err, ENOMEM, "vCPUs: %m");
	for (unsigned i = 0; i < vm->cfg->vcpus; i++) {
		int r = vcpu_create(vm, i, vm->vmfd, (size_t)bytes, &vm->vcpus[i], err);

		if (r < 0)
			return r;
		vm->n_vcpus++;
	}
	return 0;
}

static void on_end(struct loop_src *src, uint32_t events)
{
	struct vm *vm = container_of(src, struct vm, end_src);

	(void)events;
	loop_drain(vm->endfd);
	loop_quit(&vm->loop);
}

static int create_loop(struct vm *vm, struct volt_err *err)
{
	int r = loop_init(&vm->loop, err);

	if (r < 0)
		return r;
	vm->endfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->endfd < 0)
		return volt_err_set(err, errno, "eventfd: %m");
	vm->end_src = (struct loop_src){ on_end, "end", -1 };
	r = loop_add(&vm->loop, &vm->end_src, vm->endfd, EPOLLIN);
	if (r < 0)
		return volt_err_set(err, -r, "watch the end: %m");
	return life_init(&vm->life, vm, err);
}

int vm_open(struct vm *vm, const struct vm_config *cfg, struct timeline *timeline,
	struct volt_err *err)
{
	int r;

	*vm = (struct vm){
		.cfg = cfg,
		.timeline = timeline,
		.loop.epollfd = -1,
		.vmfd = -1,
		.endfd = -1,
		.life = { .signalfd = -1, .timerfd = -1 },
	};
	pthread_mutex_init(&vm->gate.lock, NULL);
	pthread_cond_init(&vm->gate.cond, NULL);
	pthread_mutex_init(&vm->pause.lock, NULL);
	pthread_cond_init(&vm->pause.cond, NULL);
	r = metrics_init(&vm->metrics, cfg->firecracker, err);
	return r < 0 ? r : create_loop(vm, err);
}

int vm_open_console(struct vm *vm, struct volt_err *err)
{
	return vm->serial ? 0 : machine_open_console(vm, err);
}

static enum gmem_pages pages_of(const struct vm_config *cfg)
{
	return cfg->huge_pages == HUGE_PAGES_2M			? GMEM_PAGES_2M
		: cfg->huge_pages == HUGE_PAGES_TRANSPARENT	? GMEM_PAGES_TRANSPARENT
								: GMEM_PAGES_DEFAULT;
}

static int build(struct vm *vm, struct resources *res, struct volt_err *err)
{
	int r = gmem_map(&vm->mem, vm->cfg->mem_bytes, err);

	if (r == 0)
		r = gmem_set_pages(&vm->mem, pages_of(vm->cfg), err);
	if (r == 0)
		r = region_map(vm, res, err);
	if (r == 0)
		r = create_kvm(vm, res->kvmfd, err);
	if (r == 0)
		r = machine_create(vm, res, err);
	if (r < 0)
		return r;
	timeline_mark(vm->timeline, TIMELINE_KVM);
	r = create_vcpus(vm, res->kvmfd, err);
	if (r == 0)
		r = boot_load(vm, res, err);
	if (r == 0)
		r = cpu_host_probe(res->kvmfd, vm->vcpus[0].fd, &vm->host, err);
	if (r < 0)
		return r;
	machine_metrics(vm);
	machine_fcmetrics(vm);
	r = metrics_start(&vm->metrics, vm->cfg, &vm->loop, take_fd(&res->metricsfd), err);
	if (r < 0)
		return r;
	timeline_mark(vm->timeline, TIMELINE_LOAD);
	return vcpu_signal_init(err);
}

int vm_create(struct vm *vm, struct resources *res, struct volt_err *err)
{
	int r = build(vm, res, err);

	/* What the guest runs from is in its memory now. */
	res->kernelfd = fd_close(res->kernelfd);
	res->initrdfd = fd_close(res->initrdfd);
	res->kvmfd = fd_close(res->kvmfd);
	return r;
}

/* ---- the gate ---- */

int vm_gate_wait(struct vm *vm, int r, const struct volt_err *err)
{
	bool failed;

	pthread_mutex_lock(&vm->gate.lock);
	if (r < 0 && !vm->gate.failed) {
		vm->gate.failed = true;
		vm->gate.err = *err;
	}
	vm->gate.arrived++;
	pthread_cond_broadcast(&vm->gate.cond);
	while (!vm->gate.open)
		pthread_cond_wait(&vm->gate.cond, &vm->gate.lock);
	failed = vm->gate.failed;
	pthread_mutex_unlock(&vm->gate.lock);
	return failed ? -ECANCELED : 0;
}

/* Waits until `n` threads arrived; false if one of them failed. */
static bool gate_gather(struct vm *vm, size_t n, struct volt_err *err)
{
	bool failed;

	pthread_mutex_lock(&vm->gate.lock);
	while (vm->gate.arrived < n)
		pthread_cond_wait(&vm->gate.cond, &vm->gate.lock);
	failed = vm->gate.failed;
	if (failed)
		*err = vm->gate.err;
	pthread_mutex_unlock(&vm->gate.lock);
	return !failed;
}

static void gate_open(struct vm *vm, bool failed)
{
	pthread_mutex_lock(&vm->gate.lock);
	vm->gate.failed |= failed;
	vm->gate.open = true;
	pthread_cond_broadcast(&vm->gate.cond);
	pthread_mutex_unlock(&vm->gate.lock);
}

/* ---- running ---- */

int vm_start(struct vm *vm, struct volt_err *err)
{
	enum sandbox_thread filter = vm->cfg->api_path ? SANDBOX_API : SANDBOX_LOOP;
	size_t started = 0;
	int r = 0;

	while (r == 0 && started < vm->n_vcpus) {
		r = vcpu_start(&vm->vcpus[started], err);
		if (r == 0)
			started++;
	}
	if (!gate_gather(vm, started, err))
		r = -err->code;
	/* The last thread to confine itself is this one: it had to start the others. */
	if (r == 0 && !vm->cfg->no_seccomp)
		r = sandbox_seccomp(filter, err);
	if (r == 0)
		timeline_mark(vm->timeline, TIMELINE_RUN);
	vm->started = r == 0;
	gate_open(vm, r < 0);
	if (r == 0)
		metrics_flush(&vm->metrics);
	return r;
}

/*
 * A vCPU that resets a device waits for the requests in flight, which the loop completes: so the
 * loop goes on until all vCPUs have left. A disk that never answers must not keep the process: then
 * the threads are left to the end of it.
 */
static int stop(struct vm *vm, struct volt_err *err)
{
	uint64_t deadline_ns = loop_now_ns() + STOP_TIMEOUT_NS;
	size_t left;

	for (size_t i = 0; i < vm->n_vcpus; i++)
		vcpu_stop(&vm->vcpus[i]);
	do {
		left = 0;
		for (size_t i = 0; i < vm->n_vcpus; i++)
			left += !vcpu_joined(&vm->vcpus[i]);
		if (left)
			loop_poll(&vm->loop, 1);
	} while (left && loop_now_ns() < deadline_ns);
	if (left)
		return volt_err_set(err, ETIMEDOUT,
			"%zu vCPUs did not stop: they wait for a disk that does not answer", left);
	return 0;
}

int vm_wait(struct vm *vm, struct volt_err *err)
{
	int r = loop_run(&vm->loop), stopped;

	if (r < 0)
		volt_err_set(err, -r, "event loop: %m");
	stopped = stop(vm, err);
	machine_finish(vm);
	metrics_flush(&vm->metrics);
	return r < 0 ? r : stopped;
}

bool vm_destroy(struct vm *vm)
{
	for (size_t i = 0; i < vm->n_vcpus; i++)
		if (!vcpu_joined(&vm->vcpus[i]))
			return false;
	/* Devices first: a request in flight writes to guest memory. */
	machine_destroy(vm);
	for (size_t i = 0; i < vm->n_vcpus; i++)
		vcpu_destroy(&vm->vcpus[i]);
	free(vm->vcpus);
	free(vm->msrs);
	vm->vmfd = fd_close(vm->vmfd);
	gmem_unmap(&vm->mem);
	metrics_done(&vm->metrics);
	life_done(&vm->life);
	vm->endfd = fd_close(vm->endfd);
	loop_done(&vm->loop);
	pthread_cond_destroy(&vm->gate.cond);
	pthread_mutex_destroy(&vm->gate.lock);
	pthread_cond_destroy(&vm->pause.cond);
	pthread_mutex_destroy(&vm->pause.lock);
	return true;
}
