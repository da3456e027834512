/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP server on a listening Unix socket, in the event loop: never blocks, never waits for a
 * client. Requests are answered in the order in which they came, one at a time; output that a slow
 * client does not take is kept up to HTTP_SERVER_OUTPUT_MAX (and the answer that passes it), then
 * nothing more is read from it. The connection beyond the limit gets Firecracker's 503 and is
 * closed. A transport fault is answered by 400 and {"error": ...}; the connection stays open until
 * the client closes it. What it sent before it shut down its side is served and answered, which
 * micro-http does not. Loop thread.
 */
#ifndef VOLT_HTTP_SERVER_H
#define VOLT_HTTP_SERVER_H

#include <stdatomic.h>

#include "err.h"
#include "http.h"

#define HTTP_SERVER_CONNECTIONS 10
#define HTTP_SERVER_OUTPUT_MAX	(1 << 20) /* of one connection */
#define HTTP_SERVER_BUDGET	16 /* answers of one connection a round, before others' turn */

struct loop;
struct http_server;

struct http_server_params {
	const char *server; /* value of the Server header; borrowed */
	size_t max_body;
	/*
	 * Fills in *resp, whose status is 0 before; 0 afterwards is 204. The request is valid
	 * during the call.
	 */
	void (*serve)(void *owner, const struct http_request *req, struct http_response *resp);
	void *owner;
};

struct http_server_counters {
	_Atomic uint64_t accepted, refused; /* connections: served, or beyond the limit or memory */
	_Atomic uint64_t requests, faults;
	_Atomic uint64_t io_errors; /* peers that vanished, and accept() without descriptors */
};

/* Takes listenfd (non-blocking) on success. The loop and the params' pointers must outlive it. */
int http_server_open(struct loop *loop, int listenfd, const struct http_server_params *params,
	struct http_server **ret, struct volt_err *err);
void http_server_close(struct http_server *s); /* NULL is allowed; not from within serve() */
const struct http_server_counters *http_server_counters(const struct http_server *s);

#endif
