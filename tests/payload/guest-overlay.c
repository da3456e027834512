/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that keeps what earlier guests wrote to it. Generation g writes 8 pieces of 4 KiB, none of
 * which is aligned; expect.generations=N of them are there, and everything else is as the image was
 * (0x5a). With "write" the next one is written and flushed; with "stay" the guest then waits for
 * its end, after a write that it does not flush.
 */
#include "vdev.h"

#define PIECES	     8u
#define PIECE_BYTES  4096u
#define PIECE_STRIDE 11u /* sectors; a piece is 8 */

static struct virtq queue;
static struct blk b;
/* In words: a KVM made of software takes its time for each instruction. */
static uint64_t buf[PIECE_BYTES / 8] __attribute__((aligned(4096))), want[PIECE_BYTES / 8];

static void must(uint32_t type, uint64_t sector, uint32_t len)
{
	int r = blk_do(&b, type, sector, len ? buf : NULL, len);

	CHECK(r == BLK_OK, "request %u at sector %lu: %d", type, sector, r);
}

static void check(uint64_t sector, uint32_t len)
{
	buf[0] = buf[len / 8 - 1] = 0;
	must(BLK_IN, sector, len);
	for (uint32_t i = 0; i < len / 8; i++)
		CHECK(buf[i] == want[i], "sector %lu is not what it should be", sector);
}

static void write_piece(uint64_t piece)
{
	blk_pattern(buf, PIECE_BYTES, piece, 7);
	must(BLK_OUT, piece * PIECE_STRIDE, PIECE_BYTES);
}

static void expect_image(void)
{
	for (uint32_t i = 0; i < PIECE_BYTES / 8; i++)
		want[i] = UINT64_C(0x5a5a5a5a5a5a5a5a);
}

int main(void)
{
	uint64_t n, piece = 0;

	vdev_find(&b.dev, 2, 0);
	blk_start(&b, &queue, BLK_F_FLUSH);
	n = boot_number("expect.generations", 0) * PIECES;
	for (; piece < n; piece++) {
		blk_pattern(want, PIECE_BYTES, piece, 7);
		check(piece * PIECE_STRIDE, PIECE_BYTES);
		expect_image();
		check(piece * PIECE_STRIDE + 8, 3 * 512);
	}
	expect_image();
	for (uint64_t s = n * PIECE_STRIDE, step; s < b.sectors; s += step) {
		step = b.sectors - s < 8 ? 1 : 8;
		check(s, (uint32_t)step * 512);
	}
	if (boot_has("write")) {
		for (; piece < n + PIECES; piece++)
			write_piece(piece);
		must(BLK_FLUSH, 0, 0);
		console_print("flushed\n");
	}
	if (boot_has("stay")) {
		/* What is there already: it may be lost or not. */
		must(BLK_IN, b.sectors - 8, PIECE_BYTES);
		must(BLK_OUT, b.sectors - 8, PIECE_BYTES);
		console_print("waiting\n");
		for (;;)
			__asm__ volatile("cli; hlt");
	}
	return 0;
}
