/* SPDX-License-Identifier: Apache-2.0 */
/* The virtqueue alone, against rings made by hand. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drv.h"
#include "virtq.h"

#define SIZE  8
#define DATA  0x100000ull
#define ABOVE (1ull << 40) /* no RAM there */

struct fixture {
	struct gmem mem;
	struct drv d; /* without a device: only its memory and its rings */
	struct virtq q;
	struct virtq_chain c;
};

static void place(struct fixture *f, uint16_t size, uint64_t features)
{
	struct drv_queue *dq = &f->d.q[0];

	drv_init(&f->d, &f->mem, NULL, 0x10000);
	*dq = (struct drv_queue){ .size = size };
	dq->desc = drv_alloc(&f->d, 16 * size);
	dq->avail = drv_alloc(&f->d, 6 + 2 * size);
	dq->used = drv_alloc(&f->d, 6 + 8 * size);
	virtq_init(&f->q, &f->mem, 256);
	f->q.size = size;
	f->q.ready = true;
	f->q.desc_gpa = dq->desc;
	f->q.avail_gpa = dq->avail;
	f->q.used_gpa = dq->used;
	assert_int_equal(virtq_configure(&f->q, features), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(gmem_map(&f->mem, 4 * MIB, NULL), 0);
	place(f, SIZE, VIRTIO_COMMON_FEATURES);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	gmem_unmap(&f->mem);
	free(f);
	return 0;
}

static int pop(struct fixture *f)
{
	return virtq_pop(&f->q, &f->c);
}

/* Descriptor i of the queue's own table. */
static void desc(
	struct fixture *f, unsigned i, uint64_t gpa, uint32_t len, unsigned flags, unsigned next)
{
	drv_desc(&f->d, f->d.q[0].desc, i, gpa, len, flags, next);
}

static void configures_only_what_is_sound(void **state)
{
	static const struct {
		uint16_t size;
		uint64_t desc, avail, used;
		int r;
	} cases[] = {
		{ 8, 0x1000, 0x2000, 0x3000, 0 },
		{ 256, 0x1000, 0x2000, 0x3000, 0 },
		{ 1, 0x1000, 0x2000, 0x3000, 0 },
		{ 0, 0x1000, 0x2000, 0x3000, -EINVAL },
		{ 6, 0x1000, 0x2000, 0x3000, -EINVAL },
		{ 512, 0x1000, 0x2000, 0x3000, -EINVAL },
		{ 8, 0x1008, 0x2000, 0x3000, -EINVAL },
		{ 8, 0x1000, 0x2001, 0x3000, -EINVAL },
		{ 8, 0x1000, 0x2000, 0x3002, -EINVAL },
		{ 8, 0x400000, 0x2000, 0x3000, -EFAULT },
		{ 8, 0x3fff90, 0x2000, 0x3000, -EFAULT }, /* 8 x 16 bytes do not fit */
		{ 8, 0x3fff80, 0x2000, 0x3000, 0 },
		{ 8, 0x1000, 0x3fffec, 0x3000, -EFAULT }, /* nor do 22 */
		{ 8, 0x1000, 0x3fffea, 0x3000, 0 },
		{ 8, 0x1000, 0x2000, 0x3fffbc, -EFAULT }, /* nor do 70 */
		{ 8, 0x1000, 0x2000, 0x3fffb8, 0 },
		{ 8, 0xfffffffffffffff0, 0x2000, 0x3000, -EFAULT },
		{ 8, 0x1000, 0xfffffffffffffffe, 0x3000, -EFAULT },
		{ 8, 0x1000, 0x2000, 0xfffffffffffffffc, -EFAULT },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		virtq_reset(&f->q);
		f->q.size = cases[i].size;
		f->q.desc_gpa = cases[i].desc;
		f->q.avail_gpa = cases[i].avail;
		f->q.used_gpa = cases[i].used;
		assert_int_equal(virtq_configure(&f->q, 0), -EINVAL); /* not ready */
		f->q.ready = true;
		assert_int_equal(virtq_configure(&f->q, 0), cases[i].r);
		assert_int_equal(f->q.live, cases[i].r == 0);
	}
}

static void dead_queue_gives_and_takes_nothing(void **state)
{
	struct fixture *f = *state;

	drv_publish(&f->d, 0, 0);
	f->q.live = false;
	assert_int_equal(pop(f), 0);
	assert_int_equal(virtq_push(&f->q, 0, 0), 0);
	assert_false(virtq_should_notify(&f->q));
	assert_false(virtq_kicks_on(&f->q));
	assert_int_equal(drv_get16(&f->d, f->d.q[0].used + 2), 0);
}

static void chain_has_both_parts_in_order(void **state)
{
	struct fixture *f = *state;
	struct drv_buf bufs[] = { { DATA, 3, false }, { DATA + 100, 5, false },
		{ DATA + 200, 4, true }, { DATA + 300, 6, true } };
	struct iovec iov[LIMIT_SEGS];
	uint8_t back[8];

	assert_int_equal(gmem_write(&f->mem, GPA(DATA), "abc", 3), 0);
	assert_int_equal(gmem_write(&f->mem, GPA(DATA + 100), "defgh", 5), 0);
	drv_add(&f->d, 0, bufs, 4);
	assert_int_equal(pop(f), 1);
	assert_int_equal(f->c.n_out, 2);
	assert_int_equal(f->c.n_in, 2);
	assert_int_equal(f->c.out_len, 8);
	assert_int_equal(f->c.in_len, 10);
	assert_true(virtq_read(&f->c, 1, back, 6));
	assert_memory_equal(back, "bcdefg", 6);
	assert_false(virtq_read(&f->c, 3, back, 6));
	assert_false(virtq_read(&f->c, UINT64_MAX, back, 2));
	assert_true(virtq_write(&f->c, 2, "12345", 5));
	assert_false(virtq_write(&f->c, 9, "xy", 2));
	assert_int_equal(gmem_read(&f->mem, GPA(DATA + 202), back, 2), 0);
	assert_memory_equal(back, "12", 2);
	assert_int_equal(gmem_read(&f->mem, GPA(DATA + 300), back, 4), 0);
	assert_memory_equal(back, "345\0", 4);
	assert_int_equal(virtq_slice(&f->c, VIRTQ_IN, 3, 2, iov), 2);
	assert_int_equal(iov[0].iov_len, 1);
	assert_int_equal(iov[1].iov_len, 1);
	assert_int_equal(virtq_slice(&f->c, VIRTQ_IN, 4, 6, iov), 1);
	assert_int_equal(virtq_slice(&f->c, VIRTQ_IN, 10, 0, iov), 0);
	assert_int_equal(virtq_slice(&f->c, VIRTQ_OUT, 8, 1, iov), 0);
	assert_int_equal(pop(f), 0);
}

static void indirect_tables_work(void **state)
{
	struct fixture *f = *state;
	struct drv_buf bufs[LIMIT_SEGS];
	uint64_t table = drv_alloc(&f->d, 4096);

	for (unsigned i = 0; i < LIMIT_SEGS; i++)
		bufs[i] = (struct drv_buf){ DATA + 16 * i, 16, i > 0 };
	drv_add_indirect(&f->d, 0, bufs, LIMIT_SEGS); /* longer than the queue itself */
	assert_int_equal(pop(f), 1);
	assert_int_equal(f->c.n_out, 1);
	assert_int_equal(f->c.n_in, LIMIT_SEGS - 1);
	/* Behind a direct descriptor; WRITE on the descriptor of the table means nothing. */
	drv_desc(&f->d, table, 0, DATA, 8, 0, 0);
	desc(f, 1, DATA, 4, DRV_NEXT, 2);
	desc(f, 2, table, 16, DRV_INDIRECT | DRV_WRITE, 0);
	drv_publish(&f->d, 0, 1);
	assert_int_equal(pop(f), 1);
	assert_int_equal(f->c.n_out, 2);
	assert_int_equal(f->c.out_len, 12);
}

static void empty_descriptors_are_left_out(void **state)
{
	struct fixture *f = *state;
	struct drv_buf bufs[] = { { ABOVE, 0, false }, { DATA, 1, false }, { 0, 0, true } };

	drv_add(&f->d, 0, bufs, 3);
	assert_int_equal(pop(f), 1);
	assert_int_equal(f->c.n_out, 1);
	assert_int_equal(f->c.n_in, 0);
}

enum violation {
	HEAD_OUTSIDE,
	NEXT_OUTSIDE,
	LOOP_OF_ONE,
	LOOP_OF_ALL,
	READ_AFTER_WRITE,
	TABLE_EMPTY,
	TABLE_RAGGED,
	TABLE_HUGE,
	TABLE_NESTED,
	TABLE_WITH_NEXT,
	TABLE_NEXT_OUTSIDE,
	TABLE_LOOP,
	TABLE_UNMAPPED,
	TOO_MANY_SEGMENTS,
	INDEX_AHEAD,
	INDEX_BACK,
	BUFFER_UNMAPPED,
	BUFFER_LAST_BYTE,
	BUFFER_WRAPS,
	N_VIOLATIONS,
};

static void violate_table(struct fixture *f, enum violation v)
{
	uint64_t table = drv_alloc(&f->d, 16 * 300);
	uint32_t len = v == TABLE_EMPTY    ? 0
		       : v == TABLE_RAGGED ? 24
		       : v == TABLE_HUGE   ? 16 * 257
					   : 32;

	drv_desc(&f->d, table, 0, DATA, 4, DRV_NEXT,
		v == TABLE_NEXT_OUTSIDE ? 2
		: v == TABLE_LOOP       ? 0
					: 1);
	drv_desc(&f->d, table, 1, v == TABLE_NESTED ? table : DATA, 16,
		v == TABLE_NESTED ? DRV_INDIRECT : 0, 0);
	desc(f, 0, v == TABLE_UNMAPPED ? ABOVE : table, len,
		DRV_INDIRECT | (v == TABLE_WITH_NEXT ? DRV_NEXT : 0), 1);
	drv_publish(&f->d, 0, 0);
}

static void violate_segments(struct fixture *f)
{
	struct drv_buf bufs[LIMIT_SEGS + 1];

	for (unsigned i = 0; i <= LIMIT_SEGS; i++)
		bufs[i] = (struct drv_buf){ DATA, 1, false };
	drv_add_indirect(&f->d, 0, bufs, LIMIT_SEGS + 1);
}

static void violate(struct fixture *f, enum violation v)
{
	desc(f, 0, DATA, 8, DRV_NEXT, 1);
	desc(f, 1, DATA, 8, 0, 0);
	switch (v) {
	case NEXT_OUTSIDE:
		desc(f, 1, DATA, 8, DRV_NEXT, SIZE);
		break;
	case LOOP_OF_ONE:
		desc(f, 0, DATA, 8, DRV_NEXT, 0);
		break;
	case LOOP_OF_ALL:
		for (unsigned i = 0; i < SIZE; i++)
			desc(f, i, DATA, 8, DRV_NEXT, (i + 1) % SIZE);
		break;
	case READ_AFTER_WRITE:
		desc(f, 0, DATA, 8, DRV_NEXT | DRV_WRITE, 1);
		break;
	case INDEX_AHEAD:
		drv_put16(&f->d, f->d.q[0].avail + 2, SIZE + 1);
		return;
	case INDEX_BACK:
		drv_put16(&f->d, f->d.q[0].avail + 2, 0xffff);
		return;
	case BUFFER_UNMAPPED:
		desc(f, 1, ABOVE, 8, 0, 0);
		break;
	case BUFFER_LAST_BYTE:
		desc(f, 1, 4 * MIB - 7, 8, 0, 0);
		break;
	case BUFFER_WRAPS:
		desc(f, 1, UINT64_MAX - 3, 8, 0, 0);
		break;
	case TOO_MANY_SEGMENTS:
		violate_segments(f);
		return;
	case HEAD_OUTSIDE:
		drv_publish(&f->d, 0, SIZE);
		return;
	default:
		violate_table(f, v);
		return;
	}
	drv_publish(&f->d, 0, 0);
}

static void every_violation_is_named(void **state)
{
	struct fixture *f = *state;

	for (enum violation v = 0; v < N_VIOLATIONS; v++) {
		bool fault = v == TABLE_UNMAPPED || v == BUFFER_UNMAPPED || v == BUFFER_LAST_BYTE ||
			v == BUFFER_WRAPS;

		place(f, SIZE, VIRTIO_COMMON_FEATURES);
		violate(f, v);
		assert_int_equal(pop(f), fault ? -EFAULT : -EBADMSG);
		assert_int_equal(f->q.next_avail, 0);
		assert_non_null(f->c.fault);
	}
}

static void request_of_4_gib_is_refused(void **state)
{
	struct fixture *f = *state;
	struct drv_buf bufs[64];

	/* 64 x 64 MiB; untouched memory costs nothing. */
	gmem_unmap(&f->mem);
	assert_int_equal(gmem_map(&f->mem, 64 * MIB, NULL), 0);
	place(f, 256, VIRTIO_COMMON_FEATURES);
	for (unsigned i = 0; i < 64; i++)
		bufs[i] = (struct drv_buf){ 0, 64 * MIB, true };
	drv_add(&f->d, 0, bufs, 63);
	assert_int_equal(pop(f), 1);
	drv_add(&f->d, 0, bufs, 64);
	assert_int_equal(pop(f), -EBADMSG);
}

static void indirect_must_have_been_negotiated(void **state)
{
	struct fixture *f = *state;
	struct drv_buf buf = { DATA, 8, false };

	place(f, SIZE, VIRTIO_BIT(VIRTIO_F_VERSION_1));
	drv_add_indirect(&f->d, 0, &buf, 1);
	assert_int_equal(pop(f), -EBADMSG);
}

static void no_more_in_flight_than_entries(void **state)
{
	struct fixture *f = *state;
	struct drv_buf buf = { DATA, 8, false };

	for (unsigned i = 0; i < SIZE; i++)
		drv_add(&f->d, 0, &buf, 1);
	for (unsigned i = 0; i < SIZE; i++)
		assert_int_equal(pop(f), 1);
	assert_int_equal(virtq_in_flight(&f->q), SIZE);
	drv_add(&f->d, 0, &buf, 1);
	assert_int_equal(pop(f), -EBADMSG); /* nothing was given back */
	assert_int_equal(virtq_push(&f->q, 0, 0), 0);
	assert_int_equal(pop(f), 1);
}

static void used_ring_wraps(void **state)
{
	struct fixture *f = *state;
	struct drv_buf buf = { DATA, 8, true };
	uint32_t id, len;

	for (uint32_t i = 0; i < 70000; i++) {
		uint16_t head = drv_add(&f->d, 0, &buf, 1);

		assert_int_equal(pop(f), 1);
		assert_int_equal(f->c.head, head);
		assert_int_equal(virtq_push(&f->q, f->c.head, i), 0);
		assert_true(drv_used(&f->d, 0, &id, &len));
		assert_int_equal(id, head);
		assert_int_equal(len, i);
	}
	assert_int_equal(pop(f), 0);
}

static void set_used_event(struct fixture *f, uint16_t v)
{
	drv_put16(&f->d, f->d.q[0].avail + 4 + 2 * SIZE, v);
}

/* One request through the queue: does it interrupt? */
static bool one(struct fixture *f)
{
	struct drv_buf buf = { DATA, 8, true };

	drv_add(&f->d, 0, &buf, 1);
	assert_int_equal(pop(f), 1);
	assert_int_equal(virtq_push(&f->q, f->c.head, 0), 0);
	return virtq_should_notify(&f->q);
}

static void event_idx_interrupts_exactly_at_the_event(void **state)
{
	struct fixture *f = *state;

	set_used_event(f, 1000);
	assert_true(one(f)); /* the first one always */
	assert_false(virtq_should_notify(&f->q)); /* nothing new */
	/* Through more than a whole turn of the index: at 1000, and at 1000 + 2^16. */
	for (uint32_t i = 1; i < 140000; i++)
		assert_int_equal(one(f), i % 65536 == 1000);
}

static void event_idx_counts_a_batch_across_the_wrap(void **state)
{
	struct fixture *f = *state;
	struct drv_buf buf = { DATA, 8, true };

	f->q.next_avail = f->q.next_used = f->q.signalled = 65533;
	f->q.signalled_valid = true;
	f->d.q[0].avail_idx = f->d.q[0].used_idx = 65533;
	drv_put16(&f->d, f->d.q[0].avail + 2, 65533);
	for (int event = 65530; event < 65545; event++) {
		uint16_t old = f->q.next_used;

		set_used_event(f, (uint16_t)event);
		for (unsigned i = 0; i < 6; i++) {
			drv_add(&f->d, 0, &buf, 1);
			assert_int_equal(pop(f), 1);
			assert_int_equal(virtq_push(&f->q, f->c.head, 0), 0);
		}
		/*
		 * 65533 .. 65538 were completed: events among them count, however they are written.
		 */
		assert_int_equal(virtq_should_notify(&f->q), event >= 65533 && event < 65539);
		/* The same stretch again. */
		f->q.next_avail = f->q.next_used = f->q.signalled = old;
		f->d.q[0].avail_idx = old;
	}
}

static void flags_suppress_without_event_idx(void **state)
{
	struct fixture *f = *state;
	uint64_t used_flags;

	place(f, SIZE, VIRTIO_BIT(VIRTIO_F_VERSION_1));
	used_flags = f->d.q[0].used;
	assert_true(one(f));
	assert_true(one(f));
	drv_put16(&f->d, f->d.q[0].avail, 1);
	assert_false(one(f));
	drv_put16(&f->d, f->d.q[0].avail, 0);
	assert_true(one(f));
	virtq_kicks_off(&f->q);
	assert_int_equal(drv_get16(&f->d, used_flags), 1);
	assert_false(virtq_kicks_on(&f->q));
	assert_int_equal(drv_get16(&f->d, used_flags), 0);
}

static void kicks_on_sees_what_came_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct drv_buf buf = { DATA, 8, false };
	uint64_t avail_event = f->d.q[0].used + 4 + 8 * SIZE;

	assert_true(one(f));
	virtq_kicks_off(&f->q);
	assert_int_equal(drv_get16(&f->d, f->d.q[0].used), 0); /* flags stay 0 with EVENT_IDX */
	assert_int_equal(pop(f), 0);
	drv_add(&f->d, 0, &buf, 1); /* between the last look and kicks_on */
	assert_true(virtq_kicks_on(&f->q));
	assert_int_equal(pop(f), 1);
	assert_false(virtq_kicks_on(&f->q));
	assert_int_equal(drv_get16(&f->d, avail_event), 2);
}

