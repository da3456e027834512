/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overlay disks, two ways by the first bit. Files that are hostile in every part: what opens is
 * what a second reading of docs/overlay-format.md allows, and each block reads as the map says. And
 * any sequence of requests, freezes, merges, crashes and failing calls beside a plain model
 * (tests/lib/overlay-rig.h): what was acknowledged is there, nothing is torn, nothing comes from
 * nowhere.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "input.h"
#include "log.h"
#include "num.h"
#include "overlay-rig.h"

#define BLOCK	 4096u
#define PATCHES	 24u
#define DISK_MAX (64u << 10)

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

static struct rig rig;

static void operations(struct input *in)
{
	uint8_t sizes = take(in);

	rig_host_reset();
	rig_open(&rig, 1 + sizes % 40 * 7, 12 + sizes / 40 % 5);
	while (in->left > 0 && !rig.wrong) {
		uint8_t what = take(in);
		uint32_t op = take16(in), where = take16(in) | (uint32_t)take(in) << 16;

		if (what < 8 || rig_host_dead()) {
			rig_crash(&rig, what & 1, where);
			if (rig.wrong)
				break;
		} else if (what < 40) {
			rig_host_fail(RIG_EIO + what % 5, rig_host_calls() + where % 8);
		}
		rig_random(&rig, op | (uint32_t)what << 16, where);
	}
	if (!rig.wrong) {
		rig_crash(&rig, true, 1);
		MUST(!rig.wrong && rig_flush(&rig));
		rig_check(&rig);
		rig_crash(&rig, true, 2);
		rig_check(&rig);
	}
	MUST(!rig.wrong);
	rig_close(&rig);
}

/* CRC-32C by its reflected polynomial, a table for half bytes: not the way of overlay.c. */
static uint32_t crc32c(const uint8_t *p, size_t len)
{
	uint32_t table[16], crc = ~0u;

	for (uint32_t i = 0; i < 16; i++) {
		table[i] = i;
		for (int k = 0; k < 4; k++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0x82f63b78u : 0);
	}
	for (size_t i = 0; i < len; i++) {
		crc = crc >> 4 ^ table[(crc ^ p[i]) & 15];
		crc = crc >> 4 ^ table[(crc ^ p[i] >> 4) & 15];
	}
	return ~crc;
}

/* docs/overlay-format.md, of a disk that is small; false: it is none. */
static bool sound(const uint8_t *f, uint64_t len)
{
	uint8_t header[4096];
	uint64_t bytes, blocks, map, data;
	unsigned shift;

	if (len < sizeof(header))
		return false;
	memcpy(header, f, sizeof(header));
	memset(header + 12, 0, 4);
	if (memcmp(f, "VOLTOVL\0\1\0\0\0", 12) != 0 ||
		num_get_le32(f + 12) != crc32c(header, sizeof(header)))
		return false;
	for (size_t i = 64; i < sizeof(header); i++)
		if (f[i])
			return false;
	bytes = num_get_le64(f + 16);
	shift = num_get_le32(f + 24);
	if (num_get_le32(f + 28) || shift < 12 || shift > 16 || !bytes || bytes % 512 ||
		bytes > 4ull << 40)
		return false;
	blocks = (bytes + (1ull << shift) - 1) >> shift;
	map = ((blocks + 3) / 4 + 4095) / 4096 * 4096;
	data = (4096 + map + 65535) / 65536 * 65536;
	if (len != data + (blocks << shift))
		return false;
	for (uint64_t b = 0; b < map * 4; b++) {
		unsigned state = f[4096 + b / 4] >> b % 4 * 2 & 3;

		if (state == 3 || (b >= blocks && state))
			return false;
	}
	return true;
}

static void read_all(struct disk *d, const uint8_t *f, uint64_t bytes)
{
	static uint8_t got[DISK_MAX];
	unsigned shift = num_get_le32(f + 24);
	struct iovec iov = { got, bytes };
	struct disk_req req = { .op = DISK_READ, .bytes = bytes, .iov = &iov, .n_iov = 1 };

	MUST(disk_submit(d, &req) == 0);
	for (uint64_t i = 0; i < bytes; i++) {
		uint64_t b = i >> shift;
		unsigned state = f[4096 + b / 4] >> b % 4 * 2 & 3;

		MUST(got[i] == (state == 0 ? 0xba : state == 1 ? f[65536 + i] : 0));
	}
}

static void hostile(struct input *in)
{
	static uint8_t f[65536 + DISK_MAX + 65536];
	const struct disk_params params = { .in_flight = 1 };
	uint64_t bytes = (1 + take(in) % 128) * 512, len, at, n;
	unsigned shift = 12 + take(in) % 5, patches = take(in) % PATCHES;
	int fd = memfd_create("overlay", MFD_CLOEXEC), basefd = memfd_create("base", MFD_CLOEXEC);
	struct overlay *o;
	struct disk *d;
	bool good, fix = take(in) & 3;

	MUST(fd >= 0 && basefd >= 0 && overlay_format(fd, bytes, shift, NULL, NULL) == 0);
	len = lseek(fd, 0, SEEK_END);
	MUST(len <= sizeof(f) && pread(fd, f, len, 0) == (ssize_t)len);
	for (uint64_t i = 65536; i < len; i++)
		f[i] = (uint8_t)(i % 251);
	for (unsigned i = 0; i < patches; i++) {
		static const uint16_t interesting[] = { 0, 8, 12, 16, 24, 28, 32, 48, 64, 4095,
			4096, 4100 };

		at = take(in);
		at = at < 128 ? interesting[at % 12] + take(in) % 8 : 4096 + take16(in) % 32;
		f[at] = take(in);
	}
	if (fix) {
		memset(f + 12, 0, 4);
		num_put_le32(f + 12, crc32c(f, 4096));
	}
	n = take(in);
	len = n == 1 ? len - 1 : n == 2 ? len + 512 : n == 3 ? take16(in) : len;
	MUST(ftruncate(fd, 0) == 0 && pwrite(fd, f, len, 0) == (ssize_t)len);
	good = sound(f, len);
	bytes = num_get_le64(f + 16);
	MUST((overlay_open(fd, true, NULL, 0, &o, NULL) == 0) == good);
	if (good && bytes <= DISK_MAX) {
		static const uint8_t zeros[16];
		static uint8_t image[DISK_MAX];
		bool alone = memcmp(f + 48, zeros, 16) == 0;

		memset(image, 0xba, sizeof(image));
		MUST(pwrite(basefd, image, bytes, 0) == (ssize_t)bytes);
		MUST((disk_overlay_create(basefd, &o, 1, &params, &d, NULL) == 0) == alone);
		if (alone) {
			read_all(d, f, bytes);
			disk_destroy(d);
			return;
		}
	}
	if (good)
		overlay_close(o);
	else
		close(fd);
	close(basefd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	log_init(&(struct log_config){ .id = "fuzz", .fd = -1 });
	rig_host_reset();
	if (take(&in) & 1)
		operations(&in);
	else
		hostile(&in);
	return 0;
}
