/* SPDX-License-Identifier: Apache-2.0 */
/* CPU templates: read and written, applied; the static ones and the processors they are for. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-template.h"
#include "cpuid.h"

static struct volt_err err;
static char where[CPU_TEMPLATE_WHERE];

static struct cpu_template *read_text(const char *text)
{
	json_t *v = json_loads(text, JSON_DECODE_ANY, NULL);
	struct cpu_template *t;

	assert_non_null(v);
	err = (struct volt_err){ 0 };
	t = cpu_template_json_read(v, where, &err);
	json_decref(v);
	return t;
}

static void assert_fault(const char *text, const char *at, const char *fault)
{
	assert_null(read_text(text));
	assert_string_equal(where, at);
	assert_string_equal(err.msg, fault);
	assert_true(err.code > 0);
}

static const char all[] =
	"{\"kvm_capabilities\": [\"171\", \"!56\"],"
	" \"cpuid_modifiers\": [{\"leaf\": \"0x7\", \"subleaf\": \"0b0\", \"flags\": 1,"
	" \"modifiers\": ["
	"  {\"register\": \"ebx\", \"bitmap\": \"0b1xx0_01xx\"},"
	"  {\"register\": \"edx\", \"bitmap\": \"1\"},"
	"  {\"register\": \"ebx\", \"bitmap\": \"0b0xxxxxxx\"}]},"
	"  {\"leaf\": \"0x80000001\", \"subleaf\": \"0x0\", \"flags\": 0, \"modifiers\": []}],"
	" \"msr_modifiers\": [{\"addr\": \"0x10A\", \"bitmap\": "
	"  \"0b0000000000000000000000000000000000000000000000000000000000000001\"},"
	"  {\"addr\": \"0b11\", \"bitmap\": \"\"}]}";

static void a_template_is_read(void **state)
{
	struct cpu_template *t = read_text(all);

	(void)state;
	assert_non_null(t);
	assert_string_equal(where, "");
	assert_int_equal(t->n_caps, 2);
	assert_int_equal(t->caps[0].number, 171);
	assert_false(t->caps[0].drop);
	assert_int_equal(t->caps[1].number, 56);
	assert_true(t->caps[1].drop);
	assert_int_equal(t->n_leaves, 2);
	assert_int_equal(t->leaves[0].leaf, 7);
	assert_int_equal(t->leaves[0].subleaf, 0);
	assert_int_equal(t->leaves[0].flags, 1);
	/* ebx: two modifiers, the second wins where both speak */
	assert_int_equal(t->leaves[0].regs[CPU_TEMPLATE_EBX].mask, 0x9c);
	assert_int_equal(t->leaves[0].regs[CPU_TEMPLATE_EBX].value, 0x04);
	assert_int_equal(t->leaves[0].regs[CPU_TEMPLATE_EDX].mask, 1);
	assert_int_equal(t->leaves[0].regs[CPU_TEMPLATE_EDX].value, 1);
	assert_int_equal(t->leaves[0].regs[CPU_TEMPLATE_EAX].mask, 0);
	assert_int_equal(t->leaves[1].leaf, 0x80000001);
	assert_int_equal(t->n_msrs, 2);
	assert_int_equal(t->msrs[0].index, 0x10a);
	assert_true(t->msrs[0].mask == UINT64_MAX);
	assert_int_equal(t->msrs[0].value, 1);
	assert_int_equal(t->msrs[1].index, 3);
	assert_int_equal(t->msrs[1].mask, 0);
	free(t);
	t = read_text("{}");
	assert_non_null(t);
	assert_int_equal(t->n_caps + t->n_leaves + t->n_msrs, 0);
	free(t);
}

