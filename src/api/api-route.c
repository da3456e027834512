/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the API, see api-route.h. */
#include "api-route.h"

#include <string.h>

#include "api-resources.h"

#define RESOURCE(name) { api_##name##_routes, &api_##name##_n_routes }

static const struct {
	const struct api_route *routes;
	const size_t *n;
} resources[] = {
	RESOURCE(info), RESOURCE(actions), RESOURCE(balloon), RESOURCE(boot), RESOURCE(cpu),
	RESOURCE(drives), RESOURCE(entropy), RESOURCE(hotplug), RESOURCE(log), RESOURCE(machine),
	RESOURCE(mmds), RESOURCE(net), RESOURCE(pmem), RESOURCE(serial), RESOURCE(snapshot),
	RESOURCE(stats), RESOURCE(vm), RESOURCE(vsock),
};

const struct api_route *api_route_nth(size_t i)
{
	for (size_t r = 0; r < ARRAY_SIZE(resources); r++) {
		if (i < *resources[r].n)
			return &resources[r].routes[i];
		i -= *resources[r].n;
	}
	return NULL;
}

size_t api_route_index(const struct api_route *route)
{
	size_t before = 0;

	for (size_t r = 0; r < ARRAY_SIZE(resources); r++) {
		if (route >= resources[r].routes && route < resources[r].routes + *resources[r].n)
			return before + (size_t)(route - resources[r].routes);
		before += *resources[r].n;
	}
	return 0;
}

/* Letters and digits of ASCII, underscores, and what is beyond ASCII (Rust's alphanumerics). */
static bool id_ok(const char *id)
{
	for (; *id; id++)
		if (!((*id >= 'a' && *id <= 'z') || (*id >= 'A' && *id <= 'Z') ||
			    (*id >= '0' && *id <= '9') || *id == '_' || (unsigned char)*id >= 0x80))
			return false;
	return true;
}

/* The next token of a path: its length; *path is moved to its begin. */
static size_t token(const char **path)
{
	while (**path == '/')
		(*path)++;
	return strcspn(*path, "/");
}

/* A path against "/drives/{id}"; what stands there goes to id. */
static bool matches(const char *pattern, const char *path, char id[API_ID_MAX + 1])
{
	for (;;) {
		size_t want = token(&pattern), have = token(&path);

		if (want == 0 || have == 0)
			return want == have;
		if (want == 4 && memcmp(pattern, "{id}", 4) == 0) {
			if (have > API_ID_MAX)
				return false;
			memcpy(id, path, have);
			id[have] = '\0';
		} else if (want != have || memcmp(pattern, path, want) != 0) {
			return false;
		}
		pattern += want;
		path += have;
	}
}

/* What Firecracker says of a path or method that is not there. */
static void refuse(struct api_call *c, const struct http_request *req)
{
	const char *method = http_method_name(req->method), *path = req->path, *rest;
	size_t n = token(&path);
	bool put = req->method == HTTP_PUT;

	rest = path + n;
	token(&rest);
#define FIRST_IS(name) (n == strlen(name) && memcmp(path, (name), n) == 0)
	if (FIRST_IS("snapshot") && put && *rest)
		api_fault(c, "Invalid request method and/or path: PUT /snapshot/%.*s.",
			(int)strcspn(rest, "/"), rest);
	else if (FIRST_IS("snapshot") && put)
		api_fault(c, "Missing snapshot operation type.");
	else if ((FIRST_IS("drives") || FIRST_IS("pmem") || FIRST_IS("network-interfaces")) &&
		req->method != HTTP_GET && !*rest)
		api_fault(c, "The ID cannot be empty.");
	else if (FIRST_IS("mmds") && put && *rest)
		api_fault(c, "Unrecognized %s request path `%.*s`.", method,
			(int)strcspn(rest, "/"), rest);
	else
		api_fault(c, "Invalid request method and/or path: %s %.*s.", method, (int)n, path);
#undef FIRST_IS
}

/* The fault of a body that should or should not be; NULL: none. */
static const char *body_fault(const struct api_route *r, const struct http_request *req)
{
	switch (req->method) {
	case HTTP_GET:
		return req->body ? "GET request cannot have a body." : NULL;
	case HTTP_DELETE:
		return req->body ? "Empty Delete request." : NULL;
	case HTTP_PUT:
		return req->body ? NULL : "Empty PUT request.";
	default:
		return req->body || (r && r->body_optional) ? NULL : "Empty PATCH request.";
	}
}

const struct api_route *api_route_find(struct api_call *c, const struct http_request *req,
	char id[API_ID_MAX + 1])
{
	const struct api_route *r = NULL;
	const char *fault;

	id[0] = '\0';
	for (size_t i = 0; (r = api_route_nth(i)); i++)
		if (r->method == req->method && matches(r->path, req->path, id))
			break;
	fault = body_fault(r, req);
	if (fault) {
		api_fault(c, "%s", fault);
		return NULL;
	}
	if (!r) {
		refuse(c, req);
		return NULL;
	}
	if (!id_ok(id)) {
		api_fault(c, "API Resource IDs can only contain alphanumeric characters and "
			     "underscores.");
		return NULL;
	}
	return r;
}
