/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stages of the sandbox, each in a forked child, because none of them can be taken back.
 * Sanitizers make calls of their own, so children under a filter run only in plain builds. What the
 * filters let pass is in test-filter.c.
 */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "compiler.h"
#include "log.h"
#include "sandbox.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/*
 * Runs fn in a child and returns its exit status (128 + signal if one killed it); its stderr in
 * out.
 */
static int in_child(int (*fn)(void), char *out, size_t size)
{
	size_t n = 0;
	ssize_t r;
	int p[2], status;
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(p[1], STDERR_FILENO);
		close(p[0]);
		close(p[1]);
		_exit(fn());
	}
	close(p[1]);
	while (n < size - 1 && (r = read(p[0], out + n, size - 1 - n)) > 0)
		n += (size_t)r;
	out[n] = '\0';
	close(p[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#define CHECK(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%d: %s, errno %d\n", __LINE__, #cond, errno); \
			return 1; \
		} \
	} while (0)

#define ASSERT_CHILD(fn) \
	do { \
		char out_[1024]; \
		if (in_child(fn, out_, sizeof(out_)) != 0) \
			fail_msg("%s", out_); \
	} while (0)

static int early(void)
{
	struct volt_err err = { 0 };
	struct rlimit lim;

	CHECK(sandbox_early(&err) == 0);
	CHECK(umask(0) == 077);
	CHECK(getrlimit(RLIMIT_CORE, &lim) == 0 && lim.rlim_cur <= 1 && lim.rlim_max <= 1);
	CHECK(sandbox_early(&err) == 0); /* a second time changes nothing */
	return 0;
}

