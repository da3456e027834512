/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transport and the device's side of a data path in the kernel, with a toy network device
 * before it and a kernel that the test plays: it looks into the rings only when it is told to.
 */
#include "test.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dev.h"
#include "drv.h"
#include "fake-kvm.h"
#include "ioapic.h"
#include "log.h"
#include "loop.h"
#include "net-vhost.h"
#include "net.h"
#include "netif.h"
#include "vhost-net.h"
#include "vmmio.h"

#define BASE	0xc0001000ull
#define GSI	6
#define PAIRS	2
#define CONTROL (2 * PAIRS)
#define DATA	0x300000ull
#define ALL	(VIRTIO_COMMON_FEATURES | 0x8000)

/* -- the kernel ------------------------------------------------------------------------------ */

struct vhost_net {
	struct vhost_ring rings[2 * PAIRS];
	uint16_t bases[2 * PAIRS];
	struct vhost_region regions[4];
	size_t n_regions;
	uint64_t features;
	unsigned n_pairs; /* that run */
	int tapfds[PAIRS];
	int errfd, start_answer, stop_answer;
	unsigned starts, stops, destroyed;
};

static struct vhost_net kernel;

int vhost_net_set_memory(
	struct vhost_net *v, const struct vhost_region *regions, size_t n, struct volt_err *err)
{
	(void)err;
	assert_true(n <= 4);
	memcpy(v->regions, regions, n * sizeof(regions[0]));
	v->n_regions = n;
	return 0;
}

int vhost_net_start(struct vhost_net *v, uint64_t features, const struct vhost_ring *rings,
	const int *tapfds, unsigned n_pairs, struct volt_err *err)
{
	assert_int_equal(v->n_pairs, 0);
	v->starts++;
	if (v->start_answer < 0)
		return volt_err_set(err, -v->start_answer, "VHOST_PLAYED: %m");
	memcpy(v->rings, rings, 2 * n_pairs * sizeof(rings[0]));
	memcpy(v->tapfds, tapfds, n_pairs * sizeof(tapfds[0]));
	for (unsigned i = 0; i < 2 * n_pairs; i++)
		v->bases[i] = rings[i].base;
	v->features = features;
	v->n_pairs = n_pairs;
	return 0;
}

int vhost_net_stop(struct vhost_net *v)
{
	assert_int_not_equal(v->n_pairs, 0);
	v->stops++;
	v->n_pairs = 0;
	return v->stop_answer;
}

uint16_t vhost_net_base(const struct vhost_net *v, unsigned i)
{
	return v->bases[i];
}

int vhost_net_errfd(const struct vhost_net *v)
{
	return v->errfd;
}

void vhost_net_destroy(struct vhost_net *v)
{
	v->destroyed++;
}

static uint16_t *word(uint64_t host)
{
	return (uint16_t *)(uintptr_t)host;
}

/* The kernel gives back all that is in ring i, and interrupts. The number of requests. */
static unsigned kernel_serves(unsigned i)
{
	const struct vhost_ring *r = &kernel.rings[i];
	uint16_t *avail = word(r->avail), *used = word(r->used);
	unsigned n = 0;

	assert_true(i < 2 * kernel.n_pairs);
	for (; kernel.bases[i] != avail[1]; n++) {
		uint32_t entry[2] = { avail[2 + kernel.bases[i] % r->size], 16 };

		memcpy(&used[2 + 4 * (used[1] % r->size)], entry, sizeof(entry));
		used[1]++;
		kernel.bases[i]++;
	}
	assert_int_equal(write(r->callfd, &(uint64_t){ 1 }, 8), 8);
	return n;
}

