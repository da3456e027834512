/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines of Firecracker, see fcargs.h. */
#include "fcargs.h"

#include <errno.h>
#include <string.h>

static size_t find(const struct fcargs_flag *flags, size_t n_flags, const char *name)
{
	size_t i = 0;

	while (i < n_flags && strcmp(flags[i].name, name) != 0)
		i++;
	return i;
}

/* The flag that a word names; n_flags: none. */
static size_t flag_of(const struct fcargs_flag *flags, size_t n_flags, const char *word)
{
	if (strcmp(word, "-h") == 0)
		return find(flags, n_flags, "help");
	return strncmp(word, "--", 2) == 0 ? find(flags, n_flags, word + 2) : n_flags;
}

/* True if one that wins over everything else is there. */
static bool wins(const struct fcargs_flag *flags, size_t n_flags, char **argv,
	struct fcargs_value *values)
{
	for (char **a = argv + 1; *a && strcmp(*a, "--") != 0; a++) {
		size_t f = flag_of(flags, n_flags, *a);

		if (f == n_flags || (strcmp(flags[f].name, "help") != 0 &&
					    strcmp(flags[f].name, "version") != 0))
			continue;
		values[f].n = 1;
		return true;
	}
	return false;
}

static int take(const struct fcargs_flag *flags, size_t n_flags, char ***at,
	struct fcargs_value *values, struct volt_err *err)
{
	const char *word = **at, *bare = strncmp(word, "--", 2) == 0 ? word + 2 : word;
	size_t f = flag_of(flags, n_flags, word);
	struct fcargs_value *v = &values[f];

	if (f == n_flags)
		return volt_err_set(err, EINVAL,
			"Found argument '%s' which wasn't expected, or isn't valid in this "
			"context.", bare);
	if (v->n && (!flags[f].repeated || v->n == FCARGS_VALUES_MAX))
		return volt_err_set(err, EINVAL, "The argument '%s' was provided more than once.",
			flags[f].name);
	if (flags[f].has_value) {
		const char *value = (*at)[1];

		if (!value || strncmp(value, "--", 2) == 0)
			return volt_err_set(err, EINVAL,
				"The argument '%s' requires a value, but none was supplied.",
				flags[f].name);
		v->text[v->n] = value;
		(*at)++;
	}
	v->n++;
	(*at)++;
	return 0;
}

static int judge(const struct fcargs_flag *flags, size_t n_flags,
	const struct fcargs_value *values, struct volt_err *err)
{
	for (size_t i = 0; i < n_flags; i++) {
		const struct fcargs_flag *f = &flags[i];

		if (f->required && !values[i].n)
			return volt_err_set(err, EINVAL, "Argument '%s' required, but not found.",
				f->name);
		if (values[i].n && f->needs && !values[find(flags, n_flags, f->needs)].n)
			return volt_err_set(err, EINVAL, "Argument '%s' required, but not found.",
				f->needs);
		if (values[i].n && f->excludes && values[find(flags, n_flags, f->excludes)].n)
			return volt_err_set(err, EINVAL,
				"Argument '%s' cannot be used together with argument '%s'.",
				f->excludes, f->name);
	}
	return 0;
}

int fcargs_parse(const struct fcargs_flag *flags, size_t n_flags, int argc, char **argv,
	struct fcargs_value *values, char ***ret_rest, struct volt_err *err)
{
	char **at = argv + (argc > 0);

	memset(values, 0, n_flags * sizeof(*values));
	*ret_rest = argv + argc;
	if (argc < 1 || wins(flags, n_flags, argv, values))
		return 0;
	while (*at && strcmp(*at, "--") != 0) {
		int r = take(flags, n_flags, &at, values, err);

		if (r < 0)
			return r;
	}
	if (*at)
		*ret_rest = at + 1;
	return judge(flags, n_flags, values, err);
}

const char *fcargs_get(const struct fcargs_flag *flags, size_t n_flags,
	const struct fcargs_value *values, const char *name)
{
	size_t f = find(flags, n_flags, name);

	if (f == n_flags || !values[f].n)
		return NULL;
	return flags[f].has_value ? values[f].text[values[f].n - 1] : "";
}
