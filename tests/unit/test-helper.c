/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting helper programs. This program is its own helper: started by the name volt-helper-WHAT,
 * through a symbolic link in a folder of the test, it behaves well or badly.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helper.h"
#include "loop.h"

#define PREFIX	 "volt-helper-"
#define LIMIT_NS (15 * NSEC_PER_SEC)

static char folder[] = "/tmp/volt-test-helper-XXXXXX";

/* ---- as the helper ---- */

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int be_helper(const char *what, const char *arg)
{
	struct volt_err err = { 0 };
	int p[2];

	if (strcmp(what, "pipe") == 0) { /* gives a pipe; writes into it at its end */
		if (pipe(p) < 0 || helper_reply(NULL, p, 1) < 0)
			return 1;
		close(p[0]);
		helper_wait();
		return write(p[1], arg, strlen(arg)) < 0;
	}
	if (strcmp(what, "full") == 0) {
		int fds[HELPER_FDS + 1] = { 0, 1, 2, 0, 1 };

		if (helper_reply(NULL, fds, HELPER_FDS + 1) != -EINVAL)
			return 1;
		return helper_reply(NULL, fds, HELPER_FDS) < 0;
	}
	if (strcmp(what, "count") == 0) {
		volt_err_set(&err, EBADF, "%d descriptors, session %d", count_fds(),
			getsid(0) == getpid());
		return helper_reply(&err, NULL, 0) < 0;
	}
	if (strcmp(what, "error") == 0) {
		int out = STDOUT_FILENO;

		volt_err_set(&err, ENODEV, "%s: %m", arg);
		return helper_reply(&err, &out, 1) < 0;
	}
	if (strcmp(what, "status") == 0)
		return atoi(arg);
	if (strcmp(what, "killed") == 0)
		return raise(SIGKILL);
	if (strcmp(what, "garbage") == 0)
		return send(STDIN_FILENO, arg, strlen(arg), 0) < 0;
	if (strcmp(what, "mute") == 0) /* until its socket is closed */
		helper_wait();
	if (strcmp(what, "shut") == 0) {
		shutdown(STDIN_FILENO, SHUT_RDWR);
		pause();
	}
	return 0;
}

/* ---- as the test ---- */

static int start(const char *what, const char *arg, struct helper *h, int *fds, unsigned *n_fds,
	struct volt_err *err)
{
	char name[64], text[64], path[128], self[256] = "";
	char *argv[] = { name, text, NULL };

	snprintf(name, sizeof(name), PREFIX "%s", what);
	snprintf(text, sizeof(text), "%s", arg);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	assert_true(symlink(self, path) == 0 || errno == EEXIST);
	return helper_start(argv, h, fds, n_fds, err);
}

static void fails(const char *what, const char *arg, int code, const char *words)
{
	struct volt_err err = { 0 };
	int fds[HELPER_FDS];
	struct helper h;
	unsigned n;

	assert_int_equal(start(what, arg, &h, fds, &n, &err), -code);
	assert_int_equal(n, 0);
	if (!strstr(err.msg, words))
		fail_msg("'%s' is not in '%s'", words, err.msg);
}

/* The process has ended, and its status; it is ours to reap. */
static int wait_end(pid_t pid)
{
	uint64_t end = loop_now_ns() + LIMIT_NS;
	int status;

	for (;;) {
		pid_t r = waitpid(pid, &status, WNOHANG);

		assert_true(r >= 0);
		if (r == pid)
			return status;
		assert_true(loop_now_ns() < end);
		poll(NULL, 0, 2);
	}
}

static void test_answers_and_undoes(void **state UNUSED)
{
	struct volt_err err = { 0 };
	int fds[HELPER_FDS];
	struct helper h;
	char text[16] = "";
	unsigned n;

	assert_int_equal(start("pipe", "undone", &h, fds, &n, &err), 0);
	assert_int_equal(n, 1);
	assert_int_equal(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(h.fd, F_GETFD), FD_CLOEXEC);
	/* what ends a service does not end it */
	assert_int_equal(kill(h.pid, SIGTERM), 0);
	assert_int_equal(kill(h.pid, SIGINT), 0);
	assert_int_equal(kill(h.pid, SIGHUP), 0);
	assert_int_equal(poll(&(struct pollfd){ fds[0], POLLIN, 0 }, 1, 50), 0);
	helper_done(&h);
	assert_int_equal(h.fd, -1);
	assert_int_equal(read(fds[0], text, sizeof(text)), 6);
	assert_string_equal(text, "undone");
	assert_int_equal(kill(h.pid, 0), -1); /* ended and taken */
	close(fds[0]);
}

static void test_most_descriptors(void **state UNUSED)
{
	struct volt_err err = { 0 };
	int fds[HELPER_FDS];
	struct helper h;
	unsigned n;

	assert_int_equal(start("full", "", &h, fds, &n, &err), 0);
	assert_int_equal(n, HELPER_FDS);
	while (n > 0)
		assert_int_equal(close(fds[--n]), 0);
	helper_done(&h);
	assert_int_equal(kill(h.pid, 0), -1); /* ended and taken */
}

