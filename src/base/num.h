/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict number parsing and checked narrowing. Nothing is skipped, guessed or truncated: a string
 * is a number as a whole or it is an error. Any thread; no state.
 */
#ifndef VOLT_NUM_H
#define VOLT_NUM_H

#include <errno.h>

#include "compiler.h"

/* Decimal or 0x-hexadecimal, digits only. -EINVAL: not a number; -ERANGE: outside [min, max]. */
int num_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret);

/*
 * A size with an optional suffix K, M, G or T (powers of 1024, either case, "iB" allowed), in units
 * of `unit` bytes when there is no suffix; ret_bytes in bytes. -EINVAL, -ERANGE on overflow.
 */
int num_parse_size(const char *s, uint64_t unit, uint64_t *ret_bytes);

/* Narrowing that fails instead of cutting: 0 or -ERANGE. */
static inline int num_u16(uint64_t v, uint16_t *ret)
{
	if (v > UINT16_MAX)
		return -ERANGE;
	*ret = (uint16_t)v;
	return 0;
}

static inline int num_u32(uint64_t v, uint32_t *ret)
{
	if (v > UINT32_MAX)
		return -ERANGE;
	*ret = (uint32_t)v;
	return 0;
}

/* Little-endian loads and stores on bytes of any alignment. */
static inline uint16_t num_get_le16(const void *p)
{
	uint16_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t num_get_le32(const void *p)
{
	uint32_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t num_get_le64(const void *p)
{
	uint64_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

static inline void num_put_le16(void *p, uint16_t v)
{
	__builtin_memcpy(p, &v, sizeof(v));
}

static inline void num_put_le32(void *p, uint32_t v)
{
	__builtin_memcpy(p, &v, sizeof(v));
}

static inline void num_put_le64(void *p, uint64_t v)
{
	__builtin_memcpy(p, &v, sizeof(v));
}

/* The same, big-endian: the order of the network. */
static inline uint16_t num_get_be16(const void *p)
{
	return __builtin_bswap16(num_get_le16(p));
}

static inline uint32_t num_get_be32(const void *p)
{
	return __builtin_bswap32(num_get_le32(p));
}

static inline void num_put_be16(void *p, uint16_t v)
{
	num_put_le16(p, __builtin_bswap16(v));
}

static inline void num_put_be32(void *p, uint32_t v)
{
	num_put_le32(p, __builtin_bswap32(v));
}

#endif
