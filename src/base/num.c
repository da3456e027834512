/* SPDX-License-Identifier: Apache-2.0 */
/* Strict number parsing, see num.h. */
#include "num.h"

#include <stdbool.h>
#include <string.h>

/* Reads digits of `base` from *s on; at least one. Leaves *s behind the last digit. */
static int digits(const char **s, unsigned base, uint64_t *ret)
{
	const char *start = *s;
	uint64_t v = 0;

	for (;; (*s)++) {
		char c = **s;
		unsigned d;

		if (c >= '0' && c <= '9')
			d = (unsigned)(c - '0');
		else if (base == 16 && c >= 'a' && c <= 'f')
			d = (unsigned)(c - 'a') + 10;
		else if (base == 16 && c >= 'A' && c <= 'F')
			d = (unsigned)(c - 'A') + 10;
		else
			break;
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
			__builtin_add_overflow(v, (uint64_t)d, &v))
			return -ERANGE;
	}
	if (*s == start)
		return -EINVAL;
	*ret = v;
	return 0;
}

int num_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	unsigned base = 10;
	uint64_t v;
	int r;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		base = 16;
		s += 2;
	}
	r = digits(&s, base, &v);
	if (r < 0)
		return r;
	if (*s)
		return -EINVAL;
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int num_parse_size(const char *s, uint64_t unit, uint64_t *ret_bytes)
{
	static const struct {
		char upper, lower;
		unsigned shift;
	} suffixes[] = { { 'K', 'k', 10 }, { 'M', 'm', 20 }, { 'G', 'g', 30 }, { 'T', 't', 40 } };
	uint64_t v;
	int r;

	r = digits(&s, 10, &v);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		if (*s != suffixes[i].upper && *s != suffixes[i].lower)
			continue;
		unit = UINT64_C(1) << suffixes[i].shift;
		s++;
		if (strcmp(s, "iB") == 0)
			s += 2;
		break;
	}
	if (*s)
		return -EINVAL;
	if (__builtin_mul_overflow(v, unit, &v))
		return -ERANGE;
	*ret_bytes = v;
	return 0;
}
