/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real taps: what is found, made and left alone, every refusal in its words, frames, offloads and
 * queues. Links, descriptors and macvtaps are in test-tap-link.c.
 */
#include "tapenv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

static void open_tap(struct tapenv *f, const char *name, unsigned n_queues)
{
	if (tap_open(name, n_queues, 0, &f->loop, &f->n, &f->err) < 0)
		fail_msg("%s", f->err.msg);
	tapenv_watch(f);
}

static void refuses(struct tapenv *f, const char *name, unsigned n_queues, int code,
	const char *words)
{
	struct volt_err err = { 0 };
	struct netif *n;

	tapenv_expect(&err, tap_open(name, n_queues, 0, &f->loop, &n, &err), code, words);
}

/* Runs fn in a child that may be robbed of its rights; the error comes back. */
static int in_child(void (*rob)(void), const char *name, struct volt_err *ret)
{
	struct {
		struct volt_err err;
		int r;
	} *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		-1, 0);
	pid_t pid = fork();
	int status, r;

	if (pid == 0) {
		struct netif *n = NULL;
		struct loop loop;

		rob();
		loop_init(&loop, NULL);
		shared->r = tap_open(name, 1, 0, &loop, &n, &shared->err);
		netif_destroy(n);
		loop_done(&loop);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	*ret = shared->err;
	r = shared->r;
	munmap(shared, sizeof(*shared));
	return r;
}

static void deny_dev(void)
{
	tapenv_empty_dev();
	if (mknod("/dev/net/tun", S_IFCHR | 0600, makedev(10, 200)) < 0)
		_exit(3);
	chmod("/dev/net/tun", 0600);
	tapenv_become_nobody();
}

/* Any user may open /dev/net/tun; it is not so on every machine. */
static void become_user(void)
{
	tapenv_empty_dev();
	if (mknod("/dev/net/tun", S_IFCHR | 0666, makedev(10, 200)) < 0)
		_exit(3);
	chmod("/dev/net/tun", 0666);
	tapenv_become_nobody();
}

static void become_stranger(void)
{
	close_range(STDERR_FILENO + 1, UINT32_MAX, 0);
	become_user();
}

static void strange_dev(void)
{
	tapenv_empty_dev();
	if (mknod("/dev/net/tun", S_IFCHR | 0666, makedev(240, 77)) < 0)
		_exit(3);
}

static void expect_child(struct tapenv *f, void (*rob)(void), const char *name, int code,
	const char *words)
{
	int r = in_child(rob, name, &f->err);

	tapenv_expect(&f->err, r, code, words);
}

/* ---- found and made ---- */

static void test_made_and_gone(void **state)
{
	struct tapenv *f = *state;

	open_tap(f, "t0", 1);
	assert_string_equal(f->n->ops->name, "tap");
	assert_true(f->n->ops->can_vhost);
	assert_int_equal(f->n->n_queues, 1);
	assert_int_equal(f->n->fds[1], -1);
	assert_int_equal(fcntl(f->n->fds[0], F_GETFD), FD_CLOEXEC);
	assert_true(tapenv_is_up("t0"));
	assert_true(f->n->link_up);
	assert_true(tapenv_in_log("tap t0: made"));
	assert_true(tapenv_in_log("TAP NO_PI VNET_HDR"));
	netif_destroy(f->n);
	f->n = NULL;
	assert_false(tapenv_exists("t0"));
}

static void test_made_with_mtu(void **state)
{
	struct tapenv *f = *state;

	assert_int_equal(tap_open("t0", 1, 9000, &f->loop, &f->n, &f->err), 0);
	SH("ip link show t0 | grep -q 'mtu 9000'");
}

static void test_found_is_left_alone(void **state)
{
	struct tapenv *f = *state;

	SH("ip tuntap add t0 mode tap");
	open_tap(f, "t0", 1);
	assert_false(f->n->link_up);
	assert_true(tapenv_in_log("link t0 is down"));
	assert_true(tapenv_in_log("ip link set t0 up"));
	assert_false(tapenv_is_up("t0"));
	SH("ip link set t0 up");
	tapenv_wait_link(f, true, "link t0 is up");
	netif_destroy(f->n);
	f->n = NULL;
	assert_true(tapenv_is_up("t0"));
	open_tap(f, "t0", 1); /* and can be used again */
	assert_true(tapenv_in_log("tap t0: attached"));
	assert_true(f->n->link_up);
}

static void test_names(void **state)
{
	struct tapenv *f = *state;

	refuses(f, "", 1, EINVAL, "1 to 15 letters");
	refuses(f, "a123456789012345", 1, EINVAL, "1 to 15 letters");
	refuses(f, "tap%d", 1, EINVAL, "cannot be called so");
	refuses(f, "a/b", 1, EINVAL, "cannot be called so");
	refuses(f, "..", 1, EINVAL, "cannot be called so");
	refuses(f, "t0", 0, EINVAL, "queue pairs");
	refuses(f, "t0", LIMIT_NET_PAIRS + 1, EINVAL, "queue pairs");
	open_tap(f, "a12345678901234", 1);
	assert_true(tapenv_exists("a12345678901234"));
}

