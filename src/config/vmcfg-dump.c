/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole configuration as a document, in the order of the tables and with every default written
 * out. Reading it and dumping again gives the same bytes. Main thread.
 */
#include "cleanup.h"
#include "vmcfg-list.h"
#include "vmcfg-row.h"

static void decref(json_t **v)
{
	json_decref(*v);
}

/* NULL if there is no memory. */
static json_t *object_of(const struct vmcfg_section *s, const void *base)
{
	_cleanup_(decref) json_t *object = json_object();

	for (size_t i = 0; i < s->n_rows; i++) {
		const struct vmcfg_row *row = &s->rows[i];
		json_t *v;

		if (vmcfg_row_absent(row, base))
			continue;
		if (row->type == VMCFG_NESTED)
			v = object_of(row->object, (const char *)base + row->offset);
		else
			v = vmcfg_row_to_json(row, base);
		if (json_object_set_new(object, row->key, v) < 0)
			return NULL;
	}
	return take_ptr(&object);
}

static json_t *array_of(const struct vmcfg_section *s, const struct vm_config *cfg)
{
	_cleanup_(decref) json_t *array = json_array();

	for (size_t i = 0; i < vmcfg_list_count(s, cfg); i++)
		if (json_array_append_new(array, object_of(s, vmcfg_list_item(s, cfg, i))) < 0)
			return NULL;
	return take_ptr(&array);
}

static bool left_out(const struct vmcfg_section *s, const struct vm_config *cfg)
{
	return s->kind == VMCFG_LAUNCH || !vmcfg_row_present(s, cfg);
}

static json_t *document_of(const struct vm_config *cfg)
{
	_cleanup_(decref) json_t *document = json_object();

	for (size_t i = 0; i < vmcfg_doc_n_sections; i++) {
		const struct vmcfg_section *s = &vmcfg_doc_sections[i];
		json_t *v;

		if (left_out(s, cfg))
			continue;
		v = s->kind == VMCFG_LIST    ? array_of(s, cfg)
			: s->kind == VMCFG_VALUE ? vmcfg_row_to_json(&s->rows[0], cfg)
						 : object_of(s, cfg);
		if (json_object_set_new(document, s->name, v) < 0)
			return NULL;
	}
	return take_ptr(&document);
}

int vmcfg_dump(const struct vm_config *cfg, FILE *out)
{
	_cleanup_(decref) json_t *document = document_of(cfg);

	if (!document)
		return -ENOMEM;
	if (json_dumpf(document, out, JSON_INDENT(2)) < 0 || fputc('\n', out) == EOF)
		return -EIO;
	return 0;
}
