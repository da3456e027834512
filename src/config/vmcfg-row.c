/* SPDX-License-Identifier: Apache-2.0 */
/* Rows and their values, see vmcfg-row.h. */
#include "vmcfg-row.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cleanup.h"
#include "num.h"

#define DISTANCE_MAX 31 /* longer words are not compared */

static void *field_of(const struct vmcfg_row *row, void *base)
{
	return (char *)base + row->offset;
}

static const void *const_field_of(const struct vmcfg_row *row, const void *base)
{
	return (const char *)base + row->offset;
}

static uint64_t scale_of(const struct vmcfg_row *row)
{
	return row->scale ? row->scale : 1;
}

static size_t count(const char *const *names)
{
	size_t n = 0;

	while (names[n])
		n++;
	return n;
}

static bool is_text(const struct vmcfg_row *row)
{
	return row->type == VMCFG_STRING || row->type == VMCFG_WORDS ||
		row->type == VMCFG_JSON || row->type == VMCFG_JSON_OR_PATH;
}

/* The value in the units of the document; a string's is its length. */
static uint64_t load(const struct vmcfg_row *row, const void *base)
{
	const void *f = const_field_of(row, base);
	const char *s;

	switch (row->type) {
	case VMCFG_BOOL:
		return *(const bool *)f;
	case VMCFG_NOT:
		return !*(const bool *)f;
	case VMCFG_UINT:
	case VMCFG_ENUM:
	case VMCFG_LEVEL:
		return *(const unsigned *)f;
	case VMCFG_U16:
		return *(const uint16_t *)f;
	case VMCFG_INT:
		return (uint64_t) * (const int *)f;
	case VMCFG_U64:
	case VMCFG_MIB:
		return *(const uint64_t *)f / scale_of(row);
	case VMCFG_STRING:
	case VMCFG_WORDS:
	case VMCFG_JSON:
	case VMCFG_JSON_OR_PATH:
		s = *(char *const *)f;
		return s ? strlen(s) : 0;
	default:
		return 0;
	}
}

static void store(const struct vmcfg_row *row, void *base, uint64_t v)
{
	void *f = field_of(row, base);

	switch (row->type) {
	case VMCFG_BOOL:
		*(bool *)f = v;
		break;
	case VMCFG_NOT:
		*(bool *)f = !v;
		break;
	case VMCFG_UINT:
	case VMCFG_ENUM:
	case VMCFG_LEVEL:
		*(unsigned *)f = (unsigned)v;
		break;
	case VMCFG_U16:
		*(uint16_t *)f = (uint16_t)v;
		break;
	case VMCFG_INT:
		*(int *)f = (int)v;
		break;
	case VMCFG_U64:
	case VMCFG_MIB:
		*(uint64_t *)f = v * scale_of(row);
		break;
	default:
		break;
	}
}

void vmcfg_row_default(const struct vmcfg_row *row, void *base)
{
	const struct vmcfg_section *o = row->object;

	if (is_text(row))
		*(char **)field_of(row, base) = row->def_text ? strdup(row->def_text) : NULL;
	else if (row->type == VMCFG_NESTED)
		for (size_t i = 0; i < o->n_rows; i++)
			vmcfg_row_default(&o->rows[i], field_of(row, base));
	else
		store(row, base, row->def);
}

void vmcfg_row_done(const struct vmcfg_row *row, void *base)
{
	const struct vmcfg_section *o = row->object;
	char **text = field_of(row, base);

	if (row->type == VMCFG_NESTED)
		for (size_t i = 0; i < o->n_rows; i++)
			vmcfg_row_done(&o->rows[i], field_of(row, base));
	if (!is_text(row))
		return;
	free(*text);
	*text = NULL;
}

bool vmcfg_row_text_ok(const char *text)
{
	json_t *s = json_string(text); /* NULL unless UTF-8 */

	json_decref(s);
	if (!s)
		return false;
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	return true;
}

static void names_list(const struct vmcfg_row *row, char *buf, size_t size)
{
	size_t n = count(row->names), used = 0;

	for (size_t i = 0; i < n && used < size; i++) {
		int r = snprintf(buf + used, size - used, "%s%s", row->names[i],
			i + 1 == n ? "" : i + 2 == n ? " or " : ", ");

		used += r > 0 ? (size_t)r : 0;
	}
}

