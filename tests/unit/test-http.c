/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP parser tells what it has seen as a transcript; the same bytes split differently give the
 * same one. And the layout of responses.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

#define MAX_BODY 51200

struct transcript {
	char text[65536];
	size_t len;
};

static void say(struct transcript *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void say(struct transcript *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->text + t->len, sizeof(t->text) - t->len, fmt, ap);
	va_end(ap);
	assert_in_range(n, 0, sizeof(t->text) - t->len - 1);
	t->len += n;
}

static void say_request(struct transcript *t, const struct http_request *r)
{
	say(t, "%s %s 1.%u%s", http_method_name(r->method), r->path, r->minor,
		r->accept_json ? " json" : "");
	for (size_t i = 0; i < r->n_headers; i++)
		say(t, " [%s=%s]", r->headers[i].name, r->headers[i].value);
	if (r->body)
		say(t, " <%.*s>", (int)r->body_len, r->body);
	say(t, "\n");
}

/* Feeds in pieces of `piece` bytes (0: at once); says what happened. */
static void tell(struct http_parser *p, struct transcript *t, const char *bytes, size_t len,
	size_t piece)
{
	size_t taken;

	for (size_t at = 0; at < len; at += taken) {
		size_t n = piece && piece < len - at ? piece : len - at;
		char *copy = malloc(n); /* so that ASan sees a read behind it */
		enum http_event event;

		memcpy(copy, bytes + at, n);
		event = http_parser_feed(p, copy, n, &taken);
		free(copy);
		assert_true(taken <= n && (taken == n || event != HTTP_MORE));
		if (event == HTTP_REQUEST)
			say_request(t, http_parser_request(p));
		else if (event == HTTP_FAULT)
			say(t, "fault: %s\n", http_parser_fault(p));
		else if (event == HTTP_CONTINUE)
			say(t, "continue 1.%u %s\n", http_parser_request(p)->minor,
				http_parser_request(p)->path);
	}
}

static const char *transcript(const char *bytes, size_t len, size_t piece)
{
	static struct transcript t;
	struct http_parser *p = http_parser_new(MAX_BODY);

	assert_non_null(p);
	t.len = 0;
	t.text[0] = '\0';
	tell(p, &t, bytes, len, piece);
	http_parser_free(p);
	return t.text;
}

/* Bytes give this transcript however they are split. */
static void gives_n(const char *bytes, size_t len, const char *want)
{
	static const size_t pieces[] = { 0, 1, 2, 3, 7, 1023, 1024, 1025, 4096 };

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		assert_string_equal(transcript(bytes, len, pieces[i]), want);
}

static void gives(const char *bytes, const char *want)
{
	gives_n(bytes, strlen(bytes), want);
}

/* The same for a fault that leaves unknown what follows: what is fed with it is lost. */
static void loses_n(const char *bytes, size_t len, const char *want)
{
	assert_string_equal(transcript(bytes, len, 0), want);
	assert_memory_equal(transcript(bytes, len, 1), want, strlen(want));
}

static void loses(const char *bytes, const char *want)
{
	loses_n(bytes, strlen(bytes), want);
}

#define FAULT_METHOD  "fault: Invalid HTTP Method: Unsupported HTTP method.\n"
#define FAULT_VERSION "fault: Invalid HTTP Version: Unsupported HTTP version.\n"
#define FAULT_TARGET  "fault: Invalid URI: It must be an absolute path, or http://HOST/PATH.\n"
#define FAULT_CONTROL "fault: Invalid URI: Control characters not allowed.\n"
#define FAULT_REQUEST "fault: Invalid request.\n"
#define FAULT_FORMAT  "fault: Invalid header. Reason: Header is incorrectly formatted. Key: "
#define FAULT_CHARS   "fault: Invalid header. Reason: Header contains invalid characters. Key: "
#define FAULT_NAME    "fault: Invalid header. Reason: Unsupported header name. Key: "
#define FAULT_VALUE   "fault: Invalid header. Reason: Invalid value. Key:"
#define FAULT_CODING                                                                               \
	"fault: Invalid header. Reason: Unsupported value. Key:Transfer-Encoding; Value:"