/* Is the descriptor readable now? */
static bool rung(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* -- the device ------------------------------------------------------------------------------ */

struct toy {
	struct virtio_dev v;
	struct netif netif;
	struct net_vhost *path;
	struct net_counters counters;
	bool tried;
	unsigned want_pairs, served, control, cancels;
};

static struct toy *toy_of(struct virtio_dev *v)
{
	return container_of(v, struct toy, v);
}

static void handle(struct virtio_dev *v, unsigned q, const struct virtq_chain *c)
{
	toy_of(v)->served += q != CONTROL;
	toy_of(v)->control += q == CONTROL;
	virtio_push(v, q, c->head, 16);
}

static void toy_kick(struct virtio_dev *v, unsigned q)
{
	struct toy *t = toy_of(v);

	if (!t->tried) {
		t->tried = true;
		net_vhost_start(t->path, t->want_pairs);
	}
	if (q == CONTROL || !net_vhost_running(t->path))
		virtio_drain(v, q, VIRTIO_BATCH, handle);
}

static void toy_cancel(struct virtio_dev *v)
{
	toy_of(v)->cancels++;
	net_vhost_stop(toy_of(v)->path);
}

static void toy_reset(struct virtio_dev *v)
{
	toy_of(v)->tried = false;
}

static void toy_destroy(struct virtio_dev *v)
{
	net_vhost_destroy(toy_of(v)->path);
	virtio_done(v);
}

static const struct virtio_ops toy_ops = {
	.name = "toy",
	.id = 1,
	.queue_max = 64,
	.config = virtio_no_config,
	.config_write = virtio_no_config_write,
	.activate = virtio_no_activate,
	.kick = toy_kick,
	.cancel = toy_cancel,
	.reset = toy_reset,
	.destroy = toy_destroy,
};

struct fixture {
	struct gmem mem;
	struct loop loop;
	struct ioapic apic;
	struct toy t;
	struct vmmio *m;
	struct drv d;
	bool done; /* another thread has finished */
};

static void make(struct fixture *f, bool irqfd)
{
	struct vmmio_env env = { .mem = &f->mem,
		.loop = &f->loop,
		.vmfd = FAKE_KVM_FD,
		.base = BASE,
		.ioapic = &f->apic,
		.gsi = GSI,
		.irqfd = irqfd };

	f->t = (struct toy){ .want_pairs = PAIRS };
	f->t.netif = (struct netif){ .n_queues = PAIRS, .fds = { 71, 72 } };
	virtio_init(&f->t.v, &toy_ops, "net0", 0x8000, CONTROL + 1);
	assert_int_equal(net_vhost_set_memory(&kernel, &f->mem, NULL), 0);
	assert_int_equal(net_vhost_create(&f->t.v, &f->t.netif, &kernel, &f->loop, &f->t.counters,
				 &f->t.path, NULL),
		0);
	assert_int_equal(vmmio_create(&f->t.v, &env, &f->m, NULL), 0);
	drv_init(&f->d, &f->mem, vmmio_dev(f->m), 0x10000);
}

static int setup_with(void **state, bool irqfd)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_kvm_reset();
	kernel = (struct vhost_net){ .errfd = eventfd(0, EFD_NONBLOCK) };
	assert_int_equal(gmem_map(&f->mem, 8 * MIB, NULL), 0);
	assert_int_equal(loop_init(&f->loop, NULL), 0);
	ioapic_init(&f->apic, FAKE_KVM_FD);
	make(f, irqfd);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, true);
}

static int setup_without(void **state)
{
	return setup_with(state, false);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vmmio_destroy(f->m);
	assert_int_equal(kernel.destroyed, 1);
	close(kernel.errfd);
	ioapic_done(&f->apic);
	loop_done(&f->loop);
	gmem_unmap(&f->mem);
	free(f);
	return 0;
}

/* Up to DRIVER_OK, with the kernel serving; for a start that fails drv_poll() does no more. */
static void start(struct fixture *f)
{
	assert_int_equal(drv_start(&f->d, ALL, CONTROL + 1, 16), 0xf);
	drv_poll(&f->loop);
}

static void add(struct fixture *f, unsigned q, unsigned n)
{
	struct drv_buf buf = { DATA, 16, true };

	while (n--)
		drv_add(&f->d, q, &buf, 1);
}

static unsigned answers(struct fixture *f, unsigned q)
{
	unsigned n = 0;
	uint32_t id, len;

	while (drv_used(&f->d, q, &id, &len))
		n += len == 16;
	return n;
}

static uint32_t isr(struct fixture *f)
{
	return drv_get(&f->d, VIRTIO_MMIO_INTERRUPT_STATUS);
}

static void ack(struct fixture *f, uint32_t v)
{
	drv_set(&f->d, VIRTIO_MMIO_INTERRUPT_ACK, v);
}