void vmcfg_row_accepts(const struct vmcfg_row *row, char *buf, size_t size)
{
	switch (row->type) {
	case VMCFG_BOOL:
	case VMCFG_NOT:
		snprintf(buf, size, "true or false");
		break;
	case VMCFG_STRING:
		snprintf(buf, size, "text of %" PRIu64 " to %" PRIu64 " bytes", row->min, row->max);
		break;
	case VMCFG_IGNORED:
		snprintf(buf, size, "text");
		break;
	case VMCFG_WORDS:
		snprintf(buf, size, "an array of texts");
		break;
	case VMCFG_NESTED:
	case VMCFG_JSON:
		snprintf(buf, size, "an object");
		break;
	case VMCFG_JSON_OR_PATH:
		snprintf(buf, size, "an object, or the path of a file that holds one");
		break;
	case VMCFG_ENUM:
	case VMCFG_LEVEL:
		names_list(row, buf, size);
		break;
	default:
		if (row->max == INT64_MAX)
			snprintf(buf, size, "a whole number below 2^63");
		else
			snprintf(buf, size, "a whole number from %" PRIu64 " to %" PRIu64, row->min,
				row->max);
	}
}

/* What was found in place of it. */
static void describe(const json_t *v, char *buf, size_t size)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		snprintf(buf, size, "an object");
		break;
	case JSON_ARRAY:
		snprintf(buf, size, "an array");
		break;
	case JSON_STRING:
		snprintf(buf, size, "\"%.40s\"%s", json_string_value(v),
			json_string_length(v) > 40 ? "..." : "");
		break;
	case JSON_INTEGER:
		snprintf(buf, size, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	case JSON_REAL:
		snprintf(buf, size, "%.12g", json_real_value(v));
		break;
	case JSON_TRUE:
		snprintf(buf, size, "true");
		break;
	case JSON_FALSE:
		snprintf(buf, size, "false");
		break;
	default:
		snprintf(buf, size, "null");
	}
}

static void refuse_json(const struct vmcfg_row *row, const json_t *v, const char *path,
	struct vmcfg_errors *errors)
{
	char accepts[128], found[64];

	vmcfg_row_accepts(row, accepts, sizeof(accepts));
	describe(v, found, sizeof(found));
	vmcfg_error(errors, path, "must be %s, not %s", accepts, found);
}

bool vmcfg_row_set_string(char **field, const char *text, struct vmcfg_errors *errors)
{
	char *copy = strdup(text);

	if (!copy) {
		vmcfg_error(errors, "configuration", "out of memory");
		return false;
	}
	free(*field);
	*field = copy;
	return true;
}

/* Whether text can be the value of a row, or one of its words; reports why not. */
static bool judge(const struct vmcfg_row *row, const char *text, const char *path,
	struct vmcfg_errors *errors)
{
	struct volt_err why = { 0 };
	size_t len = strlen(text);

	if (len < row->min)
		vmcfg_error(errors, path, "must not be empty");
	else if (!vmcfg_row_text_ok(text))
		vmcfg_error(errors, path, "must be UTF-8 text without control characters");
	else if (len > row->max && !row->judge)
		vmcfg_error(errors, path, "is %zu bytes long, and the maximum is %" PRIu64, len,
			row->max);
	else if (row->judge && row->judge(text, &why) < 0)
		vmcfg_error(errors, path, "%s", why.msg);
	else
		return true;
	return false;
}

static bool set_string(const struct vmcfg_row *row, void *base, const char *text, const char *path,
	struct vmcfg_errors *errors)
{
	return judge(row, text, path, errors) &&
		vmcfg_row_set_string(field_of(row, base), text, errors);
}

bool vmcfg_row_add_word(const struct vmcfg_row *row, void *base, const char *word, const char *path,
	struct vmcfg_errors *errors)
{
	_cleanup_free_ char *all = NULL;
	char **field = field_of(row, base);

	if (!judge(row, word, path, errors))
		return false;
	if (asprintf(&all, "%s%s%s", *field ? *field : "", *field ? " " : "", word) < 0) {
		all = NULL;
		vmcfg_error(errors, "configuration", "out of memory");
		return false;
	}
	if (strlen(all) > row->max) {
		vmcfg_error(errors, path, "is too much; all together have at most %" PRIu64
			" bytes", row->max);
		return false;
	}
	free(*field);
	*field = take_ptr(&all);
	return true;
}

static bool set_words(const struct vmcfg_row *row, void *base, const json_t *array,
	const char *path, struct vmcfg_errors *errors)
{
	char item[LIMIT_PATH + 280]; /* a path of the JSON reader, and the index */
	bool ok = true;
	size_t i;
	json_t *v;

	vmcfg_row_done(row, base);
	json_array_foreach(array, i, v) {
		snprintf(item, sizeof(item), "%s[%zu]", path, i);
		if (!json_is_string(v))
			vmcfg_error(errors, item, "must be text");
		ok = json_is_string(v) &&
			vmcfg_row_add_word(row, base, json_string_value(v), item, errors) && ok;
	}
	return ok;
}

/* Keeps the text of an object, or of a path. */
static bool set_value(const struct vmcfg_row *row, void *base, const json_t *v, const char *path,
	struct vmcfg_errors *errors)
{
	_cleanup_free_ char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

