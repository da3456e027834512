/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-net as the kernel does it: the test is guest (rings in a gmem, eventfds as doorbell and
 * interrupt) and host (a packet socket on the tap, in a network namespace of its own). What needs
 * /dev/vhost-net is skipped where there is none.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drv.h"
#include "log.h"
#include "loop.h"
#include "tap-host.h"
#include "vhost-net.h"

#define HDR	12u
#define SIZE	16u
#define RX	0u /* and 2 */
#define TX	1u /* and 3 */
#define WAIT_MS 10000
#define FEATURES (VIRTIO_COMMON_FEATURES | VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF))
/* Without EVENT_IDX: each completion calls. */
#define PLAIN (VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF))

struct fixture {
	struct gmem mem;
	struct drv d;
	struct vhost_net *v;
	int tapfds[2], sock, callfd, kickfds[4];
	unsigned n_attached; /* queues of the tap */
	struct vhost_ring rings[4];
};

/* -- the host's side ------------------------------------------------------------------------- */

static void host_sends(struct fixture *f, size_t len, unsigned seed)
{
	tap_host_send(f->sock, len, seed);
}

static void host_receives(struct fixture *f, size_t len, unsigned seed)
{
	assert_true(tap_host_recv(f->sock, len, seed));
}

static void host_receives_nothing(struct fixture *f)
{
	assert_true(tap_host_silent(f->sock));
}

/* -- the guest's side ------------------------------------------------------------------------ */

static uint64_t host_of(const struct fixture *f, uint64_t gpa)
{
	return (uintptr_t)f->mem.regions[0].host + gpa;
}

/* A new ring, as after a reset. */
static void place(struct fixture *f, unsigned q)
{
	struct drv_queue *dq = &f->d.q[q];

	*dq = (struct drv_queue){ .size = SIZE };
	dq->desc = drv_alloc(&f->d, 16 * SIZE);
	dq->avail = drv_alloc(&f->d, 6 + 2 * SIZE);
	dq->used = drv_alloc(&f->d, 6 + 8 * SIZE);
	f->rings[q] = (struct vhost_ring){
		.size = SIZE,
		.desc = host_of(f, dq->desc),
		.avail = host_of(f, dq->avail),
		.used = host_of(f, dq->used),
		.kickfd = f->kickfds[q],
		.callfd = f->callfd,
	};
}

static uint64_t guest_sends(struct fixture *f, unsigned q, size_t len, unsigned seed)
{
	uint64_t gpa = drv_alloc(&f->d, HDR + len);
	uint8_t frame[2048];

	tap_host_fill(frame, len, seed);
	assert_int_equal(gmem_write(&f->mem, GPA(gpa + HDR), frame, len), 0);
	drv_add(&f->d, q, &(struct drv_buf){ gpa, HDR + (uint32_t)len, false }, 1);
	return gpa;
}

static uint64_t guest_offers(struct fixture *f, unsigned q, uint32_t len)
{
	uint64_t gpa = drv_alloc(&f->d, len);

	drv_add(&f->d, q, &(struct drv_buf){ gpa, len, true }, 1);
	return gpa;
}

static void kick(struct fixture *f, unsigned q)
{
	uint64_t one = 1;

	assert_int_equal(write(f->kickfds[q], &one, sizeof(one)), sizeof(one));
}

/* Waits for the eventfd. */
static bool wait_fd(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, ms) != 1)
		return false;
	loop_drain(fd);
	return true;
}

/* The length of the next used entry; waits for it, woken by interrupts. */
static uint32_t used(struct fixture *f, unsigned q)
{
	uint64_t end = loop_now_ns() + WAIT_MS * 1000000ull;
	uint32_t id, len;

	while (!drv_used(&f->d, q, &id, &len)) {
		assert_true(loop_now_ns() < end);
		wait_fd(f->callfd, 100);
	}
	return len;
}

