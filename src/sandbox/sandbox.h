/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Confinement of volt-vmm, so that a guest which breaks out of KVM or of a device finds a process
 * that can do next to nothing. Stages, in this order and each once:
 *
 *	sandbox_early()         first thing in main(): no new privileges, private files, no core
 *	                        dumps of guest memory
 *	... the configuration is read ...
 *	sandbox_close_fds()     no inherited descriptors but those that the configuration names
 *	... files, TAPs and sockets are opened ...
 *	sandbox_landlock()      before any thread exists: no path, TCP port, abstract socket or
 *	                        foreign process can be reached any more
 *	sandbox_sigsys_init()   before the first filter: a forbidden call ends the VM with a report
 *	... KVM, memory, devices, threads ...
 *	sandbox_seccomp()       each vCPU thread as its first act; the loop thread when all threads
 *	                        exist, just before loop_run() (a filter is inherited by new threads)
 *
 * The filters are made at build time from the syscalls comments in the sources, see filter.h.
 */
#ifndef VOLT_SANDBOX_H
#define VOLT_SANDBOX_H

#include <stdbool.h>

#include "err.h"

#define SANDBOX_EXIT_BAD_SYSCALL 148 /* Firecracker's exit status for a forbidden call */
#define SANDBOX_LANDLOCK_ABI	 7   /* the newest Landlock interface we know */

enum sandbox_thread {
	SANDBOX_LOOP,
	SANDBOX_VCPU,
	SANDBOX_API, /* the loop of a VM with an API socket: what "api" asks for besides */
	SANDBOX_THREADS,
};

struct sandbox_path {
	const char *path; /* file or directory; borrowed for the call */
	bool writable;	  /* else read only; never executable */
	bool existing;	  /* of a directory: no file can be made or removed in it */
};

/*
 * Main thread, before it opens anything: sets no_new_privs, the umask 077 and the core limit. The
 * process stays dumpable: its owner must be able to read /proc/PID.
 */
int sandbox_early(struct volt_err *err);

/*
 * Main thread, before it opens what it is to keep: closes every descriptor above 2 but those of
 * `keep` (in any order, negative ones are skipped), which no program started later inherits. -EBADF
 * if one of them is not open; then some descriptors may be closed.
 */
int sandbox_close_fds(const int *keep, size_t n_keep, struct volt_err *err);

/*
 * Main thread, before it creates another one: from here on nothing but `paths` can be opened (none
 * by default: what is needed is open already). Descriptors that are open keep working. Returns the
 * Landlock ABI in use (1..SANDBOX_LANDLOCK_ABI), 0 if the kernel has no Landlock or it is not in
 * its list of security modules (err holds the text of a warning), or -errno.
 */
int sandbox_landlock(const struct sandbox_path *paths, size_t n_paths, struct volt_err *err);

/*
 * Main thread: a call that the filter refuses writes one line to stderr and one to logfd (-1:
 * none), runs restore() (may be NULL; async-signal-safe, on the offending thread, under its filter)
 * and ends the process with SANDBOX_EXIT_BAD_SYSCALL. logfd is borrowed for ever.
 */
int sandbox_sigsys_init(int logfd, void (*restore)(void), struct volt_err *err);

/*
 * Puts the calling thread, and threads it creates later, under the filter of `thread`, and unblocks
 * SIGSYS in it: leave it so, or a refused call ends the process without a report.
 */
int sandbox_seccomp(enum sandbox_thread thread, struct volt_err *err);

#endif
