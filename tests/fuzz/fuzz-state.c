/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of machine state from a stranger: two parts of every kind of field. The first byte says
 * whether its checksums are made right first. Oracles: what is accepted is, saved again, the same
 * bytes (if no part is of an older version, which saves as the newer one), compares as equal, and
 * can be printed; a field from the first refused one on keeps what it had; what is printed without
 * an error can be read, and the other way round.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "state-sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PARTS 2

struct machine {
	struct sample parts[PARTS];
};

static void visit(struct machine *m, struct state *s)
{
	for (unsigned i = 0; i < PARTS; i++)
		sample_visit(&m->parts[i], s, i);
}

static void count(void *ctx, const char *text)
{
	unsigned *n = ctx;

	assert(strlen(text) < 256);
	for (const char *c = text; *c; c++)
		assert(*c >= 0x20 && *c < 0x7f);
	++*n;
}

static bool has_old_part(const uint8_t *p, size_t len)
{
	for (size_t at = 24; at + 12 < len; at += 48 + num_get_le32(p + at + 40))
		if (num_get_le32(p + at + 36) < SAMPLE_VERSION)
			return true;
	return false;
}

static void check_accepted(struct machine *m, const uint8_t *p, size_t len)
{
	const void *again;
	struct state *s;
	size_t n;

	assert(state_read(p, len, STATE_COMPARE, &s, NULL) == 0);
	visit(m, s);
	state_done(s);
	assert(state_error(s, NULL) == 0);
	state_free(s);
	assert(state_new(&s) == 0);
	visit(m, s);
	assert(state_finish(s, &again, &n, NULL) == 0);
	if (!has_old_part(p, len) && num_get_le32(p + 40 + 16) == 0)
		assert(n == len && memcmp(again, p, len) == 0);
	state_free(s);
}

/* One part that was refused: fields behind the first refusal are as they were. */
static void check_refused(const struct machine *m, const struct machine *before)
{
	const uint8_t *now = (const uint8_t *)m, *old = (const uint8_t *)before;
	const struct sample *x = &m->parts[PARTS - 1];

	/* The last field of all was the last to be set. */
	if (memcmp(&x->later, &before->parts[PARTS - 1].later, sizeof(x->later)) == 0)
		return;
	assert(x->u8 > 200 || memcmp(now, old, sizeof(*m)) != 0);
}

/* Field by field on a part of its own: a refused one changes nothing. */
static void check_fields(const uint8_t *p, size_t len)
{
	struct sample x, kept;
	struct state *s;

	if (state_read(p, len, STATE_LOAD, &s, NULL) < 0)
		return;
	memset(&x, 0xa5, sizeof(x));
	x.flag = true;
	x.blob_len = 3;
	memset(x.text, 'x', SAMPLE_TEXT_MAX);
	x.text[SAMPLE_TEXT_MAX] = '\0';
	state_begin(s, "sample", 0, SAMPLE_VERSION);
#define FIELD(call)                                                                                \
	do {                                                                                       \
		kept = x;                                                                          \
		call;                                                                              \
		if (state_error(s, NULL) < 0)                                                      \
			assert(memcmp(&kept, &x, sizeof(x)) == 0);                                 \
	} while (0)
	FIELD(state_bool(s, "flag", &x.flag));
	FIELD(state_u8(s, "u8", &x.u8));
	FIELD(state_u16(s, "u16", &x.u16));
	FIELD(state_u32(s, "u32", &x.u32));
	FIELD(state_u64(s, "u64", &x.u64));
	FIELD(x.value = state_value(s, "value", x.value, SAMPLE_VALUE_MAX));
	for (unsigned i = 0; i < SAMPLE_ELEMENTS; i++)
		FIELD(state_u64(s, "element", &x.elements[i]));
	FIELD(state_fixed(s, "fixed", 42));
	FIELD(state_fixed_text(s, "fixed-text", "forty two"));
	FIELD(state_bytes(s, "bytes", x.bytes, sizeof(x.bytes)));
	FIELD(state_blob(s, "blob", x.blob, &x.blob_len, SAMPLE_BLOB_MAX));
	FIELD(state_text(s, "text", x.text, SAMPLE_TEXT_MAX));
#undef FIELD
	state_free(s);
}

static void one(const uint8_t *p, size_t len)
{
	struct machine m, before;
	struct volt_err err = { 0 };
	unsigned lines = 0;
	struct state *s;
	int printed = state_print(p, len, count, &lines, NULL);
	int r = state_read(p, len, STATE_LOAD, &s, &err);

	assert(r == 0 || (err.code && err.msg[0]));
	if (r == 0)
		assert(printed == 0 && lines > 0);
	if (r < 0)
		return;
	memset(&m, 0, sizeof(m));
	before = m;
	visit(&m, s);
	state_done(s);
	r = state_error(s, &err);
	state_free(s);
	if (r == 0)
		check_accepted(&m, p, len);
	else
		check_refused(&m, &before);
	check_fields(p, len);
}

/* A file to begin with: the fuzzer's bytes are put over it. */
static void over_a_good_one(const uint8_t *data, size_t size)
{
	struct machine m = { 0 };
	struct state *s;
	const void *good;
	uint8_t *p;
	size_t n;

	m.parts[0].blob_len = 5;
	strcpy(m.parts[1].text, "text");
	assert(state_new(&s) == 0);
	visit(&m, s);
	assert(state_finish(s, &good, &n, NULL) == 0);
	p = malloc(n);
	memcpy(p, good, n);
	state_free(s);
	/* Each three bytes: where, and what. */
	for (size_t i = 0; i + 3 <= size; i += 3)
		p[num_get_le16(data + i) % n] = data[i + 2];
	sample_repair(p, n);
	one(p, n);
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *p;

	if (size < 1)
		return 0;
	p = malloc(size);
	memcpy(p, data + 1, size - 1);
	switch (data[0] % 3) {
	case 0:
		one(p, size - 1);
		break;
	case 1:
		sample_repair(p, size - 1);
		one(p, size - 1);
		break;
	default:
		over_a_good_one(p, size - 1);
	}
	free(p);
	return 0;
}
