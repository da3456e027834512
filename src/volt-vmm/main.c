/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volt-vmm: one virtual machine per process. main() reads as the order of things: configuration,
 * files, confinement, KVM, guest.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "probe.h"
#include "sandbox.h"
#include "version.h"
#include "vm.h"

#define EXIT_ERROR 1 /* configuration, environment; the guest's ends have their own, see vm-end.c */

static int fail(const struct volt_err *err, const struct resources *res)
{
	fprintf(stderr, "volt-vmm: %s\n", err->msg);
	if (res && res->logfd >= 0)
		log_error("%s", err->msg);
	return EXIT_ERROR;
}

/* The configuration, complete and checked. Returns -1 to go on, else the exit status. */
static int configure(struct vm_config *cfg, int argc, char **argv)
{
	_cleanup_(vmcfg_errors_done) struct vmcfg_errors errors = { 0 };
	enum vmcfg_action action;

	vmcfg_defaults(cfg);
	vmcfg_cli(cfg, argc, argv, &action, &errors);
	if (action == VMCFG_HELP) {
		vmcfg_usage(stdout);
		return 0;
	}
	if (action == VMCFG_VERSION) {
		printf("volt-vmm v%s\n", VOLT_VERSION);
		return 0;
	}
	vmcfg_check(cfg, &errors);
	if (errors.n) {
		vmcfg_errors_print(&errors, stderr);
		return EXIT_ERROR;
	}
	if (action == VMCFG_DUMP)
		return vmcfg_dump(cfg, stdout) < 0 ? EXIT_ERROR : 0;
	return action == VMCFG_CHECK ? 0 : -1;
}

/* What we were started with, but for descriptors that are interfaces. */
static int close_inherited(const struct vm_config *cfg, struct volt_err *err)
{
	int keep[LIMIT_NETS];

	for (size_t i = 0; i < cfg->n_nets; i++)
		keep[i] = cfg->nets[i].fd;
	return sandbox_close_fds(keep, cfg->n_nets, err);
}

static int open_log(struct resources *res, const struct vm_config *cfg, struct volt_err *err)
{
	struct log_config log = {
		.id = cfg->id,
		.fd = STDERR_FILENO,
		.level = cfg->log.level,
		.show_level = cfg->log.show_level || !cfg->log.path,
		.show_origin = cfg->log.show_origin,
		.module = cfg->log.module,
	};
	int r = resources_open_log(res, cfg, err);

	if (r < 0)
		return r;
	if (res->logfd >= 0)
		log.fd = res->logfd;
	log_init(&log);
	return 0;
}

/* From here on the process can open nothing. */
static int confine(const struct vm_config *cfg, const struct resources *res, struct volt_err *err)
{
	struct volt_err warning = { 0 };
	int r;

	if (cfg->no_landlock) {
		log_warn("Landlock is off: --no-landlock");
	} else {
		r = sandbox_landlock(NULL, 0, &warning);
		if (r < 0)
			return volt_err_set(err, -r, "%s", warning.msg);
		if (r == 0)
			log_warn("%s", warning.msg);
	}
	if (cfg->no_seccomp) {
		log_warn("seccomp is off: --no-seccomp");
		return 0;
	}
	return sandbox_sigsys_init(res->logfd, console_restore, err);
}

static int run(const struct vm_config *cfg, struct resources *res, struct timeline *timeline)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	struct volt_err err = { 0 };
	int r, status;

	if (!vm) {
		volt_err_set(&err, ENOMEM, "%m");
		return fail(&err, res);
	}
	r = vm_open(vm, cfg, timeline, &err);
	if (r == 0)
		r = resources_net_open(res, cfg, &vm->loop, &err);
	if (r == 0)
		r = confine(cfg, res, &err);
	timeline_mark(timeline, TIMELINE_CONFIG);
	if (r == 0)
		r = vm_create(vm, res, &err);
	if (r == 0)
		r = vm_run(vm, &err);
	if (r == 0) {
		status = vm_exit_status(vm);
		vm_report_print(vm, stderr);
		if (cfg->timeline)
			timeline_print(timeline, stderr);
	} else {
		status = fail(&err, res);
	}
	resources_net_done(res);
	if (vm_destroy(vm))
		free(vm);
	log_info("volt-vmm exiting. exit_code=%d", status);
	return status;
}

int main(int argc, char **argv)
{
	_cleanup_(resources_done) struct resources res;
	_cleanup_(vmcfg_done) struct vm_config cfg;
	struct timeline timeline = { 0 };
	struct volt_err err = { 0 };
	int r;

	timeline_mark(&timeline, TIMELINE_MAIN);
	resources_init(&res);
	memset(&cfg, 0, sizeof(cfg));
	if (sandbox_early(&err) < 0)
		return fail(&err, NULL);
	r = configure(&cfg, argc, argv);
	if (r >= 0)
		return r;
	if (close_inherited(&cfg, &err) < 0)
		return fail(&err, NULL);
	timeline_start(&timeline, cfg.start_time_us);
	if (open_log(&res, &cfg, &err) < 0 || resources_open(&res, &cfg, &err) < 0 ||
		probe_capabilities(res.kvmfd, &err) < 0)
		return fail(&err, &res);
	log_info("Running volt-vmm v%s", VOLT_VERSION);
	return run(&cfg, &res, &timeline);
}
