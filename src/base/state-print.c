/* SPDX-License-Identifier: Apache-2.0 */
/* Machine state for people, see state_print() in state.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "num.h"
#include "state-file.h"

#define ROW_BYTES 32u /* of a long value, in hexadecimal */
#define TEXT_MAX  160 /* characters of a text that are shown */

struct printer {
	void (*line)(void *ctx, const char *text);
	void *ctx;
};

static void out(const struct printer *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void out(const struct printer *p, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->line(p->ctx, text);
}

static void hex(const uint8_t *data, uint32_t n, char *ret)
{
	static const char digits[] = "0123456789abcdef";

	for (uint32_t i = 0; i < n; i++) {
		*ret++ = digits[data[i] >> 4];
		*ret++ = digits[data[i] & 15];
	}
	*ret = '\0';
}

static void print_bytes(const struct printer *p, const struct state_field *f)
{
	char row[2 * ROW_BYTES + 1];

	hex(f->value, MIN(f->bytes, ROW_BYTES), row);
	if (f->bytes <= ROW_BYTES) {
		out(p, "  %.*s = %s", (int)f->name_len, f->name, row);
		return;
	}
	out(p, "  %.*s = %u bytes", (int)f->name_len, f->name, f->bytes);
	for (uint32_t at = 0; at < f->bytes; at += ROW_BYTES) {
		hex(f->value + at, MIN(f->bytes - at, ROW_BYTES), row);
		out(p, "    %04x %s", at, row);
	}
}

static void print_number(const struct printer *p, const struct state_field *f)
{
	uint8_t raw[8] = { 0 };
	uint64_t v;

	memcpy(raw, f->value, MIN(f->bytes, (uint32_t)sizeof(raw)));
	v = num_get_le64(raw);
	out(p, v < 10 ? "  %.*s = %llu" : "  %.*s = %llu (0x%llx)", (int)f->name_len, f->name,
		(unsigned long long)v, (unsigned long long)v);
}

static void print_field(const struct printer *p, const struct state_field *f)
{
	switch (f->type) {
	case STATE_FILE_BYTES:
		print_bytes(p, f);
		break;
	case STATE_FILE_TEXT:
		out(p, "  %.*s = \"%.*s\"", (int)f->name_len, f->name,
			(int)MIN(f->bytes, (uint32_t)TEXT_MAX), (const char *)f->value);
		break;
	case STATE_FILE_BOOL:
		out(p, "  %.*s = %s", (int)f->name_len, f->name, f->value[0] ? "yes" : "no");
		break;
	default:
		print_number(p, f);
	}
}

static int print_section(
	const struct printer *p, const struct state_section *s, struct volt_err *err)
{
	struct state_field field;
	uint32_t at = 0;
	int r;

	out(p, "%s %u: version %u, %u bytes", s->type, s->instance, s->version, s->bytes);
	r = state_file_check_crc(s, err);
	while (r == 0) {
		r = state_file_field(s, &at, &field, err);
		if (r <= 0)
			return r;
		print_field(p, &field);
		r = 0;
	}
	return r;
}

int state_print(const void *data, size_t len, void (*line)(void *ctx, const char *text), void *ctx,
	struct volt_err *err)
{
	const struct printer p = { line, ctx };
	struct state_section section;
	struct volt_err first = { 0 };
	struct state_file f;
	int r = state_file_open(&f, data, len, err);

	if (r < 0)
		return r;
	out(&p, "format %u, %u sections, %zu bytes", STATE_FILE_VERSION, f.n_sections, len);
	for (;;) {
		struct volt_err one = { 0 };

		r = state_file_section(&f, &section, err);
		if (r <= 0)
			break;
		if (print_section(&p, &section, &one) == 0)
			continue;
		out(&p, "  -- %s", one.msg);
		if (!first.code)
			first = one;
	}
	if (r == 0 && first.code)
		return volt_err_set(err, first.code, "%s", first.msg);
	return r;
}
