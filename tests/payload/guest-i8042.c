/* SPDX-License-Identifier: Apache-2.0 */
/* The keyboard controller as Linux's i8042 driver probes it; then a reset, which ends the VM. */
#include "payload.h"

static uint8_t wait_data(const char *what)
{
	for (unsigned i = 0; i < 10000; i++)
		if (in8(0x64) & 1)
			return in8(0x60);
	fail("%s: no answer", what);
}

int main(void)
{
	uint8_t ctr;

	for (unsigned i = 0; (in8(0x64) & 1) && i < 64; i++)
		(void)in8(0x60);
	CHECK(!(in8(0x64) & 1), "data that nobody asked for");
	out8(0x64, 0xaa);
	CHECK(wait_data("self test") == 0x55, "self test");
	out8(0x64, 0x20);
	ctr = wait_data("read control");
	out8(0x64, 0x60);
	out8(0x60, ctr ^ 1);
	out8(0x64, 0x20);
	CHECK(wait_data("read control") == (ctr ^ 1), "control byte is not kept");
	out8(0x64, 0x77); /* no such command */
	out8(0x60, 0x99);
	console_print("PASS\n");
	reset_by_keyboard();
}
