/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-pmem through requests of any kind and layout, changes of its rate limit and resets. The
 * oracle: each request is answered once, a flush with 0 and what is none with a failure; the device
 * fails if a request has no type or no room for the answer, and only then; and the file's flushes
 * are never more than the requests for them.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dev.h"
#include "drv.h"
#include "input.h"
#include "log.h"
#include "loop.h"
#include "num.h"
#include "pmem.h"
#include "vmmio.h"

#define SLOTS  32u
#define REQ    0x100000ull /* + 64 * slot */
#define ANSWER 0x110000ull
#define WORD   UINT32_C(0x55555555)

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
	const struct pmem_counters *c;
} w;

/* Requests that were made since the last reset. */
static struct {
	unsigned n, answered;
	bool flush[SLOTS], limited;
} model;

static void make(void)
{
	struct vmmio_env env = { .mem = &w.mem, .loop = &w.loop, .vmfd = -1, .base = 0xc0001000 };
	struct pmem_params p = { .id = "fuzz" };
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	log_init(&(struct log_config){ .id = "fuzz", .fd = -1 });
	MUST(fd >= 0 && ftruncate(fd, 8192) == 0);
	MUST(gmem_map(&w.mem, 4 * MIB, NULL) == 0);
	MUST(gmem_add_file(&w.mem, 512 * GIB, fd, 8192, false, NULL) == 0);
	p.region = &w.mem.regions[1];
	MUST(loop_init(&w.loop, NULL) == 0);
	MUST(pmem_create(&p, fd, &w.loop, &w.v, NULL) == 0);
	MUST(vmmio_create(w.v, &env, &w.m, NULL) == 0);
	w.c = pmem_counters(w.v);
	drv_init(&w.d, &w.mem, vmmio_dev(w.m), 0x10000);
}

static void limit(bool on)
{
	/* The first operation passes; the next one would in an hour. */
	const struct bucket_params ops = { on, 3600 * 1000, 0 };

	pmem_limit(w.v, NULL, &ops);
	model.limited = on;
}

static void start(void)
{
	drv_reset(&w.d);
	MUST(w.v->inflight == 0);
	MUST(drv_start(&w.d, VIRTIO_COMMON_FEATURES, 1, 256) == 0xf);
	memset(&model, 0, sizeof(model));
	limit(false);
}

/* What was used since the last look; each answer is what it must be. */
static void reap(void)
{
	uint32_t id, len;
	uint8_t raw[4];

	drv_poll(&w.loop);
	for (; drv_used(&w.d, 0, &id, &len); model.answered++)
		MUST(len == 4);
	MUST(model.answered <= model.n);
	if (!model.limited)
		MUST(model.answered == model.n);
	for (unsigned i = 0; i < model.n && !model.limited; i++) {
		MUST(gmem_read(&w.mem, GPA(ANSWER + 64 * i), raw, 4) == 0);
		MUST(num_get_le32(raw) == (model.flush[i] ? 0 : UINT32_MAX));
	}
	MUST(w.c->syncs <= w.c->flushes + w.c->failed && w.c->failed == 0);
}

/* In up to four pieces each way. */
static void request(struct input *in)
{
	uint8_t shape = take(in), raw[4];
	unsigned i = model.n, a = 1 + (shape & 1) * (shape >> 2 & 3), b = 1 + (shape >> 1 & 1) * 2;
	struct drv_buf bufs[4] = { { REQ + 64 * i, a, false }, { REQ + 64 * i + a, 8 - a, false },
		{ ANSWER + 64 * i, b, true }, { ANSWER + 64 * i + b, 9 - b, true } };
	uint32_t type = shape & 0x30 ? 0 : take(in);

	num_put_le32(raw, type);
	MUST(gmem_write(&w.mem, GPA(REQ + 64 * i), raw, 4) == 0);
	num_put_le32(raw, WORD);
	MUST(gmem_write(&w.mem, GPA(ANSWER + 64 * i), raw, 4) == 0);
	if (shape & 0x80)
		drv_add_indirect(&w.d, 0, bufs, 4);
	else
		drv_add(&w.d, 0, bufs, 4);
	model.flush[i] = type == 0;
	model.n++;
	if (shape & 0x40)
		drv_kick(&w.d, 0);
}

/* Fails the device, which then starts again. */
static void malformed(struct input *in)
{
	uint64_t before = w.c->malformed;
	bool no_type = take(in) & 1;
	struct drv_buf bufs[] = { { REQ, no_type ? take(in) & 3u : 4, false },
		{ ANSWER, no_type ? 4 : take(in) & 3u, true } };

	limit(false);
	drv_kick(&w.d, 0);
	reap();
	drv_add(&w.d, 0, bufs, 2);
	drv_kick(&w.d, 0);
	drv_poll(&w.loop);
	MUST(w.c->malformed == before + 1 && (drv_status(&w.d) & 0x40));
	start();
}

static void step(struct input *in)
{
	uint8_t what = take(in);

	switch (what & 7) {
	case 0:
		limit(what & 8);
		break;
	case 1:
		malformed(in);
		break;
	case 2:
		start();
		break;
	case 3:
		drv_kick(&w.d, 0);
		drv_poll(&w.loop);
		break;
	default:
		request(in);
	}
	if (model.n == SLOTS) {
		limit(false);
		drv_kick(&w.d, 0);
		reap();
		start();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	if (!w.v)
		make();
	start();
	while (in.left > 0)
		step(&in);
	limit(false);
	drv_kick(&w.d, 0);
	reap();
	return 0;
}
