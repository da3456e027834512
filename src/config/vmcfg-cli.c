/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. It is first collected as a whole and then applied, because --config-file
 * comes before all flags wherever it stands. No mistake ends the reading. getopt_long() does the
 * splitting; its abbreviations are refused, because a new flag would change the meaning of an old
 * script, and a value that looks like a flag must be written --name=VALUE. Main thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "vmcfg-disk.h"
#include "vmcfg-net.h"
#include "vmcfg-option.h"
#include "vmcfg-row.h"

#define FIRST_CODE 256	     /* getopt's val of the first option; above every character */
#define REPEATED_MAX   256   /* more than fit, so that the limit of a list is what is reported */

struct cli {
	struct vmcfg_errors *errors;
	bool seen[VMCFG_N_OPTIONS];
	const char *value[VMCFG_N_OPTIONS]; /* NULL where one is missing (reported) */
	struct {
		enum vmcfg_does does;
		const char *value;
	} repeated[REPEATED_MAX]; /* in their order */
	size_t n_repeated;
	enum vmcfg_action action;
};

/* "--kernel" for messages. */
static const char *flag(const struct vmcfg_option *o, char buf[64])
{
	snprintf(buf, 64, "--%s", o->name);
	return buf;
}

static void collect(struct cli *c, size_t index, const char *value)
{
	const struct vmcfg_option *o = &vmcfg_option_table[index];
	char path[64];

	if (o->does == VMCFG_DISK || o->does == VMCFG_NET) {
		if (c->n_repeated < REPEATED_MAX) {
			c->repeated[c->n_repeated].does = o->does;
			c->repeated[c->n_repeated++].value = value;
		}
		return;
	}
	if (o->does == VMCFG_REFUSE) {
		vmcfg_error(c->errors, flag(o, path), "%s", o->help);
		return;
	}
	if (c->seen[index]) {
		vmcfg_error(c->errors, flag(o, path), "is given twice");
		return;
	}
	c->seen[index] = true;
	c->value[index] = value;
	/* --help wins over --version, that over --cpu-fingerprint, and so on. */
	if (o->does == VMCFG_ACTION)
		c->action = MAX(c->action, o->action);
}

/* argv[at]; the word behind it, if it is no flag, is taken for its value and not reported too. */
static void unknown(struct cli *c, char **argv, int at)
{
	const char *arg = argv[at];
	_cleanup_free_ char *name = strndup(arg, strcspn(arg, "="));
	const char *near = NULL;

	if (name && strncmp(name, "--", 2) == 0)
		near = vmcfg_option_guess(name + 2);
	if (near)
		vmcfg_error(c->errors, name, "unknown option (did you mean --%s?)", near);
	else
		vmcfg_error(c->errors, name ? name : arg, "unknown option; --help lists all");
	optind = at + 1;
	if (!strchr(arg, '=') && argv[optind] && argv[optind][0] != '-')
		optind++;
}

/* What getopt_long() made of argv[at]; optind is behind it. */
static void take(struct cli *c, char **argv, int at, int code)
{
	const char *arg = argv[at], *value = optarg;
	int index = (code == '?' || code == ':' ? optopt : code) - FIRST_CODE;
	const struct vmcfg_option *o;
	char path[64];

	if (code == 'h') {
		c->action = VMCFG_HELP;
		return;
	}
	if (index < 0 || strncmp(arg, "--", 2) != 0) {
		unknown(c, argv, at);
		return;
	}
	o = &vmcfg_option_table[index];
	if (strcspn(arg + 2, "=") != strlen(o->name)) { /* an abbreviation */
		unknown(c, argv, at);
	} else if (code == '?') {
		vmcfg_error(c->errors, flag(o, path), "takes no value");
	} else if (code == ':') {
		vmcfg_error(c->errors, flag(o, path), "needs a value: %s", o->arg);
		c->seen[index] = true;
	} else if (value && value == argv[at + 1] && strncmp(value, "--", 2) == 0) {
		vmcfg_error(c->errors, flag(o, path),
			"needs a value: %s (one that starts with -- is given as --%s=VALUE)",
			o->arg, o->name);
		c->seen[index] = true;
		optind = at + 1;
	} else {
		collect(c, (size_t)index, value);
	}
}

static void scan(struct cli *c, int argc, char **argv)
{
	struct option options[VMCFG_N_OPTIONS + 1] = { 0 };
	int code, at;

	for (int i = 0; i < VMCFG_N_OPTIONS; i++)
		options[i] = (struct option){
			.name = vmcfg_option_table[i].name,
			.has_arg = vmcfg_option_table[i].arg ? required_argument : no_argument,
			.val = FIRST_CODE + i,
		};
	opterr = 0;
	optind = 0; /* glibc: start afresh */
	for (at = 1; at < argc; at = optind) {
		code = getopt_long(argc, argv, "+:h", options, NULL);
		if (code != -1) {
			take(c, argv, at, code);
			continue;
		}
		if (strcmp(argv[at], "--") == 0)
			break;
		vmcfg_error(c->errors, argv[at], "unexpected argument; all are flags");
		optind = at + 1;
	}
	for (at++; at < argc; at++)
		vmcfg_error(c->errors, argv[at], "unexpected argument behind --");
}

