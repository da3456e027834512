/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real passt processes, in a network namespace of the test's own: DHCP, a forwarded port, the end
 * of either side, and what is said when one does not start. The guest is the test: it makes frames.
 */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "loop.h"
#include "passt.h"

#define HDR	  NETIF_HEADER_BYTES
#define LIMIT_MS  5000
#define HOST_PORT 18080

struct frame {
	uint8_t header[HDR];
	struct ether_header eth;
	union {
		struct {
			struct iphdr ip;
			union {
				struct tcphdr tcp;
				struct udphdr udp;
			};
		};
		uint8_t bytes[2000];
	};
} PACKED __attribute__((aligned(2)));

static const uint8_t guest_mac[6] = { 2, 0, 0, 0, 0, 1 };

static struct fixture {
	struct loop loop;
	struct netif *n;
	int log[2];
	unsigned downs;
} f;

static void on_link(void *owner, bool up)
{
	(void)owner;
	assert_false(up);
	f.downs++;
}

/* A route to nowhere is enough: passt copies what the interface has. */
static int make_net(bool route)
{
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	return system(route ? "ip link set lo up && ip link add v0 type veth peer name v1 && "
			      "ip addr add 10.9.8.7/24 dev v0 && ip link set v1 up && "
			      "ip link set v0 up && ip route add default via 10.9.8.1" :
			      "ip link set lo up");
}

