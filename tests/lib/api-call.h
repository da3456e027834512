/* SPDX-License-Identifier: Apache-2.0 */
/* A call of one route's function, behind the checks of the core, and its answer as one text. */
#ifndef VOLT_TEST_API_CALL_H
#define VOLT_TEST_API_CALL_H

#include "api.h"

/* The route of a method and path, "/drives/{id}"; the test fails if there is none. */
const struct api_route *api_call_route(enum http_method method, const char *path);

/*
 * body: JSON, or NULL. "204", "200 {...}" or "400 " and the fault's text; valid until the next
 * call.
 */
const char *api_call_said(struct api *a, enum http_method method, const char *path, const char *id,
	const char *body);

#endif
