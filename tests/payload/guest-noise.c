/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Register noise: wrong widths and offsets, doorbells before DRIVER_OK, rings outside RAM, a storm
 * of doorbells and random accesses to every device. Afterwards all disks work. seed=N rounds=N
 */
#include "vdev.h"

#define SLOTS 3 /* two disks and the entropy source */

static struct virtq q;
static struct blk b;
static uint64_t random_state;

static uint64_t random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void wrong_widths(void)
{
	uint64_t base = b.dev.base;

	for (unsigned reg = 0; reg < 0x100; reg += 2) {
		(void)rd8(base + reg);
		(void)rd16(base + reg);
		(void)rd8(base + reg + 1);
	}
	(void)rd64(base);
	(void)rd64(base + REG_STATUS);
	(void)rd32(base + 0xffc);
	(void)rd64(base + 0xffc); /* into the next device */
	wr8(base + REG_QUEUE_SEL, 7);
	wr16(base + REG_STATUS, 15);
	wr64(base + REG_QUEUE_DESC, UINT64_MAX);
	wr32(base + 0xff0, 1);
	wr32(base + REG_MAGIC, 0);
	CHECK(rd32(base + REG_MAGIC) == 0x74726976, "the magic number can be written");
	CHECK(!(vdev_status(&b.dev) & STATUS_DRIVER_OK), "a 16-bit store wrote the status");
}

static void too_early(void)
{
	vdev_reset(&b.dev);
	for (unsigned i = 0; i < 16; i++)
		wr32(b.dev.base + REG_NOTIFY, i);
	vdev_negotiate(&b.dev, 0);
	virtq_init(&q, &b.dev, 0, 0);
	for (unsigned i = 0; i < 16; i++)
		virtq_kick(&q);
	/* No feature may be added after FEATURES_OK, nor without VERSION_1. */
	vdev_reset(&b.dev);
	wr32(b.dev.base + REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	wr32(b.dev.base + REG_DRIVER_SEL, 1);
	wr32(b.dev.base + REG_DRIVER, UINT32_MAX);
	wr32(b.dev.base + REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	CHECK(!(vdev_status(&b.dev) & STATUS_FEATURES_OK), "features that were not offered");
}

/* Rings where no RAM is: DRIVER_OK must not make the device touch them. */
static void bad_rings(uint64_t where)
{
	vdev_negotiate(&b.dev, 0);
	wr32(b.dev.base + REG_QUEUE_SEL, 0);
	wr32(b.dev.base + REG_QUEUE_NUM, 256);
	for (unsigned reg = REG_QUEUE_DESC; reg <= REG_QUEUE_DEVICE; reg += 0x10) {
		wr32(b.dev.base + reg, (uint32_t)where);
		wr32(b.dev.base + reg + 4, (uint32_t)(where >> 32));
	}
	wr32(b.dev.base + REG_QUEUE_READY, 1);
	wr32(b.dev.base + REG_STATUS,
		STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
	wr32(b.dev.base + REG_NOTIFY, 0);
	(void)vdev_status(&b.dev);
}

static void bad_sizes(void)
{
	static const uint32_t sizes[] = { 0, 3, 257, 0x8000, 0x10000, UINT32_MAX };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		vdev_negotiate(&b.dev, 0);
		virtq_init(&q, &b.dev, 0, 0);
		wr32(b.dev.base + REG_QUEUE_READY, 0);
		wr32(b.dev.base + REG_QUEUE_NUM, sizes[i]);
		wr32(b.dev.base + REG_QUEUE_READY, 1);
		wr32(b.dev.base + REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER |
						      STATUS_FEATURES_OK | STATUS_DRIVER_OK);
		virtq_kick(&q);
	}
}

static void noise(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		struct vdev d;
		uint64_t r = random(), v = random(), a;

		vdev_at(&d, r % SLOTS);
		/* Mostly registers, rarely beyond; the low bits of r are spent. */
		a = d.base + ((r >> 8) % 16 ? (r >> 16) % 0x130 : (r >> 16) % 0x1000);
		if (r >> 60 > 3)
			a &= ~UINT64_C(3);
		v >>= (r >> 40) % 64;
		switch ((r >> 32) % 8) {
		case 0:
			(void)rd8(a);
			break;
		case 1:
			(void)rd16(a);
			break;
		case 2:
			(void)rd32(a);
			break;
		case 3:
			wr8(a, (uint8_t)v);
			break;
		case 4:
			wr16(a, (uint16_t)v);
			break;
		case 5:
			wr64(a, v);
			break;
		default:
			wr32(a, (uint32_t)v);
		}
	}
}

/* The same for the devices behind ports: no value may hang them. */
static void port_noise(unsigned rounds)
{
	static const uint16_t ports[] = { 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x60,
		0x64, 0x601, 0x603, 0x505, 0x3f7, 0x5f, 0x65 };

	for (unsigned i = 0; i < rounds; i++) {
		uint64_t r = random();
		uint16_t p = ports[r % (sizeof(ports) / sizeof(ports[0]))];
		uint8_t v = (uint8_t)(r >> 32);

		/* A write of these would end the VM, rightly. */
		if ((p == 0x64 && v >= 0xf0) || p == 0x505 || r >> 63)
			(void)(r >> 62 & 1 ? in32(p) : in8(p));
		else if (r >> 61 & 1 && p != 0x601 && p != 0x5f && p != 0x603)
			out16(p, v);
		else
			out8(p, v);
	}
	out8(0x3f9, 0);
	out8(0x3fb, 3);
	out8(0x3fc, 3);
}

int main(void)
{
	random_state = boot_number("seed", 1) | 1;
	vdev_find(&b.dev, 2, 0);
	wrong_widths();
	too_early();
	bad_rings(0xd0000000);
	bad_rings(UINT64_C(0xfffffffffffffff0));
	bad_rings(0xc0001000);
	bad_sizes();
	blk_start(&b, &q, 0);
	for (unsigned i = 0; i < 2000; i++) /* a storm while it works */
		virtq_kick(&q);
	blk_must_work(&b, "after a storm of doorbells");
	noise((unsigned)boot_number("rounds", 4000));
	port_noise(500);
	for (unsigned n = 0; n < 2; n++) {
		vdev_find(&b.dev, 2, n);
		blk_start(&b, &q, F_EVENT_IDX);
		blk_must_work(&b, "after all the noise");
	}
	return 0;
}
