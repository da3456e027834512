/* SPDX-License-Identifier: Apache-2.0 */
/* State of vCPUs and the clock: the order of calls, time that stands still, what is refused. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-state.h"
#include "fake-kvm.h"
#include "num.h"
#include "state.h"

#define VCPU (FAKE_KVM_FD + 2)

struct fixture {
	struct cpu_host host;
	struct cpu_msrs msrs;
	struct cpu_state c, again;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct fake_kvm_vcpu *v = &fake_kvm.vcpus[0];

	fake_kvm_reset();
	fake_kvm.msr_base = 0x1234;
	v->mp_state.mp_state = KVM_MP_STATE_HALTED;
	v->regs.rip = 0x100000;
	v->regs.r15 = 15;
	v->sregs2.cr3 = 0x9000;
	v->sregs2.cs.selector = 0x10;
	v->sregs2.pdptrs[2] = 7;
	v->xsave[4095] = 1;
	v->lapic.regs[0x20] = 1;
	v->vcpu_events.interrupt.shadow = 1;
	v->tsc_offset = 5000;
	fake_kvm.cpuid[0].function = 1;
	fake_kvm.n_cpuid = 1;
	assert_int_equal(cpu_host_probe(FAKE_KVM_FD, VCPU, &f->host, NULL), 0);
	assert_int_equal(cpu_msrs_find(&f->host, VCPU, &f->msrs, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

/* Through a file, into f->again. */
static int reload(struct fixture *f, struct volt_err *err)
{
	const void *data;
	struct state *s, *l;
	size_t len;
	int r;

	assert_int_equal(state_new(&s), 0);
	cpu_state_fields(&f->c, &f->host, 0, s);
	assert_int_equal(state_finish(s, &data, &len, NULL), 0);
	assert_int_equal(state_read(data, len, STATE_LOAD, &l, NULL), 0);
	cpu_state_fields(&f->again, &f->host, 0, l);
	state_done(l);
	r = state_error(l, err);
	state_free(l);
	state_free(s);
	return r;
}

static void all_of_it_comes_back(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(cpu_state_get(VCPU, &f->host, &f->msrs, &f->c, NULL), 0);
	assert_int_equal(reload(f, NULL), 0);
	assert_memory_equal(&f->again, &f->c, sizeof(f->c));
	assert_int_equal(f->again.regs.r15, 15);
	assert_int_equal(f->again.tsc_offset, 5000);
}

static void the_order_is_the_one_that_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct cpu_clock was = { 0 }, now;
	char expected[400] = "cpuid0 mp_state0 sregs20 regs0 xsave0 xcrs0 debugregs0 lapic0";

	assert_int_equal(cpu_state_get(VCPU, &f->host, &f->msrs, &f->c, NULL), 0);
	f->c.tsc_deadline = 1;
	assert_int_equal(cpu_state_set(VCPU, &f->host, &f->c, NULL), 0);
	for (unsigned n = 0; n < f->c.n_msrs; n += 64)
		strcat(expected, " msrs0");
	assert_string_equal(fake_kvm.state_calls, expected);
	fake_kvm.state_calls[0] = '\0';
	fake_kvm.n_msrs = 0;
	assert_int_equal(cpu_clock_set(FAKE_KVM_FD + 1, &was, &now, NULL), 0);
	assert_int_equal(cpu_state_set_time(VCPU, &f->c, &was, &now, NULL), 0);
	/* TSC by its MSR, as there is no host's TSC with the clock; then the deadline; then events.
	 */
	assert_string_equal(fake_kvm.state_calls, "clock0 msrs0 msrs0 vcpu_events0");
	assert_int_equal(fake_kvm.msrs[fake_kvm.n_msrs - 1].index, 0x6e0);
}