static void unpopped_requests_are_popped_again(void **state)
{
	struct fixture *f = *state;
	struct drv_buf buf = { DATA, 16, true };
	uint16_t heads[4];

	for (unsigned i = 0; i < 4; i++)
		heads[i] = drv_add(&f->d, 0, &buf, 1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(virtq_pop(&f->q, &f->c), 1);
	assert_int_equal(virtq_push(&f->q, heads[0], 0), 0);
	virtq_unpop(&f->q, 2);
	assert_int_equal(virtq_in_flight(&f->q), 0);
	for (unsigned i = 1; i < 4; i++) {
		assert_int_equal(virtq_pop(&f->q, &f->c), 1);
		assert_int_equal(f->c.head, heads[i]);
	}
	assert_int_equal(virtq_pop(&f->q, &f->c), 0);
}

static void many_are_given_back_with_one_index(void **state)
{
	struct fixture *f = *state;
	struct drv_buf buf = { DATA, 16, true };
	struct virtq_used used[3];
	uint32_t id, len;

	for (unsigned round = 0; round < 7; round++) { /* around the ring, and across its end */
		for (unsigned i = 0; i < 3; i++) {
			drv_add(&f->d, 0, &buf, 1);
			assert_int_equal(pop(f), 1);
			used[i] = (struct virtq_used){ f->c.head, 100 * round + i };
		}
		assert_int_equal(virtq_push_many(&f->q, used, 3), 0);
		assert_int_equal(drv_get16(&f->d, f->d.q[0].used + 2), 3 * (round + 1));
		for (unsigned i = 0; i < 3; i++) {
			assert_true(drv_used(&f->d, 0, &id, &len));
			assert_int_equal(id, used[i].head);
			assert_int_equal(len, used[i].len);
		}
	}
	f->q.live = false;
	assert_int_equal(virtq_push_many(&f->q, used, 3), 0);
	assert_false(drv_used(&f->d, 0, &id, &len));
}

static void reset_forgets_all_but_memory(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 3; round++) {
		assert_true(one(f));
		virtq_reset(&f->q);
		assert_false(f->q.live || f->q.ready || f->q.event_idx || f->q.signalled_valid);
		assert_int_equal(f->q.size | f->q.next_avail | f->q.next_used, 0);
		assert_ptr_equal(f->q.mem, &f->mem);
		assert_int_equal(f->q.size_max, 256);
		place(f, SIZE, VIRTIO_COMMON_FEATURES);
	}
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(configures_only_what_is_sound),
		T(dead_queue_gives_and_takes_nothing),
		T(chain_has_both_parts_in_order),
		T(indirect_tables_work),
		T(empty_descriptors_are_left_out),
		T(every_violation_is_named),
		T(request_of_4_gib_is_refused),
		T(indirect_must_have_been_negotiated),
		T(no_more_in_flight_than_entries),
		T(used_ring_wraps),
		T(event_idx_interrupts_exactly_at_the_event),
		T(event_idx_counts_a_batch_across_the_wrap),
		T(flags_suppress_without_event_idx),
		T(kicks_on_sees_what_came_meanwhile),
		T(unpopped_requests_are_popped_again),
		T(many_are_given_back_with_one_index),
		T(reset_forgets_all_but_memory),
	};

	return cmocka_run_group_tests_name("virtq", tests, NULL, NULL);
}