#define FAULT_BOTH    "fault: Invalid header. Reason: Content-Length beside Transfer-Encoding.\n"
#define FAULT_SIZE    "fault: Request payload with size "
#define FAULT_LIMIT   " is larger than the limit of 51200 allowed by server.\n"

#define NEXT	     "GET /next HTTP/1.1\r\n\r\n"
#define NEXT_IS_SEEN "GET /next 1.1\n"

/* -- requests -------------------------------------------------------------------------------- */

static void requests_are_read(void **state)
{
	static const char nul[] = "PUT /a HTTP/1.1\r\nContent-Length: 3\r\n\r\n\0\r\n" NEXT;

	(void)state;
	gives("GET / HTTP/1.1\r\n\r\n", "GET / 1.1\n");
	gives("GET /machine-config HTTP/1.0\r\nHost: localhost\r\n\r\n",
		"GET /machine-config 1.0 [Host=localhost]\n");
	gives("PUT /drives/a HTTP/1.1\r\nAccept: application/json\r\nContent-Length: 2\r\n\r\n{}",
		"PUT /drives/a 1.1 json [Accept=application/json] [Content-Length=2] <{}>\n");
	gives("PATCH /vm HTTP/1.1\r\ncontent-length:005\r\n\r\nhello",
		"PATCH /vm 1.1 [content-length=005] <hello>\n");
	gives("DELETE /drives/a HTTP/1.1\r\nX:\t \r\n\r\n", "DELETE /drives/a 1.1 [X=]\n");
	gives("PUT /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n" NEXT,
		"PUT /a 1.1 [Content-Length=0]\n" NEXT_IS_SEEN);
	gives("PUT /a HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc" NEXT,
		"PUT /a 1.1 [Content-Length=3] [Content-Length=3] <abc>\n" NEXT_IS_SEEN);
	gives_n(nul, sizeof(nul) - 1, "PUT /a 1.1 [Content-Length=3] <>\n" NEXT_IS_SEEN);
}

static void pipelined_requests_come_in_order(void **state)
{
	static char bytes[8192], want[8192];

	(void)state;
	for (int i = 0; i < 100; i++) {
		char *at = bytes + strlen(bytes), *w = want + strlen(want);

		int len = i < 10 ? 1 : 2;

		snprintf(at, 80, "PUT /%d HTTP/1.1\r\nContent-Length: %d\r\n\r\n%d", i, len, i);
		snprintf(w, 80, "PUT /%d 1.1 [Content-Length=%d] <%d>\n", i, len, i);
	}
	gives(bytes, want);
}

static void targets_are_paths_or_of_http(void **state)
{
	(void)state;
	gives("GET //a//b/ HTTP/1.1\r\n\r\n", "GET //a//b/ 1.1\n");
	gives("GET /a?b=c#d HTTP/1.1\r\n\r\n", "GET /a?b=c#d 1.1\n");
	gives("GET /\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xa7 HTTP/1.1\r\n\r\n",
		"GET /\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xa7 1.1\n");
	gives("GET http://localhost/a HTTP/1.1\r\n\r\n", "GET /a 1.1\n");
	gives("GET http://[::1]:80/ HTTP/1.1\r\n\r\n", "GET / 1.1\n");
	gives("GET http://localhost HTTP/1.1\r\n\r\n", "GET / 1.1\n");
	gives("GET a HTTP/1.1\r\n\r\n" NEXT, FAULT_TARGET NEXT_IS_SEEN);
	gives("GET http:///a HTTP/1.1\r\n\r\n" NEXT, FAULT_TARGET NEXT_IS_SEEN);
	gives("GET http://a?b/ HTTP/1.1\r\n\r\n" NEXT, FAULT_TARGET NEXT_IS_SEEN);
	gives("GET HTTP://a/ HTTP/1.1\r\n\r\n" NEXT, FAULT_TARGET NEXT_IS_SEEN);
	gives("GET  HTTP/1.1\r\n\r\n" NEXT,
		"fault: Invalid URI: Empty URI not allowed.\n" NEXT_IS_SEEN);
	gives("GET /\x01 HTTP/1.1\r\n\r\n" NEXT, FAULT_CONTROL NEXT_IS_SEEN);
	gives("GET /\t HTTP/1.1\r\n\r\n" NEXT, FAULT_CONTROL NEXT_IS_SEEN);
	gives("GET /\x7f HTTP/1.1\r\n\r\n" NEXT, FAULT_CONTROL NEXT_IS_SEEN);
}

