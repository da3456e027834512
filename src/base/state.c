/* SPDX-License-Identifier: Apache-2.0 */
/* Saving, loading and comparing machine state, see state.h. */
#include "state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "crc32c.h"
#include "num.h"
#include "state-file.h"

#define ROOM_FIRST (64 * KIB) /* for a usual machine */
#define BUCKETS    (2 * STATE_SECTIONS_MAX) /* a power of two, never full */

struct entry {
	struct state_section section;
	bool visited;
};

struct state {
	enum state_mode mode;
	struct volt_err err; /* the first one; its code is 0 if there is none */

	/* Where we are: a section of this name, in `file` or at `start` of the buffer. */
	bool inside;
	const char *type; /* borrowed while inside */
	unsigned instance;

	/* Reading. */
	struct entry *entries; /* owned */
	uint32_t n_entries, next;
	const struct state_section *section;
	uint32_t at;

	/* Saving. */
	uint8_t *buf; /* owned */
	size_t room, used, start;
	uint32_t n_saved, crc_sections;
	bool finished;
};

/* -- life ------------------------------------------------------------------------------------ */

int state_new(struct state **ret)
{
	struct state *s = calloc(1, sizeof(*s));

	if (s)
		s->buf = malloc(ROOM_FIRST);
	if (!s || !s->buf) {
		free(s);
		return -ENOMEM;
	}
	s->mode = STATE_SAVE;
	s->room = ROOM_FIRST;
	s->used = STATE_FILE_HEADER;
	*ret = s;
	return 0;
}

void state_free(struct state *s)
{
	if (!s)
		return;
	free(s->entries);
	free(s->buf);
	free(s);
}

static void state_freep(struct state **s)
{
	state_free(*s);
}

static bool is_it(const struct state_section *s, const char *type, unsigned instance)
{
	return s->instance == instance && strcmp(s->type, type) == 0;
}

/* Section i, which must not be there already, into a table of the indices before it plus 1. */
static int insert(const struct state *s, uint16_t *buckets, uint32_t i, struct volt_err *err)
{
	const struct state_section *section = &s->entries[i].section;
	uint32_t at = crc32c_add(section->instance, section->type, sizeof(section->type));

	for (; buckets[at % BUCKETS]; at++)
		if (is_it(&s->entries[buckets[at % BUCKETS] - 1].section, section->type,
			    section->instance))
			return volt_err_set(err, EBADMSG, "%s %u is there twice", section->type,
				section->instance);
	buckets[at % BUCKETS] = (uint16_t)(i + 1);
	return 0;
}

static int check_section(const struct state_section *section, struct volt_err *err)
{
	struct state_field field;
	uint32_t at = 0;
	int r = state_file_check_crc(section, err);

	while (r == 0 && at < section->bytes)
		r = MIN(state_file_field(section, &at, &field, err), 0);
	return r;
}

static int read_sections(struct state *s, struct state_file *f, struct volt_err *err)
{
	_cleanup_free_ uint16_t *buckets = calloc(BUCKETS, sizeof(*buckets));
	int r = 1;

	static_assert(STATE_SECTIONS_MAX < UINT16_MAX, "");
	s->entries = calloc(MAX(f->n_sections, 1u), sizeof(s->entries[0]));
	if (!s->entries || !buckets)
		return volt_err_set(err, ENOMEM, "machine state: %m");
	for (;;) {
		struct state_section section;

		r = state_file_section(f, &section, err);
		if (r <= 0)
			return r;
		s->entries[s->n_entries].section = section;
		r = check_section(&section, err);
		if (r == 0)
			r = insert(s, buckets, s->n_entries, err);
		if (r < 0)
			return r;
		s->n_entries++;
	}
}

int state_read(const void *data, size_t len, enum state_mode mode, struct state **ret,
	struct volt_err *err)
{
	_cleanup_(state_freep) struct state *s = calloc(1, sizeof(*s));
	struct state_file f;
	int r;

	assert(mode != STATE_SAVE);
	if (!s)
		return volt_err_set(err, ENOMEM, "machine state: %m");
	s->mode = mode;
	r = state_file_open(&f, data, len, err);
	if (r == 0)
		r = read_sections(s, &f, err);
	if (r == 0)
		*ret = take_ptr(&s);
	return r;
}

/* -- errors ---------------------------------------------------------------------------------- */