static void guest_received(struct fixture *f, uint64_t gpa, size_t len, unsigned seed)
{
	uint8_t frame[2048], want[2048];

	tap_host_fill(want, len, seed);
	assert_int_equal(gmem_read(&f->mem, GPA(gpa + HDR), frame, len), 0);
	assert_memory_equal(frame, want, len);
}

static int try_start(struct fixture *f, uint64_t features, unsigned n_pairs, struct volt_err *err)
{
	return vhost_net_start(f->v, features, f->rings, f->tapfds, n_pairs, err);
}

/* The host spreads frames over all attached queues, by a hash that is another after each boot. */
static void attach(struct fixture *f, unsigned n_pairs)
{
	struct ifreq ifr = { 0 };

	if (n_pairs == f->n_attached)
		return;
	ifr.ifr_flags = n_pairs > 1 ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
	assert_int_equal(ioctl(f->tapfds[1], TUNSETQUEUE, &ifr), 0);
	f->n_attached = n_pairs;
}

static void start(struct fixture *f, uint64_t features, unsigned n_pairs)
{
	struct volt_err err = { 0 };

	attach(f, n_pairs);
	if (try_start(f, features, n_pairs, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(vhost_net_running(f->v));
}

/* -- fixture --------------------------------------------------------------------------------- */

static void set_memory(struct fixture *f)
{
	struct vhost_region region = { 0, 8 * MIB, host_of(f, 0) };

	assert_int_equal(vhost_net_set_memory(f->v, &region, 1, NULL), 0);
}

static int setup(void **state)
{
	struct fixture *f;

	*state = NULL;
	if (access("/dev/vhost-net", R_OK | W_OK) < 0) {
		print_message("no /dev/vhost-net here\n");
		return 0;
	}
	f = calloc(1, sizeof(*f));
	assert_int_equal(gmem_map(&f->mem, 8 * MIB, NULL), 0);
	drv_init(&f->d, &f->mem, NULL, 0x10000);
	f->callfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (unsigned q = 0; q < 4; q++)
		f->kickfds[q] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	f->tapfds[0] = tap_host_open();
	f->tapfds[1] = tap_host_open();
	f->n_attached = 2;
	f->sock = tap_host_socket();
	assert_int_equal(vhost_net_open(2, &f->v, NULL), 0);
	set_memory(f);
	for (unsigned q = 0; q < 4; q++)
		place(f, q);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (!f)
		return 0;
	vhost_net_destroy(f->v);
	for (unsigned q = 0; q < 4; q++)
		close(f->kickfds[q]);
	close(f->callfd);
	close(f->tapfds[0]);
	close(f->tapfds[1]);
	close(f->sock);
	gmem_unmap(&f->mem);
	free(f);
	return 0;
}

#define NEED(f)                                                                                    \
	do {                                                                                       \
		if (!(f))                                                                          \
			skip();                                                                    \
	} while (0)

/* -- tests ----------------------------------------------------------------------------------- */

static void sends(void **state)
{
	struct fixture *f = *state;

	NEED(f);
	start(f, PLAIN, 1);
	for (unsigned i = 0; i < 40; i++) {
		size_t len = 60 + i * 35;

		guest_sends(f, TX, len, i);
		kick(f, TX);
		host_receives(f, len, i);
		assert_int_equal(used(f, TX), 0);
	}
}

static void receives(void **state)
{
	struct fixture *f = *state;

	NEED(f);
	start(f, PLAIN, 1);
	for (unsigned i = 0; i < 40; i++) {
		size_t len = 60 + i * 35;
		uint64_t gpa = guest_offers(f, RX, 2048);

		kick(f, RX);
		host_sends(f, len, i);
		assert_int_equal(used(f, RX), HDR + len);
		assert_int_equal(drv_get16(&f->d, gpa + 10), 1); /* num_buffers */
		guest_received(f, gpa, len, i);
	}
}

static void merges_buffers(void **state)
{
	struct fixture *f = *state;
	uint64_t first;

	NEED(f);
	start(f, PLAIN, 1);
	first = guest_offers(f, RX, 512);
	guest_offers(f, RX, 512);
	guest_offers(f, RX, 512);
	guest_offers(f, RX, 512);
	kick(f, RX);
	host_sends(f, 1400, 1);
	assert_int_equal(used(f, RX), 512);
	assert_int_equal(used(f, RX), 512);
	assert_int_equal(used(f, RX), HDR + 1400 - 1024);
	assert_int_equal(drv_get16(&f->d, first + 10), 3);
}

static void sees_what_was_queued_before(void **state)
{
	struct fixture *f = *state;
	uint64_t gpa;

	NEED(f);
	gpa = guest_offers(f, RX, 2048);
	guest_sends(f, TX, 100, 1);
	guest_sends(f, TX, 200, 2);
	kick(f, TX);
	start(f, FEATURES, 1);
	host_receives(f, 100, 1);
	host_receives(f, 200, 2);
	host_sends(f, 300, 3);
	assert_int_equal(used(f, RX), HDR + 300);
	guest_received(f, gpa, 300, 3);
}

static void stops_and_goes_on(void **state)
{
	struct fixture *f = *state;
	unsigned total = 0;
	uint64_t gpa;

	NEED(f);
	for (unsigned round = 0; round < 5; round++) {
		start(f, PLAIN, 1);
		for (unsigned i = 0; i < 3; i++, total++) {
			guest_sends(f, TX, 100, total);
			kick(f, TX);
			host_receives(f, 100, total);
			assert_int_equal(used(f, TX), 0);
		}
		assert_int_equal(vhost_net_stop(f->v), 0);
		assert_false(vhost_net_running(f->v));
		assert_int_equal(vhost_net_base(f->v, TX), total);
		assert_int_equal(vhost_net_base(f->v, RX), round);
		/* Nobody is there now; both wait for the next round. */
		guest_sends(f, TX, 100, total);
		kick(f, TX);
		gpa = guest_offers(f, RX, 2048);
		host_sends(f, 64, round);
		host_receives_nothing(f);
		f->rings[TX].base = vhost_net_base(f->v, TX);
		f->rings[RX].base = vhost_net_base(f->v, RX);
		start(f, PLAIN, 1);
		host_receives(f, 100, total++);
		assert_int_equal(used(f, TX), 0);
		assert_int_equal(used(f, RX), HDR + 64);
		guest_received(f, gpa, 64, round);
		assert_int_equal(vhost_net_stop(f->v), 0);
		assert_int_equal(vhost_net_stop(f->v), 0); /* nothing */
		f->rings[TX].base = vhost_net_base(f->v, TX);
		f->rings[RX].base = vhost_net_base(f->v, RX);
	}
	place(f, RX); /* and after a reset of the driver, from the start */
	place(f, TX);
	start(f, PLAIN, 1);
	guest_sends(f, TX, 100, 7);
	kick(f, TX);
	host_receives(f, 100, 7);
}

static void serves_pairs(void **state)
{
	struct fixture *f = *state;

	NEED(f);
	start(f, PLAIN, 2);
	for (unsigned i = 0; i < 10; i++) {
		guest_sends(f, TX, 100, i);
		kick(f, TX);
		host_receives(f, 100, i);
		guest_sends(f, TX + 2, 200, i);
		kick(f, TX + 2);
		host_receives(f, 200, i);
		assert_int_equal(used(f, TX), 0);
		assert_int_equal(used(f, TX + 2), 0);
	}
	assert_int_equal(vhost_net_stop(f->v), 0);
	assert_int_equal(vhost_net_base(f->v, TX), 10);
	assert_int_equal(vhost_net_base(f->v, TX + 2), 10);
	f->rings[TX].base = 10;
	start(f, PLAIN, 1); /* one of them */
	guest_sends(f, TX, 100, 11);
	guest_sends(f, TX + 2, 200, 11);
	kick(f, TX);
	kick(f, TX + 2);
	host_receives(f, 100, 11);
	assert_int_equal(used(f, TX), 0);
	assert_int_equal(vhost_net_stop(f->v), 0);
	host_receives_nothing(f);
}

static void refused(struct fixture *f, int code, const char *says)
{
	struct volt_err err = { 0 };

	assert_int_equal(try_start(f, PLAIN, 1, &err), -code);
	if (!strstr(err.msg, says))
		fail_msg("'%s' does not say '%s'", err.msg, says);
	assert_false(vhost_net_running(f->v));
}

static void bad_starts_are_refused_and_undone(void **state)
{
	struct fixture *f = *state;
	struct volt_err err = { 0 };
	int tap, pipes[2];

	NEED(f);
	tap = f->tapfds[0];
	f->rings[TX].avail++;
	refused(f, EINVAL, "vhost-net: queue 1: VHOST_SET_VRING_ADDR: Invalid argument");
	f->rings[TX].avail--;
	f->rings[TX].used = UINT64_C(0xffff800000000000); /* the kernel's half */
	refused(f, EFAULT, "vhost-net: queue 1: ");
	place(f, TX);
	f->rings[RX].size = 3;
	refused(f, EINVAL, "vhost-net: queue 0: VHOST_SET_VRING_NUM");
	f->rings[RX].size = SIZE;
	f->rings[RX].kickfd = -2;
	refused(f, EBADF, "vhost-net: queue 0: VHOST_SET_VRING_KICK");
	f->rings[RX].kickfd = f->kickfds[RX];
	assert_int_equal(pipe(pipes), 0);
	f->tapfds[0] = pipes[0];
	refused(f, ENOTSOCK, "vhost-net: queue 0: VHOST_NET_SET_BACKEND");
	f->tapfds[0] = tap;
	close(pipes[0]);
	close(pipes[1]);
	assert_int_equal(try_start(f, PLAIN, 3, &err), -EINVAL);
	assert_string_equal(err.msg, "vhost-net: 3 queue pairs of 2");
	start(f, PLAIN, 1); /* none of this left anything behind */
	err = (struct volt_err){ 0 };
	assert_int_equal(try_start(f, PLAIN, 1, &err), -EBUSY);
	assert_true(vhost_net_running(f->v));
	guest_sends(f, TX, 100, 5);
	kick(f, TX);
	host_receives(f, 100, 5);
}

static void memory_must_be_known(void **state)
{
	struct fixture *f = *state;

	NEED(f);
	vhost_net_destroy(f->v);
	assert_int_equal(vhost_net_open(2, &f->v, NULL), 0);
	refused(f, EINVAL, "vhost-net: guest memory was not set");
	set_memory(f);
	start(f, PLAIN, 1);
}

/* What a driver can do wrong is told by the eventfd, and a stop and a new start heal it. */
static void broken_rings_are_told(void **state)
{
	struct fixture *f = *state;

	NEED(f);
	for (unsigned kind = 0; kind < 5; kind++) {
		struct drv_queue *dq;

		place(f, RX);
		place(f, TX);
		dq = &f->d.q[TX];
		guest_sends(f, TX, 100, kind);
		if (kind == 0) /* outside memory */
			drv_desc(&f->d, dq->desc, 0, 1ull << 40, 100, 0, 0);
		if (kind == 1) /* a loop */
			drv_desc(&f->d, dq->desc, 0, 0x10000, 16, DRV_NEXT, 0);
		if (kind == 2) /* an index that jumps */
			drv_put16(&f->d, dq->avail + 2, 100);
		if (kind == 3) /* a head outside the table */
			drv_put16(&f->d, dq->avail + 4, SIZE);
		if (kind == 4) /* the device writes in a queue that it reads */
			drv_desc(&f->d, dq->desc, 0, 0x10000, 100, DRV_WRITE, 0);
		assert_false(wait_fd(vhost_net_errfd(f->v), 0));
		start(f, PLAIN, 1);
		kick(f, TX);
		if (!wait_fd(vhost_net_errfd(f->v), WAIT_MS))
			fail_msg("kind %u was not told", kind);
		host_receives_nothing(f);
		assert_int_equal(vhost_net_stop(f->v), 0);
		loop_drain(vhost_net_errfd(f->v));
	}
	place(f, TX);
	start(f, PLAIN, 1);
	guest_sends(f, TX, 100, 9);
	kick(f, TX);
	host_receives(f, 100, 9);
}

static void destroy_stops(void **state)
{
	struct fixture *f = *state;

	NEED(f);
	start(f, PLAIN, 2);
	vhost_net_destroy(f->v);
	guest_sends(f, TX, 100, 1);
	kick(f, TX);
	host_receives_nothing(f);
	assert_int_equal(vhost_net_open(1, &f->v, NULL), 0);
	set_memory(f);
	start(f, PLAIN, 1);
	host_receives(f, 100, 1);
}

/* -- opening, everywhere --------------------------------------------------------------------- */

static void features_leave_offloads_alone(void **state)
{
	uint64_t offloads = VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) |
		VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_MQ) |
		VIRTIO_BIT(VIRTIO_NET_F_MAC);
	struct fixture *f = *state;

	NEED(f);
	assert_true((vhost_net_features(f->v) & (FEATURES | offloads)) == (FEATURES | offloads));
	assert_false(vhost_net_features(f->v) & VIRTIO_BIT(27)); /* VHOST_NET_F_VIRTIO_NET_HDR */
}

