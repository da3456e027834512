/* SPDX-License-Identifier: Apache-2.0 */
/* PUT /serial: where the serial port's output goes. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "api-resources.h"

static const struct serde_field fields[] = {
	{ "serial_out_path", { SERDE_PATH } },
	{ "rate_limiter", { SERDE_OBJECT, .object = &api_token_bucket } },
};
static const struct serde_object body = { "SerialConfig", true, fields, ARRAY_SIZE(fields) };

static void put_serial(struct api_call *c)
{
	const json_t *bucket = json_object_get(c->body, "rate_limiter");
	const char *path = api_string(c, "serial_out_path");
	struct vm_config *cfg = c->api->cfg;
	char *copy, why[128];

	if (path && (!path[0] || strlen(path) >= PATH_MAX)) {
		api_fault(c, "Serial config error: Failed to open target file: %s",
			api_os_error(path[0] ? ENAMETOOLONG : ENOENT, why, sizeof(why)));
		return;
	}
	copy = path ? strdup(path) : NULL;
	if (path && !copy) {
		api_fault_status(c, 500, "out of memory");
		return;
	}
	free(cfg->console_path);
	cfg->console_path = copy;
	cfg->console = path ? CONSOLE_FILE : CONSOLE_AUTO;
	api_bucket_read(bucket, &cfg->console_limit);
}

const struct api_route api_serial_routes[] = {
	{ HTTP_PUT, "/serial", API_PRE, .body = &body, .serve = put_serial, .counter = "serial",
		.doc = "Sends the output of the serial port to a file." },
};
const size_t api_serial_n_routes = ARRAY_SIZE(api_serial_routes);
