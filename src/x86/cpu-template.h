/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU templates: bits of CPUID and of MSRs that are set to what a guest shall see, so that hosts
 * that differ look the same. A custom template comes from JSON in Firecracker's form
 * (cpu-template-json.c), the static ones are Firecracker's (cpu-template-static.c). A template is
 * constant. No state; any thread.
 *
 * Order: cpuid_build() applies the leaves to what KVM supports, and normalises afterwards; the
 * MSRs are applied to the values that vCPU 0 has once its CPUID is set.
 */
#ifndef VOLT_CPU_TEMPLATE_H
#define VOLT_CPU_TEMPLATE_H

#include <jansson.h>
#include <linux/kvm.h>
#include <stdbool.h>

#include "err.h"

#define CPU_TEMPLATE_MAX   1024 /* of leaves, of MSRs, and of capabilities; far above need */
#define CPU_TEMPLATE_WHERE 64	/* bytes of "cpuid_modifiers[1].modifiers[0].bitmap" */

struct cpuid;

enum { CPU_TEMPLATE_EAX, CPU_TEMPLATE_EBX, CPU_TEMPLATE_ECX, CPU_TEMPLATE_EDX };

struct cpu_template_leaf {
	uint32_t leaf, subleaf;
	uint32_t flags; /* KVM_CPUID_FLAG_* */
	struct {
		uint32_t mask, value; /* the bits in mask become those of value */
	} regs[4];
};

struct cpu_template_msr {
	uint32_t index;
	uint64_t mask, value; /* likewise */
};

struct cpu_template_cap {
	uint32_t number; /* KVM_CAP_* */
	bool drop;	 /* it is not checked, although we would; else it is checked too */
};

struct cpu_template {
	const struct cpu_template_leaf *leaves;
	const struct cpu_template_msr *msrs;
	const struct cpu_template_cap *caps;
	size_t n_leaves, n_msrs, n_caps;
};

/* Changes c; -ENOTSUP: KVM does not have a leaf, which is named. */
int cpu_template_apply(const struct cpu_template *t, struct cpuid *c, struct volt_err *err);

/* msrs[i], which has the value that t->msrs[i] is based on, gets the one to set. */
void cpu_template_apply_msrs(const struct cpu_template *t, struct kvm_msr_entry *msrs);

/*
 * A template from a JSON value, one allocation for free(); or NULL, the fault in Firecracker's
 * words, and in `where` (may be NULL) its path, "" for the whole. Unknown keys are faults.
 */
struct cpu_template *cpu_template_json_read(const json_t *v, char where[CPU_TEMPLATE_WHERE],
	struct volt_err *err);

/* What cpu_template_json_read() reads back to the same; NULL: out of memory. */
json_t *cpu_template_json_write(const struct cpu_template *t);

/* A processor of the host. */
struct cpu_template_host {
	char vendor[13];
	unsigned family, model, stepping;
};

void cpu_template_static_host(struct cpu_template_host *ret);

/* "T2", "T2S", "T2CL", "T2A", "C3"; NULL: there is none of this name. */
const struct cpu_template *cpu_template_static_get(const char *name);

/* -ENOTSUP: the template of this name is not for such a processor; Firecracker's words. */
int cpu_template_static_check(const char *name, const struct cpu_template_host *host,
	struct volt_err *err);

#endif
