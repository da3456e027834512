/* SPDX-License-Identifier: Apache-2.0 */
/* The template of a configuration: where it comes from, the order of what KVM is told, faults. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu-fingerprint.h"
#include "cpu-setup.h"
#include "cpuid.h"
#include "fake-kvm.h"
#include "probe.h"
#include "vcpu.h"

static struct vm_config cfg;
static struct volt_err err;

static int setup(void **state)
{
	(void)state;
	fake_kvm_reset();
	cfg = (struct vm_config){ .vcpus = 2 };
	err = (struct volt_err){ 0 };
	return 0;
}

static struct cpu_template *load(const char *text)
{
	struct cpu_template *t;

	cfg.cpu_config = (char *)text;
	if (cpu_setup_load(&cfg, &t, &err) < 0)
		assert_null(t);
	return t;
}

static int run(const struct cpu_template *t)
{
	const struct vcpu vcpus[] = { { .index = 0, .fd = FAKE_KVM_FD + 2 },
		{ .index = 1, .fd = FAKE_KVM_FD + 3 } };

	return cpu_setup(FAKE_KVM_FD, &cfg, t, vcpus, 2, &err);
}

static void cpuid_first_then_the_base_of_vcpu_0_then_msrs(void **state)
{
	struct cpu_template *t = load("{\"msr_modifiers\": ["
		"{\"addr\": \"0x10a\", \"bitmap\": \"0b1x0\"}, "
		"{\"addr\": \"0x1a0\", \"bitmap\": \"0b0\"}]}");

	(void)state;
	assert_non_null(t);
	fake_kvm.msr_base = 0xf3;
	assert_int_equal(run(t), 0);
	assert_string_equal(fake_kvm.vcpu_calls, "cpuid0 cpuid1 get0 set0 set0 set1 set1");
	/* 11 of the boot, and then the template's, which win */
	for (unsigned i = 0; i < 2; i++) {
		const struct kvm_msr_entry *m = fake_kvm.msrs + i * 13;

		assert_int_equal(m[9].index, 0x1a0);
		assert_int_equal(m[9].data, 1);
		assert_int_equal(m[11].index, 0x10a);
		assert_int_equal(m[11].data, 0xf6);
		assert_int_equal(m[12].index, 0x1a0);
		assert_int_equal(m[12].data, 0xf2);
	}
	free(t);
}

static void without_a_template_nothing_is_read(void **state)
{
	(void)state;
	assert_int_equal(run(NULL), 0);
	assert_string_equal(fake_kvm.vcpu_calls, "cpuid0 cpuid1 set0 set1");
}

static void what_kvm_lacks_is_named(void **state)
{
	struct cpu_template *t = load("{\"msr_modifiers\": ["
		"{\"addr\": \"0x10a\", \"bitmap\": \"0b1\"}, "
		"{\"addr\": \"0x123\", \"bitmap\": \"0b0\"}]}");

	(void)state;
	fake_kvm.msr_lacking = 0x123;
	assert_int_equal(run(t), -ENOTSUP);
	assert_string_equal(err.msg,
		"Template changes an MSR entry not supported by KVM: Register Address: 123");
	free(t);
	err = (struct volt_err){ 0 };
	t = load("{\"cpuid_modifiers\": [{\"leaf\": \"0x2\", \"subleaf\": \"0x3\", \"flags\": 0, "
		 "\"modifiers\": []}]}");
	assert_int_equal(run(t), -ENOTSUP);
	assert_string_equal(err.msg,
		"Template changes a CPUID entry not supported by KVM: Leaf: 2, Subleaf: 3");
	free(t);
}

static void capabilities_are_added_and_dropped(void **state)
{
	struct cpu_template *t = load("{\"kvm_capabilities\": [\"171\", \"!36\"]}");

	(void)state;
	assert_int_equal(probe_capabilities(FAKE_KVM_FD, t, &err), 0);
	fake_kvm.cap_lacking = 36; /* KVM_CAP_IOEVENTFD */
	assert_int_equal(probe_capabilities(FAKE_KVM_FD, t, &err), 0);
	assert_int_equal(probe_capabilities(FAKE_KVM_FD, NULL, &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "KVM_CAP_IOEVENTFD"));
	err = (struct volt_err){ 0 };
	fake_kvm.cap_lacking = 171;
	assert_int_equal(probe_capabilities(FAKE_KVM_FD, t, &err), -ENOTSUP);
	assert_string_equal(err.msg,
		"this kernel's KVM lacks capability 171, which the CPU template asks for");
	free(t);
}

