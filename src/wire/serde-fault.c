/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a fault; see serde-fault.h. The strings that it repeats are a client's, but valid
 * UTF-8. Any thread.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serde-fault.h"

#define PLACE_BYTES  64 /* of " at line L column C" and the zero byte */
#define ESCAPE_BYTES 16 /* of \u{10ffff} */
#define REAL_BYTES   40
#define REAL_DIGITS  17 /* of a double are always enough */

void serde_fault_start(struct serde_say *s, struct serde_fault *fault)
{
	*s = (struct serde_say){ .fault = fault };
	fault->text[0] = '\0';
}

/* All of the piece or, once one did not fit, nothing more. */
static void put(struct serde_say *s, const char *piece, size_t n)
{
	if (s->done || s->cut)
		return;
	s->cut = n > SERDE_FAULT_BYTES - PLACE_BYTES - s->used;
	if (s->cut)
		return;
	memcpy(s->fault->text + s->used, piece, n);
	s->used += n;
	s->fault->text[s->used] = '\0';
}

void serde_fault_put(struct serde_say *s, const char *text)
{
	put(s, text, strlen(text));
}

size_t serde_fault_decode(const char *text, size_t n, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 }; /* by length */
	const uint8_t *u = (const uint8_t *)text;
	size_t len = u[0] < 0x80 ? 1 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
	uint32_t c = len == 1 ? u[0] : u[0] & (0x7fu >> len);

	if (len > n || (len > 1 && u[0] < 0xc0) || u[0] >= 0xf8)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (u[i] & 0x3f);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret = c;
	return len;
}

void serde_fault_put_raw(struct serde_say *s, const char *text, size_t n)
{
	uint32_t c;

	for (size_t i = 0, len; i < n && !s->cut; i += len) {
		len = serde_fault_decode(text + i, n - i, &c);
		if (len == 0)
			return;
		if (c == 0)
			serde_fault_put(s, "\\0");
		else
			put(s, text + i, len);
	}
}

/*
 * Rust escapes all that Unicode does not call printable, and combining marks: 900 ranges. These are
 * the controls, blanks, directions, private and invisible ones among them.
 */
static bool invisible(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{ 0, 0x1f }, { 0x7f, 0xa0 }, { 0xad, 0xad }, { 0x300, 0x36f }, { 0x61c, 0x61c },
		{ 0x1680, 0x1680 }, { 0x180b, 0x180f }, { 0x2000, 0x200f }, { 0x2028, 0x202f },
		{ 0x205f, 0x206f }, { 0x20d0, 0x20f0 }, { 0x3000, 0x3000 }, { 0xe000, 0xf8ff },
		{ 0xfdd0, 0xfdef }, { 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f }, { 0xfeff, 0xfeff },
		{ 0xfff0, 0xfffb }, { 0xfffe, 0xffff }, { 0xe0000, 0x10ffff },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

static void put_escaped(struct serde_say *s, uint32_t c, const char *text, size_t len)
{
	static const char plain[] = "\\\\\"\"t\tn\nr\r"; /* pairs: letter, character */
	char escape[ESCAPE_BYTES];

	if (c == 0) {
		serde_fault_put(s, "\\0");
		return;
	}
	for (size_t i = 0; plain[i]; i += 2) {
		if (c == (uint8_t)plain[i + 1]) {
			put(s, (const char[]){ '\\', plain[i] }, 2);
			return;
		}
	}
	if (!invisible(c)) {
		put(s, text, len);
		return;
	}
	snprintf(escape, sizeof(escape), "\\u{%" PRIx32 "}", c);
	serde_fault_put(s, escape);
}

void serde_fault_put_quoted(struct serde_say *s, const char *text, size_t n)
{
	uint32_t c;

	serde_fault_put(s, "\"");
	for (size_t i = 0, len; i < n && !s->cut; i += len) {
		len = serde_fault_decode(text + i, n - i, &c);
		if (len == 0)
			return;
		put_escaped(s, c, text + i, len);
	}
	serde_fault_put(s, "\"");
}

/* The digits of d > 0 without a point, and where the point is: 0 is before the first digit. */
static int shortest(double d, char digits[static REAL_BYTES])
{
	char text[REAL_BYTES];
	int exponent = 0;
	size_t n = 0;
	char *e;

	for (int i = 0; i < REAL_DIGITS; i++) {
		snprintf(text, sizeof(text), "%.*e", i, d);
		if (strtod(text, NULL) == d)
			break;
	}
	e = strchr(text, 'e');
	for (const char *c = text; c < e; c++)
		if (*c >= '0' && *c <= '9')
			digits[n++] = *c;
	while (n > 1 && digits[n - 1] == '0')
		n--;
	digits[n] = '\0';
	for (const char *c = e + 2; *c; c++)
		exponent = exponent * 10 + (*c - '0');
	return (e[1] == '-' ? -exponent : exponent) + 1;
}

void serde_fault_put_real(struct serde_say *s, double d)
{
	char digits[REAL_BYTES] = "0", text[2 * REAL_BYTES];
	int point = 1, n;

	if (d != 0)
		point = shortest(d < 0 ? -d : d, digits);
	n = (int)strlen(digits);
	if (point > 16 || point <= -5)
		snprintf(text, sizeof(text), "%c%s%se%+d", digits[0], n > 1 ? "." : "", digits + 1,
			point - 1);
	else if (point <= 0)
		snprintf(text, sizeof(text), "0.%.*s%s", -point, "0000", digits);
	else if (point >= n)
		snprintf(text, sizeof(text), "%s%.*s.0", digits, point - n, "0000000000000000");
	else
		snprintf(text, sizeof(text), "%.*s.%s", point, digits, digits + point);
	if (__builtin_signbit(d))
		serde_fault_put(s, "-");
	serde_fault_put(s, text);
}

void serde_fault_put_number(struct serde_say *s, bool negative, uint64_t magnitude)
{
	char text[REAL_BYTES];

	snprintf(text, sizeof(text), "%s%" PRIu64, negative ? "-" : "", magnitude);
	serde_fault_put(s, text);
}

void serde_fault_place(struct serde_say *s, const char *text, size_t at)
{
	size_t line = 1, start = 0;

	if (s->done)
		return;
	for (size_t i = 0; i < at; i++) {
		if (text[i] == '\n') {
			line++;
			start = i + 1;
		}
	}
	snprintf(s->fault->text + s->used, SERDE_FAULT_BYTES - s->used, " at line %zu column %zu",
		line, at - start);
	s->done = true;
}

void serde_fault_memory(struct serde_say *s)
{
	if (s->done)
		return;
	snprintf(s->fault->text, SERDE_FAULT_BYTES, "out of memory");
	s->used = strlen(s->fault->text);
	s->done = true;
}
