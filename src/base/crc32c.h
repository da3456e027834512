/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C (Castagnoli, reflected polynomial 0x82f63b78, initial value and final XOR of all ones;
 * RFC 3720, B.4), by the processor's instruction where it has one. Finds damage, not malice. Any
 * thread; no state.
 */
#ifndef VOLT_CRC32C_H
#define VOLT_CRC32C_H

#include "compiler.h"

/* Of `len` more bytes: crc is 0 at first, then what the call before returned. */
uint32_t crc32c_add(uint32_t crc, const void *data, size_t len);
/* The same without the instruction; for processors without it, and for tests. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
