/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session tokens of the metadata service. Nothing is kept of them: a token is the base64 of
 *
 *	expiry (8 bytes), serial number (6 bytes), SipHash-2-4 of both and the VM's id (16 bytes)
 *
 * under a key that is drawn at the start of the process. So a guest cannot make or prolong one, one
 * of another VM is worth nothing, and none survives the process. See docs/adr/0011. Loop thread.
 */
#ifndef VOLT_MMDS_TOKEN_H
#define VOLT_MMDS_TOKEN_H

#include <stdbool.h>

#include "err.h"
#include "limit.h"

#define MMDS_TOKEN_TTL_MAX 21600 /* seconds; the minimum is 1 */
#define MMDS_TOKEN_TEXT	   40	 /* characters; Firecracker's promise is at most 70 */
#define MMDS_TOKEN_KEY	   16

struct mmds_token {
	uint8_t key[MMDS_TOKEN_KEY];
	char id[LIMIT_ID + 1]; /* of the VM */
	uint64_t issued;
};

/* Draws the key: before the sandbox. */
int mmds_token_init(struct mmds_token *t, const char *id, struct volt_err *err);

/* ttl_s is in range. */
void mmds_token_issue(struct mmds_token *t, unsigned ttl_s, uint64_t now_ns,
	char ret[MMDS_TOKEN_TEXT + 1]);

/* text is the guest's. */
bool mmds_token_valid(const struct mmds_token *t, const char *text, uint64_t now_ns);

#endif
