/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-mem with a KVM that only remembers, driven by the test driver. */
#include "test.h"

#include <errno.h>
#include <linux/virtio_mem.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dev.h"
#include "drv.h"
#include "fake-kvm.h"
#include "log.h"
#include "loop.h"
#include "num.h"
#include "vmem.h"
#include "vmmio.h"

#define BASE   (512 * GIB)
#define BLOCK  (2 * MIB)
#define SLOT   (130 * MIB) /* 65 blocks */
#define SLOTS  4
#define TOTAL  (SLOTS * SLOT)
#define BLOCKS (TOTAL / BLOCK)
#define FIRST  1 /* KVM's slot 0 is RAM */
#define REQ    0x200000ull
#define ANSWER 0x201000ull
#define FEATURE VIRTIO_BIT(VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE)

enum { ACK, NACK, BUSY, ERROR };
enum { PLUG, UNPLUG, UNPLUG_ALL, STATE };
enum { PLUGGED, UNPLUGGED, MIXED };

struct fixture {
	struct gmem mem;
	struct loop loop;
	struct virtio_dev *v;
	struct vmmio *m;
	struct drv d;
	const struct vmem_counters *c;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct vmmio_env env = { .mem = &f->mem, .loop = &f->loop, .vmfd = -1, .base = 0xc0001000 };
	struct vmem_params p = { .mem = &f->mem, .vmfd = FAKE_KVM_FD, .first_slot = FIRST,
		.slot_bytes = SLOT };

	fake_kvm_reset();
	assert_int_equal(gmem_map(&f->mem, 4 * MIB, NULL), 0);
	assert_int_equal(gmem_add_blocks(&f->mem, BASE, TOTAL, BLOCK, NULL), 0);
	assert_int_equal(loop_init(&f->loop, NULL), 0);
	assert_int_equal(vmem_create(&p, &f->v, NULL), 0);
	assert_int_equal(vmmio_create(f->v, &env, &f->m, NULL), 0);
	f->c = vmem_counters(f->v);
	drv_init(&f->d, &f->mem, vmmio_dev(f->m), 0x10000);
	assert_int_equal(drv_start(&f->d, FEATURE | VIRTIO_COMMON_FEATURES, 1, 64), 0xf);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vmmio_destroy(f->m);
	loop_done(&f->loop);
	gmem_unmap(&f->mem);
	free(f);
	return 0;
}

static void put(struct fixture *f, uint16_t type, uint64_t gpa, uint16_t n)
{
	uint8_t raw[24];

	memset(raw, 0xee, sizeof(raw)); /* padding means nothing */
	num_put_le16(raw, type);
	num_put_le64(raw + 8, gpa);
	num_put_le16(raw + 16, n);
	assert_int_equal(gmem_write(&f->mem, GPA(REQ), raw, sizeof(raw)), 0);
	assert_int_equal(gmem_fill(&f->mem, GPA(ANSWER), 0x77, 32), 0);
}

/* The answer to a request about n blocks from block `first` on; *state may be NULL. */
static uint16_t ask_at(struct fixture *f, uint16_t type, uint64_t gpa, uint16_t n, uint16_t *state)
{
	struct drv_buf bufs[] = { { REQ, 24, false }, { ANSWER, 10, true } };
	uint32_t id, len;

	put(f, type, gpa, n);
	drv_add(&f->d, 0, bufs, 2);
	drv_kick(&f->d, 0);
	assert_true(drv_wait(&f->d, &f->loop, 0, &id, &len));
	assert_int_equal(len, 10);
	assert_int_equal(drv_get8(&f->d, ANSWER + 10), 0x77);
	if (state)
		*state = drv_get16(&f->d, ANSWER + 8);
	return drv_get16(&f->d, ANSWER);
}

static uint16_t ask(struct fixture *f, uint16_t type, uint64_t first, uint16_t n)
{
	return ask_at(f, type, BASE + first * BLOCK, n, NULL);
}

