/* SPDX-License-Identifier: Apache-2.0 */
/* The data of the metadata service, see mmds-store.h. */
#include "mmds-store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "num.h"

/* Sorted, as Firecracker's clients see them. */
#define TEXT_FLAGS (JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY)

void mmds_store_done(struct mmds_store *s)
{
	json_decref(take_ptr(&s->value));
}

static int check_size(const struct mmds_store *s, const json_t *value)
{
	size_t bytes = json_dumpb(value, NULL, 0, TEXT_FLAGS);

	if (bytes == 0) /* no JSON text is empty */
		return -ENOMEM;
	return bytes > s->limit ? -E2BIG : 0;
}

int mmds_store_put(struct mmds_store *s, json_t *value)
{
	int r = check_size(s, value);

	if (r < 0)
		return r;
	json_decref(s->value);
	s->value = json_incref(value);
	return 0;
}

/*
 * Takes the reference to target (NULL: absent) and returns one to what becomes of it; NULL: out of
 * memory. The depth is that of patch, whose reader has bounded it.
 */
static json_t *merge(json_t *target, const json_t *patch)
{
	const char *key;
	json_t *value;

	if (!json_is_object(patch)) {
		json_decref(target);
		return json_deep_copy(patch);
	}
	if (!json_is_object(target)) {
		json_decref(target);
		target = json_object();
	}
	json_object_foreach((json_t *)(uintptr_t)patch, key, value) {
		if (json_is_null(value)) {
			json_object_del(target, key);
			continue;
		}
		value = merge(json_incref(json_object_get(target, key)), value);
		if (!value || json_object_set_new(target, key, value) < 0) {
			json_decref(target);
			return NULL;
		}
	}
	return target;
}

int mmds_store_patch(struct mmds_store *s, const json_t *patch)
{
	json_t *merged;
	int r;

	if (!s->value)
		return -ENOENT;
	merged = json_deep_copy(s->value);
	if (merged)
		merged = merge(merged, patch);
	if (!merged)
		return -ENOMEM;
	r = check_size(s, merged);
	if (r < 0) {
		json_decref(merged);
		return r;
	}
	json_decref(s->value);
	s->value = merged;
	return 0;
}

/* -- reading --------------------------------------------------------------------------------- */

/* One reference token of RFC 6901, unescaped in place; false: a tilde that means nothing. */
static bool unescape(char *token)
{
	char *to = token;

	for (const char *from = token; *from; from++) {
		if (*from != '~') {
			*to++ = *from;
			continue;
		}
		from++;
		if (*from != '0' && *from != '1')
			return false;
		*to++ = *from == '0' ? '~' : '/';
	}
	*to = '\0';
	return true;
}

static const json_t *member(const json_t *v, const char *token)
{
	uint64_t index;

	if (json_is_object(v))
		return json_object_get(v, token);
	/* Digits without a leading zero; num_parse_u64() takes "0x1" too. */
	if (!json_is_array(v) || token[strspn(token, "0123456789")] != '\0' ||
		(token[0] == '0' && token[1] != '\0') ||
		num_parse_u64(token, 0, SIZE_MAX, &index) < 0)
		return NULL;
	return json_array_get(v, index);
}

/* path is scratch. */
static const json_t *find(const json_t *v, char *path)
{
	char *token = path, *next;

	while (v && token && *token == '/') {
		token++;
		next = strchr(token, '/');
		if (next)
			*next = '\0';
		v = unescape(token) ? member(v, token) : NULL;
		if (next)
			*next = '/';
		token = next;
	}
	return v;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys of an object, sorted; malloc'd; they belong to it. */
static const char **sorted_keys(const json_t *object)
{
	size_t n = 0, max = json_object_size(object);
	const char **keys = calloc(max + 1, sizeof(*keys)), *key;
	json_t *value;

	if (!keys)
		return NULL;
	json_object_foreach((json_t *)(uintptr_t)object, key, value)
		keys[n++] = key;
	qsort(keys, n, sizeof(*keys), compare);
	return keys;
}

static char *list_keys(const json_t *object)
{
	_cleanup_free_ const char **keys = sorted_keys(object);
	size_t bytes = 1;
	char *text, *end;

	if (!keys)
		return NULL;
	for (const char **k = keys; *k; k++)
		bytes += strlen(*k) + 2;
	text = malloc(bytes);
	if (!text)
		return NULL;
	end = text;
	for (const char **k = keys; *k; k++) {
		if (k != keys)
			*end++ = '\n';
		end = stpcpy(end, *k);
		if (json_is_object(json_object_get(object, *k)))
			*end++ = '/';
	}
	*end = '\0';
	return text;
}

int mmds_store_get(const struct mmds_store *s, const char *path, bool imds, char **ret,
	size_t *ret_len)
{
	_cleanup_free_ char *scratch = strdup(path);
	const json_t *v = s->value;
	size_t n;

	if (!scratch)
		return -ENOMEM;
	n = strlen(scratch);
	if (n > 0 && scratch[n - 1] == '/')
		scratch[n - 1] = '\0';
	if (scratch[0] != '\0' && scratch[0] != '/')
		return -ENOENT;
	if (!v && scratch[0] == '\0') /* nothing was put: as if null was */
		v = json_null();
	v = find(v, scratch);
	if (!v)
		return -ENOENT;
	if (!imds)
		*ret = json_dumps(v, TEXT_FLAGS);
	else if (json_is_object(v))
		*ret = list_keys(v);
	else if (json_is_string(v))
		*ret = strndup(json_string_value(v), json_string_length(v));
	else
		return -ENOTSUP;
	if (!*ret)
		return -ENOMEM;
	*ret_len = strlen(*ret);
	return 0;
}
