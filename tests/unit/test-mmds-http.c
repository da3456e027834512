/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest is answered: both versions, tokens, formats, statuses, and Firecracker's words, as
 * whole responses by way of the parser and of a connection.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmds-guest.h"

#define DATA                                                                                       \
	"{\"age\":43,\"name\":{\"first\":\"John\",\"second\":\"Doe\"},\"latest\":{\"api\":\"x\"}}"

static int setup(void **state)
{
	struct mmds_guest *g = calloc(1, sizeof(*g));

	mmds_guest_open(g, 51200);
	mmds_guest_put(g, DATA);
	assert_true(mmds_guest_connect(g, mmds_guest_tcp(g, 40000)));
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	mmds_guest_close(*state);
	free(*state);
	return 0;
}

/* fmt is the request; the answer has this status, and this body behind its head. */
static const char *assert_answer(struct mmds_guest *g, const char *request, int status,
	const char *body)
{
	const char *text = mmds_guest_ask(g, g->tcps[0], request);
	const char *end = strstr(text, "\r\n\r\n");
	char first[64];

	snprintf(first, sizeof(first), "HTTP/1.%c %d \r\n",
		strstr(request, "HTTP/1.0") ? '0' : '1', status);
	if (strncmp(text, first, strlen(first)) != 0)
		fail_msg("'%s' is answered by '%s', and not by %d", request, text, status);
	assert_non_null(end);
	assert_non_null(strstr(text, "\r\nServer: Firecracker API\r\n"));
	assert_non_null(strstr(text, "\r\nConnection: keep-alive\r\n"));
	if (body)
		assert_string_equal(end + 4, body);
	return text;
}

#define PLAIN "\r\nContent-Type: text/plain\r\n"
#define JSON  "\r\nContent-Type: application/json\r\n"

/* "GET path" with further header lines. */
static const char *get(const char *path, const char *headers)
{
	static char request[2048];

	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, headers);
	return request;
}

/* A token, by the given header. */
static const char *token(struct mmds_guest *g, const char *header)
{
	static char text[MMDS_TOKEN_TEXT + 1];
	char request[512];
	const char *answer;

	snprintf(request, sizeof(request), "PUT /latest/api/token HTTP/1.1\r\n%s: 60\r\n\r\n",
		header);
	answer = assert_answer(g, request, 200, NULL);
	assert_non_null(strstr(answer, PLAIN));
	snprintf(request, sizeof(request), "\r\n%s: 60\r\n", header); /* echoed */
	assert_non_null(strstr(answer, request));
	answer = strstr(answer, "\r\n\r\n") + 4;
	assert_int_equal(strlen(answer), MMDS_TOKEN_TEXT);
	memcpy(text, answer, sizeof(text));
	return text;
}

static void v1_needs_no_token(void **state)
{
	struct mmds_guest *g = *state;

	assert_non_null(strstr(assert_answer(g, get("/name/first", ""), 200, "John"), PLAIN));
	assert_answer(g, get("/", ""), 200, "age\nlatest/\nname/");
	assert_int_equal(g->m->counters.rx_no_token, 2);
	/* One that is given is looked at, and makes no difference. */
	assert_answer(g, get("/name/first", "X-metadata-token: nonsense\r\n"), 200, "John");
	assert_int_equal(g->m->counters.rx_invalid_token, 1);
	/* Tokens can be had here, too. */
	token(g, "X-metadata-token-ttl-seconds");
}

static void v2_needs_a_token(void **state)
{
	static const char *const names[] = { "X-metadata-token", "X-aws-ec2-metadata-token",
		"x-METADATA-token" };
	struct mmds_guest *g = *state;
	char header[256];

	g->m->v2 = true;
	assert_non_null(strstr(assert_answer(g, get("/name/first", ""), 401,
			"No MMDS token provided. Use `X-metadata-token` or "
			"`X-aws-ec2-metadata-token` header to specify the session token."), PLAIN));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(header, sizeof(header), "%s-ttl-seconds", names[i]);
		snprintf(header, sizeof(header), "%s: %s\r\n", names[i], token(g, header));
		assert_answer(g, get("/name/first", header), 200, "John");
	}
	header[strlen(header) - 3] ^= 1;
	assert_answer(g, get("/name/first", header), 401, "MMDS token not valid.");
	assert_int_equal(g->m->counters.rx_no_token, 1);
	assert_int_equal(g->m->counters.rx_invalid_token, 1);
}

static void tokens_expire(void **state)
{
	struct mmds_guest *g = *state;
	char header[128];

	g->m->v2 = true;
	snprintf(header, sizeof(header), "X-metadata-token: %s\r\n",
		token(g, "X-metadata-token-ttl-seconds"));
	g->now_ns += 59 * NSEC_PER_SEC;
	assert_answer(g, get("/name/first", header), 200, "John");
	g->now_ns += NSEC_PER_SEC;
	assert_answer(g, get("/name/first", header), 401, "MMDS token not valid.");
}

#define PUT(path, header) "PUT " path " HTTP/1.1\r\n" header "\r\n"
#define TTL		  "X-metadata-token-ttl-seconds: "

