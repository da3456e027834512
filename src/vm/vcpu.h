/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual CPU: its KVM descriptor, its shared page and the thread that runs it. The thread enters
 * the guest, answers exits from the buses, and does nothing else: no file, no socket, no
 * allocation. All fields but `stop` belong to that thread while it runs.
 */
#ifndef VOLT_VCPU_H
#define VOLT_VCPU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "err.h"
#include "kvm.h"
#include "latency.h"

struct vm;

struct vcpu {
	struct vm *vm; /* borrowed */
	unsigned index;
	int fd; /* owned */
	struct kvm_run *run;
	size_t run_bytes;
	char name[16]; /* "vcpu 0"; "fc_vcpu 0" to clients of Firecracker */
	pthread_t thread;
	bool started;
	_Atomic bool stop;
	bool owed; /* the last exit is complete only when KVM_RUN is called again */
	_Atomic uint64_t exits_io_in, exits_io_out, exits_mmio_read, exits_mmio_write, exits_other;
	/* From the exit until the guest can be entered again. */
	struct latency io_in, io_out, mmio_read, mmio_write;
	_Atomic uint64_t failures; /* exits that ended the VM */
	_Atomic uint64_t kvmclock_ctrl_fails;
};

/* Building thread. The vCPU has no state yet: CPUID, MSRs and registers are the caller's. */
int vcpu_create(struct vm *vm, unsigned index, int vmfd, size_t run_bytes, struct vcpu *ret,
	struct volt_err *err);
void vcpu_destroy(struct vcpu *v);

/* Installs the handler of the kick signal; once per process, before the first vcpu_start(). */
int vcpu_signal_init(struct volt_err *err);

/* Starts the thread, which confines itself and then waits for vm->gate. */
int vcpu_start(struct vcpu *v, struct volt_err *err);
/* Brings the thread out of the guest, to look at v->stop and vm->pause; does not wait. */
void vcpu_kick(struct vcpu *v);
/* Brings the thread out of the guest for good; does not wait. */
void vcpu_stop(struct vcpu *v);
/* True if the thread has ended (or never started), and then joins it; does not wait. */
bool vcpu_joined(struct vcpu *v);

/*
 * One exit. Returns true to enter the guest again. vCPU thread; exit.c, called by vcpu.c and by
 * tests with a scripted kvm_run.
 */
bool exit_handle(struct vcpu *v);

#endif
