/* SPDX-License-Identifier: Apache-2.0 */
/* The filters, run by a small cBPF interpreter against a table of calls. */
#include "test.h"

#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>

#include "filter.h"
#include "sandbox.h"

#define X32_BIT 0x40000000

/* The subset of classic BPF that a filter may use; anything else fails the test. */
static uint32_t interpret(const struct filter_program *p, const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (unsigned pc = 0; pc < p->n_insns; pc++) {
		const struct sock_filter *i = &p->insns[pc];
		bool jump;

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(i->k % 4 == 0 && i->k <= sizeof(*data) - 4);
			memcpy(&a, (const char *)data + i->k, 4);
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			continue;
		case BPF_RET | BPF_K:
			return i->k;
		case BPF_JMP | BPF_JA:
			pc += i->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			jump = a == i->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			jump = a > i->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			jump = a >= i->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			jump = a & i->k;
			break;
		default:
			fail_msg("instruction %u has the unknown code 0x%x", pc, i->code);
			return 0;
		}
		pc += jump ? i->jt : i->jf;
	}
	fail_msg("ran off the end");
	return 0;
}

static uint32_t action(enum sandbox_thread t, struct seccomp_data d)
{
	if (!d.arch)
		d.arch = AUDIT_ARCH_X86_64;
	return interpret(&filter_programs[t], &d) & SECCOMP_RET_ACTION_FULL;
}

static void test_table(void **state)
{
	static const struct {
		struct seccomp_data d;
		bool loop, vcpu;
	} rows[] = {
		{ { .nr = SYS_write }, true, true },
		{ { .nr = SYS_exit_group }, true, true },
		{ { .nr = SYS_rt_sigreturn }, true, true },
		{ { .nr = SYS_clock_gettime }, true, true },
		{ { .nr = SYS_exit }, false, true },
		{ { .nr = SYS_brk }, true, false },
		{ { .nr = SYS_close }, true, false },
		{ { .nr = SYS_epoll_wait }, true, false },
		{ { .nr = SYS_ioctl, .args = { 3, KVM_RUN } }, false, true },
		{ { .nr = SYS_ioctl, .args = { 3, KVM_SIGNAL_MSI } }, true, true },
		{ { .nr = SYS_ioctl, .args = { 0, TCSETS } }, true, true },
		{ { .nr = SYS_ioctl, .args = { 0, TCGETS } }, true, true },
		{ { .nr = SYS_ioctl, .args = { 0, TIOCSTI } }, false, false },
		{ { .nr = SYS_ioctl, .args = { 3, KVM_CREATE_VM } }, false, false },
		{ { .nr = SYS_ioctl, .args = { KVM_RUN, 0, KVM_RUN } }, false, false },
		/* the kernel takes 32 bits of the request, so does the filter */
		{ { .nr = SYS_ioctl, .args = { 3, 0xffffffff00000000 | KVM_RUN } }, false, true },
		{ { .nr = SYS_futex, .args = { 0, FUTEX_WAIT_PRIVATE } }, true, true },
		{ { .nr = SYS_futex, .args = { 0, FUTEX_WAKE } }, true, true },
		{ { .nr = SYS_futex,
			  .args = { 0, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME } },
			true, true },
		{ { .nr = SYS_futex, .args = { 0, FUTEX_LOCK_PI } }, false, false },
		{ { .nr = SYS_futex, .args = { 0, FUTEX_CMP_REQUEUE_PI_PRIVATE } }, false, false },
		{ { .nr = SYS_mmap, .args = { 0, 4096, PROT_READ | PROT_WRITE } }, true, false },
		{ { .nr = SYS_mmap, .args = { 0, 4096, PROT_READ | PROT_EXEC } }, false, false },
		{ { .nr = SYS_mmap, .args = { 0, 4096, PROT_EXEC } }, false, false },
		{ { .nr = SYS_mprotect, .args = { 0, 4096, PROT_READ | PROT_EXEC } }, false,
			false },
		{ { .nr = SYS_madvise, .args = { 0, 4096, MADV_DONTNEED } }, true, true },
		{ { .nr = SYS_madvise, .args = { 0, 4096, MADV_HWPOISON } }, false, false },
		{ { .nr = SYS_execve }, false, false },
		{ { .nr = SYS_ptrace }, false, false },
		{ { .nr = SYS_clone }, false, false },
		{ { .nr = SYS_bpf }, false, false },
		{ { .nr = SYS_socket, .args = { AF_INET } }, false, false },
		{ { .nr = SYS_socket, .args = { AF_VSOCK } }, false, false },
		{ { .nr = SYS_socket, .args = { AF_UNIX } }, true, false },
		{ { .nr = SYS_accept4 }, true, false },
		{ { .nr = SYS_bind }, false, false },
		{ { .nr = SYS_unlink }, false, false },
		{ { .nr = SYS_write, .arch = AUDIT_ARCH_I386 }, false, false },
		{ { .nr = 4, .arch = AUDIT_ARCH_I386 }, false, false }, /* write of int 0x80 */
		{ { .nr = SYS_write, .arch = AUDIT_ARCH_AARCH64 }, false, false },
		{ { .nr = SYS_write | X32_BIT }, false, false },
		{ { .nr = -1 }, false, false },
		{ { .nr = 100000 }, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t loop = action(SANDBOX_LOOP, rows[i].d);
		uint32_t vcpu = action(SANDBOX_VCPU, rows[i].d);

		if (loop != (rows[i].loop ? SECCOMP_RET_ALLOW : SECCOMP_RET_TRAP) ||
			vcpu != (rows[i].vcpu ? SECCOMP_RET_ALLOW : SECCOMP_RET_TRAP))
			fail_msg("row %zu, call %d: loop 0x%x vcpu 0x%x", i, rows[i].d.nr, loop,
				vcpu);
	}
}

/* Without the right argument, a call passes iff its bare name, and no more, is in the list. */
static void test_every_number(void **state)
{
	static const char *const conditional[] = { "mmap", "mprotect", "futex" };

	(void)state;
	for (enum sandbox_thread t = 0; t < SANDBOX_THREADS; t++) {
		size_t allowed = 0, listed = 0;

		for (int nr = 0; nr < 1024; nr++)
			allowed += action(t, (struct seccomp_data){ .nr = nr,
						    .args = { [1] = 0xdead, [2] = 0xdead } }) ==
				SECCOMP_RET_ALLOW;
		for (const char *const *r = filter_allowed[t]; *r; r++) {
			bool free_args = !strchr(*r, '=');

			for (size_t i = 0; i < ARRAY_SIZE(conditional); i++)
				free_args = free_args && strcmp(*r, conditional[i]) != 0;
			listed += free_args;
		}
		assert_int_equal(allowed, listed);
	}
}

static void test_sizes(void **state)
{
	size_t n = 0;

	(void)state;
	while (filter_allowed[SANDBOX_VCPU][n])
		n++;
	assert_in_range(n, 10, 25);
	for (enum sandbox_thread t = 0; t < SANDBOX_THREADS; t++)
		assert_in_range(filter_programs[t].n_insns, 20, 400);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(filter_syscall_name(SYS_read), "read");
	assert_string_equal(filter_syscall_name(SYS_socket), "socket");
	assert_string_equal(filter_syscall_name(SYS_landlock_restrict_self),
		"landlock_restrict_self");
	assert_string_equal(filter_syscall_name(-1), "unknown");
	assert_string_equal(filter_syscall_name(1 << 20), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_every_number),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
