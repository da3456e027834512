/* SPDX-License-Identifier: Apache-2.0 */
/* Real taps: their link as it changes, inherited descriptors, macvtaps. */
#include "tapenv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap-link.h"
#include "tap.h"

static void open_tap(struct tapenv *f, const char *name, unsigned n_queues)
{
	if (tap_open(name, n_queues, 0, &f->loop, &f->n, &f->err) < 0)
		fail_msg("%s", f->err.msg);
	tapenv_watch(f);
}

/* ---- the link ---- */

static void test_link(void **state)
{
	struct tapenv *f = *state;
	uint8_t out[12 + 60] = { 0 };
	struct iovec iov = { out, sizeof(out) };

	open_tap(f, "t0", 1);
	SH("ip link set t0 down");
	tapenv_wait_link(f, false, "link t0 is down");
	assert_int_equal(f->n->ops->send(f->n, 0, &iov, 1, sizeof(out)), -EIO);
	SH("ip link set t0 up");
	tapenv_wait_link(f, true, "link t0 is up");
	SH("ip link set t0 carrier off");
	tapenv_wait_link(f, false, "link t0 has no carrier");
	SH("ip link set t0 carrier on");
	tapenv_wait_link(f, true, "link t0 is up");
	assert_int_equal(f->link_calls, 4);
	/* bridges send messages of the same type about their ports */
	SH("ip link add br0 type bridge; ip link set t0 master br0; ip link set t0 nomaster; "
		"ip link del br0; ip link set t0 down");
	tapenv_wait_link(f, false, "link t0 is down");
	assert_false(tapenv_in_log("deleted"));
	assert_int_equal(f->link_calls, 5);
	SH("ip link set t0 up");
	tapenv_wait_link(f, true, "link t0 is up");
	SH("ip link del t0");
	tapenv_wait_link(f, false, "link t0 was deleted");
	assert_int_equal(f->n->ops->recv(f->n, 0, &iov, 1), -EBADFD);
	assert_int_equal(f->n->ops->send(f->n, 0, &iov, 1, sizeof(out)), -EBADFD);
}

static void test_link_moved(void **state)
{
	struct tapenv *f = *state;
	uint64_t end = loop_now_ns() + LIMIT_NS;
	pid_t pid = fork();

	if (pid == 0) {
		tapenv_enter_namespace();
		pause();
	}
	open_tap(f, "t0", 1);
	while (tapenv_sh("test $(readlink /proc/%d/ns/net) != $(readlink /proc/$$/ns/net)", pid))
		assert_true(loop_now_ns() < end);
	SH("ip link set t0 netns %d", pid);
	tapenv_wait_link(f, f->link_up, "moved to another network namespace");
	assert_true(f->n->link_up);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* More news than the socket holds: what counts is how it is now. */
static void test_link_overrun(void **state)
{
	struct tapenv *f = *state;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	open_tap(f, "t0", 1);
	for (int i = 0; i < 2000; i++) {
		struct ifreq ifr = { .ifr_name = "t0", .ifr_mtu = 1400 + i % 2 };

		assert_int_equal(ioctl(fd, SIOCSIFMTU, &ifr), 0);
	}
	SH("ip link set t0 down"); /* is lost: the socket has been full for long */
	tapenv_wait_link(f, false, "link t0 is down");
	SH("ip link set t0 up");
	tapenv_wait_link(f, true, "link t0 is up");
	close(fd);
}

/* ---- descriptors ---- */

static int open_raw(const char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)flags };
	int fd = open("/dev/net/tun", O_RDWR);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

static void refuses_fd(struct tapenv *f, int fd, int code, const char *words)
{
	struct volt_err err = { 0 };
	struct netif *n;

	tapenv_expect(&err, tap_from_fd(fd, &f->loop, &n, &err), code, words);
	assert_true(fcntl(fd, F_GETFD) >= 0 || code == EBADF); /* still ours */
	close(fd);
}

static void take_fd_of(struct tapenv *f, int fd)
{
	if (tap_from_fd(fd, &f->loop, &f->n, &f->err) < 0)
		fail_msg("%s", f->err.msg);
	tapenv_watch(f);
}

