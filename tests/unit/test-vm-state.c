/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole machines, with a fake KVM: what is saved is loaded, in the order that KVM needs; a file of
 * another machine, and one that is damaged with its checksums right, is refused or harmless.
 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake-kvm.h"
#include "kvm.h"
#include "log.h"
#include "state-sample.h"
#include "state.h"
#include "vm-state.h"
#include "vm.h"

struct machine {
	struct vm_config cfg;
	struct resources res;
	struct timeline timeline;
	struct vm vm;
};

static struct machine *make(unsigned vcpus, uint64_t mem_bytes, bool balloon)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct volt_err err = { 0 };

	vmcfg_defaults(&m->cfg);
	m->cfg.vcpus = vcpus;
	m->cfg.mem_bytes = mem_bytes;
	m->cfg.console = CONSOLE_OFF;
	m->cfg.console_device = CONSOLE_VIRTIO;
	m->cfg.balloon = (struct balloon_config){
		.present = balloon, .stats_interval_s = 1, .hinting = true
	};
	m->cfg.no_seccomp = m->cfg.no_landlock = true;
	resources_init(&m->res);
	m->res.kvmfd = kvm_open();
	if (vm_open(&m->vm, &m->cfg, &m->timeline, &err) < 0 || vm_open_console(&m->vm, &err) < 0 ||
		vm_create(&m->vm, &m->res, &err) < 0)
		fail_msg("%s", err.msg);
	return m;
}

static void destroy(struct machine *m)
{
	assert_true(vm_destroy(&m->vm));
	resources_done(&m->res);
	vmcfg_done(&m->cfg);
	free(m);
}

static int setup(void **state)
{
	fake_kvm_reset();
	fake_kvm.clock = (struct kvm_clock_data){
		.clock = 1000, .host_tsc = 5000, .flags = KVM_CLOCK_HOST_TSC
	};
	for (unsigned i = 0; i < 2; i++) {
		fake_kvm.vcpus[i].regs.rip = 0x1000 + i;
		fake_kvm.vcpus[i].tsc_offset = 77;
	}
	*state = make(2, 64 * MIB, true);
	return 0;
}

static int teardown(void **state)
{
	destroy(*state);
	return 0;
}

