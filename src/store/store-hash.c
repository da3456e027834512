/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes and checksums, see store-hash.h. */
#include "store-hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "num.h"

struct store_hasher {
	EVP_MD *md; /* fetched once: a fetch for each unit would cost more than its hash */
	EVP_MD_CTX *ctx;
};

int store_hasher_new(struct store_hasher **ret, struct volt_err *err)
{
	struct store_hasher *h = calloc(1, sizeof(*h));

	if (!h)
		return volt_err_set(err, ENOMEM, "no memory for a hasher");
	h->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	h->ctx = EVP_MD_CTX_new();
	if (!h->md || !h->ctx) {
		store_hasher_free(h);
		return volt_err_set(err, ENOTSUP,
			"libcrypto offers no SHA-256: look at the "
			"configuration of OpenSSL (openssl.cnf)");
	}
	*ret = h;
	return 0;
}

void store_hasher_free(struct store_hasher *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	EVP_MD_free(h->md);
	free(h);
}

int store_hash_begin(struct store_hasher *h)
{
	return EVP_DigestInit_ex2(h->ctx, h->md, NULL) == 1 ? 0 : -ENOMEM;
}

int store_hash_add(struct store_hasher *h, const void *data, size_t len)
{
	return EVP_DigestUpdate(h->ctx, data, len) == 1 ? 0 : -ENOMEM;
}

int store_hash_end(struct store_hasher *h, struct store_id *ret)
{
	return EVP_DigestFinal_ex(h->ctx, ret->b, NULL) == 1 ? 0 : -ENOMEM;
}

int store_hash(struct store_hasher *h, const void *data, size_t len, struct store_id *ret)
{
	int r = store_hash_begin(h);

	if (r == 0)
		r = store_hash_add(h, data, len);
	return r < 0 ? r : store_hash_end(h, ret);
}

bool store_id_is_zero(const struct store_id *id)
{
	static const struct store_id zero;

	return memcmp(id, &zero, sizeof(zero)) == 0;
}

bool store_id_same(const struct store_id *a, const struct store_id *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

void store_id_text(const struct store_id *id, char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < STORE_ID_BYTES; i++) {
		text[2 * i] = digits[id->b[i] >> 4];
		text[2 * i + 1] = digits[id->b[i] & 15];
	}
	text[STORE_ID_HEX] = '\0';
}

int store_id_parse(const char *text, struct store_id *ret)
{
	struct store_id id = { { 0 } };

	for (size_t i = 0; i < STORE_ID_HEX; i++) {
		unsigned d;

		if (text[i] >= '0' && text[i] <= '9')
			d = (unsigned)(text[i] - '0');
		else if (text[i] >= 'a' && text[i] <= 'f')
			d = (unsigned)(text[i] - 'a') + 10;
		else
			return -EINVAL;
		id.b[i / 2] = (uint8_t)((unsigned)id.b[i / 2] << 4 | d);
	}
	*ret = id;
	return 0;
}

bool store_zero(const void *data, size_t len)
{
	const uint64_t *p = data;

	for (size_t i = 0; i < len / 8; i += 8)
		if (p[i] | p[i + 1] | p[i + 2] | p[i + 3] | p[i + 4] | p[i + 5] | p[i + 6] |
			p[i + 7])
			return false;
	return true;
}