static void test_fd(void **state)
{
	struct tapenv *f = *state;
	int fd = open_raw("t0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR), size = 0;

	take_fd_of(f, fd);
	assert_string_equal(f->n->ops->name, "tap");
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(ioctl(fd, TUNGETVNETHDRSZ, &size), 0);
	assert_int_equal(size, NETIF_HEADER_BYTES);
	assert_false(f->n->link_up); /* it is the caller's */
	SH("ip link set t0 up");
	tapenv_wait_link(f, true, "link t0 is up");
}

static void test_fd_refused(void **state)
{
	struct tapenv *f = *state;
	struct sock_filter pass = BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	struct sock_fprog prog = { .len = 1, .filter = &pass };
	struct ifreq detach = { .ifr_flags = IFF_DETACH_QUEUE };
	int fd;

	refuses_fd(f, open_raw("a", IFF_TAP | IFF_NO_PI), EINVAL, "no IFF_VNET_HDR");
	refuses_fd(f, open_raw("b", IFF_TAP | IFF_VNET_HDR), EINVAL, "no IFF_NO_PI");
	fd = open_raw("b2", IFF_TAP | IFF_VNET_HDR); /* with a filter the kernel tells */
	assert_int_equal(ioctl(fd, TUNATTACHFILTER, &prog), 0);
	refuses_fd(f, fd, EINVAL, "no IFF_NO_PI");
	refuses_fd(f, open_raw("c", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR), EINVAL, "'c' is a tun");
	refuses_fd(f, open("/dev/null", O_RDWR), ENOTTY, "is not of a tap");
	refuses_fd(f, socket(AF_INET, SOCK_DGRAM, 0), ENOTTY, "is not of a tap");
	refuses_fd(f, open("/dev/net/tun", O_RDWR), EBADFD, "of no tap yet (TUNSETIFF)");
	refuses_fd(f, 999, EBADF, "descriptor 999 is not of a tap: Bad file descriptor");
	fd = open_raw("d", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
	assert_int_equal(ioctl(fd, TUNSETQUEUE, &detach), 0);
	refuses_fd(f, fd, EINVAL, "this queue is detached");
	fd = open_raw("e", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	SH("ip link del e");
	refuses_fd(f, fd, EBADFD, "deleted");
}

static void test_fd_elsewhere(void **state)
{
	struct tapenv *f = *state;
	int fd = open_raw("t0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR), status;
	int there = open("/proc/self/ns/net", O_RDONLY);
	pid_t pid;

	tapenv_enter_namespace();
	SH("ip tuntap add t0 mode tap; ip link set t0 up"); /* another of that name */
	pid = fork();
	if (pid == 0) { /* without the right to look there */
		struct netif *n;
		struct volt_err err = { 0 };

		tapenv_become_nobody();
		_exit(tap_from_fd(fd, &f->loop, &n, &err) < 0 || !n->link_up ||
			!tapenv_in_log("cannot look into: taken as up"));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	tapenv_clear_log();
	take_fd_of(f, fd);
	assert_false(f->n->link_up);
	SH("nsenter --net=/proc/%d/fd/%d ip link set t0 up", getpid(), there);
	tapenv_wait_link(f, true, "link t0 is up");
	SH("ip link del t0; ip tuntap add t1 mode tap"); /* we are where we were */
	assert_true(tapenv_exists("t1"));
	assert_true(f->n->link_up);
	close(there);
}

/* ---- macvtap ---- */

static void make_veth(void)
{
	SH("ip link add v0 type veth peer v1; ip link set v0 up; ip link set v1 up");
}

/* A passthru one wants the parent for itself: it can be made when no other is left. */
#define PROBE "ip link add probe link v0 type macvtap mode passthru 2>/dev/null"

static void wait_parent_free(void)
{
	uint64_t end = loop_now_ns() + LIMIT_NS;

	while (tapenv_sh(PROBE) != 0) {
		assert_true(loop_now_ns() < end);
		poll(NULL, 0, 20);
	}
	SH("ip link del probe");
}

static void exchange(struct tapenv *f)
{
	uint8_t out[12 + 100] = { 0 }, in[2048];
	struct iovec tx = { out, sizeof(out) }, rx = { in, sizeof(in) };
	int wire = tapenv_open_wire("v1");

	tapenv_fill_frame(out + 12, 100, 0x5a);
	assert_int_equal(send(wire, out + 12, 100, 0), 100); /* to the guest's address */
	assert_int_equal(tapenv_read_netif(f->n, 0, &rx, 1), 112);
	assert_memory_equal(in + 12, out + 12, 100);
	memset(out + 12, 2, 6);
	memcpy(out + 18, mac, 6);
	assert_int_equal(f->n->ops->send(f->n, 0, &tx, 1, sizeof(out)), 0);
	do
		assert_int_equal(tapenv_read_wire(wire, in, sizeof(in)), 100);
	while (memcmp(in + 6, mac, 6) != 0); /* not what we sent ourselves */
	assert_memory_equal(in, out + 12, 100);
	close(wire);
}

static void open_macvtap(struct tapenv *f)
{
	if (tap_open_macvtap("v0", "bridge", mac, 0, &f->loop, &f->n, &f->err) < 0)
		fail_msg("%s", f->err.msg);
	tapenv_watch(f);
}

static void test_macvtap(void **state)
{
	struct tapenv *f = *state;
	uint8_t frame[900], in[1024];
	struct iovec rx = { in, 500 };
	int wire;

	make_veth();
	open_macvtap(f);
	assert_string_equal(f->n->ops->name, "macvtap");
	assert_true(f->n->ops->can_vhost);
	assert_true(f->n->link_up);
	assert_int_not_equal(f->n->offloads & NETIF_TSO4, 0);
	exchange(f);
	for (unsigned o = 0; o < 0x100; o++)
		assert_int_equal(f->n->ops->set_offloads(f->n, o), 0);
	assert_int_equal(f->n->ops->set_queues(f->n, 1), 0);

	wire = tapenv_open_wire("v1");
	tapenv_fill_frame(frame, sizeof(frame), 7);
	assert_int_equal(send(wire, frame, sizeof(frame), 0), sizeof(frame));
	assert_int_equal(tapenv_read_netif(f->n, 0, &rx, 1), -EMSGSIZE);
	close(wire);

	SH("ip link set v1 down");
	tapenv_wait_link(f, false, "macvtap over v0 has no carrier");
	SH("ip link set v1 up");
	tapenv_wait_link(f, true, "macvtap over v0 is up");
	netif_destroy(f->n);
	open_macvtap(f); /* the same address again, at once */
	exchange(f);
	SH("ip link del v0");
	tapenv_wait_link(f, false, "macvtap over v0 was deleted");
}

static void test_macvtap_killed(void **state)
{
	struct tapenv *f = *state;
	pid_t pid;
	int p[2];
	char c;

	make_veth();
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(pipe(p), 0);
		pid = fork();
		if (pid == 0) {
			open_macvtap(f);
			assert_int_equal(write(p[1], "x", 1), 1);
			pause();
		}
		assert_int_equal(read(p[0], &c, 1), 1);
		assert_int_not_equal(tapenv_sh(PROBE), 0);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		close(p[0]);
		close(p[1]);
		wait_parent_free();
	}
}

static void refuses_macvtap(struct tapenv *f, const char *parent, const char *mode, uint16_t mtu,
	int code, const char *words)
{
	struct volt_err err = { 0 };
	struct netif *n;

	tapenv_expect(&err, tap_open_macvtap(parent, mode, mac, mtu, &f->loop, &n, &err), code,
		words);
}

static void test_macvtap_refused(void **state)
{
	struct tapenv *f = *state;

	make_veth();
	refuses_macvtap(f, "none", "bridge", 0, ENODEV,
		"macvtap over 'none': there is no link of that name");
	refuses_macvtap(f, "lo", "bridge", 0, EINVAL, "the parent is no Ethernet link");
	refuses_macvtap(f, "v0", "bridge", 9000, EINVAL, "the parent's MTU is 1500");
	refuses_macvtap(f, "v0", "hub", 0, EINVAL, "unknown mode 'hub'");
	SH("ip link add br0 type bridge; ip link set v0 master br0");
	refuses_macvtap(f, "v0", "bridge", 0, EBUSY, "it is a port of a bridge");
	SH("ip link del br0; ip link set v0 address 02:00:00:00:47:11");
	refuses_macvtap(f, "v0", "bridge", 0, EADDRINUSE, "the MAC address of the guest is in use");
	SH("ip link set v0 address 02:00:00:00:47:12; ip link set v0 down");
	open_macvtap(f);
	assert_true(tapenv_in_log("the parent is down"));
	assert_false(f->n->link_up);
	SH("ip link set v0 up");
	tapenv_wait_link(f, true, "macvtap over v0 is up");
}

static void test_macvtap_fd(void **state)
{
	struct tapenv *f = *state;
	struct tap_facts facts;
	char path[32];
	int nl = tap_link_socket(NULL), fd;

	make_veth();
	SH("ip link add m0 address 02:00:00:00:47:11 link v0 type macvtap mode bridge; "
		"ip link set m0 up");
	assert_int_equal(tap_link_query(nl, "m0", 0, &facts), 0);
	assert_string_equal(facts.kind, "macvtap");
	close(nl);
	snprintf(path, sizeof(path), "/dev/tap%d", facts.ifindex);
	fd = open(path, O_RDWR);
	if (fd < 0) {
		print_message("%s: %s\n", path, strerror(errno));
		skip();
	}
	take_fd_of(f, fd);
	assert_string_equal(f->n->ops->name, "macvtap");
	assert_false(tapenv_in_log("cannot look"));
	exchange(f);
	SH("ip link set m0 down");
	tapenv_wait_link(f, false, "link m0 is down");
	netif_destroy(f->n);
	f->n = NULL;
	assert_true(tapenv_exists("m0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, tapenv_setup, tapenv_teardown)
		T(test_link),
		T(test_link_moved),
		T(test_link_overrun),
		T(test_fd),
		T(test_fd_refused),
		T(test_fd_elsewhere),
		T(test_macvtap),
		T(test_macvtap_killed),
		T(test_macvtap_refused),
		T(test_macvtap_fd),
	};

	return tapenv_main(tests, ARRAY_SIZE(tests));
}
