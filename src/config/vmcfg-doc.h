/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration document as tables: a section is a top-level key, a row is a key in it. They
 * drive the defaults, the JSON reader, the flags, the checks, the dump and a test of the manual, so
 * that a key is written down once. Private to src/config and its tests. Main thread; constant.
 */
#ifndef VOLT_VMCFG_DOC_H
#define VOLT_VMCFG_DOC_H

#include <jansson.h>

#include "vmcfg.h"

enum vmcfg_type {
	VMCFG_BOOL,   /* bool */
	VMCFG_NOT,    /* bool; the field means the opposite of the key */
	VMCFG_UINT,   /* unsigned */
	VMCFG_U64,    /* uint64_t */
	VMCFG_MIB,    /* uint64_t bytes, whole MiB; as a flag with an optional suffix */
	VMCFG_STRING, /* char *, owned; min and max are lengths in bytes */
	VMCFG_ENUM,   /* enum; an index into names */
	VMCFG_LEVEL,  /* enum log_level; any letter case */
	/* Features of Firecracker that are not here: only the value that means "none" passes. */
	VMCFG_NO_OBJECT, /* null */
	VMCFG_NO_LIST,	 /* null, [] */
	VMCFG_NO_FLAG,	 /* null, false */
	VMCFG_NO_CHOICE, /* null, "None" */
};

struct vmcfg_row {
	const char *key;
	enum vmcfg_type type;
	bool required;
	size_t offset; /* in struct vm_config, or in struct disk_config for drives */
	uint64_t min, max;
	uint64_t scale; /* field = key * scale; 0 is 1 */
	uint64_t def;
	const char *def_text;	   /* of a string; NULL: absent */
	const char *const *names; /* of an enum, up to NULL */
	const char *doc;	   /* for the manual */
};

enum vmcfg_kind {
	VMCFG_OBJECT,
	VMCFG_DRIVES,	/* an array of objects over struct disk_config */
	VMCFG_PRESENCE, /* an object that switches `entropy` on by being there */
	VMCFG_LAUNCH,	/* not in the document, only flags */
	VMCFG_NONE,	/* not supported: rows[0] says what passes */
};

struct vmcfg_section {
	const char *name;
	enum vmcfg_kind kind;
	const struct vmcfg_row *rows;
	size_t n_rows;
};

extern const struct vmcfg_section vmcfg_doc_sections[];
extern const size_t vmcfg_doc_n_sections;

/* NULL if there is none. */
const struct vmcfg_section *vmcfg_doc_section(const char *name);
const struct vmcfg_row *vmcfg_doc_row(const struct vmcfg_section *s, const char *key);

/* What is used for boot_args if there is none: Firecracker's, and ours for the flags. */
extern const char vmcfg_doc_cmdline_firecracker[];
extern const char vmcfg_doc_cmdline_flags[];

#endif