static void targets_are_utf8(void **state)
{
	static const char *const bad[] = { "\x80", "\xc0\xaf", "\xc3", "\xc3(", "\xe0\x80\x80",
		"\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
		"\xe2\x82", "\xff" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char bytes[128];

		snprintf(bytes, sizeof(bytes), "GET /%s HTTP/1.1\r\n\r\n" NEXT, bad[i]);
		gives(bytes, "fault: Invalid URI: Cannot parse URI as UTF-8.\n" NEXT_IS_SEEN);
	}
}

/* A request line with a version has headers and a body, which are dropped. */
static void bad_request_lines_are_faults(void **state)
{
	static const char nul[] = "GET /\0 HTTP/1.1\r\n\r\n" NEXT;

	(void)state;
	gives("POST /a HTTP/1.1\r\nContent-Length: 22\r\n\r\n" NEXT NEXT,
		FAULT_METHOD NEXT_IS_SEEN);
	gives("get / HTTP/1.1\r\n\r\n" NEXT, FAULT_METHOD NEXT_IS_SEEN);
	gives("GET / HTTP/2.0\r\n\r\n" NEXT, FAULT_VERSION NEXT_IS_SEEN);
	gives("GET / HTTP/1.1 \r\n\r\n" NEXT, FAULT_VERSION NEXT_IS_SEEN);
	gives("GET / HTTP/1.\r\n\r\n" NEXT, FAULT_VERSION NEXT_IS_SEEN);
	loses("GET / http/1.1\r\n\r\n" NEXT, FAULT_VERSION);
	loses("GET / x HTTP/1.1\r\n\r\n" NEXT, FAULT_VERSION);
	loses("GET /\r\n" NEXT, FAULT_REQUEST); /* HTTP/0.9 */
	loses("\r\n" NEXT, FAULT_REQUEST);
	loses("hello\r\n" NEXT, FAULT_REQUEST);
	loses("GET / HTTP/1.1\nHost: a\n\n" NEXT, FAULT_REQUEST);
	loses_n(nul, sizeof(nul) - 1, FAULT_REQUEST);
	loses("GET /\r HTTP/1.1\n\r\n" NEXT, FAULT_REQUEST);
}

static void the_parser_goes_on_after_what_it_lost(void **state)
{
	struct http_parser *p = http_parser_new(MAX_BODY);
	struct transcript *t = calloc(1, sizeof(*t));
	static const char garbage[] = "\x16\x03\x01 hello\n more\r\n\r\n";

	(void)state;
	tell(p, t, garbage, strlen(garbage), 0);
	tell(p, t, NEXT, strlen(NEXT), 0);
	assert_string_equal(t->text, FAULT_REQUEST NEXT_IS_SEEN);
	http_parser_free(p);
	free(t);
}

/* -- headers --------------------------------------------------------------------------------- */

