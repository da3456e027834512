/* SPDX-License-Identifier: Apache-2.0 */
/* The transport and the device base, with a toy device behind them. */
#include "test.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev.h"
#include "drv.h"
#include "fake-kvm.h"
#include "log.h"
#include "loop.h"
#include "num.h"
#include "vmmio.h"

#define BASE	  0xc0001000ull
#define N_QUEUES  2
#define NEEDS_RST 0x40u
#define HELD_MAX  64

/* Gives requests back at once, or keeps them until it is told to. */
struct toy {
	struct virtio_dev v;
	uint8_t config[12];
	bool hold, fail_activation;
	uint16_t held[HELD_MAX];
	unsigned n_held, kicks, resets, destroyed;
	pthread_t finisher;
};

static struct toy *toy_of(struct virtio_dev *v)
{
	return container_of(v, struct toy, v);
}

static const void *toy_config(struct virtio_dev *v, size_t *ret_len)
{
	*ret_len = sizeof(toy_of(v)->config);
	return toy_of(v)->config;
}

static int toy_config_write(struct virtio_dev *v, size_t off, const void *data, size_t len)
{
	if (off < 8)
		return -EINVAL;
	memcpy(toy_of(v)->config + off, data, len);
	return 0;
}

static int toy_activate(struct virtio_dev *v)
{
	return toy_of(v)->fail_activation ? -EIO : 0;
}

static void toy_handle(struct virtio_dev *v, unsigned q, const struct virtq_chain *c)
{
	struct toy *t = toy_of(v);

	if (t->hold && t->n_held < HELD_MAX) {
		virtio_begin(v);
		t->held[t->n_held++] = c->head;
		return;
	}
	virtio_push(v, q, c->head, (uint32_t)c->in_len);
}

static void toy_kick(struct virtio_dev *v, unsigned q)
{
	toy_of(v)->kicks++;
	virtio_drain(v, q, VIRTIO_BATCH, toy_handle);
}

static void toy_reset(struct virtio_dev *v)
{
	assert_int_equal(v->inflight, 0);
	toy_of(v)->resets++;
}

static void toy_destroy(struct virtio_dev *v)
{
	toy_of(v)->destroyed++;
	virtio_done(v);
}

static const struct virtio_ops toy_ops = {
	.name = "toy",
	.id = 42,
	.queue_max = 128,
	.config = toy_config,
	.config_write = toy_config_write,
	.activate = toy_activate,
	.kick = toy_kick,
	.cancel = virtio_no_cancel,
	.reset = toy_reset,
	.destroy = toy_destroy,
};

struct fixture {
	struct gmem mem;
	struct loop loop;
	struct ioapic *ioapic;
	struct toy toys[2];
	struct vmmio *m[2];
	struct drv d[2];
};

static void make(struct fixture *f, unsigned i, int vmfd)
{
	struct vmmio_env env = { .mem = &f->mem,
		.loop = &f->loop,
		.vmfd = vmfd,
		.base = BASE + i * 0x1000,
		.gsi = 5 + i };

	f->toys[i] = (struct toy){ .config = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 } };
	virtio_init(&f->toys[i].v, &toy_ops, i ? "toy1" : "toy0", 0x21, N_QUEUES);
	assert_int_equal(vmmio_create(&f->toys[i].v, &env, &f->m[i], NULL), 0);
	drv_init(&f->d[i], &f->mem, vmmio_dev(f->m[i]), 0x10000 + i * 0x100000);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_kvm_reset();
	assert_int_equal(gmem_map(&f->mem, 4 * MIB, NULL), 0);
	assert_int_equal(loop_init(&f->loop, NULL), 0);
	make(f, 0, -1);
	make(f, 1, FAKE_KVM_FD);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++) {
		vmmio_destroy(f->m[i]);
		assert_int_equal(f->toys[i].destroyed, 1);
	}
	loop_done(&f->loop);
	gmem_unmap(&f->mem);
	free(f);
	return 0;
}

static uint64_t count(_Atomic uint64_t *c)
{
	return atomic_exchange(c, 0);
}

