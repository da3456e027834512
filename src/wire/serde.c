/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of a JSON text against their description; see serde.h. One function per kind of value. As
 * in Rust, a fault of meaning has no place at first: the innermost value that was being read gives
 * it the place where reading stopped, and a list or object first takes its end if that is what
 * comes next. Any thread.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "serde-scan.h"
#include "serde.h"

#define NAME_BYTES 128 /* of "struct NAME" */

static json_t *read_type(struct serde_scan *s, const struct serde_type *t);
static json_t *read_any(struct serde_scan *s);

static json_t *out_of_memory(struct serde_scan *s)
{
	serde_fault_memory(&s->say);
	return NULL;
}

/* v, but for NULL, which is a lack of memory. */
static json_t *made(struct serde_scan *s, json_t *v)
{
	return v ? v : out_of_memory(s);
}

static json_t *put_place(struct serde_scan *s)
{
	serde_fault_place(&s->say, s->text, s->at);
	return NULL;
}

static void put_choice(struct serde_scan *s, const char *name, size_t i, size_t n)
{
	if (i > 0)
		serde_fault_put(&s->say, n == 2 ? " or " : ", ");
	serde_fault_put(&s->say, "`");
	serde_fault_put(&s->say, name);
	serde_fault_put(&s->say, "`");
}

/* Without a place. */
static void put_name(struct serde_scan *s, const char *what, const char *name, size_t len)
{
	serde_fault_put(&s->say, what);
	serde_fault_put(&s->say, " `");
	serde_fault_put_raw(&s->say, name, len);
	serde_fault_put(&s->say, "`");
}

/* After put_name(); n names follow. */
static void put_expected(struct serde_scan *s, size_t n, const char *none)
{
	serde_fault_put(&s->say, n == 0 ? none : n > 2 ? ", expected one of " : ", expected ");
}

/* Of whatever comes next, which is c. Always NULL. */
static json_t *wrong(struct serde_scan *s, int c, const char *expected)
{
	serde_scan_wrong(s, c, expected);
	return NULL;
}

static json_t *read_bool(struct serde_scan *s)
{
	int c = serde_scan_peek(s);

	if (c != 't' && c != 'f')
		return wrong(s, c, "a boolean");
	return serde_scan_word(s) ? json_boolean(c == 't') : NULL;
}

static json_t *read_integer(struct serde_scan *s, uint64_t max, const char *expected)
{
	int c = serde_scan_peek(s);
	struct serde_number n;

	if (c != '-' && (c < '0' || c > '9'))
		return wrong(s, c, expected);
	if (!serde_scan_number(s, &n))
		return NULL;
	if (n.kind == SERDE_POSITIVE && n.magnitude <= max)
		return made(s, json_integer((json_int_t)n.magnitude));
	serde_scan_wrong_number(s, &n, n.kind != SERDE_REAL, expected);
	return NULL;
}

static json_t *read_string(struct serde_scan *s, const char *expected)
{
	int c = serde_scan_peek(s);

	return c == '"' ? serde_scan_string(s) : wrong(s, c, expected);
}

/* The fault gets its place from the object or list around, as in Rust. */
static json_t *read_judged(struct serde_scan *s, const struct serde_type *t)
{
	json_t *v = read_string(s, "a string");
	const char *what = v && t->judge ? t->judge(json_string_value(v)) : NULL;

	if (!what)
		return v;
	serde_fault_put(&s->say, what);
	json_decref(v);
	return NULL;
}

static json_t *read_ipv4(struct serde_scan *s)
{
	json_t *v = read_string(s, "IPv4 address");
	struct in_addr a;

	if (!v || inet_pton(AF_INET, json_string_value(v), &a) == 1)
		return v;
	json_decref(v);
	serde_scan_fault(s, "invalid IPv4 address syntax");
	return NULL;
}

/* The string if it is one of the names; it was read. */
static json_t *check_name(struct serde_scan *s, const char *const *names, json_t *v)
{
	size_t n = 0;

	for (; v && names[n]; n++)
		if (strcmp(names[n], json_string_value(v)) == 0)
			return v;
	if (!v)
		return NULL;
	put_name(s, "unknown variant", json_string_value(v), json_string_length(v));
	json_decref(v);
	put_expected(s, n, ", there are no variants");
	for (size_t i = 0; i < n; i++)
		put_choice(s, names[i], i, n);
	return put_place(s);
}

