/* SPDX-License-Identifier: Apache-2.0 */
/* Session tokens, see mmds-token.h. */
#include "mmds-token.h"

#include <errno.h>
#include <sodium/crypto_shorthash_siphash24.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "num.h"

#define SERIAL_AT 8
#define TAG_AT	  14
#define TAG_BYTES crypto_shorthash_siphashx24_BYTES
#define RAW_BYTES (TAG_AT + TAG_BYTES)

static_assert(MMDS_TOKEN_KEY == crypto_shorthash_siphashx24_KEYBYTES, "");
static_assert(RAW_BYTES % 3 == 0 && MMDS_TOKEN_TEXT == RAW_BYTES / 3 * 4, ""); /* no padding */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int mmds_token_init(struct mmds_token *t, const char *id, struct volt_err *err)
{
	t->issued = 0;
	snprintf(t->id, sizeof(t->id), "%s", id);
	if (getrandom(t->key, sizeof(t->key), 0) == sizeof(t->key))
		return 0;
	return volt_err_set(err, errno ? errno : EIO, "a key for MMDS tokens: getrandom: %m");
}

/* Of what stands before the tag, and the id. */
static void sign(const struct mmds_token *t, const uint8_t *raw, uint8_t tag[TAG_BYTES])
{
	uint8_t message[TAG_AT + sizeof(t->id)];
	size_t n = strlen(t->id);

	memcpy(message, raw, TAG_AT);
	memcpy(message + TAG_AT, t->id, n);
	crypto_shorthash_siphashx24(tag, message, TAG_AT + n, t->key);
}

static void encode(const uint8_t *raw, char *text)
{
	for (size_t i = 0; i < RAW_BYTES; i += 3) {
		unsigned v = (unsigned)(raw[i] << 16 | raw[i + 1] << 8 | raw[i + 2]);

		for (int shift = 18; shift >= 0; shift -= 6)
			*text++ = digits[v >> shift & 63];
	}
	*text = '\0';
}

/* text is MMDS_TOKEN_TEXT characters long. False: it is not base64. */
static bool decode(const char *text, uint8_t *raw)
{
	for (size_t i = 0; i < RAW_BYTES; i += 3) {
		unsigned v = 0;

		for (int k = 0; k < 4; k++) {
			const char *digit = strchr(digits, *text++);

			if (!digit)
				return false;
			v = v << 6 | (unsigned)(digit - digits);
		}
		raw[i] = (uint8_t)(v >> 16);
		raw[i + 1] = (uint8_t)(v >> 8);
		raw[i + 2] = (uint8_t)v;
	}
	return true;
}

/* In a time that does not depend on where they differ. */
static bool same(const uint8_t a[TAG_BYTES], const uint8_t b[TAG_BYTES])
{
	volatile uint8_t difference = 0;

	for (size_t i = 0; i < TAG_BYTES; i++)
		difference |= a[i] ^ b[i];
	return difference == 0;
}

void mmds_token_issue(struct mmds_token *t, unsigned ttl_s, uint64_t now_ns,
	char ret[MMDS_TOKEN_TEXT + 1])
{
	uint8_t raw[RAW_BYTES], serial[8];

	num_put_le64(raw, now_ns + ttl_s * NSEC_PER_SEC);
	num_put_le64(serial, ++t->issued);
	memcpy(raw + SERIAL_AT, serial, TAG_AT - SERIAL_AT);
	sign(t, raw, raw + TAG_AT);
	encode(raw, ret);
}

bool mmds_token_valid(const struct mmds_token *t, const char *text, uint64_t now_ns)
{
	uint8_t raw[RAW_BYTES], tag[TAG_BYTES];

	if (strlen(text) != MMDS_TOKEN_TEXT || !decode(text, raw))
		return false;
	sign(t, raw, tag);
	return same(tag, raw + TAG_AT) && num_get_le64(raw) > now_ns;
}
