/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser of HTTP requests, see http.h. Any thread, one at a time.
 *
 *	START -> HEADER ... -> BODY -----------------------------.
 *	            |                                            |
 *	            |--> CHUNK_SIZE -> CHUNK_DATA -> CHUNK_END   |--> DONE -> START
 *	            |        |  ^------------------------'       |
 *	            |        '--> TRAILER ... -------------------|
 *	            '--------------------------------------------'
 *
 * Lines are collected behind one another in `text`; those of the head stay there, and the request
 * points to them. A request with a fault is `refused`: it goes the same way, but nothing of it is
 * kept, further faults are silent, and its end is no event. All decisions depend on the bytes and
 * their order only, never on how they were split.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http-text.h"
#include "http.h"

#define BODY_FIRST 4096u /* bytes of memory for a body; doubled while it grows */

enum state { START, HEADER, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, DONE };

struct http_parser {
	size_t max_body;
	enum state state;
	bool refused;	/* see above */
	bool lost;	/* the fault leaves unknown where the next request begins */
	bool long_line; /* what is left of a line that did not fit */
	bool has_length, coded, chunked, expect;
	bool unframed;	     /* Content-Length or Transfer-Encoding is bad: where is the end? */
	uint32_t length;     /* Content-Length */
	uint64_t left;	     /* of the body or chunk: bytes to come */
	size_t n_lines;	     /* headers and trailers */
	size_t line, filled; /* the line that is being read: where, and how much of it */
	char *body;	     /* owned */
	size_t body_len, body_size;
	struct http_request req;
	struct http_header headers[HTTP_HEADERS_MAX];
	char fault[HTTP_FAULT_BYTES];
	/*
	 * The request line, the headers, and a line that is not kept. Large, and last: what is not
	 * needed is never touched.
	 */
	char text[(HTTP_HEADERS_MAX + 2) * HTTP_LINE_MAX];
};

static const char *const methods[] = { [HTTP_GET] = "GET",
	[HTTP_PUT] = "PUT",
	[HTTP_PATCH] = "PATCH",
	[HTTP_DELETE] = "DELETE" };

const char *http_method_name(enum http_method m)
{
	return methods[m];
}

const char *http_header_value(const struct http_request *r, const char *name)
{
	for (size_t i = r->n_headers; i-- > 0;)
		if (strcasecmp(r->headers[i].name, name) == 0)
			return r->headers[i].value;
	return NULL;
}

/* -- life ------------------------------------------------------------------------------------ */

static void restart(struct http_parser *p)
{
	free(p->body);
	p->body = NULL;
	p->body_len = p->body_size = 0;
	p->state = START;
	p->refused = p->lost = p->long_line = false;
	p->has_length = p->coded = p->chunked = p->expect = p->unframed = false;
	p->length = 0;
	p->n_lines = p->line = p->filled = 0;
	p->req = (struct http_request){ .headers = p->headers };
}

struct http_parser *http_parser_new(size_t max_body)
{
	struct http_parser *p = malloc(sizeof(*p));

	if (!p)
		return NULL;
	p->max_body = MIN(max_body, UINT32_MAX);
	p->body = NULL;
	p->fault[0] = '\0';
	restart(p);
	return p;
}

void http_parser_free(struct http_parser *p)
{
	if (p)
		free(p->body);
	free(p);
}

const struct http_request *http_parser_request(const struct http_parser *p)
{
	return &p->req;
}

const char *http_parser_fault(const struct http_parser *p)
{
	return p->fault;
}

/* -- faults ---------------------------------------------------------------------------------- */

static enum http_event PRINTF_LIKE(2, 3) fault(struct http_parser *p, const char *fmt, ...)
{
	va_list ap;

	if (p->refused) /* one fault a request */
		return HTTP_MORE;
	va_start(ap, fmt);
	vsnprintf(p->fault, sizeof(p->fault), fmt, ap);
	va_end(ap);
	for (char *c = p->fault; *c; c++)
		if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
			*c = '?';
	p->refused = true;
	return HTTP_FAULT;
}

/* Nothing more can be made of the bytes that are here: a fault, unless there was one already. */
static enum http_event lose(struct http_parser *p, const char *why)
{
	enum http_event event = fault(p, "%s", why);

	restart(p);
	p->lost = true;
	return event;
}

