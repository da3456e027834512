// SPDX-License-Identifier: Apache-2.0
/*
 * The lab's supervisor, process 1 of the emulated host: starts commands the host asks for over a
 * virtio-serial port, carries their streams, and tells how they ended (labd.h has the wire format).
 * One thread, one poll loop. It trusts the host, which owns it; it does not interpret what commands
 * do. If the host's end of the port goes away the machine powers off, so no lab outlives its owner.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "labd.h"

#define CHANS_MAX 128
#define TX_PAUSE (1u << 20)  /* commands' output is not read while more than this waits */
#define TTY_QUIET_MS 60	     /* a terminal is drained when it was silent this long after exit */
#define ABANDON_GRACE_MS 2000 /* between SIGTERM and SIGKILL for a command nobody waits for */
#define STREAMS 3	     /* stdout, stderr, terminal */
#define CGROUP_ROOT "/sys/fs/cgroup/lab"

struct bytes {
	char *data;
	size_t len, cap;
};

enum chan_state { CHAN_PREP, CHAN_RUN, CHAN_EXITED, CHAN_SINK };

/* One output of a command: its pipe or terminal, and how much the host lets us send. */
struct stream {
	int fd;
	uint32_t credit;
	int left; /* bytes that were in the pipe at exit; -1 while running */
};

struct chan {
	uint32_t id;
	enum chan_state state;
	pid_t pid;
	int infd; /* -1 when closed */
	int in_eof, tty, abandoned, status;
	int64_t deadline_ms; /* abandoned: when to kill; exited terminal: when it is drained */
	struct stream out[STREAMS];
	struct bytes in; /* the start record, then stdin not yet written */
};

