/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last steps, see jail-start.h. Processes, from the one that was called:
 *
 *	neither flag		it becomes the program
 *	--new-pid-ns		its child does, number 1 of a namespace
 *	--daemonize		its grandchild does; the child leads the new session and ends
 *	both			the same, and the grandchild is number 1
 *
 * A pipe that exec closes tells the called one how it went.
 */
#include "jail-start.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "jail-rights.h"

#define OWN_ARGUMENTS 10 /* the program, four with a value, NULL */

enum role {
	ROLE_PROGRAM,
	ROLE_WAITING, /* the one that was called */
	ROLE_BETWEEN,
};

static uint64_t read_clock(clockid_t id)
{
	struct timespec t;

	return clock_gettime(id, &t) < 0 ? 0 : (uint64_t)t.tv_sec * 1000000 +
			(uint64_t)t.tv_nsec / 1000;
}

void jail_start_clock(struct jail_start_times *ret)
{
	*ret = (struct jail_start_times){ read_clock(CLOCK_MONOTONIC),
		read_clock(CLOCK_PROCESS_CPUTIME_ID), 0 };
}

/* As fork(); the child's clock starts at 0. */
static pid_t split(struct jail_start_times *times)
{
	struct jail_start_times child = *times;
	pid_t pid;

	child.parent_cpu += read_clock(CLOCK_PROCESS_CPUTIME_ID) - times->cpu;
	child.cpu = 0;
	pid = fork();
	if (pid == 0)
		*times = child;
	return pid;
}

/* ---- the program ---- */

static int run_program(const struct jail_args *a, const struct jail_start_times *t,
	struct volt_err *err)
{
	const char *const names[] = { "--start-time-us", "--start-time-cpu-us",
		"--parent-cpu-time-us" };
	const uint64_t numbers[] = { t->start, t->cpu, t->parent_cpu };
	char path[NAME_MAX + 2], texts[ARRAY_SIZE(numbers)][24];
	size_t n = 0, n_rest = 0;
	char *no_environment[] = { NULL };
	const char **argv;

	while (a->rest[n_rest])
		n_rest++;
	argv = calloc(n_rest + OWN_ARGUMENTS, sizeof(*argv));
	if (!argv)
		return volt_err_set(err, ENOMEM, "%m");
	snprintf(path, sizeof(path), "/%s", a->exec_name);
	argv[n++] = path;
	argv[n++] = "--id";
	argv[n++] = a->id;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		snprintf(texts[i], sizeof(texts[i]), "%llu", (unsigned long long)numbers[i]);
		argv[n++] = names[i];
		argv[n++] = texts[i];
	}
	memcpy(&argv[n], a->rest, n_rest * sizeof(*argv));
	execve(path, (char *const *)(uintptr_t)argv, no_environment);
	free(argv);
	return volt_err_set(err, errno, "run '%s' in the jail as uid %u: %m", path, a->uid);
}

static int become_program(const struct jail_args *a, const struct jail_cgroup *c,
	const struct jail_start_times *times, mode_t mask, struct volt_err *err)
{
	int r = jail_cgroup_enter(c, err);

	/* The keys of who started us are not for the program; a kernel without keys has none. */
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	for (size_t i = 0; r == 0 && i < a->n_keep; i++)
		if (fcntl(a->keep[i], F_SETFD, 0) < 0)
			r = volt_err_set(err, errno, "keep-fd %d: %m", a->keep[i]);
	if (r == 0)
		r = jail_rights_end(a, err);
	umask(mask);
	return r < 0 ? r : run_program(a, times, err);
}

/* ---- the processes ---- */

/* The last process before the program: makes it, and writes its number. */
static int make_program(const struct jail_args *a, const struct jail_dir *d,
	struct jail_start_times *times, enum role parent, enum role *ret, struct volt_err *err)
{
	pid_t pid;

	if (a->new_pid_ns && unshare(CLONE_NEWPID) < 0)
		return volt_err_set(err, errno, "make a namespace of processes: %m");
	pid = split(times);
	if (pid < 0)
		return volt_err_set(err, errno, "fork: %m");
	*ret = pid == 0 ? ROLE_PROGRAM : parent;
	return pid == 0 ? 0 : jail_dir_write_pid(a, d, pid, err);
}

static int make_daemon(const struct jail_args *a, const struct jail_dir *d,
	struct jail_start_times *times, int nullfd, enum role *ret, struct volt_err *err)
{
	pid_t pid = split(times);

	if (pid < 0)
		return volt_err_set(err, errno, "fork: %m");
	*ret = pid == 0 ? ROLE_BETWEEN : ROLE_WAITING;
	if (pid > 0)
		return 0;
	if (setsid() < 0)
		return volt_err_set(err, errno, "setsid: %m");
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (dup2(nullfd, fd) < 0)
			return volt_err_set(err, errno, "/dev/null as descriptor %d: %m", fd);
	return make_program(a, d, times, ROLE_BETWEEN, ret, err);
}

/* Until the program runs, or one of the others has said what went wrong. */
static int wait_for_program(int fd, struct volt_err *err)
{
	char text[sizeof(err->msg)];
	size_t have = 0;
	ssize_t n;

	do {
		n = read(fd, text + have, sizeof(text) - 1 - have);
		have += (size_t)MAX(n, 0);
	} while (n > 0 || (n < 0 && errno == EINTR));
	text[have] = '\0';
	while (have && wait(NULL) > 0)
		; /* so that its cgroup is empty */
	return have ? volt_err_set(err, ECHILD, "%s", text) : 0;
}

static int tell(int fd, const struct volt_err *err)
{
	ssize_t n = write(fd, err->msg, strlen(err->msg)); /* less than PIPE_BUF */

	return n < 0 ? -errno : -err->code;
}

int jail_start(const struct jail_args *a, const struct jail_dir *d, const struct jail_cgroup *c,
	struct jail_start_times *times, int nullfd, mode_t mask, bool *ret_failed,
	struct volt_err *err)
{
	enum role role = ROLE_WAITING;
	int report[2], r;

	*ret_failed = true;
	if (!a->daemonize && !a->new_pid_ns) {
		r = jail_dir_write_pid(a, d, getpid(), err);
		return r < 0 ? r : become_program(a, c, times, mask, err);
	}
	if (pipe2(report, O_CLOEXEC) < 0)
		return volt_err_set(err, errno, "make a pipe: %m");
	r = a->daemonize ? make_daemon(a, d, times, nullfd, &role, err)
			 : make_program(a, d, times, ROLE_WAITING, &role, err);
	*ret_failed = role == ROLE_WAITING;
	if (r == 0 && role == ROLE_PROGRAM)
		r = become_program(a, c, times, mask, err);
	if (role != ROLE_WAITING)
		return r < 0 ? tell(report[1], err) : 0;
	fd_close(report[1]);
	if (r == 0)
		r = wait_for_program(report[0], err);
	fd_close(report[0]);
	return r;
}
