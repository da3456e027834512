/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of the configuration while it is put together, see vmcfg-list.h. */
#include "vmcfg-list.h"

#include <string.h>

#include "vmcfg-row.h"

static size_t *counter(const struct vmcfg_section *s, struct vm_config *cfg)
{
	return (size_t *)(void *)((char *)cfg + s->list->count);
}

static void *slot(const struct vmcfg_section *s, struct vm_config *cfg, size_t i)
{
	return (char *)cfg + s->list->items + i * s->list->item_bytes;
}

size_t vmcfg_list_count(const struct vmcfg_section *s, const struct vm_config *cfg)
{
	return *(const size_t *)(const void *)((const char *)cfg + s->list->count);
}

const void *vmcfg_list_item(const struct vmcfg_section *s, const struct vm_config *cfg, size_t i)
{
	return (const char *)cfg + s->list->items + i * s->list->item_bytes;
}

const char *vmcfg_list_id(const struct vmcfg_section *s, const struct vm_config *cfg, size_t i)
{
	const char *item = vmcfg_list_item(s, cfg, i);

	return *(char *const *)(const void *)(item + s->rows[0].offset);
}

void *vmcfg_list_add(const struct vmcfg_section *s, struct vm_config *cfg, const char *path,
	struct vmcfg_errors *errors)
{
	size_t *n = counter(s, cfg);
	void *item = slot(s, cfg, *n);

	if (*n == s->list->max) {
		vmcfg_error(errors, path, "is one %s too many; the maximum is %zu", s->list->what,
			s->list->max);
		return NULL;
	}
	(*n)++;
	vmcfg_item_default(s->name, item);
	return item;
}

void vmcfg_item_default(const char *section, void *item)
{
	const struct vmcfg_section *s = vmcfg_doc_section(section);

	memset(item, 0, s->list->item_bytes);
	for (size_t i = 0; i < s->n_rows; i++)
		vmcfg_row_default(&s->rows[i], item);
}

void vmcfg_item_done(const char *section, void *item)
{
	const struct vmcfg_section *s = vmcfg_doc_section(section);

	for (size_t i = 0; i < s->n_rows; i++)
		vmcfg_row_done(&s->rows[i], item);
	memset(item, 0, s->list->item_bytes);
}

static bool taken(const struct vmcfg_section *s, const struct vm_config *cfg, const char *id)
{
	for (size_t i = 0; i < vmcfg_list_count(s, cfg); i++) {
		const char *other = vmcfg_list_id(s, cfg, i);

		if (other && strcmp(other, id) == 0)
			return true;
	}
	return false;
}

void vmcfg_list_name(const struct vmcfg_section *s, struct vm_config *cfg,
	struct vmcfg_errors *errors)
{
	size_t count = vmcfg_list_count(s, cfg);
	char id[32];

	for (size_t i = 0; i < count; i++) {
		if (vmcfg_list_id(s, cfg, i))
			continue;
		for (size_t n = i; n < i + s->list->max; n++) {
			snprintf(id, sizeof(id), "%s%zu", s->list->prefix, n);
			if (!taken(s, cfg, id))
				break;
		}
		vmcfg_row_set_text(&s->rows[0], slot(s, cfg, i), id, s->name, errors);
	}
}

void vmcfg_list_done(const struct vmcfg_section *s, struct vm_config *cfg)
{
	size_t *n = counter(s, cfg);

	for (size_t i = 0; i < *n; i++)
		vmcfg_item_done(s->name, slot(s, cfg, i));
	*n = 0;
}
