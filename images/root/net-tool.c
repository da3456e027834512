// SPDX-License-Identifier: Apache-2.0
/*
 * Traffic for tests and benchmarks of networks and vsock, the same program in the guest and on the
 * host: `net-tool` without arguments says what it can do. Both ends of a transfer compute a
 * checksum of their own over data that only the sender can know beforehand; the client compares
 * them. Both are cheap, because the guest may run under emulation: a multiplication or two a word.
 *
 * A transfer begins with struct request from the client; to a PUT the server answers with a word of
 * its own before any data, because the passt of Debian 12 resets connections of the guest's whose
 * server says nothing (see tests/README.md). Both ends have the same byte order.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define MAGIC	  0x314c544e /* NTL1 */
#define BUF_BYTES 65536
#define STALL_S	  60 /* without a byte moving: given up */
#define BATCH	  32 /* datagrams a call */
#define RR_MAX	  100000

enum op { OP_PUT = 1, OP_GET, OP_ECHO };

struct request {
	uint32_t magic, op;
	uint64_t bytes, seed; /* ECHO: bytes of each message */
};

struct result {
	uint64_t bytes, sum;
};

static uint64_t buf[BUF_BYTES / 8];

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "net-tool: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t v = strtoull(text, &end, 0);

	if (*text == '\0' || *end != '\0') {
		fprintf(stderr, "net-tool: '%s' is not a number\n", text);
		exit(2);
	}
	return v;
}

/* ---- addresses: HOST:PORT, vsock:CID:PORT, unix:PATH, unix:PATH:PORT (Firecracker's) ---- */

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_vm vm;
	struct sockaddr_un un;
};

/* Returns the length; *ret_port is the port behind a Unix socket's path, or 0. */
static socklen_t parse(char *text, union address *a, unsigned *ret_port)
{
	char *colon;

	memset(a, 0, sizeof(*a));
	*ret_port = 0;
	if (strncmp(text, "vsock:", 6) == 0 && (colon = strchr(text + 6, ':'))) {
		*colon = '\0';
		a->vm.svm_family = AF_VSOCK;
		a->vm.svm_cid = (unsigned)number(text + 6);
		a->vm.svm_port = (unsigned)number(colon + 1);
		return sizeof(a->vm);
	}
	if (strncmp(text, "unix:", 5) == 0) {
		colon = strrchr(text + 5, ':');
		if (colon) {
			*colon = '\0';
			*ret_port = (unsigned)number(colon + 1);
		}
		a->un.sun_family = AF_UNIX;
		if (strlen(text + 5) >= sizeof(a->un.sun_path)) {
			errno = ENAMETOOLONG;
			die(text);
		}
		memcpy(a->un.sun_path, text + 5, strlen(text + 5));
		return sizeof(a->un);
	}
	colon = strrchr(text, ':');
	if (colon) {
		struct addrinfo hints = { .ai_family = AF_INET, .ai_flags = AI_NUMERICHOST };
		struct addrinfo *found;

		*colon = '\0';
		if (getaddrinfo(text, NULL, &hints, &found) == 0) {
			memcpy(&a->in, found->ai_addr, sizeof(a->in));
			a->in.sin_port = htons((uint16_t)number(colon + 1));
			freeaddrinfo(found);
			return sizeof(a->in);
		}
	}
	fprintf(stderr, "net-tool: '%s' is not an address\n", text);
	exit(2);
}

static void tune(int fd, int family)
{
	struct timeval stall = { .tv_sec = STALL_S };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof(stall));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof(stall));
	if (family == AF_INET)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
}

/* "CONNECT PORT\n", and the answer up to its newline, byte by byte: data follows it. */
static void hybrid(int fd, unsigned port)
{
	char line[64] = "";
	int n = snprintf(line, sizeof(line), "CONNECT %u\n", port);

	if (write(fd, line, (size_t)n) != n)
		die("CONNECT");
	for (size_t at = 0; at < sizeof(line) - 1; at++) {
		if (read(fd, line + at, 1) != 1)
			die("no answer to CONNECT");
		if (line[at] == '\n')
			break;
	}
	if (strncmp(line, "OK ", 3) != 0) {
		errno = EPROTO;
		die("answer to CONNECT");
	}
}

static int dial(char *text)
{
	union address a;
	unsigned port;
	socklen_t len = parse(text, &a, &port);
	int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, &a.any, len) < 0)
		die("connect");
	tune(fd, a.any.sa_family);
	if (port)
		hybrid(fd, port);
	return fd;
}

/* ---- transfers ---- */

