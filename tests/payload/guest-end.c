/* SPDX-License-Identifier: Apache-2.0 */
/* Every way in which a VM can end, by end=N; see the switch. */
#include "payload.h"

#define I8042_IRQ 1
#define GED_IRQ	  23

static volatile bool asked;

static void on_key(void)
{
	static bool ctrl, alt;

	while (in8(0x64) & 1) {
		uint8_t code = in8(0x60);

		console_print("key %x\n", code);
		ctrl |= code == 0x1d;
		alt |= code == 0x38;
		/* Delete of scan code set 1, with Ctrl and Alt before it. */
		if (code == 0x53 && ctrl && alt)
			asked = true;
	}
}

static void on_button(void)
{
	console_print("button\n");
	asked = true;
}

static _Noreturn void idle(void)
{
	for (;;)
		irq_wait();
}

int main(void)
{
	switch (boot_number("end", 0)) {
	case 0: /* triple fault, with recognisable registers */
		console_print("PASS\n");
		triple_fault(UINT64_C(0x1122334455667788));
	case 1: /* the guest says that its kernel panicked */
		console_print("PASS\n");
		CHECK(in8(0x505) & 1, "pvpanic: port reads %x", in8(0x505));
		out8(0x505, 1);
		idle();
	case 2: /* halt with interrupts off for ever */
		console_print("PASS\n");
		for (;;)
			__asm__ volatile("cli; hlt");
	case 3: /* answers Ctrl-Alt-Del or the power button */
		irq_init();
		irq_route(I8042_IRQ, 33, on_key);
		if (!boot_has("no.button"))
			irq_route(GED_IRQ, 34, on_button);
		out8(0x64, 0x60);
		out8(0x60, 0x65); /* keyboard interrupt on, translation on */
		console_print("ready\n");
		while (!asked)
			irq_wait();
		return 0;
	case 4: /* ignores all requests, and computes */
		console_print("ready\n");
		for (;;)
			pause();
	case 5: /* ignores all requests, and sleeps */
		console_print("ready\n");
		for (;;)
			__asm__ volatile("cli; hlt");
	case 6: /* writes 100 KB to the console, then ends */
		for (unsigned i = 0; i < 1900; i++)
			console_print("%u 012345678901234567890123456789012345678901234567\n",
				1000 + i);
		return 0;
	case 7: /* the boot timer */
		wr8(0xc0000000, 122); /* not the magic number */
		wr8(0xc0000000, 123);
		return 0;
	case 8: /* fails */
		fail("as asked");
	default:
		break;
	}
	fail("unknown end");
}
