/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firecracker's configuration document, with keys of our own. Jansson reads the text (UTF-8,
 * duplicate keys, depth); the tables in vmcfg-doc.c say what may stand where. Stricter than
 * Firecracker: an unknown key is an error at the top level too, because a misspelt "drives" must
 * not boot a VM without disks. Main thread.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "vmcfg-disk.h"
#include "vmcfg-list.h"
#include "vmcfg-net.h"
#include "vmcfg-row.h"

#define JSON_PATH_MAX (LIMIT_PATH + 256) /* of a path in a message; a longer one is cut */
#define WHERE_MAX     128 /* of a path of known keys */
#define GUESS_MAX     2 /* letters that may be wrong in "did you mean" */

struct reader {
	struct vm_config *cfg;
	const char *name; /* of the file */
	struct vmcfg_errors *errors;
	char path[JSON_PATH_MAX]; /* where we are: "vm.json: drives[1].io_engine" */
};

/* Sets the path; fmt is what follows the name of the file. */
static void PRINTF_LIKE(2, 3) at(struct reader *r, const char *fmt, ...)
{
	int used = snprintf(r->path, sizeof(r->path), "%s", r->name);
	va_list ap;

	if (used < 0 || (size_t)used >= sizeof(r->path))
		return;
	va_start(ap, fmt);
	vsnprintf(r->path + used, sizeof(r->path) - (size_t)used, fmt, ap);
	va_end(ap);
}

static const char *kind_name(const json_t *v)
{
	return json_is_array(v) ? "an array" : json_is_object(v) ? "an object" : "a plain value";
}

/* The closest known key, or NULL; s is NULL at the top level. */
static const char *guess(const struct vmcfg_section *s, const char *key)
{
	size_t n = s ? s->n_rows : vmcfg_doc_n_sections;
	unsigned best = GUESS_MAX + 1;
	const char *found = NULL;

	for (size_t i = 0; i < n; i++) {
		const char *known = s ? s->rows[i].key : vmcfg_doc_sections[i].name;
		unsigned d = vmcfg_row_distance(key, known);

		if (!s && vmcfg_doc_sections[i].kind == VMCFG_LAUNCH)
			continue;
		if (d < best) {
			best = d;
			found = known;
		}
	}
	return found;
}

/* At r->path. */
static void unknown_key(struct reader *r, const struct vmcfg_section *s, const char *key)
{
	const char *near = guess(s, key);

	if (near)
		vmcfg_error(r->errors, r->path, "unknown key (did you mean %s?)", near);
	else
		vmcfg_error(r->errors, r->path, "unknown key");
}

static void read_object(struct reader *r, const struct vmcfg_section *s, void *base,
	const char *where, json_t *object);

/* One key of an object, at r->path. */
static void read_key(struct reader *r, const struct vmcfg_section *s, void *base,
	const char *where, const char *key, json_t *v)
{
	const struct vmcfg_row *row = vmcfg_doc_row(s, key);
	char inner[WHERE_MAX];

	if (!row) {
		unknown_key(r, s, key);
	} else if (row->type != VMCFG_NESTED) {
		vmcfg_row_set_json(row, base, v, r->path, r->errors);
	} else if (!json_is_null(v)) {
		snprintf(inner, sizeof(inner), "%s.%s", where, key);
		read_object(r, row->object, (char *)base + row->offset, inner, v);
	}
}

/* The keys of one object; `where` is its path without the file's name. */
static void read_object(struct reader *r, const struct vmcfg_section *s, void *base,
	const char *where, json_t *object)
{
	size_t errors_before = r->errors->n;
	const char *key;
	json_t *v;

	if (!json_is_object(object)) {
		at(r, ": %s", where);
		vmcfg_error(r->errors, r->path, "must be an object, not %s", kind_name(object));
		return;
	}
	json_object_foreach(object, key, v) {
		at(r, ": %s.%s", where, key);
		read_key(r, s, base, where, key, v);
	}
	if (r->errors->n != errors_before)
		return; /* a misspelt key is not also a missing one */
	for (size_t i = 0; i < s->n_rows; i++) {
		if (!s->rows[i].required || json_object_get(object, s->rows[i].key))
			continue;
		at(r, ": %s.%s", where, s->rows[i].key);
		vmcfg_error(r->errors, r->path, "is missing");
	}
}