static uint16_t state_of(struct fixture *f, uint64_t first, uint16_t n)
{
	uint16_t state;

	assert_int_equal(ask_at(f, STATE, BASE + first * BLOCK, n, &state), ACK);
	return state;
}

static void want(struct fixture *f, uint64_t blocks)
{
	assert_int_equal(vmem_want(f->v, blocks * BLOCK), 0);
}

static uint64_t plugged(struct fixture *f)
{
	struct vmem_status s;

	vmem_status(f->v, &s);
	return s.plugged_bytes / BLOCK;
}

/* Which slots KVM has, as bits. */
static unsigned slots(void)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < SLOTS; i++) {
		const struct kvm_userspace_memory_region *r = &fake_kvm.regions[FIRST + i];

		if (r->memory_size == 0)
			continue;
		assert_int_equal(r->memory_size, SLOT);
		assert_int_equal(r->guest_phys_addr, BASE + i * SLOT);
		assert_int_equal(r->flags, 0);
		bits |= 1u << i;
	}
	return bits;
}

static bool memory(struct fixture *f, uint64_t first, uint64_t n)
{
	return gmem_contains(&f->mem, GPA(BASE + first * BLOCK), n * BLOCK);
}

static uint64_t config(struct fixture *f, unsigned off)
{
	uint32_t lo = drv_get(&f->d, VIRTIO_MMIO_CONFIG + off);

	return lo | (uint64_t)drv_get(&f->d, VIRTIO_MMIO_CONFIG + off + 4) << 32;
}

static void describes_its_region(void **state)
{
	struct fixture *f = *state;
	struct vmem_status s;

	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_DEVICE_ID), 24);
	assert_int_equal(config(f, 0), BLOCK);
	assert_int_equal(config(f, 8), 0);
	assert_int_equal(config(f, 16), BASE);
	assert_int_equal(config(f, 24), TOTAL);
	assert_int_equal(config(f, 32), TOTAL);
	assert_int_equal(config(f, 40), 0);
	assert_int_equal(config(f, 48), 0);
	want(f, 3);
	assert_int_equal(config(f, 48), 3 * BLOCK);
	vmem_status(f->v, &s);
	assert_true(s.block_bytes == BLOCK && s.total_bytes == TOTAL && s.slot_bytes == SLOT &&
		s.plugged_bytes == 0 && s.wanted_bytes == 3 * BLOCK);
	assert_int_equal(slots(), 0);
}

static void a_driver_without_the_feature_is_refused(void **state)
{
	struct fixture *f = *state;

	drv_reset(&f->d);
	assert_int_equal(drv_start(&f->d, VIRTIO_COMMON_FEATURES, 1, 64) & 0x40, 0x40);
	assert_int_equal(f->c->activate_fails, 1);
	assert_int_equal(vmem_want(f->v, BLOCK), -ENODEV);
	drv_reset(&f->d);
	assert_int_equal(vmem_want(f->v, BLOCK), -ENODEV);
	assert_int_equal(drv_start(&f->d, FEATURE, 1, 64), 0xf);
	want(f, 1);
}

static void a_wish_is_told_by_an_interrupt(void **state)
{
	struct fixture *f = *state;
	uint32_t generation = drv_get(&f->d, VIRTIO_MMIO_CONFIG_GENERATION);

	want(f, 4);
	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_INTERRUPT_STATUS) & 2, 2);
	assert_int_not_equal(drv_get(&f->d, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	drv_set(&f->d, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	want(f, 4); /* nothing new */
	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_INTERRUPT_STATUS) & 2, 0);
	assert_int_equal(vmem_want(f->v, BLOCK + 1), -EINVAL);
	assert_int_equal(vmem_want(f->v, TOTAL + BLOCK), -EINVAL);
	want(f, BLOCKS);
}

