/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting and watching the process passt, see passt-proc.h.
 *
 * passt has no word for "I am ready", but writes its process id to a file when all that can fail is
 * behind it. Here that file is a pipe: a line is readiness, its end without a line is failure, and
 * then the reason is on stderr.
 */
#include "passt-proc.h"

#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cleanup.h"
#include "log.h"
#include "num.h"

#define READY_MS 30000
#define END_MS	 1000
#define HIGH_FD	 16 /* above every number that a file action writes to */

enum { CHILD_SOCK = 3, CHILD_READY, CHILD_FDS };

struct args {
	char mtu[8];
	char ports[PASST_PORTS_MAX][16];
	char *argv[10 + 2 * PASST_PORTS_MAX];
	size_t n;
};

/* Lines that say nothing about this VM: no system log here; and root is given up by intent. */
static const char *const noise[] = { "Failed to send ", "Don't run as root" };

static void add_line(struct passt_proc *p, char *line)
{
	size_t used = strlen(p->said), len = strlen(line);

	for (size_t i = 0; i < ARRAY_SIZE(noise); i++)
		if (strncmp(line, noise[i], strlen(noise[i])) == 0)
			return;
	for (char *c = line; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = ' ';
	if (line[strspn(line, " ")] == 0)
		return;
	if (used + 2 + len >= sizeof(p->said))
		used = 0;
	snprintf(p->said + used, sizeof(p->said) - used, "%s%s", used ? "; " : "", line);
}

bool passt_proc_read(struct passt_proc *p)
{
	char buf[1024], *rest, *line;
	ssize_t n;

	for (;;) {
		/* #syscalls loop: read */
		n = read(p->errfd, buf, sizeof(buf) - 1);
		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		buf[n] = 0;
		for (rest = buf; (line = strsep(&rest, "\n"));)
			add_line(p, line);
	}
}

bool passt_proc_reap(struct passt_proc *p, char *text, size_t size)
{
	siginfo_t si = { 0 };

	/* #syscalls loop: waitid */
	if (waitid(P_PIDFD, (id_t)p->pidfd, &si, WEXITED | WNOHANG) < 0) {
		snprintf(text, size, "status unknown"); /* someone ignores SIGCHLD */
		p->pid = 0;
		return true;
	}
	if (si.si_pid == 0)
		return false;
	p->pid = 0;
	if (si.si_code == CLD_EXITED)
		snprintf(text, size, "exit status %d", si.si_status);
	else
		snprintf(text, size, "killed by signal %d", si.si_status);
	return true;
}

void passt_proc_done(struct passt_proc *p)
{
	struct pollfd pfd = { .fd = p->pidfd, .events = POLLIN };
	char text[40];

	if (p->pid > 0) {
		/* #syscalls loop: poll */
		if (poll(&pfd, 1, END_MS) == 1)
			passt_proc_reap(p, text, sizeof(text));
		else
			log_warn("passt (pid %d) has not ended with its socket", (int)p->pid);
	}
	p->pid = 0;
	p->pidfd = fd_close(p->pidfd);
	p->errfd = fd_close(p->errfd);
}

/* "tcp:8080:80" to -t 8080:80. */
static int add_port(struct args *a, size_t i, char *word, struct volt_err *err)
{
	char *rest = word, *proto = strsep(&rest, ":"), *host = strsep(&rest, ":");
	bool tcp = strcmp(proto, "tcp") == 0;
	uint64_t from, to;

	if ((!tcp && strcmp(proto, "udp") != 0) || !host || !rest ||
		num_parse_u64(host, 1, UINT16_MAX, &from) < 0 ||
		num_parse_u64(rest, 1, UINT16_MAX, &to) < 0)
		return volt_err_set(err, EINVAL,
			"port forward %zu is not tcp:HOST:GUEST or udp:HOST:GUEST with ports 1 to "
			"65535", i + 1);
	snprintf(a->ports[i], sizeof(a->ports[i]), "%u:%u", (unsigned)from, (unsigned)to);
	a->argv[a->n++] = (char *)(uintptr_t)(tcp ? "-t" : "-u");
	a->argv[a->n++] = a->ports[i];
	return 0;
}

static int make_args(struct args *a, const char *ports, uint16_t mtu, struct volt_err *err)
{
	static const char *const fixed[] = { "passt", "-f", "-q", "-F", "3", "-P",
		"/proc/self/fd/4", "-m" };
	_cleanup_free_ char *copy = strdup(ports ? ports : "");
	char *rest = copy, *word;
	size_t n_ports = 0;
	int r;

	if (!copy)
		return volt_err_set(err, ENOMEM, "%m");
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		a->argv[a->n++] = (char *)(uintptr_t)fixed[i];
	snprintf(a->mtu, sizeof(a->mtu), "%d", MIN(mtu ? mtu : PASST_MTU_DEFAULT, PASST_MTU_MAX));
	a->argv[a->n++] = a->mtu;
	while ((word = strsep(&rest, " "))) {
		if (!*word)
			continue;
		if (n_ports == PASST_PORTS_MAX)
			return volt_err_set(
				err, E2BIG, "more than %d port forwards", PASST_PORTS_MAX);
		r = add_port(a, n_ports++, word, err);
		if (r < 0)
			return r;
	}
	a->argv[a->n] = NULL;
	return 0;
}

/* Nothing of ours but three descriptors, no signal blocked, no terminal that sends it ^C. */
static int spawn(char *const argv[], int sock, int ready, int errfd, pid_t *ret)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none, all;
	int r = posix_spawn_file_actions_init(&fa);

	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&at);
	if (r != 0) {
		posix_spawn_file_actions_destroy(&fa);
		return -r;
	}
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setsigdefault(&at, &all);
	posix_spawnattr_setflags(&at,
		POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
	if ((r = posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDWR, 0)) == 0 &&
		(r = posix_spawn_file_actions_adddup2(&fa, 0, 1)) == 0 &&
		(r = posix_spawn_file_actions_adddup2(&fa, errfd, 2)) == 0 &&
		(r = posix_spawn_file_actions_adddup2(&fa, sock, CHILD_SOCK)) == 0 &&
		(r = posix_spawn_file_actions_adddup2(&fa, ready, CHILD_READY)) == 0 &&
		(r = posix_spawn_file_actions_addclosefrom_np(&fa, CHILD_FDS)) == 0)
		r = posix_spawnp(ret, argv[0], &fa, &at, argv, environ);
	posix_spawnattr_destroy(&at);
	posix_spawn_file_actions_destroy(&fa);
	return -r;
}