static void what_is_written_reads_back(void **state)
{
	struct cpu_template *t = read_text(all), *again;
	json_t *one = cpu_template_json_write(t), *two;

	(void)state;
	again = cpu_template_json_read(one, NULL, NULL);
	assert_non_null(again);
	two = cpu_template_json_write(again);
	assert_true(json_equal(one, two));
	assert_int_equal(again->leaves[0].regs[CPU_TEMPLATE_EBX].mask, 0x9c);
	assert_string_equal(json_string_value(json_object_get(json_array_get(
		json_object_get(json_array_get(json_object_get(one, "cpuid_modifiers"), 0),
			"modifiers"), 0), "bitmap")), "0bxxxxxxxxxxxxxxxxxxxxxxxx0xx001xx");
	json_decref(one);
	json_decref(two);
	free(t);
	free(again);
}

#define LEAF(modifiers) "{\"cpuid_modifiers\": [{\"leaf\": \"0x1\", \"subleaf\": \"0x0\", " \
			"\"flags\": 0, \"modifiers\": [" modifiers "]}]}"
#define MSR(addr, bitmap) \
	"{\"msr_modifiers\": [{\"addr\": \"" addr "\", \"bitmap\": \"" bitmap "\"}]}"

static void faults_have_firecrackers_words(void **state)
{
	(void)state;
	assert_fault("[]", "", "invalid type: expected an object");
	assert_fault("{\"cpuid\": []}", "", "unknown field `cpuid`");
	assert_fault("{\"msr_modifiers\": {}}", "msr_modifiers",
		"invalid type: expected a sequence");
	assert_fault("{\"kvm_capabilities\": [171]}", "kvm_capabilities[0]",
		"invalid type: expected a string");
	assert_fault("{\"kvm_capabilities\": [\"1\", \"0xab\"]}", "kvm_capabilities[1]",
		"Failed to parse string [0xab] as a kvm capability - can not convert to numeric: "
		"invalid digit found in string");
	assert_fault("{\"kvm_capabilities\": [\"!\"]}", "kvm_capabilities[0]",
		"Failed to parse string [!] as a kvm capability - can not convert to numeric: "
		"cannot parse integer from empty string");
	assert_fault("{\"kvm_capabilities\": [\"4294967296\"]}", "kvm_capabilities[0]",
		"Failed to parse string [4294967296] as a kvm capability - can not convert to "
		"numeric: number too large to fit in target type");
	assert_fault(MSR("266", "0b1"), "msr_modifiers[0].addr",
		"No supported number system prefix found in value [266]. Make sure to prefix the "
		"number with '0x' for hexadecimal numbers or '0b' for binary numbers.");
	assert_fault(MSR("0x", "0b1"), "msr_modifiers[0].addr",
		"Failed to parse string [0x] as a number for CPU template - ParseIntError { kind: "
		"Empty }");
	assert_fault(MSR("0x100000000", "0b1"), "msr_modifiers[0].addr",
		"Failed to parse string [0x100000000] as a number for CPU template - ParseIntError "
		"{ kind: PosOverflow }");
	assert_fault(MSR("0b12", "0b1"), "msr_modifiers[0].addr",
		"Failed to parse string [0b12] as a number for CPU template - ParseIntError "
		"{ kind: InvalidDigit }");
	assert_fault(MSR("0x1", "0b102"), "msr_modifiers[0].bitmap",
		"Failed to parse string [0b102] as a bitmap - unknown character: 50");
	assert_fault(LEAF("{\"register\": \"eax\", \"bitmap\": "
			  "\"0b1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}"),
		"cpuid_modifiers[0].modifiers[0].bitmap",
		"Failed to parse string [0b1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx] as a bitmap - "
		"string is too long");
	assert_fault(LEAF("{\"register\": \"EAX\", \"bitmap\": \"0\"}"),
		"cpuid_modifiers[0].modifiers[0].register",
		"unknown variant `EAX`, expected one of `eax`, `ebx`, `ecx`, `edx`");
	assert_fault(LEAF("{\"register\": \"eax\"}"), "cpuid_modifiers[0].modifiers[0].bitmap",
		"missing field `bitmap`");
	assert_fault(LEAF("{\"register\": \"eax\", \"bitmap\": \"0\", \"x\": 1}"),
		"cpuid_modifiers[0].modifiers[0]", "unknown field `x`");
	assert_fault("{\"cpuid_modifiers\": [{\"leaf\": \"0x1\", \"subleaf\": \"0x0\", "
		     "\"flags\": -1, \"modifiers\": []}]}", "cpuid_modifiers[0]",
		"flags: invalid value: expected u32");
	assert_fault("{\"cpuid_modifiers\": [{\"leaf\": \"0x1\", \"flags\": 0}]}",
		"cpuid_modifiers[0].subleaf", "missing field `subleaf`");
	assert_fault("{\"cpuid_modifiers\": [{\"leaf\": \"0x1\", \"subleaf\": \"0x0\", "
		     "\"flags\": 0}]}", "cpuid_modifiers[0]", "missing field `modifiers`");
}

