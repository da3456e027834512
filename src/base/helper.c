/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helper programs, see helper.h. The pair is of the kind SOCK_SEQPACKET, the answer one message:
 * "CODE TEXT", an errno (0: ok) and what there is to say.
 *
 * A helper has a session of its own and blocks the signals that end a service, so that neither ^C
 * nor the end of a service takes it away before it has undone its work; EOF alone ends it. It is
 * a direct child, so that its status can be told if it fails at the start.
 */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "limit.h"
#include "log.h"
#include "num.h"

#define ANSWER_MS    10000
#define END_MS	     1000 /* from the closed socket to the end of the process */
#define ANSWER_BYTES 512

union fd_message {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * HELPER_FDS)];
};

/* dir/sub/name, if it can be run; or NULL and errno. */
static char *try_place(const char *dir, const char *sub, const char *name)
{
	char *path;

	if (asprintf(&path, "%s%s/%s", dir, sub, name) < 0)
		return NULL;
	if (access(path, X_OK) < 0) {
		free(path);
		return NULL;
	}
	return path;
}

/* The named folder and no other; else beside the program, in a build tree, where installed. */
static int find(const char *name, char **ret, struct volt_err *err)
{
	const char *named = secure_getenv("VOLT_HELPER_DIR");
	char own[LIMIT_PATH];
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
	char *slash;

	if (named) {
		*ret = try_place(named, "", name);
		return *ret ? 0 : volt_err_set(err, errno, "helper program %s: not in "
			"VOLT_HELPER_DIR, which is '%s': %m", name, named);
	}
	if (n < 0) /* a jail has no /proc, nor programs besides this one */
		return volt_err_set(err, errno, "helper program %s: not to be found without /proc, "
			"as in a jail: volt-jailer(8) says what works there", name);
	own[n] = '\0';
	slash = strrchr(own, '/');
	if (slash) {
		*slash = '\0';
		*ret = try_place(own, "", name);
		if (!*ret)
			*ret = try_place(own, "/../helper", name);
		if (*ret)
			return 0;
	}
	*ret = try_place(HELPER_DIR, "", name);
	return *ret ? 0 : volt_err_set(err, errno, "helper program %s: neither in '%s', where this "
		"program is, nor in '%s' (VOLT_HELPER_DIR can name another folder): %m", name, own,
		HELPER_DIR);
}

