/* SPDX-License-Identifier: Apache-2.0 */
/* See http-oracle.h. */
#include "http-oracle.h"

#include <llhttp.h>
#include <stdlib.h>
#include <string.h>

static int put(char *buf, size_t size, size_t *len, const char *p, size_t n)
{
	if (n >= size - *len)
		abort();
	memcpy(buf + *len, p, n);
	*len += n;
	buf[*len] = '\0';
	return 0;
}

static int on_url(llhttp_t *l, const char *p, size_t n)
{
	struct http_oracle *o = l->data;

	return put(o->url, sizeof(o->url), &o->url_len, p, n);
}

static int on_head(llhttp_t *l, const char *p, size_t n)
{
	struct http_oracle *o = l->data;

	return o->in_trailer ? 0 : put(o->head, sizeof(o->head), &o->head_len, p, n);
}

static int on_field_end(llhttp_t *l)
{
	return on_head(l, ":", 1);
}

static int on_value_end(llhttp_t *l)
{
	struct http_oracle *o = l->data;

	while (!o->in_trailer && o->head_len && strchr(" \t", o->head[o->head_len - 1]))
		o->head_len--;
	return on_head(l, "\n", 1);
}

static int on_head_end(llhttp_t *l)
{
	struct http_oracle *o = l->data;

	o->in_trailer = true;
	return 0;
}

static int on_body(llhttp_t *l, const char *p, size_t n)
{
	struct http_oracle *o = l->data;

	return put(o->body, sizeof(o->body), &o->body_len, p, n);
}

static int on_complete(llhttp_t *l)
{
	struct http_oracle *o = l->data;

	o->complete++;
	return 0;
}

bool http_oracle_read(struct http_oracle *o, const char *bytes, size_t len)
{
	static const llhttp_settings_t settings = {
		.on_url = on_url,
		.on_header_field = on_head,
		.on_header_field_complete = on_field_end,
		.on_header_value = on_head,
		.on_header_value_complete = on_value_end,
		.on_headers_complete = on_head_end,
		.on_body = on_body,
		.on_message_complete = on_complete,
	};
	llhttp_errno_t e;
	llhttp_t l;

	o->url_len = o->head_len = o->body_len = 0;
	o->in_trailer = false;
	o->complete = 0;
	llhttp_init(&l, HTTP_REQUEST, &settings);
	l.data = o;
	e = llhttp_execute(&l, bytes, len);
	o->method = llhttp_method_name(l.method);
	o->major = l.http_major;
	o->minor = l.http_minor;
	o->upgrade = l.upgrade;
	return o->complete == 1 && (e == HPE_OK || (e == HPE_PAUSED_UPGRADE && o->upgrade));
}