struct labd {
	int portfd, sigfd;
	struct bytes rx, tx;
	struct chan *chans[CHANS_MAX];
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void bytes_add(struct bytes *b, const void *p, size_t n)
{
	if (b->len + n > b->cap) {
		b->cap = (b->len + n) * 2;
		b->data = realloc(b->data, b->cap);
		if (!b->data)
			boot_die("out of memory in the supervisor");
	}
	if (n)
		memcpy(b->data + b->len, p, n);
	b->len += n;
}

static void bytes_take(struct bytes *b, size_t n)
{
	b->len -= n;
	if (b->len)
		memmove(b->data, b->data + n, b->len);
}

static void bytes_free(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){ 0 };
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void send_frame(struct labd *d, uint32_t chan, enum labd_type type, const void *p, size_t n)
{
	uint32_t head[2] = { htole32(chan), htole32((uint32_t)type << 24 | (uint32_t)n) };

	bytes_add(&d->tx, head, sizeof(head));
	bytes_add(&d->tx, p, n);
}

static void send_fail(struct labd *d, uint32_t chan, uint32_t status, const char *fmt, ...)
{
	struct {
		uint32_t status;
		char text[700];
	} msg = { .status = htole32(status) };
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(msg.text, sizeof(msg.text), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(msg.text))
		n = (int)sizeof(msg.text) - 1;
	send_frame(d, chan, LABD_FAIL, &msg, sizeof(msg.status) + (size_t)n);
}

static void send_credit(struct labd *d, uint32_t chan, uint32_t stream, size_t n)
{
	uint32_t msg[2] = { htole32(stream), htole32((uint32_t)n) };

	if (n)
		send_frame(d, chan, LABD_CREDIT, msg, sizeof(msg));
}

static struct chan *chan_find(struct labd *d, uint32_t id)
{
	for (size_t i = 0; i < CHANS_MAX; i++)
		if (d->chans[i] && d->chans[i]->id == id && d->chans[i]->state != CHAN_SINK)
			return d->chans[i];
	return NULL;
}

static struct chan *chan_create(struct labd *d, uint32_t id)
{
	for (size_t i = 0; i < CHANS_MAX; i++) {
		if (d->chans[i])
			continue;
		d->chans[i] = calloc(1, sizeof(struct chan));
		if (!d->chans[i])
			boot_die("out of memory in the supervisor");
		d->chans[i]->id = id;
		d->chans[i]->infd = -1;
		for (int s = 0; s < STREAMS; s++)
			d->chans[i]->out[s] =
				(struct stream){ .fd = -1, .credit = LABD_WINDOW, .left = -1 };
		return d->chans[i];
	}
	send_fail(d, id, 125, "the lab already runs %d commands", CHANS_MAX);
	return NULL;
}

static void chan_destroy(struct labd *d, struct chan *c)
{
	char path[64];

	for (size_t i = 0; i < CHANS_MAX; i++)
		if (d->chans[i] == c)
			d->chans[i] = NULL;
	close_fd(&c->infd);
	for (int s = 0; s < STREAMS; s++)
		close_fd(&c->out[s].fd);
	snprintf(path, sizeof(path), CGROUP_ROOT "/%u", c->id);
	rmdir(path); /* stays while a daemon that the command left behind runs */
	bytes_free(&c->in);
	free(c);
}

static void cgroup_kill(const struct chan *c)
{
	char path[80];

	snprintf(path, sizeof(path), CGROUP_ROOT "/%u/cgroup.kill", c->id);
	boot_write_file(path, "1");
}

static int open_pty(const uint16_t *size, int *slave)
{
	struct winsize ws = { .ws_row = le16toh(size[0]), .ws_col = le16toh(size[1]) };
	int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	int unlock = 0;

	if (fd < 0)
		return -1;
	if (ioctl(fd, TIOCSPTLCK, &unlock) < 0 || ioctl(fd, TIOCSWINSZ, &ws) < 0 ||
		(*slave = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* In the child: never returns; reports what stopped it through failfd. */
static _Noreturn void child_exec(const struct chan *c, const int *fds, int failfd, char **argv,
	char **envp, const char *cwd)
{
	char path[80];
	sigset_t none;
	int err[2] = { 0, 0 }; /* errno, step */

	snprintf(path, sizeof(path), CGROUP_ROOT "/%u", c->id);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), CGROUP_ROOT "/%u/cgroup.procs", c->id);
	boot_write_file(path, "0");
	setsid();
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			goto fail;
	if (c->tty)
		for (int i = 0; i < 3; i++)
			if (isatty(i) && ioctl(i, TIOCSCTTY, 0) == 0)
				break;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	err[1] = 1;
	if (chdir(cwd) < 0)
		goto fail;
	err[1] = 2;
	environ = envp;
	execvp(argv[0], argv);
fail:
	err[0] = errno;
	if (write(failfd, err, sizeof(err)) < 0)
		_exit(125);
	_exit(125);
}

/* Makes the three descriptors of the child; the parent's ends go into c. Returns 0 or -1. */
static int make_streams(struct chan *c, uint32_t flags, const uint16_t *size, int *fds)
{
	int p[2], slave = -1, ptyfd = -1;

	if (flags & (LABD_TTY_IN | LABD_TTY_OUT | LABD_TTY_ERR)) {
		ptyfd = open_pty(size, &slave);
		if (ptyfd < 0)
			return -1;
		c->tty = 1;
		c->out[2].fd = ptyfd;
	}
	if (flags & LABD_TTY_IN) {
		fds[0] = fcntl(slave, F_DUPFD_CLOEXEC, 3);
		c->infd = fcntl(ptyfd, F_DUPFD_CLOEXEC, 3);
	} else {
		if (pipe2(p, O_CLOEXEC) < 0)
			return -1;
		fds[0] = p[0];
		c->infd = p[1];
		fcntl(p[1], F_SETFL, O_NONBLOCK);
	}
	for (int s = 0; s < 2; s++) {
		if (flags & (s ? LABD_TTY_ERR : LABD_TTY_OUT)) {
			fds[1 + s] = fcntl(slave, F_DUPFD_CLOEXEC, 3);
			continue;
		}
		if (pipe2(p, O_CLOEXEC) < 0)
			return -1;
		fds[1 + s] = p[1];
		fcntl(p[0], F_SETFL, O_NONBLOCK);
		c->out[s].fd = p[0];
	}
	close_fd(&slave);
	return 0;
}

/*
 * The start record: le32 flags, le16 rows, le16 columns, le32 argc, le32 envc, then cwd, argv, env.
 */
struct start {
	uint32_t flags;
	uint16_t size[2];
	uint32_t argc, envc;
};

/*
 * Points into the record; returns the vector of argv, NULL, env, NULL or NULL if it is malformed.
 */
static char **parse_strings(struct bytes *rec, const struct start *st, char **cwd)
{
	char *p = rec->data + sizeof(*st), *end = rec->data + rec->len;
	size_t n = 0, want = (size_t)st->argc + st->envc;
	char **v;

	if (st->argc == 0 || want > LABD_PREP_MAX / 2 || end[-1] != '\0' || p >= end)
		return NULL;
	v = calloc(want + 2, sizeof(*v));
	if (!v)
		return NULL;
	*cwd = p;
	for (p += strlen(p) + 1; p < end && n < want; p += strlen(p) + 1, n++)
		v[n + (n >= st->argc)] = p;
	if (n == want && p == end)
		return v;
	free(v);
	return NULL;
}

static void report_start_failure(struct labd *d, const struct chan *c, const int *err,
	const char *cmd, const char *cwd)
{
	if (err[1] == 2)
		send_fail(d, c->id, err[0] == ENOENT ? 127 : 126, "%s: %s", cmd, strerror(err[0]));
	else if (err[1] == 1)
		send_fail(d, c->id, 125, "cannot enter directory '%s' in the lab: %s", cwd,
			strerror(err[0]));
	else
		send_fail(d, c->id, 125, "cannot start '%s' in the lab: %s", cmd, strerror(err[0]));
}

static int chan_spawn(
	struct labd *d, struct chan *c, const struct start *st, char **argv, char *cwd)
{
	int fds[3] = { -1, -1, -1 }, fail[2], err[2] = { 0, 0 };
	ssize_t n;

	if (make_streams(c, st->flags, st->size, fds) < 0 || pipe2(fail, O_CLOEXEC) < 0) {
		err[0] = errno;
		report_start_failure(d, c, err, argv[0], cwd);
		return -1;
	}
	c->pid = fork();
	if (c->pid == 0)
		child_exec(c, fds, fail[1], argv, argv + st->argc + 1, cwd);
	close(fail[1]);
	for (int i = 0; i < 3; i++)
		close_fd(&fds[i]);
	n = read(fail[0], err, sizeof(err));
	close(fail[0]);
	if (n == 0 && c->pid > 0)
		return 0;
	if (c->pid > 0)
		waitpid(c->pid, NULL, 0);
	report_start_failure(d, c, err, argv[0], cwd);
	return -1;
}

static void chan_start(struct labd *d, struct chan *c)
{
	struct start st;
	char **argv = NULL, *cwd = NULL;
	int r = -1;

	if (c->in.len > sizeof(st)) {
		memcpy(&st, c->in.data, sizeof(st));
		st.flags = le32toh(st.flags);
		st.argc = le32toh(st.argc);
		st.envc = le32toh(st.envc);
		argv = parse_strings(&c->in, &st, &cwd);
	}
	if (!argv) {
		send_fail(d, c->id, 125, "the start record is malformed");
	} else {
		if (st.flags & LABD_FRESH)
			boot_write_file("/proc/sys/vm/drop_caches", "3");
		r = chan_spawn(d, c, &st, argv, cwd);
	}
	free(argv);
	bytes_free(&c->in);
	if (r < 0)
		chan_destroy(d, c);
	else
		c->state = CHAN_RUN;
}

static void chan_signal(const struct chan *c, int sig)
{
	if (c->state == CHAN_RUN && sig > 0 && sig < NSIG)
		kill(-c->pid, sig);
}

static void chan_abandon(struct labd *d, struct chan *c)
{
	if (c->state == CHAN_PREP) {
		chan_destroy(d, c);
		return;
	}
	c->abandoned = 1;
	for (int s = 0; s < STREAMS; s++)
		c->out[s].credit = UINT32_MAX / 2; /* nobody reads: let it run dry */
	chan_signal(c, SIGTERM);
	chan_signal(c, SIGHUP);
	chan_signal(c, SIGCONT);
	c->deadline_ms = now_ms() + ABANDON_GRACE_MS;
}

static void set_clock(const char *p, size_t n)
{
	uint64_t ns;
	struct timespec now, want;

	if (n < sizeof(ns))
		return;
	memcpy(&ns, p, sizeof(ns));
	ns = le64toh(ns);
	want.tv_sec = (time_t)(ns / 1000000000u);
	want.tv_nsec = (long)(ns % 1000000000u);
	clock_gettime(CLOCK_REALTIME, &now);
	/* Small differences are the port's own delay: stepping for them would only jitter the
	 * clock. */
	if (llabs((now.tv_sec - want.tv_sec) * 1000 + (now.tv_nsec - want.tv_nsec) / 1000000) > 30)
		clock_settime(CLOCK_REALTIME, &want);
}

static uint32_t get32(const char *p, size_t n, size_t at)
{
	uint32_t v = 0;

	if (at + sizeof(v) <= n)
		memcpy(&v, p + at, sizeof(v));
	return le32toh(v);
}

static void chan_credit(struct chan *c, uint32_t stream, uint32_t n)
{
	if (stream >= 1 && stream <= STREAMS && !c->abandoned)
		c->out[stream - 1].credit += n;
}

static void chan_winsize(const struct chan *c, const char *p, size_t n)
{
	uint32_t v = get32(p, n, 0);
	struct winsize ws = { .ws_row = (unsigned short)v, .ws_col = (unsigned short)(v >> 16) };

	if (c->tty && c->out[2].fd >= 0)
		ioctl(c->out[2].fd, TIOCSWINSZ, &ws);
}

/* A terminal has no end of file but the character for it. */
static void chan_stdin(struct chan *c, const char *p, size_t n)
{
	if (c->in_eof || c->infd < 0)
		return;
	bytes_add(&c->in, p, n);
	if (n == 0 && c->tty)
		bytes_add(&c->in, "\x04", 1);
	else if (n == 0)
		c->in_eof = 1;
}

static void handle_frame(struct labd *d, uint32_t id, uint32_t type, const char *p, size_t n)
{
	struct chan *c = chan_find(d, id);

	if (type == LABD_TIME) {
		set_clock(p, n);
	} else if (type == LABD_POWEROFF) {
		sync();
		reboot(RB_AUTOBOOT);
	} else if (type == LABD_PREP) {
		if (!c)
			c = chan_create(d, id);
		if (c && c->state == CHAN_PREP && c->in.len < LABD_PREP_MAX)
			bytes_add(&c->in, p, n);
	} else if (!c) {
		if (type == LABD_STDIN)
			send_credit(d, id, 0, n); /* late bytes for a command that has ended */
	} else if (type == LABD_START && c->state == CHAN_PREP) {
		chan_start(d, c);
	} else if (type == LABD_STDIN) {
		chan_stdin(c, p, n);
	} else if (type == LABD_CREDIT) {
		chan_credit(c, get32(p, n, 0), get32(p, n, 4));
	} else if (type == LABD_WINSIZE) {
		chan_winsize(c, p, n);
	} else if (type == LABD_SIGNAL) {
		chan_signal(c, (int)get32(p, n, 0));
	} else if (type == LABD_ABANDON) {
		chan_abandon(d, c);
	}
}

static void port_read(struct labd *d)
{
	char buf[65536];
	size_t at = 0;
	ssize_t n = read(d->portfd, buf, sizeof(buf));

	if (n == 0)
		reboot(RB_AUTOBOOT); /* the host has gone */
	if (n < 0)
		return;
	bytes_add(&d->rx, buf, (size_t)n);
	while (d->rx.len - at >= 8) {
		uint32_t id = get32(d->rx.data, d->rx.len, at);
		uint32_t word = get32(d->rx.data, d->rx.len, at + 4);
		size_t len = word & 0xffffff;

		if (len > LABD_PAYLOAD_MAX)
			boot_die("the host sent a frame of %zu bytes", len);
		if (d->rx.len - at - 8 < len)
			break;
		handle_frame(d, id, word >> 24, d->rx.data + at + 8, len);
		at += 8 + len;
	}
	bytes_take(&d->rx, at);
}

static void port_write(struct labd *d)
{
	size_t at = 0;

	while (at < d->tx.len) {
		size_t n = d->tx.len - at;
		ssize_t r = write(d->portfd, d->tx.data + at, n > 32768 ? 32768 : n);

		if (r <= 0)
			break;
		at += (size_t)r;
	}
	bytes_take(&d->tx, at);
}

static void stdin_write(struct labd *d, struct chan *c)
{
	if (c->in.len) {
		ssize_t n = write(c->infd, c->in.data, c->in.len);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) { /* nobody reads: swallow the rest, as a closed pipe's writer would stop
			      */
			send_credit(d, c->id, 0, c->in.len);
			bytes_free(&c->in);
			close_fd(&c->infd);
			return;
		}
		send_credit(d, c->id, 0, (size_t)n);
		bytes_take(&c->in, (size_t)n);
	}
	if (c->in.len == 0 && c->in_eof)
		close_fd(&c->infd);
}

static void stream_read(struct labd *d, struct chan *c, int s)
{
	static const enum labd_type types[STREAMS] = { LABD_STDOUT, LABD_STDERR, LABD_TTYOUT };
	struct stream *st = &c->out[s];
	char buf[LABD_PAYLOAD_MAX];
	size_t want = sizeof(buf);
	ssize_t n;

	if (c->state == CHAN_SINK)
		st->credit = LABD_WINDOW;
	if (want > st->credit)
		want = st->credit;
	if (st->left >= 0 && c->state == CHAN_EXITED && want > (size_t)st->left)
		want = (size_t)st->left;
	n = read(st->fd, buf, want);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close_fd(&st->fd);
		return;
	}
	if (st->left >= 0)
		st->left -= (int)n;
	if (c->state == CHAN_SINK)
		return;
	st->credit -= (uint32_t)n;
	if (s == 2)
		c->deadline_ms = c->abandoned ? c->deadline_ms : now_ms() + TTY_QUIET_MS;
	if (!c->abandoned)
		send_frame(d, c->id, types[s], buf, (size_t)n);
}