static void the_number_of_changes_is_bounded(void **state)
{
	json_t *v = json_object(), *a = json_array();

	(void)state;
	for (int i = 0; i <= CPU_TEMPLATE_MAX; i++)
		json_array_append_new(a, json_string("1"));
	json_object_set_new(v, "kvm_capabilities", a);
	err = (struct volt_err){ 0 };
	assert_null(cpu_template_json_read(v, where, &err));
	assert_string_equal(err.msg, "has 1025 entries, and the maximum is 1024");
	json_decref(v);
}

static void leaves_are_changed_and_the_rest_is_not(void **state)
{
	static struct cpuid c = { .nent = 3,
		.entries = { { 0x7, 0, 1, 1, 0xff, 0xff, 0xfe }, { 0x7, 1, 1, 2, 3, 4, 5 },
			{ 0x80000001, 0, 0, 6, 7, 8, 9 } } };
	struct cpu_template *t = read_text(all);

	(void)state;
	assert_int_equal(cpu_template_apply(t, &c, &err), 0);
	assert_int_equal(c.entries[0].eax, 1);
	assert_int_equal(c.entries[0].ebx, 0x67);
	assert_int_equal(c.entries[0].ecx, 0xff);
	assert_int_equal(c.entries[0].edx, 0xff);
	assert_int_equal(c.entries[1].ebx, 3);
	assert_int_equal(c.entries[2].ebx, 7);
	c.entries[2].index = 4;
	assert_int_equal(cpu_template_apply(t, &c, &err), -ENOTSUP);
	assert_string_equal(err.msg, "Template changes a CPUID entry not supported by KVM: Leaf: "
		"80000001, Subleaf: 0");
	free(t);
}

static void an_msr_named_twice_is_changed_twice(void **state)
{
	const struct cpu_template_msr msrs[] = { { 0x10, 0xf0, 0x10 }, { 0x11, 0xff, 0 },
		{ 0x10, 0x0f, 0x02 } };
	const struct cpu_template t = { .msrs = msrs, .n_msrs = 3 };
	struct kvm_msr_entry e[] = { { 0x10, 0, 0xabc }, { 0x11, 0, 0xabc }, { 0x10, 0, 0xabc } };

	(void)state;
	cpu_template_apply_msrs(&t, e);
	assert_int_equal(e[0].data, 0xa1c);
	assert_int_equal(e[1].data, 0xa00);
	assert_int_equal(e[2].data, 0xa12);
}

static const struct cpu_template_leaf *leaf(const char *name, uint32_t number, uint32_t subleaf)
{
	const struct cpu_template *t = cpu_template_static_get(name);

	for (size_t i = 0; i < t->n_leaves; i++)
		if (t->leaves[i].leaf == number && t->leaves[i].subleaf == subleaf)
			return &t->leaves[i];
	return NULL;
}