static void plugs_up_to_what_is_wanted(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, PLUG, 0, 1), NACK);
	want(f, 5);
	assert_int_equal(ask(f, PLUG, 3, 6), NACK);
	assert_int_equal(ask(f, PLUG, 3, 2), ACK);
	assert_true(memory(f, 3, 2) && !memory(f, 2, 2) && !memory(f, 4, 2));
	assert_int_equal(plugged(f), 2);
	assert_int_equal(config(f, 40), 2 * BLOCK);
	assert_int_equal(ask(f, PLUG, 4, 1), ERROR);
	assert_int_equal(ask(f, PLUG, 2, 2), ERROR);
	assert_int_equal(ask(f, PLUG, 5, 4), NACK);
	assert_int_equal(ask(f, PLUG, 5, 3), ACK);
	want(f, 2); /* less than is plugged */
	assert_int_equal(ask(f, PLUG, 20, 1), NACK);
	assert_int_equal(ask(f, UNPLUG, 3, 5), ACK);
	assert_int_equal(plugged(f), 0);
	assert_int_equal(f->c->plug.count, 8);
	assert_int_equal(f->c->plug.fails, 6);
	assert_int_equal(f->c->plug.bytes, 5 * BLOCK);
	assert_int_equal(f->c->unplug.bytes, 5 * BLOCK);
}

static void slots_follow_their_blocks(void **state)
{
	struct fixture *f = *state;

	want(f, BLOCKS);
	assert_int_equal(ask(f, PLUG, 65 + 10, 1), ACK);
	assert_int_equal(slots(), 2);
	assert_int_equal(ask(f, PLUG, 64, 1), ACK); /* the last of slot 0 */
	assert_int_equal(slots(), 3);
	assert_int_equal(ask(f, PLUG, 2 * 65 - 1, 2), ACK); /* over the edge of two */
	assert_int_equal(slots(), 7);
	assert_int_equal(ask(f, UNPLUG, 65 + 10, 1), ACK);
	assert_int_equal(slots(), 7);
	assert_int_equal(ask(f, UNPLUG, 2 * 65 - 1, 1), ACK);
	assert_int_equal(slots(), 5);
	assert_int_equal(ask(f, UNPLUG_ALL, 0, 0), ACK);
	assert_int_equal(slots(), 0);
	assert_int_equal(plugged(f), 0);
	assert_int_equal(ask(f, PLUG, 0, BLOCKS), ACK);
	assert_int_equal(slots(), 15);
	assert_true(memory(f, 0, BLOCKS));
	assert_int_equal(ask(f, UNPLUG_ALL, 0, 0), ACK);
	assert_int_equal(ask(f, UNPLUG_ALL, 0, 0), ACK);
	assert_int_equal(slots(), 0);
	assert_false(memory(f, 0, 1));
	assert_int_equal(f->c->unplug_all.bytes, TOTAL + 2 * BLOCK);
	assert_int_equal(f->c->slots_attached, f->c->slots_detached);
}

static void states_are_told(void **state)
{
	struct fixture *f = *state;

	want(f, 10);
	assert_int_equal(ask(f, PLUG, 60, 10), ACK);
	assert_int_equal(state_of(f, 60, 10), PLUGGED);
	assert_int_equal(state_of(f, 59, 2), MIXED);
	assert_int_equal(state_of(f, 69, 2), MIXED);
	assert_int_equal(state_of(f, 59, 12), MIXED);
	assert_int_equal(state_of(f, 0, 60), UNPLUGGED);
	assert_int_equal(state_of(f, 70, BLOCKS - 70), UNPLUGGED);
	assert_int_equal(state_of(f, 0, BLOCKS), MIXED);
}