static void reap(struct labd *d)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(d->sigfd, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (size_t i = 0; i < CHANS_MAX; i++) {
			struct chan *c = d->chans[i];

			if (!c || c->pid != pid || c->state != CHAN_RUN)
				continue;
			c->state = CHAN_EXITED;
			c->status =
				WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
			close_fd(&c->infd);
			if (c->abandoned)
				cgroup_kill(c);
			for (int s = 0; s < 2; s++)
				if (c->out[s].fd >= 0 &&
					ioctl(c->out[s].fd, FIONREAD, &c->out[s].left) < 0)
					c->out[s].left = 0;
			c->deadline_ms = now_ms() + TTY_QUIET_MS;
		}
	}
}

/*
 * An ended command whose output has all been sent: tell the host, keep only what still has writers.
 */
static void chan_settle(struct labd *d, struct chan *c)
{
	uint32_t status = htole32((uint32_t)c->status);

	for (int s = 0; s < 2; s++)
		if (c->out[s].fd >= 0 && c->out[s].left > 0)
			return;
	if (c->out[2].fd >= 0 && now_ms() < c->deadline_ms)
		return;
	close_fd(&c->out[2].fd);
	if (!c->abandoned)
		send_frame(d, c->id, LABD_EXIT, &status, sizeof(status));
	c->state = CHAN_SINK;
}

