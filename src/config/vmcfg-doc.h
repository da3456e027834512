/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration document as tables: a section is a top-level key or the object that a row
 * stands for, a row is a key in it. They drive the defaults, the JSON reader, the flags, the
 * checks, the dump, the end and a test of the manual, so that a key is written down once. Private
 * to src/config and its tests. Main thread; constant.
 */
#ifndef VOLT_VMCFG_DOC_H
#define VOLT_VMCFG_DOC_H

#include <jansson.h>

#include "vmcfg.h"

enum vmcfg_type {
	VMCFG_BOOL,   /* bool */
	VMCFG_NOT,    /* bool; the field means the opposite of the key */
	VMCFG_UINT,   /* unsigned */
	VMCFG_U16,    /* uint16_t */
	VMCFG_INT,    /* int; -1 is as large as UINT64_MAX */
	VMCFG_U64,    /* uint64_t */
	VMCFG_MIB,    /* uint64_t bytes, whole MiB; as a flag with an optional suffix */
	VMCFG_STRING, /* char *, owned; min and max are lengths in bytes */
	VMCFG_ENUM,   /* enum; an index into names */
	VMCFG_LEVEL,  /* enum log_level; any letter case */
	VMCFG_WORDS,  /* an array of texts; char *, owned: they are joined by blanks */
	VMCFG_JSON,   /* an object; char *, owned: its compact text */
	/* An object, or text: the path of a file that holds one; likewise its compact JSON text. */
	VMCFG_JSON_OR_PATH,
	VMCFG_NESTED, /* an object, `object` says of what kind, over the struct at offset */
	/* From here on nothing is stored. */
	VMCFG_IGNORED, /* a text that means nothing any more */
	/* Features of Firecracker that are not here: only the value that means "none" passes. */
	VMCFG_NO_OBJECT, /* null */
	VMCFG_NO_FLAG,	 /* null, false */
};

struct vmcfg_section;

struct vmcfg_row {
	const char *key;
	enum vmcfg_type type;
	bool required;
	bool optional; /* a number: def stands for absence */
	size_t offset; /* in struct vm_config, in the items of a list, or in a nested object */
	uint64_t min, max;
	uint64_t scale; /* field = key * scale; 0 is 1 */
	uint64_t def;
	const char *def_text;	   /* of a string; NULL: absent */
	const char *const *names; /* of an enum, up to NULL */
	/* Of a string or of each word: 0, or -errno and why it cannot be one. NULL: all can. */
	int (*judge)(const char *text, struct volt_err *err);
	const struct vmcfg_section *object; /* of VMCFG_NESTED */
	const char *doc;	   /* for the manual */
};

enum vmcfg_kind {
	VMCFG_OBJECT,
	VMCFG_OPTIONAL, /* an object that is there if what it requires is */
	VMCFG_LIST,	/* an array of objects, `list` says where they are; rows[0] is their id */
	VMCFG_PRESENCE, /* an object that switches a flag on by being there, `present` says where */
	VMCFG_VALUE,	/* no object of keys: rows[0], whose key is "", has the value */
	VMCFG_LAUNCH,	/* not in the document, only flags */
};

/* An array in struct vm_config, and the number of its items. */
struct vmcfg_list {
	size_t items, count; /* offsets; count is a size_t */
	size_t item_bytes, max;
	const char *what;   /* for messages: "disk" */
	const char *prefix; /* of the default ids */
};

struct vmcfg_section {
	const char *name;
	enum vmcfg_kind kind;
	const struct vmcfg_row *rows;
	size_t n_rows;
	const struct vmcfg_list *list; /* of VMCFG_LIST */
	size_t present;		       /* of VMCFG_PRESENCE: a bool in struct vm_config */
};

extern const struct vmcfg_section vmcfg_doc_sections[];
extern const size_t vmcfg_doc_n_sections;

/* What nested objects are: a rate limiter is of two token buckets. Not top-level keys. */
extern const struct vmcfg_section vmcfg_doc_limiter;
extern const struct vmcfg_section vmcfg_doc_bucket;

/* True if the rows' offsets are in struct vm_config. */
static inline bool vmcfg_doc_over_vm(const struct vmcfg_section *s)
{
	return s->kind == VMCFG_OBJECT || s->kind == VMCFG_OPTIONAL || s->kind == VMCFG_PRESENCE ||
		s->kind == VMCFG_VALUE || s->kind == VMCFG_LAUNCH;
}

/* Of VMCFG_PRESENCE. */
static inline bool *vmcfg_doc_present(const struct vmcfg_section *s, struct vm_config *cfg)
{
	return (bool *)(void *)((char *)cfg + s->present);
}

/* NULL if there is none. */
const struct vmcfg_section *vmcfg_doc_section(const char *name);
const struct vmcfg_row *vmcfg_doc_row(const struct vmcfg_section *s, const char *key);

/* What is used for boot_args if there is none: Firecracker's, and ours for the flags. */
extern const char vmcfg_doc_cmdline_firecracker[];
extern const char vmcfg_doc_cmdline_flags[];

#endif
