/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the API's functions, see api-call.h. */
#include "api-call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api-route.h"
#include "test.h"

const struct api_route *api_call_route(enum http_method method, const char *path)
{
	const struct api_route *r;

	for (size_t i = 0; (r = api_route_nth(i)); i++)
		if (r->method == method && strcmp(r->path, path) == 0)
			return r;
	fail_msg("no route %s", path);
	return NULL;
}

const char *api_call_said(struct api *a, enum http_method method, const char *path, const char *id,
	const char *body)
{
	static char said[2048];
	struct http_response resp = { 0 };
	struct api_call c = { a, api_call_route(method, path), .id = id, .resp = &resp };

	c.body = body ? json_loads(body, JSON_DECODE_ANY, NULL) : NULL;
	assert_true(!body == !c.body);
	c.route->serve(&c);
	json_decref(c.body);
	if (!resp.status)
		snprintf(said, sizeof(said), "204");
	else if (resp.status == 200)
		snprintf(said, sizeof(said), "200 %.*s", (int)resp.body_len, resp.body);
	else
		snprintf(said, sizeof(said), "%d %s", resp.status, c.fault);
	free(resp.body);
	return said;
}
