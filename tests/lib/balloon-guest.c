/* SPDX-License-Identifier: Apache-2.0 */
/* See balloon-guest.h. */
#include "test.h"

#include "balloon-guest.h"

#include <stdlib.h>
#include <linux/virtio_mmio.h>
#include <sys/mman.h>

#include "num.h"

int bg_setup(void **state, const struct balloon_params *p, unsigned n_queues)
{
	struct bg *f = calloc(1, sizeof(*f));
	struct vmmio_env env = { .mem = &f->mem, .loop = &f->loop, .vmfd = -1, .base = 0xc0001000 };

	assert_int_equal(gmem_map(&f->mem, BG_MIBS * MIB, NULL), 0);
	assert_int_equal(loop_init(&f->loop, NULL), 0);
	assert_int_equal(balloon_create(p, &f->loop, &f->v, NULL), 0);
	assert_int_equal(f->v->n_queues, n_queues);
	assert_int_equal(vmmio_create(f->v, &env, &f->m, NULL), 0);
	drv_init(&f->d, &f->mem, vmmio_dev(f->m), BG_HEAP);
	assert_int_equal(drv_start(&f->d, BG_ALL_F, n_queues, 64), 0xf);
	drv_poll(&f->loop);
	*state = f;
	return 0;
}

int bg_teardown(void **state)
{
	struct bg *f = *state;

	vmmio_destroy(f->m);
	loop_done(&f->loop);
	gmem_unmap(&f->mem);
	free(f);
	return 0;
}

/* Hands n buffers over as one request and waits until it is given back; bytes written: none. */
void bg_give(struct bg *f, unsigned q, const struct drv_buf *bufs, unsigned n)
{
	uint16_t head = drv_add(&f->d, q, bufs, n);
	uint32_t id, len;

	drv_kick(&f->d, q);
	assert_true(drv_wait(&f->d, &f->loop, q, &id, &len));
	assert_int_equal(id, head);
	assert_int_equal(len, 0);
}

void bg_put_pfns(struct bg *f, uint64_t at, const uint32_t *pfns, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t raw[4];

		num_put_le32(raw, pfns[i]);
		assert_int_equal(gmem_write(&f->mem, GPA(at + 4 * i), raw, 4), 0);
	}
}

void bg_give_pfns(struct bg *f, unsigned q, const uint32_t *pfns, unsigned n)
{
	bg_put_pfns(f, BG_BUF, pfns, n);
	bg_give(f, q, &(struct drv_buf){ BG_BUF, 4 * n, false }, 1);
}

void bg_command(struct bg *f, unsigned q, uint32_t cmd)
{
	uint8_t raw[4];

	num_put_le32(raw, cmd);
	assert_int_equal(gmem_write(&f->mem, GPA(BG_BUF), raw, 4), 0);
	bg_give(f, q, &(struct drv_buf){ BG_BUF, 4, false }, 1);
}

void bg_hint(struct bg *f, unsigned q, unsigned block)
{
	bg_give(f, q, &(struct drv_buf){ BG_PAGES + block * MIB, MIB, true }, 1);
}

void bg_dirty(struct bg *f, uint64_t gpa, uint64_t bytes)
{
	assert_int_equal(gmem_fill(&f->mem, GPA(gpa), 0xa5, bytes), 0);
}

unsigned bg_resident(struct bg *f, uint64_t gpa, uint64_t bytes)
{
	unsigned char pages[1024];
	struct iovec iov;
	unsigned n = 0;

	assert_int_equal(gmem_slice(&f->mem, GPA(gpa), bytes, &iov), 0);
	assert_in_range(bytes / 4096, 0, sizeof(pages));
	assert_int_equal(mincore(iov.iov_base, bytes, pages), 0);
	for (unsigned i = 0; i < bytes / 4096; i++)
		n += pages[i] & 1;
	return n;
}

uint32_t bg_config32(struct bg *f, unsigned word)
{
	uint8_t raw[4];

	drv_read(&f->d, VIRTIO_MMIO_CONFIG + 4 * word, raw, 4);
	return num_get_le32(raw);
}

/* Reads and acknowledges the interrupt status. */
uint32_t bg_interrupts(struct bg *f)
{
	uint32_t isr = drv_get(&f->d, VIRTIO_MMIO_INTERRUPT_STATUS);

	drv_set(&f->d, VIRTIO_MMIO_INTERRUPT_ACK, isr);
	return isr;
}
