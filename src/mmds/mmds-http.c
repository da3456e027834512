/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of the guest to answers, see mmds-http.h. */
#include "mmds-http.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TOKEN_PATH "/latest/api/token"
#define TOKEN	   "X-metadata-token"
#define AWS_TOKEN  "X-aws-ec2-metadata-token"
#define TTL	   TOKEN "-ttl-seconds"
#define AWS_TTL	   AWS_TOKEN "-ttl-seconds"

/* Without memory for the words the status alone must do. */
static void answer(struct http_response *resp, int status, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
static void answer(struct http_response *resp, int status, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&resp->body, fmt, ap);
	va_end(ap);
	if (n < 0)
		resp->body = NULL;
	resp->body_len = n < 0 ? 0 : (size_t)n;
	resp->status = status;
	resp->content_type = "text/plain";
}

/* The first header with one of two names; NULL: none. */
static const struct http_header *header(const struct http_request *req, const char *a,
	const char *b)
{
	for (size_t i = 0; i < req->n_headers; i++)
		if (strcasecmp(req->headers[i].name, a) == 0 ||
			strcasecmp(req->headers[i].name, b) == 0)
			return &req->headers[i];
	return NULL;
}

/* The path with each run of slashes as one; malloc'd. */
static char *simplify(const char *path)
{
	char *simple = strdup(path), *to = simple;

	if (!simple)
		return NULL;
	for (const char *from = path; *from; from++)
		if (from[0] != '/' || from[1] != '/')
			*to++ = *from;
	*to = '\0';
	return simple;
}

static void get_value(const struct mmds *m, const struct http_request *req, const char *path,
	struct http_response *resp)
{
	bool imds = m->imds_compat || !req->accept_json;
	int r = mmds_store_get(&m->store, path, imds, &resp->body, &resp->body_len);

	switch (r) {
	case 0:
		resp->status = 200;
		resp->content_type = req->accept_json ? "application/json" : "text/plain";
		break;
	case -ENOENT:
		answer(resp, 404, "Resource not found: %s.", req->path);
		break;
	case -ENOTSUP:
		answer(resp, 501, "Cannot retrieve value. The value has an unsupported type.");
		break;
	default:
		answer(resp, 500, "Out of memory.");
	}
}

/* V1 looks at tokens only to count what V2 would refuse. */
static void get(struct mmds *m, const struct http_request *req, const char *path, uint64_t now_ns,
	struct http_response *resp)
{
	const struct http_header *token = header(req, TOKEN, AWS_TOKEN);

	if (!token) {
		atomic_fetch_add_explicit(&m->counters.rx_no_token, 1, memory_order_relaxed);
		if (m->v2) {
			answer(resp, 401,
				"No MMDS token provided. Use `" TOKEN "` or `" AWS_TOKEN
				"` header to specify the session token.");
			return;
		}
	} else if (!mmds_token_valid(&m->token, token->value, now_ns)) {
		atomic_fetch_add_explicit(&m->counters.rx_invalid_token, 1, memory_order_relaxed);
		if (m->v2) {
			answer(resp, 401, "MMDS token not valid.");
			return;
		}
	}
	get_value(m, req, path, resp);
}

/* As Rust reads a u32: decimal digits, a plus before them is allowed. */
static bool parse_u32(const char *text, uint32_t *ret)
{
	uint64_t v = 0;

	text += *text == '+';
	if (*text == '\0' || text[strspn(text, "0123456789")] != '\0')
		return false;
	for (; *text; text++) {
		v = 10 * v + (uint64_t)(*text - '0');
		if (v > UINT32_MAX)
			return false;
	}
	*ret = (uint32_t)v;
	return true;
}

static void put_token(struct mmds *m, const struct http_request *req, uint64_t now_ns,
	struct http_response *resp)
{
	const struct http_header *ttl = header(req, TTL, AWS_TTL);
	char token[MMDS_TOKEN_TEXT + 1];
	uint32_t ttl_s;

	if (!ttl) {
		answer(resp, 400,
			"Token time to live value not found. Use `" TTL "` or `" AWS_TTL
			"` header to specify the token's lifetime.");
	} else if (!parse_u32(ttl->value, &ttl_s)) {
		answer(resp, 400, "Invalid header. Reason: Invalid value. Key:%s; Value:%s",
			ttl->name, ttl->value);
	} else if (ttl_s < 1 || ttl_s > MMDS_TOKEN_TTL_MAX) {
		answer(resp, 400,
			"Invalid time to live value provided for token: %u. Please provide a value "
			"between 1 and %d.",
			ttl_s, MMDS_TOKEN_TTL_MAX);
	} else {
		mmds_token_issue(&m->token, ttl_s, now_ns, token);
		answer(resp, 200, "%s", token);
		snprintf(m->extra, sizeof(m->extra), "%s: %u\r\n", ttl->name, ttl_s);
		resp->extra = m->extra;
	}
}

static void put(struct mmds *m, const struct http_request *req, const char *path, uint64_t now_ns,
	struct http_response *resp)
{
	const struct http_header *proxy = header(req, "X-Forwarded-For", "X-Forwarded-For");

	/* A token is for who asked, so it must not have been asked for through a proxy. */
	if (proxy)
		answer(resp, 400, "Invalid header. Reason: Unsupported header name. Key: %s",
			proxy->name);
	else if (strcmp(path, TOKEN_PATH) != 0)
		answer(resp, 404, "Resource not found: %s.", req->path);
	else
		put_token(m, req, now_ns, resp);
}

void mmds_http_serve(struct mmds *m, const struct http_request *req, uint64_t now_ns,
	struct http_response *resp)
{
	char *path = simplify(req->path);

	if (!path) {
		answer(resp, 500, "Out of memory.");
	} else if (*path == '\0') {
		answer(resp, 400, "Invalid URI.");
	} else if (req->method == HTTP_GET) {
		get(m, req, path, now_ns, resp);
	} else if (req->method == HTTP_PUT) {
		put(m, req, path, now_ns, resp);
	} else {
		answer(resp, 405, "Not allowed HTTP method.");
		resp->allow = "GET, PUT";
	}
	free(path);
}

/* The statuses that Firecracker's guests get for a fault, by how its text begins. */
static const struct {
	const char *prefix;
	int status;
	bool keep; /* the prefix is a part of the answer */
	const char *text; /* instead of what the fault says; NULL: as it is */
} faults[] = {
	{ "Invalid HTTP Method: ", 501, false, NULL },
	{ "Invalid HTTP Version: ", 501, false, NULL },
	{ "Invalid URI: ", 400, false, NULL },
	/* No request here has a body, so there is no limit to tell of: see mmds-tcp.c. */
	{ "Request payload ", 400, true, "Invalid request." },
	{ "", 400, true, NULL },
};

void mmds_http_fault(const char *fault, struct http_response *resp)
{
	size_t i = 0;

	while (strncmp(fault, faults[i].prefix, strlen(faults[i].prefix)) != 0)
		i++;
	if (!faults[i].keep)
		fault += strlen(faults[i].prefix);
	answer(resp, faults[i].status, "%s", faults[i].text ? faults[i].text : fault);
}
