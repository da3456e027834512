/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzzer gives, taken byte by byte; zeros behind its end. */
#ifndef VOLT_FUZZ_INPUT_H
#define VOLT_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

struct input {
	const uint8_t *p;
	size_t left;
};

static inline uint8_t take(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->p++;
}

static inline uint16_t take16(struct input *in)
{
	uint16_t low = take(in);

	return (uint16_t)(low | take(in) << 8);
}

#endif
