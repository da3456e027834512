/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the metadata service answers to the guest's requests: paths, tokens, formats, and
 * Firecracker's words. No I/O. Loop thread.
 */
#ifndef VOLT_MMDS_HTTP_H
#define VOLT_MMDS_HTTP_H

#include "http.h"
#include "mmds.h"

/* *resp is all zero; what it borrows is valid until the next call. */
void mmds_http_serve(struct mmds *m, const struct http_request *req, uint64_t now_ns,
	struct http_response *resp);

/* The answer to what http_parser_fault() says. */
void mmds_http_fault(const char *fault, struct http_response *resp);

#endif
