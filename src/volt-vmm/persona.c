/* SPDX-License-Identifier: Apache-2.0 */
/* Being called as "firecracker", see persona.h. */
#include "persona.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api.h"
#include "cleanup.h"
#include "fcargs.h"
#include "log.h"
#include "version.h"

#define EXIT_BAD_CONFIGURATION 152
#define EXIT_ARGUMENTS	       153
#define DEFAULT_SOCKET	       "/run/firecracker.socket"

#define FLAG(name_, has_value_, help_)                                                             \
	{                                                                                          \
		.name = (name_), .has_value = (has_value_), .help = (help_)                        \
	}

static const struct fcargs_flag flags[] = {
	FLAG("api-sock", true, "Path to unix domain socket used by the API."),
	FLAG("boot-timer", false, "Whether or not to load boot timer device."),
	FLAG("config-file", true, "Path to a file that contains the microVM configuration."),
	FLAG("describe-snapshot", true, NULL),
	FLAG("enable-pci", false, NULL),
	FLAG("help", false, "Show the help message."),
	FLAG("http-api-max-payload-size", true, "Http API request payload max size, in bytes."),
	FLAG("id", true, "MicroVM unique identifier."),
	FLAG("level", true, "Set the logger level."),
	FLAG("log-path", true, "Path to a fifo or a file used for the logger."),
	FLAG("metadata", true, "Path to a file with metadata in JSON for MMDS."),
	FLAG("metrics-path", true, "Path to a fifo or a file used for the metrics."),
	FLAG("mmds-size-limit", true, "Mmds data store limit, in bytes."),
	FLAG("module", true, "Set the logger module filter."),
	{ "no-api", .needs = "config-file",
		.help = "Disables the API; config-file is required then." },
	{ "no-seccomp", .excludes = "seccomp-filter", .help = "Do not confine system calls." },
	FLAG("parent-cpu-time-us", true, "CPU time of the parent process, in us."),
	FLAG("seccomp-filter", true, NULL),
	FLAG("show-level", false, "Put the level on each line of the log."),
	FLAG("show-log-origin", false, "Put file and line on each line of the log."),
	FLAG("snapshot-version", false, "Print the data format of snapshots."),
	FLAG("start-time-cpu-us", true, "CPU time of this process when it started, in us."),
	FLAG("start-time-us", true, "Monotonic clock when this process was started, in us."),
	FLAG("version", false, "Print the binary version number."),
};

#define N_FLAGS ARRAY_SIZE(flags)

/* What this monitor does not have, and why. */
static const struct {
	const char *name, *why;
} refused[] = {
	{ "describe-snapshot", "this version has no snapshots" },
	{ "enable-pci", "this monitor has no PCI; devices are on virtio-mmio" },
	{ "seccomp-filter", "filters are built in; --no-seccomp switches them off" },
};

/* What is not handed on to volt-vmm's own command line. */
static const char *const own[] = { "api-sock", "config-file", "no-api" };

bool persona_is_firecracker(const char *argv0)
{
	const char *slash = argv0 ? strrchr(argv0, '/') : NULL;

	return argv0 && strcmp(slash ? slash + 1 : argv0, "firecracker") == 0;
}

static const char *get(const struct fcargs_value *values, const char *name)
{
	return fcargs_get(flags, N_FLAGS, values, name);
}

static int refuse(const char *text)
{
	fprintf(stderr, "Error: ParseArguments(\"%s\")\n", text);
	log_error("Arguments parsing error: %s \n\nFor more information try --help.", text);
	return EXIT_ARGUMENTS;
}

static void print_help(void)
{
	printf("Firecracker v" API_LEVEL "\n\nThis is volt-vmm " VOLT_VERSION
	       ", called as firecracker.\n\noptional arguments:\n");
	for (size_t i = 0; i < N_FLAGS; i++)
		if (flags[i].help)
			printf("  --%s%s\n      %s\n", flags[i].name,
				flags[i].has_value ? " <value>" : "", flags[i].help);
}