static bool send_all(int fd, const void *p, size_t n)
{
	while (n > 0) {
		ssize_t r = send(fd, p, n, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		p = (const char *)p + r;
		n -= (size_t)r;
	}
	return true;
}

/* Less than n only at the end of the stream; -1 on an error. */
static ssize_t recv_all(int fd, void *p, size_t n)
{
	size_t got = 0;

	while (got < n) {
		ssize_t r = recv(fd, (char *)p + got, n - got, 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		if (r == 0)
			break;
		got += (size_t)r;
	}
	return (ssize_t)got;
}

static uint64_t mix(uint64_t sum, uint64_t word)
{
	sum ^= word;
	return (sum << 29 | sum >> 35) * UINT64_C(0x9e3779b97f4a7c15);
}

static bool send_data(int fd, const struct request *r, struct result *ret)
{
	uint64_t word = r->seed;

	*ret = (struct result){ 0, 0 };
	while (ret->bytes < r->bytes) {
		size_t n = r->bytes - ret->bytes < BUF_BYTES ? r->bytes - ret->bytes : BUF_BYTES;

		for (size_t i = 0; i < n / 8; i++) {
			word = word * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			buf[i] = word;
			ret->sum = mix(ret->sum, word);
		}
		if (!send_all(fd, buf, n))
			return false;
		ret->bytes += n;
	}
	return true;
}

static bool recv_data(int fd, uint64_t bytes, struct result *ret)
{
	*ret = (struct result){ 0, 0 };
	while (ret->bytes < bytes) {
		size_t n = bytes - ret->bytes < BUF_BYTES ? bytes - ret->bytes : BUF_BYTES;

		if (recv_all(fd, buf, n) != (ssize_t)n)
			return false;
		for (size_t i = 0; i < n / 8; i++)
			ret->sum = mix(ret->sum, buf[i]);
		ret->bytes += n;
	}
	return true;
}

static int transfer(char *address, enum op op, uint64_t bytes)
{
	struct request r = { MAGIC, op, bytes & ~UINT64_C(7), now_ns() | 1 };
	struct result mine, theirs;
	uint64_t start, took;
	uint32_t ready = 0;
	int fd = dial(address);

	start = now_ns();
	if (!send_all(fd, &r, sizeof(r)))
		die("send");
	if (op == OP_PUT &&
		(recv_all(fd, &ready, sizeof(ready)) != sizeof(ready) || ready != MAGIC))
		die("receive the other side's readiness");
	if (!(op == OP_PUT ? send_data(fd, &r, &mine) : recv_data(fd, r.bytes, &mine)))
		die(op == OP_PUT ? "send" : "receive");
	if (recv_all(fd, &theirs, sizeof(theirs)) != sizeof(theirs))
		die("receive the other side's checksum");
	took = now_ns() - start;
	close(fd);
	printf("%s %llu bytes sum %016llx theirs %llu %016llx in %llu us\n",
		op == OP_PUT ? "put" : "get", (unsigned long long)mine.bytes,
		(unsigned long long)mine.sum, (unsigned long long)theirs.bytes,
		(unsigned long long)theirs.sum, (unsigned long long)(took / 1000));
	return mine.bytes != r.bytes || theirs.bytes != r.bytes || mine.sum != theirs.sum;
}

static bool echo(int fd, size_t n)
{
	if (n == 0 || n > BUF_BYTES)
		return false;
	while (recv_all(fd, buf, n) == (ssize_t)n)
		if (!send_all(fd, buf, n))
			return false;
	return true;
}

static bool serve_one(int fd)
{
	struct request r;
	struct result mine;

	if (recv_all(fd, &r, sizeof(r)) != sizeof(r) || r.magic != MAGIC)
		return false;
	if (r.op == OP_ECHO)
		return echo(fd, r.bytes);
	if (r.op == OP_PUT)
		return send_all(fd, &r.magic, sizeof(r.magic)) &&
		       recv_data(fd, r.bytes, &mine) && send_all(fd, &mine, sizeof(mine));
	return send_data(fd, &r, &mine) && send_all(fd, &mine, sizeof(mine));
}

static int serve(char *address)
{
	union address a;
	unsigned port;
	socklen_t len = parse(address, &a, &port);
	int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(fd, &a.any, len) < 0 || listen(fd, 256) < 0)
		die("listen");
	signal(SIGCHLD, SIG_IGN);
	puts("serving");
	fflush(stdout);
	for (;;) {
		int c = accept(fd, NULL, NULL);

		if (c < 0)
			continue;
		if (fork() == 0) {
			tune(c, a.any.sa_family);
			_exit(serve_one(c) ? 0 : 1);
		}
		close(c);
	}
}

/* ---- latency ---- */

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int ask_and_wait(char *address, size_t size, unsigned count)
{
	static uint64_t times[RR_MAX];
	struct request r = { MAGIC, OP_ECHO, size, 0 };
	int fd = dial(address);

	if (size == 0 || size > BUF_BYTES || count == 0 || count > RR_MAX)
		return 2;
	if (!send_all(fd, &r, sizeof(r)))
		die("send");
	for (unsigned i = 0; i < count; i++) {
		uint64_t start = now_ns();

		if (!send_all(fd, buf, size) || recv_all(fd, buf, size) != (ssize_t)size)
			die("request");
		times[i] = now_ns() - start;
	}
	qsort(times, count, sizeof(times[0]), by_size);
	printf("rr %u p50 %llu p99 %llu ns\n", count, (unsigned long long)times[count / 2],
		(unsigned long long)times[(uint64_t)count * 99 / 100]);
	return 0;
}

/* ---- datagrams ---- */

/* rate: datagrams a second, 0: as many as go. */
static int flood(char *address, size_t size, uint64_t rate, uint64_t ms)
{
	struct iovec iov = { buf, size };
	struct mmsghdr m[BATCH];
	union address a;
	unsigned port;
	socklen_t len = parse(address, &a, &port);
	int fd = socket(a.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t start = now_ns(), end = start + ms * 1000000, now, sent = 0;

	if (fd < 0 || size > BUF_BYTES || connect(fd, &a.any, len) < 0)
		die("flood");
	memset(m, 0, sizeof(m));
	for (unsigned i = 0; i < BATCH; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	while ((now = now_ns()) < end) {
		uint64_t due = rate ? (now - start) / 1000 * rate / 1000000 + 1 : sent + BATCH;
		int r = 0;

		if (due <= sent)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		else
			r = sendmmsg(fd, m, due - sent < BATCH ? (unsigned)(due - sent) : BATCH, 0);
		/* Nobody listens, or the queue is full: it was sent all the same, or will be. */
		if (r < 0 && errno != ECONNREFUSED && errno != ENOBUFS && errno != EINTR)
			die("flood");
		sent += r > 0 ? (uint64_t)r : 0;
	}
	printf("flood %llu datagrams in %llu us\n", (unsigned long long)sent,
		(unsigned long long)((now_ns() - start) / 1000));
	return 0;
}

/* Counts what comes until nothing has come for `quiet_ms`. */
static int drain(char *address, uint64_t quiet_ms)
{
	struct iovec iov = { buf, BUF_BYTES };
	struct mmsghdr m[BATCH];
	union address a;
	unsigned port;
	socklen_t len = parse(address, &a, &port);
	int fd = socket(a.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t first = 0, last = 0, got = 0, bytes = 0;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){ 4 << 20 }, sizeof(int));
	if (fd < 0 || bind(fd, &a.any, len) < 0)
		die("drain");
	puts("draining");
	fflush(stdout);
	memset(m, 0, sizeof(m));
	for (unsigned i = 0; i < BATCH; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	while (poll(&p, 1, got ? (int)quiet_ms : STALL_S * 1000) > 0) {
		int r = recvmmsg(fd, m, BATCH, MSG_DONTWAIT, NULL);

		if (r <= 0)
			continue;
		last = now_ns();
		first = first ? first : last;
		got += (uint64_t)r;
		for (int i = 0; i < r; i++)
			bytes += m[i].msg_len;
	}
	printf("drained %llu datagrams %llu bytes in %llu us\n", (unsigned long long)got,
		(unsigned long long)bytes, (unsigned long long)((last - first) / 1000));
	return got == 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (strcmp(verb, "serve") == 0 && argc == 3)
		return serve(argv[2]);
	if (strcmp(verb, "put") == 0 && argc == 4)
		return transfer(argv[2], OP_PUT, number(argv[3]));
	if (strcmp(verb, "get") == 0 && argc == 4)
		return transfer(argv[2], OP_GET, number(argv[3]));
	if (strcmp(verb, "rr") == 0 && argc == 5)
		return ask_and_wait(argv[2], number(argv[3]), (unsigned)number(argv[4]));
	if (strcmp(verb, "flood") == 0 && argc == 6)
		return flood(argv[2], number(argv[3]), number(argv[4]), number(argv[5]));
	if (strcmp(verb, "drain") == 0 && argc == 4)
		return drain(argv[2], number(argv[3]));
	fputs("usage: net-tool serve ADDR             transfers and echoes for the following\n"
	      "       net-tool put|get ADDR BYTES    with checksums; status 0: they are equal\n"
	      "       net-tool rr ADDR SIZE COUNT    latency of requests of SIZE bytes\n"
	      "       net-tool flood ADDR SIZE RATE MS   datagrams, RATE a second (0: no limit)\n"
	      "       net-tool drain ADDR QUIET_MS   counts datagrams until there are none\n"
	      "ADDR: HOST:PORT, vsock:CID:PORT, unix:PATH[:PORT]\n",
		stderr);
	return 2;
}
