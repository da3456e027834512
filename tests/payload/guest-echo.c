/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Console input by interrupt: sums what comes until '~' and says how much it was, so that the host
 * sees that no byte was lost or doubled.
 */
#include "payload.h"

#define COM 0x3f8

static volatile bool done;
static uint32_t bytes, sum, overruns;

static void on_irq(void)
{
	uint8_t lsr;

	while (!((in8(COM + 2)) & 1)) {
		while ((lsr = in8(COM + 5)) & 1) {
			uint8_t c = in8(COM);

			overruns += lsr >> 1 & 1;
			if (c == '~') {
				done = true;
				continue;
			}
			bytes++;
			sum = sum * 31 + c;
		}
	}
}

int main(void)
{
	irq_init();
	irq_route(4, 36, on_irq);
	out8(COM + 2, 0x07);
	out8(COM + 4, 0x0b);
	out8(COM + 1, 1);
	console_print("ready\n");
	while (!done)
		irq_wait();
	console_print("got %u sum %x overruns %u\n", bytes, sum, overruns);
	return 0;
}
