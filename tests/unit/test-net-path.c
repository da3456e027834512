/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net with the kernel's data path as it is: a guest driver before the transport, net, then
 * vhost-net and a tap, in a network namespace of its own. The interrupt is the eventfd that KVM
 * would take. Skipped where there is no /dev/vhost-net.
 */
#include "test.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev.h"
#include "drv.h"
#include "log.h"
#include "loop.h"
#include "net-vhost.h"
#include "net.h"
#include "tap-host.h"
#include "tap.h"
#include "vhost-net.h"
#include "vmmio.h"

#define HDR	12u
#define SIZE	64u
#define CONTROL 4 /* with MQ; two pairs */
#define ALL	(~VIRTIO_BIT(VIRTQ_F_EVENT_IDX)) /* so that each completion interrupts */

struct fixture {
	struct gmem mem;
	struct loop loop;
	struct virtio_dev *v;
	struct vmmio *m;
	struct drv d;
	const struct net_counters *c;
	int sock;
	bool done; /* another thread has finished */
};

static int setup(void **state)
{
	struct net_params params = { .id = "eth0", .mac = { 2, 0, 0, 0, 0, 1 } };
	struct vhost_net *vhost;
	struct netif *tap;
	struct fixture *f;
	struct vmmio_env env = { .vmfd = -1, .base = 0xc0001000, .irqfd = true };

	*state = NULL;
	if (access("/dev/vhost-net", R_OK | W_OK) < 0) {
		print_message("no /dev/vhost-net here\n");
		return 0;
	}
	f = calloc(1, sizeof(*f));
	env.mem = &f->mem;
	env.loop = &f->loop;
	assert_int_equal(gmem_map(&f->mem, 8 * MIB, NULL), 0);
	assert_int_equal(loop_init(&f->loop, NULL), 0);
	assert_int_equal(tap_open(TAP_HOST_NAME, 2, 0, &f->loop, &tap, NULL), 0);
	assert_int_equal(vhost_net_open(2, &vhost, NULL), 0);
	assert_int_equal(net_vhost_set_memory(vhost, &f->mem, NULL), 0);
	assert_int_equal(net_create(&params, tap, vhost, &f->loop, &f->v, NULL), 0);
	assert_int_equal(vmmio_create(f->v, &env, &f->m, NULL), 0);
	drv_init(&f->d, &f->mem, vmmio_dev(f->m), 0x10000);
	f->c = net_counters(f->v);
	f->sock = tap_host_socket();
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (!f)
		return 0;
	vmmio_destroy(f->m);
	close(f->sock);
	loop_done(&f->loop);
	gmem_unmap(&f->mem);
	free(f);
	return 0;
}

#define NEED(f)                                                                                    \
	do {                                                                                       \
		if (!(f))                                                                          \
			skip();                                                                    \
	} while (0)

/* -- the driver ------------------------------------------------------------------------------ */

static void start(struct fixture *f, uint64_t wanted, unsigned n_queues)
{
	assert_int_equal(drv_start(&f->d, wanted, n_queues, SIZE), 0xf);
	drv_poll(&f->loop);
}

static void guest_sends(struct fixture *f, unsigned q, size_t len, unsigned seed)
{
	uint64_t gpa = drv_alloc(&f->d, HDR + len);
	uint8_t frame[TAP_HOST_MAX];

	tap_host_fill(frame, len, seed);
	assert_int_equal(gmem_write(&f->mem, GPA(gpa + HDR), frame, len), 0);
	drv_add(&f->d, q, &(struct drv_buf){ gpa, HDR + (uint32_t)len, false }, 1);
	drv_kick(&f->d, q);
}

static uint64_t guest_offers(struct fixture *f, unsigned q)
{
	uint64_t gpa = drv_alloc(&f->d, TAP_HOST_MAX);

	drv_add(&f->d, q, &(struct drv_buf){ gpa, TAP_HOST_MAX, true }, 1);
	drv_kick(&f->d, q);
	return gpa;
}