static bool enter(struct serde_scan *s)
{
	if (s->depth == SERDE_DEPTH_MAX)
		return serde_scan_fault_next(s, "recursion limit exceeded");
	s->depth++;
	s->at++;
	return true;
}

/* Behind {"NAME": */
static bool read_unit(struct serde_scan *s)
{
	int c = serde_scan_peek(s);

	if (c != 'n')
		return serde_scan_wrong(s, c, "unit");
	if (!serde_scan_word(s))
		return false;
	c = serde_scan_peek(s);
	if (c != '}')
		return serde_scan_fault(s, c < 0 ? SERDE_EOF_OBJECT : SERDE_NO_VALUE);
	s->at++;
	return true;
}

static json_t *read_enum(struct serde_scan *s, const char *const *names)
{
	int c = serde_scan_peek(s);
	json_t *v;

	if (c == '"')
		return check_name(s, names, serde_scan_string(s));
	if (c != '{') {
		serde_scan_fault_next(s, c < 0 ? SERDE_EOF_VALUE : SERDE_NO_VALUE);
		return NULL;
	}
	if (!enter(s))
		return NULL;
	s->depth--;
	c = serde_scan_peek(s);
	if (c != '"') {
		serde_scan_fault_next(s, c < 0 ? SERDE_EOF_OBJECT
			: c == '}' ? SERDE_NO_VALUE : SERDE_NO_KEY);
		return NULL;
	}
	v = check_name(s, names, serde_scan_string(s));
	if (v && serde_scan_colon(s) && read_unit(s))
		return v;
	json_decref(v);
	return NULL;
}

/* 1: a value comes next, 0: the list ends, -1: a fault. */
static int next_item(struct serde_scan *s, bool first)
{
	int c = serde_scan_peek(s);

	if (c == ']')
		return 0;
	if (c >= 0 && first)
		return 1;
	if (c == ',') {
		s->at++;
		c = serde_scan_peek(s);
		if (c >= 0 && c != ']')
			return 1;
		serde_scan_fault_next(s, c < 0 ? SERDE_EOF_VALUE : "trailing comma");
	} else {
		serde_scan_fault_next(s, c < 0 ? SERDE_EOF_LIST : SERDE_NO_LIST_END);
	}
	return -1;
}

/* The same of an object, where a key comes next. */
static int next_key(struct serde_scan *s, bool first)
{
	int c = serde_scan_peek(s);

	if (c == '}')
		return 0;
	if (c < 0) {
		serde_scan_fault_next(s, SERDE_EOF_OBJECT);
		return -1;
	}
	if (!first && c != ',') {
		serde_scan_fault_next(s, SERDE_NO_OBJECT_END);
		return -1;
	}
	if (!first) {
		s->at++;
		c = serde_scan_peek(s);
	}
	if (c == '"')
		return 1;
	serde_scan_fault_next(s, c < 0 ? SERDE_EOF_VALUE
		: c == '}' ? "trailing comma" : SERDE_NO_KEY);
	return -1;
}

/* A fault, if there is one, gets its place now unless it has one. True if there is none. */
static bool settle(struct serde_scan *s)
{
	if (s->say.used == 0)
		return true;
	put_place(s);
	return false;
}

/* The end of a list, after all its values or after a fault. */
static bool end_list(struct serde_scan *s)
{
	int c = serde_scan_peek(s);

	s->depth--;
	s->at += c == ']' || c == ',';
	if (c == ',')
		serde_scan_fault_next(s,
			serde_scan_peek(s) == ']' ? "trailing comma" : "trailing characters");
	else if (c != ']')
		serde_scan_fault_next(s, c < 0 ? SERDE_EOF_LIST : "trailing characters");
	return settle(s);
}

/* The same of an object, which was read up to its bracket or a fault. */
static bool end_object(struct serde_scan *s)
{
	s->depth--;
	s->at += serde_scan_peek(s) == '}';
	return settle(s);
}

/* Of a list or object that ended: the value if there is no fault. */
static json_t *keep(json_t *v, bool good)
{
	if (good)
		return v;
	json_decref(v);
	return NULL;
}

