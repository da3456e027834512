/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters of system calls, one per kind of thread, and the report of a call that was refused.
 *
 * What a thread may call stands beside the code that calls it. Here is what no line of ours calls:
 * the set that libc and the kernel need below us (glibc 2.36, read off strace). Not in it:
 * set_robust_list, rseq and clone3 (threads exist before the loop's filter, and a vCPU thread has
 * started before its own), sched_yield, mprotect (only malloc's per-thread arenas grow with it, and
 * vCPU threads do not allocate) and stdio's calls but write (only stderr is used after start-up,
 * and it is unbuffered).
 *
 * Both threads: return from a signal handler; end of the process; mutex and condition variables
 * (only WAIT, WAKE and WAIT_BITSET); a wait with a timeout that was stopped and continued; the
 * clock where the kernel's vDSO cannot read it (no usable TSC); the report and terminal below.
 */
/* #syscalls loop vcpu: rt_sigreturn exit_group futex restart_syscall clock_gettime write */
/* #syscalls loop vcpu: ioctl=TCGETS ioctl=TCSETS */
/*
 * malloc, realloc and free on the main thread, which has the main arena; joined threads' stacks.
 * mmap never with PROT_EXEC: tools/seccomp-compile.c adds that.
 */
/* #syscalls loop: brk mmap munmap mremap */
/* A thread's end: signals are blocked, the unused part of the stack is given back. */
/* #syscalls vcpu: rt_sigprocmask madvise=MADV_DONTNEED exit */
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "filter.h"
#include "log.h"
#include "sandbox.h"

#define FROM_FILTER 1 /* si_code SYS_SECCOMP of asm-generic/siginfo.h, which libc hides */

/* What the signal handler needs; set once by sandbox_sigsys_init() before any filter is on. */
static struct {
	int logfd;
	void (*restore)(void);
} report = { .logfd = -1 };

static _Thread_local bool reporting;

/* A line that is built without stdio; what does not fit is cut. */
struct line {
	char text[256];
	size_t len;
};

static void add(struct line *l, const char *s)
{
	while (*s && l->len < sizeof(l->text))
		l->text[l->len++] = *s++;
}

static void add_number(struct line *l, unsigned v)
{
	char digits[12];
	char *p = digits + sizeof(digits);

	*--p = '\0';
	do {
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	add(l, p);
}

static void put(struct line *l, int fd)
{
	/* Nothing can be done about a report that cannot be written. */
	if (write(fd, l->text, l->len) < 0)
		return;
}

/* Async-signal-safe. Runs on the thread that made the call, under its filter. */
static NORETURN void on_sigsys(int sig UNUSED, siginfo_t *info, void *context UNUSED)
{
	bool native = info->si_code == FROM_FILTER && info->si_arch == AUDIT_ARCH_X86_64;
	const char *name = native ? filter_syscall_name(info->si_syscall) : "not an x86-64 call";
	unsigned nr = info->si_code == FROM_FILTER ? (unsigned)info->si_syscall : 0;
	struct line human = { .len = 0 }, line = { .len = 0 };

	/* restore() made a forbidden call of its own: the report is out, so just end */
	if (reporting)
		_exit(SANDBOX_EXIT_BAD_SYSCALL);
	reporting = true;

	add(&human, "volt-vmm: forbidden system call ");
	add(&human, name);
	add(&human, " (");
	add_number(&human, nr);
	add(&human, ") in thread ");
	add(&human, log_thread());
	add(&human, ": the VM was stopped; please report this, or run with --no-seccomp\n");
	put(&human, STDERR_FILENO);

	if (report.logfd >= 0) {
		add(&line, "Shutting down VM after intercepting a bad syscall (");
		add_number(&line, nr);
		add(&line, "). Call ");
		add(&line, name);
		add(&line, ", thread ");
		add(&line, log_thread());
		add(&line, ".\n");
		put(&line, report.logfd);
	}
	if (report.restore)
		report.restore();
	_exit(SANDBOX_EXIT_BAD_SYSCALL);
}

int sandbox_sigsys_init(int logfd, void (*restore)(void), struct volt_err *err)
{
	struct sigaction sa = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_NODEFER };

	report.logfd = logfd;
	report.restore = restore;
	sigfillset(&sa.sa_mask);
	sigdelset(&sa.sa_mask, SIGSYS);
	if (sigaction(SIGSYS, &sa, NULL) < 0)
		return volt_err_set(err, errno, "handle SIGSYS: %m");
	return 0;
}

int sandbox_seccomp(enum sandbox_thread thread, struct volt_err *err)
{
	const struct filter_program *p = &filter_programs[thread];
	struct sock_fprog prog = {
		.len = p->n_insns,
		.filter = (struct sock_filter *)(uintptr_t)p->insns, /* the kernel only reads it */
	};
	sigset_t sigsys;
	int r;

	/* A trap whose signal is blocked would kill without a report. */
	sigemptyset(&sigsys);
	sigaddset(&sigsys, SIGSYS);
	r = pthread_sigmask(SIG_UNBLOCK, &sigsys, NULL);
	if (r != 0)
		return volt_err_set(err, r, "unblock SIGSYS: %m");
	/* Without TSYNC: the other kind of thread has another filter. */
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
		return volt_err_set(err, errno, "install the filter of system calls: %m");
	return 0;
}
