/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MMIO transport with a disk behind it, through sequences of register accesses, driver actions
 * and broken rings. The device lives from one input to the next and is only reset in between, as a
 * guest would do it. Oracles: the invariants of check(), pages without access around guest memory,
 * and, for requests of a driver that behaves, a copy of the disk that knows every answer. The input
 * begins with a sound start most of the time.
 */
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blk.h"
#include "dev.h"
#include "drv.h"
#include "input.h"
#include "log.h"
#include "loop.h"
#include "num.h"
#include "vmmio.h"

#define RAM	0xa000u
#define HEAP	0x1000u
#define HDR	0x8000u
#define DATA	0x8400u
#define STATUS	0x8200u
#define SECTORS 32u
#define QUEUES	2u

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

struct world {
	struct gmem mem;
	struct loop loop;
	struct virtio_dev *v;
	struct vmmio *m;
	struct drv d;
	int fd;
	uint8_t *disk; /* what is in it */
	bool sound; /* the driver has done nothing wrong since its start */
	uint8_t copy[SECTORS * 512];
};

static uint32_t take32(struct input *in)
{
	uint32_t v = take(in);

	return v < 0xc0 ? v : v << 8 | (uint32_t)take(in) << 24 | take(in);
}

static void make(struct world *w)
{
	struct blk_params p = { .id = "fuzz", .n_queues = QUEUES, .unsafe_cache = false };
	struct vmmio_env env = { .mem = &w->mem, .loop = &w->loop, .vmfd = -1, .base = 0xc0001000 };
	uint8_t *host = mmap(NULL, RAM + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	log_init(&(struct log_config){ .id = "fuzz", .fd = -1 });
	MUST(host != MAP_FAILED && mprotect(host + 4096, RAM, PROT_READ | PROT_WRITE) == 0);
	w->mem = (struct gmem){ .regions = { { 0, RAM, host + 4096 } }, .n_regions = 1 };
	MUST(fd >= 0 && ftruncate(fd, SECTORS * 512) == 0);
	w->fd = dup(fd);
	w->disk = mmap(NULL, SECTORS * 512, PROT_READ, MAP_SHARED, fd, 0);
	MUST(w->disk != MAP_FAILED);
	MUST(loop_init(&w->loop, NULL) == 0);
	MUST(blk_create(&p, fd, false, &w->loop, &w->v, NULL) == 0);
	MUST(vmmio_create(w->v, &env, &w->m, NULL) == 0);
	drv_init(&w->d, &w->mem, vmmio_dev(w->m), HEAP);
}

static bool is_legal(uint32_t status)
{
	switch (status & ~(uint32_t)VIRTIO_CONFIG_S_FAILED) {
	case 0x0:
	case 0x1:
	case 0x3:
	case 0xb:
	case 0xf:
	case 0x4f:
		return true;
	default:
		return false;
	}
}

static void check(struct world *w)
{
	uint32_t status = drv_status(&w->d);

	MUST(is_legal(status));
	MUST((drv_get(&w->d, VIRTIO_MMIO_INTERRUPT_STATUS) & ~3u) == 0);
	MUST(w->v->inflight == 0 && w->v->draining == 0);
	if (status & VIRTIO_CONFIG_S_FEATURES_OK)
		MUST((w->v->acked & ~w->v->features) == 0 && w->v->acked >> 32 & 1);
	for (unsigned q = 0; q < QUEUES; q++) {
		const struct virtq *vq = &w->v->queues[q];

		MUST(virtq_in_flight(vq) == 0 || (status & 0xc0));
		if (!vq->live)
			continue;
		MUST((status & 0x4f) == 0xf && vq->ready && IS_POW2(vq->size) && vq->size <= 256);
		MUST(gmem_contains(&w->mem, GPA(vq->desc_gpa), 16ull * vq->size));
		MUST(gmem_contains(&w->mem, GPA(vq->used_gpa), 6 + 8ull * vq->size));
	}
}

static void reset(struct world *w)
{
	drv_reset(&w->d);
	MUST(drv_status(&w->d) == 0 && drv_get(&w->d, VIRTIO_MMIO_INTERRUPT_STATUS) == 0);
	MUST(w->v->acked == 0 && w->v->inflight == 0);
	for (unsigned q = 0; q < QUEUES; q++)
		MUST(!w->v->queues[q].live && !w->v->queues[q].ready);
	w->sound = false;
}

/* Whatever came before: reset, negotiation and DRIVER_OK work. */
static void start(struct world *w, struct input *in)
{
	uint8_t f = take(in);
	uint64_t wanted = (uint64_t)(f & 3) << 28 | (f & 4 ? VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) : 0) |
		(f & 8 ? VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE) : 0);

	reset(w);
	MUST(drv_start(&w->d, wanted, QUEUES, (uint16_t)(8u << (f >> 6))) == 0xf);
	drv_poll(&w->loop);
	w->sound = true;
}

/* What the answer must be, by the copy of the disk, which a write changes. */
static uint8_t expect(struct world *w, uint32_t type, uint64_t sector, uint32_t len, uint8_t *data)
{
	if (type == VIRTIO_BLK_T_FLUSH)
		return VIRTIO_BLK_S_OK;
	if (type == VIRTIO_BLK_T_GET_ID)
		return len < 20 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
	if (type != VIRTIO_BLK_T_IN && type != VIRTIO_BLK_T_OUT)
		return VIRTIO_BLK_S_UNSUPP;
	if (len % 512 != 0 || sector > SECTORS || len / 512 > SECTORS - sector)
		return VIRTIO_BLK_S_IOERR;
	if (type == VIRTIO_BLK_T_OUT)
		memcpy(w->copy + sector * 512, data, len);
	else
		memcpy(data, w->copy + sector * 512, len);
	return VIRTIO_BLK_S_OK;
}

