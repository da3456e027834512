/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines as Firecracker and its jailer read them: "--name value" and nothing else, "--" ends
 * them, and each mistake has its text. Main thread; no state.
 */
#ifndef VOLT_FCARGS_H
#define VOLT_FCARGS_H

#include <stdbool.h>

#include "err.h"

#define FCARGS_VALUES_MAX 24 /* of one argument that may be repeated */

struct fcargs_flag {
	const char *name; /* without the dashes */
	bool has_value, required, repeated;
	const char *excludes, *needs; /* names of others; NULL: none */
	const char *help;
};

struct fcargs_value {
	size_t n;				   /* times it was given */
	const char *text[FCARGS_VALUES_MAX]; /* of those with a value; borrowed from argv */
};

/*
 * values has an entry per flag. *ret_rest is what follows "--", argv[argc] if nothing does.
 * -EINVAL: err holds the text. A flag "help" or "version" wins over every mistake: then only these
 * are filled in.
 */
int fcargs_parse(const struct fcargs_flag *flags, size_t n_flags, int argc, char **argv,
	struct fcargs_value *values, char ***ret_rest, struct volt_err *err);

/* The value of a flag, the last one if it was repeated; NULL: not given. "" without a value. */
const char *fcargs_get(const struct fcargs_flag *flags, size_t n_flags,
	const struct fcargs_value *values, const char *name);

#endif
