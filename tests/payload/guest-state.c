/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A computation whose every step depends on all steps before, over registers, memory and a device's
 * scratch register; nothing in memory depends on time. Its result, and with it the whole of memory,
 * is the same however often the VM is stopped and goes on elsewhere. rounds=N
 */
#include "payload.h"

#define WORDS 8192u

static uint64_t arena[WORDS];

static inline uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	return x;
}

/* Many registers are alive at once. */
static uint64_t round_of(uint64_t seed)
{
	uint64_t a = seed, b = ~seed, c = seed << 1, d = seed >> 1, e = seed * 3, f = seed + 7;

	for (unsigned i = 0; i < WORDS; i += 2) {
		a = mix(a + arena[i]);
		b ^= a + (c << 7 | c >> 57);
		c += b ^ d;
		d = (d ^ e) + arena[i + 1];
		e = mix(e + f);
		f += a ^ e;
		arena[i] = a ^ d;
		arena[i + 1] = b + f;
	}
	return a ^ b ^ c ^ d ^ e ^ f;
}

int main(void)
{
	uint64_t rounds = boot_number("rounds", 20), sum = 1;

	for (uint64_t i = 0; i < rounds; i++) {
		uint8_t scratch = (uint8_t)sum;

		out8(0x3ff, scratch); /* of the serial port */
		sum = round_of(sum);
		CHECK(in8(0x3ff) == scratch, "round %lu: the scratch register is lost", i);
		if (i % 5 == 0)
			console_print("round %lu: %lx\n", i, sum);
	}
	console_print("sum %lx\n", sum);
	return 0;
}