/* A sound request whose parts are split at an arbitrary place; it is answered exactly right. */
static void request(struct world *w, struct input *in)
{
	static const uint32_t types[] = { 0, 1, 0, 1, 0, 1, 4, 8, 9, 77 };
	static uint8_t data[4096], back[4096];
	uint32_t type = types[take(in) % ARRAY_SIZE(types)], id, len, sel = take(in);
	uint64_t sector = sel < 0xf0 ? sel % (SECTORS + 2) : UINT64_MAX - sel;
	uint32_t bytes = take(in), cut, written;
	unsigned q = sel & 1;
	bool reads = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	uint8_t status;

	bytes = bytes < 0xe0 ? 512 * (bytes % 8) : bytes;
	cut = bytes ? take(in) * 16u % bytes : 0;
	memset(data, (int)take(in), sizeof(data));
	num_put_le32(back, type);
	num_put_le32(back + 4, 0);
	num_put_le64(back + 8, sector);
	MUST(gmem_write(&w->mem, GPA(HDR), back, 16) == 0);
	MUST(gmem_write(&w->mem, GPA(DATA), data, sizeof(data)) == 0);
	drv_put8(&w->d, STATUS, 0xff);
	drv_add(&w->d, q,
		(struct drv_buf[]){ { HDR, 7, false }, { HDR + 7, 9, false }, { DATA, cut, reads },
			{ DATA + cut, bytes - cut, reads }, { STATUS, 1, true } },
		5);
	drv_kick(&w->d, q);
	drv_poll(&w->loop);
	MUST(drv_used(&w->d, q, &id, &len) && !drv_used(&w->d, q, &id, &sel));
	status = expect(w, type, sector, bytes, data);
	MUST(drv_get8(&w->d, STATUS) == status);
	written = status != VIRTIO_BLK_S_OK ? 0 : type == VIRTIO_BLK_T_IN ? bytes :
		type == VIRTIO_BLK_T_GET_ID				      ? 20 :
										0;
	MUST(len == written + 1);
	MUST(gmem_read(&w->mem, GPA(DATA), back, sizeof(back)) == 0);
	MUST(type == VIRTIO_BLK_T_GET_ID || memcmp(data, back, sizeof(back)) == 0);
	sector = sector % SECTORS * 512;
	MUST(memcmp(w->disk + sector, w->copy + sector, 512) == 0);
}

static void access_register(struct world *w, struct input *in, uint8_t op)
{
	uint8_t data[8] = { 0 };
	uint64_t off = take(in) * 4u;

	if (op & 0x80) {
		off = off % 0x200 + (op >> 4 & 3);
		num_put_le32(data, take32(in));
		drv_write(&w->d, off, data, 1u << (op >> 5 & 3));
		drv_read(&w->d, off, data, 1u << (op >> 5 & 3));
		return;
	}
	off %= 0x110;
	if (op & 0x40)
		drv_get(&w->d, off);
	else
		drv_set(&w->d, off, take32(in));
}

/* Anything in the rings: a descriptor, an index, a head. */
static void tamper(struct world *w, struct input *in)
{
	static const uint32_t lens[] = { 16, 1, 512, 513, 0, 4096, 0x8000, 0xffffffff };
	unsigned q = take(in) % QUEUES, what = take(in);
	struct drv_queue *dq = &w->d.q[q];

	w->sound = false;
	if (dq->size == 0)
		return;
	if (what < 0xa0)
		drv_desc(&w->d, what & 0x10 ? 0x7800 : dq->desc, what % 16 % dq->size,
			what & 0x40 ? take(in) << 10 : HDR, lens[take(in) % 8], take(in) % 8,
			take(in) % 16);
	else if (what < 0xf0)
		drv_publish(&w->d, q, what % (dq->size + 1));
	else
		drv_put16(&w->d, dq->avail + 2, (uint16_t)take32(in));
}

static void step(struct world *w, struct input *in)
{
	uint8_t op = take(in);

	switch (op % 8) {
	case 0:
	case 1:
	case 2:
		if (w->sound)
			request(w, in);
		else
			start(w, in);
		break;
	case 3:
		w->sound = false;
		access_register(w, in, op);
		drv_poll(&w->loop);
		break;
	case 4:
	case 5:
		tamper(w, in);
		break;
	case 6:
		drv_kick(&w->d, op >> 3);
		drv_poll(&w->loop);
		break;
	default:
		if (op & 8)
			start(w, in);
		else
			reset(w);
	}
	check(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct input in = { data, size };
	struct stat st;

	if (!w.m)
		make(&w);
	reset(&w);
	MUST(gmem_fill(&w.mem, GPA(0), 0, RAM) == 0);
	/* Tampered requests may have written; the copy follows the disk from a start on. */
	memcpy(w.copy, w.disk, sizeof(w.copy));
	if (take(&in) < 0xe0)
		start(&w, &in);
	for (unsigned n = 0; n < 24 && in.left > 0; n++) {
		bool was_sound = w.sound;

		step(&w, &in);
		if (!was_sound && w.sound)
			memcpy(w.copy, w.disk, sizeof(w.copy));
	}
	MUST(fstat(w.fd, &st) == 0 && st.st_size == SECTORS * 512);
	return 0;
}