/* ---- refusals ---- */

static void test_no_device(void **state)
{
	struct tapenv *f = *state;

	expect_child(f, tapenv_empty_dev, "t0", ENOENT, "/dev/net/tun: No such file");
	assert_non_null(strstr(f->err.msg, "modprobe tun"));
	expect_child(f, strange_dev, "t0", ENXIO, "modprobe tun");
	expect_child(f, deny_dev, "t0", EACCES, "/dev/net/tun: Permission");
	assert_non_null(strstr(f->err.msg, "chmod 666"));
	assert_non_null(strstr(f->err.msg, "10:200"));
}

static void test_not_permitted(void **state)
{
	struct tapenv *f = *state;

	expect_child(f, become_user, "t0", EPERM, "needs CAP_NET_ADMIN");
	assert_non_null(strstr(f->err.msg, "ip tuntap add t0 mode tap user 65534"));
	SH("ip tuntap add t0 mode tap user 1234");
	expect_child(f, become_user, "t0", EPERM, "it is for user 1234, we are user 65534");
	SH("ip tuntap add t1 mode tap user %d", NOBODY);
	assert_int_equal(in_child(become_user, "t1", &f->err), 0);
}

static void test_busy(void **state)
{
	struct tapenv *f = *state;
	char words[64];
	pid_t pid;
	int p[2];
	char c;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		open_tap(f, "t0", 1);
		assert_int_equal(write(p[1], "x", 1), 1);
		pause();
	}
	assert_int_equal(read(p[0], &c, 1), 1);
	snprintf(words, sizeof(words), "in use by process %d (test-tap)", pid);
	refuses(f, "t0", 1, EBUSY, words);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_false(tapenv_exists("t0"));
	open_tap(f, "t0", 1);
	refuses(f, "t0", 1, EBUSY, "this process itself");
	close(p[0]);
	close(p[1]);
}

static void test_busy_unseen(void **state)
{
	struct tapenv *f = *state;

	SH("ip tuntap add t0 mode tap user %d", NOBODY);
	open_tap(f, "t0", 1); /* by root */
	expect_child(f, become_stranger, "t0", EBUSY, "that we may not see");
}

static void test_not_a_tap(void **state)
{
	struct tapenv *f = *state;

	SH("ip link add br0 type bridge; ip link add v0 type veth peer v1; "
		"ip tuntap add tun0 mode tun");
	refuses(f, "br0", 1, EINVAL, "'br0' is not a tap but of kind bridge");
	refuses(f, "v0", 1, EINVAL, "of kind veth");
	refuses(f, "lo", 1, EINVAL, "'lo' is not a tap but a network device");
	refuses(f, "tun0", 1, EINVAL, "'tun0' is a tun, which carries IP packets");
}

static void test_queue_mismatch(void **state)
{
	struct tapenv *f = *state;

	SH("ip tuntap add t1 mode tap; ip tuntap add t2 mode tap multi_queue");
	refuses(f, "t1", 2, EINVAL, "tap 't1' has a single queue");
	refuses(f, "t1", 2, EINVAL, "mode tap multi_queue");
	refuses(f, "t2", 1, EINVAL, "tap 't2' is a multi-queue tap");
	open_tap(f, "t2", 2);
}

/* ---- frames ---- */

static void test_frames(void **state)
{
	struct tapenv *f = *state;
	uint8_t out[12 + 100] = { 0 }, in[2048], header[12], body[64], rest[2048];
	struct iovec split[3] = { { header, 12 }, { body, 64 }, { rest, sizeof(rest) } };
	struct iovec whole = { in, sizeof(in) };
	struct iovec tx[3] = { { out, 12 }, { out + 12, 30 }, { out + 42, 70 } };
	int wire;

	open_tap(f, "t0", 1);
	wire = tapenv_open_wire("t0");
	assert_int_equal(f->n->ops->set_offloads(f->n, 0), 0);
	tapenv_fill_frame(out + 12, 100, 0x5a);
	assert_int_equal(f->n->ops->send(f->n, 0, tx, 3, sizeof(out)), 0);
	assert_int_equal(tapenv_read_wire(wire, in, sizeof(in)), 100);
	assert_memory_equal(in, out + 12, 100);

	assert_int_equal(send(wire, out + 12, 100, 0), 100);
	assert_int_equal(tapenv_read_netif(f->n, 0, &whole, 1), 112);
	assert_memory_equal(in + 12, out + 12, 100);
	assert_memory_equal(in, "\0\0\0\0\0\0\0\0\0\0", 10); /* no offload */
	tapenv_fill_frame(out + 12, 100, 0xa5);
	assert_int_equal(send(wire, out + 12, 100, 0), 100);
	do {
		struct pollfd p = { f->n->fds[0], POLLIN, 0 };

		assert_int_equal(poll(&p, 1, 5000), 1);
		assert_int_not_equal(f->n->ops->recv(f->n, 0, split, 3), -EAGAIN);
	} while (!tapenv_is_marked(body));
	assert_memory_equal(body, out + 12, 64);
	assert_memory_equal(rest, out + 76, 36);
	assert_int_equal(f->n->ops->recv(f->n, 0, &whole, 1), -EAGAIN);
	/* a header that makes no sense is refused, by the kernel */
	out[1] = 0x99;
	assert_int_equal(f->n->ops->send(f->n, 0, tx, 3, sizeof(out)), -EINVAL);
	close(wire);
}

