/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of an HTTP response in micro-http's layout, see http.h. No state; any thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

/* 100 and 204 have no body, and no word of one (RFC 9110, 8.6). */
static bool has_content(const struct http_response *r)
{
	return r->status != 100 && r->status != 204;
}

static int format_head(char *buf, size_t size, const struct http_response *r, unsigned minor,
	const char *server, size_t body_len)
{
	const char *type = r->content_type ? r->content_type : "application/json";
	bool content = has_content(r);
	char length[24];

	snprintf(length, sizeof(length), "%zu", body_len);
	return snprintf(buf, size,
		"HTTP/1.%u %d \r\nServer: %s\r\nConnection: keep-alive\r\n"
		"%s%s%s%s%s%s%s%s%s%s\r\n",
		minor, r->status, server, r->allow ? "Allow: " : "", r->allow ? r->allow : "",
		r->allow ? "\r\n" : "", r->deprecated ? "Deprecation: true\r\n" : "",
		r->extra ? r->extra : "", content ? "Content-Type: " : "", content ? type : "",
		content ? "\r\nContent-Length: " : "", content ? length : "",
		content ? "\r\n" : "");
}

char *http_response_bytes(const struct http_response *r, unsigned minor, const char *server,
	size_t *ret_len)
{
	size_t body = has_content(r) && r->body ? r->body_len : 0;
	int head = format_head(NULL, 0, r, minor, server, body);
	char *bytes = head < 0 ? NULL : malloc((size_t)head + 1 + body);

	if (!bytes)
		return NULL;
	format_head(bytes, (size_t)head + 1, r, minor, server, body);
	if (body)
		memcpy(bytes + head, r->body, body);
	*ret_len = (size_t)head + body;
	return bytes;
}
