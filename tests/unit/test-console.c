/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console over pipes, files, sockets and terminals. The test is both ends: it writes the port
 * as a guest would and holds the other end of each descriptor.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "console.h"
#include "log.h"
#include "loop.h"
#include "port.h"
#include "serial.h"

#define DATA 0
#define FCR  2
#define LSR  5

struct fixture {
	struct loop loop;
	struct loop_src stop; /* always ready: ends loop_run() after one turn */
	int stopfd;
	struct serial *serial;
	struct console *console;
	enum console_escape escapes[8];
	unsigned n_escapes;
};

static void on_stop(struct loop_src *src, uint32_t events)
{
	(void)events;
	loop_quit(&container_of(src, struct fixture, stop)->loop);
}

static void on_escape(void *owner, enum console_escape what)
{
	struct fixture *f = owner;

	if (f->n_escapes < 8)
		f->escapes[f->n_escapes++] = what;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_init(&(struct log_config){ .fd = -1 });
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(loop_init(&f->loop, NULL), 0);
	f->stopfd = eventfd(1, EFD_CLOEXEC);
	f->stop = (struct loop_src){ .fn = on_stop, .name = "stop", .fd = -1 };
	assert_int_equal(loop_add(&f->loop, &f->stop, f->stopfd, EPOLLIN), 0);
	assert_int_equal(serial_create(NULL, true, &f->serial, NULL), 0);
	port_out(&f->serial->dev, FCR, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	console_destroy(f->console);
	serial_destroy(f->serial);
	loop_done(&f->loop);
	close(f->stopfd);
	free(f);
	return 0;
}

static void create(struct fixture *f, const struct console_params *p)
{
	assert_int_equal(console_create(&f->loop, &f->serial->port, p, &f->console, NULL), 0);
}

static void start(struct fixture *f, int infd, int outfd)
{
	const struct console_params p = {
		.infd = infd, .outfd = outfd, .on_escape = on_escape, .owner = f
	};

	create(f, &p);
}

static void turn(struct fixture *f)
{
	f->loop.quit = false;
	assert_int_equal(loop_run(&f->loop), 0);
}

static void turns(struct fixture *f, int n)
{
	while (n-- > 0)
		turn(f);
}

static void guest_writes(struct fixture *f, const char *text)
{
	for (; *text; text++)
		port_out(&f->serial->dev, DATA, *text);
}

/* What the guest finds in its FIFO, as a string. */
static const char *guest_reads(struct fixture *f)
{
	static char text[64];
	size_t n = 0;

	while ((port_in(&f->serial->dev, LSR) & 1) && n < sizeof(text) - 1)
		text[n++] = port_in(&f->serial->dev, DATA);
	text[n] = 0;
	return text;
}

static const struct console_stats *stats(struct fixture *f)
{
	return console_stats(f->console);
}

/* Reads exactly n bytes from fd, waiting at most a second for each piece. */
static void host_reads(int fd, void *buf, size_t n)
{
	for (size_t at = 0; at < n;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t r;

		assert_int_equal(poll(&p, 1, 1000), 1);
		r = read(fd, (char *)buf + at, n - at);
		assert_true(r > 0);
		at += r;
	}
}

static void assert_host_reads(int fd, const char *text)
{
	char buf[256] = "";

	host_reads(fd, buf, strlen(text));
	assert_string_equal(buf, text);
}

static void close_both(int a, int b)
{
	close(a);
	close(b);
}

static void output_goes_to_a_pipe(void **state)
{
	struct fixture *f = *state;
	int out[2];

	assert_int_equal(pipe(out), 0);
	start(f, -1, out[1]);
	assert_int_equal(fcntl(out[1], F_GETFL) & O_NONBLOCK, 0); /* the caller's flags stay */
	guest_writes(f, "hello\n");
	turn(f);
	assert_host_reads(out[0], "hello\n");
	assert_int_equal(stats(f)->out_bytes, 6);
	close_both(out[0], out[1]);
}

static void a_stuck_reader_never_holds_the_guest_up(void **state)
{
	struct fixture *f = *state;
	size_t total = 300000, got = 0, lost;
	uint8_t buf[4096], last = 0;
	int out[2];

	assert_int_equal(pipe(out), 0);
	start(f, -1, out[1]);
	for (size_t i = 0; i < total; i++) {
		port_out(&f->serial->dev, DATA, i % 251);
		assert_int_equal(port_in(&f->serial->dev, LSR) & 0x60, 0x60);
		if (i % 1000 == 0)
			turn(f);
	}
	lost = f->serial->out.dropped;
	assert_true(lost > 0 && lost < total);
	/* The reader wakes up: everything that was not dropped arrives, in order. */
	while (got < total - lost) {
		host_reads(out[0], buf, 1);
		if (got > 0)
			assert_int_equal(buf[0], (last + 1) % 251);
		last = buf[0];
		got++;
		turn(f);
	}
	assert_int_equal(stats(f)->out_bytes, got);
	guest_writes(f, "!");
	turn(f);
	assert_host_reads(out[0], "!");
	close_both(out[0], out[1]);
}

static void a_reader_that_leaves_ends_the_output_only(void **state)
{
	struct fixture *f = *state;
	int in[2], out[2];

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	start(f, in[0], out[1]);
	close(out[0]);
	guest_writes(f, "lost");
	turns(f, 2);
	assert_int_equal(stats(f)->out_failures, 1);
	assert_int_equal(stats(f)->out_dropped, 4);
	assert_false(f->serial->out.connected);
	guest_writes(f, "more");
	turns(f, 2);
	assert_int_equal(stats(f)->out_failures, 1);
	assert_int_equal(write(in[1], "in", 2), 2);
	turn(f);
	assert_string_equal(guest_reads(f), "in");
	close_both(in[0], in[1]);
	close(out[1]);
}

static void a_socket_works_and_keeps_its_flags(void **state)
{
	struct fixture *f = *state;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	start(f, sv[0], sv[0]);
	assert_int_equal(fcntl(sv[0], F_GETFL) & O_NONBLOCK, 0);
	guest_writes(f, "out");
	assert_int_equal(write(sv[1], "in", 2), 2);
	turns(f, 2);
	assert_host_reads(sv[1], "out");
	assert_string_equal(guest_reads(f), "in");
	for (int i = 0; i < 400000; i++) { /* full: no block */
		port_out(&f->serial->dev, DATA, 'x');
		if (i % 1000 == 0)
			turn(f);
	}
	assert_true(f->serial->out.dropped > 0);
	close(sv[1]);
	turns(f, 3);
	assert_false(f->serial->out.connected);
	close(sv[0]);
}

static void output_beyond_the_limit_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct console_params p = { .infd = -1, .limit = { 10, 3600000, 5 } };
	int out[2];

	assert_int_equal(pipe(out), 0);
	p.outfd = out[1];
	create(f, &p);
	guest_writes(f, "0123456789");
	turn(f);
	guest_writes(f, "abcdefghij");
	turns(f, 2);
	guest_writes(f, "more");
	turns(f, 2);
	assert_host_reads(out[0], "0123456789abcde"); /* bucket and burst */
	assert_int_equal(stats(f)->out_bytes, 15);
	assert_int_equal(stats(f)->out_limited, 9);
	assert_int_equal(stats(f)->out_dropped, 0);
	close_both(out[0], out[1]);
}

