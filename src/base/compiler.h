/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes and the few macros that the whole tree uses. Any thread; no state.
 */
#ifndef VOLT_COMPILER_H
#define VOLT_COMPILER_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_CHECK	       __attribute__((warn_unused_result))
#define UNUSED		       __attribute__((unused))
#define NORETURN	       __attribute__((noreturn))
#define PACKED		       __attribute__((packed))

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Refuses a pointer: for one, the two types are the same and the bit-field width is negative. */
#define ARRAY_SIZE(a)                                                                              \
	(sizeof(a) / sizeof((a)[0]) +                                                              \
		0 * sizeof(struct {                                                                \
			int not_an_array : 1 - 2 * __builtin_types_compatible_p(                   \
							   __typeof__(a), __typeof__(&(a)[0]));    \
		}))

#define container_of(ptr, type, member)                                                            \
	((type *)(void *)((char *)(uintptr_t)(ptr)-offsetof(type, member)))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* x rounded up to a multiple of the power of two a. The caller knows that it does not overflow. */
#define ALIGN_UP(x, a) (((x) + ((__typeof__(x))(a)-1)) & ~((__typeof__(x))(a)-1))
#define IS_POW2(x)     ((x) != 0 && ((x) & ((x)-1)) == 0)

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define NSEC_PER_SEC  UINT64_C(1000000000)
#define NSEC_PER_MSEC UINT64_C(1000000)

#endif
