/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID and MSRs of the vCPUs, with the CPU template of the configuration. Main thread: the
 * template is loaded before the sandbox (it may be a file), the rest happens before a vCPU runs.
 */
#ifndef VOLT_CPU_SETUP_H
#define VOLT_CPU_SETUP_H

#include "cpu-template.h"
#include "vmcfg.h"

struct vcpu;

/* The custom template of cfg, for free(); *ret is NULL if it has none. Reads its file. */
int cpu_setup_load(const struct vm_config *cfg, struct cpu_template **ret, struct volt_err *err);

/* That it can be loaded; for people, before anything is opened. */
void cpu_setup_check(const struct vm_config *cfg, struct vmcfg_errors *errors);

/*
 * The template in use: the custom one if there is one, else the static one, which must be made for
 * the processor of this host (-ENOTSUP, Firecracker's words); *ret is NULL if there is none.
 */
int cpu_setup_choose(const struct vm_config *cfg, const struct cpu_template *custom,
	const struct cpu_template **ret, struct volt_err *err);

/*
 * CPUID of all vCPUs, then the MSRs of each: the template's are based on the values of vCPU 0, and
 * win over those of the boot.
 */
int cpu_setup(int kvmfd, const struct vm_config *cfg, const struct cpu_template *custom,
	const struct vcpu *vcpus, size_t n_vcpus, struct volt_err *err);

#endif
