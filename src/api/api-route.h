/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routes of the API: the tables of all resources as one list, and the search in it with the
 * faults of micro-http's users for what is not there. Constant; any thread.
 */
#ifndef VOLT_API_ROUTE_H
#define VOLT_API_ROUTE_H

#include "api.h"

#define API_ID_MAX 255 /* bytes of an id in a path; longer ones are no id of ours */

/* Route i in a stable order, NULL behind the last. */
const struct api_route *api_route_nth(size_t i);
size_t api_route_index(const struct api_route *r);

/*
 * The route of a request, and the {id} of its path, "" if it has none; NULL: the fault was
 * answered.
 */
const struct api_route *api_route_find(struct api_call *c, const struct http_request *req,
	char id[API_ID_MAX + 1]);

#endif
