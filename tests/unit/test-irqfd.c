/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines that the kernel raises, with KVM as it is: a guest in real mode counts its interrupts by
 * vector. It does nothing but wait, so that each comes from a write to the eventfd, or from the
 * I/O APIC. Skipped where KVM cannot be had.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ioapic.h"
#include "kvm.h"
#include "log.h"
#include "loop.h"

#define RAM	 0x10000
#define CODE	 0x1000
#define HANDLERS 0x2000 /* 16 bytes for each vector */
#define PORT	 0x10
#define GSI	 6
#define MASKED	 (1u << 16)
#define LIMIT_NS (20 * NSEC_PER_SEC)

struct machine {
	int kvmfd, vmfd, vcpufd, eventfd;
	int run_bytes;
	struct kvm_run *run;
	uint8_t *ram;
	struct ioapic apic;
	pthread_t thread;
	bool stop;
	int unexpected; /* exit reason, or -errno */
	_Atomic bool no_eoi;
	_Atomic unsigned counts[256];
};

static void on_signal(int signo)
{
	(void)signo;
}

static void load(struct machine *m)
{
	static const uint8_t code[] = {
		0xfb,	    /* sti */
		0xf4,	    /* hlt */
		0xeb, 0xfd, /* jmp to the hlt */
	};

	memcpy(m->ram + CODE, code, sizeof(code));
	for (unsigned v = 0; v < 256; v++) {
		const uint8_t handler[] = {
			0xb0, (uint8_t)v, /* mov al, v */
			0xe6, PORT,	  /* out PORT, al */
			0xcf,		  /* iret */
		};
		uint16_t at = (uint16_t)(HANDLERS + 16 * v);

		memcpy(m->ram + at, handler, sizeof(handler));
		memcpy(m->ram + 4 * v, &at, sizeof(at));
	}
}

static int set_state(struct machine *m)
{
	struct kvm_regs regs = { .rip = CODE, .rsp = 0x8000, .rflags = 2 };
	struct kvm_lapic_state lapic;
	struct kvm_sregs sregs;
	int r = kvm_get_sregs(m->vcpufd, &sregs);

	sregs.cs.base = sregs.cs.selector = 0;
	if (r == 0)
		r = kvm_set_sregs(m->vcpufd, &sregs);
	if (r == 0)
		r = kvm_set_regs(m->vcpufd, &regs);
	if (r == 0)
		r = kvm_get_lapic(m->vcpufd, &lapic);
	memcpy(lapic.regs + 0xf0, &(uint32_t){ 0x1ff }, 4); /* enabled */
	return r == 0 ? kvm_set_lapic(m->vcpufd, &lapic) : r;
}

/*
 * The guest's end of interrupt, without the code: it would need more than real mode. One that comes
 * in the middle of it is lost.
 */
static int end_of_interrupt(struct machine *m)
{
	struct kvm_lapic_state lapic;
	int r = kvm_get_lapic(m->vcpufd, &lapic);

	for (unsigned reg = 0x100; reg < 0x180; reg += 0x10) /* in service */
		memset(lapic.regs + reg, 0, 4);
	return r == 0 ? kvm_set_lapic(m->vcpufd, &lapic) : r;
}

static void *vcpu(void *arg)
{
	struct machine *m = arg;
	int r = 0;

	while (r == 0 && !__atomic_load_n(&m->stop, __ATOMIC_ACQUIRE)) {
		r = kvm_run(m->vcpufd);
		if (r == -EINTR) {
			r = 0;
			continue;
		}
		if (r == 0 && m->run->exit_reason == KVM_EXIT_IO && m->run->io.port == PORT) {
			uint8_t v = ((uint8_t *)m->run)[m->run->io.data_offset];

			r = atomic_load(&m->no_eoi) ? 0 : end_of_interrupt(m);
			m->counts[v]++;
		} else if (r == 0) {
			r = (int)m->run->exit_reason;
		}
	}
	m->unexpected = r;
	return NULL;
}

static int open_machine(struct machine *m)
{
	struct kvm_userspace_memory_region region = { .memory_size = RAM };
	int r;

	m->kvmfd = kvm_open();
	if (m->kvmfd < 0)
		return m->kvmfd;
	m->vmfd = kvm_create_vm(m->kvmfd);
	if (m->vmfd < 0)
		return m->vmfd;
	m->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(m->ram != MAP_FAILED);
	region.userspace_addr = (uintptr_t)m->ram;
	r = kvm_set_user_memory_region(m->vmfd, &region);
	if (r == 0)
		r = kvm_set_identity_map_addr(m->vmfd, LAYOUT_IDENTITY_MAP);
	if (r == 0)
		r = kvm_set_tss_addr(m->vmfd, LAYOUT_TSS);
	if (r == 0)
		r = kvm_enable_cap(m->vmfd, KVM_CAP_SPLIT_IRQCHIP, LAYOUT_N_GSI);
	if (r < 0)
		return r;
	m->vcpufd = kvm_create_vcpu(m->vmfd, 0);
	m->run_bytes = kvm_get_vcpu_mmap_size(m->kvmfd);
	m->run = kvm_map_run(m->vcpufd, (size_t)m->run_bytes);
	assert_non_null(m->run);
	load(m);
	return set_state(m);
}

