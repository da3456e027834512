/* SPDX-License-Identifier: Apache-2.0 */
/* Which route a request takes, and the fault of one that takes none. */
#include "api-route.h"

#include <stdlib.h>
#include <string.h>

#include "test.h"

/* The answer's text for a request; "" and the route's path if there is one. */
static const struct api_route *find(enum http_method m, const char *path, const char *body,
	char fault[768], char id[API_ID_MAX + 1])
{
	struct http_request req = {
		.method = m,
		.path = path,
		.body = body,
		.body_len = body ? strlen(body) : 0,
	};
	struct http_response resp = { 0 };
	struct api_call c = { .resp = &resp };
	const struct api_route *r = api_route_find(&c, &req, id);

	assert_int_equal(!r, resp.status == 400);
	strcpy(fault, c.fault);
	free(resp.body);
	return r;
}

static void every_route_is_found_by_its_path(void **state)
{
	char fault[768], id[API_ID_MAX + 1], path[128];
	const struct api_route *r;

	(void)state;
	for (size_t i = 0; (r = api_route_nth(i)); i++) {
		const char *brace = strstr(r->path, "{id}");
		bool bare = r->method == HTTP_GET || r->method == HTTP_DELETE;

		snprintf(path, sizeof(path), "//%.*s%s/",
			(int)(brace ? brace - r->path : (long)strlen(r->path)), r->path,
			brace ? "a_1" : "");
		assert_ptr_equal(find(r->method, path, bare ? NULL : "{}", fault, id), r);
		assert_string_equal(id, brace ? "a_1" : "");
		assert_int_equal(api_route_index(r), i);
		assert_true(i < API_ROUTES_MAX);
	}
}

static void what_is_not_there_has_its_fault(void **state)
{
	static const struct {
		enum http_method method;
		const char *path, *body, *fault;
	} rows[] = {
		{ HTTP_GET, "/foo", NULL, "Invalid request method and/or path: GET foo." },
		{ HTTP_GET, "/vm", NULL, "Invalid request method and/or path: GET vm." },
		{ HTTP_GET, "/actions", NULL, "Invalid request method and/or path: GET actions." },
		{ HTTP_PUT, "/foo/bar", "{}", "Invalid request method and/or path: PUT foo." },
		{ HTTP_PUT, "/machine-config/x", "{}",
			"Invalid request method and/or path: PUT machine-config." },
		{ HTTP_DELETE, "/vsock", NULL,
			"Invalid request method and/or path: DELETE vsock." },
		{ HTTP_PUT, "/snapshot", "{}", "Missing snapshot operation type." },
		{ HTTP_PUT, "/snapshot/x", "{}",
			"Invalid request method and/or path: PUT /snapshot/x." },
		{ HTTP_PUT, "/drives", "{}", "The ID cannot be empty." },
		{ HTTP_PATCH, "/network-interfaces/", "{}", "The ID cannot be empty." },
		{ HTTP_PUT, "/drives/a-b", "{}",
			"API Resource IDs can only contain alphanumeric characters and "
			"underscores." },
		{ HTTP_GET, "/", "x", "GET request cannot have a body." },
		{ HTTP_GET, "/foo", "x", "GET request cannot have a body." },
		{ HTTP_PUT, "/actions", NULL, "Empty PUT request." },
		{ HTTP_PUT, "/foo", NULL, "Empty PUT request." },
		{ HTTP_PATCH, "/vm", NULL, "Empty PATCH request." },
		{ HTTP_DELETE, "/drives/a", "x", "Empty Delete request." },
		{ HTTP_PUT, "/mmds/x", "{}", "Unrecognized PUT request path `x`." },
	};
	char fault[768], id[API_ID_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_null(find(rows[i].method, rows[i].path, rows[i].body, fault, id));
		assert_string_equal(fault, rows[i].fault);
	}
}

/* An id that is longer than we keep must not be taken for a shorter one. */
static void a_long_id_is_not_cut(void **state)
{
	char fault[768], id[API_ID_MAX + 1], path[2 * API_ID_MAX] = "/drives/";

	(void)state;
	memset(path + 8, 'a', API_ID_MAX);
	assert_non_null(find(HTTP_PUT, path, "{}", fault, id));
	assert_int_equal(strlen(id), API_ID_MAX);
	path[8 + API_ID_MAX] = 'a';
	assert_null(find(HTTP_PUT, path, "{}", fault, id));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_route_is_found_by_its_path),
		cmocka_unit_test(what_is_not_there_has_its_fault),
		cmocka_unit_test(a_long_id_is_not_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
