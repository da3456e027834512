/* SPDX-License-Identifier: Apache-2.0 */
/* PUT /logger and PUT /metrics: where lines go, and which. */
#include <stdlib.h>
#include <string.h>

#include "api-resources.h"
#include "log.h"
#include "resources.h"

static const char *judge_level(const char *text)
{
	return log_level_from_name(text) < 0 ? "Invalid LevelFilter" : NULL;
}

static const struct serde_field logger_fields[] = {
	{ "log_path", { SERDE_PATH } },
	{ "level", { SERDE_STRING, .judge = judge_level } }, /* in any letter case */
	{ "show_level", { SERDE_BOOL } },
	{ "show_log_origin", { SERDE_BOOL } },
	{ "module", { SERDE_STRING } },
};
static const struct serde_object logger_body = { "LoggerConfig", true, logger_fields,
	ARRAY_SIZE(logger_fields) };

static const struct serde_field metrics_fields[] = {
	{ "metrics_path", { SERDE_PATH }, .required = true },
	{ "emit_id", { SERDE_BOOL }, .not_null = true },
	{ "properties", { SERDE_MAP } },
};
static const struct serde_object metrics_body = { "MetricsConfig", false, metrics_fields,
	ARRAY_SIZE(metrics_fields) };

/* What is not named gets its default, but for the target: that stays. */
static void put_logger(struct api_call *c)
{
	struct vm_config *cfg = c->api->cfg;
	const char *path = api_string(c, "log_path"), *level = api_string(c, "level");
	struct volt_err err = { 0 };
	char why[128];

	if (path && resources_reopen_log(c->api->res, path, &err) < 0) {
		api_fault(c, "Logger error: Failed to open target file: %s",
			api_os_error(err.code, why, sizeof(why)));
		return;
	}
	free(cfg->log.module);
	cfg->log.module = NULL;
	cfg->log.level = level ? (enum log_level)log_level_from_name(level) : LOG_INFO;
	json_object_del(c->body, "level"); /* stored above, in any letter case */
	cfg->log.show_level = false;
	cfg->log.show_origin = false;
	if (api_apply(c, "logger", cfg, "Logger error: "))
		resources_log_init(c->api->res, cfg);
}

static void put_metrics(struct api_call *c)
{
	struct vm_config *cfg = c->api->cfg;
	struct volt_err err = { 0 };
	char why[128];

	if (cfg->metrics_path) {
		api_fault(c, "Metrics error: Cannot initialize the metrics system due to bad user "
			     "input: Reinitialization of metrics not allowed.");
		return;
	}
	if (!api_apply(c, "metrics", cfg, "Metrics error: "))
		return;
	if (resources_open_metrics(c->api->res, cfg, &err) == 0)
		return;
	free(cfg->metrics_path);
	free(cfg->metrics_properties);
	cfg->metrics_path = cfg->metrics_properties = NULL;
	cfg->metrics_emit_id = false;
	api_fault(c, "Metrics error: Cannot initialize the metrics system due to bad user input: "
		     "%s", api_os_error(err.code, why, sizeof(why)));
}

const struct api_route api_log_routes[] = {
	{ HTTP_PUT, "/logger", API_PRE, .body = &logger_body, .serve = put_logger,
		.counter = "logger", .doc = "Says where the log goes and what is in it." },
	{ HTTP_PUT, "/metrics", API_PRE, .body = &metrics_body, .serve = put_metrics,
		.counter = "metrics", .doc = "Says where the metrics go." },
};
const size_t api_log_n_routes = ARRAY_SIZE(api_log_routes);