enum odd { ABSENT, NO_DRIVER, NOT_PERMITTED, SOMETHING_ELSE };

/* In a mount namespace of its own with such a /dev/vhost-net. 0: the answer was right. */
static int open_odd(enum odd odd)
{
	static const struct {
		int code;
		const char *says;
	} answers[] = {
		[ABSENT] = { ENOENT, "/dev/vhost-net does not exist" },
		[NO_DRIVER] = { ENODEV, "load the module vhost_net" },
		[NOT_PERMITTED] = { EACCES, "no permission to open /dev/vhost-net" },
		[SOMETHING_ELSE] = { ENOTTY, "/dev/vhost-net: VHOST_SET_OWNER: Inappropriate" },
	};
	dev_t dev = odd == NO_DRIVER ? makedev(10, 254) : makedev(1, 3);
	struct volt_err err = { 0 };
	struct vhost_net *v = NULL;
	int r;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("none", "/dev", "tmpfs", 0, NULL) < 0)
		return 77;
	if (odd != ABSENT && mknod("/dev/vhost-net", S_IFCHR | 0600, dev) < 0)
		return 77;
	if (odd == NOT_PERMITTED && setresuid(65534, 65534, 65534) < 0)
		return 77;
	r = vhost_net_open(1, &v, &err);
	if (r == -answers[odd].code && strstr(err.msg, answers[odd].says) && !v)
		return 0;
	fprintf(stderr, "answer %d: %s\n", r, err.msg);
	return 1;
}

static void says_why_it_cannot_be_opened(void **state)
{
	(void)state;
	for (enum odd odd = ABSENT; odd <= SOMETHING_ELSE; odd++) {
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (pid == 0)
			_exit(open_odd(odd));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == 77)
			skip(); /* no right to make a namespace */
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_why_it_cannot_be_opened),
		T(features_leave_offloads_alone),
		T(sends),
		T(receives),
		T(merges_buffers),
		T(sees_what_was_queued_before),
		T(stops_and_goes_on),
		T(serves_pairs),
		T(bad_starts_are_refused_and_undone),
		T(memory_must_be_known),
		T(broken_rings_are_told),
		T(destroy_stops),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	/* The tap is made in here, and goes with it. */
	if (access("/dev/vhost-net", R_OK | W_OK) == 0 && !tap_host_enter()) {
		fprintf(stderr, "no network namespace: %s\n", strerror(errno));
		return 77;
	}
	return cmocka_run_group_tests_name("vhost-net", tests, NULL, NULL);
}