/* Deadlines and ends; returns the poll timeout this channel asks for, or -1. */
static int chan_tick(struct labd *d, struct chan *c)
{
	int64_t left;

	if (c->state == CHAN_EXITED)
		chan_settle(d, c);
	if (c->state == CHAN_SINK && c->out[0].fd < 0 && c->out[1].fd < 0) {
		chan_destroy(d, c);
		return -1;
	}
	if (c->state == CHAN_SINK || (c->state == CHAN_RUN && !c->abandoned) ||
		c->state == CHAN_PREP)
		return -1;
	left = c->deadline_ms - now_ms();
	if (c->state == CHAN_RUN && left <= 0) {
		cgroup_kill(c);
		left = ABANDON_GRACE_MS;
	}
	return left > 0 ? (int)left : 1;
}

/* What a poll slot stands for: a channel, and one of its streams or (-1) its standard input. */
struct slot {
	struct chan *c;
	int s;
};

static size_t poll_fill(struct labd *d, struct pollfd *p, struct slot *slot)
{
	size_t n = 2;

	p[0] = (struct pollfd){ .fd = d->portfd,
		.events = (short)(POLLIN | (d->tx.len ? POLLOUT : 0)) };
	p[1] = (struct pollfd){ .fd = d->sigfd, .events = POLLIN };
	for (size_t i = 0; i < CHANS_MAX; i++) {
		struct chan *c = d->chans[i];

		if (!c || c->state == CHAN_PREP)
			continue;
		if (c->infd >= 0 && (c->in.len || c->in_eof)) {
			slot[n] = (struct slot){ c, -1 };
			p[n++] = (struct pollfd){ .fd = c->infd, .events = POLLOUT };
		}
		for (int s = 0; s < STREAMS; s++) {
			struct stream *st = &c->out[s];

			if (st->fd < 0 || st->credit == 0 || d->tx.len > TX_PAUSE)
				continue;
			if (c->state == CHAN_EXITED && st->left == 0)
				continue;
			slot[n] = (struct slot){ c, s };
			p[n++] = (struct pollfd){ .fd = st->fd, .events = POLLIN };
		}
	}
	return n;
}