/* The whole file; regular or not, it may be a pipe. */
static char *slurp(const char *path, size_t *ret_len, struct vmcfg_errors *errors)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	_cleanup_free_ char *text = malloc(LIMIT_CONFIG_BYTES + 1);
	size_t len = 0;
	ssize_t n;

	if (!text) {
		vmcfg_error(errors, "--config-file", "out of memory");
		return NULL;
	}
	if (fd < 0) {
		vmcfg_error(errors, "--config-file", "%s cannot be opened: %m", path);
		return NULL;
	}
	do {
		n = read(fd, text + len, LIMIT_CONFIG_BYTES + 1 - len);
		if (n > 0)
			len += (size_t)n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0) {
		vmcfg_error(errors, "--config-file", "%s cannot be read: %m", path);
		return NULL;
	}
	*ret_len = len;
	return take_ptr(&text);
}

static void read_file(struct vm_config *cfg, const char *path, struct vmcfg_errors *errors)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	text = slurp(path, &len, errors);
	if (text)
		vmcfg_json(cfg, text, len, path, errors);
}

static void set_console(struct vm_config *cfg, const char *value, struct vmcfg_errors *errors)
{
	const struct vmcfg_row *path = vmcfg_doc_row(vmcfg_doc_section("console"), "path");

	if (strncmp(value, "file:", 5) == 0) {
		if (vmcfg_row_set_text(path, cfg, value + 5, "--console", errors))
			cfg->console = CONSOLE_FILE;
		return;
	}
	if (strcmp(value, "auto") == 0)
		cfg->console = CONSOLE_AUTO;
	else if (strcmp(value, "off") == 0)
		cfg->console = CONSOLE_OFF;
	else
		vmcfg_error(errors, "--console", "must be auto, off or file:PATH, not '%.40s'",
			value);
	free(cfg->console_path);
	cfg->console_path = NULL;
}

/* A row's flag: with a value, or by its presence ("--smt" and "--no-acpi" set their field). */
static void set_row(struct vm_config *cfg, const struct vmcfg_option *o, const char *value,
	struct vmcfg_errors *errors)
{
	const struct vmcfg_row *row = vmcfg_doc_row(vmcfg_doc_section(o->section), o->key);
	char path[64];

	if (o->arg)
		vmcfg_row_set_text(row, cfg, value, flag(o, path), errors);
	else
		*(bool *)((char *)cfg + row->offset) = true;
}

static void apply(struct vm_config *cfg, const struct cli *c)
{
	for (size_t i = 0; i < VMCFG_N_OPTIONS; i++) {
		const struct vmcfg_option *o = &vmcfg_option_table[i];

		if (!c->seen[i] || (o->arg && !c->value[i]))
			continue;
		if (o->does == VMCFG_SET)
			set_row(cfg, o, c->value[i], c->errors);
		else if (o->does == VMCFG_CONSOLE)
			set_console(cfg, c->value[i], c->errors);
		else if (o->does == VMCFG_VSOCK)
			vmcfg_net_vsock_flag(cfg, c->value[i], c->errors);
		else if (o->does == VMCFG_NO_ENTROPY)
			cfg->entropy = false;
	}
	for (size_t i = 0; i < c->n_repeated; i++) {
		if (c->repeated[i].does == VMCFG_DISK)
			vmcfg_disk_flag(cfg, c->repeated[i].value, c->errors);
		else
			vmcfg_net_flag(cfg, c->repeated[i].value, c->errors);
	}
}

static bool has_root_argument(const char *cmdline)
{
	return strncmp(cmdline, "root=", 5) == 0 || strstr(cmdline, " root=");
}

/* What the flags leave open. A document says by itself which drive is the root, if any. */
static void fill_in(struct vm_config *cfg, bool has_file, struct vmcfg_errors *errors)
{
	bool root = false;

	if (!cfg->cmdline && (cfg->kernel_path || !cfg->api_path))
		vmcfg_row_set_string(&cfg->cmdline, vmcfg_doc_cmdline_flags, errors);
	for (size_t i = 0; i < cfg->n_disks; i++)
		root = root || cfg->disks[i].root;
	if (!has_file && cfg->n_disks && !root && cfg->cmdline && !has_root_argument(cfg->cmdline))
		cfg->disks[0].root = true;
	if (!has_file && !cfg->kernel_path)
		cfg->entropy = false; /* the API will say what there is */
	vmcfg_disk_settle(cfg, errors);
	vmcfg_net_settle(cfg, errors);
}

/* The value of a flag that is not a row, or NULL; *ret_seen if it is there at all. */
static const char *value_of(const struct cli *c, enum vmcfg_does does, bool *ret_seen)
{
	for (size_t i = 0; i < VMCFG_N_OPTIONS; i++) {
		if (vmcfg_option_table[i].does == does) {
			*ret_seen = c->seen[i];
			return c->value[i];
		}
	}
	*ret_seen = false;
	return NULL;
}

void vmcfg_cli(struct vm_config *cfg, int argc, char **argv, enum vmcfg_action *ret_action,
	struct vmcfg_errors *errors)
{
	struct cli c = { .errors = errors, .action = VMCFG_RUN };
	size_t errors_before = errors->n;
	bool has_file, no_api;
	const char *file;

	scan(&c, argc, argv);
	*ret_action = c.action;
	if (c.action == VMCFG_HELP || c.action == VMCFG_VERSION) {
		vmcfg_errors_done(errors);
		return;
	}
	cfg->no_guest = c.action == VMCFG_FINGERPRINT;
	file = value_of(&c, VMCFG_FILE, &has_file);
	value_of(&c, VMCFG_NO_API, &no_api);
	if (file)
		read_file(cfg, file, errors);
	if (no_api && !has_file)
		vmcfg_error(errors, "--no-api", "needs --config-file");
	apply(cfg, &c);
	fill_in(cfg, has_file, errors);
	if (errors->n != errors_before)
		cfg->partial = true;
}