static void test_early(void **state)
{
	(void)state;
	ASSERT_CHILD(early);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int close_all(void)
{
	struct volt_err err = { 0 };
	int fd = open("/dev/null", O_RDONLY), high = fcntl(fd, F_DUPFD, 700);

	CHECK(fd > 2 && high >= 700);
	CHECK(sandbox_close_fds(NULL, 0, &err) == 0);
	CHECK(!is_open(fd) && !is_open(high));
	CHECK(is_open(0) && is_open(1) && is_open(2));
	CHECK(sandbox_close_fds(NULL, 0, &err) == 0); /* a second time changes nothing */
	return 0;
}

/* Kept are the first, one in the middle and the last; out of order, one twice, with holes. */
static int close_some(void)
{
	static const int keep[] = { 700, -1, 3, 10, 3, -1 };
	struct volt_err err = { 0 };
	int fd = open("/dev/null", O_RDONLY);

	for (int to = 3; to <= 12; to++)
		CHECK(fd == to || dup2(fd, to) == to);
	CHECK(dup2(fd, 699) == 699 && dup2(fd, 700) == 700 && dup2(fd, 701) == 701);
	CHECK(sandbox_close_fds(keep, ARRAY_SIZE(keep), &err) == 0);
	for (int i = 0; i <= 1000; i++)
		CHECK(is_open(i) == (i <= 3 || i == 10 || i == 700));
	CHECK(fcntl(3, F_GETFD) == FD_CLOEXEC && fcntl(10, F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(700, F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(0, F_GETFD) == 0); /* the standard ones are as they were */
	return 0;
}

static int close_keep_closed(void)
{
	static const int keep[] = { 900 };
	struct volt_err err = { 0 };

	CHECK(sandbox_close_fds(keep, 1, &err) == -EBADF);
	CHECK(strcmp(err.msg, "keep descriptor 900: Bad file descriptor") == 0);
	return 0;
}

static void test_close_fds(void **state)
{
	(void)state;
	ASSERT_CHILD(close_all);
	ASSERT_CHILD(close_some);
	ASSERT_CHILD(close_keep_closed);
}

static char dir[64];

static const char *in_dir(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static int setup_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test-sandbox-XXXXXX");
	if (!mkdtemp(dir) || mkdir(in_dir("rw"), 0700) < 0)
		return -1;
	return close(open(in_dir("file"), O_CREAT | O_WRONLY, 0600));
}

static int teardown_dir(void **state)
{
	(void)state;
	unlink(in_dir("file"));
	unlink(in_dir("rw/new"));
	rmdir(in_dir("rw"));
	return rmdir(dir);
}

static bool denied(int fd)
{
	return fd < 0 && (errno == EACCES || errno == EPERM);
}

static int landlock_all(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(1),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct volt_err err = { 0 };
	int nullfd, abi;

	CHECK(sandbox_early(&err) == 0);
	nullfd = open("/dev/null", O_RDWR);
	abi = sandbox_landlock(NULL, 0, &err);
	CHECK(abi >= 1 && abi <= SANDBOX_LANDLOCK_ABI);
	CHECK(denied(open("/dev/null", O_RDONLY)));
	CHECK(denied(open("/etc/passwd", O_RDONLY)));
	CHECK(denied(open("/proc/self/status", O_RDONLY)));
	CHECK(denied(open("/", O_RDONLY | O_DIRECTORY)));
	CHECK(denied(open(in_dir("file"), O_RDWR)));
	CHECK(denied(open(in_dir("new"), O_CREAT | O_WRONLY, 0600)));
	CHECK(denied(unlink(in_dir("file"))));
	CHECK(denied(mkdir(in_dir("d"), 0700)));
	CHECK(write(nullfd, "x", 1) == 1);
	CHECK(memfd_create("m", MFD_CLOEXEC) >= 0);
	if (abi >= 3)
		CHECK(denied(truncate(in_dir("file"), 1)));
	if (abi >= 4) {
		int s = socket(AF_INET, SOCK_STREAM, 0);

		CHECK(denied(connect(s, (struct sockaddr *)&in, sizeof(in))));
		CHECK(denied(bind(s, (struct sockaddr *)&in, sizeof(in))));
	}
	if (abi >= 6)
		CHECK(denied(kill(getppid(), 0)));
	return 0;
}

static int landlock_some(void)
{
	char ro[128], rw[128];
	struct sandbox_path paths[] = { { ro, false }, { rw, true } };
	struct volt_err err = { 0 };

	snprintf(ro, sizeof(ro), "%s", in_dir("file"));
	snprintf(rw, sizeof(rw), "%s", in_dir("rw"));
	CHECK(sandbox_early(&err) == 0);
	CHECK(sandbox_landlock(paths, 2, &err) >= 1);
	CHECK(open(ro, O_RDONLY) >= 0);
	CHECK(denied(open(ro, O_WRONLY)));
	CHECK(open(in_dir("rw/new"), O_CREAT | O_RDWR, 0600) >= 0);
	CHECK(denied(mkdir(in_dir("rw/d"), 0700)));
	CHECK(denied(open(in_dir("new"), O_CREAT | O_RDWR, 0600)));
	CHECK(denied(open("/etc/passwd", O_RDONLY)));
	return 0;
}

static int landlock_missing_path(void)
{
	struct sandbox_path p = { "/nowhere/at all", false };
	struct volt_err err = { 0 };

	CHECK(sandbox_early(&err) == 0);
	CHECK(sandbox_landlock(&p, 1, &err) == -ENOENT);
	CHECK(strstr(err.msg, "'/nowhere/at all': No such file"));
	return 0;
}

static void test_landlock(void **state)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

	(void)state;
	if (abi < 1) {
		print_message("this kernel has no Landlock\n");
		skip();
	}
	ASSERT_CHILD(landlock_all);
	ASSERT_CHILD(landlock_some);
	ASSERT_CHILD(landlock_missing_path);
}

/* A kernel without Landlock, made by a filter that answers ENOSYS. */
static int landlock_absent(void)
{
	struct sock_filter insns[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(insns), insns };
	struct volt_err err = { 0 };

	CHECK(sandbox_early(&err) == 0);
	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0);
	CHECK(sandbox_landlock(NULL, 0, &err) == 0);
	CHECK(strstr(err.msg, "CONFIG_SECURITY_LANDLOCK"));
	CHECK(open("/dev/null", O_RDONLY) >= 0);
	return 0;
}

static void test_landlock_absent(void **state)
{
	(void)state;
	ASSERT_CHILD(landlock_absent);
}

static void restored(void)
{
	struct termios t = { 0 };

	tcsetattr(STDERR_FILENO, TCSANOW, &t); /* not a terminal here; what counts is that it may */
	if (write(STDERR_FILENO, "restored\n", 9) < 0)
		return;
}

static int confine(enum sandbox_thread t)
{
	struct volt_err err = { 0 };

	CHECK(sandbox_early(&err) == 0);
	CHECK(sandbox_sigsys_init(STDERR_FILENO, restored, &err) == 0);
	CHECK(sandbox_seccomp(t, &err) == 0);
	return 0;
}

static int forbidden_loop(void)
{
	CHECK(confine(SANDBOX_LOOP) == 0);
	syscall(SYS_sched_setaffinity, 0, 0, NULL);
	return 2;
}

static int forbidden_vcpu(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL); /* as threads that leave signals to others do */
	log_set_thread("vcpu 3");
	CHECK(confine(SANDBOX_VCPU) == 0);
	syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
	return 2;
}

static int forbidden_ioctl(void)
{
	CHECK(confine(SANDBOX_LOOP) == 0);
	ioctl(STDERR_FILENO, TIOCSTI, "x");
	return 2;
}

static void bad_restore(void)
{
	syscall(SYS_getuid);
}

static int forbidden_twice(void)
{
	struct volt_err err = { 0 };

	CHECK(sandbox_early(&err) == 0);
	CHECK(sandbox_sigsys_init(-1, bad_restore, &err) == 0);
	CHECK(sandbox_seccomp(SANDBOX_LOOP, &err) == 0);
	syscall(SYS_sched_setaffinity, 0, 0, NULL);
	return 2;
}

static int forbidden_int80(void)
{
	long r;

	CHECK(confine(SANDBOX_LOOP) == 0);
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
	return 2;
}

