/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng fills what it is given, never beyond it, and differently each time. */
#include "vdev.h"

static struct virtq q;
static struct vdev d;
static uint8_t buf[2][1024];

static uint32_t fill(uint8_t *p, uint32_t len)
{
	struct seg segs[2] = { { p, len / 2, true }, { p + len / 2, len - len / 2, true } };
	uint32_t got, head;

	virtq_publish(&q, virtq_add(&q, segs, 2));
	virtq_kick(&q);
	CHECK(virtq_wait(&q, &head, &got), "no answer");
	CHECK(got >= 1 && got <= len, "%u of %u bytes", got, len);
	return got;
}

int main(void)
{
	uint32_t n, zero = 0;

	vdev_find(&d, 4, 0);
	vdev_negotiate(&d, F_EVENT_IDX);
	virtq_init(&q, &d, 0, 0);
	vdev_ok(&d);
	for (unsigned i = 0; i < 2; i++) {
		memset(buf[i], 0, sizeof(buf[i]));
		n = fill(buf[i], 512);
		for (unsigned k = n; k < sizeof(buf[i]); k++)
			CHECK(buf[i][k] == 0, "byte %u, beyond %u, was written", k, n);
		for (unsigned k = 0; k < n; k++)
			zero += buf[i][k] == 0;
	}
	CHECK(n >= 16 && memcmp(buf[0], buf[1], n) != 0, "twice the same");
	CHECK(zero < 40, "%u zero bytes of 1024", zero);
	vdev_reset(&d);
	vdev_negotiate(&d, 0);
	virtq_init(&q, &d, 0, 0);
	vdev_ok(&d);
	(void)fill(buf[0], 64);
	return 0;
}