/* The next used entry: woken by the interrupt of the kernel, with the loop going on. */
static uint32_t used(struct fixture *f, unsigned q)
{
	struct pollfd p = { .fd = f->v->link->callfd, .events = POLLIN };
	uint64_t end = loop_now_ns() + 10 * NSEC_PER_SEC;
	uint32_t id, len;

	while (!drv_used(&f->d, q, &id, &len)) {
		assert_true(loop_now_ns() < end);
		if (poll(&p, 1, 10) == 1)
			loop_drain(p.fd);
		drv_poll(&f->loop);
	}
	return len;
}

static void receives(struct fixture *f, unsigned q, size_t len, unsigned seed)
{
	uint8_t frame[TAP_HOST_MAX], want[TAP_HOST_MAX];
	uint64_t gpa = guest_offers(f, q);

	tap_host_fill(want, len, seed);
	tap_host_send(f->sock, len, seed);
	assert_int_equal(used(f, q), HDR + len);
	assert_int_equal(gmem_read(&f->mem, GPA(gpa + HDR), frame, len), 0);
	assert_memory_equal(frame, want, len);
}

static void sends(struct fixture *f, unsigned q, size_t len, unsigned seed)
{
	guest_sends(f, q, len, seed);
	assert_true(tap_host_recv(f->sock, len, seed));
	used(f, q);
}

/* A command of the control queue; its answer. */
static uint8_t command(struct fixture *f, unsigned q, const void *bytes, unsigned len)
{
	uint64_t gpa = drv_alloc(&f->d, 64);
	struct drv_buf bufs[] = { { gpa, len, false }, { gpa + 32, 1, true } };

	assert_int_equal(gmem_write(&f->mem, GPA(gpa), bytes, len), 0);
	drv_put8(&f->d, gpa + 32, 0xee);
	drv_add(&f->d, q, bufs, 2);
	drv_kick(&f->d, q);
	assert_int_equal(used(f, q), 1);
	return drv_get8(&f->d, gpa + 32);
}

static uint8_t set_pairs(struct fixture *f, uint8_t n)
{
	const uint8_t bytes[] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, n, 0 };

	return command(f, CONTROL, bytes, sizeof(bytes));
}

