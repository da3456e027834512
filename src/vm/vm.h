/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual machine, from its configuration to its end.
 *
 *	vm_open	    event loop, signals						main thread
 *	vm_create   memory, KVM, interrupt controller, devices, kernel, vCPUs   main thread
 *	vm_start    confines the threads and lets the guest run			main thread
 *	vm_wait	    serves the loop until the end				main thread
 *	vm_destroy  gives everything back					main thread
 *
 * With the API, vm_wait() comes first, and the others but the last from within it.
 *
 * The VM ends once: vm_end() keeps the first reason. Threads: the loop (main) owns devices' I/O;
 *each vCPU thread runs its guest CPU. Fields are set while the VM is built and constant from then
 *on, but for what says otherwise.
 */
#ifndef VOLT_VM_H
#define VOLT_VM_H

#include "acpi-pm.h"
#include "boot-timer.h"
#include "bus.h"
#include "console.h"
#include "cpu-host.h"
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
#include "vmgenid.h"

#define VM_PAUSE_TIMEOUT_NS (10 * NSEC_PER_SEC)

struct mmds;
struct mmds_stack;
struct vmmio;
struct virtio_dev;

/* Why a VM ended; the exit status of the process is vm_exit_status(). */
enum vm_end {
	VM_END_NONE,
	VM_END_POWEROFF,     /* the guest powered off */
	VM_END_RESET,	     /* the guest rebooted: the process ends, as Firecracker's does */
	VM_END_QUIT,	     /* by the console escape, or a signal where no guest is asked */
	VM_END_PANIC,	     /* the guest's kernel panicked */
	VM_END_TRIPLE_FAULT,
	VM_END_KVM_ERROR,
	VM_END_KILLED,	     /* it did not stop in time after SIGTERM */
	VM_END_ERROR,	     /* the monitor could not go on */
};

/*
 * What is known about an end that is not a normal one. Written once, before vm->end is published.
 */
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
	struct vmgenid vmgenid;
	struct pvpanic pvpanic;
	struct boot_timer boot_timer;
	struct console *console;
	struct virtio_dev *vcon; /* borrowed: one of virtio[]; NULL: none */

	struct vmmio *virtio[LIMIT_VIRTIO]; /* in order of their windows and GSIs */
	size_t n_virtio;
	/* Some of them, in the order of the configuration's lists; owned by their transports. */
	struct virtio_dev *disks[LIMIT_DISKS], *nets[LIMIT_NETS];

	struct mmds *mmds; /* borrowed; NULL: no interface has it */
	struct mmds_stack *mmds_stacks[LIMIT_NETS]; /* owned */
	size_t n_mmds_stacks;

	struct vcpu *vcpus; /* cfg->vcpus of them */
	size_t n_vcpus;
	struct cpu_host host;
	struct cpu_msrs *msrs; /* owned; what vm_save() saves, NULL before the first time */

	/* The vCPU threads wait here until every thread is confined. */
	struct {
		pthread_mutex_t lock;
		pthread_cond_t cond;
		size_t arrived;
		bool open, failed;
		struct volt_err err;
	} gate;

	bool started; /* the vCPUs run; loop thread */
	/* See vm-pause.c. */
	struct {
		pthread_mutex_t lock;
		pthread_cond_t cond;
		bool paused;	    /* the loop thread's */
		bool loaded;	    /* by vm_load(), and has not run since; the loop thread's */
		_Atomic bool asked; /* vCPU threads are to wait; written under the lock */
		size_t waiting;	    /* those that do; under the lock */
	} pause;

	_Atomic int end;      /* enum vm_end; published by vm_end() */
	_Atomic bool ending;  /* taken by the thread that writes the report */
	struct vm_report report;
	int endfd;
	struct loop_src end_src;

	struct life life;
	struct metrics metrics;
};

/*
 * vm is owned by the caller, must not move afterwards, and needs vm_destroy() whatever is returned.
 */
int vm_open(struct vm *vm, const struct vm_config *cfg, struct timeline *timeline,
	struct volt_err *err);
/* The serial port and what it is connected to, which is opened by path. */
int vm_open_console(struct vm *vm, struct volt_err *err);
/*
 * Takes the descriptors it needs out of res, and closes those that have served. Without a kernel
 * nothing is loaded, and the machine is one for vm_load().
 */
int vm_create(struct vm *vm, struct resources *res, struct volt_err *err);
int vm_start(struct vm *vm, struct volt_err *err);
/* Returns when the VM has ended; -errno if the loop failed, or a vCPU could not be stopped. */
int vm_wait(struct vm *vm, struct volt_err *err);
/*
 * False: a thread could not be stopped and uses vm until the process ends; nothing was given back.
 */
bool vm_destroy(struct vm *vm);

/*
 * The VM stands still: vCPUs wait outside of the guest, no device takes anything from the guest or
 * from the host, what was in flight is done. The guest's clock goes on. 0, also if it did
 * already; negative, and it runs on: it has ended, or a vCPU or a disk did not answer in
 * VM_PAUSE_TIMEOUT_NS. Loop thread, while vm_wait() serves the loop; does not dispatch.
 */
int vm_pause(struct vm *vm, struct volt_err *err);
/* It goes on; nothing if it does already. Loop thread. */
void vm_resume(struct vm *vm);
/* Loop thread. */
bool vm_paused(const struct vm *vm);
/* For vcpu.c. A vCPU thread: waits until it may go on. Any thread: it looks again at v->stop. */
void vm_pause_wait(struct vcpu *v);
void vm_pause_wake(struct vm *vm);

/* Any thread. v: the calling vCPU's, whose registers are kept for the report, or NULL. */
void vm_end(struct vm *vm, enum vm_end why, struct vcpu *v, const char *fmt, ...) PRINTF_LIKE(4, 5);
bool vm_ended(const struct vm *vm);
int vm_exit_status(const struct vm *vm);
/* Registers and the last console lines, for ends that someone must look at. Main thread, at the
 * end. */
void vm_report_print(struct vm *vm, FILE *out);

/*
 * vCPU threads: says that this one is confined (r == 0) or why not, and waits for the others.
 * 0: go; -ECANCELED: some thread failed.
 */
int vm_gate_wait(struct vm *vm, int r, const struct volt_err *err);

#endif
