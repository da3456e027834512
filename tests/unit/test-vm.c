/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole monitor over a fake KVM whose vCPUs play scripted exits: how a VM is built, how exits
 * reach devices, how it ends, and that nothing is left. Runs under the sanitizers, so without the
 * sandbox.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "fake-kvm.h"
#include "kernel-image.h"
#include "vm.h"

/* ---- a script: what the vCPUs do, one exit after the other ---- */

struct step {
	uint32_t reason; /* KVM_EXIT_* */
	bool write;
	uint64_t at; /* port or address */
	unsigned len;
	uint64_t value;	   /* written */
	uint64_t expect;   /* read */
	unsigned suberror; /* KVM_EXIT_INTERNAL_ERROR */
	int result;	   /* of the ioctl */
};

static const struct step *script;
static size_t script_len, script_at;
static unsigned wrong_reads;

static void fill(struct kvm_run *run, const struct step *s)
{
	run->exit_reason = s->reason;
	switch (s->reason) {
	case KVM_EXIT_IO:
		run->io.direction = s->write ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
		run->io.size = (uint8_t)s->len;
		run->io.port = (uint16_t)s->at;
		run->io.count = 1;
		run->io.data_offset = 2048;
		memcpy((uint8_t *)run + 2048, &s->value, s->len);
		break;
	case KVM_EXIT_MMIO:
		run->mmio.phys_addr = s->at;
		run->mmio.len = s->len;
		run->mmio.is_write = s->write;
		memcpy(run->mmio.data, &s->value, s->len);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		run->internal.suberror = s->suberror;
		break;
	default:
		break;
	}
}

/* What the step before this one read. */
static void check_read(const struct kvm_run *run, const struct step *before)
{
	const void *data = before->reason == KVM_EXIT_IO ? (const uint8_t *)run + 2048 :
							   run->mmio.data;

	if (!before->write && (before->reason == KVM_EXIT_IO || before->reason == KVM_EXIT_MMIO) &&
		before->result == 0 && memcmp(data, &before->expect, before->len) != 0)
		wrong_reads++;
}

static int play(unsigned index, struct kvm_run *run)
{
	const struct timespec moment = { .tv_nsec = 200000 };

	if (index == 0 && script_at > 0)
		check_read(run, &script[script_at - 1]);
	if (index == 0 && script_at < script_len) {
		const struct step *s = &script[script_at++];

		fill(run, s);
		return s->result;
	}
	nanosleep(&moment, NULL);
	return -EINTR; /* a halted CPU, until the VM ends or is kicked */
}

/* ---- a VM around it ---- */

