/* SPDX-License-Identifier: Apache-2.0 */
/* The 16550A: scratch, loopback, divisor latch, THRE interrupt through I/O APIC pin 4. */
#include "payload.h"

#define COM 0x3f8

static volatile uint32_t irqs, thre;

static void on_irq(void)
{
	uint8_t iir = in8(COM + 2);

	irqs++;
	while (!(iir & 1)) {
		if ((iir & 0xe) == 2)
			thre++;
		if ((iir & 0xe) == 4 || (iir & 0xe) == 0xc)
			(void)in8(COM);
		iir = in8(COM + 2);
	}
}

static void loopback(void)
{
	out8(COM + 4, 0x1f);
	CHECK((in8(COM + 6) & 0xf0) == 0xf0, "loopback: MSR %x", in8(COM + 6));
	out8(COM + 4, 0x10);
	CHECK((in8(COM + 6) & 0xf0) == 0, "loopback: MSR %x with all off", in8(COM + 6));
	for (unsigned i = 0; i < 8; i++) {
		uint8_t v = (uint8_t)(0x41 + i * 29);

		out8(COM, v);
		CHECK(in8(COM + 5) & 1, "loopback: byte %u did not come", i);
		CHECK(in8(COM) == v, "loopback: byte %u differs", i);
	}
	CHECK(!(in8(COM + 5) & 1), "loopback: data left over");
	out8(COM + 4, 0x0b);
}

int main(void)
{
	uint64_t end;

	out8(COM + 7, 0x5a);
	CHECK(in8(COM + 7) == 0x5a, "scratch register");
	out8(COM + 3, 0x83);
	out8(COM, 0x0c);
	out8(COM + 1, 0);
	CHECK(in8(COM) == 0x0c && in8(COM + 1) == 0, "divisor latch");
	out8(COM + 3, 0x03);
	CHECK((in8(COM + 5) & 0x60) == 0x60, "LSR %x when idle", in8(COM + 5));
	out8(COM + 2, 0x07);
	CHECK(in8(COM + 2) >> 6 == 3, "no FIFO: IIR %x", in8(COM + 2));
	loopback();

	irq_init();
	irq_route(4, 36, on_irq);
	out8(COM + 1, 2); /* the transmitter is empty: an interrupt at once */
	end = tsc() + PATIENCE;
	while (!thre && tsc() < end) {
		irq_window();
	}
	CHECK(thre == 1, "%u THRE interrupts after enabling", thre);
	for (unsigned i = 2; i < 6; i++) {
		out8(COM, '.');
		for (end = tsc() + PATIENCE; thre < i && tsc() < end;)
			irq_window();
		CHECK(thre == i, "byte %u: %u THRE interrupts", i, thre);
	}
	out8(COM + 1, 0);
	out8(COM, '\n');
	return 0;
}