/* What is asked for instead of a VM; -1: nothing. */
static int answer(const struct fcargs_value *values)
{
	if (get(values, "help"))
		print_help();
	else if (get(values, "version"))
		printf("Firecracker v" API_LEVEL "\n\n");
	else if (get(values, "snapshot-version"))
		printf("v11.0.0\n");
	else
		return -1;
	fflush(stdout); /* the log goes there too, and not by stdio */
	return 0;
}

static int judge(const struct fcargs_value *values)
{
	const char *level = get(values, "level");
	char text[160];

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		if (!get(values, refused[i].name))
			continue;
		snprintf(text, sizeof(text), "The argument '%s' cannot be used: %s.",
			refused[i].name, refused[i].why);
		return refuse(text);
	}
	if (!level || log_level_from_name(level) >= 0)
		return -1;
	snprintf(text, sizeof(text), "Invalid value for logger level: %.64s."
				     "Possible values: [Error, Warning, Info, Debug]", level);
	fprintf(stderr, "Error: %s\n", text);
	log_error("%s", text);
	return EXIT_BAD_CONFIGURATION;
}

static bool is_own(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (strcmp(own[i], name) == 0)
			return true;
	return false;
}

/* Hands on what is the same for us; -1, or the exit status. */
static int pass(struct vm_config *cfg, const struct fcargs_value *values)
{
	_cleanup_(vmcfg_errors_done) struct vmcfg_errors errors = { 0 };
	const char *socket = get(values, "api-sock");
	char *argv[N_FLAGS + 3] = { NULL };
	enum vmcfg_action action;
	int argc = 0;

	argv[argc++] = strdup("firecracker");
	for (size_t i = 0; i < N_FLAGS; i++) {
		const struct fcargs_flag *f = &flags[i];

		if (values[i].n && !is_own(f->name) &&
			asprintf(&argv[argc], f->has_value ? "--%s=%s" : "--%s", f->name,
				values[i].text[0]) > 0)
			argc++;
	}
	if (!get(values, "no-api") &&
		asprintf(&argv[argc], "--api-sock=%s", socket ? socket : DEFAULT_SOCKET) > 0)
		argc++;
	argv[argc] = NULL;
	vmcfg_cli(cfg, argc, argv, &action, &errors);
	vmcfg_check(cfg, &errors);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	if (!errors.n)
		return -1;
	vmcfg_errors_print(&errors, stderr);
	return EXIT_BAD_CONFIGURATION;
}

int persona_configure(struct vm_config *cfg, int argc, char **argv)
{
	const struct log_config log = { .id = "anonymous-instance", .fd = STDOUT_FILENO,
		.level = LOG_INFO };
	struct fcargs_value values[N_FLAGS];
	struct volt_err err = { 0 };
	const char *file;
	char **rest;
	int status;

	log_init(&log); /* until the configuration says more */
	vmcfg_defaults(cfg);
	cfg->firecracker = true;
	if (fcargs_parse(flags, N_FLAGS, argc, argv, values, &rest, &err) < 0)
		return refuse(err.msg);
	status = answer(values);
	if (status < 0)
		status = judge(values);
	if (status >= 0)
		return status;
	file = get(values, "config-file");
	cfg->replay_path = file ? strdup(file) : NULL;
	return pass(cfg, values);
}

void persona_log_start(const struct vm_config *cfg)
{
	if (cfg->firecracker)
		log_info("Running Firecracker v" API_LEVEL);
	else
		log_info("Running volt-vmm v%s", VOLT_VERSION);
}

void persona_log_exit(const struct vm_config *cfg, int status)
{
	if (!cfg->firecracker)
		log_info("volt-vmm exiting. exit_code=%d", status);
	else if (status == 0)
		log_info("Firecracker exiting successfully. exit_code=0");
	else
		log_error("Firecracker exiting with error. exit_code=%d", status);
}
