/* SPDX-License-Identifier: Apache-2.0 */
/* vCPU threads, see vcpu.h. */
#include "vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "log.h"
#include "sandbox.h"
#include "vm.h"

#define STACK_BYTES (64 * KIB)

/* The page of the vCPU that this thread runs, for the signal handler. */
static _Thread_local struct kvm_run *own_run;

/* A kick may arrive just before KVM_RUN: then this makes KVM_RUN return at once. */
static void on_kick(int signo)
{
	(void)signo;
	if (own_run)
		own_run->immediate_exit = 1;
}

int vcpu_signal_init(struct volt_err *err)
{
	struct sigaction sa = { .sa_handler = on_kick };

	if (sigaction(SIGRTMIN, &sa, NULL) < 0)
		return volt_err_set(err, errno, "sigaction: %m");
	return 0;
}

int vcpu_create(struct vm *vm, unsigned index, int vmfd, size_t run_bytes, struct vcpu *ret,
	struct volt_err *err)
{
	*ret = (struct vcpu){ .vm = vm, .index = index, .run_bytes = run_bytes };
	/* Tools for Firecracker pin its threads by their names. */
	snprintf(ret->name, sizeof(ret->name), "%svcpu %u", vm && vm->cfg->firecracker ? "fc_" : "",
		index);
	ret->fd = kvm_create_vcpu(vmfd, index);
	if (ret->fd < 0)
		return volt_err_set(err, -ret->fd, "KVM_CREATE_VCPU %u: %m", index);
	ret->run = kvm_map_run(ret->fd, run_bytes);
	if (!ret->run) {
		int code = errno;

		ret->fd = fd_close(ret->fd);
		return volt_err_set(err, code, "map the shared page of vCPU %u: %m", index);
	}
	return 0;
}

void vcpu_destroy(struct vcpu *v)
{
	kvm_unmap_run(v->run, v->run_bytes);
	v->run = NULL;
	v->fd = fd_close(v->fd);
}

/* Who kicks sets its flag first: after this it is seen, or a new kick is under way. */
static void forget_kick(struct vcpu *v)
{
	v->run->immediate_exit = 0;
	atomic_signal_fence(memory_order_seq_cst); /* on_kick() runs in this thread */
}

/* False: the VM has ended. */
static bool run_once(struct vcpu *v)
{
	int r = kvm_run(v->fd);

	v->owed = false;
	if (r == -EINTR || r == -EAGAIN) {
		forget_kick(v);
		return true;
	}
	if (r < 0) {
		vm_end(v->vm, VM_END_KVM_ERROR, v, "KVM_RUN: %s", strerrordesc_np(-r));
		return false;
	}
	v->owed = true;
	return exit_handle(v);
}

/*
 * What an access of the guest has read is in no register before KVM_RUN is called again, and an
 * access in parts goes on then; the guest does not run by it.
 */
static bool complete_exit(struct vcpu *v)
{
	bool running = true;

	while (running && v->owed) {
		v->run->immediate_exit = 1;
		running = run_once(v);
	}
	return running;
}

static void run_guest(struct vcpu *v)
{
	bool running = true;

	while (running && !atomic_load_explicit(&v->stop, memory_order_acquire)) {
		if (!atomic_load_explicit(&v->vm->pause.asked, memory_order_acquire)) {
			running = run_once(v);
			continue;
		}
		running = complete_exit(v);
		if (running)
			vm_pause_wait(v);
	}
}

static void *thread_main(void *arg)
{
	struct vcpu *v = arg;
	struct volt_err err = { 0 };
	int r = 0;

	log_set_thread(v->name);
	pthread_setname_np(pthread_self(), v->name);
	own_run = v->run;
	if (!v->vm->cfg->no_seccomp)
		r = sandbox_seccomp(SANDBOX_VCPU, &err);
	if (vm_gate_wait(v->vm, r, &err) == 0)
		run_guest(v);
	return NULL;
}

int vcpu_start(struct vcpu *v, struct volt_err *err)
{
	pthread_attr_t attr;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	r = pthread_create(&v->thread, &attr, thread_main, v);
	pthread_attr_destroy(&attr);
	if (r)
		return volt_err_set(err, r, "start the thread of vCPU %u: %m", v->index);
	v->started = true;
	return 0;
}

void vcpu_kick(struct vcpu *v)
{
	/* #syscalls loop: tgkill getpid gettid rt_sigprocmask */
	if (v->started)
		pthread_kill(v->thread, SIGRTMIN);
}

void vcpu_stop(struct vcpu *v)
{
	atomic_store_explicit(&v->stop, true, memory_order_release);
	vm_pause_wake(v->vm);
	vcpu_kick(v);
}

bool vcpu_joined(struct vcpu *v)
{
	if (v->started && pthread_tryjoin_np(v->thread, NULL) == 0)
		v->started = false;
	return !v->started;
}
