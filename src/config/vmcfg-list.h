/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists of the configuration (disks, interfaces) while it is put together, whatever their items
 * are: a section of kind VMCFG_LIST says where they lie. Private to src/config and its tests. Main
 * thread.
 */
#ifndef VOLT_VMCFG_LIST_H
#define VOLT_VMCFG_LIST_H

#include "vmcfg-doc.h"

size_t vmcfg_list_count(const struct vmcfg_section *s, const struct vm_config *cfg);
const void *vmcfg_list_item(const struct vmcfg_section *s, const struct vm_config *cfg, size_t i);

/* The id of item i; NULL if it has none (yet). */
const char *vmcfg_list_id(const struct vmcfg_section *s, const struct vm_config *cfg, size_t i);

/* A new item with the document's defaults; NULL (reported at path) if the list is full. */
void *vmcfg_list_add(const struct vmcfg_section *s, struct vm_config *cfg, const char *path,
	struct vmcfg_errors *errors);

/* Gives ids to items that have none: "disk0", or the next number that is free. */
void vmcfg_list_name(const struct vmcfg_section *s, struct vm_config *cfg,
	struct vmcfg_errors *errors);

/* Empties the list. */
void vmcfg_list_done(const struct vmcfg_section *s, struct vm_config *cfg);

#endif