static void ranges_are_checked(void **state)
{
	struct fixture *f = *state;
	const struct {
		uint64_t gpa;
		uint16_t n;
	} bad[] = {
		{ BASE, 0 },
		{ BASE + BLOCK / 2, 1 },
		{ BASE + 4096, 1 },
		{ BASE - BLOCK, 1 },
		{ BASE - BLOCK, 2 },
		{ BASE + TOTAL, 1 },
		{ BASE + TOTAL - BLOCK, 2 },
		{ BASE, BLOCKS + 1 },
		{ BASE, UINT16_MAX },
		{ 0, 1 },
		{ UINT64_MAX, 1 },
		{ UINT64_MAX - BLOCK + 1, 1 },
		{ UINT64_MAX - BLOCK + 1, UINT16_MAX },
	};

	want(f, BLOCKS);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(ask_at(f, PLUG, bad[i].gpa, bad[i].n, NULL), ERROR);
		assert_int_equal(ask_at(f, UNPLUG, bad[i].gpa, bad[i].n, NULL), ERROR);
		assert_int_equal(ask_at(f, STATE, bad[i].gpa, bad[i].n, NULL), ERROR);
	}
	assert_int_equal(ask_at(f, 4, BASE, 1, NULL), ERROR);
	assert_int_equal(ask_at(f, UINT16_MAX, BASE, 1, NULL), ERROR);
	assert_int_equal(f->c->unknown, 2);
	assert_int_equal(f->c->state.fails, ARRAY_SIZE(bad));
	assert_int_equal(ask(f, UNPLUG, 0, 1), ERROR);
	assert_int_equal(plugged(f), 0);
	assert_int_equal(slots(), 0);
}

