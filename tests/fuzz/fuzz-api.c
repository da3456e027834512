/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of a client before the start: lines "PUT /drives/a {...}", each a request, against one
 * scratch configuration. A "!" before the method makes what the request opens fail. Nothing of the
 * machine is opened. Oracles: each request has one answer of a known status, with a JSON body that
 * fits it; the configuration passes the checks that flags and documents have, whatever was asked;
 * a refusal leaves as many drives and interfaces as there were, or fewer; nothing leaks.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api.h"
#include "log.h"
#include "resources.h"
#include "vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- in place of the functions that open something ---- */

static bool fails;

static int refuse(struct volt_err *err)
{
	return volt_err_set(err, ENOENT, "%s", "fuzz: \xc3\xbc \"it fails\" \\ as it was told");
}

static int null(int *ret)
{
	*ret = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert(*ret >= 0);
	return 0;
}

int __wrap_resources_open_disk(const struct disk_config *d, const char *path, int *ret,
	struct volt_err *err);
int __wrap_resources_open_disk(const struct disk_config *d, const char *path, int *ret,
	struct volt_err *err)
{
	assert(d->id && path);
	*ret = -1;
	return fails ? refuse(err) : null(ret);
}

int __wrap_resources_open_read(const char *path, int *ret);
int __wrap_resources_open_read(const char *path, int *ret)
{
	assert(path);
	*ret = -1;
	errno = ENOENT;
	return fails ? -ENOENT : null(ret);
}

int __wrap_resources_reopen_log(struct resources *r, const char *path, struct volt_err *err);
int __wrap_resources_reopen_log(struct resources *r, const char *path, struct volt_err *err)
{
	assert(path && r->logfd >= 0);
	return fails ? refuse(err) : 0;
}

int __wrap_resources_open_metrics(struct resources *r, const struct vm_config *cfg,
	struct volt_err *err);
int __wrap_resources_open_metrics(struct resources *r, const struct vm_config *cfg,
	struct volt_err *err)
{
	assert(cfg->metrics_path && r->metricsfd == -1);
	return fails ? refuse(err) : null(&r->metricsfd);
}

int __wrap_resources_open_net(struct resources *r, const struct vm_config *cfg, size_t i,
	struct loop *loop, struct volt_err *err);
int __wrap_resources_open_net(struct resources *r, const struct vm_config *cfg, size_t i,
	struct loop *loop, struct volt_err *err)
{
	(void)loop;
	assert(i < cfg->n_nets && !r->nets[i] && cfg->nets[i].id);
	return fails ? refuse(err) : 0;
}

int __wrap_resources_open_vsock(struct resources *r, const struct vm_config *cfg,
	struct volt_err *err);
int __wrap_resources_open_vsock(struct resources *r, const struct vm_config *cfg,
	struct volt_err *err)
{
	assert(cfg->vsock_path && r->vsockfd == -1);
	return fails ? refuse(err) : null(&r->vsockfd);
}

static int start(void *owner, struct volt_err *err)
{
	(void)owner;
	return refuse(err);
}

/* ---- requests ---- */

static bool method_of(const char *word, size_t len, enum http_method *ret)
{
	static const enum http_method all[] = { HTTP_GET, HTTP_PUT, HTTP_PATCH, HTTP_DELETE };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		*ret = all[i];
		if (strlen(http_method_name(*ret)) == len &&
			memcmp(http_method_name(*ret), word, len) == 0)
			return true;
	}
	return false;
}

/*
 * Ids beyond ASCII are left out: clients of Firecracker may have them, and flags and documents not,
 * so the checks would complain.
 */
static bool is_ascii(const char *path, const char *end)
{
	for (; *path && path != end; path++)
		if ((unsigned char)*path >= 0x80)
			return false;
	return true;
}

/* line is NUL-terminated, and is cut in pieces. False: no request. */
static bool parse(char *line, size_t len, struct http_request *ret)
{
	char *space, *path, *body;

	fails = len && line[0] == '!';
	line += fails;
	len -= fails;
	space = memchr(line, ' ', len);
	if (!space || !method_of(line, (size_t)(space - line), &ret->method))
		return false;
	path = space + 1;
	body = memchr(path, ' ', len - (size_t)(path - line));
	if (path[0] != '/' || memchr(line, '\0', len) || !is_ascii(path, body))
		return false;
	if (body) {
		*body++ = '\0';
		ret->body = body;
		ret->body_len = len - (size_t)(body - line);
	}
	if (!ret->body_len)
		ret->body = NULL;
	ret->path = path;
	return true;
}

static void check_answer(const struct http_response *resp)
{
	json_t *v;

	assert(resp->status == 200 || resp->status == 204 || resp->status == 400 ||
		resp->status == 413);
	assert(!resp->body == (resp->status == 204));
	if (!resp->body)
		return;
	v = json_loadb(resp->body, resp->body_len, JSON_DECODE_ANY, NULL);
	assert(v);
	if (resp->status >= 400) {
		assert(json_object_size(v) == 1);
		assert(json_string_length(json_object_get(v, "fault_message")) > 0);
	}
	json_decref(v);
}

static void check_config(const struct vm_config *cfg)
{
	struct vmcfg_errors errors = { 0 };

	vmcfg_check_values(cfg, &errors);
	if (errors.n) {
		vmcfg_errors_print(&errors, stderr);
		abort();
	}
}

static void ask(struct api *a, const struct http_request *req)
{
	struct http_response resp = { 0 };
	size_t n_disks = a->cfg->n_disks, n_nets = a->cfg->n_nets;

	api_answer(a, req, &resp);
	check_answer(&resp);
	check_config(a->cfg);
	if (resp.status >= 400)
		assert(a->cfg->n_disks <= n_disks && a->cfg->n_nets <= n_nets);
	assert(!a->started);
	free(resp.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vm vm;
	struct vm_config cfg;
	struct resources res;
	struct api api;
	char *text = malloc(size + 1), *line = text, *end;

	assert(text);
	memcpy(text, data, size);
	text[size] = '\n';
	log_init(&(struct log_config){ .id = "fuzz", .fd = -1 });
	vmcfg_defaults(&cfg);
	cfg.api_path = strdup("/none");
	cfg.firecracker = size % 2;
	resources_init(&res);
	null(&res.logfd); /* else the log is standard error, and slow */
	api_init(&api, &cfg, &res, &vm, start, NULL);
	for (; line < text + size; line = end + 1) {
		struct http_request req = { 0 };

		end = memchr(line, '\n', (size_t)(text + size + 1 - line));
		*end = '\0';
		if (parse(line, (size_t)(end - line), &req))
			ask(&api, &req);
	}
	resources_net_done(&res);
	resources_done(&res);
	close(res.logfd);
	vmcfg_done(&cfg);
	free(text);
	return 0;
}
