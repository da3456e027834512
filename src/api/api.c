/* SPDX-License-Identifier: Apache-2.0 */
/* From an HTTP request to the function that serves it, and back; see api.h. */
#include "api.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api-route.h"
#include "cleanup.h"
#include "http-server.h"
#include "log.h"
#include "loop.h"
#include "vm.h"

#define BACKLOG 64

static void decref(json_t **v)
{
	json_decref(*v);
}

/* ---- answers ---- */

void api_json(struct api_call *c, json_t *v)
{
	char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

	json_decref(v);
	if (!text) {
		api_fault_status(c, 500, "out of memory");
		return;
	}
	c->resp->status = 200;
	c->resp->body = text;
	c->resp->body_len = strlen(text);
}

static void answer_fault(struct api_call *c, int status)
{
	_cleanup_(decref) json_t *v = json_pack("{s:s}", "fault_message", c->fault);

	c->resp->status = status;
	c->resp->body = v ? json_dumps(v, JSON_COMPACT) : NULL;
	c->resp->body_len = c->resp->body ? strlen(c->resp->body) : 0;
}

void api_fault(struct api_call *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->fault, sizeof(c->fault), fmt, ap);
	va_end(ap);
	answer_fault(c, 400);
}

void api_fault_status(struct api_call *c, int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->fault, sizeof(c->fault), fmt, ap);
	va_end(ap);
	answer_fault(c, status);
}

void api_deprecated(struct api_call *c, const char *what)
{
	c->resp->deprecated = true;
	atomic_fetch_add_explicit(&c->api->deprecated, 1, memory_order_relaxed);
	log_warn("%s is deprecated and may be removed from Firecracker's API", what);
}

bool api_apply(struct api_call *c, const char *section, void *base, const char *prefix)
{
	_cleanup_(vmcfg_errors_done) struct vmcfg_errors errors = { 0 };

	vmcfg_apply(section, base, c->body, &errors);
	if (!errors.n)
		return true;
	api_fault(c, "%s%s", prefix, errors.text[0] ? errors.text[0] : "out of memory");
	return false;
}

bool api_has(const struct api_call *c, const char *key)
{
	return json_object_get(c->body, key);
}

const char *api_string(const struct api_call *c, const char *key)
{
	return json_string_value(json_object_get(c->body, key));
}

bool api_true(const struct api_call *c, const char *key)
{
	return json_is_true(json_object_get(c->body, key));
}

json_t *api_text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

/* Where musl, with which Firecracker is built, has other words than the C library here. */
static const struct {
	int code;
	const char *text;
} other_words[] = {
	{ EADDRINUSE, "Address in use" },
	{ EBUSY, "Resource busy" },
	{ EIO, "I/O error" },
	{ ELOOP, "Symbolic link loop" },
	{ EMFILE, "No file descriptors available" },
	{ ENAMETOOLONG, "Filename too long" },
	{ ENOMEM, "Out of memory" },
};

const char *api_os_error(int code, char *buf, size_t size)
{
	const char *text = strerrordesc_np(code);

	for (size_t i = 0; i < ARRAY_SIZE(other_words); i++)
		if (other_words[i].code == code)
			text = other_words[i].text;
	snprintf(buf, size, "%s (os error %d)", text ? text : "Unknown error", code);
	return buf;
}

/* ---- requests ---- */

/* The checks that every call has; false: answered. */
static bool check(struct api_call *c, const struct http_request *req, json_t **ret_body)
{
	const struct api_route *r = c->route;
	struct serde_fault fault;
	const char *id;

	*ret_body = NULL;
	if (req->body && r->method != HTTP_GET && r->method != HTTP_DELETE) {
		*ret_body = r->body ? serde_read(r->body, req->body, req->body_len, &fault)
				    : serde_read_any(req->body, req->body_len, &fault);
		if (!*ret_body) {
			api_fault(c, "An error occurred when deserializing the json body of a "
				     "request: %s.", fault.text);
			return false;
		}
	}
	c->body = *ret_body;
	id = r->id_field ? api_string(c, r->id_field) : NULL;
	if (id && strcmp(id, c->id) != 0) {
		if (strcmp(r->id_field, "iface_id") == 0)
			api_fault(c, "The id from the path [%s] does not match the id from the "
				     "body [%s]!", c->id, id);
		else
			api_fault(c, "The id from the path does not match the id from the body!");
		return false;
	}
	if (r->stage & (c->api->started ? API_POST : API_PRE))
		return true;
	api_fault(c, "The requested operation is not supported %s starting the microVM.",
		c->api->started ? "after" : "before");
	return false;
}

static const char *capital(enum http_method m)
{
	static const char *const names[] = { "Get", "Put", "Patch", "Delete" };

	return names[m];
}