static void bad_headers_are_one_fault(void **state)
{
	static const struct {
		const char *lines, *fault;
	} cases[] = {
		{ "Host\r\n", FAULT_FORMAT "Host\n" },
		{ ": v\r\n", FAULT_FORMAT "\n" },
		{ "Host : a\r\n", FAULT_FORMAT "Host \n" },
		{ " Host: a\r\n", FAULT_FORMAT " Host\n" },
		{ "Host: a\r\n folded\r\n", FAULT_FORMAT " folded\n" },
		{ "Ho\x01st: a\r\n", FAULT_FORMAT "Ho?st\n" },
		{ "H\"\\: a\r\n", FAULT_FORMAT "H??\n" },
		{ "Host: a\nX: b\r\n", FAULT_FORMAT "Host\n" },
		{ "Host: a\rX: b\r\n", FAULT_CHARS "Host\n" },
		{ "Host: \x80\r\n", FAULT_CHARS "Host\n" },
		{ "Host: \x7f\r\n", FAULT_CHARS "Host\n" },
		{ "Bad\r\nWorse\r\nContent-Length\r\n", FAULT_FORMAT "Bad\n" },
		{ "Accept-Encoding: gzip, identity;q=0\r\n",
			FAULT_VALUE "Accept-Encoding; Value: identity;q=0\n" },
		{ "accept-encoding: *;q=0\r\n", FAULT_VALUE "Accept-Encoding; Value:*;q=0\n" },
		{ "Accept-Encoding:\r\n", FAULT_REQUEST },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char bytes[512], want[512];

		/* Their body is dropped with them. */
		snprintf(bytes, sizeof(bytes),
			"PUT / HTTP/1.1\r\n%sContent-Length: 22\r\n\r\n" NEXT NEXT, cases[i].lines);
		snprintf(want, sizeof(want), "%s" NEXT_IS_SEEN, cases[i].fault);
		gives(bytes, want);
	}
}

static void a_nul_in_a_header_is_a_fault(void **state)
{
	static const char bytes[] = "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n" NEXT;

	(void)state;
	gives_n(bytes, sizeof(bytes) - 1, FAULT_FORMAT "Host\n" NEXT_IS_SEEN);
}

static void unknown_values_are_ignored(void **state)
{
	(void)state;
	gives("GET / HTTP/1.1\r\nContent-Type: x/y\r\nAccept: */*\r\nExpect: 103\r\n"
	      "Accept-Encoding: *;q=0, identity\r\nTransfer-Encoding: identity\r\n\r\n",
		"GET / 1.1 [Content-Type=x/y] [Accept=*/*] [Expect=103] "
		"[Accept-Encoding=*;q=0, identity] [Transfer-Encoding=identity]\n");
	gives("GET / HTTP/1.1\r\nAccept: application/json\r\nAccept: text/plain\r\n\r\n",
		"GET / 1.1 [Accept=application/json] [Accept=text/plain]\n");
	gives("GET / HTTP/1.1\r\nConnection: close\r\nUpgrade: h2c\r\n\r\n" NEXT,
		"GET / 1.1 [Connection=close] [Upgrade=h2c]\n" NEXT_IS_SEEN);
}

/* Where the body ends is unknown then: nothing of what follows is a request. */
static void bad_lengths_are_faults(void **state)
{
	(void)state;
	loses("PUT / HTTP/1.1\r\nContent-Length: abc\r\n\r\n" NEXT,
		FAULT_VALUE "Content-Length; Value: abc\n");
	loses("PUT / HTTP/1.1\r\ncontent-length:+5\r\n\r\nhello" NEXT,
		FAULT_VALUE "content-length; Value:+5\n");
	loses("PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n" NEXT,
		FAULT_VALUE "Content-Length; Value: -1\n");
	loses("PUT / HTTP/1.1\r\nContent-Length:\r\n\r\n" NEXT,
		FAULT_VALUE "Content-Length; Value:\n");
	loses("PUT / HTTP/1.1\r\nContent-Length: 4294967296\r\n\r\n" NEXT,
		FAULT_VALUE "Content-Length; Value: 4294967296\n");
	loses("PUT / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n" NEXT,
		FAULT_VALUE "Content-Length; Value: 99999999999999999999999\n");
	loses("PUT / HTTP/1.1\r\nContent-Length: 5 5\r\n\r\n" NEXT,
		FAULT_VALUE "Content-Length; Value: 5 5\n");
	loses("PUT / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello" NEXT,
		FAULT_VALUE "Content-Length; Value: 6\n");
}

