/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual machine, from its configuration to its end.
 *
 *	vm_open	    event loop, signals, console: what is opened by path	main thread
 *	vm_create   memory, KVM, interrupt controller, devices, kernel, vCPUs   main thread
 *	vm_run	    confines the threads, runs the guest, serves the loop       main thread
 *	vm_destroy  gives everything back					main thread
 *
 * The VM ends once: vm_end() keeps the first reason. Threads: the loop (main) owns devices' I/O; each
 * vCPU thread runs its guest CPU. Fields are set while the VM is built and constant from then on, but
 * for what says otherwise.
 */
#ifndef VOLT_VM_H
#define VOLT_VM_H

#include "acpi-pm.h"
#include "boot-timer.h"
#include "bus.h"
#include "console.h"
#include "gmem.h"
#include "i8042.h"
#include "ioapic.h"
#include "life.h"
#include "loop.h"
#include "metrics.h"
#include "pvpanic.h"
#include "resources.h"
#include "serial.h"
#include "timeline.h"
#include "vcpu.h"
#include "vmcfg.h"

struct vmmio;
struct virtio_dev;

/* Why a VM ended; the exit status of the process is vm_exit_status(). */
enum vm_end {
	VM_END_NONE,
	VM_END_POWEROFF,     /* the guest powered off */
	VM_END_RESET,	     /* the guest rebooted: the process ends, as Firecracker's does */
	VM_END_QUIT,	     /* the user left by the console escape */
	VM_END_PANIC,	     /* the guest's kernel panicked */
	VM_END_TRIPLE_FAULT,
	VM_END_KVM_ERROR,
	VM_END_KILLED,	     /* it did not stop in time after SIGTERM */
	VM_END_ERROR,	     /* the monitor could not go on */
};

/* What is known about an end that is not a normal one. Written once, before vm->end is published. */
struct vm_report {
	char text[200];
	char vcpu[16]; /* name of the vCPU, or "" */
	bool have_regs;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
};

struct vm {
	const struct vm_config *cfg; /* borrowed */
	struct loop loop;
	struct timeline *timeline; /* borrowed */

	int vmfd;
	struct gmem mem;
	struct bus ports, mmio;
	struct ioapic ioapic;

	struct serial *serial;
	struct i8042 i8042;
	struct acpi_pm pm;
	struct pvpanic pvpanic;
	struct boot_timer boot_timer;
	struct console *console;

	struct vmmio *virtio[LIMIT_VIRTIO]; /* in order of their windows and GSIs */
	size_t n_virtio;

	struct vcpu *vcpus; /* cfg->vcpus of them */
	size_t n_vcpus;

	/* The vCPU threads wait here until every thread is confined. */
	struct {
		pthread_mutex_t lock;
		pthread_cond_t cond;
		size_t arrived;
		bool open, failed;
		struct volt_err err;
	} gate;

	_Atomic int end;      /* enum vm_end; published by vm_end() */
	_Atomic bool ending;  /* taken by the thread that writes the report */
	struct vm_report report;
	int endfd;
	struct loop_src end_src;

	struct life life;
	struct metrics metrics;
};

/* vm is owned by the caller, must not move afterwards, and needs vm_destroy() whatever is returned. */
int vm_open(struct vm *vm, const struct vm_config *cfg, struct timeline *timeline,
	struct volt_err *err);
/* Takes the descriptors it needs out of res, and closes those that have served. */
int vm_create(struct vm *vm, struct resources *res, struct volt_err *err);
/* Returns when the VM has ended; -errno if it could not be started, or a vCPU not stopped. */
int vm_run(struct vm *vm, struct volt_err *err);
/* False: a thread could not be stopped and uses vm until the process ends; nothing was given back. */
bool vm_destroy(struct vm *vm);

/* Any thread. v: the calling vCPU's, whose registers are kept for the report, or NULL. */
void vm_end(struct vm *vm, enum vm_end why, struct vcpu *v, const char *fmt, ...) PRINTF_LIKE(4, 5);
bool vm_ended(const struct vm *vm);
int vm_exit_status(const struct vm *vm);
/* Registers and the last console lines, for ends that someone must look at. Main thread, at the end. */
void vm_report_print(struct vm *vm, FILE *out);

/*
 * vCPU threads: says that this one is confined (r == 0) or why not, and waits for the others.
 * 0: go; -ECANCELED: some thread failed.
 */
int vm_gate_wait(struct vm *vm, int r, const struct volt_err *err);

#endif