static void loop_once(struct labd *d)
{
	static struct pollfd p[2 + CHANS_MAX * (STREAMS + 1)];
	static struct slot slot[2 + CHANS_MAX * (STREAMS + 1)];
	int timeout = -1;
	size_t n;

	for (size_t i = 0; i < CHANS_MAX; i++) {
		int t = d->chans[i] ? chan_tick(d, d->chans[i]) : -1;

		if (t >= 0 && (timeout < 0 || t < timeout))
			timeout = t;
	}
	port_write(d);
	n = poll_fill(d, p, slot);
	if (poll(p, n, timeout) < 0)
		return;
	for (size_t i = 2; i < n; i++) {
		if (!p[i].revents)
			continue;
		if (slot[i].s < 0)
			stdin_write(d, slot[i].c);
		else
			stream_read(d, slot[i].c, slot[i].s);
	}
	if (p[1].revents)
		reap(d);
	if (p[0].revents & POLLHUP)
		reboot(RB_AUTOBOOT);
	if (p[0].revents & POLLIN)
		port_read(d);
}

/* The port appears a moment after its driver is loaded; it is found by name, as its number may
 * vary. */
static int open_port(void)
{
	char path[PATH_MAX], name[64];

	for (int tries = 0; tries < 500; tries++) {
		DIR *dir = opendir("/sys/class/virtio-ports");
		struct dirent *e;

		while (dir && (e = readdir(dir))) {
			FILE *f;

			snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", e->d_name);
			f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
			name[0] = '\0';
			if (f && !fgets(name, sizeof(name), f))
				name[0] = '\0';
			if (f)
				fclose(f);
			if (strcmp(name, LABD_PORT_NAME "\n") != 0)
				continue;
			snprintf(path, sizeof(path), "/dev/%s", e->d_name);
			closedir(dir);
			return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		}
		if (dir)
			closedir(dir);
		poll(NULL, 0, 10);
	}
	return -1;
}

int main(void)
{
	struct labd d = { .portfd = -1 };
	uint32_t version = htole32(LABD_VERSION);
	sigset_t set;

	if (getpid() != 1) {
		fprintf(stderr, "labd is the lab's init; it is started by volt-lab\n");
		return 125;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	boot_system();
	boot_write_file("/proc/sys/vm/drop_caches", "4"); /* no kernel message about each use */
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	d.sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	mkdir(CGROUP_ROOT, 0755);
	d.portfd = open_port();
	if (d.portfd < 0 || d.sigfd < 0)
		boot_die("cannot open the control port: %m");
	send_frame(&d, 0, LABD_HELLO, &version, sizeof(version));
	for (;;)
		loop_once(&d);
}
