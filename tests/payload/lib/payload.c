/* SPDX-License-Identifier: Apache-2.0 */
/* Console, verdict, command line and memory map of a payload, see payload.h. */
#include "payload.h"

#define SERIAL 0x3f8

struct boot boot;

void *memcpy(void *dst, const void *src, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n) : : "memory");
	return dst;
}

void *memset(void *dst, int byte, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(byte) : "memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (size_t i = 0; i < n; i++)
		if (x[i] != y[i])
			return x[i] - y[i];
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

void console_write(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		while (!(in8(SERIAL + 5) & 0x20))
			pause();
		out8(SERIAL, (uint8_t)s[i]);
	}
}

static void print_number(uint64_t v, unsigned base)
{
	char buf[24];
	unsigned at = sizeof(buf);

	do {
		buf[--at] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	console_write(buf + at, sizeof(buf) - at);
}

void console_vprint(const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		bool wide;
		uint64_t v;
		char c;

		if (*fmt != '%') {
			console_write(fmt, 1);
			continue;
		}
		wide = *++fmt == 'l';
		fmt += wide;
		switch (*fmt) {
		case 's': {
			const char *s = va_arg(ap, const char *);

			console_write(s, strlen(s));
			break;
		}
		case 'c':
			c = (char)va_arg(ap, int);
			console_write(&c, 1);
			break;
		case 'd': {
			int64_t d = wide ? va_arg(ap, int64_t) : va_arg(ap, int);

			if (d < 0)
				console_write("-", 1);
			print_number(d < 0 ? -(uint64_t)d : (uint64_t)d, 10);
			break;
		}
		default:
			v = wide ? va_arg(ap, uint64_t) : va_arg(ap, unsigned);
			print_number(v, *fmt == 'x' ? 16 : 10);
		}
	}
}

void console_print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	console_vprint(fmt, ap);
	va_end(ap);
}

void poweroff(void)
{
	out8(0x600, 5 << 2 | 0x20);
	/* Not reached if sleeping works; the monitor reports the triple fault as 17. */
	triple_fault(0);
}

void triple_fault(uint64_t rax)
{
	static const uint64_t no_idt[2];

	for (;;)
		__asm__ volatile("lidt (%0)\n\tmovq (%1), %%rbx"
				 :
				 : "r"(no_idt), "r"(UINT64_C(1) << 40), "a"(rax)
				 : "rbx");
}

void reset_by_keyboard(void)
{
	out8(0x64, 0xfe);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void pass(void)
{
	console_print("PASS\n");
	poweroff();
}

void fail(const char *fmt, ...)
{
	va_list ap;

	console_print("FAIL ");
	va_start(ap, fmt);
	console_vprint(fmt, ap);
	va_end(ap);
	console_print("\n");
	poweroff();
}

/* entry.S. */
_Noreturn void payload_start(void);

void payload_start(void)
{
	int r = main();

	CHECK(r == 0, "main returned %d", r);
	pass();
}

const char *boot_cmdline(void)
{
	uint64_t p;

	if (boot.protocol == BOOT_PVH)
		p = rd64(boot.info + 24);
	else
		p = rd32(boot.info + 0x228) | (uint64_t)rd32(boot.info + 0xc8) << 32;
	return p ? (const char *)p : "";
}

/* The text after name on the command line, NULL without. */
static const char *find(const char *name)
{
	const char *p = boot_cmdline();
	size_t n = strlen(name);

	while (*p) {
		while (*p == ' ')
			p++;
		if (memcmp(p, name, n) == 0)
			return p + n;
		while (*p && *p != ' ')
			p++;
	}
	return NULL;
}

bool boot_has(const char *word)
{
	const char *p = find(word);

	return p && (*p == ' ' || *p == '\0');
}

uint64_t boot_number(const char *name, uint64_t otherwise)
{
	const char *p = find(name);
	uint64_t v = 0;

	if (!p || *p++ != '=')
		return otherwise;
	if (p[0] == '0' && p[1] == 'x') {
		for (p += 2; (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f'); p++)
			v = v << 4 | (uint64_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
		return v;
	}
	for (; *p >= '0' && *p <= '9'; p++)
		v = v * 10 + (uint64_t)(*p - '0');
	return v;
}

unsigned boot_e820(struct e820 *map, unsigned room)
{
	uint64_t at = boot.info + 0x2d0;
	unsigned n = rd8(boot.info + 0x1e8), stride = 20;

	if (boot.protocol == BOOT_PVH) {
		at = rd64(boot.info + 40);
		n = rd32(boot.info + 48);
		stride = 24;
	}
	for (unsigned i = 0; i < n && i < room; i++, at += stride)
		map[i] = (struct e820){ rd64(at), rd64(at + 8), rd32(at + 16) };
	return n;
}
