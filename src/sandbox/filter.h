/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seccomp filters. filter.c is generated: tools/gen-seccomp.py collects the comments of the
 * form "syscalls THREADS: CALL CALL=CONSTANT" that stand beside each call in the sources, and
 * tools/seccomp-compile.c turns them into one cBPF program per thread. All tables are constant.
 */
#ifndef VOLT_FILTER_H
#define VOLT_FILTER_H

#include <linux/filter.h>

#include "compiler.h"

struct filter_program {
	const struct sock_filter *insns;
	unsigned short n_insns;
};

/* Indexed by enum sandbox_thread. */
extern const struct filter_program filter_programs[];

/*
 * What each program allows, "call" or "call=CONSTANT", sorted, ended by NULL. For reports and
 * tests.
 */
extern const char *const *const filter_allowed[];

/* Name of an x86-64 system call, "unknown" if there is none. Async-signal-safe. */
const char *filter_syscall_name(long nr);

#endif