/* t NULL: of anything. */
static json_t *read_list(struct serde_scan *s, const struct serde_type *t)
{
	int c = serde_scan_peek(s);
	json_t *list, *v;

	if (c != '[')
		return wrong(s, c, "a sequence");
	if (!enter(s))
		return NULL;
	list = made(s, json_array());
	while (list && next_item(s, json_array_size(list) == 0) > 0) {
		v = t ? read_type(s, t) : read_any(s);
		if (!v)
			break;
		if (json_array_append_new(list, v) < 0) {
			out_of_memory(s);
			break;
		}
	}
	return keep(list, end_list(s));
}

static bool put_value(struct serde_scan *s, json_t *object, json_t *key, json_t *v)
{
	if (!v)
		return false;
	if (json_object_setn_new_nocheck(object, json_string_value(key), json_string_length(key),
		    v) == 0)
		return true;
	out_of_memory(s);
	return false;
}

/* Of texts, or of anything. */
static json_t *read_map(struct serde_scan *s, bool any)
{
	int c = serde_scan_peek(s);
	bool good = true;
	json_t *map, *key;

	if (c != '{')
		return wrong(s, c, "a map");
	if (!enter(s))
		return NULL;
	map = made(s, json_object());
	for (bool first = true; map && good && next_key(s, first) > 0; first = false) {
		key = serde_scan_string(s);
		good = key && serde_scan_colon(s) &&
			put_value(s, map, key, any ? read_any(s) : read_string(s, "a string"));
		json_decref(key);
	}
	return keep(map, end_object(s));
}

static json_t *read_any(struct serde_scan *s)
{
	int c = serde_scan_peek(s);
	struct serde_number n;

	switch (c) {
	case 'n':
		return serde_scan_word(s) ? json_null() : NULL;
	case 't':
	case 'f':
		return serde_scan_word(s) ? json_boolean(c == 't') : NULL;
	case '"':
		return serde_scan_string(s);
	case '[':
		return read_list(s, NULL);
	case '{':
		return read_map(s, true);
	case '-':
	case '0' ... '9':
		break;
	default:
		return wrong(s, c, "");
	}
	if (!serde_scan_number(s, &n))
		return NULL;
	if (n.kind == SERDE_REAL)
		return made(s, json_real(n.real));
	if (n.kind == SERDE_NEGATIVE)
		return made(s, json_integer((json_int_t)(0 - n.magnitude)));
	if (n.magnitude > INT64_MAX) {
		serde_scan_fault(s, "number out of range");
		return NULL;
	}
	return made(s, json_integer((json_int_t)n.magnitude));
}

/* The index of a field, or n_fields. */
static size_t find(const struct serde_object *o, const char *name)
{
	size_t i = 0;

	while (i < o->n_fields && strcmp(o->fields[i].name, name) != 0)
		i++;
	return i;
}

/* Fields that Firecracker knows. */
static size_t count(const struct serde_object *o)
{
	size_t n = 0;

	for (size_t i = 0; i < o->n_fields; i++)
		n += !o->fields[i].ours;
	return n;
}

static void put_field(struct serde_scan *s, const char *what, const struct serde_field *f)
{
	put_name(s, what, f->name, strlen(f->name));
}

static void put_unknown(struct serde_scan *s, const struct serde_object *o, json_t *key)
{
	size_t n = count(o), shown = 0;

	put_name(s, "unknown field", json_string_value(key), json_string_length(key));
	put_expected(s, n, ", there are no fields");
	for (size_t i = 0; i < o->n_fields; i++)
		if (!o->fields[i].ours)
			put_choice(s, o->fields[i].name, shown++, n);
}

/* The value of a field, null left out. */
static bool read_value(struct serde_scan *s, const struct serde_field *f, json_t *object)
{
	json_t *v;

	if (serde_scan_peek(s) == 'n' && !f->required && !f->not_null)
		return serde_scan_word(s);
	v = read_type(s, &f->type);
	if (!v)
		return false;
	if (json_object_set_new_nocheck(object, f->name, v) == 0)
		return true;
	out_of_memory(s);
	return false;
}

/* A key and its value. The bit of a known one is set in seen. */
static bool read_field(struct serde_scan *s, const struct serde_object *o, json_t *object,
	uint64_t *seen)
{
	json_t *key = serde_scan_string(s);
	size_t i = key ? find(o, json_string_value(key)) : 0;
	bool known = i < o->n_fields, good;

	if (!key)
		return false;
	if (known && *seen >> i & 1)
		put_field(s, "duplicate field", &o->fields[i]);
	else if (!known && o->deny_unknown)
		put_unknown(s, o, key);
	json_decref(key);
	good = s->say.used == 0 && serde_scan_colon(s);
	if (!good || !known)
		return good && serde_scan_skip(s);
	*seen |= UINT64_C(1) << i;
	return read_value(s, &o->fields[i], object);
}

