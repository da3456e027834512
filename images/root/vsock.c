// SPDX-License-Identifier: Apache-2.0
/*
 * volt-vsock: the guest's end of vsock tests and measurements; builds and runs on a host, too.
 *
 *	volt-vsock listen PORT echo|sink|hold|source BYTES
 *	volt-vsock connect CID PORT check|send N BYTES		N connections at once
 *	volt-vsock connect CID PORT receive|hold N
 *
 * echo sends back what it reads; sink reads; hold neither reads nor writes and waits for the end;
 * source and send write BYTES of the pattern and then read to the end; receive compares what it
 * reads with the pattern; check sends it to an echo and compares. Byte i of connection k's pattern
 * is f((i + 4099 k) mod 65521), f(j) = ((j * 2654435761) mod 2^32) / 2^13 mod 256; k counts from 0,
 * and is 0 for source and receive. connect ends with a line "MODE: N good, N bad, N bytes out, N
 * bytes in, N ms" and status 0 if none was bad; listen never ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define PERIOD	  65521u
#define STEP	  4099u
#define CHUNK	  65520u /* less than the period, so that one memcmp() is enough */
#define PEERS_MAX 1024

enum mode { ECHO, SINK, HOLD, SOURCE, CHECK, SEND, RECEIVE };

static const char *const names[] = { "echo", "sink", "hold", "source", "check", "send", "receive" };

struct peer {
	int fd;
	enum mode mode;
	bool shut, bad;
	int error;
	unsigned seed;
	uint64_t to_send, sent, got;
	size_t kept, kept_at; /* echo: what is still to be sent back */
	uint8_t *buf;
};

static uint8_t pattern[2 * PERIOD];
static uint8_t scratch[CHUNK];
static struct peer peers[PEERS_MAX];
static struct pollfd fds[PEERS_MAX + 1];
static unsigned n_peers, good, bad;
static uint64_t bytes_out, bytes_in;

static void usage(void)
{
	fputs("usage: volt-vsock listen PORT echo|sink|hold|source BYTES\n"
	      "       volt-vsock connect CID PORT check|send N BYTES\n"
	      "       volt-vsock connect CID PORT receive|hold N\n",
		stderr);
	exit(2);
}