void vmcfg_apply(const char *section, void *base, struct json_t *object,
	struct vmcfg_errors *errors)
{
	struct reader r = { .name = section, .errors = errors, .path = "" };
	const struct vmcfg_section *s = vmcfg_doc_section(section);
	const char *key;
	json_t *v;

	if (s->kind == VMCFG_VALUE) {
		vmcfg_row_set_json(&s->rows[0], base, object, section, errors);
		return;
	}
	json_object_foreach(object, key, v) {
		at(&r, ".%s", key);
		read_key(&r, s, base, section, key, v);
	}
}

static void read_list(struct reader *r, const struct vmcfg_section *s, json_t *array)
{
	char where[WHERE_MAX];
	void *item;
	json_t *v;
	size_t i;

	if (!json_is_array(array)) {
		at(r, ": %s", s->name);
		vmcfg_error(r->errors, r->path, "must be an array, not %s", kind_name(array));
		return;
	}
	json_array_foreach(array, i, v) {
		snprintf(where, sizeof(where), "%s[%zu]", s->name, i);
		at(r, ": %s", where);
		item = vmcfg_list_add(s, r->cfg, r->path, r->errors);
		if (!item)
			return;
		read_object(r, s, item, where, v);
	}
}

static void read_section(struct reader *r, const struct vmcfg_section *s, json_t *v)
{
	if (json_is_null(v))
		return; /* the same as absence */
	switch (s->kind) {
	case VMCFG_LIST:
		read_list(r, s, v);
		break;
	case VMCFG_VALUE:
		at(r, ": %s", s->name);
		vmcfg_row_set_json(&s->rows[0], r->cfg, v, r->path, r->errors);
		break;
	case VMCFG_PRESENCE:
		*vmcfg_doc_present(s, r->cfg) = true;
		read_object(r, s, r->cfg, s->name, v);
		break;
	default:
		read_object(r, s, r->cfg, s->name, v);
		break;
	}
}

static void read_document(struct reader *r, json_t *document)
{
	const char *key;
	json_t *v;

	if (!json_is_object(document)) {
		vmcfg_error(r->errors, r->name, "must hold a JSON object, not an array");
		return;
	}
	r->cfg->entropy = false;
	json_object_foreach(document, key, v) {
		const struct vmcfg_section *s = vmcfg_doc_section(key);

		if (s && s->kind != VMCFG_LAUNCH) {
			read_section(r, s, v);
			continue;
		}
		at(r, ": %s", key);
		unknown_key(r, NULL, key);
	}
	if (!r->cfg->cmdline && json_object_get(document, "boot-source"))
		vmcfg_row_set_string(&r->cfg->cmdline, vmcfg_doc_cmdline_firecracker, r->errors);
	vmcfg_disk_settle(r->cfg, r->errors);
	vmcfg_net_settle(r->cfg, r->errors);
	vmcfg_list_name(vmcfg_doc_section("pmem"), r->cfg, r->errors);
}

void vmcfg_json(struct vm_config *cfg, const char *text, size_t len, const char *name,
	struct vmcfg_errors *errors)
{
	struct reader r = { .cfg = cfg, .name = name, .errors = errors, .path = "" };
	size_t errors_before = errors->n;
	json_error_t fault;
	json_t *document;

	if (len > LIMIT_CONFIG_BYTES) {
		vmcfg_error(errors, name, "is larger than %d bytes", LIMIT_CONFIG_BYTES);
		cfg->partial = true;
		return;
	}
	document = json_loadb(text, len, JSON_REJECT_DUPLICATES, &fault);
	if (document) {
		read_document(&r, document);
		json_decref(document);
	} else {
		at(&r, ":%d:%d", fault.line, MAX(fault.column, 0));
		vmcfg_error(errors, r.path, "%s", fault.text);
	}
	if (errors->n != errors_before)
		cfg->partial = true;
}
