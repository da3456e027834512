/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mem through sequences of requests, wishes of the host, refusals of KVM and resets. The
 * oracle is a model: an array of blocks, from which follow every answer, what is plugged, what
 * struct gmem calls memory, and which slots KVM has. The device lives from one input to the next.
 */
#include <stdlib.h>
#include <string.h>

#include "dev.h"
#include "drv.h"
#include "fake-kvm.h"
#include "input.h"
#include "log.h"
#include "loop.h"
#include "num.h"
#include "vmem.h"
#include "vmmio.h"

#include <errno.h>
#include <linux/virtio_mem.h>

#define BASE	    (512 * GIB)
#define BLOCK	    (2 * MIB)
#define SLOT_BLOCKS 3u
#define SLOTS	    7u
#define BLOCKS	    (SLOTS * SLOT_BLOCKS)
#define FIRST	    2u
#define REQ	    0x100000ull
#define ANSWER	    0x101000ull
#define FEATURE	    VIRTIO_BIT(VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE)

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

static struct {
	struct gmem mem;
	struct loop loop;
	struct virtio_dev *v;
	struct vmmio *m;
	struct drv d;
} w;

/* What the device must be like. */
static struct {
	bool plugged[BLOCKS], attached[SLOTS];
	unsigned n, wanted; /* blocks */
	bool refuse;	    /* KVM */
} model;

static void start(void)
{
	MUST(drv_start(&w.d, FEATURE | VIRTIO_COMMON_FEATURES, 1, 16) == 0xf);
}

static void make(void)
{
	struct vmmio_env env = { .mem = &w.mem, .loop = &w.loop, .vmfd = -1, .base = 0xc0001000 };
	struct vmem_params p = { .mem = &w.mem, .vmfd = FAKE_KVM_FD, .first_slot = FIRST,
		.slot_bytes = SLOT_BLOCKS * BLOCK };

	log_init(&(struct log_config){ .id = "fuzz", .fd = -1 });
	MUST(gmem_map(&w.mem, 4 * MIB, NULL) == 0);
	MUST(gmem_add_blocks(&w.mem, BASE, BLOCKS * BLOCK, BLOCK, NULL) == 0);
	MUST(loop_init(&w.loop, NULL) == 0);
	MUST(vmem_create(&p, &w.v, NULL) == 0);
	MUST(vmmio_create(w.v, &env, &w.m, NULL) == 0);
	drv_init(&w.d, &w.mem, vmmio_dev(w.m), 0x10000);
	start();
}

static bool any(const bool *a, unsigned first, unsigned n, bool value)
{
	for (unsigned i = first; i < first + n; i++)
		if (a[i] == value)
			return true;
	return false;
}

/* Slots that have a block are attached; those without are not, unless KVM keeps them. */
static void settle(unsigned first, unsigned n)
{
	for (unsigned s = first / SLOT_BLOCKS; n && s <= (first + n - 1) / SLOT_BLOCKS; s++) {
		if (!any(model.plugged, s * SLOT_BLOCKS, SLOT_BLOCKS, true) && !model.refuse)
			model.attached[s] = false;
	}
}

