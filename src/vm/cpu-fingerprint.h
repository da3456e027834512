/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What CPU a guest of this configuration would see on this host: CPUID as vCPU 0 has it, its MSRs,
 * and what of the host decides about them, as JSON. Two hosts whose fingerprints are the same show
 * their guests the same CPU; that of one host is the same at each run. Main thread, without a VM.
 */
#ifndef VOLT_CPU_FINGERPRINT_H
#define VOLT_CPU_FINGERPRINT_H

#include <stdio.h>

#include "cpu-template.h"
#include "vmcfg.h"

/* custom: of cpu_setup_load(). */
int cpu_fingerprint(int kvmfd, const struct vm_config *cfg, const struct cpu_template *custom,
	FILE *out, struct volt_err *err);

#endif
