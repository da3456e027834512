/* SPDX-License-Identifier: Apache-2.0 */
/* The memory map says exactly what --mem said, and all of it is there. expect.mib=N */
#include "payload.h"

#define GIB (UINT64_C(1) << 30)

extern uint8_t payload_end[];

/* Writes both ends of [from, to) and one word in the middle, then reads them back. */
static void touch(uint64_t from, uint64_t to)
{
	uint64_t at[3] = { from, (from + (to - from) / 2) & ~UINT64_C(7), to - 8 };

	if (to > 8 * GIB) /* the payload's page tables end there */
		to = at[2] = 8 * GIB - 8;
	for (int i = 0; i < 3; i++)
		if (at[i] < 8 * GIB)
			wr64(at[i], at[i] ^ UINT64_C(0x5aa5c33c0ff01221));
	for (int i = 0; i < 3; i++)
		if (at[i] < 8 * GIB)
			CHECK(rd64(at[i]) == (at[i] ^ UINT64_C(0x5aa5c33c0ff01221)),
				"memory at %lx reads %lx", at[i], rd64(at[i]));
}

int main(void)
{
	uint64_t bytes = boot_number("expect.mib", 0) << 20;
	uint64_t low = bytes < 3 * GIB ? bytes : 3 * GIB;
	uint64_t low_end = 0, high_end = 4 * GIB, at = 0;
	struct e820 map[32];
	unsigned n = boot_e820(map, 32);

	CHECK(n <= 32, "memory map of %u entries", n);
	for (unsigned i = 0; i < n; i++) {
		uint64_t end = map[i].base + map[i].bytes;

		console_print("e820 %lx-%lx type %u\n", map[i].base, end, map[i].type);
		CHECK(map[i].bytes && end > map[i].base, "empty entry %u", i);
		CHECK(map[i].base >= at, "entry %u starts in the one before", i);
		at = end;
		if (map[i].type != 1)
			continue;
		if (map[i].base < 4 * GIB) {
			CHECK(end <= low, "entry %u: RAM up to %lx", i, end);
			low_end = end;
		} else {
			CHECK(map[i].base == high_end, "hole before %lx", map[i].base);
			high_end = end;
		}
		if (map[i].base >= 0x100000)
			touch(map[i].base == 0x100000 ? (uint64_t)payload_end : map[i].base, end);
		else
			CHECK(map[i].base == 0 && end >= 0x80000 && end <= 0xa0000,
				"low memory ends at %lx", end);
	}
	CHECK(low_end == low, "RAM below the gap ends at %lx, not %lx", low_end, low);
	CHECK(high_end - 4 * GIB == bytes - low, "RAM above 4 GiB: %lx bytes, not %lx",
		high_end - 4 * GIB, bytes - low);
	return 0;
}
