/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a file of machine state, see state-file.h. */
#include "state-file.h"

#include <errno.h>
#include <string.h>

#include "crc32c.h"
#include "num.h"

static const struct {
	const char *name;
	uint32_t bytes;
} types[] = {
	[STATE_FILE_BOOL] = { "bool", 1 },
	[STATE_FILE_U8] = { "u8", 1 },
	[STATE_FILE_U16] = { "u16", 2 },
	[STATE_FILE_U32] = { "u32", 4 },
	[STATE_FILE_U64] = { "u64", 8 },
	[STATE_FILE_BYTES] = { "bytes", 0 },
	[STATE_FILE_TEXT] = { "text", 0 },
};

uint32_t state_file_bytes(enum state_file_type type)
{
	return types[type].bytes;
}

const char *state_file_type_name(enum state_file_type type)
{
	return types[type].name;
}

static const bool in_names[256] = {
	['a' ... 'z'] = true,
	['0' ... '9'] = true,
	['-'] = true,
	['_'] = true,
	['.'] = true,
};

static bool is_name(const char *s, size_t len)
{
	bool good = len > 0 && len <= STATE_NAME_MAX;

	for (size_t i = 0; i < len; i++)
		good &= in_names[(uint8_t)s[i]];
	return good;
}

int state_file_open(struct state_file *f, const void *data, size_t len, struct volt_err *err)
{
	const uint8_t *p = data;
	uint32_t version;
	uint64_t bytes;

	*f = (struct state_file){ .data = data, .bytes = len, .at = STATE_FILE_HEADER };
	if (len < STATE_FILE_HEADER + STATE_FILE_TRAILER || memcmp(p, STATE_FILE_MAGIC, 8) != 0)
		return volt_err_set(err, EBADMSG,
			"this is no state of a virtual machine: it does "
			"not begin with " STATE_FILE_MAGIC);
	version = num_get_le32(p + 8);
	if (version > STATE_FILE_VERSION)
		return volt_err_set(err, ENOTSUP,
			"format %u is newer than this program, which knows %u: use the version of "
			"Volt that has written it, or a newer one",
			version, STATE_FILE_VERSION);
	if (version == 0)
		return volt_err_set(err, EBADMSG, "there is no format 0");
	f->n_sections = num_get_le32(p + 12);
	bytes = num_get_le64(p + 16);
	if (bytes != len)
		return volt_err_set(err, EBADMSG,
			"%zu bytes of %llu: it was cut, or something was "
			"added",
			len, (unsigned long long)bytes);
	if (len > STATE_BYTES_MAX)
		return volt_err_set(err, EBADMSG, "more than %u bytes", STATE_BYTES_MAX);
	if (f->n_sections > STATE_SECTIONS_MAX)
		return volt_err_set(err, EBADMSG, "%u sections, more than %u", f->n_sections,
			STATE_SECTIONS_MAX);
	f->crc = crc32c_add(0, p, STATE_FILE_HEADER);
	return 0;
}

static int check_end(const struct state_file *f, struct volt_err *err)
{
	const uint8_t *p = f->data + f->at;

	if (f->bytes - f->at != STATE_FILE_TRAILER || memcmp(p, STATE_FILE_END, 8) != 0)
		return volt_err_set(err, EBADMSG, "byte %zu: there is no end behind section %u",
			f->at, f->seen);
	if (num_get_le32(p + 8) != f->crc)
		return volt_err_set(err, EBADMSG, "its checksum is wrong: it is damaged");
	return 0;
}

int state_file_section(struct state_file *f, struct state_section *ret, struct volt_err *err)
{
	const uint8_t *p = f->data + f->at;
	size_t left = f->bytes - f->at - STATE_FILE_TRAILER, len;

	if (f->seen == f->n_sections)
		return check_end(f, err);
	if (left < STATE_FILE_SECTION)
		return volt_err_set(err, EBADMSG, "byte %zu: section %u is cut", f->at, f->seen);
	memcpy(ret->type, p, STATE_FILE_TYPE_BYTES);
	len = strnlen(ret->type, STATE_FILE_TYPE_BYTES);
	if (!is_name(ret->type, len))
		return volt_err_set(
			err, EBADMSG, "byte %zu: section %u has no name", f->at, f->seen);
	for (size_t i = len; i < STATE_FILE_TYPE_BYTES; i++)
		if (ret->type[i])
			return volt_err_set(err, EBADMSG, "byte %zu: bytes behind the name of %s",
				f->at, ret->type);
	ret->instance = num_get_le32(p + 32);
	ret->version = num_get_le32(p + 36);
	ret->bytes = num_get_le32(p + 40);
	ret->crc = num_get_le32(p + 44);
	ret->body = p + STATE_FILE_SECTION;
	if (ret->bytes > left - STATE_FILE_SECTION)
		return volt_err_set(err, EBADMSG, "byte %zu: %s %u goes beyond the end", f->at,
			ret->type, ret->instance);
	f->crc = crc32c_add(f->crc, p, STATE_FILE_SECTION);
	f->at += STATE_FILE_SECTION + ret->bytes;
	f->seen++;
	return 1;
}

int state_file_check_crc(const struct state_section *s, struct volt_err *err)
{
	if (crc32c_add(0, s->body, s->bytes) == s->crc)
		return 0;
	return volt_err_set(
		err, EBADMSG, "%s %u: its checksum is wrong: it is damaged", s->type, s->instance);
}

static int bad_field(
	const struct state_section *s, uint32_t at, const char *what, struct volt_err *err)
{
	return volt_err_set(err, EBADMSG, "%s %u: byte %u: %s", s->type, s->instance, at, what);
}

static bool is_text(const uint8_t *p, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (p[i] < 0x20 || p[i] > 0x7e)
			return false;
	return true;
}

bool state_file_next(const struct state_section *s, uint32_t *at, struct state_field *ret)
{
	const uint8_t *p = s->body + *at;

	if (*at == s->bytes)
		return false;
	ret->type = p[0];
	ret->name_len = p[1];
	ret->bytes = num_get_le32(p + 2);
	ret->name = (const char *)p + STATE_FILE_FIELD;
	ret->value = p + STATE_FILE_FIELD + ret->name_len;
	*at += STATE_FILE_FIELD + ret->name_len + ret->bytes;
	return true;
}

int state_file_field(
	const struct state_section *s, uint32_t *at, struct state_field *ret, struct volt_err *err)
{
	const uint8_t *p = s->body + *at;
	uint32_t left = s->bytes - *at, next = *at;

	if (left == 0)
		return 0;
	if (left < STATE_FILE_FIELD)
		return bad_field(s, *at, "a field is cut", err);
	if (p[0] < STATE_FILE_BOOL || p[0] > STATE_FILE_TEXT)
		return bad_field(s, *at, "a field of no known type", err);
	if (STATE_FILE_FIELD + (uint64_t)p[1] + num_get_le32(p + 2) > left)
		return bad_field(s, *at, "a field goes beyond its section", err);
	state_file_next(s, &next, ret);
	if (!is_name(ret->name, ret->name_len))
		return bad_field(s, *at, "a field has no name", err);
	if (types[ret->type].bytes && ret->bytes != types[ret->type].bytes)
		return bad_field(s, *at, "a number of another length than its type's", err);
	if (ret->type == STATE_FILE_BOOL && ret->value[0] > 1)
		return bad_field(s, *at, "a bool that is neither 0 nor 1", err);
	if (ret->type == STATE_FILE_TEXT && !is_text(ret->value, ret->bytes))
		return bad_field(s, *at, "a text that is not printable ASCII", err);
	*at = next;
	return 1;
}