static uint8_t *save(struct machine *m, size_t *ret_len)
{
	struct volt_err err = { 0 };
	const void *data;
	struct state *s;
	uint8_t *copy;

	assert_int_equal(vm_pause(&m->vm, NULL), 0);
	assert_int_equal(state_new(&s), 0);
	if (vm_save(&m->vm, s, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(state_finish(s, &data, ret_len, NULL), 0);
	copy = malloc(*ret_len);
	memcpy(copy, data, *ret_len);
	state_free(s);
	return copy;
}

static int load(struct machine *m, const void *data, size_t len, struct volt_err *err)
{
	struct state *s;
	int r;

	*err = (struct volt_err){ 0 };
	r = state_read(data, len, STATE_LOAD, &s, err);
	if (r < 0)
		return r;
	r = vm_load(&m->vm, s, err);
	state_free(s);
	return r;
}

static void a_running_vm_is_not_saved(void **state)
{
	struct machine *m = *state;
	struct volt_err err = { 0 };
	struct state *s;

	assert_int_equal(state_new(&s), 0);
	assert_int_equal(vm_save(&m->vm, s, &err), -EBUSY);
	assert_string_equal(err.msg, "the VM runs: pause it first");
	state_free(s);
}

static void what_is_saved_is_loaded(void **state)
{
	struct machine *m = *state, *other;
	struct volt_err err;
	size_t len, len_again;
	uint8_t *data = save(m, &len), *again;

	again = save(m, &len_again); /* twice in one pause */
	assert_int_equal(len, len_again);
	assert_memory_equal(data, again, len);
	free(again);
	for (unsigned i = 0; i < 2; i++)
		fake_kvm.vcpus[i].regs.rip = 0;
	other = make(2, 64 * MIB, true);
	fake_kvm.state_calls[0] = '\0';
	if (load(other, data, len, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(vm_paused(&other->vm));
	assert_int_equal(fake_kvm.vcpus[0].regs.rip, 0x1000);
	assert_int_equal(fake_kvm.vcpus[1].regs.rip, 0x1001);
	again = save(other, &len_again);
	assert_int_equal(len, len_again);
	assert_memory_equal(data, again, len);
	assert_int_equal(fake_kvm.n_msis, 0);
	free(again);
	destroy(other);
	free(data);
}

static void the_clock_is_set_between_registers_and_time(void **state)
{
	struct machine *m = *state, *other = make(2, 64 * MIB, true);
	const char *clock, *lapic, *offset;
	struct volt_err err;
	size_t len;
	uint8_t *data = save(m, &len);

	fake_kvm.state_calls[0] = '\0';
	assert_int_equal(load(other, data, len, &err), 0);
	lapic = strstr(fake_kvm.state_calls, "lapic1");
	clock = strstr(fake_kvm.state_calls, "clock0");
	offset = strstr(fake_kvm.state_calls, "offset0");
	assert_true(lapic && clock && offset && lapic < clock && clock < offset);
	assert_non_null(strstr(offset, "vcpu_events0"));
	assert_non_null(strstr(offset, "offset1"));
	assert_int_equal(fake_kvm.vcpus[0].tsc_offset, fake_kvm.vcpus[1].tsc_offset);
	free(data);
	destroy(other);
}

static void another_machine_is_refused(void **state)
{
	struct machine *m = *state, *other;
	struct volt_err err;
	size_t len;
	uint8_t *data = save(m, &len);

	other = make(1, 64 * MIB, true);
	assert_int_equal(load(other, data, len, &err), -EBADMSG);
	assert_string_equal(err.msg, "machine 0: vcpus: is 2 in the file, and this machine's is 1");
	destroy(other);
	other = make(2, 32 * MIB, true);
	assert_int_equal(load(other, data, len, &err), -EBADMSG);
	assert_string_equal(err.msg, "machine 0: region-bytes: is 67108864 in the file, and this "
				     "machine's is 33554432");
	destroy(other);
	other = make(2, 64 * MIB, false);
	assert_int_equal(load(other, data, len, &err), -EBADMSG);
	assert_string_equal(
		err.msg, "machine 0: virtio-devices: is 3 in the file, and this machine's is 2");
	destroy(other);
	free(data);
}

/* Nothing of a file that is refused for its vCPUs has reached KVM. */
static void kvm_gets_nothing_of_a_bad_file(void **state)
{
	struct machine *m = *state, *other = make(2, 64 * MIB, true);
	struct volt_err err;
	size_t len;
	uint8_t *data = save(m, &len), *name = memmem(data, len, "events", 6);

	while (memmem(name + 1, len - (size_t)(name + 1 - data), "events", 6))
		name = memmem(name + 1, len - (size_t)(name + 1 - data), "events", 6);
	name[0] = 'x'; /* of the last vCPU */
	sample_repair(data, len);
	fake_kvm.state_calls[0] = '\0';
	assert_int_equal(load(other, data, len, &err), -EBADMSG);
	assert_string_equal(err.msg, "vcpu 1: events: is missing; there is xvents instead");
	assert_string_equal(fake_kvm.state_calls, "");
	free(data);
	destroy(other);
}

/* Damage whose checksums are right, as whoever writes files can make. */
static void damage_is_refused_or_harmless(void **state)
{
	struct machine *m = *state;
	unsigned seed = 7, good = 0, bad = 0;
	struct volt_err err;
	size_t len;
	uint8_t *data = save(m, &len), *copy = malloc(len);

	for (unsigned round = 0; round < 400; round++) {
		struct machine *other;

		fake_kvm.n_ioeventfds = 0;
		other = make(2, 64 * MIB, true);
		memcpy(copy, data, len);
		for (unsigned i = 0; i <= round % 4; i++) {
			seed = seed * 1103515245u + 12345u;
			copy[(seed >> 8) % len] = (uint8_t)(seed >> 3);
		}
		sample_repair(copy, len);
		fake_kvm.state_calls[0] = fake_kvm.vcpu_calls[0] = '\0';
		if (load(other, copy, len, &err) == 0) {
			good++;
			vm_resume(&other->vm);
			loop_poll(&other->vm.loop, 0);
		} else {
			bad++;
			assert_true(err.msg[0] != '\0');
		}
		destroy(other);
	}
	assert_true(good > 0 && bad > 0);
	free(copy);
	free(data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_running_vm_is_not_saved),
		TEST(what_is_saved_is_loaded),
		TEST(the_clock_is_set_between_registers_and_time),
		TEST(another_machine_is_refused),
		TEST(kvm_gets_nothing_of_a_bad_file),
		TEST(damage_is_refused_or_harmless),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests(tests, NULL, NULL);
}