static int setup(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));
	int r;

	*state = NULL;
	signal(SIGRTMIN, on_signal);
	r = open_machine(m);
	if (r < 0) {
		print_message("no KVM here: %s\n", strerror(-r));
		free(m);
		return 0;
	}
	ioapic_init(&m->apic, m->vmfd);
	m->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(ioapic_add_irqfd(&m->apic, GSI, m->eventfd, NULL), 0);
	assert_int_equal(pthread_create(&m->thread, NULL, vcpu, m), 0);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct machine *m = *state;

	if (!m)
		return 0;
	__atomic_store_n(&m->stop, true, __ATOMIC_RELEASE);
	m->run->immediate_exit = 1;
	pthread_kill(m->thread, SIGRTMIN);
	pthread_join(m->thread, NULL);
	assert_int_equal(m->unexpected, 0);
	ioapic_done(&m->apic);
	kvm_unmap_run(m->run, (size_t)m->run_bytes);
	close(m->eventfd);
	close(m->vcpufd);
	close(m->vmfd);
	close(m->kvmfd);
	munmap(m->ram, RAM);
	free(m);
	return 0;
}

/* -- the guest's and the kernel's actions ---------------------------------------------------- */

static void put_entry(struct machine *m, uint32_t low)
{
	uint32_t index = 0x10 + 2 * GSI;

	m->apic.dev.ops->write(&m->apic.dev, 0, &index, 4);
	m->apic.dev.ops->write(&m->apic.dev, 0x10, &low, 4);
}

static void edge(struct machine *m)
{
	uint64_t one = 1;

	assert_int_equal(write(m->eventfd, &one, sizeof(one)), sizeof(one));
}

/* Waits until the guest has had at least n interrupts of that vector. */
static void expect_some(struct machine *m, uint8_t v, unsigned n)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	uint64_t end = loop_now_ns() + LIMIT_NS;

	while (m->counts[v] < n && loop_now_ns() < end)
		nanosleep(&moment, NULL);
	assert_true(m->counts[v] >= n);
}

static void expect(struct machine *m, uint8_t v, unsigned n)
{
	expect_some(m, v, n);
	assert_int_equal(m->counts[v], n);
}

#define NEED(m)                                                                                    \
	do {                                                                                       \
		if (!(m))                                                                          \
			skip();                                                                    \
	} while (0)

/* -- tests ----------------------------------------------------------------------------------- */

static void eventfd_interrupts(void **state)
{
	struct machine *m = *state;

	NEED(m);
	put_entry(m, 0x41);
	expect(m, 0x41, 1); /* the one for an edge that may have been lost */
	for (unsigned i = 0; i < 20; i++) {
		edge(m);
		expect(m, 0x41, 2 + i);
	}
	ioapic_raise(&m->apic, GSI); /* our own way goes on to work */
	expect(m, 0x41, 22);
	assert_int_equal(m->apic.routings, 1);
	assert_int_equal(m->apic.failed, 0);
}

/*
 * KVM hands an edge without a route to a worker, which looks for a route later and may find the new
 * one: so it is one interrupt or several, and never none. As they may come at any time there is no
 * end of interrupt: each vector is of a higher class than those before, which do not keep it back.
 */
static void masked_edge_comes_with_the_unmask(void **state)
{
	struct machine *m = *state;

	NEED(m);
	atomic_store(&m->no_eoi, true);
	edge(m); /* before there was any route */
	put_entry(m, 0x20);
	expect_some(m, 0x20, 1);
	for (unsigned v = 0x30; v < 0x100; v += 0x10) {
		put_entry(m, (v - 1) | MASKED);
		edge(m);
		edge(m);
		put_entry(m, v | MASKED);
		assert_int_equal(m->counts[v], 0);
		put_entry(m, v);
		expect_some(m, (uint8_t)v, 1);
		assert_in_range(m->counts[v], 1, 3);
	}
}

static void changed_entry_changes_the_interrupt(void **state)
{
	struct machine *m = *state;

	NEED(m);
	put_entry(m, 0x41);
	expect(m, 0x41, 1);
	for (unsigned v = 0x42; v < 0x60; v++) {
		put_entry(m, v);
		edge(m);
		expect(m, (uint8_t)v, 1);
	}
	assert_int_equal(m->counts[0x41], 1);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(eventfd_interrupts),
		T(masked_edge_comes_with_the_unmask),
		T(changed_entry_changes_the_interrupt),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("irqfd", tests, NULL, NULL);
}