static void *reset_thread(void *arg)
{
	struct fixture *f = arg;

	drv_reset(&f->d);
	__atomic_store_n(&f->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void reset(struct fixture *f)
{
	uint64_t end = loop_now_ns() + 10 * NSEC_PER_SEC;
	pthread_t thread;

	f->done = false;
	assert_int_equal(pthread_create(&thread, NULL, reset_thread, f), 0);
	while (!__atomic_load_n(&f->done, __ATOMIC_ACQUIRE)) {
		assert_true(loop_now_ns() < end);
		assert_int_equal(loop_poll(&f->loop, 1), 0);
	}
	pthread_join(thread, NULL);
}

/* -- tests ----------------------------------------------------------------------------------- */

static void kernel_moves_the_frames(void **state)
{
	struct fixture *f = *state;

	NEED(f);
	start(f, ALL & ~VIRTIO_BIT(VIRTIO_NET_F_MQ), 3); /* the control queue is number 2 */
	assert_int_equal(f->c->vhost_starts, 1);
	for (unsigned i = 0; i < 20; i++) {
		sends(f, 1, 60 + 70 * i, i);
		receives(f, 0, 60 + 70 * i, i);
	}
	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_ISR_USED);
	assert_int_equal(f->c->rx_packets + f->c->tx_packets + f->c->rx_events, 0);
	assert_int_equal(f->v->counters.interrupts, 0);
	assert_int_equal(f->c->vhost_errors, 0);
}

static void control_queue_stays_with_us(void **state)
{
	const uint8_t offloads[] = { VIRTIO_NET_CTRL_GUEST_OFFLOADS,
		VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, 1u << VIRTIO_NET_F_GUEST_CSUM, 0, 0, 0, 0, 0, 0,
		0 };
	struct fixture *f = *state;

	NEED(f);
	start(f, ALL & ~VIRTIO_BIT(VIRTIO_NET_F_MQ), 3);
	assert_int_equal(command(f, 2, offloads, sizeof(offloads)), VIRTIO_NET_OK);
	assert_int_equal(f->c->ctrl_commands, 1);
	sends(f, 1, 100, 1);
	receives(f, 0, 100, 2);
}

static void pairs_change_while_it_runs(void **state)
{
	struct fixture *f = *state;

	NEED(f);
	start(f, ALL, CONTROL + 1);
	for (unsigned round = 0; round < 5; round++) {
		sends(f, 1, 100, round);
		receives(f, 0, 200, round);
		assert_int_equal(set_pairs(f, 2), VIRTIO_NET_OK);
		sends(f, 1, 300, round);
		sends(f, 3, 400, round);
		assert_int_equal(set_pairs(f, 1), VIRTIO_NET_OK);
		guest_sends(f, 3, 500, round); /* what came too late is not kept for ever */
		used(f, 3);
		assert_true(tap_host_recv(f->sock, 500, round));
	}
	assert_int_equal(set_pairs(f, 3), VIRTIO_NET_ERR);
	sends(f, 1, 100, 99);
	receives(f, 0, 200, 99);
	assert_int_equal(f->c->vhost_starts, 11);
	assert_int_equal(f->c->vhost_stops, 10);
	assert_int_equal(f->c->vhost_errors, 0);
}

static void resets_and_negotiates_again(void **state)
{
	struct fixture *f = *state;

	NEED(f);
	for (unsigned round = 0; round < 10; round++) {
		uint64_t wanted = round % 2 ? ALL : ALL & ~VIRTIO_BIT(VIRTIO_NET_F_MQ);

		start(f, wanted, round % 2 ? CONTROL + 1 : 3);
		if (round % 2)
			assert_int_equal(set_pairs(f, 2), VIRTIO_NET_OK);
		for (unsigned i = 0; i < 3; i++) {
			sends(f, 1, 100, i);
			receives(f, 0, 100, i);
		}
		guest_offers(f, 0);
		reset(f);
		assert_int_equal(f->v->inflight, 0);
		assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	}
	assert_int_equal(f->c->vhost_starts, f->c->vhost_stops);
}

static void broken_ring_needs_a_reset(void **state)
{
	struct fixture *f = *state;
	uint64_t end = loop_now_ns() + 10 * NSEC_PER_SEC;

	NEED(f);
	start(f, ALL & ~VIRTIO_BIT(VIRTIO_NET_F_MQ), 3);
	sends(f, 1, 100, 1);
	drv_add(&f->d, 1, &(struct drv_buf){ 1ull << 40, 100, false }, 1);
	drv_kick(&f->d, 1);
	while (drv_status(&f->d) == 0xf && loop_now_ns() < end)
		loop_poll(&f->loop, 10);
	assert_int_equal(drv_status(&f->d), 0x4f);
	drv_poll(&f->loop);
	assert_int_equal(f->c->vhost_errors, 1);
	assert_int_equal(f->c->vhost_stops, 1);
	reset(f);
	start(f, ALL & ~VIRTIO_BIT(VIRTIO_NET_F_MQ), 3);
	sends(f, 1, 100, 2);
	receives(f, 0, 100, 3);
}

static void ends_while_it_runs(void **state)
{
	struct fixture *f = *state;

	NEED(f);
	start(f, ALL, CONTROL + 1); /* the rest is the teardown's */
	guest_offers(f, 0);
	guest_sends(f, 1, 100, 1);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(kernel_moves_the_frames),
		T(control_queue_stays_with_us),
		T(pairs_change_while_it_runs),
		T(resets_and_negotiates_again),
		T(broken_ring_needs_a_reset),
		T(ends_while_it_runs),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	if (access("/dev/vhost-net", R_OK | W_OK) == 0 && !tap_host_enter()) {
		fprintf(stderr, "no network namespace: %s\n", strerror(errno));
		return 77;
	}
	return cmocka_run_group_tests_name("net-path", tests, NULL, NULL);
}