static void *reset_thread(void *arg)
{
	struct fixture *f = arg;

	drv_reset(&f->d);
	__atomic_store_n(&f->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* A reset waits for the loop thread; here it has a thread, as a vCPU has. */
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

static void irqfd_is_made_once_and_on_demand(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fake_kvm.n_irqfds, 1);
	assert_int_equal(fake_kvm.irqfds[0].gsi, GSI);
	assert_int_equal(fake_kvm.irqfds[0].fd, f->t.v.link->callfd);
	for (unsigned round = 0; round < 3; round++) {
		start(f);
		reset(f);
	}
	assert_int_equal(fake_kvm.n_irqfds, 1);
	assert_int_equal(fake_kvm.n_routings, 0);
}

static void without_irqfd_the_device_does_it_itself(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fake_kvm.n_irqfds, 0);
	assert_int_equal(f->t.v.link->callfd, -1);
	start(f);
	assert_int_equal(kernel.starts, 0);
	assert_int_equal(f->t.counters.vhost_errors, 1);
	add(f, 1, 3);
	drv_kick(&f->d, 1);
	drv_poll(&f->loop);
	assert_int_equal(answers(f, 1), 3);
}

static void kernel_is_told_all(void **state)
{
	struct fixture *f = *state;
	uint8_t *host = f->mem.regions[0].host;

	start(f);
	assert_int_equal(kernel.n_regions, 1);
	assert_true(kernel.regions[0].gpa == 0 && kernel.regions[0].bytes == 8 * MIB);
	assert_true(kernel.regions[0].host == (uintptr_t)host);
	assert_int_equal(kernel.n_pairs, PAIRS);
	assert_true(kernel.features == (ALL & f->t.v.features));
	assert_int_equal(kernel.tapfds[0], 71);
	assert_int_equal(kernel.tapfds[1], 72);
	for (unsigned q = 0; q < CONTROL; q++) {
		const struct vhost_ring *r = &kernel.rings[q];

		assert_int_equal(r->size, 16);
		assert_int_equal(r->base, 0);
		assert_true(r->desc == (uintptr_t)(host + f->d.q[q].desc));
		assert_true(r->avail == (uintptr_t)(host + f->d.q[q].avail));
		assert_true(r->used == (uintptr_t)(host + f->d.q[q].used));
		assert_int_equal(r->callfd, f->t.v.link->callfd);
		assert_int_equal(r->kickfd, fake_kvm.ioeventfds[q].fd);
	}
	assert_int_equal(f->t.counters.vhost_starts, 1);
	assert_int_equal(f->t.v.inflight, 1);
}

static void kicks_reach_the_kernel_and_not_the_loop(void **state)
{
	struct fixture *f = *state;

	start(f);
	for (unsigned q = 0; q < CONTROL; q++)
		loop_drain(kernel.rings[q].kickfd);
	add(f, 1, 5);
	assert_true(fake_kvm_store(BASE + VIRTIO_MMIO_QUEUE_NOTIFY, 4, 1));
	drv_poll(&f->loop);
	assert_true(rung(kernel.rings[1].kickfd));
	assert_false(rung(kernel.rings[3].kickfd));
	drv_kick(&f->d, 3); /* one that KVM did not take ends there too */
	drv_poll(&f->loop);
	assert_true(rung(kernel.rings[3].kickfd));
	assert_int_equal(f->t.served, 0);
	assert_int_equal(kernel_serves(1), 5);
	assert_true(rung(f->t.v.link->callfd));
	assert_int_equal(answers(f, 1), 5);
	add(f, CONTROL, 2); /* the control queue is ours */
	drv_kick(&f->d, CONTROL);
	drv_poll(&f->loop);
	assert_int_equal(answers(f, CONTROL), 2);
	assert_int_equal(f->t.control, 2);
}

static void used_bit_cannot_be_acknowledged_away(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(isr(f), 0);
	start(f);
	assert_int_equal(isr(f), VIRTIO_ISR_USED);
	ack(f, VIRTIO_ISR_USED);
	assert_int_equal(isr(f), VIRTIO_ISR_USED);
	virtio_lock(&f->t.v);
	virtio_config_changed(&f->t.v);
	virtio_unlock(&f->t.v);
	assert_int_equal(isr(f), VIRTIO_ISR_USED | VIRTIO_ISR_CONFIG);
	ack(f, VIRTIO_ISR_USED | VIRTIO_ISR_CONFIG);
	assert_int_equal(isr(f), VIRTIO_ISR_USED);
	reset(f);
	assert_int_equal(isr(f), 0);
}