static void held_input_waits_where_it_is(void **state)
{
	struct fixture *f = *state;
	int in[2], out[2];

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	start(f, in[0], out[1]);
	console_hold(f->console, true);
	assert_int_equal(write(in[1], "in", 2), 2);
	guest_writes(f, "out");
	turns(f, 3);
	assert_string_equal(guest_reads(f), "");
	assert_int_equal(stats(f)->in_bytes, 0);
	assert_host_reads(out[0], "out");
	console_hold(f->console, false);
	turns(f, 2);
	assert_string_equal(guest_reads(f), "in");
	close_both(in[0], in[1]);
	close_both(out[0], out[1]);
}

static void a_file_is_appended_at_its_offset(void **state)
{
	struct fixture *f = *state;
	FILE *tmp = tmpfile();
	char buf[32] = "";

	assert_int_equal(write(fileno(tmp), "before ", 7), 7);
	start(f, -1, fileno(tmp));
	guest_writes(f, "guest ");
	turn(f);
	assert_int_equal(write(fileno(tmp), "after", 5), 5);
	assert_int_equal(pread(fileno(tmp), buf, sizeof(buf), 0), 18);
	assert_string_equal(buf, "before guest after");
	fclose(tmp);
}

static void a_path_is_created_and_appended(void **state)
{
	struct fixture *f = *state;
	char dir[] = "/tmp/test-console.XXXXXX", path[64], buf[16] = "";
	struct console_params p = { .infd = -1, .outfd = -1, .path = path };
	struct volt_err err = { 0 };
	struct stat st;
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
	for (int i = 0; i < 2; i++) {
		create(f, &p);
		guest_writes(f, "ab");
		console_destroy(f->console); /* flushes without a turn of the loop */
		f->console = NULL;
	}
	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, buf, sizeof(buf)), 4);
	assert_string_equal(buf, "abab");
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	close(fd);
	unlink(path);
	/* A FIFO without a reader is opened, and what is in it waits for one. */
	assert_int_equal(mkfifo(path, 0600), 0);
	create(f, &p);
	guest_writes(f, "fifo");
	turn(f);
	fd = open(path, O_RDONLY | O_NONBLOCK);
	assert_host_reads(fd, "fifo");
	close(fd);
	console_destroy(f->console);
	f->console = NULL;
	unlink(path);
	rmdir(dir);
	assert_int_equal(console_create(&f->loop, &f->serial->port, &p, &f->console, &err),
		-ENOENT);
	assert_non_null(strstr(err.msg, path));
}

