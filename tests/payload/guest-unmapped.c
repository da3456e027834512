/* SPDX-License-Identifier: Apache-2.0 */
/* Ports and MMIO that no device claims read as all ones and swallow writes, in every width. */
#include "payload.h"

static const uint16_t ports[] = { 0x10, 0x61, 0x70, 0x80, 0x92, 0x2f8, 0x3e8, 0x1f0, 0xcf8, 0xcfc,
	0x4d0, 0xfff8 };
static const uint64_t pages[] = { 0xc0f00000, 0xd0000000, 0xe0000ffc, 0xfd000000, 0xfffffff0 };

int main(void)
{
	for (unsigned i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		uint16_t p = ports[i];

		if (p == 0x61 || p == 0x70) /* a monitor may have these; they must just not hang */
			continue;
		out8(p, 0);
		out16(p, 0);
		out32(p, 0);
		CHECK(in8(p) == 0xff, "port %x: byte", p);
		CHECK(in16(p) == 0xffff, "port %x: word", p);
		CHECK(in32(p) == 0xffffffff, "port %x: long", p);
	}
	for (unsigned i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		uint64_t a = pages[i];

		wr8(a, 0);
		wr16(a, 0);
		wr32(a, 0);
		CHECK(rd8(a) == 0xff, "%lx: byte", a);
		CHECK(rd16(a) == 0xffff, "%lx: word", a);
		CHECK(rd32(a) == 0xffffffff, "%lx: long", a);
		if (a % 8 == 0) {
			wr64(a, 0);
			CHECK(rd64(a) == UINT64_MAX, "%lx: quad", a);
		}
	}
	return 0;
}
