/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests from a stranger. The first byte says how the rest is split.
 *
 * Oracles. Split bytes give the events, requests and faults that the same bytes give at once. What
 * is accepted is also a request for llhttp in strict mode, exactly as long, with the same method,
 * target, version, headers and body; llhttp refuses more only where differs() says so. Memory stays
 * within what the limits allow.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http-oracle.h"
#include "http.h"

#define MAX_BODY 300u /* small, so that inputs get there */
#define MAX_EVENTS 512
#define MOST_MEMORY ((HTTP_HEADERS_MAX + 2) * HTTP_LINE_MAX + 4096 + 4096)

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t __sanitizer_get_current_allocated_bytes(void);

/* What happened: a hash of all that an event says, and how many bytes were taken until then. */
struct trace {
	size_t n;
	bool faulted;
	struct {
		uint64_t hash;
		size_t at;
	} events[MAX_EVENTS];
};

static uint64_t mix(uint64_t h, const void *p, size_t len)
{
	const uint8_t *bytes = p;

	for (size_t i = 0; i < len; i++)
		h = (h ^ bytes[i]) * UINT64_C(1099511628211);
	return (h ^ len) * UINT64_C(1099511628211);
}

static uint64_t mix_request(const struct http_request *r, bool body)
{
	uint64_t h = mix(r->method, &r->minor, sizeof(r->minor));

	h = mix(h, r->path, strlen(r->path));
	for (size_t i = 0; i < r->n_headers; i++) {
		h = mix(h, r->headers[i].name, strlen(r->headers[i].name));
		h = mix(h, r->headers[i].value, strlen(r->headers[i].value));
	}
	h = mix(h, &r->accept_json, sizeof(r->accept_json));
	return body && r->body ? mix(h, r->body, r->body_len) : h;
}

/* -- llhttp ---------------------------------------------------------------------------------- */

/* Where llhttp is stricter, for reasons that are not ours. */
static bool differs(const struct http_request *r)
{
	unsigned lengths = 0;

	for (const char *c = r->path; *c; c++)
		if ((unsigned char)*c >= 0x80) /* ids may have letters of any script */
			return true;
	for (size_t i = 0; i < r->n_headers; i++)
		lengths += strcasecmp(r->headers[i].name, "Content-Length") == 0;
	if (lengths > 1) /* which are equal */
		return true;
	if (http_header_value(r, "Transfer-Encoding"))
		return strcasecmp(http_header_value(r, "Transfer-Encoding"), "identity") == 0;
	return false;
}

static void check_target(const struct http_oracle *o, const char *path)
{
	const char *at = o->url;

	if (*at != '/') {
		MUST(strncmp(at, "http://", 7) == 0);
		at = strchr(at + 7, '/');
	}
	MUST(strcmp(at ? at : "/", path) == 0);
}

static void check_head(const struct http_oracle *o, const struct http_request *r)
{
	const char *at = o->head, *end = o->head + o->head_len;

	for (size_t i = 0; i < r->n_headers; i++) {
		const struct http_header *h = &r->headers[i];
		size_t name = strlen(h->name), value = strlen(h->value);

		MUST((size_t)(end - at) >= name + value + 2);
		MUST(memcmp(at, h->name, name) == 0 && at[name] == ':');
		MUST(memcmp(at + name + 1, h->value, value) == 0 && at[name + 1 + value] == '\n');
		at += name + value + 2;
	}
	MUST(at == end);
}

static void check_request(const struct http_request *r, const char *bytes, size_t len)
{
	static struct http_oracle o;

	MUST(http_oracle_read(&o, bytes, len));
	MUST(strcmp(o.method, http_method_name(r->method)) == 0);
	MUST(o.major == 1 && o.minor == r->minor);
	check_target(&o, r->path);
	check_head(&o, r);
	if (!o.upgrade) /* then llhttp leaves the rest to others */
		MUST(o.body_len == r->body_len &&
			(!r->body || memcmp(o.body, r->body, r->body_len) == 0));
}

/* -- our parser ------------------------------------------------------------------------------ */

static void check_fault(const char *text)
{
	MUST(*text && strlen(text) < HTTP_FAULT_BYTES);
	for (; *text; text++)
		MUST(*text >= ' ' && *text <= '~' && *text != '"' && *text != '\\');
}

static void read_all(struct trace *t, const char *bytes, size_t len, size_t piece, bool oracle)
{
	size_t before = __sanitizer_get_current_allocated_bytes(), taken, start = 0;
	struct http_parser *p = http_parser_new(MAX_BODY);

	t->n = 0;
	t->faulted = false;
	for (size_t at = 0; at < len && t->n < MAX_EVENTS;) {
		size_t n = piece < len - at ? piece : len - at;
		enum http_event event = http_parser_feed(p, bytes + at, n, &taken);
		const struct http_request *r = http_parser_request(p);
		uint64_t hash = event;

		MUST(taken <= n && taken > 0 && (event != HTTP_MORE || taken == n));
		MUST(__sanitizer_get_current_allocated_bytes() - before <= MOST_MEMORY);
		at += taken;
		if (event == HTTP_MORE)
			continue;
		if (event == HTTP_FAULT) {
			check_fault(http_parser_fault(p));
			hash = mix(hash, http_parser_fault(p), strlen(http_parser_fault(p)));
			t->faulted = true;
		} else {
			hash = mix(hash, &(uint64_t){ mix_request(r, event == HTTP_REQUEST) }, 8);
		}
		if (event == HTTP_REQUEST) {
			MUST(r->body_len <= MAX_BODY && r->n_headers <= HTTP_HEADERS_MAX);
			MUST((r->body != NULL) == (r->body_len > 0));
			if (oracle && !t->faulted && !differs(r))
				check_request(r, bytes + start, at - start);
			start = at;
		}
		/* Where a fault lost what follows, the place depends on the split. */
		t->events[t->n].at = event == HTTP_FAULT ? 0 : at;
		t->events[t->n++].hash = hash;
	}
	http_parser_free(p);
	MUST(__sanitizer_get_current_allocated_bytes() == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct trace whole, split;
	const char *bytes;

	if (size < 2)
		return 0;
	bytes = (const char *)data + 1;
	read_all(&whole, bytes, size - 1, size, true);
	read_all(&split, bytes, size - 1, 1 + data[0] % 16, false);
	/* After a fault the split bytes may hold requests that were lost with it. */
	MUST(split.n == whole.n || (whole.faulted && split.n > whole.n));
	for (size_t i = 0; i < whole.n; i++)
		MUST(memcmp(&whole.events[i], &split.events[i], sizeof(whole.events[i])) == 0);
	return 0;
}