static void polled_registers_take_no_lock(void **state)
{
	struct fixture *f = *state;

	start(f);
	virtio_lock(&f->t.v); /* this must not hang */
	assert_int_equal(isr(f), VIRTIO_ISR_USED);
	ack(f, VIRTIO_ISR_USED);
	drv_kick(&f->d, 1);
	virtio_unlock(&f->t.v);
}

static void stop_goes_on_where_the_kernel_was(void **state)
{
	struct fixture *f = *state;

	start(f);
	for (unsigned round = 0; round < 5; round++) {
		add(f, 1, 7);
		assert_int_equal(kernel_serves(1), 7);
		assert_int_equal(answers(f, 1), 7);
		add(f, 1, 3); /* these, the kernel has not seen */
		ack(f, 3);
		virtio_lock(&f->t.v);
		net_vhost_stop(f->t.path);
		assert_int_equal(f->t.v.inflight, 0);
		virtio_unlock(&f->t.v);
		assert_int_equal(isr(f), VIRTIO_ISR_USED); /* of its last interrupts */
		ack(f, 3);
		assert_int_equal(isr(f), 0);
		drv_poll(&f->loop); /* by the kick that comes with the doorbell */
		assert_int_equal(f->t.served, 3);
		assert_int_equal(answers(f, 1), 3);
		assert_int_equal(isr(f), VIRTIO_ISR_USED);
		add(f, 1, 1);
		drv_kick(&f->d, 1);
		drv_poll(&f->loop);
		assert_int_equal(answers(f, 1), 1);
		virtio_lock(&f->t.v);
		assert_int_equal(net_vhost_start(f->t.path, PAIRS), 0);
		virtio_unlock(&f->t.v);
		assert_int_equal(kernel.rings[1].base, 11 * (round + 1));
		assert_int_equal(kernel.rings[0].base, 0);
		f->t.served = 0;
	}
	assert_int_equal(f->t.counters.vhost_starts, 6);
	assert_int_equal(f->t.counters.vhost_stops, 5);
}

static void fewer_pairs_leave_the_others_to_the_device(void **state)
{
	struct fixture *f = *state;

	f->t.want_pairs = 1;
	start(f);
	assert_int_equal(kernel.n_pairs, 1);
	add(f, 1, 2);
	add(f, 3, 2);
	drv_kick(&f->d, 1);
	drv_kick(&f->d, 3);
	drv_poll(&f->loop);
	assert_true(rung(kernel.rings[1].kickfd));
	assert_false(rung(fake_kvm.ioeventfds[3].fd));
	assert_int_equal(answers(f, 1), 0);
}

static void queues_that_are_not_set_up_are_no_error(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(drv_start(&f->d, ALL, 2, 16), 0xf); /* of pair 0 only */
	drv_poll(&f->loop);
	assert_int_equal(kernel.starts, 0);
	assert_int_equal(f->t.counters.vhost_errors, 0);
	assert_int_equal(isr(f), 0);
	virtio_lock(&f->t.v);
	assert_int_equal(net_vhost_start(f->t.path, PAIRS + 1), -ENODATA);
	assert_int_equal(net_vhost_start(f->t.path, 0), -ENODATA);
	assert_int_equal(net_vhost_start(f->t.path, 1), 0);
	assert_int_equal(net_vhost_start(f->t.path, 1), -ENODATA);
	virtio_unlock(&f->t.v);
}