static void lines_have_a_limit(void **state)
{
	static char bytes[8192], fits[8192], want[HTTP_FAULT_BYTES + 64];
	int long_path = HTTP_LINE_MAX - (int)strlen("GET / HTTP/1.1\r\n");
	int long_value = HTTP_LINE_MAX - (int)strlen("X: \r\n");

	(void)state;
	snprintf(bytes, sizeof(bytes), "GET /%0*d HTTP/1.1\r\nX: %0*d\r\n\r\n", long_path, 7,
		long_value, 8);
	snprintf(fits, sizeof(fits), "GET /%0*d 1.1 [X=%0*d]\n", long_path, 7, long_value, 8);
	gives(bytes, fits);
	snprintf(bytes, sizeof(bytes), "GET /%0*d HTTP/1.1\r\n\r\n", long_path + 1, 7);
	loses(bytes, FAULT_REQUEST);
	snprintf(bytes, sizeof(bytes),
		"PUT / HTTP/1.1\r\nX: %0*d\r\nContent-Length: 22\r\n\r\n" NEXT NEXT, 3000, 8);
	snprintf(want, sizeof(want),
		"fault: Invalid header. Reason: Invalid content length. Header: X: %0*d\n"
		NEXT_IS_SEEN, HTTP_FAULT_BYTES - 60, 0); /* cut */
	gives(bytes, want);
}

/* As many, and as long, as can be; and one more. */
static void headers_have_a_limit(void **state)
{
	static char bytes[1 << 17];
	struct http_parser *p = http_parser_new(0);
	size_t n = snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\n"), taken;

	(void)state;
	for (int i = 0; i < HTTP_HEADERS_MAX; i++)
		n += snprintf(bytes + n, sizeof(bytes) - n, "X: %0*d\r\n", 1019, i);
	snprintf(bytes + n, sizeof(bytes) - n, "\r\n" NEXT);
	assert_int_equal(http_parser_feed(p, bytes, strlen(bytes), &taken), HTTP_REQUEST);
	assert_int_equal(http_parser_request(p)->n_headers, HTTP_HEADERS_MAX);
	assert_int_equal(strlen(http_parser_request(p)->headers[63].value), 1019);
	http_parser_free(p);
	snprintf(bytes + n, sizeof(bytes) - n, "Y: 1\r\nContent-Length: 1\r\n\r\n" NEXT);
	gives(bytes, "fault: Invalid header. Reason: Too many headers. Key: Y\n" NEXT_IS_SEEN);
}

static void headers_are_found_by_name(void **state)
{
	static const char bytes[] = "GET / HTTP/1.1\r\nX-Token: a\r\nx-token: b\r\nHost: h\r\n\r\n";
	struct http_parser *p = http_parser_new(0);
	size_t taken;

	(void)state;
	assert_int_equal(http_parser_feed(p, bytes, strlen(bytes), &taken), HTTP_REQUEST);
	assert_string_equal(http_header_value(http_parser_request(p), "X-TOKEN"), "b");
	assert_string_equal(http_header_value(http_parser_request(p), "host"), "h");
	assert_null(http_header_value(http_parser_request(p), "Hos"));
	http_parser_free(p);
}

/* -- bodies ---------------------------------------------------------------------------------- */

static void too_large_a_body_is_a_fault_at_its_header(void **state)
{
	static char bytes[200000];
	size_t n = snprintf(bytes, sizeof(bytes), "PUT /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n",
		MAX_BODY + 1);
	size_t head = n;

	(void)state;
	gives("PUT /a HTTP/1.1\r\nContent-Length: 4294967295\r\n\r\n",
		FAULT_SIZE "4294967295" FAULT_LIMIT);
	/* What comes of it is dropped. */
	n += snprintf(bytes + n, sizeof(bytes) - n, "1" NEXT);
	while (n < head + MAX_BODY + 1)
		n = stpcpy(bytes + n, "\r\n") - bytes;
	strcpy(bytes + n, NEXT);
	gives(bytes, FAULT_SIZE "51201" FAULT_LIMIT NEXT_IS_SEEN);
}