static int setup(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	assert_int_equal(pipe2(f.log, O_CLOEXEC | O_NONBLOCK), 0);
	log_init(&(struct log_config){ .id = "t", .fd = f.log[1], .level = LOG_INFO });
	assert_int_equal(loop_init(&f.loop, NULL), 0);
	if (geteuid() != 0)
		skip();
	assert_int_equal(make_net(true), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	netif_destroy(f.n);
	f.n = NULL;
	loop_done(&f.loop);
	log_init(&(struct log_config){ .fd = -1 });
	close(f.log[0]);
	close(f.log[1]);
	/* Neither a process nor a zombie. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	return 0;
}

static void start(const char *ports, uint16_t mtu)
{
	struct volt_err err = { 0 };

	if (passt_start(ports, mtu, &f.loop, &f.n, &err) < 0)
		fail_msg("%s", err.msg);
	f.n->events.link = on_link;
}

static const char *log_text(void)
{
	static char text[8192];
	ssize_t n = read(f.log[0], text, sizeof(text) - 1);

	text[MAX(n, 0)] = 0;
	return text;
}

static pid_t passt_pid(void)
{
	const char *at = strstr(log_text(), "(pid ");

	assert_non_null(at);
	return (pid_t)atoi(at + 5);
}

static void send_bytes(struct frame *fr, size_t behind_eth)
{
	size_t bytes = HDR + sizeof(fr->eth) + behind_eth;
	struct iovec iov = { fr, bytes };

	assert_int_equal(f.n->ops->send(f.n, 0, &iov, 1, bytes), 0);
}

/* Waits for a frame that `wanted` likes; the others are skipped. */
static void await_frame(struct frame *fr, bool (*wanted)(const struct frame *fr))
{
	struct iovec iov = { fr, sizeof(*fr) };
	uint64_t end = loop_now_ns() + LIMIT_MS * (NSEC_PER_SEC / 1000);

	while (loop_now_ns() < end) {
		struct pollfd p = { .fd = f.n->fds[0], .events = POLLIN };
		ssize_t n = f.n->ops->recv(f.n, 0, &iov, 1);

		if (n > 0 && wanted(fr))
			return;
		if (n == -EAGAIN)
			poll(&p, 1, 100);
	}
	fail_msg("no such frame within %d ms", LIMIT_MS);
}

/* ---- DHCP ---- */

struct bootp {
	uint8_t op, htype, hlen, hops;
	uint32_t xid;
	uint16_t secs, flags;
	uint32_t ciaddr, yiaddr, siaddr, giaddr;
	uint8_t chaddr[16], sname[64], file[128];
	uint8_t options[312];
} PACKED;

static uint16_t sum(const void *p, size_t len, uint32_t start)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		start += (uint32_t)b[i] << (i & 1 ? 0 : 8);
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return (uint16_t)~start;
}

static void make_ip(struct frame *fr, uint8_t proto, uint32_t from, uint32_t to, size_t payload)
{
	memcpy(fr->eth.ether_shost, guest_mac, 6);
	fr->eth.ether_type = htons(ETHERTYPE_IP);
	fr->ip = (struct iphdr){ .version = 4, .ihl = 5, .ttl = 64, .protocol = proto,
		.tot_len = htons((uint16_t)(sizeof(fr->ip) + payload)), .saddr = from,
		.daddr = to };
	fr->ip.check = htons(sum(&fr->ip, sizeof(fr->ip), 0));
}

static bool is_dhcp(const struct frame *fr)
{
	return fr->eth.ether_type == htons(ETHERTYPE_IP) && fr->ip.protocol == IPPROTO_UDP &&
		fr->udp.dest == htons(68);
}

/* Value of an option in network order, or 0. */
static uint32_t option(const struct bootp *b, uint8_t code)
{
	for (size_t i = 4; i + 1 < sizeof(b->options) && b->options[i] != 255;
		i += 2u + b->options[i + 1]) {
		uint32_t v = 0;

		if (b->options[i] != code)
			continue;
		for (size_t k = 0; k < b->options[i + 1]; k++)
			v = v << 8 | b->options[i + 2 + k];
		return v;
	}
	return 0;
}

static void discover(struct bootp *ret)
{
	struct frame fr = { 0 };
	struct bootp *b = (struct bootp *)(fr.bytes + 28);

	memset(fr.eth.ether_dhost, 0xff, 6);
	*b = (struct bootp){ .op = 1, .htype = 1, .hlen = 6, .xid = 0x12345678,
		.options = { 0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255 } };
	memcpy(b->chaddr, guest_mac, 6);
	make_ip(&fr, IPPROTO_UDP, 0, 0xffffffff, 8 + sizeof(*b));
	fr.udp.source = htons(68);
	fr.udp.dest = htons(67);
	fr.udp.len = htons(8 + sizeof(*b));
	send_bytes(&fr, 28 + sizeof(*b));
	await_frame(&fr, is_dhcp);
	memcpy(ret, b, sizeof(*ret));
}

static void dhcp_gives_the_hosts_address_and_an_mtu(void **state)
{
	struct bootp b;

	(void)state;
	start(NULL, 0);
	discover(&b);
	assert_int_equal(b.xid, 0x12345678);
	assert_int_equal(ntohl(b.yiaddr), 0x0a090807);
	assert_int_equal(option(&b, 3), 0x0a090801);
	assert_int_equal(option(&b, 26), 32768);
	netif_destroy(f.n);
	start(NULL, 1400);
	discover(&b);
	assert_int_equal(option(&b, 26), 1400);
	assert_int_equal(f.downs, 0);
}

/* ---- TCP through a forwarded port ---- */

static bool is_tcp(const struct frame *fr)
{
	return fr->eth.ether_type == htons(ETHERTYPE_IP) && fr->ip.protocol == IPPROTO_TCP &&
		fr->tcp.dest == htons(80);
}

static bool has_data(const struct frame *fr)
{
	return is_tcp(fr) && ntohs(fr->ip.tot_len) > 20 + fr->tcp.doff * 4;
}

/* Answers `to`, which took `len` numbers of the sequence, from guest port 80. */
static void reply(const struct frame *to, uint32_t seq, uint32_t len, bool syn, const char *data)
{
	size_t n = strlen(data), tcp_bytes = sizeof(struct tcphdr) + n;
	struct frame fr = { 0 };

	memcpy(fr.eth.ether_dhost, to->eth.ether_shost, 6);
	make_ip(&fr, IPPROTO_TCP, to->ip.daddr, to->ip.saddr, tcp_bytes);
	fr.tcp = (struct tcphdr){ .source = to->tcp.dest, .dest = to->tcp.source,
		.seq = htonl(seq), .ack_seq = htonl(ntohl(to->tcp.seq) + len), .ack = 1,
		.syn = syn, .psh = n > 0, .doff = 5, .window = htons(60000) };
	memcpy(fr.bytes + 40, data, n);
	fr.tcp.check = htons(sum(&fr.tcp, tcp_bytes,
		(uint16_t)~sum(&fr.ip.saddr, 8, IPPROTO_TCP + (uint32_t)tcp_bytes)));
	send_bytes(&fr, 20 + tcp_bytes);
}

static void a_forwarded_port_reaches_the_guest(void **state)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(HOST_PORT),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct timeval limit = { LIMIT_MS / 1000, 0 };
	struct frame fr;
	struct bootp b;
	char text[16] = "";
	int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	(void)state;
	start("udp:18053:53  tcp:18080:80", 0);
	discover(&b); /* passt learns our MAC */
	assert_int_equal(connect(s, (struct sockaddr *)&to, sizeof(to)), -1);
	assert_int_equal(errno, EINPROGRESS);
	await_frame(&fr, is_tcp);
	assert_int_equal(fr.tcp.syn, 1);
	reply(&fr, 1000, 1, true, "");
	assert_int_equal(fcntl(s, F_SETFL, 0), 0);
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(send(s, "hello", 5, 0), 5);
	await_frame(&fr, has_data);
	assert_memory_equal(fr.bytes + 20 + fr.tcp.doff * 4, "hello", 5);
	reply(&fr, 1001, 5, false, "world");
	assert_int_equal(recv(s, text, sizeof(text), 0), 5);
	assert_string_equal(text, "world");
	close(s);
}

/* ---- ends ---- */

