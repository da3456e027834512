/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flags as one table: it drives the parser, --help, and a test of the manual. A flag that
 * stands for a row of the document has its range and its meaning. Private to src/config and its
 * tests. Main thread; constant.
 */
#ifndef VOLT_VMCFG_OPTION_H
#define VOLT_VMCFG_OPTION_H

#include "vmcfg-doc.h"

enum vmcfg_group {
	VMCFG_GROUP_MACHINE,
	VMCFG_GROUP_DEVICES,
	VMCFG_GROUP_PROCESS,
	VMCFG_GROUP_LOG,
	VMCFG_GROUP_LAUNCH,
	VMCFG_N_GROUPS,
};

enum vmcfg_does {
	VMCFG_SET,	  /* the row section.key */
	VMCFG_DISK,	  /* may be repeated */
	VMCFG_NET,	  /* may be repeated */
	VMCFG_VSOCK,
	VMCFG_CONSOLE,	  /* auto, off, file:PATH */
	VMCFG_NO_ENTROPY,
	VMCFG_FILE,	  /* --config-file */
	VMCFG_NO_API,
	VMCFG_ACTION,	  /* `action` */
	VMCFG_REFUSE,	  /* Firecracker's, not here; help says why, --help does not show it */
};

struct vmcfg_option {
	const char *name; /* without the dashes */
	const char *arg;  /* NULL: takes none */
	const char *help; /* lines of a list in --help */
	enum vmcfg_group group;
	enum vmcfg_does does;
	const char *section, *key; /* of VMCFG_SET */
	enum vmcfg_action action;  /* of VMCFG_ACTION */
};

#define VMCFG_N_OPTIONS 45

extern const struct vmcfg_option vmcfg_option_table[VMCFG_N_OPTIONS];

/* The closest name to a misspelt one, or NULL. */
const char *vmcfg_option_guess(const char *name);

#endif