/* Of "NAME: ...", or whatever the line is. */
static enum http_event header_fault(struct http_parser *p, const char *why, const char *line)
{
	return fault(p, "Invalid header. Reason: %s. Key: %.*s", why, (int)strcspn(line, ":"),
		line);
}

static enum http_event value_fault(struct http_parser *p, const char *name, const char *value)
{
	return fault(p, "Invalid header. Reason: Invalid value. Key:%s; Value:%s", name, value);
}

/* -- the request line ------------------------------------------------------------------------ */

static bool find_method(const char *name, enum http_method *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		if (strcmp(name, methods[i]) == 0) {
			*ret = (enum http_method)i;
			return true;
		}
	return false;
}

/* What is wrong with the request line; NULL: nothing. */
static const char *judge_start(struct http_request *r, const char *method, const char *target,
	const char *version)
{
	r->minor = strcmp(version, "HTTP/1.1") == 0; /* a refused chunked body has an end, too */
	if (!find_method(method, &r->method))
		return "Invalid HTTP Method: Unsupported HTTP method.";
	if (!*target)
		return "Invalid URI: Empty URI not allowed.";
	if (!http_text_is_utf8(target))
		return "Invalid URI: Cannot parse URI as UTF-8.";
	r->path = http_text_path(target);
	if (!r->path)
		return "Invalid URI: It must be an absolute path, or http://HOST/PATH.";
	if (http_text_has_control(target) || strchr(target, '\t'))
		return "Invalid URI: Control characters not allowed.";
	if (strcmp(version, "HTTP/1.0") != 0 && strcmp(version, "HTTP/1.1") != 0)
		return "Invalid HTTP Version: Unsupported HTTP version.";
	return NULL;
}

static enum http_event take_start(struct http_parser *p, char *method)
{
	char *target = strchr(method, ' '), *version;
	const char *why;

	version = target ? strchr(target + 1, ' ') : NULL;
	if (!version)
		return lose(p, "Invalid request.");
	*target++ = '\0';
	*version++ = '\0';
	why = judge_start(&p->req, method, target, version);
	/* Whatever has a version has headers: these are of no use then, and are dropped. */
	if (why && strncmp(version, "HTTP/", 5) != 0)
		return lose(p, why);
	p->state = HEADER;
	return why ? fault(p, "%s", why) : HTTP_MORE;
}

/* -- headers --------------------------------------------------------------------------------- */

static enum http_event take_length(struct http_parser *p, const char *name, const char *raw,
	const char *value)
{
	uint64_t n = 0;
	size_t digits = strspn(value, "0123456789");

	for (size_t i = 0; i < digits && n <= UINT32_MAX; i++)
		n = n * 10 + (uint64_t)(value[i] - '0');
	if (digits == 0 || value[digits] || n > UINT32_MAX || (p->has_length && n != p->length)) {
		p->unframed = true;
		return value_fault(p, name, raw);
	}
	p->has_length = true;
	p->length = (uint32_t)n;
	return HTTP_MORE;
}

static enum http_event take_coding(struct http_parser *p, const char *name, const char *raw,
	const char *value)
{
	bool chunked = strcasecmp(value, "chunked") == 0;

	p->coded = true;
	if ((!chunked && strcasecmp(value, "identity") != 0) || p->chunked ||
		(chunked && p->req.minor == 0)) {
		p->unframed = true;
		return fault(p, "Invalid header. Reason: Unsupported value. Key:%s; Value:%s", name,
			raw);
	}
	p->chunked = chunked;
	return HTTP_MORE;
}

/* Answers are never encoded: a client that forbids that gets a fault. */
static enum http_event take_encodings(struct http_parser *p, const char *value)
{
	char list[HTTP_LINE_MAX], *rest = list, *item;

	if (!*value)
		return fault(p, "Invalid request.");
	snprintf(list, sizeof(list), "%s", value);
	while ((item = strsep(&rest, ","))) {
		char raw[HTTP_LINE_MAX];

		snprintf(raw, sizeof(raw), "%s", item);
		item = http_text_trim(item);
		if (strcmp(item, "identity;q=0") == 0 ||
			(strcmp(item, "*;q=0") == 0 && !strstr(value, "identity")))
			return value_fault(p, "Accept-Encoding", raw);
	}
	return HTTP_MORE;
}

