/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CPU template from bytes of a stranger. Oracle: it is a fault with a text, or a template that,
 * written and read again, is the same to the byte, and that does to CPUID what its bitmaps say:
 * applied twice it changes no more than once.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-template.h"
#include "cpuid.h"

static void check_bits(const struct cpu_template *t)
{
	for (size_t i = 0; i < t->n_leaves; i++)
		for (size_t k = 0; k < 4; k++)
			assert(!(t->leaves[i].regs[k].value & ~t->leaves[i].regs[k].mask));
	for (size_t i = 0; i < t->n_msrs; i++)
		assert(!(t->msrs[i].value & ~t->msrs[i].mask));
}

static void check_write(const struct cpu_template *t)
{
	json_t *once = cpu_template_json_write(t), *twice;
	struct cpu_template *again;

	assert(once);
	again = cpu_template_json_read(once, NULL, NULL);
	assert(again && again->n_caps == t->n_caps && again->n_leaves == t->n_leaves &&
		again->n_msrs == t->n_msrs);
	assert(memcmp(again->caps, t->caps, t->n_caps * sizeof(*t->caps)) == 0);
	assert(memcmp(again->leaves, t->leaves, t->n_leaves * sizeof(*t->leaves)) == 0);
	assert(memcmp(again->msrs, t->msrs, t->n_msrs * sizeof(*t->msrs)) == 0);
	twice = cpu_template_json_write(again);
	assert(json_equal(once, twice));
	json_decref(once);
	json_decref(twice);
	free(again);
}

static void check_apply(const struct cpu_template *t)
{
	static struct cpuid c, once;

	/* A KVM that has the template's own leaves, the first ones. */
	c.nent = 0;
	for (size_t i = 0; i < t->n_leaves && i < CPUID_ENTRIES_MAX; i++)
		c.entries[c.nent++] = (struct kvm_cpuid_entry2){ .function = t->leaves[i].leaf,
			.index = t->leaves[i].subleaf, .eax = (uint32_t)i, .ebx = UINT32_MAX };
	if (cpu_template_apply(t, &c, NULL) < 0) {
		assert(t->n_leaves > CPUID_ENTRIES_MAX);
		return;
	}
	once = c;
	assert(cpu_template_apply(t, &c, NULL) == 0);
	assert(memcmp(&once, &c, sizeof(c)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *v = json_loadb((const char *)data, size, JSON_DECODE_ANY, NULL);
	char where[CPU_TEMPLATE_WHERE] = "?";
	struct volt_err err = { 0 };
	struct cpu_template *t;

	if (!v)
		return 0;
	t = cpu_template_json_read(v, where, &err);
	json_decref(v);
	if (!t) {
		assert(err.code && err.msg[0] && strlen(where) < sizeof(where));
		return 0;
	}
	assert(!err.code && !where[0]);
	check_bits(t);
	check_write(t);
	check_apply(t);
	free(t);
	return 0;
}