/* As Rust's {:?} shows a text, but for what is not ASCII: that is left alone. Cut to fit. */
static const char *quote(char *buf, size_t size, const char *text, size_t len)
{
	static const char plain[] = "\"\\\n\r\t", letter[] = "\"\\nrt";
	size_t n = 0;

	for (size_t i = 0; i < len && n + sizeof("\\u{ff}") <= size; i++) {
		unsigned char c = (unsigned char)text[i];
		const char *special = memchr(plain, c, sizeof(plain) - 1);

		if (special)
			n += (size_t)snprintf(buf + n, size - n, "\\%c", letter[special - plain]);
		else if (c < ' ' || c == 0x7f)
			n += (size_t)snprintf(buf + n, size - n, "\\u{%x}", c);
		else
			buf[n++] = (char)c;
	}
	buf[n] = '\0';
	return buf;
}

/* What is in /mmds is for the guest alone; a CPU template is long. */
static void log_request(const struct http_request *req, const struct api_route *r)
{
	bool secret = r && strcmp(r->path, "/mmds") == 0;
	bool template = r && strcmp(r->path, "/cpu-config") == 0;
	char path[256], body[640]; /* a line of the log has 1024 */

	quote(path, sizeof(path), req->path, strlen(req->path));
	if (!req->body || secret || (template && !log_shows(LOG_DEBUG)))
		log_info("The API server received a %s request on \"%s\".", capital(req->method),
			path);
	else
		log_info("The API server received a %s request on \"%s\" with body \"%s\".",
			capital(req->method), path,
			quote(body, sizeof(body), req->body, req->body_len));
}

static void log_response(const struct api_call *c, uint64_t start_ns)
{
	switch (c->resp->status) {
	case 200:
		log_info("The request was executed successfully. Status code: 200 OK.");
		break;
	case 204:
		log_info("The request was executed successfully. Status code: 204 No Content.");
		break;
	default:
		log_error("Received Error. Status code: %d %s. Message: %s", c->resp->status,
			c->resp->status == 400 ? "Bad Request" : "Error", c->fault);
	}
	log_debug("Total previous API call duration: %llu us.",
		(unsigned long long)(loop_now_ns() - start_ns) / 1000);
}

void api_answer(struct api *a, const struct http_request *req, struct http_response *resp)
{
	struct api_call c = { .api = a, .resp = resp };
	_cleanup_(decref) json_t *body = NULL;
	char id[API_ID_MAX + 1];

	a->call_ns = loop_now_ns();
	c.route = api_route_find(&c, req, id);
	log_request(req, c.route);
	c.id = id;
	if (c.route) {
		struct api_counter *n = &a->counters[api_route_index(c.route)];

		atomic_fetch_add_explicit(&n->count, 1, memory_order_relaxed);
		if (check(&c, req, &body))
			c.route->serve(&c);
		if (!resp->status)
			resp->status = 204;
		if (resp->status >= 400)
			atomic_fetch_add_explicit(&n->fails, 1, memory_order_relaxed);
	}
	log_response(&c, a->call_ns);
}

static void serve(void *owner, const struct http_request *req, struct http_response *resp)
{
	api_answer(owner, req, resp);
}

/* ---- the server ---- */

int api_listen(const char *path, struct volt_err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return volt_err_set(err, errno, "API socket: %m");
	if (strlen(path) >= sizeof(addr.sun_path))
		return volt_err_set(err, ENAMETOOLONG,
			"the path of the API socket has %zu bytes, at most %zu are possible: %s",
			strlen(path), sizeof(addr.sun_path) - 1, path);
	memcpy(addr.sun_path, path, strlen(path));
	if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
		if (errno == EADDRINUSE)
			return volt_err_set(err, EADDRINUSE,
				"RunWithApiError error: Failed to open the API socket at: %s. "
				"Check that it is not already used.", path);
		return volt_err_set(err, errno, "API socket %s: %m", path);
	}
	if (listen(fd, BACKLOG) < 0)
		return volt_err_set(err, errno, "listen on %s: %m", path);
	return take_fd(&fd);
}

void api_init(struct api *a, struct vm_config *cfg, struct resources *res, struct vm *vm,
	int (*start)(void *owner, struct volt_err *err), void *owner)
{
	*a = (struct api){
		.cfg = cfg,
		.res = res,
		.vm = vm,
		.start = start,
		.owner = owner,
	};
}

int api_serve(struct api *a, int listenfd, struct volt_err *err)
{
	const struct http_server_params params = {
		.server = "Firecracker API",
		.max_body = a->cfg->api_max_body,
		.serve = serve,
		.owner = a,
	};

	return http_server_open(&a->vm->loop, listenfd, &params, &a->http, err);
}

void api_done(struct api *a)
{
	http_server_close(a->http);
	a->http = NULL;
}