static void read_fields(struct serde_scan *s, const struct serde_object *o, json_t *object)
{
	uint64_t seen = 0;
	int more;

	for (bool first = true; (more = next_key(s, first)) > 0; first = false)
		if (!read_field(s, o, object, &seen))
			return;
	for (size_t i = 0; more == 0 && i < o->n_fields; i++) {
		if (o->fields[i].required && !(seen >> i & 1)) {
			put_field(s, "missing field", &o->fields[i]);
			return;
		}
	}
}

/* The form of a list, which may end before fields that are not_null, for they have a default. */
static void read_sequence(struct serde_scan *s, const struct serde_object *o, json_t *object)
{
	char text[2 * NAME_BYTES];
	size_t n = count(o), done = 0;
	bool over = false;

	for (size_t i = 0; i < o->n_fields; i++) {
		const struct serde_field *f = &o->fields[i];
		int more = f->ours || over ? 0 : next_item(s, done == 0);

		if (more < 0 || (more > 0 && !read_value(s, f, object)))
			return;
		if (f->ours)
			continue;
		over = more == 0;
		if (over && !f->not_null) {
			snprintf(text, sizeof(text),
				"invalid length %zu, expected struct %s with %zu element%s", done,
				o->name, n, n == 1 ? "" : "s");
			serde_fault_put(&s->say, text);
			return;
		}
		done++;
	}
}

static json_t *read_object(struct serde_scan *s, const struct serde_object *o)
{
	int c = serde_scan_peek(s);
	char expected[NAME_BYTES];
	json_t *object;

	assert(o->n_fields <= SERDE_FIELDS_MAX);
	if (c != '{' && c != '[') {
		snprintf(expected, sizeof(expected), "struct %s", o->name);
		return wrong(s, c, expected);
	}
	if (!enter(s))
		return NULL;
	object = made(s, json_object());
	if (object && c == '{')
		read_fields(s, o, object);
	else if (object)
		read_sequence(s, o, object);
	return keep(object, c == '{' ? end_object(s) : end_list(s));
}

static json_t *read_type(struct serde_scan *s, const struct serde_type *t)
{
	switch (t->kind) {
	case SERDE_BOOL:
		return read_bool(s);
	case SERDE_U8:
		return read_integer(s, UINT8_MAX, "u8");
	case SERDE_U16:
		return read_integer(s, UINT16_MAX, "u16");
	case SERDE_U32:
		return read_integer(s, UINT32_MAX, "u32");
	case SERDE_U64:
		return read_integer(s, INT64_MAX, "u64");
	case SERDE_USIZE:
		return read_integer(s, INT64_MAX, "usize");
	case SERDE_STRING:
		return read_judged(s, t);
	case SERDE_PATH:
		return read_string(s, "path string");
	case SERDE_IPV4:
		return read_ipv4(s);
	case SERDE_ENUM:
		return read_enum(s, t->names);
	case SERDE_OBJECT:
		return read_object(s, t->object);
	case SERDE_LIST:
		return read_list(s, t->item);
	case SERDE_MAP:
		return read_map(s, false);
	case SERDE_ANY:
		return read_any(s);
	}
	return NULL;
}

/* o NULL: anything. */
static json_t *read_text(const struct serde_object *o, const char *text, size_t len,
	struct serde_fault *fault)
{
	struct serde_scan s;
	json_t *v;

	if (!serde_scan_init(&s, text, len, fault))
		return NULL;
	v = o ? read_object(&s, o) : read_any(&s);
	if (v && serde_scan_peek(&s) >= 0)
		v = keep(v, serde_scan_fault_next(&s, "trailing characters"));
	serde_scan_done(&s);
	return v;
}

json_t *serde_read(const struct serde_object *o, const char *text, size_t len,
	struct serde_fault *fault)
{
	return read_text(o, text, len, fault);
}

json_t *serde_read_any(const char *text, size_t len, struct serde_fault *fault)
{
	return read_text(NULL, text, len, fault);
}