static void a_full_disk_loses_output_and_goes_on(void **state)
{
	struct fixture *f = *state;
	int fd = open("/dev/full", O_WRONLY);

	assert_true(fd >= 0);
	start(f, -1, fd);
	guest_writes(f, "lost");
	turns(f, 2);
	assert_int_equal(stats(f)->out_failures, 1);
	assert_int_equal(stats(f)->out_dropped, 4);
	assert_true(f->serial->out.connected);
	close(fd);
}

static void without_output_nothing_is_kept(void **state)
{
	struct fixture *f = *state;

	start(f, -1, -1);
	guest_writes(f, "gone");
	turns(f, 2);
	assert_int_equal(f->serial->out.used, 0);
	assert_int_equal(f->serial->out.bytes, 4);
}

static void a_pipe_gives_what_the_guest_takes(void **state)
{
	struct fixture *f = *state;
	char text[3000], got[3001] = "";
	int in[2];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 3 == 0 ? 0x01 : 'a' + i % 26; /* Ctrl-A means nothing in a pipe */
	assert_int_equal(pipe(in), 0);
	start(f, in[0], -1);
	assert_int_equal(write(in[1], text, sizeof(text)), sizeof(text));
	turns(f, 10);
	assert_int_equal(stats(f)->in_bytes, 256); /* no more than one piece ahead of the guest */
	for (int i = 0; i < 3000 && n < sizeof(text); i++) {
		const char *s = guest_reads(f);

		memcpy(got + n, s, strlen(s));
		n += strlen(s);
		turn(f);
	}
	assert_int_equal(n, sizeof(text));
	assert_memory_equal(got, text, sizeof(text));
	assert_int_equal(f->n_escapes, 0);
	/* End of file: the rest still arrives, then silence and no spinning. */
	assert_int_equal(write(in[1], "end", 3), 3);
	close(in[1]);
	turns(f, 5);
	assert_string_equal(guest_reads(f), "end");
	turns(f, 5);
	assert_int_equal(stats(f)->in_bytes, sizeof(text) + 3);
	close(in[0]);
}

static void a_file_is_read_to_its_end(void **state)
{
	struct fixture *f = *state;
	FILE *tmp = tmpfile();
	size_t n = 0;

	for (int i = 0; i < 600; i++)
		fputc('a' + i % 26, tmp);
	rewind(tmp);
	start(f, fileno(tmp), -1);
	for (int i = 0; i < 100; i++) {
		for (const char *s = guest_reads(f); *s; s++)
			assert_int_equal(*s, 'a' + n++ % 26);
		turn(f);
	}
	assert_int_equal(n, 600);
	fclose(tmp);
	console_destroy(f->console);
	f->console = NULL;
	int fd = open("/dev/null", O_RDWR);
	start(f, fd, fd);
	turns(f, 2);
	close(fd);
}

/* Types text on the master side and runs the loop until the console has read it. */
static void type_keys(struct fixture *f, int masterfd, const char *keys, size_t len)
{
	uint64_t want = stats(f)->in_bytes + len;

	assert_int_equal(write(masterfd, keys, len), len);
	for (int i = 0; i < 2000 && stats(f)->in_bytes < want; i++) {
		poll(NULL, 0, 1); /* the pty passes bytes on by a kernel thread */
		turn(f);
	}
	assert_int_equal(stats(f)->in_bytes, want);
}

