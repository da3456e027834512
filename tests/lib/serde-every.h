/* SPDX-License-Identifier: Apache-2.0 */
/* A description that has every kind of field, for the test and the fuzz target of serde. */
#ifndef VOLT_SERDE_EVERY_H
#define VOLT_SERDE_EVERY_H

#include "serde.h"

static const char *const serde_every_two[] = { "A", "B", NULL };
static const char *const serde_every_three[] = { "Unsafe", "Writeback", "2M", NULL };
static const char *const serde_every_one[] = { "Only", NULL };

static const struct serde_field serde_every_bucket_fields[] = {
	{ "size", { SERDE_U64 }, .required = true },
	{ "one_time_burst", { SERDE_U64 } },
	{ "refill_time", { SERDE_U64 }, .required = true },
};
/* Takes unknown fields. */
static const struct serde_object serde_every_bucket = { "Loose", false, serde_every_bucket_fields,
	3 };

static const struct serde_field serde_every_pair_fields[] = {
	{ "bandwidth", { SERDE_OBJECT, .object = &serde_every_bucket } },
	{ "ops", { SERDE_OBJECT, .object = &serde_every_bucket } },
};
static const struct serde_object serde_every_pair = { "Pair", true, serde_every_pair_fields, 2 };

/* Half a MAC address. */
static inline const char *serde_every_judge(const char *text)
{
	return *text == '0' ? NULL : "The provided MAC address is invalid.";
}

static const struct serde_type serde_every_string = { SERDE_STRING };
static const struct serde_type serde_every_mac = { SERDE_STRING, .judge = serde_every_judge };
static const struct serde_type serde_every_pair_type = { SERDE_OBJECT,
	.object = &serde_every_pair };

static const struct serde_field serde_every_fields[] = {
	{ "text", { SERDE_STRING }, .required = true },
	{ "flag", { SERDE_BOOL }, .required = true },
	{ "b", { SERDE_U8 } },
	{ "w", { SERDE_U16 } },
	{ "d", { SERDE_U32 } },
	{ "q", { SERDE_U64 } },
	{ "n", { SERDE_USIZE } },
	{ "path", { SERDE_PATH } },
	{ "ip", { SERDE_IPV4 } },
	{ "mac", { SERDE_STRING, .judge = serde_every_judge } },
	{ "two", { SERDE_ENUM, .names = serde_every_two } },
	{ "three", { SERDE_ENUM, .names = serde_every_three } },
	{ "one", { SERDE_ENUM, .names = serde_every_one } },
	{ "pair", { SERDE_OBJECT, .object = &serde_every_pair } },
	{ "loose", { SERDE_OBJECT, .object = &serde_every_bucket } },
	{ "words", { SERDE_LIST, .item = &serde_every_string } },
	{ "macs", { SERDE_LIST, .item = &serde_every_mac } },
	{ "pairs", { SERDE_LIST, .item = &serde_every_pair_type } },
	{ "map", { SERDE_MAP } },
	{ "any", { SERDE_ANY } },
	{ "volt", { SERDE_BOOL }, .ours = true },
	{ "smt", { SERDE_BOOL }, .not_null = true },
};
static const struct serde_object serde_every = { "Every", true, serde_every_fields,
	ARRAY_SIZE(serde_every_fields) };

#endif