static void fail(struct state *s, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void fail(struct state *s, int code, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (s->err.code)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (s->inside)
		volt_err_set(&s->err, code, "%s %u: %s", s->type, s->instance, text);
	else
		volt_err_set(&s->err, code, "%s", text);
}

void state_refuse(struct state *s, const char *field, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fail(s, EBADMSG, "%s: %s", field, text);
}

int state_error(const struct state *s, struct volt_err *err)
{
	return s->err.code ? volt_err_set(err, s->err.code, "%s", s->err.msg) : 0;
}

enum state_mode state_mode(const struct state *s)
{
	return s->mode;
}

/* -- sections -------------------------------------------------------------------------------- */

/* Room for `bytes` more, and the trailer. */
static bool grow(struct state *s, size_t bytes)
{
	size_t needed = s->used + bytes + STATE_FILE_TRAILER, room = s->room;
	uint8_t *p;

	if (bytes > STATE_BYTES_MAX || needed > STATE_BYTES_MAX) {
		fail(s, EFBIG, "the state is larger than %u bytes", STATE_BYTES_MAX);
		return false;
	}
	while (room < needed)
		room *= 2;
	p = room > s->room ? realloc(s->buf, room) : s->buf;
	if (!p) {
		fail(s, ENOMEM, "%zu bytes of state: no memory", room);
		return false;
	}
	s->buf = p;
	s->room = room;
	return true;
}

static uint8_t *append(struct state *s, size_t bytes)
{
	if (s->err.code || !grow(s, bytes))
		return NULL;
	s->used += bytes;
	return s->buf + s->used - bytes;
}

/* As a rule it is the one behind the one before. */
static struct entry *find(const struct state *s, const char *type, unsigned instance)
{
	for (uint32_t i = 0; i < s->n_entries; i++) {
		struct entry *e = &s->entries[(s->next + i) % s->n_entries];

		if (is_it(&e->section, type, instance))
			return e;
	}
	return NULL;
}

bool state_has(const struct state *s, const char *type, unsigned instance)
{
	return s->mode != STATE_SAVE && find(s, type, instance);
}

static void begin_saving(struct state *s, unsigned version)
{
	uint8_t *p;

	s->start = s->used;
	if (s->n_saved == STATE_SECTIONS_MAX) {
		fail(s, EFBIG, "the state has more than %u sections", STATE_SECTIONS_MAX);
		return;
	}
	p = append(s, STATE_FILE_SECTION);
	if (!p)
		return;
	memset(p, 0, STATE_FILE_SECTION);
	memcpy(p, s->type, strlen(s->type));
	num_put_le32(p + 32, s->instance);
	num_put_le32(p + 36, version);
}

void state_begin(struct state *s, const char *type, unsigned instance, unsigned version)
{
	struct entry *e;

	assert(!s->inside && !s->finished && version > 0 && strlen(type) <= STATE_NAME_MAX);
	s->inside = true;
	s->type = type;
	s->instance = instance;
	if (s->mode == STATE_SAVE) {
		begin_saving(s, version);
		return;
	}
	if (s->err.code)
		return;
	e = find(s, type, instance);
	if (!e) {
		fail(s, EBADMSG, "this part is missing");
		return;
	}
	s->section = &e->section;
	s->at = 0;
	s->next = (uint32_t)(e - s->entries) + 1;
	if (e->visited)
		fail(s, EBADMSG, "this part belongs to two");
	else if (e->section.version == 0)
		fail(s, EBADMSG, "there is no version 0");
	else if (e->section.version > version)
		fail(s, ENOTSUP,
			"version %u is newer than this program, which knows %u: use a newer Volt",
			e->section.version, version);
	e->visited = true;
}

static void end_saving(struct state *s)
{
	uint8_t *p = s->buf + s->start;
	uint32_t bytes = (uint32_t)(s->used - s->start - STATE_FILE_SECTION);

	num_put_le32(p + 40, bytes);
	num_put_le32(p + 44, crc32c_add(0, p + STATE_FILE_SECTION, bytes));
	s->n_saved++;
}

void state_end(struct state *s)
{
	struct state_field f;

	assert(s->inside);
	if (!s->err.code && s->mode == STATE_SAVE) {
		end_saving(s);
	} else if (!s->err.code && state_file_next(s->section, &s->at, &f)) {
		fail(s, EBADMSG, "%.*s: is not expected here", (int)f.name_len, f.name);
	}
	s->inside = false;
}

void state_done(struct state *s)
{
	assert(s->mode != STATE_SAVE && !s->inside);
	for (uint32_t i = 0; i < s->n_entries; i++)
		if (!s->entries[i].visited)
			fail(s, EBADMSG, "%s %u: this machine has no such part",
				s->entries[i].section.type, s->entries[i].section.instance);
}

bool state_since(const struct state *s, unsigned n)
{
	return s->mode == STATE_SAVE || s->err.code || s->section->version >= n;
}

/* The trailer's checksum is of all headers; those of the sections have that of their fields. */
static uint32_t sum_up(const uint8_t *p, size_t used)
{
	uint32_t crc = crc32c_add(0, p, STATE_FILE_HEADER);

	for (size_t at = STATE_FILE_HEADER; at < used;) {
		crc = crc32c_add(crc, p + at, STATE_FILE_SECTION);
		at += STATE_FILE_SECTION + num_get_le32(p + at + 40);
	}
	return crc;
}

int state_finish(struct state *s, const void **ret_data, size_t *ret_len, struct volt_err *err)
{
	uint8_t *p = s->buf;

	assert(s->mode == STATE_SAVE && !s->inside && !s->finished);
	if (s->err.code)
		return state_error(s, err);
	s->finished = true;
	memcpy(p, STATE_FILE_MAGIC, 8);
	num_put_le32(p + 8, STATE_FILE_VERSION);
	num_put_le32(p + 12, s->n_saved);
	num_put_le64(p + 16, s->used + STATE_FILE_TRAILER);
	memcpy(p + s->used, STATE_FILE_END, 8);
	num_put_le32(p + s->used + 8, sum_up(p, s->used));
	s->used += STATE_FILE_TRAILER;
	*ret_data = p;
	*ret_len = s->used;
	return 0;
}

/* -- fields ---------------------------------------------------------------------------------- */

static void *save(struct state *s, const char *name, enum state_file_type type, size_t bytes)
{
	size_t name_len = strlen(name);
	uint8_t *p;

	assert(s->inside && name_len > 0 && name_len <= STATE_NAME_MAX);
	p = append(s, STATE_FILE_FIELD + name_len + bytes);
	if (!p)
		return NULL;
	p[0] = (uint8_t)type;
	p[1] = (uint8_t)name_len;
	num_put_le32(p + 2, (uint32_t)bytes);
	memcpy(p + STATE_FILE_FIELD, name, name_len);
	return p + STATE_FILE_FIELD + name_len;
}

/* The next field, which must be this one, of at most `max` bytes; false: an error is set. */
static bool fetch(struct state *s, const char *name, enum state_file_type type, size_t max,
	struct state_field *ret)
{
	size_t name_len = strlen(name);

	assert(s->inside);
	if (s->err.code)
		return false;
	if (!state_file_next(s->section, &s->at, ret))
		fail(s, EBADMSG, "%s: is missing", name);
	else if (ret->name_len != name_len || memcmp(ret->name, name, name_len) != 0)
		fail(s, EBADMSG, "%s: is missing; there is %.*s instead", name, (int)ret->name_len,
			ret->name);
	else if (ret->type != type)
		fail(s, EBADMSG, "%s: is %s, not %s", name, state_file_type_name(ret->type),
			state_file_type_name(type));
	else if (ret->bytes > max)
		fail(s, EBADMSG, "%s: has %u bytes, more than %zu", name, ret->bytes, max);
	return !s->err.code;
}

static uint64_t get_number(const struct state_field *f)
{
	uint8_t raw[8] = { 0 };

	memcpy(raw, f->value, MIN(f->bytes, (uint32_t)sizeof(raw)));
	return num_get_le64(raw);
}

/* What v is to become. */
static uint64_t number(
	struct state *s, const char *name, enum state_file_type type, uint64_t v, uint64_t max)
{
	struct state_field f;
	uint64_t there;

	if (s->mode == STATE_SAVE) {
		void *p = save(s, name, type, state_file_bytes(type));

		if (p)
			memcpy(p, &v, state_file_bytes(type)); /* little endian, as we are */
		return v;
	}
	if (!fetch(s, name, type, UINT32_MAX, &f))
		return v;
	there = get_number(&f);
	if (there > max)
		fail(s, EBADMSG, "%s: is %llu, more than %llu", name, (unsigned long long)there,
			(unsigned long long)max);
	else if (s->mode == STATE_LOAD)
		return there;
	else if (there != v)
		fail(s, EILSEQ, "%s: is %llu, and %llu in the file", name, (unsigned long long)v,
			(unsigned long long)there);
	return v;
}

void state_bool(struct state *s, const char *name, bool *v)
{
	*v = number(s, name, STATE_FILE_BOOL, *v, 1);
}

void state_u8(struct state *s, const char *name, uint8_t *v)
{
	*v = (uint8_t)number(s, name, STATE_FILE_U8, *v, UINT8_MAX);
}

void state_u16(struct state *s, const char *name, uint16_t *v)
{
	*v = (uint16_t)number(s, name, STATE_FILE_U16, *v, UINT16_MAX);
}

void state_u32(struct state *s, const char *name, uint32_t *v)
{
	*v = (uint32_t)number(s, name, STATE_FILE_U32, *v, UINT32_MAX);
}

void state_u64(struct state *s, const char *name, uint64_t *v)
{
	*v = number(s, name, STATE_FILE_U64, *v, UINT64_MAX);
}

uint64_t state_value(struct state *s, const char *name, uint64_t v, uint64_t max)
{
	return number(s, name, STATE_FILE_U64, v, max);
}

static void differs(
	struct state *s, const char *name, const uint8_t *here, const uint8_t *there, size_t bytes)
{
	size_t at = 0;

	while (at < bytes && here[at] == there[at])
		at++;
	if (at < bytes)
		fail(s, EILSEQ, "%s: byte %zu is 0x%02x, and 0x%02x in the file", name, at,
			here[at], there[at]);
}

/* *len of at most max bytes; fixed: exactly *len. */
static void blob(struct state *s, const char *name, enum state_file_type type, void *data,
	size_t *len, size_t max, bool fixed)
{
	struct state_field f;

	if (s->mode == STATE_SAVE) {
		void *p = save(s, name, type, *len);

		if (p)
			memcpy(p, data, *len);
		return;
	}
	if (!fetch(s, name, type, max, &f))
		return;
	if (fixed && f.bytes != *len) {
		fail(s, EBADMSG, "%s: has %u bytes, not %zu", name, f.bytes, *len);
	} else if (s->mode == STATE_LOAD) {
		memcpy(data, f.value, f.bytes);
		*len = f.bytes;
	} else if (f.bytes != *len) {
		fail(s, EILSEQ, "%s: has %zu bytes, and %u in the file", name, *len, f.bytes);
	} else {
		differs(s, name, data, f.value, *len);
	}
}

void state_bytes(struct state *s, const char *name, void *data, size_t len)
{
	blob(s, name, STATE_FILE_BYTES, data, &len, UINT32_MAX, true);
}

void state_blob(struct state *s, const char *name, void *data, size_t *len, size_t max)
{
	blob(s, name, STATE_FILE_BYTES, data, len, max, false);
}

void state_text(struct state *s, const char *name, char *text, size_t max)
{
	size_t len = strnlen(text, max);

	blob(s, name, STATE_FILE_TEXT, text, &len, max, false);
	text[len] = '\0';
}

void state_fixed(struct state *s, const char *name, uint64_t v)
{
	struct state_field f;

	if (s->mode == STATE_SAVE)
		number(s, name, STATE_FILE_U64, v, UINT64_MAX);
	else if (fetch(s, name, STATE_FILE_U64, UINT32_MAX, &f) && get_number(&f) != v)
		fail(s, EBADMSG, "%s: is %llu in the file, and this machine's is %llu", name,
			(unsigned long long)get_number(&f), (unsigned long long)v);
}

void state_fixed_text(struct state *s, const char *name, const char *text)
{
	size_t len = strlen(text);
	struct state_field f;

	if (s->mode == STATE_SAVE) {
		void *p = save(s, name, STATE_FILE_TEXT, len);

		if (p)
			memcpy(p, text, len);
	} else if (fetch(s, name, STATE_FILE_TEXT, UINT32_MAX, &f) &&
		   (f.bytes != len || memcmp(f.value, text, len) != 0)) {
		fail(s, EBADMSG, "%s: is '%.*s' in the file, and this machine's is '%s'", name,
			(int)MIN(f.bytes, 64u), (const char *)f.value, text);
	}
}