static uint16_t expect_plug(unsigned first, unsigned n)
{
	if (any(model.plugged, first, n, true))
		return VIRTIO_MEM_RESP_ERROR;
	if (model.n + n > model.wanted)
		return VIRTIO_MEM_RESP_NACK;
	for (unsigned s = first / SLOT_BLOCKS; s <= (first + n - 1) / SLOT_BLOCKS; s++)
		if (!model.attached[s] && model.refuse)
			return VIRTIO_MEM_RESP_BUSY;
	for (unsigned i = first; i < first + n; i++) {
		model.plugged[i] = true;
		model.attached[i / SLOT_BLOCKS] = true;
	}
	model.n += n;
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t expect_unplug(unsigned first, unsigned n)
{
	if (any(model.plugged, first, n, false))
		return VIRTIO_MEM_RESP_ERROR;
	memset(model.plugged + first, 0, n);
	model.n -= n;
	settle(first, n);
	return VIRTIO_MEM_RESP_ACK;
}

/* The answer that is due; *state is that of STATE. */
static uint16_t expect(uint16_t type, uint64_t gpa, uint16_t n, uint16_t *state)
{
	bool good = gpa >= BASE && gpa % BLOCK == 0 && n > 0 && gpa < BASE + BLOCKS * BLOCK &&
		(gpa - BASE) / BLOCK + n <= BLOCKS;
	unsigned first = good ? (unsigned)((gpa - BASE) / BLOCK) : 0;

	*state = 0;
	if (type == VIRTIO_MEM_REQ_UNPLUG_ALL) {
		for (unsigned i = 0; i < BLOCKS; i++)
			if (model.plugged[i])
				MUST(expect_unplug(i, 1) == VIRTIO_MEM_RESP_ACK);
		return VIRTIO_MEM_RESP_ACK;
	}
	if (!good || type > VIRTIO_MEM_REQ_STATE)
		return VIRTIO_MEM_RESP_ERROR;
	if (type == VIRTIO_MEM_REQ_PLUG)
		return expect_plug(first, n);
	if (type == VIRTIO_MEM_REQ_UNPLUG)
		return expect_unplug(first, n);
	if (any(model.plugged, first, n, true))
		*state = any(model.plugged, first, n, false) ? VIRTIO_MEM_STATE_MIXED :
							       VIRTIO_MEM_STATE_PLUGGED;
	else
		*state = VIRTIO_MEM_STATE_UNPLUGGED;
	return VIRTIO_MEM_RESP_ACK;
}

static void check(void)
{
	struct vmem_status s;

	vmem_status(w.v, &s);
	MUST(s.plugged_bytes == model.n * BLOCK && s.wanted_bytes == model.wanted * BLOCK);
	for (unsigned i = 0; i < BLOCKS; i++) {
		uint64_t gpa = BASE + i * BLOCK;

		MUST(gmem_contains(&w.mem, GPA(gpa), BLOCK) == model.plugged[i]);
		MUST(gmem_contains(&w.mem, GPA(gpa + BLOCK - 1), 1) == model.plugged[i]);
		if (i > 0)
			MUST(gmem_contains(&w.mem, GPA(gpa - 1), 2) ==
				(model.plugged[i - 1] && model.plugged[i]));
	}
	for (unsigned i = 0; i < SLOTS; i++)
		MUST((fake_kvm.regions[FIRST + i].memory_size != 0) == model.attached[i]);
}

static void request(struct input *in)
{
	uint8_t shape = take(in), raw[24] = { 0 };
	uint64_t gpa = BASE + (uint64_t)(take(in) % (BLOCKS + 2)) * BLOCK;
	uint16_t type = shape & 3, n = take(in) % (BLOCKS + 2), state;
	struct drv_buf bufs[] = { { REQ, 24, false }, { ANSWER, 10, true } };
	uint32_t id, len;
	uint16_t word;

	if (shape & 0x20)
		gpa += (uint64_t)take(in) << (take(in) & 63);
	if (shape & 0x40)
		n = (uint16_t)(take(in) << 8 | n);
	if ((shape & 0x90) == 0x90)
		type = take(in);
	num_put_le16(raw, type);
	num_put_le64(raw + 8, gpa);
	num_put_le16(raw + 16, n);
	MUST(gmem_write(&w.mem, GPA(REQ), raw, sizeof(raw)) == 0);
	word = expect(type, gpa, n, &state);
	drv_add(&w.d, 0, bufs, 2);
	drv_kick(&w.d, 0);
	MUST(drv_wait(&w.d, &w.loop, 0, &id, &len) && len == 10);
	MUST(drv_get16(&w.d, ANSWER) == word);
	MUST(drv_get16(&w.d, ANSWER + 8) == state);
}

/* Of any length, read and written: the device answers or fails, and nothing is plugged by it. */
static void malformed(struct input *in)
{
	struct drv_buf bufs[] = { { REQ, take(in), false }, { ANSWER, take(in), true } };
	uint8_t zero[256] = { VIRTIO_MEM_REQ_STATE };

	MUST(gmem_write(&w.mem, GPA(REQ), zero, sizeof(zero)) == 0);
	drv_add(&w.d, 0, bufs, 2);
	drv_kick(&w.d, 0);
	drv_poll(&w.loop);
	drv_reset(&w.d);
	start();
}

static void step(struct input *in)
{
	uint8_t what = take(in);

	switch (what & 15) {
	case 0:
		model.wanted = take(in) % (BLOCKS + 1);
		MUST(vmem_want(w.v, model.wanted * BLOCK) == 0);
		break;
	case 1:
		model.refuse = !model.refuse;
		fake_kvm.fail_region = model.refuse ? -ENOMEM : 0;
		break;
	case 2:
		drv_reset(&w.d);
		start();
		break;
	case 3:
		malformed(in);
		break;
	case 4:
		MUST(vmem_want(w.v, (BLOCKS + 1) * BLOCK) == -EINVAL);
		MUST(vmem_want(w.v, (uint64_t)take(in) * BLOCK + 1) == -EINVAL);
		break;
	default:
		request(in);
	}
	check();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	if (!w.v)
		make();
	while (in.left > 0)
		step(&in);
	/* Back to the start, whatever came: what KVM kept goes with the next block of it. */
	model.refuse = false;
	fake_kvm.fail_region = 0;
	for (unsigned i = 0; i < BLOCKS; i++) {
		uint8_t all[] = { 5, VIRTIO_MEM_REQ_PLUG, (uint8_t)i, 1 };
		struct input one = { all, sizeof(all) };

		model.wanted = BLOCKS;
		MUST(vmem_want(w.v, BLOCKS * BLOCK) == 0);
		step(&one);
	}
	step(&(struct input){ (const uint8_t[]){ 5, VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0 }, 4 });
	MUST(model.n == 0 && !any(model.attached, 0, SLOTS, true));
	return 0;
}
