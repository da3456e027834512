/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identity (SHA-256) and plausibility (CRC-32C) of bytes, and the test for zeros. A hasher is for
 * one thread; the rest is for any thread and has no state.
 */
#ifndef VOLT_STORE_HASH_H
#define VOLT_STORE_HASH_H

#include <stdbool.h>

#include "err.h"

#define STORE_HASH_SHA256 1u /* the algorithm byte of every file */
#define STORE_ID_BYTES    32
#define STORE_ID_HEX      64

/* A hash. All bytes zero: that of a unit of zeros, which is never computed nor stored. */
struct store_id {
	uint8_t b[STORE_ID_BYTES];
};

struct store_hasher;

/* -ENOMEM, or -ENOTSUP if libcrypto has no SHA-256. */
int store_hasher_new(struct store_hasher **ret, struct volt_err *err);
void store_hasher_free(struct store_hasher *h);

/* Hash of len bytes. */
int store_hash(struct store_hasher *h, const void *data, size_t len, struct store_id *ret);
/* The same in parts: begin, any number of add, end. */
int store_hash_begin(struct store_hasher *h);
int store_hash_add(struct store_hasher *h, const void *data, size_t len);
int store_hash_end(struct store_hasher *h, struct store_id *ret);

bool store_id_is_zero(const struct store_id *id);
bool store_id_same(const struct store_id *a, const struct store_id *b);
/* text has room for STORE_ID_HEX + 1 bytes. */
void store_id_text(const struct store_id *id, char *text);
/* Exactly 64 lower-case digits at text, whatever follows; -EINVAL. */
int store_id_parse(const char *text, struct store_id *ret);

/* All len bytes are zero. len: a multiple of 64, data aligned to 8. */
bool store_zero(const void *data, size_t len);

#endif
