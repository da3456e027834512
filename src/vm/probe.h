/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine's KVM is able to do, found by asking and by trying. Main thread, before the VM.
 */
#ifndef VOLT_PROBE_H
#define VOLT_PROBE_H

#include <stdbool.h>

#include "err.h"

struct cpu_template;

/*
 * Every capability the monitor needs, but for those that the CPU template (NULL: none) drops, and
 * those that it adds; the error names all that are lacking.
 */
int probe_capabilities(int kvmfd, const struct cpu_template *t, struct volt_err *err);

/* Neither VT-x nor AMD-V in this CPU: KVM, if there is one, is software. Any thread. */
bool probe_no_hardware_virtualization(void);

/*
 * Runs a guest of a few instructions that every 64-bit Linux kernel uses (lock cmpxchg16b, SSE).
 * 0: they work; -ENOSYS: this KVM cannot execute them; another -errno: KVM itself failed.
 */
int probe_run(int kvmfd);

#endif