static void a_template_may_be_in_a_file(void **state)
{
	char path[] = "/tmp/test-cpu-setup-XXXXXX", quoted[64];
	int fd = mkstemp(path);
	struct cpu_template *t;

	(void)state;
	assert_true(fd >= 0);
	snprintf(quoted, sizeof(quoted), "\"%s\"", path);
	assert_int_equal(write(fd, "{\"kvm_capabilities\": [\"7\"]}", 27), 27);
	t = load(quoted);
	assert_non_null(t);
	assert_int_equal(t->caps[0].number, 7);
	free(t);
	assert_int_equal(pwrite(fd, "x", 1, 23), 1);
	assert_null(load(quoted));
	assert_non_null(strstr(err.msg, path));
	assert_non_null(strstr(err.msg, ": kvm_capabilities[0]: Failed to parse string [x]"));
	err = (struct volt_err){ 0 };
	assert_int_equal(ftruncate(fd, 9), 0);
	assert_null(load(quoted));
	assert_non_null(strstr(err.msg, ":1:9: "));
	err = (struct volt_err){ 0 };
	assert_int_equal(ftruncate(fd, LIMIT_CONFIG_BYTES + 1), 0);
	assert_null(load(quoted));
	assert_non_null(strstr(err.msg, "is larger than 1048576 bytes"));
	close(fd);
	unlink(path);
	err = (struct volt_err){ 0 };
	assert_null(load(quoted));
	assert_non_null(strstr(err.msg, "cannot be read: No such file or directory"));
}

static void the_custom_template_wins(void **state)
{
	const struct cpu_template custom = { 0 }, *t;
	struct cpu_template_host host;
	int r;

	(void)state;
	assert_int_equal(cpu_setup_choose(&cfg, NULL, &t, &err), 0);
	assert_null(t);
	cfg.cpu_template = CPU_TEMPLATE_T2A;
	assert_int_equal(cpu_setup_choose(&cfg, &custom, &t, &err), 0);
	assert_ptr_equal(t, &custom);
	cpu_template_static_host(&host);
	r = cpu_setup_choose(&cfg, NULL, &t, &err);
	assert_int_equal(r, cpu_template_static_check("T2A", &host, NULL));
	assert_ptr_equal(t, cpu_template_static_get("T2A"));
	for (int i = CPU_TEMPLATE_C3; i <= CPU_TEMPLATE_T2A; i++)
		assert_non_null(cpu_template_static_get(vmcfg_cpu_template_names[i]));
}

static void a_fingerprint_is_a_template(void **state)
{
	json_t *v, *cpu, *msrs;
	struct cpu_template *t;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	fake_kvm.msr_base = 0x1234;
	fake_kvm.msr_lacking = 0x10a;
	assert_int_equal(cpu_fingerprint(FAKE_KVM_FD, &cfg, NULL, f, &err), 0);
	fclose(f);
	v = json_loads(text, 0, NULL);
	assert_non_null(json_object_get(v, "kernel_version"));
	assert_non_null(json_object_get(v, "microcode_version"));
	cpu = json_object_get(v, "guest_cpu_config");
	msrs = json_object_get(cpu, "msr_modifiers");
	assert_int_equal(json_array_size(msrs), 1); /* neither the clock nor what is not there */
	t = cpu_template_json_read(cpu, NULL, &err);
	assert_non_null(t);
	assert_int_equal(t->msrs[0].index, 0x8b);
	assert_int_equal(t->msrs[0].value, 0x1234);
	assert_int_equal(t->n_leaves, 2);
	assert_int_equal(t->leaves[1].leaf, 1);
	assert_int_equal(t->leaves[1].regs[CPU_TEMPLATE_ECX].value >> 31, 1);
	free(t);
	json_decref(v);
	free(text);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		TEST(cpuid_first_then_the_base_of_vcpu_0_then_msrs),
		TEST(without_a_template_nothing_is_read),
		TEST(what_kvm_lacks_is_named),
		TEST(capabilities_are_added_and_dropped),
		TEST(a_template_may_be_in_a_file),
		TEST(the_custom_template_wins),
		TEST(a_fingerprint_is_a_template),
	};

	return cmocka_run_group_tests_name("cpu-setup", tests, NULL, NULL);
}