/* Returns an errno. */
static int spawn(const char *path, char *const argv[], int sock, pid_t *ret)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t blocked, all;
	int r;

	sigfillset(&all);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGHUP);
	sigaddset(&blocked, SIGPIPE); /* a write fails instead */
	r = posix_spawn_file_actions_init(&actions);
	if (r)
		return r;
	r = posix_spawnattr_init(&attr);
	if (r)
		goto free_actions;
	r = posix_spawn_file_actions_adddup2(&actions, sock, STDIN_FILENO);
	if (!r)
		r = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
	if (!r)
		r = posix_spawnattr_setsigmask(&attr, &blocked);
	if (!r)
		r = posix_spawnattr_setsigdefault(&attr, &all);
	if (!r)
		r = posix_spawnattr_setflags(&attr,
			POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (!r)
		r = posix_spawn(ret, path, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
free_actions:
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

/* True if it ends soon: *ret says how. */
static bool reap(const struct helper *h, siginfo_t *ret)
{
	struct pollfd p = { .fd = h->pidfd, .events = POLLIN };

	*ret = (siginfo_t){ 0 };
	/* #syscalls loop: poll waitid */
	return poll(&p, 1, END_MS) == 1 &&
	       waitid(P_PIDFD, (id_t)h->pidfd, ret, WEXITED | WNOHANG) == 0 && ret->si_pid;
}

/* It closed the socket without a word. */
static int tell_end(const char *name, const struct helper *h, struct volt_err *err)
{
	siginfo_t end;

	if (!reap(h, &end)) {
		kill(h->pid, SIGKILL); /* it would never see an EOF */
		return volt_err_set(err, EPROTO, "helper program %s: it closed its socket without "
			"an answer", name);
	}
	if (end.si_code != CLD_EXITED)
		return volt_err_set(err, EPROTO, "helper program %s: ended by signal %d before it "
			"answered", name, end.si_status);
	return volt_err_set(err, EPROTO, "helper program %s: ended with status %d before it "
		"answered", name, end.si_status);
}

static void take_fds(struct msghdr *msg, int fds[HELPER_FDS], unsigned *ret_n_fds)
{
	*ret_n_fds = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		*ret_n_fds = (unsigned)MIN((c->cmsg_len - CMSG_LEN(0)) / sizeof(int), HELPER_FDS);
		memcpy(fds, CMSG_DATA(c), *ret_n_fds * sizeof(int));
	}
}

/* "CODE TEXT" */
static int judge(const char *name, char *text, struct volt_err *err)
{
	char *space = strchr(text, ' ');
	uint64_t code;

	if (space)
		*space = '\0';
	if (!space || num_parse_u64(text, 0, 4095, &code) < 0)
		return volt_err_set(err, EPROTO, "helper program %s: its answer is not one", name);
	return code ? volt_err_set(err, (int)code, "%s", space + 1) : 0;
}

static int receive(const char *name, const struct helper *h, int fds[HELPER_FDS],
	unsigned *ret_n_fds, struct volt_err *err)
{
	struct pollfd p = { .fd = h->fd, .events = POLLIN };
	char text[ANSWER_BYTES];
	struct iovec iov = { text, sizeof(text) - 1 };
	union fd_message control;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = sizeof(control) };
	ssize_t n;
	int r;

	r = poll(&p, 1, ANSWER_MS);
	if (r < 0)
		return volt_err_set(err, errno, "helper program %s: poll: %m", name);
	if (r == 0)
		return volt_err_set(err, ETIMEDOUT, "helper program %s: no answer within %d s",
			name, ANSWER_MS / 1000);
	n = recvmsg(h->fd, &msg, MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return tell_end(name, h, err);
	text[n] = '\0';
	take_fds(&msg, fds, ret_n_fds);
	r = judge(name, text, err);
	if (r < 0)
		while (*ret_n_fds)
			fd_close(fds[--*ret_n_fds]);
	return r;
}

int helper_start(char *const argv[], struct helper *ret, int fds[HELPER_FDS], unsigned *ret_n_fds,
	struct volt_err *err)
{
	struct helper h = HELPER_NONE;
	_cleanup_free_ char *path = NULL;
	int pair[2], r;

	*ret_n_fds = 0;
	r = find(argv[0], &path, err);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return volt_err_set(err, errno, "helper program %s: socketpair: %m", argv[0]);
	h.fd = pair[0];
	r = spawn(path, argv, pair[1], &h.pid);
	fd_close(pair[1]);
	if (r == 0) {
		h.pidfd = pidfd_open(h.pid, 0);
		r = h.pidfd < 0 ? errno : 0;
	}
	if (r)
		r = volt_err_set(err, r, "helper program '%s': cannot be started: %m", path);
	else
		r = receive(argv[0], &h, fds, ret_n_fds, err);
	if (r < 0) {
		fd_close(h.pidfd);
		fd_close(h.fd);
		return r;
	}
	*ret = h;
	return 0;
}

void helper_done(struct helper *h)
{
	siginfo_t end;

	h->fd = fd_close(h->fd);
	if (h->pidfd >= 0 && !reap(h, &end))
		log_warn("helper program (pid %d) has not ended with its socket", (int)h->pid);
	h->pidfd = fd_close(h->pidfd);
}

int helper_reply(const struct volt_err *err, const int *fds, unsigned n_fds)
{
	bool ok = !err || !err->code;
	char text[ANSWER_BYTES];
	int n = snprintf(text, sizeof(text), "%d %s", ok ? 0 : err->code, ok ? "ok" : err->msg);
	struct iovec iov = { text, (size_t)MIN(n, ANSWER_BYTES - 1) };
	union fd_message control = { 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (n_fds > HELPER_FDS)
		return -EINVAL;
	if (n_fds) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	return sendmsg(STDIN_FILENO, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void helper_wait(void)
{
	char byte;

	while (read(STDIN_FILENO, &byte, sizeof(byte)) > 0 || errno == EINTR)
		errno = 0;
}
