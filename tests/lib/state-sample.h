/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A made-up part of a machine with every kind of field, and tools to damage a file of state in ways
 * that its checksums do not show; for test-state.c and fuzz-state.c.
 */
#ifndef VOLT_STATE_SAMPLE_H
#define VOLT_STATE_SAMPLE_H

#include <string.h>

#include "crc32c.h"
#include "num.h"
#include "state.h"

#define SAMPLE_VERSION   2
#define SAMPLE_ELEMENTS  3
#define SAMPLE_BLOB_MAX  40
#define SAMPLE_TEXT_MAX  12
#define SAMPLE_VALUE_MAX 1000

struct sample {
	bool flag;
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64, value, later, elements[SAMPLE_ELEMENTS];
	uint8_t bytes[24], blob[SAMPLE_BLOB_MAX];
	size_t blob_len;
	char text[SAMPLE_TEXT_MAX + 1];
};

static inline void sample_fields(struct sample *x, struct state *s)
{
	state_bool(s, "flag", &x->flag);
	state_u8(s, "u8", &x->u8);
	state_u16(s, "u16", &x->u16);
	state_u32(s, "u32", &x->u32);
	state_u64(s, "u64", &x->u64);
	x->value = state_value(s, "value", x->value, SAMPLE_VALUE_MAX);
	for (unsigned i = 0; i < SAMPLE_ELEMENTS; i++)
		state_u64(s, "element", &x->elements[i]);
	state_fixed(s, "fixed", 42);
	state_fixed_text(s, "fixed-text", "forty two");
	state_bytes(s, "bytes", x->bytes, sizeof(x->bytes));
	state_blob(s, "blob", x->blob, &x->blob_len, SAMPLE_BLOB_MAX);
	state_text(s, "text", x->text, SAMPLE_TEXT_MAX);
	if (state_since(s, 2))
		state_u64(s, "later", &x->later);
	if (state_loading(s) && x->u8 > 200)
		state_refuse(s, "u8", "is more than 200");
}

static inline void sample_visit(struct sample *x, struct state *s, unsigned instance)
{
	state_begin(s, "sample", instance, SAMPLE_VERSION);
	sample_fields(x, s);
	state_end(s);
}

/* Makes the checksums of whatever is there right, as far as it has sections. */
static inline void sample_repair(uint8_t *p, size_t len)
{
	uint32_t crc, n;
	size_t at = 24;

	if (len < 36)
		return;
	num_put_le64(p + 16, len);
	crc = crc32c_add(0, p, 24);
	n = num_get_le32(p + 12);
	for (; n > 0 && len - at >= 12 + 48; n--) {
		size_t bytes = num_get_le32(p + at + 40);

		if (bytes > len - at - 60)
			return;
		num_put_le32(p + at + 44, crc32c_add(0, p + at + 48, bytes));
		crc = crc32c_add(crc, p + at, 48);
		at += 48 + bytes;
	}
	num_put_le32(p + len - 4, crc);
}

#endif