static void assert_report(int (*fn)(void), const char *human, const char *line)
{
	char out[1024];
	int status = in_child(fn, out, sizeof(out));

	if (status != SANDBOX_EXIT_BAD_SYSCALL || !strstr(out, human) || !strstr(out, line) ||
		!strstr(out, "restored\n"))
		fail_msg("status %d, said: %s", status, out);
}

static void test_report(void **state)
{
	(void)state;
	if (SANITIZED)
		skip();
	assert_report(forbidden_loop,
		"volt-vmm: forbidden system call sched_setaffinity (203) in thread main: ",
		"Shutting down VM after intercepting a bad syscall (203). ");
	assert_report(forbidden_vcpu,
		"volt-vmm: forbidden system call openat (257) in thread vcpu 3: ",
		"Shutting down VM after intercepting a bad syscall (257). ");
	assert_report(forbidden_ioctl, "forbidden system call ioctl (16)", "bad syscall (16)");
}

static void test_report_nested(void **state)
{
	char out[1024];

	(void)state;
	if (SANITIZED)
		skip();
	assert_int_equal(in_child(forbidden_twice, out, sizeof(out)), SANDBOX_EXIT_BAD_SYSCALL);
	assert_non_null(strstr(out, "sched_setaffinity"));
	assert_null(strstr(out, "getuid"));
}

static void test_report_int80(void **state)
{
	char out[1024];
	int status;

	(void)state;
	if (SANITIZED)
		skip();
	status = in_child(forbidden_int80, out, sizeof(out));
	if (status == 128 + SIGSEGV) {
		print_message("this kernel has no 32-bit entry\n");
		skip();
	}
	assert_int_equal(status, SANDBOX_EXIT_BAD_SYSCALL);
	assert_non_null(strstr(out, "not an x86-64 call (20)"));
}

/* What every thread does must pass: log, allocate, lock, wait for another, end. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int stage;

static void advance(int to)
{
	pthread_mutex_lock(&lock);
	stage = to;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
}

static void await(int at)
{
	pthread_mutex_lock(&lock);
	while (stage != at)
		pthread_cond_wait(&cond, &lock);
	pthread_mutex_unlock(&lock);
}

static void *vcpu_thread(void *arg)
{
	struct volt_err err = { 0 };

	(void)arg;
	log_set_thread("vcpu 0");
	if (sandbox_seccomp(SANDBOX_VCPU, &err) < 0)
		log_error("%s", err.msg);
	advance(1);
	await(2);
	errno = EIO;
	log_info("a line with an error: %m");
	return NULL;
}

/* Stdin and stdout are pipes to the parent, which looks at the threads meanwhile. */
static int two_threads(void)
{
	struct log_config cfg = { .id = "t", .fd = STDERR_FILENO, .level = LOG_INFO };
	struct volt_err err = { 0 };
	pthread_t t;
	void *p;
	char c;

	log_init(&cfg);
	CHECK(sandbox_early(&err) == 0);
	CHECK(sandbox_sigsys_init(STDERR_FILENO, NULL, &err) == 0);
	CHECK(pthread_create(&t, NULL, vcpu_thread, NULL) == 0);
	CHECK(sandbox_seccomp(SANDBOX_LOOP, &err) == 0);
	await(1);
	CHECK(write(STDOUT_FILENO, "r", 1) == 1);
	CHECK(read(STDIN_FILENO, &c, 1) == 1);
	advance(2);
	CHECK(pthread_join(t, NULL) == 0);
	p = malloc(1 << 20);
	CHECK(p && (p = realloc(p, 8 << 20)));
	free(p);
	log_info("joined");
	return 0;
}

/* "Seccomp: 2" and "NoNewPrivs: 1" in the status of each thread of pid; returns their number. */
static int count_confined(pid_t pid)
{
	char path[300], text[4096];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d))) {
		ssize_t len;
		int fd;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid, e->d_name);
		fd = open(path, O_RDONLY);
		len = read(fd, text, sizeof(text) - 1);
		close(fd);
		assert_true(len > 0);
		text[len] = '\0';
		assert_non_null(strstr(text, "\nNoNewPrivs:\t1\n"));
		assert_non_null(strstr(text, "\nSeccomp:\t2\n"));
		n++;
	}
	closedir(d);
	return n;
}

static void test_threads(void **state)
{
	int ready[2], go[2], status;
	char c;
	pid_t pid;

	(void)state;
	if (SANITIZED)
		skip();
	assert_true(pipe(ready) == 0 && pipe(go) == 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(go[0], STDIN_FILENO);
		dup2(ready[1], STDOUT_FILENO);
		_exit(two_threads());
	}
	close(ready[1]);
	close(go[0]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(count_confined(pid), 2);
	assert_int_equal(write(go[1], "g", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(ready[0]);
	close(go[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_early),
		cmocka_unit_test(test_close_fds),
		cmocka_unit_test_setup_teardown(test_landlock, setup_dir, teardown_dir),
		cmocka_unit_test(test_landlock_absent),
		cmocka_unit_test(test_report),
		cmocka_unit_test(test_report_nested),
		cmocka_unit_test(test_report_int80),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