static void failed_start_changes_nothing(void **state)
{
	struct fixture *f = *state;

	kernel.start_answer = -ENOBUFS;
	assert_int_equal(drv_negotiate(&f->d, ALL), 0xb);
	for (unsigned q = 0; q <= CONTROL; q++)
		drv_queue(&f->d, q, 16);
	add(f, 1, 4);
	drv_set(&f->d, VIRTIO_MMIO_STATUS, 0xf);
	drv_poll(&f->loop);
	assert_int_equal(drv_status(&f->d), 0xf);
	assert_int_equal(kernel.starts, 1);
	assert_int_equal(f->t.counters.vhost_errors, 1);
	assert_int_equal(f->t.counters.vhost_starts, 0);
	assert_int_equal(f->t.v.inflight, 0);
	assert_int_equal(answers(f, 1), 4);
	ack(f, 3);
	assert_int_equal(isr(f), 0);
	kernel.start_answer = 0;
	drv_reset(&f->d);
	start(f);
	assert_int_equal(kernel.n_pairs, PAIRS);
}

static void reset_stops_the_kernel_first(void **state)
{
	struct fixture *f = *state;

	for (unsigned round = 0; round < 20; round++) {
		start(f);
		add(f, 1, round % 16);
		assert_int_equal(kernel_serves(1), round % 16);
		assert_int_equal(kernel.rings[1].base, 0);
		reset(f);
		assert_int_equal(kernel.n_pairs, 0);
		assert_int_equal(f->t.v.inflight, 0);
	}
	drv_poll(&f->loop);
	assert_int_equal(f->t.v.counters.stray_kicks, 0);
	assert_int_equal(kernel.starts, 20);
	assert_int_equal(kernel.stops, 20);
	assert_int_equal(f->t.cancels, 20);
}

static void assert_failed(struct fixture *f)
{
	assert_int_equal(drv_status(&f->d), 0x4f);
	assert_int_equal(kernel.n_pairs, 0);
	assert_int_equal(f->t.v.inflight, 0);
	reset(f);
	start(f);
	assert_int_equal(kernel.n_pairs, PAIRS);
	assert_int_equal(drv_status(&f->d), 0xf);
}

static void broken_ring_fails_the_device(void **state)
{
	struct fixture *f = *state;
	uint64_t one = 1;

	start(f);
	assert_int_equal(write(kernel.errfd, &one, 8), 8);
	drv_poll(&f->loop);
	assert_int_equal(f->t.counters.vhost_errors, 1);
	assert_failed(f);
	/* An error that was told just before a stop does not hit the next driver. */
	assert_int_equal(write(kernel.errfd, &one, 8), 8);
	virtio_lock(&f->t.v);
	net_vhost_stop(f->t.path);
	assert_int_equal(net_vhost_start(f->t.path, PAIRS), 0);
	virtio_unlock(&f->t.v);
	drv_poll(&f->loop);
	assert_int_equal(drv_status(&f->d), 0xf);
	assert_int_equal(f->t.counters.vhost_errors, 1);
}

static void failing_otherwise_stops_it_too(void **state)
{
	struct fixture *f = *state;

	start(f);
	drv_publish(&f->d, CONTROL, 99); /* a head outside the table of the control queue */
	drv_kick(&f->d, CONTROL);
	drv_poll(&f->loop);
	assert_failed(f);
	drv_set(&f->d, VIRTIO_MMIO_STATUS, 0x8f); /* the driver gives up */
	drv_poll(&f->loop);
	assert_int_equal(kernel.n_pairs, 0);
	reset(f);
}

static void lost_positions_fail_the_device(void **state)
{
	struct fixture *f = *state;

	start(f);
	kernel.stop_answer = -EIO;
	virtio_lock(&f->t.v);
	net_vhost_stop(f->t.path);
	virtio_unlock(&f->t.v);
	kernel.stop_answer = 0;
	drv_poll(&f->loop);
	assert_failed(f);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(irqfd_is_made_once_and_on_demand),
		cmocka_unit_test_setup_teardown(
			without_irqfd_the_device_does_it_itself, setup_without, teardown),
		T(kernel_is_told_all),
		T(kicks_reach_the_kernel_and_not_the_loop),
		T(used_bit_cannot_be_acknowledged_away),
		T(polled_registers_take_no_lock),
		T(stop_goes_on_where_the_kernel_was),
		T(fewer_pairs_leave_the_others_to_the_device),
		T(queues_that_are_not_set_up_are_no_error),
		T(failed_start_changes_nothing),
		T(reset_stops_the_kernel_first),
		T(broken_ring_fails_the_device),
		T(failing_otherwise_stops_it_too),
		T(lost_positions_fail_the_device),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("net-vhost", tests, NULL, NULL);
}
