/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firecracker's REST API (level 1.17.0) and Volt's own paths below /volt. One table of routes,
 * api-route.c; one file per resource, which holds the description of its bodies and the functions
 * that serve it. Everything runs on the loop thread, one request at a time.
 *
 * A function that serves a route gets the call after the checks that are the same for all: path,
 * method, id, body against its description, stage. It answers at most once by one of api_*() below;
 * without, the answer is 204.
 *
 * Before the start nothing is confined, and what a body names is opened at once, into struct
 * resources: its items have the order of the configuration's lists.
 */
#ifndef VOLT_API_H
#define VOLT_API_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "err.h"
#include "http.h"
#include "serde.h"
#include "vmcfg.h"

#define API_LEVEL      "1.17.0" /* of Firecracker, whose interface this is */
#define API_ROUTES_MAX 64

struct http_server;
struct resources;
struct vm;

enum api_stage {
	API_PRE = 1,  /* before InstanceStart */
	API_POST = 2, /* after it */
	API_BOTH = 3,
};

/* Of one route: Firecracker's put_api_requests.drive_count and .drive_fails, and so on. */
struct api_counter {
	_Atomic uint64_t count, fails;
};

struct api {
	struct vm_config *cfg; /* borrowed; constant once the VM has started */
	struct resources *res; /* borrowed; what PUT has opened */
	struct vm *vm;	       /* borrowed; its devices exist once started is set */
	bool started, paused;
	/* Confines the process, builds the VM and starts it. */
	int (*start)(void *owner, struct volt_err *err);
	void *owner;

	struct http_server *http;
	struct api_counter counters[API_ROUTES_MAX]; /* in the order of the routes */
	_Atomic uint64_t deprecated;
	/* How long the last one took: from when the request came; and within the monitor. */
	struct {
		_Atomic uint64_t pause_us, resume_us, vmm_pause_us, vmm_resume_us;
	} latencies;
	_Atomic uint64_t startup_us, startup_cpu_us; /* see api_stats_started() */
	uint64_t call_ns; /* when the call that is served came */
};

struct api_call {
	struct api *api;
	const struct api_route *route;
	const char *id; /* of paths with {id}; else NULL */
	json_t *body;	/* borrowed; NULL: none */
	struct http_response *resp;
	char fault[768]; /* of an answer that is one; for the log */
};

struct api_route {
	enum http_method method;
	const char *path; /* "/drives/{id}" */
	enum api_stage stage;
	const struct serde_object *body; /* NULL for GET and DELETE, and for any JSON value */
	bool body_optional;
	const char *id_field; /* the key of the body that must equal {id}; NULL: none */
	void (*serve)(struct api_call *c);
	const char *counter; /* "drive"; NULL: none */
	const char *doc; /* one sentence, for docs/api/openapi.yaml; NULL: it only has a fault */
};

/* cfg, res, vm and owner must outlive it. */
void api_init(struct api *a, struct vm_config *cfg, struct resources *res, struct vm *vm,
	int (*start)(void *owner, struct volt_err *err), void *owner);
/* Serves what connects to listenfd, which is taken on success. */
int api_serve(struct api *a, int listenfd, struct volt_err *err);
void api_done(struct api *a);
/* Serves one request, whose answer is then to be freed as http-server.h says. */
void api_answer(struct api *a, const struct http_request *req, struct http_response *resp);
/* The socket of --api-sock, in words that Firecracker's users know if it is taken. */
int api_listen(const char *path, struct volt_err *err);

/* Adds what the API counts to the sets of vm->metrics. Once, when the VM has been opened. */
void api_stats_add(struct api *a);
/* The server is there: takes the time since the launcher says that it has started us. */
void api_stats_started(struct api *a);

/* 200 and the value, whose reference is taken (NULL: out of memory). */
void api_json(struct api_call *c, json_t *v);
/* 400 and {"fault_message": ...}. */
void api_fault(struct api_call *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same with another status. */
void api_fault_status(struct api_call *c, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Response header, counter and log line of a deprecated use; the answer is still to be given. */
void api_deprecated(struct api_call *c, const char *what);

/*
 * vmcfg_apply() of the body over base; false if that is a fault, which is answered with the prefix
 * before it.
 */
bool api_apply(struct api_call *c, const char *section, void *base, const char *prefix);
/* True if the body has the key; NULL bodies have none. */
bool api_has(const struct api_call *c, const char *key);
/* Of the body; NULL: absent. */
const char *api_string(const struct api_call *c, const char *key);
bool api_true(const struct api_call *c, const char *key);
/* json_t of a text, null for NULL. */
json_t *api_text_or_null(const char *text);

/* "No such file or directory (os error 2)": how Firecracker's texts name an errno. */
const char *api_os_error(int code, char *buf, size_t size);

/* -- rate limiters are the same everywhere, api-limiter.c -- */

extern const struct serde_object api_rate_limiter, api_token_bucket;
/* {"bandwidth": ..., "ops": ...} with nulls, as GET /vm/config shows it; null if it is off. */
json_t *api_limiter_json(const struct limiter_params *p);
/* One bucket; null if it is off. */
json_t *api_bucket_json(const struct bucket_params *p);
/* One bucket of a body; all zeros, and false, for NULL. */
bool api_bucket_read(const json_t *b, struct bucket_params *ret);
/*
 * What PATCH wants: the buckets that the object names; one that is named and off removes the limit.
 * The change points into ret.
 */
struct api_limiter {
	struct limiter_params params;
	struct limiter_change change;
};
void api_limiter_read(const json_t *limiter, struct api_limiter *ret);
/* The same over what is configured, for GET. */
void api_limiter_store(const struct api_limiter *l, struct limiter_params *params);

#endif