	if (!text) {
		vmcfg_error(errors, "configuration", "out of memory");
		return false;
	}
	return set_string(row, base, text, path, errors);
}

/* A path is judged by what is true of all paths. */
static bool set_path(const struct vmcfg_row *row, void *base, const char *text, const char *path,
	struct vmcfg_errors *errors)
{
	const struct vmcfg_row any = { "", VMCFG_STRING, .min = 1, .max = LIMIT_PATH - 1 };
	json_t *v;
	bool ok;

	if (!judge(&any, text, path, errors))
		return false;
	v = json_string(text);
	ok = set_value(row, base, v, path, errors);
	json_decref(v);
	return ok;
}

/*
 * -1 if there is no such name. Flags are typed by people: for them the letter case does not matter.
 */
static int find_name(const struct vmcfg_row *row, const char *text,
	int (*compare)(const char *, const char *))
{
	if (row->type == VMCFG_LEVEL)
		return log_level_from_name(text);
	for (int i = 0; row->names[i]; i++)
		if (compare(row->names[i], text) == 0)
			return i;
	return -1;
}

/* The values of a feature we do not have that ask for nothing. */
static bool harmless(const struct vmcfg_row *row, const json_t *v)
{
	switch (row->type) {
	case VMCFG_NO_FLAG:
		return json_is_false(v);
	default:
		return false;
	}
}

/* The number that v stands for in a row that is not a string. False if it is of another type. */
static bool number_of(const struct vmcfg_row *row, const json_t *v, uint64_t *ret)
{
	int i;

	switch (row->type) {
	case VMCFG_BOOL:
	case VMCFG_NOT:
		*ret = json_is_true(v);
		return json_is_boolean(v);
	case VMCFG_ENUM:
	case VMCFG_LEVEL:
		if (!json_is_string(v))
			return false;
		i = find_name(row, json_string_value(v), strcmp);
		*ret = (uint64_t)i;
		return i >= 0;
	default:
		if (!json_is_integer(v) || json_integer_value(v) < 0)
			return false;
		*ret = (uint64_t)json_integer_value(v);
		return *ret >= row->min && *ret <= row->max;
	}
}

bool vmcfg_row_set_json(const struct vmcfg_row *row, void *base, const json_t *v, const char *path,
	struct vmcfg_errors *errors)
{
	uint64_t n;

	if (row->type >= VMCFG_NO_OBJECT) {
		if (!json_is_null(v) && !harmless(row, v))
			vmcfg_error(errors, path, "is not supported by this version");
		return false;
	}
	if (json_is_null(v) && !row->required)
		return false; /* the same as absence */
	if (row->type == VMCFG_IGNORED && json_is_string(v))
		return false;
	if (row->type == VMCFG_WORDS && json_is_array(v))
		return set_words(row, base, v, path, errors);
	if ((row->type == VMCFG_JSON || row->type == VMCFG_JSON_OR_PATH) && json_is_object(v))
		return set_value(row, base, v, path, errors);
	if (row->type == VMCFG_JSON_OR_PATH && json_is_string(v))
		return set_path(row, base, json_string_value(v), path, errors);
	if (row->type == VMCFG_STRING && json_is_string(v))
		return set_string(row, base, json_string_value(v), path, errors);
	if (is_text(row) || row->type == VMCFG_IGNORED || !number_of(row, v, &n)) {
		refuse_json(row, v, path, errors);
		return false;
	}
	store(row, base, n);
	return true;
}

static int parse_text(const struct vmcfg_row *row, const char *text, uint64_t *ret)
{
	uint64_t bytes;
	int r;

	if (row->type == VMCFG_LEVEL || row->type == VMCFG_ENUM) {
		r = find_name(row, text, strcasecmp);
		*ret = (uint64_t)r;
		return r < 0 ? -EINVAL : 0;
	}
	if (row->type != VMCFG_MIB)
		return num_parse_u64(text, row->min, row->max, ret);
	r = num_parse_size(text, MIB, &bytes);
	if (r < 0)
		return r;
	*ret = bytes / MIB;
	return bytes % MIB || *ret < row->min || *ret > row->max ? -ERANGE : 0;
}

bool vmcfg_row_set_text(const struct vmcfg_row *row, void *base, const char *text, const char *path,
	struct vmcfg_errors *errors)
{
	char accepts[128];
	uint64_t n;

	if (row->type == VMCFG_STRING)
		return set_string(row, base, text, path, errors);
	if (row->type == VMCFG_JSON_OR_PATH)
		return set_path(row, base, text, path, errors);
	if (parse_text(row, text, &n) == 0) {
		store(row, base, n);
		return true;
	}
	vmcfg_row_accepts(row, accepts, sizeof(accepts));
	vmcfg_error(errors, path, "must be %s%s, not '%.40s'", accepts,
		row->type == VMCFG_MIB ? " of MiB, or a size in whole MiB such as 512M or 2G" : "",
		text);
	return false;
}