static void test_too_long(void **state)
{
	struct tapenv *f = *state;
	uint8_t frame[900], in[1024];
	int wire;

	open_tap(f, "t0", 1);
	wire = tapenv_open_wire("t0");
	tapenv_fill_frame(frame, sizeof(frame), 7);
	for (size_t room = 909; room <= 914; room++) {
		struct iovec iov[2] = { { in, 500 }, { in + 500, room - 500 } };

		memset(in, 0xee, sizeof(in));
		assert_int_equal(send(wire, frame, sizeof(frame), 0), sizeof(frame));
		assert_int_equal(tapenv_read_netif(f->n, 0, iov, 2), room < 912 ? -EMSGSIZE : 912);
		assert_int_equal(in[room], 0xee);
		if (room >= 912)
			assert_memory_equal(in + 12, frame, sizeof(frame));
		assert_int_equal(f->n->ops->recv(f->n, 0, iov, 2), -EAGAIN);
	}
	close(wire);
}

static void test_many_buffers(void **state)
{
	struct tapenv *f = *state;
	struct iovec iov[LIMIT_QUEUE_SIZE + 1];
	uint8_t frame[900], in[2048];
	int wire;

	open_tap(f, "t0", 1);
	wire = tapenv_open_wire("t0");
	tapenv_fill_frame(frame, sizeof(frame), 9);
	for (unsigned i = 0; i < LIMIT_QUEUE_SIZE; i++)
		iov[i] = (struct iovec){ in + (i ? 22 + 4 * i : 0), i ? 4 : 26 };
	iov[222] = (struct iovec){ in + 910, 2 };
	assert_int_equal(send(wire, frame, sizeof(frame), 0), sizeof(frame));
	assert_int_equal(tapenv_read_netif(f->n, 0, iov, 223), 912);
	assert_memory_equal(in + 12, frame, sizeof(frame));
	assert_int_equal(f->n->ops->recv(f->n, 0, iov, LIMIT_QUEUE_SIZE), -EAGAIN);
	assert_int_equal(f->n->ops->recv(f->n, 0, iov, LIMIT_QUEUE_SIZE + 1), -EINVAL);
	close(wire);
}

static void test_offloads(void **state)
{
	struct tapenv *f = *state;
	unsigned base = NETIF_CSUM | NETIF_TSO4 | NETIF_TSO6 | NETIF_ECN;

	open_tap(f, "t0", 1);
	assert_int_equal(f->n->offloads & base, base);
	assert_int_equal(f->n->offloads & ~(base | NETIF_USO4 | NETIF_USO6), 0);
	for (unsigned o = 0; o < 0x100; o++) /* a guest may choose any */
		assert_int_equal(f->n->ops->set_offloads(f->n, o), 0);
	assert_int_equal(f->n->ops->set_offloads(f->n, 0), 0);
}

static unsigned count_attached(const struct netif *n)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n->n_queues; i++) {
		struct ifreq ifr;

		assert_int_equal(ioctl(n->fds[i], TUNGETIFF, &ifr), 0);
		if (ifr.ifr_flags & IFF_DETACH_QUEUE)
			continue;
		assert_int_equal(count, i); /* the first ones */
		count++;
	}
	return count;
}

static void test_queues(void **state)
{
	struct tapenv *f = *state;

	open_tap(f, "t0", 4);
	assert_int_equal(f->n->n_queues, 4);
	assert_int_equal(count_attached(f->n), 1);
	assert_int_equal(f->n->ops->set_queues(f->n, 4), 0);
	assert_int_equal(count_attached(f->n), 4);
	assert_int_equal(f->n->ops->set_queues(f->n, 2), 0);
	assert_int_equal(f->n->ops->set_queues(f->n, 2), 0);
	assert_int_equal(count_attached(f->n), 2);
	assert_int_equal(f->n->ops->set_queues(f->n, 0), -EINVAL);
	assert_int_equal(f->n->ops->set_queues(f->n, 5), -EINVAL);
	assert_int_equal(count_attached(f->n), 2);
	SH("ip link del t0");
	assert_int_equal(f->n->ops->set_queues(f->n, 4) < 0, 1);
	tapenv_wait_link(f, false, "link t0 was deleted");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, tapenv_setup, tapenv_teardown)
		T(test_made_and_gone),
		T(test_made_with_mtu),
		T(test_found_is_left_alone),
		T(test_names),
		T(test_no_device),
		T(test_not_permitted),
		T(test_busy),
		T(test_busy_unseen),
		T(test_not_a_tap),
		T(test_queue_mismatch),
		T(test_frames),
		T(test_too_long),
		T(test_many_buffers),
		T(test_offloads),
		T(test_queues),
	};

	return tapenv_main(tests, ARRAY_SIZE(tests));
}