struct fixture {
	bool track_dirty; /* asked for before create() */
	enum huge_pages huge_pages;
	char dir[64], kernel[96], disk[96], console[96], metrics[96];
	struct vm_config cfg;
	struct resources res;
	struct timeline timeline;
	struct vm *vm;
	struct volt_err err;
	int fds_before;
};

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void put_file(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	static struct image image;
	static uint8_t disk[1 << 20];
	char *banner;

	fake_kvm_reset();
	fake_kvm.run = play;
	f->fds_before = count_fds();
	strcpy(f->dir, "/tmp/test-vm-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->kernel, sizeof(f->kernel), "%s/kernel", f->dir);
	snprintf(f->disk, sizeof(f->disk), "%s/disk", f->dir);
	snprintf(f->console, sizeof(f->console), "%s/console", f->dir);
	snprintf(f->metrics, sizeof(f->metrics), "%s/metrics", f->dir);
	image_elf(&image, 0x1000000, 0x10000);
	/* Not a Linux kernel: those are refused where the CPU has no virtualization. */
	banner = memmem(image.bytes, ELF_LEN, "Linux version ", 14);
	if (banner)
		*banner = 'l';
	put_file(f->kernel, image.bytes, ELF_LEN);
	put_file(f->disk, disk, sizeof(disk));
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	assert_true(vm_destroy(f->vm));
	free(f->vm);
	resources_done(&f->res);
	vmcfg_done(&f->cfg);
	unlink(f->kernel);
	unlink(f->disk);
	unlink(f->console);
	unlink(f->metrics);
	assert_int_equal(rmdir(f->dir), 0);
	assert_int_equal(count_fds(), f->fds_before);
	free(f);
	return 0;
}

static int create(struct fixture *f, unsigned cpus)
{
	char console[112], n[16];
	const char *argv[] = { "volt-vmm", "--kernel", f->kernel, "--disk", f->disk, "--console",
		console, "--metrics-path", f->metrics, "--cpus", n, "--boot-timer", "--mem", "64",
		NULL };
	struct vmcfg_errors errors = { 0 };
	enum vmcfg_action action;
	int r;

	snprintf(console, sizeof(console), "file:%s", f->console);
	snprintf(n, sizeof(n), "%u", cpus);
	vmcfg_defaults(&f->cfg);
	vmcfg_cli(&f->cfg, ARRAY_SIZE(argv) - 1, (char **)argv, &action, &errors);
	vmcfg_check(&f->cfg, &errors);
	vmcfg_errors_print(&errors, stderr);
	assert_int_equal(errors.n, 0);
	f->cfg.no_seccomp = f->cfg.no_landlock = true;
	f->cfg.shutdown_timeout_ms = 60;
	f->cfg.track_dirty_pages = f->track_dirty;
	f->cfg.huge_pages = f->huge_pages;
	resources_init(&f->res);
	assert_int_equal(resources_open(&f->res, &f->cfg, &f->err), 0);
	f->vm = calloc(1, sizeof(*f->vm));
	r = vm_open(f->vm, &f->cfg, &f->timeline, &f->err);
	if (r == 0)
		r = vm_open_console(f->vm, &f->err);
	return r < 0 ? r : vm_create(f->vm, &f->res, &f->err);
}

static int run_vm(struct fixture *f)
{
	int r = vm_start(f->vm, &f->err);

	return r < 0 ? r : vm_wait(f->vm, &f->err);
}

static int run(struct fixture *f, unsigned cpus, const struct step *steps, size_t n)
{
	script = steps;
	script_len = n;
	script_at = 0;
	wrong_reads = 0;
	if (create(f, cpus) < 0)
		fail_msg("create: %s", f->err.msg);
	if (run_vm(f) < 0)
		fail_msg("run: %s", f->err.msg);
	assert_int_equal(wrong_reads, 0);
	return vm_exit_status(f->vm);
}

#define RUN(f, cpus, steps) run(f, cpus, steps, ARRAY_SIZE(steps))

static char *slurp(const char *path)
{
	static char text[1 << 16];
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static char *report(struct fixture *f)
{
	static char text[1 << 14];
	FILE *m = fmemopen(text, sizeof(text), "w");

	vm_report_print(f->vm, m);
	fclose(m);
	return text;
}

#define OUT(port, v)				\
	{					\
		KVM_EXIT_IO, true, port, 1, v	\
	}
#define POWER_OFF OUT(0x600, 5 << 2 | 1 << 5)

/* ---- tests ---- */

static void exits_reach_the_devices_and_power_off_ends(void **state)
{
	static const struct step steps[] = {
		OUT(0x3f8, 'h'), OUT(0x3f8, 'i'), OUT(0x3f8, '\n'),
		{ KVM_EXIT_MMIO, true, 0xc0000000, 1, 123 }, /* boot timer */
		{ KVM_EXIT_MMIO, false, 0xc0001000, 4, .expect = 0x74726976 },
		POWER_OFF,
	};
	struct fixture *f = *state;

	assert_int_equal(RUN(f, 4, steps), 0);
	assert_string_equal(slurp(f->console), "hi\n");
	assert_int_equal(fake_kvm.n_vcpus, 4);
	assert_true(atomic_load(&f->timeline.ns[TIMELINE_INIT]) > 0);
	assert_true(atomic_load(&f->timeline.ns[TIMELINE_END]) >=
		atomic_load(&f->timeline.ns[TIMELINE_INIT]));
}

static void unclaimed_and_odd_accesses_are_harmless(void **state)
{
	static const struct step steps[] = {
		{ KVM_EXIT_IO, false, 0x70, 4, .expect = UINT32_MAX },
		{ KVM_EXIT_MMIO, true, 0xc0001000, 3, 1 },
		{ KVM_EXIT_MMIO, false, 0xc0001ffe, 4, .expect = UINT32_MAX },
		{ KVM_EXIT_MMIO, false, 0xdead0000, 8, .expect = UINT64_MAX },
		{ .reason = KVM_EXIT_IOAPIC_EOI },
		{ .reason = KVM_EXIT_INTR },
		{ .reason = KVM_EXIT_IO, .len = 1, .at = 0x80, .result = -EAGAIN },
		POWER_OFF,
	};
	struct fixture *f = *state;

	assert_int_equal(RUN(f, 1, steps), 0);
	assert_true(atomic_load(&f->vm->mmio.unclaimed_reads) >= 2);
	assert_int_equal(atomic_load(&f->vm->mmio.unclaimed_writes), 1);
	assert_int_equal(atomic_load(&f->vm->ports.unclaimed_reads), 1);
}

static void reset_ends_with_0(void **state)
{
	static const struct step steps[] = { OUT(0x64, 0xfe) };

	assert_int_equal(RUN((struct fixture *)*state, 2, steps), 0);
}

static void panic_ends_with_16_and_the_console(void **state)
{
	static const struct step steps[] = { OUT(0x3f8, 'o'), OUT(0x3f8, 0x1b), OUT(0x3f8, '\n'),
		OUT(0x505, 1) };
	struct fixture *f = *state;

	assert_int_equal(RUN(f, 1, steps), 16);
	assert_non_null(strstr(report(f), "the guest's kernel panicked"));
	assert_non_null(strstr(report(f), "registers of vcpu 0"));
	assert_non_null(strstr(report(f), "  o.\n"));
}

static void triple_fault_ends_with_17(void **state)
{
	static const struct step steps[] = { { .reason = KVM_EXIT_SHUTDOWN } };
	struct fixture *f = *state;

	assert_int_equal(RUN(f, 2, steps), 17);
	assert_non_null(strstr(report(f), "triple fault"));
}

static void kvm_errors_end_with_18(void **state)
{
	static const struct step steps[] = { { .reason = KVM_EXIT_INTERNAL_ERROR, .suberror = 3 } };
	struct fixture *f = *state;

	assert_int_equal(RUN(f, 1, steps), 18);
	assert_non_null(strstr(report(f), "KVM internal error 3"));
}

static void failing_ioctl_ends_with_18(void **state)
{
	static const struct step steps[] = { { .reason = KVM_EXIT_IO, .result = -EFAULT } };
	struct fixture *f = *state;

	assert_int_equal(RUN(f, 1, steps), 18);
	assert_non_null(strstr(report(f), "KVM_RUN: Bad address"));
}

static void unknown_exit_ends_with_18(void **state)
{
	static const struct step steps[] = { { .reason = KVM_EXIT_DEBUG } };

	assert_int_equal(RUN((struct fixture *)*state, 1, steps), 18);
}

/* A guest that answers neither button nor keys is killed when its time is over. */
static void deaf_guest_is_killed_with_19(void **state)
{
	static const struct step steps[] = { { .reason = KVM_EXIT_INTR } };
	struct fixture *f = *state;

	script = steps;
	script_len = script_at = 0;
	assert_int_equal(create(f, 1), 0);
	life_ask(&f->vm->life, "test");
	assert_int_equal(run_vm(f), 0);
	assert_int_equal(vm_exit_status(f->vm), 19);
	assert_int_equal(f->vm->life.stage, LIFE_CTRL_ALT_DEL);
	assert_true(atomic_load(&f->vm->pm.irq.raised) == 1);
}

static void first_end_counts(void **state)
{
	static const struct step steps[] = { { .reason = KVM_EXIT_INTR } };
	struct fixture *f = *state;

	script = steps;
	script_len = script_at = 0;
	assert_int_equal(create(f, 1), 0);
	vm_end(f->vm, VM_END_POWEROFF, NULL, "one");
	vm_end(f->vm, VM_END_PANIC, NULL, "two");
	assert_int_equal(run_vm(f), 0);
	assert_int_equal(vm_exit_status(f->vm), 0);
	assert_string_equal(f->vm->report.text, "one");
}

/* ---- pause; the loop thread's part is played by a timer ---- */

static struct pauser {
	struct loop_src src;
	struct vm *vm;
	unsigned ticks, entered; /* entered: when it was paused */
	bool signal, overdone;
} pauser;
static _Atomic unsigned entries; /* into the guest */

static int play_and_count(unsigned index, struct kvm_run *run)
{
	atomic_fetch_add(&entries, 1);
	return play(index, run);
}

/* Ticks 1..20: paused, twice; then it goes on until a second of its time has shown that it does. */
static void on_tick(struct loop_src *src, uint32_t events)
{
	struct pauser *p = container_of(src, struct pauser, src);

	(void)events;
	loop_drain(src->fd);
	p->ticks++;
	if (p->ticks == 1) {
		assert_int_equal(vm_pause(p->vm, NULL), 0);
		p->entered = atomic_load(&entries);
		assert_int_equal(fake_kvm.n_kvmclock_ctrls, 0);
	} else if (p->ticks == 10) {
		assert_int_equal(vm_pause(p->vm, NULL), 0);
		if (p->signal)
			kill(getpid(), SIGTERM);
	} else if (p->ticks == 20) {
		assert_true(vm_paused(p->vm));
		p->overdone = p->entered != atomic_load(&entries);
		vm_resume(p->vm);
		vm_resume(p->vm);
		assert_false(vm_paused(p->vm));
	} else if (p->ticks > 20 && atomic_load(&entries) > p->entered + 20) {
		vm_end(p->vm, VM_END_POWEROFF, NULL, "done");
	}
}

static void run_paused(struct fixture *f, bool signal)
{
	static const struct step steps[] = { { .reason = KVM_EXIT_INTR } };
	int fd = loop_timer_open(NULL);

	script = steps;
	script_len = script_at = 0;
	fake_kvm.run = play_and_count;
	atomic_store(&entries, 0);
	assert_int_equal(create(f, 4), 0);
	pauser = (struct pauser){ .src = { on_tick, "tick", -1 }, .vm = f->vm, .signal = signal };
	assert_int_equal(loop_add(&f->vm->loop, &pauser.src, fd, EPOLLIN), 0);
	assert_int_equal(loop_timer_set(fd, 2 * NSEC_PER_MSEC, 2 * NSEC_PER_MSEC), 0);
	assert_int_equal(run_vm(f), 0);
	loop_del(&f->vm->loop, &pauser.src);
	close(fd);
}

static void paused_vcpus_stay_out_of_the_guest_and_come_back(void **state)
{
	struct fixture *f = *state;

	fake_kvm.fail_kvmclock_ctrl = -EINVAL; /* this guest has no kvm-clock */
	run_paused(f, false);
	assert_true(pauser.ticks > 20);
	assert_false(pauser.overdone);
	assert_int_equal(fake_kvm.n_kvmclock_ctrls, 4);
	assert_int_equal(atomic_load(&f->vm->vcpus[3].kvmclock_ctrl_fails), 1);
	assert_int_equal(vm_exit_status(f->vm), 0);
}

static void sigterm_ends_a_paused_vm_at_once(void **state)
{
	struct fixture *f = *state;

	run_paused(f, true);
	assert_true(pauser.ticks < 20);
	assert_int_equal(vm_exit_status(f->vm), 19);
	assert_non_null(strstr(report(f), "signal TERM while it was paused"));
}

static void vm_that_has_ended_is_not_paused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(create(f, 1), 0);
	vm_end(f->vm, VM_END_POWEROFF, NULL, "one");
	assert_int_equal(vm_pause(f->vm, &f->err), -ESHUTDOWN);
	assert_string_equal(f->err.msg, "the VM cannot be paused: the VM has ended");
	assert_false(vm_paused(f->vm));
	assert_int_equal(run_vm(f), 0);
}

static void metrics_are_one_json_object(void **state)
{
	static const struct step steps[] = { OUT(0x3f8, 'x'), POWER_OFF };
	struct fixture *f = *state;
	char *line;

	assert_int_equal(RUN(f, 2, steps), 0);
	line = slurp(f->metrics);
	assert_int_equal(strncmp(line, "{\"utc_timestamp_ms\":", 20), 0);
	assert_string_equal(line + strlen(line) - 3, "}}\n");
	assert_non_null(strstr(line, "\"serial\":{\"tx_bytes\":1,"));
	assert_non_null(strstr(line, "\"disk0\":{\"kicks\":"));
	assert_non_null(strstr(line, "\"vcpu 1\":{"));
	assert_ptr_not_equal(strchr(line, '\n'), strrchr(line, '\n')); /* from the start, too */
	assert_non_null(strstr(line, "\"exits_io_out\":2,\"exits_mmio_read\":0,"));
}

static void failed_ioeventfd_is_an_error_that_names_the_queue(void **state)
{
	struct fixture *f = *state;

	fake_kvm.fail_ioeventfd = -ENOSPC;
	assert_int_equal(create(f, 1), -ENOSPC);
	assert_non_null(strstr(f->err.msg, "disk0.q0"));
}

static void memory_is_as_configured(void **state)
{
	struct fixture *f = *state;

	f->track_dirty = true;
	f->huge_pages = HUGE_PAGES_TRANSPARENT;
	assert_int_equal(create(f, 1), 0);
	assert_int_equal(fake_kvm.n_regions, 1);
	assert_int_equal(fake_kvm.region_flags, KVM_MEM_LOG_DIRTY_PAGES);
}

static void dirty_pages_are_not_logged_by_default(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(create(f, 1), 0);
	assert_int_equal(fake_kvm.region_flags, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(exits_reach_the_devices_and_power_off_ends),
		TEST(unclaimed_and_odd_accesses_are_harmless),
		TEST(reset_ends_with_0),
		TEST(panic_ends_with_16_and_the_console),
		TEST(triple_fault_ends_with_17),
		TEST(kvm_errors_end_with_18),
		TEST(failing_ioctl_ends_with_18),
		TEST(unknown_exit_ends_with_18),
		TEST(deaf_guest_is_killed_with_19),
		TEST(first_end_counts),
		TEST(paused_vcpus_stay_out_of_the_guest_and_come_back),
		TEST(sigterm_ends_a_paused_vm_at_once),
		TEST(vm_that_has_ended_is_not_paused),
		TEST(metrics_are_one_json_object),
		TEST(memory_is_as_configured),
		TEST(dirty_pages_are_not_logged_by_default),
		TEST(failed_ioeventfd_is_an_error_that_names_the_queue),
	};

	return cmocka_run_group_tests_name("vm", tests, NULL, NULL);
}