/* A pipe whose writing end is out of the way of the child's file actions. */
static int high_pipe(int *ret_read, int *ret_write, struct volt_err *err)
{
	int fds[2], high;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return volt_err_set(err, errno, "pipe: %m");
	high = fcntl(fds[1], F_DUPFD_CLOEXEC, HIGH_FD);
	fd_close(fds[1]);
	if (high < 0) {
		fd_close(fds[0]);
		return volt_err_set(err, errno, "dup: %m");
	}
	*ret_read = fds[0];
	*ret_write = high;
	return 0;
}

/* It never got as far as being ready: why? */
static int explain(struct passt_proc *p, struct volt_err *err)
{
	char how[40] = "it still runs";

	passt_proc_read(p);
	for (int i = 0; i < 2 && !passt_proc_reap(p, how, sizeof(how)); i++) {
		struct pollfd pfd = { .fd = p->pidfd, .events = POLLIN };

		poll(&pfd, 1, END_MS);
	}
	passt_proc_read(p);
	return volt_err_set(err, EIO, "passt failed at start (%s): %s%s", how,
		p->said[0] ? p->said : "it did not say why",
		strstr(p->said, "routable interface") ?
			"; passt copies addresses and routes of the host to the guest: give this "
			"host (or network namespace) an interface with a default route" :
			"");
}

static int wait_ready(struct passt_proc *p, int ready, struct volt_err *err)
{
	struct pollfd pfd = { .fd = ready, .events = POLLIN };
	char line[32];
	int r;

	do
		r = poll(&pfd, 1, READY_MS);
	while (r < 0 && errno == EINTR);
	if (r == 1)
		return read(ready, line, sizeof(line)) > 0 ? 0 : explain(p, err);
	passt_proc_read(p);
	return volt_err_set(err, ETIMEDOUT, "passt was not ready within %d s%s%s", READY_MS / 1000,
		p->said[0] ? ": " : "", p->said);
}

int passt_proc_start(const char *ports, uint16_t mtu, int sock, struct passt_proc *ret,
	struct volt_err *err)
{
	_cleanup_close_ int ready = -1, ready_w = -1, errfd = -1, err_w = -1, high = -1;
	struct args args = { .n = 0 };
	int r;

	*ret = (struct passt_proc){ .pidfd = -1, .errfd = -1 };
	r = make_args(&args, ports, mtu, err);
	if (r < 0)
		return r;
	r = high_pipe(&ready, &ready_w, err);
	if (r == 0)
		r = high_pipe(&errfd, &err_w, err);
	if (r < 0)
		return r;
	high = fcntl(sock, F_DUPFD_CLOEXEC, HIGH_FD);
	/* Started as root, passt is "nobody" when it opens the pipe. */
	if (high < 0 || fchmod(ready_w, 0666) < 0 || fcntl(errfd, F_SETFL, O_NONBLOCK) < 0)
		return volt_err_set(err, errno, "prepare descriptors for passt: %m");
	r = spawn(args.argv, high, ready_w, err_w, &ret->pid);
	if (r == -ENOENT)
		return volt_err_set(err, ENOENT,
			"passt is not installed or not in PATH: install the package passt, or "
			"choose another back end (in a jail a tap by name or descriptor)");
	if (r < 0)
		return volt_err_set(err, -r, "start passt: %m");
	ret->errfd = take_fd(&errfd);
	ret->pidfd = pidfd_open(ret->pid, 0);
	ready_w = fd_close(ready_w);
	err_w = fd_close(err_w);
	r = ret->pidfd < 0 ? volt_err_set(err, errno, "pidfd_open: %m") :
			     wait_ready(ret, ready, err);
	if (r < 0) {
		if (ret->pid > 0)
			kill(ret->pid, SIGKILL);
		passt_proc_done(ret);
	}
	return r;
}