static void requests_that_are_too_short_fail_the_device(void **state)
{
	struct fixture *f = *state;
	const struct drv_buf bad[][2] = {
		{ { REQ, 23, false }, { ANSWER, 10, true } },
		{ { REQ, 24, false }, { ANSWER, 9, true } },
		{ { REQ, 24, false }, { REQ, 24, false } },
		{ { ANSWER, 24, true }, { ANSWER, 10, true } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put(f, STATE, BASE, 1);
		drv_add(&f->d, 0, bad[i], 2);
		drv_kick(&f->d, 0);
		drv_poll(&f->loop);
		assert_int_equal(drv_status(&f->d) & 0x40, 0x40);
		assert_int_equal(f->c->malformed, i + 1);
		drv_reset(&f->d);
		assert_int_equal(drv_start(&f->d, FEATURE, 1, 64), 0xf);
	}
}

static void a_reset_keeps_what_is_plugged(void **state)
{
	struct fixture *f = *state;
	uint8_t b = 0;

	want(f, 2);
	assert_int_equal(ask(f, PLUG, 7, 2), ACK);
	assert_int_equal(gmem_write(&f->mem, GPA(BASE + 7 * BLOCK), "x", 1), 0);
	drv_reset(&f->d);
	assert_int_equal(drv_start(&f->d, FEATURE, 1, 64), 0xf);
	assert_int_equal(config(f, 40), 2 * BLOCK);
	assert_int_equal(config(f, 48), 2 * BLOCK);
	assert_int_equal(gmem_read(&f->mem, GPA(BASE + 7 * BLOCK), &b, 1), 0);
	assert_int_equal(b, 'x');
	assert_int_equal(slots(), 1);
}

static void unplugged_memory_is_gone(void **state)
{
	struct fixture *f = *state;
	uint8_t *host = gmem_blocks(&f->mem)->host;
	unsigned char pages[BLOCK / 4096];
	uint8_t b = 1;

	want(f, 2);
	assert_int_equal(ask(f, PLUG, 7, 2), ACK);
	assert_int_equal(gmem_fill(&f->mem, GPA(BASE + 7 * BLOCK), 'x', 2 * BLOCK), 0);
	assert_int_equal(ask(f, UNPLUG, 8, 1), ACK);
	assert_int_equal(mincore(host + 8 * BLOCK, BLOCK, pages), 0);
	for (size_t i = 0; i < sizeof(pages); i++)
		assert_int_equal(pages[i] & 1, 0);
	assert_int_equal(gmem_read(&f->mem, GPA(BASE + 7 * BLOCK), &b, 1), 0);
	assert_int_equal(b, 'x');
	assert_int_equal(ask(f, PLUG, 8, 1), ACK);
	assert_int_equal(gmem_read(&f->mem, GPA(BASE + 8 * BLOCK), &b, 1), 0);
	assert_int_equal(b, 0);
}

static void what_kvm_refuses_can_be_tried_again(void **state)
{
	struct fixture *f = *state;

	want(f, BLOCKS);
	assert_int_equal(ask(f, PLUG, 0, 1), ACK);
	fake_kvm.fail_region = -ENOMEM;
	assert_int_equal(ask(f, PLUG, 64, 2), BUSY);
	assert_int_equal(slots(), 1);
	assert_true(!memory(f, 64, 1) && plugged(f) == 1);
	/* A slot that KVM does not let go of is kept, and used again. */
	assert_int_equal(ask(f, UNPLUG, 0, 1), ACK);
	assert_int_equal(slots(), 1);
	assert_false(memory(f, 0, 1));
	assert_in_range(f->c->slot_fails, 2, 3);
	fake_kvm.fail_region = 0;
	assert_int_equal(ask(f, PLUG, 64, 2), ACK);
	assert_int_equal(slots(), 3);
	assert_int_equal(ask(f, UNPLUG_ALL, 0, 0), ACK);
	assert_int_equal(slots(), 0);
}

/* Rings and buffers in memory that goes: the device fails, and nothing else happens. */
static void a_driver_that_unplugs_its_own_ring(void **state)
{
	struct fixture *f = *state;
	struct drv d;
	struct drv_buf bufs[] = { { BASE + 0x10000, 24, false }, { BASE + 0x11000, 10, true } };
	uint8_t raw[24] = { 0 };

	want(f, 2);
	assert_int_equal(ask(f, PLUG, 0, 2), ACK);
	drv_reset(&f->d);
	drv_init(&d, &f->mem, vmmio_dev(f->m), BASE + BLOCK);
	assert_int_equal(drv_start(&d, FEATURE, 1, 64), 0xf);
	num_put_le16(raw, UNPLUG);
	num_put_le64(raw + 8, BASE);
	num_put_le16(raw + 16, 1);
	assert_int_equal(gmem_write(&f->mem, GPA(BASE + 0x10000), raw, sizeof(raw)), 0);
	drv_add(&d, 0, bufs, 2); /* the block of the request and of the answer */
	drv_kick(&d, 0);
	drv_poll(&f->loop);
	assert_int_equal(drv_status(&d) & 0x40, 0);
	assert_int_equal(plugged(f), 1);
	num_put_le64(raw + 8, BASE + BLOCK);
	assert_int_equal(gmem_write(&f->mem, GPA(BASE + BLOCK + 0x20000), raw, sizeof(raw)), 0);
	bufs[0].gpa = BASE + BLOCK + 0x20000;
	bufs[1].gpa = ANSWER;
	drv_add(&d, 0, bufs, 2); /* the block of the ring */
	drv_kick(&d, 0);
	drv_poll(&f->loop);
	assert_int_equal(drv_status(&d) & 0x40, 0x40);
	assert_int_equal(plugged(f), 0);
	drv_set(&d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(drv_start(&f->d, FEATURE, 1, 64), 0xf);
	assert_int_equal(ask(f, PLUG, 0, 2), ACK);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(describes_its_region),
		T(a_driver_without_the_feature_is_refused),
		T(a_wish_is_told_by_an_interrupt),
		T(plugs_up_to_what_is_wanted),
		T(slots_follow_their_blocks),
		T(states_are_told),
		T(ranges_are_checked),
		T(requests_that_are_too_short_fail_the_device),
		T(a_reset_keeps_what_is_plugged),
		T(unplugged_memory_is_gone),
		T(what_kvm_refuses_can_be_tried_again),
		T(a_driver_that_unplugs_its_own_ring),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("vmem", tests, NULL, NULL);
}