/* Ended with its parent, SIGKILL included. */
static void test_parent_killed(void **state UNUSED)
{
	int p[2];
	char text[16] = "";
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	pid = fork();
	if (pid == 0) {
		int fds[HELPER_FDS];
		struct helper h;
		unsigned n;

		if (start("pipe", "orphan", &h, fds, &n, NULL) < 0)
			_exit(1);
		struct iovec iov = { text, 1 };
		union {
			struct cmsghdr c;
			char b[CMSG_SPACE(sizeof(int))];
		} u = { .c = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u,
			.msg_controllen = sizeof(u) };

		memcpy(CMSG_DATA(&u.c), &fds[0], sizeof(int));
		sendmsg(p[1], &m, 0);
		raise(SIGKILL);
	}
	struct iovec iov = { text, 1 };
	union {
		struct cmsghdr c;
		char b[CMSG_SPACE(sizeof(int))];
	} u;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u,
		.msg_controllen = sizeof(u) };
	int fd;

	assert_int_equal(recvmsg(p[0], &m, 0), 1);
	memcpy(&fd, CMSG_DATA(&u.c), sizeof(fd));
	assert_int_equal(read(fd, text, sizeof(text)), 6);
	assert_string_equal(text, "orphan");
	assert_int_equal(WTERMSIG(wait_end(pid)), SIGKILL);
	close(fd);
	close(p[0]);
	close(p[1]);
}

static void test_inherits_nothing(void **state UNUSED)
{
	int fd = open("/dev/null", O_RDONLY); /* not CLOEXEC */

	fails("count", "", EBADF, "3 descriptors, session 1");
	close(fd);
}

static void test_says_error(void **state UNUSED)
{
	fails("error", "link 'eth7'", ENODEV, "link 'eth7': No such device");
}

static void test_dies(void **state UNUSED)
{
	fails("status", "3", EPROTO, "volt-helper-status: ended with status 3");
	fails("status", "0", EPROTO, "ended with status 0 before it answered");
	fails("killed", "", EPROTO, "ended by signal 9");
	fails("shut", "", EPROTO, "closed its socket without an answer"); /* and is killed */
}

static void test_garbage(void **state UNUSED)
{
	fails("garbage", "hello", EPROTO, "its answer is not one");
	fails("garbage", "99999 x", EPROTO, "its answer is not one");
	fails("garbage", "x 0", EPROTO, "its answer is not one");
	fails("garbage", "0", EPROTO, "its answer is not one");
}

static void test_no_answer(void **state UNUSED)
{
	fails("mute", "", ETIMEDOUT, "no answer within 10 s");
}

static void test_not_found(void **state UNUSED)
{
	char name[] = "volt-helper-none";
	char *argv[] = { name, NULL };
	struct volt_err err = { 0 };
	int fds[HELPER_FDS];
	struct helper h;
	unsigned n;

	assert_int_equal(helper_start(argv, &h, fds, &n, &err), -ENOENT);
	assert_non_null(strstr(err.msg, folder));
	assert_non_null(strstr(err.msg, "volt-helper-none"));
	unsetenv("VOLT_HELPER_DIR");
	err = (struct volt_err){ 0 };
	assert_int_equal(helper_start(argv, &h, fds, &n, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "tests/unit'"));
	assert_non_null(strstr(err.msg, "libexec/volt'"));
	setenv("VOLT_HELPER_DIR", folder, 1);
}

static void test_cannot_run(void **state UNUSED)
{
	char name[] = "volt-helper-text", path[128];
	char *argv[] = { name, NULL };
	struct volt_err err = { 0 };
	int fds[HELPER_FDS];
	struct helper h;
	unsigned n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("no program\n", f);
	fclose(f);
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(helper_start(argv, &h, fds, &n, &err), -ENOEXEC);
	assert_non_null(strstr(err.msg, path));
}

/* No descriptor of a failed start stays open, and no child but those that wait_end() took. */
static void test_leaves_nothing(void **state UNUSED)
{
	int before = count_fds();

	fails("error", "x", ENODEV, "x");
	fails("status", "1", EPROTO, "status 1");
	assert_int_equal(count_fds(), before);
}

static void test_no_zombies(void **state UNUSED)
{
	struct volt_err err = { 0 };
	int fds[HELPER_FDS];
	struct helper h;
	unsigned n;

	assert_int_equal(start("pipe", "x", &h, fds, &n, &err), 0);
	helper_done(&h);
	assert_int_equal(kill(h.pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	helper_done(&h); /* nothing */
	close(fds[0]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_and_undoes),
		cmocka_unit_test(test_most_descriptors),
		cmocka_unit_test(test_parent_killed),
		cmocka_unit_test(test_inherits_nothing),
		cmocka_unit_test(test_says_error),
		cmocka_unit_test(test_dies),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_not_found),
		cmocka_unit_test(test_cannot_run),
		cmocka_unit_test(test_leaves_nothing),
		cmocka_unit_test(test_no_zombies),
	};
	char command[64];
	int r;

	if (strncmp(argv[0], PREFIX, strlen(PREFIX)) == 0)
		return be_helper(argv[0] + strlen(PREFIX), argc > 1 ? argv[1] : "");
	if (!mkdtemp(folder))
		return 1;
	setenv("VOLT_HELPER_DIR", folder, 1);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command) != 0 || r;
}