static void die(const char *what)
{
	fprintf(stderr, "volt-vsock: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t number(const char *s)
{
	char *end;
	uint64_t v = strtoull(s, &end, 10);

	if (*s < '0' || *s > '9' || *end)
		usage();
	return v;
}

static struct sockaddr_vm address(uint64_t cid, uint64_t port)
{
	return (struct sockaddr_vm){ .svm_family = AF_VSOCK,
		.svm_cid = (unsigned)cid,
		.svm_port = (unsigned)port };
}

static void add(int fd, enum mode mode, uint64_t bytes, unsigned seed)
{
	struct peer *p = &peers[n_peers++];

	fcntl(fd, F_SETFL, O_NONBLOCK);
	*p = (struct peer){ .fd = fd, .mode = mode, .to_send = bytes, .seed = seed };
	if (mode == ECHO) {
		p->buf = malloc(CHUNK);
		if (!p->buf)
			die("memory");
	}
}

static void drop(struct peer *p)
{
	bool wrong = p->bad || p->error || p->kept || p->sent < p->to_send ||
		(p->mode == CHECK && p->got < p->sent);

	good += !wrong;
	bad += wrong;
	if (wrong)
		fprintf(stderr, "volt-vsock: %s: failed after %llu bytes out, %llu in: %s\n",
			names[p->mode], (unsigned long long)p->sent, (unsigned long long)p->got,
			strerror(p->error));
	bytes_out += p->sent;
	bytes_in += p->got;
	close(p->fd);
	free(p->buf);
	*p = peers[--n_peers];
}

static const uint8_t *expected(const struct peer *p, uint64_t at)
{
	return pattern + (at + p->seed) % PERIOD;
}

/* The call failed; true if it only has to wait. */
static bool failed(struct peer *p)
{
	if (errno == EAGAIN)
		return true;
	p->error = p->mode == HOLD ? 0 : errno;
	return false;
}

/* All three return false when the connection is over. */
static bool write_pattern(struct peer *p)
{
	uint64_t left = p->to_send - p->sent;
	ssize_t n;

	if (left > 0) {
		n = write(p->fd, expected(p, p->sent), left < CHUNK ? left : CHUNK);
		if (n < 0)
			return failed(p);
		p->sent += (uint64_t)n;
	}
	if (p->sent == p->to_send && !p->shut) {
		p->shut = true;
		shutdown(p->fd, SHUT_WR);
	}
	return true;
}

static bool write_back(struct peer *p)
{
	ssize_t n = write(p->fd, p->buf + p->kept_at, p->kept);

	if (n < 0)
		return failed(p);
	p->kept -= (size_t)n;
	p->kept_at += (size_t)n;
	p->sent += (uint64_t)n;
	return true;
}

static bool read_some(struct peer *p)
{
	uint8_t *buf = p->buf ? p->buf : scratch;
	ssize_t n = read(p->fd, buf, CHUNK);

	if (n < 0)
		return failed(p);
	if (n == 0)
		return false;
	if (p->mode == CHECK || p->mode == RECEIVE)
		p->bad = p->bad || memcmp(buf, expected(p, p->got), (size_t)n) != 0;
	p->got += (uint64_t)n;
	if (p->buf) {
		p->kept = (size_t)n;
		p->kept_at = 0;
		return write_back(p);
	}
	return true;
}

static bool wants_to_write(const struct peer *p)
{
	return p->kept > 0 || (p->to_send > 0 && !p->shut);
}

static short wanted(const struct peer *p)
{
	if (p->mode == HOLD)
		return POLLRDHUP;
	if (p->kept > 0)
		return POLLOUT;
	return wants_to_write(p) ? POLLIN | POLLOUT : POLLIN;
}

/* False: over. */
static bool serve(struct peer *p, short events)
{
	if (p->mode == HOLD)
		return false;
	if ((events & POLLOUT) && wants_to_write(p) &&
		!(p->kept ? write_back(p) : write_pattern(p)))
		return false;
	return !(events & (POLLIN | POLLHUP | POLLERR)) || p->kept || read_some(p);
}

/* listenfd -1: none; ends when no peer is left. */
static void run(int listenfd, enum mode mode, uint64_t bytes)
{
	while (n_peers > 0 || listenfd >= 0) {
		unsigned n = n_peers;

		for (unsigned i = 0; i < n; i++)
			fds[i] = (struct pollfd){ peers[i].fd, wanted(&peers[i]), 0 };
		fds[n] = (struct pollfd){ n < PEERS_MAX ? listenfd : -1, POLLIN, 0 };
		if (poll(fds, n + 1, -1) < 0)
			die("poll");
		for (unsigned i = n; i-- > 0;) /* downwards: drop() fills the hole from the end */
			if (fds[i].revents && !serve(&peers[i], fds[i].revents))
				drop(&peers[i]);
		if (fds[n].revents) {
			int fd = accept(listenfd, NULL, NULL);

			if (fd >= 0)
				add(fd, mode, bytes, 0);
		}
	}
}

static int listen_on(uint64_t port, enum mode mode, uint64_t bytes)
{
	struct sockaddr_vm a = address(VMADDR_CID_ANY, port);
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 256) < 0)
		die("listen");
	fcntl(fd, F_SETFL, O_NONBLOCK);
	printf("volt-vsock: listening on %llu\n", (unsigned long long)port);
	fflush(stdout);
	run(fd, mode, bytes);
	return 0;
}

static int connect_to(uint64_t cid, uint64_t port, enum mode mode, uint64_t n, uint64_t bytes)
{
	struct sockaddr_vm a = address(cid, port);
	uint64_t start;

	if (n == 0 || n > PEERS_MAX)
		usage();
	for (unsigned i = 0; i < n; i++) {
		int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

		if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
			die("connect");
		add(fd, mode, bytes, mode == CHECK || mode == SEND ? i * STEP : 0);
	}
	printf("volt-vsock: %llu connected\n", (unsigned long long)n);
	fflush(stdout);
	start = now_ms();
	run(-1, mode, bytes);
	printf("%s: %u good, %u bad, %llu bytes out, %llu bytes in, %llu ms\n", names[mode], good,
		bad, (unsigned long long)bytes_out, (unsigned long long)bytes_in,
		(unsigned long long)(now_ms() - start));
	return bad ? 1 : 0;
}

static enum mode mode_of(const char *name)
{
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return (enum mode)i;
	usage();
	return ECHO;
}

int main(int argc, char **argv)
{
	enum mode mode;
	bool counted;

	signal(SIGPIPE, SIG_IGN);
	for (uint32_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)((i % PERIOD) * 2654435761u >> 13);
	if (argc >= 4 && strcmp(argv[1], "listen") == 0) {
		mode = mode_of(argv[3]);
		if (mode > SOURCE || argc != (mode == SOURCE ? 5 : 4))
			usage();
		return listen_on(number(argv[2]), mode, mode == SOURCE ? number(argv[4]) : 0);
	}
	if (argc < 6 || strcmp(argv[1], "connect") != 0)
		usage();
	mode = mode_of(argv[4]);
	counted = mode == CHECK || mode == SEND;
	if ((!counted && mode != RECEIVE && mode != HOLD) || argc != (counted ? 7 : 6))
		usage();
	return connect_to(number(argv[2]), number(argv[3]), mode, number(argv[5]),
		counted ? number(argv[6]) : 0);
}