/* Sends n requests of one buffer and counts the answers. */
static unsigned echo(struct fixture *f, unsigned i, unsigned q, unsigned n)
{
	struct drv_buf buf = { 0x300000, 16, true };
	unsigned answers = 0;
	uint32_t id, len;

	for (unsigned k = 0; k < n; k++)
		drv_add(&f->d[i], q, &buf, 1);
	drv_kick(&f->d[i], q);
	drv_poll(&f->loop);
	while (drv_used(&f->d[i], q, &id, &len))
		answers += len == 16;
	return answers;
}

static void identifies_itself(void **state)
{
	struct fixture *f = *state;
	struct drv *d = &f->d[0];

	assert_int_equal(drv_get(d, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(drv_get(d, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(drv_get(d, VIRTIO_MMIO_DEVICE_ID), 42);
	assert_int_equal(drv_get(d, VIRTIO_MMIO_VENDOR_ID), VMMIO_VENDOR);
	assert_int_equal(drv_get(d, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	assert_int_equal(drv_get(d, VIRTIO_MMIO_SHM_BASE_HIGH), UINT32_MAX);
	assert_int_equal(drv_get(d, VIRTIO_MMIO_QUEUE_NUM_MAX), 128);
	drv_set(d, VIRTIO_MMIO_QUEUE_SEL, N_QUEUES);
	assert_int_equal(drv_get(d, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	assert_int_equal(drv_get(d, VIRTIO_MMIO_QUEUE_READY), 0);
	assert_int_equal(count(&f->toys[0].v.counters.bad_access), 0);
}

static void never_offers_access_platform(void **state)
{
	struct fixture *f = *state;
	uint64_t offered = f->toys[0].v.features;

	assert_true(offered == (0x21 | VIRTIO_COMMON_FEATURES));
	assert_false(offered & VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM));
	drv_set(&f->d[0], VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	assert_int_equal(drv_get(&f->d[0], VIRTIO_MMIO_DEVICE_FEATURES), 1);
	drv_set(&f->d[0], VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(drv_get(&f->d[0], VIRTIO_MMIO_DEVICE_FEATURES), 0);
}

static void ignores_and_counts_bad_accesses(void **state)
{
	struct fixture *f = *state;
	struct drv *d = &f->d[0];
	uint64_t data = UINT64_MAX;

	drv_read(d, VIRTIO_MMIO_MAGIC_VALUE, &data, 2);
	assert_int_equal((uint16_t)data, 0);
	drv_read(d, VIRTIO_MMIO_MAGIC_VALUE, &data, 8);
	assert_true(data == 0);
	drv_read(d, VIRTIO_MMIO_MAGIC_VALUE + 2, &data, 4);
	assert_int_equal((uint32_t)data, 0);
	assert_int_equal(drv_get(d, 0xc0), 0); /* QueueReset is not there */
	drv_write(d, VIRTIO_MMIO_STATUS, "\1", 1);
	drv_set(d, VIRTIO_MMIO_MAGIC_VALUE, 7);
	drv_set(d, 0xc0, 1);
	assert_int_equal(count(&f->toys[0].v.counters.bad_access), 7);
	assert_int_equal(drv_status(d), 0);
}

static void config_space_has_bounds(void **state)
{
	struct fixture *f = *state;
	struct drv *d = &f->d[0];
	uint8_t data[8];

	drv_read(d, VIRTIO_MMIO_CONFIG + 3, data, 1);
	assert_int_equal(data[0], 4);
	drv_read(d, VIRTIO_MMIO_CONFIG + 8, data, 8);
	assert_memory_equal(data, "\x9\xa\xb\xc\0\0\0\0", 8);
	drv_read(d, VIRTIO_MMIO_CONFIG + 12, data, 8);
	assert_memory_equal(data, "\0\0\0\0\0\0\0\0", 8);
	drv_read(d, 0xff8, data, 8);
	drv_write(d, VIRTIO_MMIO_CONFIG + 8, "\xee", 1); /* no driver yet */
	drv_set(d, VIRTIO_MMIO_STATUS, 3);
	drv_write(d, VIRTIO_MMIO_CONFIG + 9, "\xff\xff\xff\xff", 4); /* one byte too long */
	drv_write(d, VIRTIO_MMIO_CONFIG + 4, "\xff", 1);	     /* the device says no */
	assert_int_equal(count(&f->toys[0].v.counters.bad_config), 3);
	drv_write(d, VIRTIO_MMIO_CONFIG + 8, "\xee", 1);
	assert_int_equal(f->toys[0].config[8], 0xee);
	assert_int_equal(count(&f->toys[0].v.counters.bad_config), 0);
}

static void status_moves_forward_only(void **state)
{
	static const struct {
		uint32_t writes[4], status, refused;
	} cases[] = {
		{ { 1, 3 }, 3, 0 },
		{ { 3 }, 3, 0 },
		{ { 1, 1, 3, 3 }, 3, 0 },
		{ { 2 }, 0, 1 },
		{ { 1, 2 }, 1, 1 },
		{ { 3, 1 }, 3, 1 },
		{ { 4 }, 0, 1 },
		{ { 3, 7 }, 3, 1 },
		{ { 1, 0x11 }, 1, 1 },
		{ { 3, 0x83, 3 }, 0x83, 1 }, /* FAILED ends it */
		{ { 0x80 }, 0x80, 0 },
		{ { 0x40 }, 0, 1 }, /* the device's own bit */
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		drv_reset(&f->d[0]);
		for (unsigned k = 0; k < 4 && cases[i].writes[k]; k++)
			drv_set(&f->d[0], VIRTIO_MMIO_STATUS, cases[i].writes[k]);
		assert_int_equal(drv_status(&f->d[0]), cases[i].status);
		assert_int_equal(count(&f->toys[0].v.counters.bad_status), cases[i].refused);
	}
}

static void features_are_checked_even_if_the_step_is_skipped(void **state)
{
	struct fixture *f = *state;
	struct drv *d = &f->d[0];

	drv_set(d, VIRTIO_MMIO_STATUS, 0xf); /* without VERSION_1 */
	assert_int_equal(drv_status(d), 3);
	drv_set(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	drv_set(d, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	drv_set(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	drv_set(d, VIRTIO_MMIO_DRIVER_FEATURES, 0x23); /* bit 1 is not offered */
	drv_set(d, VIRTIO_MMIO_STATUS, 0xb);
	assert_int_equal(drv_status(d), 3);
	drv_set(d, VIRTIO_MMIO_DRIVER_FEATURES, 0x21);
	drv_set(d, VIRTIO_MMIO_STATUS, 0xf);
	assert_int_equal(drv_status(d), 0xf);
	assert_int_equal(count(&f->toys[0].v.counters.bad_features), 2);
	drv_set(d, VIRTIO_MMIO_DRIVER_FEATURES, 0x1);
	assert_int_equal(f->toys[0].v.acked & 0xff, 0x21); /* too late */
	assert_int_equal(count(&f->toys[0].v.counters.bad_access), 1);
}

static void queues_are_set_between_features_and_driver_ok(void **state)
{
	struct fixture *f = *state;
	struct drv *d = &f->d[0];
	struct virtq *q = &f->toys[0].v.queues[0];

	drv_set(d, VIRTIO_MMIO_QUEUE_NUM, 8);
	assert_int_equal(q->size, 0);
	drv_negotiate(d, 0);
	drv_set(d, VIRTIO_MMIO_QUEUE_NUM, 256); /* more than the device has */
	assert_int_equal(q->size, 0);
	drv_queue(d, 0, 8);
	drv_set(d, VIRTIO_MMIO_QUEUE_NUM, 16); /* ready: final */
	assert_int_equal(q->size, 8);
	drv_set(d, VIRTIO_MMIO_STATUS, 0xf);
	drv_set(d, VIRTIO_MMIO_QUEUE_READY, 0);
	assert_int_equal(drv_get(d, VIRTIO_MMIO_QUEUE_READY), 1);
	assert_int_equal(count(&f->toys[0].v.counters.bad_access), 4);
	drv_set(d, VIRTIO_MMIO_STATUS, 0);
	drv_set(d, VIRTIO_MMIO_QUEUE_READY, 0); /* Linux takes its queues down after the reset */
	assert_int_equal(count(&f->toys[0].v.counters.bad_access), 0);
}

static void serves_and_interrupts(void **state)
{
	struct fixture *f = *state;
	struct drv *d = &f->d[0];

	assert_int_equal(drv_start(d, VIRTIO_COMMON_FEATURES, N_QUEUES, 64), 0xf);
	drv_poll(&f->loop); /* the kick of the activation */
	assert_int_equal(drv_get(d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	assert_int_equal(echo(f, 0, 1, 5), 5);
	assert_int_equal(drv_get(d, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_ISR_USED);
	assert_int_equal(vmmio_raised(f->m[0]), 1); /* one for the batch */
	drv_set(d, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_ISR_USED);
	assert_int_equal(drv_get(d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

static void activation_kicks_what_was_queued_before(void **state)
{
	struct fixture *f = *state;
	struct drv *d = &f->d[0];
	struct drv_buf buf = { 0x300000, 16, true };
	uint32_t id, len;

	drv_negotiate(d, VIRTIO_COMMON_FEATURES);
	drv_queue(d, 0, 8);
	drv_add(d, 0, &buf, 1);
	drv_kick(d, 0); /* before DRIVER_OK: counted, not served */
	drv_poll(&f->loop);
	assert_int_equal(count(&f->toys[0].v.counters.stray_kicks), 1);
	assert_false(drv_used(d, 0, &id, &len));
	drv_set(d, VIRTIO_MMIO_STATUS, 0xf);
	drv_poll(&f->loop);
	assert_true(drv_used(d, 0, &id, &len));
	drv_kick(d, 1); /* a queue that was not set up, and one that does not exist */
	drv_kick(d, 77);
	drv_poll(&f->loop);
	assert_int_equal(count(&f->toys[0].v.counters.stray_kicks), 2);
}

static void doorbells_are_ioeventfds(void **state)
{
	struct fixture *f = *state;
	struct drv_buf buf = { 0x300000, 16, true };
	uint32_t id, len;

	assert_int_equal(fake_kvm.n_ioeventfds, N_QUEUES);
	for (unsigned q = 0; q < N_QUEUES; q++) {
		assert_true(fake_kvm.ioeventfds[q].addr == BASE + 0x1050);
		assert_int_equal(fake_kvm.ioeventfds[q].len, 4);
		assert_int_equal(fake_kvm.ioeventfds[q].datamatch, q);
		assert_int_equal(fake_kvm.ioeventfds[q].flags, KVM_IOEVENTFD_FLAG_DATAMATCH);
	}
	drv_start(&f->d[1], VIRTIO_COMMON_FEATURES, N_QUEUES, 8);
	drv_poll(&f->loop);
	drv_add(&f->d[1], 1, &buf, 1);
	assert_true(fake_kvm_store(BASE + 0x1050, 4, 1));
	assert_false(fake_kvm_store(BASE + 0x1050, 4, 2));
	drv_poll(&f->loop);
	assert_true(drv_used(&f->d[1], 1, &id, &len));
}

static void creation_fails_cleanly(void **state)
{
	struct fixture *f = *state;
	struct toy t = { .hold = false };
	struct vmmio_env env = {
		.mem = &f->mem, .loop = &f->loop, .vmfd = FAKE_KVM_FD, .base = BASE
	};
	struct vmmio *m = NULL;
	struct volt_err err = { 0 };

	virtio_init(&t.v, &toy_ops, "toy", 0, 1);
	fake_kvm.fail_ioeventfd = -ENOSPC;
	assert_int_equal(vmmio_create(&t.v, &env, &m, &err), -ENOSPC);
	assert_null(m);
	assert_string_equal(err.msg, "toy.q0: KVM_IOEVENTFD: No space left on device");
	assert_int_equal(t.destroyed, 0); /* still the caller's */
	virtio_done(&t.v);
}

static void a_storm_is_served_in_batches(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->d[0], VIRTIO_COMMON_FEATURES, 1, 128);
	drv_poll(&f->loop);
	f->toys[0].kicks = 0;
	assert_int_equal(echo(f, 0, 0, 128), 128);
	assert_int_equal(f->toys[0].kicks, 3); /* 64, 64, and a look that finds nothing */
}

/* Seed 004, fix 1: a reset clears the state of the queues, and the device works again. */
static void reset_negotiate_io_any_number_of_times(void **state)
{
	struct fixture *f = *state;

	for (unsigned round = 0; round < 10; round++) {
		uint64_t wanted = round % 2 ? VIRTIO_COMMON_FEATURES : 0;

		drv_reset(&f->d[0]);
		drv_reset(&f->d[0]); /* as drivers do */
		assert_int_equal(drv_status(&f->d[0]), 0);
		assert_int_equal(drv_get(&f->d[0], VIRTIO_MMIO_INTERRUPT_STATUS), 0);
		assert_int_equal(drv_start(&f->d[0], wanted, N_QUEUES, 32), 0xf);
		assert_int_equal(echo(f, 0, 0, 7), 7);
		assert_int_equal(echo(f, 0, 1, 32), 32);
		assert_int_equal(drv_get(&f->d[0], VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_ISR_USED);
	}
	assert_int_equal(f->toys[0].resets, 20);
}

static void *finish_held(void *arg)
{
	struct toy *t = arg;

	for (;;) {
		virtio_lock(&t->v);
		if (t->v.draining > 0)
			break;
		virtio_unlock(&t->v);
	}
	while (t->n_held > 0) {
		assert_false(virtio_running(&t->v));
		virtio_push(&t->v, 0, t->held[--t->n_held], 0);
		virtio_end(&t->v);
	}
	virtio_unlock(&t->v);
	return NULL;
}

static void reset_waits_for_what_is_in_flight(void **state)
{
	struct fixture *f = *state;
	struct toy *t = &f->toys[0];

	for (unsigned round = 0; round < 5; round++) {
		t->hold = true;
		drv_start(&f->d[0], VIRTIO_COMMON_FEATURES, 1, 32);
		assert_int_equal(echo(f, 0, 0, 20), 0);
		assert_int_equal(t->v.inflight, 20);
		assert_int_equal(pthread_create(&t->finisher, NULL, finish_held, t), 0);
		drv_reset(&f->d[0]);
		assert_int_equal(t->v.inflight, 0);
		assert_int_equal(drv_status(&f->d[0]), 0);
		pthread_join(t->finisher, NULL);
		t->hold = false;
		drv_start(&f->d[0], VIRTIO_COMMON_FEATURES, 1, 32);
		assert_int_equal(echo(f, 0, 0, 20), 20);
		drv_reset(&f->d[0]);
	}
}

static void assert_needs_reset(struct fixture *f, unsigned i)
{
	assert_int_equal(drv_status(&f->d[i]), 0xf | NEEDS_RST);
	assert_true(drv_get(&f->d[i], VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_ISR_CONFIG);
	assert_int_equal(count(&f->toys[i].v.counters.failures), 1);
}

/* The device stops, its neighbour does not, and a reset heals it. */
static void assert_recovers(struct fixture *f)
{
	struct drv_buf buf = { 0x300000, 16, true };
	uint32_t id, len;

	drv_set(&f->d[0], VIRTIO_MMIO_STATUS, 0xf); /* does not help */
	assert_true(drv_status(&f->d[0]) & NEEDS_RST);
	drv_add(&f->d[0], 0, &buf, 1);
	drv_kick(&f->d[0], 0);
	drv_poll(&f->loop);
	assert_false(drv_used(&f->d[0], 0, &id, &len));
	assert_int_equal(echo(f, 1, 0, 8), 8);
	drv_reset(&f->d[0]);
	assert_int_equal(drv_start(&f->d[0], VIRTIO_COMMON_FEATURES, 1, 32), 0xf);
	assert_int_equal(echo(f, 0, 0, 8), 8);
	drv_reset(&f->d[0]);
}

static void broken_protocol_needs_a_reset_of_this_device_only(void **state)
{
	struct fixture *f = *state;
	struct virtio_counters *c = &f->toys[0].v.counters;
	struct drv *d = &f->d[0];

	drv_start(&f->d[1], VIRTIO_COMMON_FEATURES, 1, 32);
	for (unsigned kind = 0; kind < 4; kind++) {
		struct drv_buf buf = { kind == 3 ? 1ull << 50 : 0x300000, 16, true };

		drv_start(d, VIRTIO_COMMON_FEATURES, 1, 32);
		drv_add(d, 0, &buf, 1);
		if (kind == 0) /* a loop */
			drv_desc(d, d->q[0].desc, 0, 0x300000, 16, DRV_NEXT, 0);
		if (kind == 1) /* an index that jumps */
			drv_put16(d, d->q[0].avail + 2, 100);
		if (kind == 2) /* a head outside the table */
			drv_put16(d, d->q[0].avail + 4, 32);
		drv_kick(d, 0);
		drv_poll(&f->loop);
		assert_needs_reset(f, 0);
		assert_int_equal(count(&c->bad_chains), kind != 3);
		assert_int_equal(count(&c->bad_addresses), kind == 3);
		assert_recovers(f);
	}
}

static void bad_queues_fail_the_activation(void **state)
{
	struct fixture *f = *state;
	struct drv *d = &f->d[0];

	drv_start(&f->d[1], VIRTIO_COMMON_FEATURES, 1, 32);
	for (unsigned kind = 0; kind < 3; kind++) {
		drv_negotiate(d, VIRTIO_COMMON_FEATURES);
		drv_queue(d, 0, 32);
		drv_set(d, VIRTIO_MMIO_QUEUE_READY, 0);
		if (kind == 0)
			drv_set(d, VIRTIO_MMIO_QUEUE_DESC_HIGH, 77);
		if (kind == 1)
			drv_set(d, VIRTIO_MMIO_QUEUE_NUM, 33);
		drv_set(d, VIRTIO_MMIO_QUEUE_READY, 1);
		f->toys[0].fail_activation = kind == 2;
		drv_set(d, VIRTIO_MMIO_STATUS, 0xf);
		f->toys[0].fail_activation = false;
		assert_needs_reset(f, 0);
		assert_recovers(f);
	}
}

static void config_change_has_a_generation_and_an_interrupt(void **state)
{
	struct fixture *f = *state;
	struct virtio_dev *v = &f->toys[0].v;
	uint32_t before = drv_get(&f->d[0], VIRTIO_MMIO_CONFIG_GENERATION);

	virtio_lock(v);
	virtio_config_changed(v);
	virtio_unlock(v);
	assert_int_equal(drv_get(&f->d[0], VIRTIO_MMIO_CONFIG_GENERATION), before + 1);
	assert_int_equal(vmmio_raised(f->m[0]), 0); /* nobody is there to be told */
	drv_start(&f->d[0], 0, 1, 8);
	virtio_lock(v);
	virtio_config_changed(v);
	virtio_unlock(v);
	assert_int_equal(drv_get(&f->d[0], VIRTIO_MMIO_CONFIG_GENERATION), before + 2);
	assert_int_equal(drv_get(&f->d[0], VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_ISR_CONFIG);
	drv_reset(&f->d[0]);
	assert_int_equal(drv_get(&f->d[0], VIRTIO_MMIO_CONFIG_GENERATION), before + 2);
}

static void polled_registers_take_no_lock(void **state)
{
	struct fixture *f = *state;

	/* The loop thread holds the lock for the time of a disk read; this must not hang. */
	virtio_lock(&f->toys[0].v);
	drv_get(&f->d[0], VIRTIO_MMIO_INTERRUPT_STATUS);
	drv_set(&f->d[0], VIRTIO_MMIO_INTERRUPT_ACK, 3);
	drv_status(&f->d[0]);
	drv_get(&f->d[0], VIRTIO_MMIO_CONFIG_GENERATION);
	drv_kick(&f->d[0], 0);
	virtio_unlock(&f->toys[0].v);
}

static void failed_driver_stops_the_device(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->d[0], 0, 1, 8);
	drv_set(&f->d[0], VIRTIO_MMIO_STATUS, 0x8f);
	assert_int_equal(echo(f, 0, 0, 1), 0);
	drv_reset(&f->d[0]);
	drv_start(&f->d[0], 0, 1, 8);
	assert_int_equal(echo(f, 0, 0, 1), 1);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(identifies_itself),
		T(never_offers_access_platform),
		T(ignores_and_counts_bad_accesses),
		T(config_space_has_bounds),
		T(status_moves_forward_only),
		T(features_are_checked_even_if_the_step_is_skipped),
		T(queues_are_set_between_features_and_driver_ok),
		T(serves_and_interrupts),
		T(activation_kicks_what_was_queued_before),
		T(doorbells_are_ioeventfds),
		T(creation_fails_cleanly),
		T(a_storm_is_served_in_batches),
		T(reset_negotiate_io_any_number_of_times),
		T(reset_waits_for_what_is_in_flight),
		T(broken_protocol_needs_a_reset_of_this_device_only),
		T(bad_queues_fail_the_activation),
		T(config_change_has_a_generation_and_an_interrupt),
		T(polled_registers_take_no_lock),
		T(failed_driver_stops_the_device),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("vmmio", tests, NULL, NULL);
}