static void a_terminal_is_raw_and_restored(void **state)
{
	struct fixture *f = *state;
	struct termios before, now;
	int masterfd, slavefd;

	assert_int_equal(openpty(&masterfd, &slavefd, NULL, NULL, NULL), 0);
	assert_int_equal(tcgetattr(slavefd, &before), 0);
	start(f, slavefd, slavefd);
	assert_int_equal(fcntl(slavefd, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(tcgetattr(slavefd, &now), 0);
	assert_int_equal(now.c_lflag & (ICANON | ECHO | ISIG), 0);
	assert_int_equal(now.c_oflag, before.c_oflag);
	type_keys(f, masterfd, "\x03\r", 2); /* Ctrl-C goes to the guest */
	assert_string_equal(guest_reads(f), "\x03\r");
	guest_writes(f, "hi\n");
	turn(f);
	assert_host_reads(masterfd, "hi\r\n");
	console_restore();
	assert_int_equal(tcgetattr(slavefd, &now), 0);
	assert_int_equal(now.c_lflag, before.c_lflag);
	assert_int_equal(now.c_iflag, before.c_iflag);
	console_refresh(f->console); /* as after SIGCONT */
	assert_int_equal(tcgetattr(slavefd, &now), 0);
	assert_int_equal(now.c_lflag & ICANON, 0);
	console_destroy(f->console);
	f->console = NULL;
	assert_int_equal(tcgetattr(slavefd, &now), 0);
	assert_int_equal(now.c_lflag, before.c_lflag);
	console_restore(); /* nothing left to restore: harmless */
	close_both(masterfd, slavefd);
}

static void escapes_work_while_the_guest_hangs(void **state)
{
	struct fixture *f = *state;
	char flood[200];
	int masterfd, slavefd;

	assert_int_equal(openpty(&masterfd, &slavefd, NULL, NULL, NULL), 0);
	start(f, slavefd, slavefd);
	type_keys(f, masterfd, "a\x01\x01z\x01qb", 7);
	assert_string_equal(guest_reads(f), "a\x01z\x01qb");
	memset(flood, 'f', sizeof(flood));
	for (int i = 0; i < 10; i++)
		type_keys(f, masterfd, flood, sizeof(flood));
	assert_true(stats(f)->in_dropped > 0);
	type_keys(f, masterfd, "\x01p", 2);
	type_keys(f, masterfd, "\x01", 1); /* the two keys may come apart */
	type_keys(f, masterfd, "x", 1);
	assert_int_equal(f->n_escapes, 2);
	assert_int_equal(f->escapes[0], CONSOLE_POWER_BUTTON);
	assert_int_equal(f->escapes[1], CONSOLE_STOP);
	type_keys(f, masterfd, "\x01h", 2);
	turn(f);
	assert_host_reads(masterfd, "\r\r\nCtrl-A x  stop");
	close_both(masterfd, slavefd);
}

static void a_terminal_that_hangs_up_ends_input_and_output(void **state)
{
	struct fixture *f = *state;
	int masterfd, slavefd;

	assert_int_equal(openpty(&masterfd, &slavefd, NULL, NULL, NULL), 0);
	start(f, slavefd, slavefd);
	close(masterfd);
	turns(f, 3);
	guest_writes(f, "lost");
	turns(f, 3);
	assert_int_equal(stats(f)->out_failures, 1);
	assert_int_equal(stats(f)->in_bytes, 0);
	close(slavefd);
}

/* Opening the master of a pty again would make another pty. */
static void a_pty_master_is_used_as_it_is(void **state)
{
	struct fixture *f = *state;
	struct termios raw = { .c_cflag = CS8 | CREAD };
	int masterfd, slavefd;

	cfmakeraw(&raw); /* a cooked line throws away what does not fit instead of being full */
	assert_int_equal(openpty(&masterfd, &slavefd, NULL, &raw, NULL), 0);
	start(f, -1, masterfd);
	guest_writes(f, "out\n");
	turn(f);
	assert_host_reads(slavefd, "out\n");
	for (int i = 0; i < 300000; i++) { /* nobody reads */
		port_out(&f->serial->dev, DATA, 'x');
		if (i % 1000 == 0)
			turn(f);
	}
	assert_true(f->serial->out.dropped > 0);
	/* Full, and the other side leaves: the kernel lets a write wait for ever there. */
	close(slavefd);
	for (int i = 0; i < 200000 && f->serial->out.connected; i++) {
		port_out(&f->serial->dev, DATA, 'x');
		if (i % 1000 == 0)
			turn(f);
	}
	assert_false(f->serial->out.connected);
	close(masterfd);
}

/*
 * A job in the background of its terminal: not stopped, terminal untouched, nothing read; when it
 * comes to the foreground it takes over. Runs in a child; exits with the number of the failed step.
 */
static int background_job(struct fixture *f, int slavefd, int tellfd, int hearfd)
{
	struct termios before, now;
	char c;

	signal(SIGTTIN, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	tcgetattr(slavefd, &before);
	start(f, slavefd, slavefd);
	tcgetattr(slavefd, &now);
	if (now.c_lflag != before.c_lflag)
		return 1;
	turns(f, 5);
	console_restore();
	if (write(tellfd, "r", 1) != 1 || read(hearfd, &c, 1) != 1) /* now in the foreground */
		return 2;
	console_refresh(f->console);
	tcgetattr(slavefd, &now);
	if (now.c_lflag & ICANON)
		return 3;
	for (int i = 0; i < 2000 && stats(f)->in_bytes == 0; i++) {
		poll(NULL, 0, 1);
		turn(f);
	}
	if (strcmp(guest_reads(f), "k\n") != 0)
		return 4;
	if (write(tellfd, "b", 1) != 1 || read(hearfd, &c, 1) != 1) /* in the background again */
		return 5;
	turns(f, 5);
	console_refresh(f->console);
	console_destroy(f->console);
	tcgetattr(slavefd, &now); /* not ours any more: left as it is */
	return now.c_lflag & ICANON ? 6 : 0;
}

/* The session leader: a shell of sorts. */
static int shell(struct fixture *f, int masterfd, int slavefd)
{
	int tell[2], hear[2], status = 0;
	pid_t job;
	char c;

	setsid();
	signal(SIGTTOU, SIG_IGN);
	if (ioctl(slavefd, TIOCSCTTY, 0) < 0 || pipe(tell) < 0 || pipe(hear) < 0)
		return 50;
	if (write(masterfd, "k\n", 2) != 2)
		return 51;
	job = fork();
	if (job == 0) {
		setpgid(0, 0);
		_exit(background_job(f, slavefd, tell[1], hear[0]));
	}
	setpgid(job, job);
	if (read(tell[0], &c, 1) != 1 || tcsetpgrp(slavefd, job) < 0 || write(hear[1], "f", 1) != 1)
		return 52;
	if (read(tell[0], &c, 1) != 1 || tcsetpgrp(slavefd, getpid()) < 0 ||
		write(hear[1], "b", 1) != 1)
		return 53;
	waitpid(job, &status, WUNTRACED);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 54;
}

static void a_background_job_leaves_the_terminal_alone(void **state)
{
	struct fixture *f = *state;
	int masterfd, slavefd, status;
	pid_t pid;

	assert_int_equal(openpty(&masterfd, &slavefd, NULL, NULL, NULL), 0);
	pid = fork();
	if (pid == 0) {
		alarm(10);
		_exit(shell(f, masterfd, slavefd));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close_both(masterfd, slavefd);
}

static void flushing_is_bounded(void **state)
{
	struct fixture *f = *state;
	int out[2], room;
	uint64_t t0;
	char got[1000];

	assert_int_equal(pipe(out), 0);
	start(f, -1, out[1]);
	room = fcntl(out[1], F_GETPIPE_SZ);
	for (int i = 0; i < 1000; i++)
		port_out(&f->serial->dev, DATA, 'x');
	console_flush(f->console, 0);
	host_reads(out[0], got, 1000);
	for (int i = 0; i < room + 30000; i++) {
		port_out(&f->serial->dev, DATA, 'x');
		if (i % 1000 == 0)
			turn(f);
	}
	t0 = loop_now_ns();
	console_flush(f->console, 50);
	assert_in_range((loop_now_ns() - t0) / 1000000, 45, 900);
	for (int n = 0; n < room + 30000; n += 1000) {
		console_flush(f->console, 0);
		host_reads(out[0], got, MIN(1000, room + 30000 - n));
	}
	assert_int_equal(f->serial->out.dropped, 0);
	close_both(out[0], out[1]);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(output_goes_to_a_pipe),
		TEST(a_stuck_reader_never_holds_the_guest_up),
		TEST(a_reader_that_leaves_ends_the_output_only),
		TEST(a_socket_works_and_keeps_its_flags),
		TEST(output_beyond_the_limit_is_dropped),
		TEST(held_input_waits_where_it_is),
		TEST(a_file_is_appended_at_its_offset),
		TEST(a_path_is_created_and_appended),
		TEST(a_full_disk_loses_output_and_goes_on),
		TEST(without_output_nothing_is_kept),
		TEST(a_pipe_gives_what_the_guest_takes),
		TEST(a_file_is_read_to_its_end),
		TEST(a_terminal_is_raw_and_restored),
		TEST(escapes_work_while_the_guest_hangs),
		TEST(a_terminal_that_hangs_up_ends_input_and_output),
		TEST(a_pty_master_is_used_as_it_is),
		TEST(a_background_job_leaves_the_terminal_alone),
		TEST(flushing_is_bounded),
	};

	return cmocka_run_group_tests_name("console", tests, NULL, NULL);
}
