/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row of the configuration's tables and the value it stands for: default, from JSON, from text,
 * to JSON, check. `base` is the struct that the row's offset belongs to. Private to src/config and
 * its tests. Main thread; no state.
 */
#ifndef VOLT_VMCFG_ROW_H
#define VOLT_VMCFG_ROW_H

#include "vmcfg-doc.h"

void vmcfg_row_default(const struct vmcfg_row *row, void *base);

/* Store a value, or report `path` and leave the field as it is. True if it was stored. */
bool vmcfg_row_set_json(const struct vmcfg_row *row, void *base, const json_t *v, const char *path,
	struct vmcfg_errors *errors);
bool vmcfg_row_set_text(const struct vmcfg_row *row, void *base, const char *text, const char *path,
	struct vmcfg_errors *errors);

/* Appends one of several words; as above. */
bool vmcfg_row_add_word(const struct vmcfg_row *row, void *base, const char *word, const char *path,
	struct vmcfg_errors *errors);

/* Gives up what the value owns. */
void vmcfg_row_done(const struct vmcfg_row *row, void *base);

/* Replaces an owned string; only counts an error if there is no memory. */
bool vmcfg_row_set_string(char **field, const char *text, struct vmcfg_errors *errors);

/* A new reference; NULL also for an absent value, see vmcfg_row_absent(); not for an object. */
json_t *vmcfg_row_to_json(const struct vmcfg_row *row, const void *base);

/* True for what is left out of a dump: an absent value, and what is not stored. */
bool vmcfg_row_absent(const struct vmcfg_row *row, const void *base);

/*
 * False for an object that is not there: of kind VMCFG_OPTIONAL if a row that it requires has no
 * value, of kind VMCFG_PRESENCE if its flag is off.
 */
bool vmcfg_row_present(const struct vmcfg_section *s, const struct vm_config *cfg);

/* Reports a stored value that the row would not have taken, at "where.key". */
void vmcfg_row_check(const struct vmcfg_row *row, const void *base, const char *where,
	struct vmcfg_errors *errors);

/* "a whole number from 1 to 32": what the row accepts. */
void vmcfg_row_accepts(const struct vmcfg_row *row, char *buf, size_t size);

/* True if text is UTF-8 without control characters, as every string of the configuration is. */
bool vmcfg_row_text_ok(const char *text);

/* The number of insertions, deletions and replacements between two words; for "did you mean". */
unsigned vmcfg_row_distance(const char *a, const char *b);

#endif