static void the_largest_body_is_taken(void **state)
{
	static char bytes[200000];
	struct http_parser *p = http_parser_new(MAX_BODY);
	size_t n = snprintf(bytes, sizeof(bytes), "PUT /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n",
		MAX_BODY);
	size_t head = n, taken, at = 0;
	enum http_event event = HTTP_MORE;

	(void)state;
	for (; n < head + MAX_BODY; n++)
		bytes[n] = (char)(n * 31);
	for (; event == HTTP_MORE; at += taken) {
		assert_true(at < n);
		event = http_parser_feed(p, bytes + at, n - at < 999 ? n - at : 999, &taken);
	}
	assert_int_equal(event, HTTP_REQUEST);
	assert_int_equal(at, n);
	assert_int_equal(http_parser_request(p)->body_len, MAX_BODY);
	assert_memory_equal(http_parser_request(p)->body, bytes + head, MAX_BODY);
	http_parser_free(p);
}

static void expect_asks_before_the_body(void **state)
{
	(void)state;
	gives("PUT /a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}" NEXT,
		"continue 1.0 /a\n"
		"PUT /a 1.0 [Expect=100-continue] [Content-Length=2] <{}>\n" NEXT_IS_SEEN);
	gives("PUT /a HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
		"PUT /a 1.1 [Expect=100-continue]\n");
	gives("PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
	      "2\r\n{}\r\n0\r\n\r\n",
		"continue 1.1 /a\n"
		"PUT /a 1.1 [Expect=100-continue] [Transfer-Encoding=chunked] <{}>\n");
	/* Refused: the client does not send it. */
	gives("PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 99999\r\n\r\n" NEXT,
		FAULT_SIZE "99999" FAULT_LIMIT NEXT_IS_SEEN);
	gives("PUT /a HTTP/1.1\r\nBad\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n" NEXT,
		FAULT_FORMAT "Bad\n" NEXT_IS_SEEN);
}

#define CHUNKED "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
#define IS_SEEN "PUT /a 1.1 [Transfer-Encoding=chunked]"

static void chunks_make_a_body(void **state)
{
	(void)state;
	gives(CHUNKED "5\r\nhello\r\n00001\r\n,\r\nA\r\n0123456789\r\n0\r\n\r\n" NEXT,
		IS_SEEN " <hello,0123456789>\n" NEXT_IS_SEEN);
	gives(CHUNKED "0\r\n\r\n" NEXT, IS_SEEN "\n" NEXT_IS_SEEN);
	gives(CHUNKED "1\r\na\r\n0\r\nDigest: x\r\nA: b\r\n\r\n" NEXT,
		IS_SEEN " <a>\n" NEXT_IS_SEEN);
	gives(CHUNKED "0\r\ncontent-length: 7\r\n\r\n" NEXT,
		FAULT_NAME "content-length\n" NEXT_IS_SEEN);
	gives(CHUNKED "0\r\nTransfer-Encoding: chunked\r\n\r\n" NEXT,
		FAULT_NAME "Transfer-Encoding\n" NEXT_IS_SEEN);
	gives(CHUNKED "0\r\nBad\r\nWorse\r\n\r\n" NEXT, FAULT_FORMAT "Bad\n" NEXT_IS_SEEN);
	gives("POST /a HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n16\r\n" NEXT
	      "\r\n0\r\n\r\n" NEXT,
		FAULT_METHOD NEXT_IS_SEEN);
	loses(CHUNKED "\r\n" NEXT, FAULT_REQUEST);
	loses(CHUNKED "x\r\n" NEXT, FAULT_REQUEST);
	loses(CHUNKED "1;a=b\r\n" NEXT, FAULT_REQUEST);
	loses(CHUNKED "1 \r\n" NEXT, FAULT_REQUEST);
	loses(CHUNKED "1\n" NEXT, FAULT_REQUEST);
	loses(CHUNKED "-1\r\n" NEXT, FAULT_REQUEST);
	loses(CHUNKED "0x1\r\n" NEXT, FAULT_REQUEST);
	loses(CHUNKED "100000000\r\n" NEXT, FAULT_REQUEST);
	loses(CHUNKED "1\r\nab\r\n" NEXT, FAULT_REQUEST);
	loses(CHUNKED "1\r\na\n" NEXT, FAULT_REQUEST);
}

