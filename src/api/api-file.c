/* SPDX-License-Identifier: Apache-2.0 */
/* Firecracker's configuration file, see api-file.h. */
#include "api-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api-route.h"
#include "cleanup.h"

/* In the order in which faults of the document name them. */
static const struct section {
	const char *key, *path;
	const char *id_field; /* of a list: each item is a request of its own */
	bool required, not_null;
} sections[] = {
	{ "balloon", "/balloon" },
	{ "drives", "/drives/{id}", "drive_id", .required = true },
	{ "boot-source", "/boot-source", .required = true },
	{ "cpu-config", "/cpu-config" },
	{ "logger", "/logger" },
	{ "machine-config", "/machine-config" },
	{ "metrics", "/metrics" },
	{ "mmds-config", "/mmds/config" },
	{ "network-interfaces", "/network-interfaces/{id}", "iface_id", .not_null = true },
	{ "vsock", "/vsock" },
	{ "entropy", "/entropy" },
	{ "pmem", "/pmem/{id}", "id", .not_null = true },
	{ "memory-hotplug", "/hotplug/memory" },
};

/* Of application. */
static const char *const order[] = { "logger", "metrics", "machine-config", "cpu-config",
	"boot-source", "drives", "network-interfaces", "vsock", "balloon", "mmds-config", "entropy",
	"pmem", "memory-hotplug" };

static void decref(json_t **v)
{
	json_decref(*v);
}

static const struct api_route *route_of(const char *path)
{
	const struct api_route *r;

	for (size_t i = 0; (r = api_route_nth(i)); i++)
		if (r->method == HTTP_PUT && strcmp(r->path, path) == 0)
			return r;
	return NULL;
}

/* The whole document against the descriptions of the bodies in it. */
static json_t *read_document(const char *text, size_t len, struct serde_fault *fault)
{
	struct serde_type items[ARRAY_SIZE(sections)] = { 0 };
	struct serde_field fields[ARRAY_SIZE(sections)] = { 0 };
	const struct serde_object document = { "VmmConfig", false, fields, ARRAY_SIZE(sections) };

	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		const struct section *s = &sections[i];
		const struct api_route *r = route_of(s->path);
		/* The template of a CPU may also be the path of a file. */
		bool any = !r || !r->body || strcmp(s->key, "cpu-config") == 0;

		items[i].kind = any ? SERDE_ANY : SERDE_OBJECT;
		items[i].object = any ? NULL : r->body;
		fields[i].name = s->key;
		fields[i].required = s->required;
		fields[i].not_null = s->not_null;
		fields[i].type = items[i];
		if (s->id_field)
			fields[i].type = (struct serde_type){ SERDE_LIST, .item = &items[i] };
	}
	return serde_read(&document, text, len, fault);
}

/* One body, as if it had come by PUT. */
static int put(struct api *a, const struct section *s, json_t *body, struct volt_err *err)
{
	const char *id = s->id_field ? json_string_value(json_object_get(body, s->id_field)) : "";
	struct http_response resp = { 0 };
	struct api_call c = { a, route_of(s->path), .id = id ? id : "", .body = body,
		.resp = &resp };

	if (!c.route)
		return volt_err_set(err, ENOTSUP, "%s: this version does not have it", s->key);
	c.route->serve(&c);
	free(resp.body);
	return resp.status >= 400 ? volt_err_set(err, EINVAL, "%s", c.fault) : 0;
}

/* The whole file, NUL-terminated; NULL with err. */
static char *slurp(const char *path, size_t *ret_len, struct volt_err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	_cleanup_free_ char *text = malloc(LIMIT_CONFIG_BYTES + 1);
	ssize_t n = 1;

	*ret_len = 0;
	if (fd < 0 || !text) {
		volt_err_set(err, errno, "Unable to open or read from the configuration file %s: "
					 "%m", path);
		return NULL;
	}
	while (n > 0 && *ret_len <= LIMIT_CONFIG_BYTES) {
		n = read(fd, text + *ret_len, LIMIT_CONFIG_BYTES + 1 - *ret_len);
		*ret_len += n > 0 ? (size_t)n : 0;
	}
	if (n == 0)
		return take_ptr(&text);
	volt_err_set(err, n < 0 ? errno : EFBIG, "configuration file %s: %m", path);
	return NULL;
}

/* cpu-config is the template, or the path of a file that has it. */
static int put_template(struct api *a, const struct section *s, json_t *v, struct volt_err *err)
{
	_cleanup_(decref) json_t *body = NULL;
	_cleanup_free_ char *text = NULL;
	struct serde_fault fault;
	size_t len;

	text = json_is_string(v) ? slurp(json_string_value(v), &len, err)
				 : json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	if (!text)
		return json_is_string(v) ? -err->code : volt_err_set(err, ENOMEM, "%s: %m", s->key);
	if (!json_is_string(v))
		len = strlen(text);
	body = serde_read(route_of(s->path)->body, text, len, &fault);
	if (!body)
		return volt_err_set(err, EINVAL, "Invalid JSON: %s: %s", s->key, fault.text);
	return put(a, s, body, err);
}

static int put_section(struct api *a, const struct section *s, json_t *v, struct volt_err *err)
{
	json_t *item;
	size_t k;
	int r = 0;

	if (strcmp(s->key, "cpu-config") == 0)
		return put_template(a, s, v, err);
	if (!s->id_field)
		return put(a, s, v, err);
	json_array_foreach(v, k, item) {
		r = put(a, s, item, err);
		if (r < 0)
			break;
	}
	return r;
}

static int apply(struct api *a, json_t *document, struct volt_err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		json_t *v = json_object_get(document, order[i]);
		const struct section *s = sections;
		int r;

		while (strcmp(s->key, order[i]) != 0)
			s++;
		r = v && !json_is_null(v) ? put_section(a, s, v, err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

int api_file(struct api *a, const char *path, struct volt_err *err)
{
	_cleanup_(decref) json_t *document = NULL;
	_cleanup_free_ char *text = NULL;
	struct serde_fault fault;
	size_t len;

	text = slurp(path, &len, err);
	if (!text)
		return -err->code;
	document = read_document(text, len, &fault);
	if (!document)
		return volt_err_set(err, EINVAL, "Invalid JSON: %s", fault.text);
	return apply(a, document, err);
}
