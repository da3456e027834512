/* SPDX-License-Identifier: Apache-2.0 */
/* Fatal signals, see fatal.h. Exit codes: those of Firecracker. */
#include "fatal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "metrics.h"

static struct fatal_counters counters;

static const struct {
	int signo, status;
	_Atomic uint64_t *counter;
} fatal[] = {
	{ SIGBUS, 149, &counters.sigbus },   { SIGSEGV, 150, &counters.sigsegv },
	{ SIGXFSZ, 151, &counters.sigxfsz }, { SIGXCPU, 154, &counters.sigxcpu },
	{ SIGILL, 157, &counters.sigill },
};

static struct {
	struct metrics *_Atomic metrics; /* NULL: none */
	int logfd;
	atomic_flag taken; /* by the first thread that ends */
} state = { .logfd = -1, .taken = ATOMIC_FLAG_INIT };

static void flush(void)
{
	struct metrics *m = atomic_load(&state.metrics);

	if (m)
		metrics_flush(m);
}

static char *put(char *to, const char *s)
{
	size_t n = strlen(s);

	memcpy(to, s, n);
	return to + n;
}

static char *put_number(char *to, int v)
{
	char digits[12];
	char *p = digits + sizeof(digits);
	unsigned u = v < 0 ? -(unsigned)v : (unsigned)v;

	*--p = '\0';
	do {
		*--p = (char)('0' + u % 10);
		u /= 10;
	} while (u);
	return put(v < 0 ? put(to, "-") : to, p);
}

/* On the thread that made the fault, under its filter. */
static NORETURN void on_fatal(int signo, siginfo_t *info, void *context UNUSED)
{
	char line[96], *to = line;
	int status = 1;

	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++) {
		if (fatal[i].signo != signo)
			continue;
		status = fatal[i].status;
		atomic_store(fatal[i].counter, 1);
	}
	if (atomic_flag_test_and_set(&state.taken))
		_exit(status); /* what is below has failed itself, or two threads have */
	to = put_number(put(to, "Shutting down VM after intercepting signal "), signo);
	to = put(put_number(put(to, ", code "), info->si_code), ".\n");
	/* #syscalls loop vcpu: write exit_group */
	if (state.logfd >= 0 && write(state.logfd, line, (size_t)(to - line)) < 0)
		to = line; /* nothing can be done about it */
	flush();
	_exit(status);
}

static void on_pipe(int signo UNUSED)
{
	atomic_fetch_add_explicit(&counters.sigpipe, 1, memory_order_relaxed);
}

int fatal_init(struct metrics *m, int logfd, struct volt_err *err)
{
	struct sigaction ends = { .sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_NODEFER };
	const struct sigaction pipe = { .sa_handler = on_pipe, .sa_flags = SA_RESTART };
	int r = sigaction(SIGPIPE, &pipe, NULL);

	atomic_store(&state.metrics, m);
	state.logfd = logfd;
	for (size_t i = 0; i < ARRAY_SIZE(fatal) && r == 0; i++)
		r = sigaction(fatal[i].signo, &ends, NULL);
	return r < 0 ? volt_err_set(err, errno, "handle fatal signals: %m") : 0;
}

void fatal_done(void)
{
	atomic_store(&state.metrics, NULL);
}

void fatal_hangup(void)
{
	atomic_store(&counters.sighup, 1);
}

void fatal_bad_syscall(void)
{
	atomic_store(&counters.bad_syscalls, 1);
	flush();
}

const struct fatal_counters *fatal_counters(void)
{
	return &counters;
}