static void bad_token_requests_say_why(void **state)
{
	struct mmds_guest *g = *state;

	assert_answer(g, PUT("/latest/api/token", ""), 400,
		"Token time to live value not found. Use `X-metadata-token-ttl-seconds` or "
		"`X-aws-ec2-metadata-token-ttl-seconds` header to specify the token's lifetime.");
	assert_answer(g, PUT("/latest/api/token", TTL "0\r\n"), 400,
		"Invalid time to live value provided for token: 0. Please provide a value between "
		"1 and 21600.");
	assert_answer(g, PUT("/latest/api/token", TTL "21601\r\n"), 400,
		"Invalid time to live value provided for token: 21601. Please provide a value "
		"between 1 and 21600.");
	assert_answer(g, PUT("/latest/api/token", TTL "-1\r\n"), 400,
		"Invalid header. Reason: Invalid value. Key:X-metadata-token-ttl-seconds; "
		"Value:-1");
	assert_answer(g, PUT("/latest/api/token", TTL "4294967296\r\n"), 400,
		"Invalid header. Reason: Invalid value. Key:X-metadata-token-ttl-seconds; "
		"Value:4294967296");
	assert_answer(g, PUT("/latest/api/token", TTL "60\r\nX-Forwarded-For: 10.0.0.1\r\n"), 400,
		"Invalid header. Reason: Unsupported header name. Key: X-Forwarded-For");
	assert_answer(g, PUT("/latest/api/tokens", TTL "60\r\n"), 404,
		"Resource not found: /latest/api/tokens.");
	assert_answer(g, PUT("/latest/api/token/", TTL "60\r\n"), 404,
		"Resource not found: /latest/api/token/.");
	assert_answer(g, PUT("//latest///api//token", TTL "21600\r\n"), 200, NULL);
	assert_answer(g, PUT("/latest/api/token", TTL "1\r\n"), 200, NULL);
}

static void accept_chooses_the_format(void **state)
{
	struct mmds_guest *g = *state;
	const char *json = "Accept: application/json\r\n";

	assert_non_null(strstr(assert_answer(g, get("/name/first", json), 200, "\"John\""), JSON));
	assert_answer(g, get("/", json), 200,
		"{\"age\":43,\"latest\":{\"api\":\"x\"},\"name\":{\"first\":\"John\",\"second\":"
		"\"Doe\"}}");
	assert_answer(g, get("//name//", json), 200, "{\"first\":\"John\",\"second\":\"Doe\"}");
	assert_answer(g, get("/age", json), 200, "43");
	assert_non_null(strstr(assert_answer(g, get("/age", ""), 501,
			"Cannot retrieve value. The value has an unsupported type."), PLAIN));
	assert_answer(g, get("/name/third", json), 404, "Resource not found: /name/third.");
	assert_answer(g, get("/name//third", ""), 404, "Resource not found: /name//third.");
	assert_answer(g, get("http://169.254.169.254/name/first", ""), 200, "John");
	g->m->imds_compat = true;
	assert_non_null(strstr(assert_answer(g, get("/name/first", json), 200, "John"), JSON));
	assert_answer(g, get("/age", json), 501, NULL);
}

static void other_methods_are_not_allowed(void **state)
{
	struct mmds_guest *g = *state;
	const char *answer = assert_answer(g, "PATCH / HTTP/1.1\r\n\r\n", 405,
		"Not allowed HTTP method.");

	assert_non_null(strstr(answer, "\r\nAllow: GET, PUT\r\n"));
	assert_answer(g, "DELETE / HTTP/1.1\r\n\r\n", 405, "Not allowed HTTP method.");
	assert_answer(g, "POST / HTTP/1.1\r\n\r\n", 501, "Unsupported HTTP method.");
	assert_answer(g, "GET / HTTP/1.2\r\n\r\n", 501, "Unsupported HTTP version.");
	assert_answer(g, "GET /name/first HTTP/1.0\r\n\r\n", 200, "John");
}

/* Who announces a body is told at once, however much of it comes: Firecracker's test of a hang. */
static void bodies_are_refused_at_once(void **state)
{
	struct mmds_guest *g = *state;

	assert_answer(g, "GET / HTTP/1.1\r\nContent-Length: 100\r\n\r\nsome body", 400,
		"Invalid request.");
}

static void the_store_can_be_empty(void **state)
{
	struct mmds_guest *g = *state;

	mmds_store_done(&g->m->store);
	assert_answer(g, get("/", "Accept: application/json\r\n"), 200, "null");
	assert_answer(g, get("/", ""), 501, NULL);
	assert_answer(g, get("/a", ""), 404, NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(v1_needs_no_token),
		T(v2_needs_a_token),
		T(tokens_expire),
		T(bad_token_requests_say_why),
		T(accept_chooses_the_format),
		T(other_methods_are_not_allowed),
		T(bodies_are_refused_at_once),
		T(the_store_can_be_empty),
	};

	return cmocka_run_group_tests_name("mmds-http", tests, NULL, NULL);
}