static void a_killed_passt_takes_the_link_down_with_one_line(void **state)
{
	const char *text;
	pid_t pid;

	(void)state;
	start(NULL, 0);
	pid = passt_pid();
	assert_int_equal(kill(pid, SIGKILL), 0);
	for (int i = 0; i < 100 && f.downs == 0; i++)
		assert_int_equal(loop_poll(&f.loop, 100), 0);
	assert_int_equal(f.downs, 1);
	assert_false(f.n->link_up);
	text = log_text();
	assert_non_null(strstr(text, "has ended, killed by signal 9"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	/* It was reaped, and nothing is watched any more. */
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(loop_poll(&f.loop, 0), 0);
	assert_int_equal(f.downs, 1);
}

static void passt_ends_with_its_netif(void **state)
{
	pid_t pid;

	(void)state;
	start(NULL, 0);
	pid = passt_pid();
	assert_int_equal(kill(pid, 0), 0);
	netif_destroy(f.n);
	f.n = NULL;
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
}

static void passt_ends_when_its_starter_is_killed(void **state)
{
	int status, fds[2];
	pid_t child, pid = 0;

	(void)state;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	assert_int_equal(pipe(fds), 0);
	child = fork();
	if (child == 0) {
		start(NULL, 0);
		pid = passt_pid();
		if (write(fds[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(1);
		pause();
	}
	assert_int_equal(read(fds[0], &pid, sizeof(pid)), sizeof(pid));
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(waitpid(pid, &status, 0), pid); /* ours now; it ends by itself */
	assert_true(WIFEXITED(status));
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	close(fds[0]);
	close(fds[1]);
}

/* Another user, no capability, none to be had. */
static void it_needs_no_right_at_all(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		struct bootp b;

		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (setgroups(0, NULL) || setgid(12345) || setuid(12345))
			_exit(1);
		start("tcp:18080:80", 0);
		discover(&b);
		netif_destroy(f.n);
		_exit(ntohl(b.yiaddr) == 0x0a090807 ? 0 : 2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* ---- it does not start ---- */

static void assert_fails(const char *ports, int code, const char *words)
{
	struct volt_err err = { 0 };

	assert_int_equal(passt_start(ports, 0, &f.loop, &f.n, &err), -code);
	if (!strstr(err.msg, words))
		fail_msg("'%s' is not in '%s'", words, err.msg);
	assert_null(f.n);
	assert_int_equal(loop_poll(&f.loop, 0), 0);
}

static void without_the_program_the_error_names_the_package(void **state)
{
	char *path = strdup(getenv("PATH"));

	(void)state;
	setenv("PATH", "/nowhere", 1);
	assert_fails(NULL, ENOENT, "install the package passt");
	setenv("PATH", path, 1);
	free(path);
}

static void without_a_route_the_error_says_so(void **state)
{
	(void)state;
	assert_int_equal(make_net(false), 0);
	assert_fails(NULL, EIO, "No external routable interface for IPv4");
	assert_fails(NULL, EIO, "with a default route");
}

static void a_port_in_use_is_named(void **state)
{
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons(HOST_PORT) };
	int s = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(bind(s, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(s, 1), 0);
	assert_fails("tcp:18081:81 tcp:18080:80", EIO, "18080:80");
	close(s);
}

static void ports_are_checked(void **state)
{
	static const char *const bad[] = { "80", "tcp:80", "tcp:80:", "tcp::80", "tcp:0:80",
		"tcp:80:65536", "sctp:80:80", "tcp:80:80:80", "tcp:80:80,udp:1:1", "tcp:8-9:80" };
	char many[1024] = "";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_fails(bad[i], EINVAL, "port forward 1 is not tcp:HOST:GUEST");
	assert_fails("tcp:80:80 udp:1", EINVAL, "port forward 2");
	for (int i = 0; i < 65; i++)
		strcat(many, "tcp:80:80 ");
	assert_fails(many, E2BIG, "more than 64 port forwards");
}

/* What waits in the pipe is a program that is not passt. */
static void a_silent_end_is_told_with_its_status(void **state)
{
	char dir[] = "/tmp/volt-test-passt-XXXXXX", name[64], *path = strdup(getenv("PATH"));

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(name, sizeof(name), "%s/passt", dir);
	assert_int_equal(symlink("/bin/false", name), 0);
	setenv("PATH", dir, 1);
	assert_fails(NULL, EIO, "exit status 1): it did not say why");
	setenv("PATH", path, 1);
	unlink(name);
	rmdir(dir);
	free(path);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(dhcp_gives_the_hosts_address_and_an_mtu),
		TEST(a_forwarded_port_reaches_the_guest),
		TEST(a_killed_passt_takes_the_link_down_with_one_line),
		TEST(passt_ends_with_its_netif),
		TEST(passt_ends_when_its_starter_is_killed),
		TEST(it_needs_no_right_at_all),
		TEST(without_the_program_the_error_names_the_package),
		TEST(without_a_route_the_error_says_so),
		TEST(a_port_in_use_is_named),
		TEST(ports_are_checked),
		TEST(a_silent_end_is_told_with_its_status),
	};

	return cmocka_run_group_tests_name("passt-proc", tests, NULL, NULL);
}