static void chunks_have_the_limit_of_bodies(void **state)
{
	static char bytes[200000];
	size_t n = snprintf(bytes, sizeof(bytes), CHUNKED "%x\r\n", MAX_BODY - 1u);

	(void)state;
	memset(bytes + n, 'a', MAX_BODY - 1);
	n += MAX_BODY - 1;
	snprintf(bytes + n, sizeof(bytes) - n, "\r\n2\r\nbb\r\n16\r\n" NEXT "\r\n0\r\n\r\n" NEXT);
	gives(bytes, FAULT_SIZE "51201" FAULT_LIMIT NEXT_IS_SEEN);
	gives(CHUNKED "FFFFFFFF\r\n" NEXT, FAULT_SIZE "4294967295" FAULT_LIMIT);
}

static void other_codings_are_faults(void **state)
{
	(void)state;
	loses("PUT / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" NEXT,
		FAULT_CODING " gzip, chunked\n");
	loses("PUT / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n" NEXT,
		FAULT_CODING " xchunked\n");
	loses("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"
	      NEXT, FAULT_CODING " identity\n");
	loses("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" NEXT,
		FAULT_CODING " chunked\n");
	loses("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" NEXT,
		FAULT_BOTH);
	loses("PUT / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: identity\r\n\r\n" NEXT,
		FAULT_BOTH);
}

/* -- responses ------------------------------------------------------------------------------- */

static void is_laid_out(const struct http_response *r, unsigned minor, const char *want)
{
	size_t len = 0;
	char *bytes = http_response_bytes(r, minor, "Firecracker API", &len);

	assert_non_null(bytes);
	assert_int_equal(len, strlen(want));
	assert_memory_equal(bytes, want, len);
	free(bytes);
}

static void responses_have_the_layout_of_micro_http(void **state)
{
	char body[] = "{\"fault_message\":\"x\"}";

	(void)state;
	is_laid_out(&(struct http_response){ .status = 204 }, 1,
		"HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n");
	is_laid_out(&(struct http_response){ .status = 100 }, 0,
		"HTTP/1.0 100 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n");
	is_laid_out(&(struct http_response){ .status = 204, .deprecated = true, .body = body,
			    .body_len = strlen(body) }, 1,
		"HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
		"Deprecation: true\r\n\r\n");
	is_laid_out(&(struct http_response){ .status = 400, .body = body,
			    .body_len = strlen(body) }, 1,
		"HTTP/1.1 400 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
		"Content-Type: application/json\r\nContent-Length: 21\r\n\r\n"
		"{\"fault_message\":\"x\"}");
	is_laid_out(&(struct http_response){ .status = 405, .content_type = "text/plain",
			    .allow = "GET, PUT", .deprecated = true, .extra = "X-A: 1\r\n" }, 1,
		"HTTP/1.1 405 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
		"Allow: GET, PUT\r\nDeprecation: true\r\nX-A: 1\r\n"
		"Content-Type: text/plain\r\nContent-Length: 0\r\n\r\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_read),
		cmocka_unit_test(pipelined_requests_come_in_order),
		cmocka_unit_test(targets_are_paths_or_of_http),
		cmocka_unit_test(targets_are_utf8),
		cmocka_unit_test(bad_request_lines_are_faults),
		cmocka_unit_test(the_parser_goes_on_after_what_it_lost),
		cmocka_unit_test(bad_headers_are_one_fault),
		cmocka_unit_test(a_nul_in_a_header_is_a_fault),
		cmocka_unit_test(unknown_values_are_ignored),
		cmocka_unit_test(bad_lengths_are_faults),
		cmocka_unit_test(lines_have_a_limit),
		cmocka_unit_test(headers_have_a_limit),
		cmocka_unit_test(headers_are_found_by_name),
		cmocka_unit_test(too_large_a_body_is_a_fault_at_its_header),
		cmocka_unit_test(the_largest_body_is_taken),
		cmocka_unit_test(expect_asks_before_the_body),
		cmocka_unit_test(chunks_make_a_body),
		cmocka_unit_test(chunks_have_the_limit_of_bodies),
		cmocka_unit_test(other_codings_are_faults),
		cmocka_unit_test(responses_have_the_layout_of_micro_http),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