static void static_templates_are_firecrackers(void **state)
{
	static const char *const names[] = { "C3", "T2", "T2S", "T2CL", "T2A" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const struct cpu_template *t = cpu_template_static_get(names[i]);

		assert_non_null(t);
		assert_int_equal(t->n_leaves, i == 0 ? 5 : 6);
		assert_int_equal(t->n_msrs, i == 2 || i == 3);
		for (size_t k = 0; k < t->n_leaves; k++)
			for (size_t r = 0; r < 4; r++)
				assert_int_equal(t->leaves[k].regs[r].value &
					~t->leaves[k].regs[r].mask, 0);
	}
	assert_null(cpu_template_static_get("None"));
	assert_null(cpu_template_static_get("V1N1"));
	assert_int_equal(leaf("C3", 1, 0)->regs[CPU_TEMPLATE_EAX].value, 0x306e4);
	assert_int_equal(leaf("T2", 1, 0)->regs[CPU_TEMPLATE_EAX].value, 0x306f2);
	assert_int_equal(leaf("T2A", 0x80000008, 0)->regs[CPU_TEMPLATE_EBX].mask, 0x1c0205);
	assert_int_equal(leaf("T2CL", 0x80000001, 0)->regs[CPU_TEMPLATE_EDX].mask, 0x7c00000);
	assert_int_equal(leaf("T2S", 7, 0)->regs[CPU_TEMPLATE_EBX].value, 0x200);
	assert_int_equal(leaf("T2S", 7, 0)->flags, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	assert_int_equal(cpu_template_static_get("T2S")->msrs[0].value, 0xc0a0c4c);
}

static void static_templates_are_for_some_processors(void **state)
{
	const struct cpu_template_host hosts[] = {
		{ "GenuineIntel", 6, 0x55, 4 }, { "GenuineIntel", 6, 0x55, 7 },
		{ "GenuineIntel", 6, 0x6a, 6 }, { "AuthenticAMD", 0x19, 1, 1 },
		{ "GenuineIntel", 6, 0x8f, 8 }, { "AuthenticAMD", 0x19, 1, 2 },
	};
	/* Skylake, Cascade Lake, Ice Lake, Milan, and two that none is for; + v m: yes, wrong
	 * vendor, wrong model. */
	static const struct { const char *name, *judgement; } rows[] = {
		{ "C3", "+++vmv" }, { "T2", "+++vmv" }, { "T2S", "++mvmv" }, { "T2CL", "m++vmv" },
		{ "T2A", "vvv+vm" },
	};
	struct cpu_template_host real;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(hosts); k++) {
			char want = rows[i].judgement[k];
			const char *text = "";
			int r;

			if (want == 'v')
				text = "CPU vendor mismatched between actual CPU and CPU template.";
			else if (want == 'm')
				text = "The current CPU model is not permitted to apply the CPU "
				       "template.";

			err = (struct volt_err){ 0 };
			r = cpu_template_static_check(rows[i].name, &hosts[k], &err);
			assert_int_equal(r, want == '+' ? 0 : -ENOTSUP);
			assert_string_equal(err.msg, text);
		}
	}
	err = (struct volt_err){ 0 };
	assert_int_equal(cpu_template_static_check("T3", &hosts[0], &err), -EINVAL);
	cpu_template_static_host(&real);
	assert_int_equal(strlen(real.vendor), 12);
	assert_true(real.family >= 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_template_is_read),
		cmocka_unit_test(what_is_written_reads_back),
		cmocka_unit_test(faults_have_firecrackers_words),
		cmocka_unit_test(the_number_of_changes_is_bounded),
		cmocka_unit_test(leaves_are_changed_and_the_rest_is_not),
		cmocka_unit_test(an_msr_named_twice_is_changed_twice),
		cmocka_unit_test(static_templates_are_firecrackers),
		cmocka_unit_test(static_templates_are_for_some_processors),
	};

	return cmocka_run_group_tests_name("cpu-template", tests, NULL, NULL);
}