static void the_tsc_stands_still_by_its_offset(void **state)
{
	struct fixture *f = *state;
	struct cpu_clock was = {
		.clock_ns = 1000000, .host_tsc = 70000000, .flags = KVM_CLOCK_HOST_TSC
	};
	struct cpu_clock now = {
		.clock_ns = 1000500, .host_tsc = 90000000, .flags = KVM_CLOCK_HOST_TSC
	};

	f->c.has_offset = true;
	f->c.tsc_offset = (uint64_t)-1000;
	f->c.tsc_khz = 2000000; /* two ticks a nanosecond */
	assert_int_equal(cpu_state_set_time(VCPU, &f->c, &was, &now, NULL), 0);
	/* Guest's TSC then: 69999000; 500 ns later: 70000000. */
	assert_int_equal(now.host_tsc + fake_kvm.vcpus[0].tsc_offset, 70000000);
	assert_string_equal(fake_kvm.state_calls, "offset0 vcpu_events0");

	fake_kvm.no_tsc_offset = true;
	f->c.tsc = 4242;
	fake_kvm.n_msrs = 0;
	assert_int_equal(cpu_state_set_time(VCPU, &f->c, &was, &now, NULL), 0);
	assert_int_equal(fake_kvm.msrs[0].index, 0x10);
	assert_int_equal(fake_kvm.msrs[0].data, 4242);
}

static void a_deadline_that_has_passed_passes_again(void **state)
{
	struct fixture *f = *state;

	fake_kvm.msr_base = 0;
	assert_int_equal(cpu_state_get(VCPU, &f->host, &f->msrs, &f->c, NULL), 0);
	assert_int_equal(f->c.tsc_deadline, 0); /* the timer has another mode */
	num_put_le32(fake_kvm.vcpus[0].lapic.regs + 0x320, 2u << 17);
	fake_kvm.msr_base = 0;
	assert_int_equal(cpu_state_get(VCPU, &f->host, &f->msrs, &f->c, NULL), 0);
	assert_int_equal(f->c.tsc_deadline, f->c.tsc);
}

static void msrs_are_found_once_and_commands_are_not_among_them(void **state)
{
	struct fixture *f = *state;
	uint32_t lacking = 0x400;

	for (uint32_t i = 0; i < f->msrs.n; i++) {
		uint32_t msr = f->msrs.index[i];

		assert_true(msr != 0x10 && msr != 0x6e0 && msr != 0x49 && msr != 0x10b);
		for (uint32_t k = 0; k < i; k++)
			assert_true(f->msrs.index[k] != msr);
	}
	assert_int_equal(f->msrs.index[f->msrs.n - 1] >> 8, 0x4b564d);
	fake_kvm.msr_lacking = lacking;
	assert_int_equal(cpu_msrs_find(&f->host, VCPU, &f->msrs, NULL), 0);
	for (uint32_t i = 0; i < f->msrs.n; i++)
		assert_true(f->msrs.index[i] != lacking);
}

static void an_msr_that_kvm_refuses_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct volt_err err = { 0 };

	assert_int_equal(cpu_state_get(VCPU, &f->host, &f->msrs, &f->c, NULL), 0);
	fake_kvm.msr_lacking = 0x277;
	assert_int_equal(cpu_state_set(VCPU, &f->host, &f->c, &err), -ENOTSUP);
	assert_string_equal(err.msg,
		"KVM refuses to set MSR 0x277 to 0x1234: another host or kernel "
		"than the one that saved it");
}

static void hostile_fields_are_refused(void **state)
{
	struct fixture *f = *state;
	struct volt_err err = { 0 };

	assert_int_equal(cpu_state_get(VCPU, &f->host, &f->msrs, &f->c, NULL), 0);
	f->c.msrs[3].index = 0x10b;
	assert_int_equal(reload(f, &err), -EBADMSG);
	assert_string_equal(err.msg, "vcpu 0: msrs: 0x10b has no value to load");
	f->c.msrs[3].index = 0x277;
	f->c.tsc_khz = 0;
	err.code = 0;
	assert_int_equal(reload(f, &err), -EBADMSG);
	assert_string_equal(err.msg, "vcpu 0: tsc-khz: is 0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_of_it_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_order_is_the_one_that_loses_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_tsc_stands_still_by_its_offset, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_deadline_that_has_passed_passes_again, setup, teardown),
		cmocka_unit_test_setup_teardown(
			msrs_are_found_once_and_commands_are_not_among_them, setup, teardown),
		cmocka_unit_test_setup_teardown(
			an_msr_that_kvm_refuses_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_fields_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
