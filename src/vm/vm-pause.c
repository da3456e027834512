/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM that stands still and goes on, see vm.h.
 *
 * Devices come first, so that a vCPU which waits for requests in flight, because its driver resets
 * a device, gets away without a loop that turns: what can be waited for afterwards is only what
 * virtio_settle() gives back. What vCPUs still ask of a device that is paused already is there when
 * it goes on, because that kicks every queue.
 *
 * A vCPU waits in its own thread, between two calls of KVM_RUN, and calls KVM_KVMCLOCK_CTRL before
 * the next one: the guest's clock has gone on, and its watchdog must not take the time for a
 * lockup.
 */
#include <errno.h>
#include <time.h>

#include "virtio.h"
#include "vm-state.h"
#include "vm.h"
#include "vmmio.h"

#define SLICE_NS NSEC_PER_MSEC /* until devices are looked at again */

/* ---- vCPU threads ---- */

void vm_pause_wait(struct vcpu *v)
{
	struct vm *vm = v->vm;

	/* #syscalls vcpu: futex */
	pthread_mutex_lock(&vm->pause.lock);
	vm->pause.waiting++;
	pthread_cond_broadcast(&vm->pause.cond);
	while (atomic_load(&vm->pause.asked) && !atomic_load(&v->stop))
		pthread_cond_wait(&vm->pause.cond, &vm->pause.lock);
	vm->pause.waiting--;
	pthread_mutex_unlock(&vm->pause.lock);
	if (kvm_kvmclock_ctrl(v->fd) < 0)
		atomic_fetch_add_explicit(&v->kvmclock_ctrl_fails, 1, memory_order_relaxed);
}

void vm_pause_wake(struct vm *vm)
{
	pthread_mutex_lock(&vm->pause.lock);
	pthread_cond_broadcast(&vm->pause.cond);
	pthread_mutex_unlock(&vm->pause.lock);
}

/* ---- the loop thread ---- */

static struct virtio_dev *device(struct vm *vm, size_t i)
{
	return vmmio_virtio(vm->virtio[i]);
}

static int pause_devices(struct vm *vm, uint64_t deadline_ns, struct volt_err *err)
{
	if (vm->console)
		console_hold(vm->console, true);
	for (size_t i = 0; i < vm->n_virtio; i++) {
		struct virtio_dev *v = device(vm, i);
		int r = virtio_pause(v, deadline_ns);

		if (r < 0)
			return volt_err_set(err, -r, "%s: requests that are in flight: %m",
				v->name);
	}
	return 0;
}

static void resume_devices(struct vm *vm)
{
	for (size_t i = 0; i < vm->n_virtio; i++)
		virtio_resume(device(vm, i));
	if (vm->console)
		console_hold(vm->console, false);
}

/* Lock held, and let go of. */
static void wait_a_moment(struct vm *vm)
{
	uint64_t until_ns = loop_now_ns() + SLICE_NS;
	struct timespec ts = { (time_t)(until_ns / NSEC_PER_SEC), (long)(until_ns % NSEC_PER_SEC) };

	/* #syscalls loop: futex */
	pthread_cond_clockwait(&vm->pause.cond, &vm->pause.lock, CLOCK_MONOTONIC, &ts);
	pthread_mutex_unlock(&vm->pause.lock);
	for (size_t i = 0; i < vm->n_virtio; i++)
		virtio_settle(device(vm, i));
	pthread_mutex_lock(&vm->pause.lock);
}

static int pause_vcpus(struct vm *vm, uint64_t deadline_ns, struct volt_err *err)
{
	size_t n = 0, left;

	pthread_mutex_lock(&vm->pause.lock);
	atomic_store(&vm->pause.asked, true);
	for (size_t i = 0; i < vm->n_vcpus; i++) {
		n += vm->vcpus[i].started;
		vcpu_kick(&vm->vcpus[i]);
	}
	while (vm->pause.waiting < n && !vm_ended(vm) && loop_now_ns() < deadline_ns)
		wait_a_moment(vm);
	left = n - vm->pause.waiting;
	pthread_mutex_unlock(&vm->pause.lock);
	if (vm_ended(vm))
		return volt_err_set(err, ESHUTDOWN, "the VM has ended");
	return left ? volt_err_set(err, ETIMEDOUT, "%zu vCPUs do not stop", left) : 0;
}

int vm_pause(struct vm *vm, struct volt_err *err)
{
	uint64_t deadline_ns = loop_now_ns() + VM_PAUSE_TIMEOUT_NS;
	int r;

	if (vm->pause.paused)
		return 0;
	r = pause_devices(vm, deadline_ns, err);
	if (r == 0)
		r = pause_vcpus(vm, deadline_ns, err);
	vm->pause.paused = true;
	if (r < 0) {
		vm_resume(vm);
		return volt_err_wrap(err, "the VM cannot be paused");
	}
	return 0;
}

void vm_resume(struct vm *vm)
{
	if (!vm->pause.paused)
		return;
	vm->pause.paused = false;
	if (vm->pause.loaded)
		vm_state_wake(vm);
	vm->pause.loaded = false;
	resume_devices(vm);
	pthread_mutex_lock(&vm->pause.lock);
	atomic_store(&vm->pause.asked, false);
	pthread_cond_broadcast(&vm->pause.cond);
	pthread_mutex_unlock(&vm->pause.lock);
}

bool vm_paused(const struct vm *vm)
{
	return vm->pause.paused;
}
