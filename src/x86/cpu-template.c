/* SPDX-License-Identifier: Apache-2.0 */
/* Applying CPU templates, see cpu-template.h. */
#include "cpu-template.h"

#include <errno.h>

#include "cpuid.h"

static struct kvm_cpuid_entry2 *find(struct cpuid *c, uint32_t leaf, uint32_t subleaf)
{
	for (uint32_t i = 0; i < c->nent; i++)
		if (c->entries[i].function == leaf && c->entries[i].index == subleaf)
			return &c->entries[i];
	return NULL;
}

static uint32_t changed(uint32_t v, const struct cpu_template_leaf *l, unsigned reg)
{
	return (v & ~l->regs[reg].mask) | l->regs[reg].value;
}

int cpu_template_apply(const struct cpu_template *t, struct cpuid *c, struct volt_err *err)
{
	for (size_t i = 0; i < t->n_leaves; i++) {
		const struct cpu_template_leaf *l = &t->leaves[i];
		struct kvm_cpuid_entry2 *e = find(c, l->leaf, l->subleaf);

		if (!e)
			return volt_err_set(err, ENOTSUP,
				"Template changes a CPUID entry not supported by KVM: Leaf: %x, "
				"Subleaf: %x",
				l->leaf, l->subleaf);
		e->flags = l->flags;
		e->eax = changed(e->eax, l, CPU_TEMPLATE_EAX);
		e->ebx = changed(e->ebx, l, CPU_TEMPLATE_EBX);
		e->ecx = changed(e->ecx, l, CPU_TEMPLATE_ECX);
		e->edx = changed(e->edx, l, CPU_TEMPLATE_EDX);
	}
	return 0;
}

void cpu_template_apply_msrs(const struct cpu_template *t, struct kvm_msr_entry *msrs)
{
	for (size_t i = 0; i < t->n_msrs; i++) {
		const struct cpu_template_msr *m = &t->msrs[i];

		/* One that is named twice is changed twice. */
		for (size_t j = 0; j < i; j++)
			if (msrs[j].index == m->index)
				msrs[i].data = msrs[j].data;
		msrs[i].data = (msrs[i].data & ~m->mask) | m->value;
	}
}
