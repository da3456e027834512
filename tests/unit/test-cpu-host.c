/* SPDX-License-Identifier: Apache-2.0 */
/* Which hosts a guest may go on on, and what those that it may not are told. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cpu-host.h"
#include "cpuid.h"
#include "fake-kvm.h"
#include "state.h"

static const struct cpu_host here = {
	.cpu = { "GenuineIntel", 6, 0x6a, 6 },
	.features = { [0] = 0xff, [2] = 0x20 },
	.xcr0 = 7,
	.xsave_bytes = 4096,
	.tsc_khz = 2000000,
};

static const struct cpuid guest = { .nent = 3,
	.entries = { { .function = 1, .ecx = 0x80000011 }, /* two features and "hypervisor" */
		{ .function = 7, .ebx = 0x20 }, { .function = 0xd, .eax = 7 } } };

/* Saves `from`, with a guest's CPUID, loads it on `to`. */
static int move(const struct cpu_host *from, const struct cpuid *cpuid, const struct cpu_host *to,
	struct volt_err *err)
{
	const void *data;
	struct state *s, *l;
	size_t len;
	int r;

	*err = (struct volt_err){ 0 };
	assert_int_equal(state_new(&s), 0);
	cpu_host_state(from, cpuid, s);
	assert_int_equal(state_finish(s, &data, &len, NULL), 0);
	assert_int_equal(state_read(data, len, STATE_LOAD, &l, NULL), 0);
	cpu_host_state(to, NULL, l);
	state_done(l);
	r = state_error(l, err);
	state_free(l);
	state_free(s);
	return r;
}

static void refused(const struct cpu_host *to, const char *text)
{
	struct volt_err err;

	assert_int_equal(move(&here, &guest, to, &err), -EBADMSG);
	assert_string_equal(err.msg, text);
}

static void the_same_host_is_good(void **state)
{
	struct cpu_host to = here;
	struct volt_err err;

	(void)state;
	assert_int_equal(move(&here, &guest, &to, &err), 0);
	to.features[0] = 0xfff; /* more than the guest has seen */
	to.xcr0 = 0xe7;
	to.tsc_khz += 400; /* 200 ppm */
	assert_int_equal(move(&here, &guest, &to, &err), 0);
}

static void another_host_is_refused_in_words(void **state)
{
	struct cpu_host to = here;

	(void)state;
	to.cpu.model = 0x8f;
	refused(&to, "host 0: vendor: the guest ran on GenuineIntel family 6 model 106 stepping 6, "
		     "and this host has GenuineIntel family 6 model 143 stepping 6: load it on a "
		     "host of the same kind");
	to = here;
	strcpy(to.cpu.vendor, "AuthenticAMD");
	refused(&to, "host 0: vendor: the guest ran on GenuineIntel family 6 model 106 stepping 6, "
		     "and this host has AuthenticAMD family 6 model 106 stepping 6: load it on a "
		     "host of the same kind");
	to = here;
	to.features[0] = 0x0f;
	refused(&to, "host 0: cpuid-1-ecx: the guest has seen features that this host, or its "
		     "kernel, lacks: bits 0x10");
	to = here;
	to.xcr0 = 3;
	refused(&to, "host 0: xcr0: this host lacks bits 0x4");
	to = here;
	to.xsave_bytes = 8192;
	refused(&to, "host 0: xsave-bytes: the guest's vector registers take 4096 bytes, this "
		     "host's KVM has 8192");
}

static void another_frequency_needs_scaling(void **state)
{
	struct cpu_host to = here;
	struct volt_err err;

	(void)state;
	to.tsc_khz += 600; /* 300 ppm */
	refused(&to, "host 0: tsc-khz: the guest's time stamp counter has 2000000 kHz, this "
		     "host's 2000600, and its KVM cannot scale it");
	to.tsc_scaling = true;
	assert_int_equal(move(&here, &guest, &to, &err), 0);
	assert_true(cpu_host_tsc_differs(&to, 2000000));
	assert_false(cpu_host_tsc_differs(&to, 2000500));
}

static void a_host_is_asked(void **state)
{
	struct cpu_host h;

	(void)state;
	fake_kvm_reset();
	assert_int_equal(cpu_host_probe(FAKE_KVM_FD, FAKE_KVM_FD + 2, &h, NULL), 0);
	assert_int_equal(h.tsc_khz, 1000000);
	assert_int_equal(h.xsave_bytes, 4096);
	assert_int_equal(h.n_msrs, 3);
	assert_true(h.cpu.vendor[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_host_is_good),
		cmocka_unit_test(another_host_is_refused_in_words),
		cmocka_unit_test(another_frequency_needs_scaling),
		cmocka_unit_test(a_host_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