static bool is_default(const struct vmcfg_row *row, const void *base)
{
	if (row->type == VMCFG_NESTED)
		return vmcfg_row_absent(row, base);
	return load(row, base) == row->def;
}

bool vmcfg_row_absent(const struct vmcfg_row *row, const void *base)
{
	const struct vmcfg_section *o = row->object;

	if (is_text(row))
		return !*(char *const *)const_field_of(row, base);
	if (row->type == VMCFG_NESTED) {
		for (size_t i = 0; i < o->n_rows; i++)
			if (!is_default(&o->rows[i], const_field_of(row, base)))
				return false;
		return true;
	}
	return row->type >= VMCFG_IGNORED || (row->optional && load(row, base) == row->def);
}

bool vmcfg_row_present(const struct vmcfg_section *s, const struct vm_config *cfg)
{
	if (s->kind == VMCFG_PRESENCE)
		return *(const bool *)((const char *)cfg + s->present);
	if (s->kind == VMCFG_VALUE)
		return !vmcfg_row_absent(&s->rows[0], cfg);
	for (size_t i = 0; i < s->n_rows && s->kind == VMCFG_OPTIONAL; i++)
		if (s->rows[i].required && vmcfg_row_absent(&s->rows[i], cfg))
			return false;
	return true;
}

static json_t *words_of(const char *text)
{
	json_t *array = json_array();

	for (size_t n; *text; text += n + (text[n] == ' ')) {
		n = strcspn(text, " ");
		if (json_array_append_new(array, json_stringn(text, n)) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

json_t *vmcfg_row_to_json(const struct vmcfg_row *row, const void *base)
{
	if (vmcfg_row_absent(row, base))
		return NULL;
	switch (row->type) {
	case VMCFG_BOOL:
	case VMCFG_NOT:
		return json_boolean(load(row, base));
	case VMCFG_STRING:
		return json_string(*(char *const *)const_field_of(row, base));
	case VMCFG_JSON:
	case VMCFG_JSON_OR_PATH:
		return json_loads(*(char *const *)const_field_of(row, base), JSON_DECODE_ANY, NULL);
	case VMCFG_WORDS:
		return words_of(*(char *const *)const_field_of(row, base));
	case VMCFG_ENUM:
	case VMCFG_LEVEL:
		return json_string(row->names[load(row, base)]);
	default:
		return json_integer((json_int_t)load(row, base));
	}
}

/* A string is one word, whatever is in it. */
static void check_words(const struct vmcfg_row *row, const void *base, const char *path,
	struct vmcfg_errors *errors)
{
	const char *text = *(char *const *)const_field_of(row, base);
	_cleanup_free_ char *copy = NULL;
	char *rest, *word;

	if (!row->judge || !vmcfg_row_set_string(&copy, text, errors))
		return;
	rest = copy;
	while ((word = strsep(&rest, row->type == VMCFG_WORDS ? " " : "")))
		judge(row, word, path, errors);
}

void vmcfg_row_check(const struct vmcfg_row *row, const void *base, const char *where,
	struct vmcfg_errors *errors)
{
	const struct vmcfg_section *o = row->object;
	uint64_t v = load(row, base);
	char accepts[128], path[LIMIT_DISK_ID + 128];
	bool ok;

	if (vmcfg_row_absent(row, base) || row->type == VMCFG_BOOL || row->type == VMCFG_NOT)
		return;
	snprintf(path, sizeof(path), "%s%s%s", where, *row->key ? "." : "", row->key);
	if (row->type == VMCFG_NESTED) {
		for (size_t i = 0; i < o->n_rows; i++)
			vmcfg_row_check(&o->rows[i], const_field_of(row, base), path, errors);
		return;
	}
	if (row->type == VMCFG_ENUM || row->type == VMCFG_LEVEL)
		ok = v < count(row->names);
	else
		ok = v >= row->min && v <= row->max;
	if (row->type == VMCFG_MIB || row->type == VMCFG_U64)
		ok = ok && *(const uint64_t *)const_field_of(row, base) % scale_of(row) == 0;
	if (ok && is_text(row))
		check_words(row, base, path, errors);
	if (ok)
		return;
	vmcfg_row_accepts(row, accepts, sizeof(accepts));
	vmcfg_error(errors, path, "must be %s", accepts);
}

unsigned vmcfg_row_distance(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	unsigned row[DISTANCE_MAX + 1];

	if (na > DISTANCE_MAX || nb > DISTANCE_MAX)
		return UINT32_MAX;
	for (unsigned j = 0; j <= nb; j++)
		row[j] = j;
	for (unsigned i = 1; i <= na; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= nb; j++) {
			unsigned replace = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN(replace, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[nb];
}