/* Headers that mean something here; values that do not are ignored, as micro-http does. */
static enum http_event take_meaning(struct http_parser *p, const char *name, const char *raw,
	const char *value)
{
	if (strcasecmp(name, "Content-Length") == 0)
		return take_length(p, name, raw, value);
	if (strcasecmp(name, "Transfer-Encoding") == 0)
		return take_coding(p, name, raw, value);
	if (strcasecmp(name, "Accept-Encoding") == 0)
		return take_encodings(p, value);
	if (strcasecmp(name, "Expect") == 0 && strcasecmp(value, "100-continue") == 0)
		p->expect = true;
	else if (strcasecmp(name, "Accept") == 0 && strcmp(value, "application/json") == 0)
		p->req.accept_json = true;
	else if (strcasecmp(name, "Accept") == 0 && strcmp(value, "text/plain") == 0)
		p->req.accept_json = false;
	return HTTP_MORE;
}

/* One header or trailer in its form: its value; NULL and the event if it has a fault. */
static char *split(struct http_parser *p, char *line, enum http_event *event)
{
	size_t n = http_text_token(line);

	if (n == 0 || line[n] != ':') {
		*event = header_fault(p, "Header is incorrectly formatted", line);
		return NULL;
	}
	line[n] = '\0';
	if (http_text_has_control(line + n + 1) || !http_text_is_utf8(line + n + 1)) {
		*event = header_fault(p, "Header contains invalid characters", line);
		return NULL;
	}
	if (++p->n_lines > HTTP_HEADERS_MAX) {
		*event = header_fault(p, "Too many headers", line);
		return NULL;
	}
	return line + n + 1;
}

static enum http_event take_header(struct http_parser *p, char *line, size_t len)
{
	char raw[HTTP_LINE_MAX], *value;
	enum http_event event = HTTP_MORE;

	value = split(p, line, &event);
	if (!value)
		return event;
	snprintf(raw, sizeof(raw), "%s", value);
	value = http_text_trim(value);
	event = take_meaning(p, line, raw, value);
	if (p->refused)
		return event;
	p->headers[p->req.n_headers++] = (struct http_header){ line, value };
	p->line += len + 1;
	return event;
}

/* -- body ------------------------------------------------------------------------------------ */

static enum http_event end_request(struct http_parser *p)
{
	if (p->refused) {
		restart(p);
		return HTTP_MORE;
	}
	p->req.body = p->body;
	p->req.body_len = p->body_len;
	p->state = DONE;
	return HTTP_REQUEST;
}

static enum http_event size_fault(struct http_parser *p, uint64_t size)
{
	return fault(p,
		"Request payload with size %llu is larger than the limit of %zu allowed by server.",
		(unsigned long long)size, p->max_body);
}

static enum http_event end_head(struct http_parser *p)
{
	enum http_event event = HTTP_MORE;

	if (p->unframed || (p->coded && p->has_length))
		return lose(p,
			"Invalid header. Reason: Content-Length beside Transfer-Encoding.");
	if (p->length > p->max_body)
		event = size_fault(p, p->length);
	/* Who would wait for "100 Continue" has got an answer, and does not send the body. */
	if ((p->length == 0 && !p->chunked) || (p->refused && p->expect)) {
		enum http_event end = end_request(p);

		return event == HTTP_FAULT ? event : end;
	}
	p->left = p->length;
	p->state = p->chunked ? CHUNK_SIZE : BODY;
	return event == HTTP_MORE && p->expect ? HTTP_CONTINUE : event;
}

/* Room for n more bytes and a NUL, which the limit allows. */
static bool grow(struct http_parser *p, size_t n)
{
	size_t need = p->body_len + n + 1, size = MAX(p->body_size, BODY_FIRST);
	char *body;

	if (need <= p->body_size)
		return true;
	while (size < need)
		size *= 2;
	size = MIN(size, p->max_body + 1);
	body = realloc(p->body, size);
	if (!body)
		return false;
	p->body = body;
	p->body_size = size;
	return true;
}

static enum http_event take_body(struct http_parser *p, const char **at, const char *end)
{
	size_t n = (size_t)MIN(p->left, (uint64_t)(end - *at));
	enum http_event event = HTTP_MORE;

