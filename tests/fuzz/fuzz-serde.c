/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON from bytes of a stranger. The first byte says against what it is read: anything, or a
 * description with every kind of field, or one that skips what it does not know. Oracles: anything
 * is what jansson reads too, but for the differences in serde.h; what is read by a description
 * obeys it, and reads back the same from its dump; what can be read can be skipped; a fault is
 * UTF-8 and its place is in the text.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serde-every.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As json_equal(), but -0 is a real for serde and an integer for jansson. */
static bool equal(json_t *serde, json_t *jansson)
{
	const char *key;
	json_t *v;
	size_t i;

	if (json_is_array(serde) && json_is_array(jansson)) {
		if (json_array_size(serde) != json_array_size(jansson))
			return false;
		json_array_foreach(serde, i, v)
			if (!equal(v, json_array_get(jansson, i)))
				return false;
		return true;
	}
	if (json_is_object(serde) && json_is_object(jansson)) {
		if (json_object_size(serde) != json_object_size(jansson))
			return false;
		json_object_foreach(serde, key, v)
			if (!equal(v, json_object_get(jansson, key)))
				return false;
		return true;
	}
	if (json_is_real(serde) && json_is_integer(jansson))
		return json_real_value(serde) == 0 && json_integer_value(jansson) == 0;
	return json_equal(serde, jansson);
}

static void check_fault(const struct serde_fault *fault, const char *text, size_t len)
{
	const char *place = NULL, *line_start = text, *end;
	size_t line, column, n = strlen(fault->text);
	json_t *v = json_stringn(fault->text, n);

	assert(v && n > 0 && n < SERDE_FAULT_BYTES);
	json_decref(v);
	for (const char *c = fault->text; (c = strstr(c, " at line ")); c++)
		place = c;
	assert(place && sscanf(place, " at line %zu column %zu", &line, &column) == 2);
	while (--line) {
		line_start = memchr(line_start, '\n', (size_t)(text + len - line_start));
		assert(line_start);
		line_start++;
	}
	end = memchr(line_start, '\n', (size_t)(text + len - line_start));
	end = end ? end : text + len;
	assert(column <= (size_t)(end - line_start) + 1);
}

static bool ours_alone(const char *fault)
{
	return strncmp(fault, "recursion limit exceeded", 24) == 0 ||
		strstr(fault, ", expected a string without U+0000 at line ") != NULL;
}

/* Between an unknown key and the fields of the bucket. */
static void check_skip(const char *text, size_t len)
{
	static const char head[] = "{\"x\":", tail[] = ",\"size\":1,\"refill_time\":2}";
	struct serde_fault fault;
	char *whole;
	int n = asprintf(&whole, "%s%.*s%s", head, (int)len, text, tail);
	json_t *v;

	assert(n >= 0 && (size_t)n == sizeof(head) + len + sizeof(tail) - 2);
	v = serde_read(&serde_every_bucket, whole, (size_t)n, &fault);
	assert(v && json_object_size(v) == 2);
	json_decref(v);
	free(whole);
}

static void check_any(const char *text, size_t len)
{
	struct serde_fault fault;
	json_t *v = serde_read_any(text, len, &fault);
	json_error_t error;
	json_t *other = NULL;

	if (!memchr(text, '\0', len)) /* where jansson would end */
		other = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	if (!v) {
		check_fault(&fault, text, len);
		assert(!other || ours_alone(fault.text));
	} else if (other) {
		assert(equal(v, other));
	} else {
		assert(json_error_code(&error) == json_error_numeric_overflow &&
			strstr(error.text, "integer"));
	}
	if (v)
		check_skip(text, len);
	json_decref(v);
	json_decref(other);
}

static void obey_object(const struct serde_object *o, json_t *v);

static void obey(const struct serde_type *t, json_t *v)
{
	static const json_int_t max[] = { [SERDE_U8] = UINT8_MAX, [SERDE_U16] = UINT16_MAX,
		[SERDE_U32] = UINT32_MAX, [SERDE_U64] = INT64_MAX, [SERDE_USIZE] = INT64_MAX };
	const char *s = json_string_value(v), *key;
	unsigned a, b, c, d;
	json_t *item;
	size_t i;

	assert(!s || strlen(s) == json_string_length(v));
	switch (t->kind) {
	case SERDE_BOOL:
		assert(json_is_boolean(v));
		break;
	case SERDE_U8 ... SERDE_USIZE:
		assert(json_is_integer(v) && json_integer_value(v) >= 0 &&
			json_integer_value(v) <= max[t->kind]);
		break;
	case SERDE_STRING:
		assert(s && (!t->judge || !t->judge(s)));
		break;
	case SERDE_PATH:
		assert(s);
		break;
	case SERDE_IPV4:
		assert(s && sscanf(s, "%u.%u.%u.%u", &a, &b, &c, &d) == 4);
		assert((a | b | c | d) <= 255 && strlen(s) <= 15);
		break;
	case SERDE_ENUM:
		assert(s);
		for (i = 0; strcmp(t->names[i], s) != 0; i++)
			assert(t->names[i + 1]);
		break;
	case SERDE_OBJECT:
		obey_object(t->object, v);
		break;
	case SERDE_LIST:
		assert(json_is_array(v));
		json_array_foreach(v, i, item)
			obey(t->item, item);
		break;
	case SERDE_MAP:
		assert(json_is_object(v));
		json_object_foreach(v, key, item)
			assert(json_is_string(item));
		break;
	case SERDE_ANY:
		assert(!json_is_null(v));
		break;
	}
}

static void obey_object(const struct serde_object *o, json_t *v)
{
	size_t found = 0;

	assert(json_is_object(v));
	for (size_t i = 0; i < o->n_fields; i++) {
		json_t *field = json_object_get(v, o->fields[i].name);

		assert(field || !o->fields[i].required);
		found += field != NULL;
		if (field)
			obey(&o->fields[i].type, field);
	}
	assert(found == json_object_size(v));
}

static void check_object(const struct serde_object *o, const char *text, size_t len)
{
	struct serde_fault fault;
	json_t *v = serde_read(o, text, len, &fault), *again;
	char *dump;

	if (!v) {
		check_fault(&fault, text, len);
		return;
	}
	obey_object(o, v);
	dump = json_dumps(v, 0);
	again = serde_read(o, dump, strlen(dump), &fault);
	assert(again && json_equal(v, again));
	json_decref(again);
	free(dump);
	json_decref(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size < 1)
		return 0;
	text = malloc(size - 1 ? size - 1 : 1); /* of its size, for ASan */
	assert(text);
	memcpy(text, data + 1, size - 1);
	if (data[0] % 3 == 0)
		check_any(text, size - 1);
	else
		check_object(data[0] % 3 == 1 ? &serde_every : &serde_every_bucket, text, size - 1);
	free(text);
	return 0;
}
