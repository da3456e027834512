/* SPDX-License-Identifier: Apache-2.0 */
/* Boot MSRs: all in one call, and the refused one is named. */
#include "test.h"

#include <errno.h>

#include "kvm.h"
#include "msr.h"

static int result; /* of kvm_set_msrs(); 1000: all */
static unsigned calls, n_given;
static uint64_t mtrr_def_type;

int kvm_set_msrs(int fd, const struct kvm_msrs *msrs)
{
	(void)fd;
	calls++;
	n_given = msrs->nmsrs;
	for (unsigned i = 0; i < msrs->nmsrs; i++)
		if (msrs->entries[i].index == 0x2ff)
			mtrr_def_type = msrs->entries[i].data;
	return result == 1000 ? (int)msrs->nmsrs : result;
}

/* This KVM has the MSRs below n_has, with values of ten times their number. */
static unsigned n_has, gets;

int kvm_get_msrs(int fd, struct kvm_msrs *msrs)
{
	(void)fd;
	gets++;
	assert_in_range(msrs->nmsrs, 1, 255);
	for (unsigned i = 0; i < msrs->nmsrs; i++) {
		if (msrs->entries[i].index >= n_has)
			return (int)i;
		msrs->entries[i].data = msrs->entries[i].index * 10;
	}
	return (int)msrs->nmsrs;
}

static void any_number_goes_in_chunks(void **state)
{
	static struct kvm_msr_entry all[300];

	(void)state;
	for (unsigned i = 0; i < 300; i++)
		all[i].index = i;
	n_has = 300;
	assert_int_equal(msr_get(3, all, 300), 300);
	assert_int_equal(gets, 5);
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(all[i].data, i * 10);
	n_has = 70;
	assert_int_equal(msr_get(3, all, 300), 70);
	n_has = 128;
	assert_int_equal(msr_get(3, all, 300), 128);
	calls = 0;
	result = 1000;
	assert_int_equal(msr_set(3, all, 300), 300);
	assert_int_equal(calls, 5);
	assert_int_equal(msr_set(3, all, 0), 0);
	result = 7;
	assert_int_equal(msr_set(3, all, 300), 7);
	result = -EIO;
	assert_int_equal(msr_set(3, all, 300), -EIO);
}

static void sets_all_at_once(void **state)
{
	(void)state;
	result = 1000;
	assert_int_equal(msr_setup(3, NULL), 0);
	assert_int_equal(calls, 1);
	assert_int_equal(n_given, 11);
	assert_int_equal(mtrr_def_type, 0x806);
}

static void names_the_refused(void **state)
{
	struct volt_err err = { 0 };

	(void)state;
	result = 9;
	assert_int_equal(msr_setup(3, &err), -EIO);
	assert_string_equal(err.msg, "KVM refuses to set MSR 0x1a0 (IA32_MISC_ENABLE) to 0x1");
	err = (struct volt_err){ 0 };
	result = -EFAULT;
	assert_int_equal(msr_setup(3, &err), -EFAULT);
	assert_string_equal(err.msg, "set MSRs: Bad address");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets_all_at_once),
		cmocka_unit_test(names_the_refused),
		cmocka_unit_test(any_number_goes_in_chunks),
	};

	return cmocka_run_group_tests_name("msr", tests, NULL, NULL);
}