	if (!p->refused && !grow(p, n))
		event = fault(p, "There is no memory for the request.");
	if (!p->refused) {
		memcpy(p->body + p->body_len, *at, n);
		p->body_len += n;
		p->body[p->body_len] = '\0';
	}
	*at += n;
	p->left -= n;
	if (p->left > 0)
		return event;
	if (p->state == CHUNK_DATA) {
		p->state = CHUNK_END;
		return event;
	}
	if (event == HTTP_FAULT) {
		end_request(p);
		return event;
	}
	return end_request(p);
}

static enum http_event take_chunk_size(struct http_parser *p, const char *line)
{
	size_t digits = strspn(line, "0123456789abcdefABCDEF");
	enum http_event event = HTTP_MORE;

	if (digits == 0 || digits > 8 || line[digits])
		return lose(p, "Invalid request.");
	p->left = strtoul(line, NULL, 16);
	if (p->left == 0) {
		p->state = TRAILER;
		return HTTP_MORE;
	}
	if (!p->refused && p->left > p->max_body - p->body_len)
		event = size_fault(p, p->body_len + p->left);
	p->state = CHUNK_DATA;
	return event;
}

/* Dropped, but for what some reader could take for the length of the body. */
static enum http_event take_trailer(struct http_parser *p, char *line)
{
	enum http_event event = HTTP_MORE;

	if (split(p, line, &event) && (strcasecmp(line, "Content-Length") == 0 ||
					      strcasecmp(line, "Transfer-Encoding") == 0))
		event = header_fault(p, "Unsupported header name", line);
	return event;
}

/* -- lines ----------------------------------------------------------------------------------- */

static enum http_event take_line(struct http_parser *p, char *line, size_t len)
{
	enum http_event event;

	switch (p->state) {
	case START:
		event = take_start(p, line);
		if (p->state == HEADER && !p->refused)
			p->line += len + 1;
		return event;
	case HEADER:
		return *line ? take_header(p, line, len) : end_head(p);
	case CHUNK_SIZE:
		return take_chunk_size(p, line);
	case CHUNK_END:
		p->state = CHUNK_SIZE;
		return *line ? lose(p, "Invalid request.") : HTTP_MORE;
	default: /* TRAILER */
		return *line ? take_trailer(p, line) : end_request(p);
	}
}

static bool in_fields(const struct http_parser *p)
{
	return p->state == HEADER || p->state == TRAILER;
}

/* A line that did not fit, or has a NUL (where its text ends), or LF without CR. */
static enum http_event bad_line(struct http_parser *p, const char *line, bool too_long)
{
	if (!in_fields(p))
		return lose(p, "Invalid request.");
	if (!too_long)
		return header_fault(p, "Header is incorrectly formatted", line);
	return fault(p, "Invalid header. Reason: Invalid content length. Header: %s", line);
}

/* Some bytes of a line, at least one, at most to its end. */
static enum http_event collect(struct http_parser *p, const char **at, const char *end)
{
	char *line = p->text + p->line;
	size_t n = MIN((size_t)(end - *at), HTTP_LINE_MAX - p->filled), len;
	const char *lf = memchr(*at, '\n', n);
	bool long_line = p->long_line;

	if (lf)
		n = (size_t)(lf + 1 - *at);
	memcpy(line + p->filled, *at, n);
	*at += n;
	p->filled += n;
	if (!lf && p->filled < HTTP_LINE_MAX)
		return HTTP_MORE;
	len = p->filled - 1;
	p->filled = 0;
	p->long_line = !lf;
	if (!lf) {
		line[len] = '\0';
		return bad_line(p, line, true);
	}
	if (long_line)
		return HTTP_MORE;
	if (len == 0 || line[len - 1] != '\r') {
		line[len] = '\0';
		if (p->refused && in_fields(p) && len == 0) /* an end, for what is dropped anyway */
			return take_line(p, line, len);
		return bad_line(p, line, false);
	}
	line[--len] = '\0';
	return strlen(line) == len ? take_line(p, line, len) : bad_line(p, line, false);
}

enum http_event http_parser_feed(struct http_parser *p, const char *data, size_t len,
	size_t *taken)
{
	const char *at = data, *end = data + len;
	enum http_event event = HTTP_MORE;

	if (p->state == DONE)
		restart(p);
	p->lost = false;
	while (at < end && event == HTTP_MORE && !p->lost)
		event = p->state == BODY || p->state == CHUNK_DATA ? take_body(p, &at, end) :
								     collect(p, &at, end);
	*taken = p->lost ? len : (size_t)(at - data);
	return event;
}
