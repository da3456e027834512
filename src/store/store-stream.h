/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of export and import: what both sides of it have in common. For the store.
 *
 * Head, records, and in the last record the hash of all before that hash. Little endian:
 *	head	"STLE", version u16, hash algorithm u8, 0 u8, id of the manifest [32]
 *	record	type u32, region or blob u32, unit u64, bytes u64; then so many bytes
 */
#ifndef VOLT_STORE_STREAM_H
#define VOLT_STORE_STREAM_H

#include "store-core.h"

#define STORE_STREAM_MAGIC   "STLE"
#define STORE_STREAM_VERSION 1u
#define STORE_STREAM_HEAD    40u
#define STORE_STREAM_RECORD  24u

/* In this order: all blobs, then for each region its image, then its delta; by the manifest. */
enum store_stream_type {
	STORE_STREAM_MANIFEST = 1,
	STORE_STREAM_BLOB,
	STORE_STREAM_IMAGE, /* units of the image, none of zeros, at most STORE_CHUNK bytes */
	STORE_STREAM_DELTA, /* the same of the delta */
	STORE_STREAM_END,
};

struct store_stream_record {
	uint32_t type, region;
	uint64_t unit, len;
};

#endif
