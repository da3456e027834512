/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.x requests as Firecracker's servers (micro-http) read them, for its API and for MMDS:
 * methods GET, PUT, PATCH and DELETE, bodies by Content-Length, keep-alive, pipelining. A parser
 * takes bytes as they come and never more memory than its limits; the bytes are from a client or
 * from the guest and may be anything. No I/O here, see http-server.h. One thread at a time.
 *
 * What micro-http takes and this does not, because it makes two readers see different requests: a
 * line that ends in LF alone, folded lines, blanks around names, control characters, more than
 * HTTP_HEADERS_MAX headers, two Content-Lengths that differ, "+5", a target that is neither a path
 * nor http://HOST/PATH, Content-Length with Transfer-Encoding, other codings than chunked and
 * identity. Chunked bodies are decoded (HTTP/1.1; no chunk extensions; trailers are dropped):
 * micro-http does not, and would take the chunks for requests.
 *
 * After a fault in the headers or the body the rest of that request is read and dropped, so that
 * its body is not taken for a request either.
 */
#ifndef VOLT_HTTP_H
#define VOLT_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compiler.h"

#define HTTP_LINE_MAX	 1024 /* the request line, or one header line, with its CRLF */
#define HTTP_HEADERS_MAX 64   /* more are a fault */
#define HTTP_FAULT_BYTES 256

enum http_method { HTTP_GET, HTTP_PUT, HTTP_PATCH, HTTP_DELETE };

struct http_header {
	const char *name, *value; /* blanks around the value are gone; borrowed from the request */
};

struct http_request {
	enum http_method method;
	unsigned minor;	  /* of HTTP/1.minor: 0 or 1 */
	const char *path; /* from "/" on, without "http://host"; NUL-terminated UTF-8 */
	const char *body; /* NULL: none, or Content-Length 0 */
	size_t body_len;
	const struct http_header *headers;
	size_t n_headers;
	bool accept_json; /* the last Accept that micro-http knows is application/json */
};

struct http_response {
	int status;
	const char *content_type; /* NULL: application/json */
	const char *allow;	  /* value of the Allow header; NULL: none */
	bool deprecated;	  /* Deprecation: true */
	const char *extra;	  /* whole header lines with CRLF; NULL: none */
	char *body;		  /* owned, malloc'd; NULL: none */
	size_t body_len;
};

enum http_event {
	HTTP_MORE,     /* all bytes are taken, the request is not complete */
	HTTP_CONTINUE, /* the head asks for "100 Continue"; the request is there but for its body */
	HTTP_REQUEST,  /* http_parser_request() is valid until the next http_parser_feed() */
	HTTP_FAULT,    /* http_parser_fault() says what, until the next http_parser_feed() */
};

struct http_parser;

/* NULL with errno. max_body: larger bodies are a fault as soon as the header says so. */
struct http_parser *http_parser_new(size_t max_body);
void http_parser_free(struct http_parser *p);

/*
 * Takes bytes from the front of data; *taken says how many: the rest is to be fed again. Where a
 * fault leaves unknown what follows (a request line without a version, a bad chunk), all bytes are
 * taken, and the next ones begin a new request.
 */
enum http_event http_parser_feed(struct http_parser *p, const char *data, size_t len,
	size_t *taken);
const struct http_request *http_parser_request(const struct http_parser *p);
/*
 * micro-http's words, without "All previous ...", where it has some. One line; what it quotes has
 * '?' for whatever would have to be escaped in JSON.
 */
const char *http_parser_fault(const struct http_parser *p);

/* Value of the last header of this name, in any letter case; NULL: absent. */
const char *http_header_value(const struct http_request *r, const char *name);

/*
 * The bytes of a response, malloc'd; NULL with errno. Server is the value of the Server header. The
 * layout is micro-http's: "HTTP/1.1 204 \r\n", Server, "Connection: keep-alive", [Allow],
 * [Deprecation], and, but for 100 and 204, Content-Type and Content-Length.
 */
char *http_response_bytes(const struct http_response *r, unsigned minor, const char *server,
	size_t *ret_len) MUST_CHECK;

const char *http_method_name(enum http_method m); /* "PUT" */

#endif
