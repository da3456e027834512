/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volt-vmm: one virtual machine per process. main() reads as the order of things: configuration,
 * event loop and API, then for each VM files, confinement, KVM, guest. Without an API socket the VM
 * starts at once; with one it starts when its configuration came with the command line, or when a
 * client says InstanceStart. Called as "firecracker" it is that program for its clients.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "api-file.h"
#include "api.h"
#include "cleanup.h"
#include "confine.h"
#include "cpu-fingerprint.h"
#include "cpu-setup.h"
#include "fatal.h"
#include "log.h"
#include "persona.h"
#include "probe.h"
#include "sandbox.h"
#include "snapshot-cmd.h"
#include "version.h"
#include "vm.h"

#define EXIT_ERROR 1 /* configuration, environment; the guest's ends have their own, see vm-end.c */

struct process {
	struct vm_config cfg;
	struct resources res;
	struct timeline timeline;
	struct vm *vm;
	struct api api;
	bool spent; /* a VM was begun: there is no second try */
	bool logs;  /* the log is where the user wants it, so our end is told there */
};

/* p: NULL if it is too early for the log. Firecracker's is on stdout if there is no other. */
static int fail(const struct volt_err *err, const struct process *p)
{
	bool firecracker = p && p->cfg.firecracker;

	fprintf(stderr, "%s: %s\n", firecracker ? "Error" : "volt-vmm", err->msg);
	if (firecracker || (p && p->res.logfd >= 0))
		log_error("%s", err->msg);
	return EXIT_ERROR;
}

static int print_fingerprint(const struct vm_config *cfg)
{
	_cleanup_(resources_done) struct resources res;
	struct volt_err err = { 0 };
	int r;

	resources_init(&res);
	r = cpu_setup_load(cfg, &res.cpu_template, &err);
	if (r == 0)
		r = resources_open_kvm(&res, &err);
	if (r == 0)
		r = probe_capabilities(res.kvmfd, res.cpu_template, &err);
	if (r == 0)
		r = cpu_fingerprint(res.kvmfd, cfg, res.cpu_template, stdout, &err);
	return r < 0 ? fail(&err, NULL) : 0;
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
	cpu_setup_check(cfg, &errors);
	if (errors.n) {
		vmcfg_errors_print(&errors, stderr);
		return EXIT_ERROR;
	}
	if (action == VMCFG_DUMP)
		return vmcfg_dump(cfg, stdout) < 0 ? EXIT_ERROR : 0;
	if (action == VMCFG_FINGERPRINT)
		return print_fingerprint(cfg);
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

/*
 * From a complete configuration to a running guest. Once it is confined the process can open
 * nothing more, so after a failure beyond that point only the end is left.
 */
static int launch(void *owner, struct volt_err *err)
{
	struct process *p = owner;
	int r;

	if (p->spent)
		return volt_err_set(err, EPERM,
			"an earlier start failed when this process was confined already, which "
			"cannot be undone: start another one");
	r = resources_open(&p->res, &p->cfg, err);
	if (r == 0)
		r = probe_capabilities(p->res.kvmfd, p->res.cpu_template, err);
	if (r == 0)
		r = vm_open_console(p->vm, err);
	if (r == 0)
		r = resources_net_open(&p->res, &p->cfg, &p->vm->loop, err);
	if (r == 0 && p->cfg.firecracker)
		r = fatal_init(&p->vm->metrics, p->res.logfd >= 0 ? p->res.logfd : STDOUT_FILENO,
			err);
	if (r == 0)
		r = confine_process(&p->cfg, &p->res, err);
	timeline_mark(&p->timeline, TIMELINE_CONFIG);
	p->spent = r == 0;
	if (r == 0)
		r = vm_create(p->vm, &p->res, err);
	return r < 0 ? r : vm_start(p->vm, err);
}

static int serve_api(struct process *p, struct volt_err *err)
{
	int fd, r;

	if (!p->cfg.api_path)
		return 0;
	fd = api_listen(p->cfg.api_path, err);
	if (fd < 0)
		return fd;
	r = api_serve(&p->api, fd, err);
	if (r < 0) {
		fd_close(fd);
		return r;
	}
	api_stats_started(&p->api);
	log_info("Listening on API socket (\"%s\").", p->cfg.api_path);
	log_info("API server started.");
	return 0;
}

static int replay(struct process *p, struct volt_err *err)
{
	if (!p->cfg.replay_path)
		return 0;
	if (api_file(&p->api, p->cfg.replay_path, err) < 0)
		return volt_err_wrap(err, "Configuration for VMM from one single json failed");
	return 0;
}

static int run(struct process *p)
{
	struct volt_err err = { 0 };
	int r, status;

	p->vm = calloc(1, sizeof(*p->vm));
	if (!p->vm) {
		volt_err_set(&err, ENOMEM, "%m");
		return fail(&err, p);
	}
	api_init(&p->api, &p->cfg, &p->res, p->vm, launch, p);
	r = vm_open(p->vm, &p->cfg, &p->timeline, &err);
	if (r == 0) {
		api_stats_add(&p->api);
		r = serve_api(p, &err);
	}
	if (r == 0)
		r = replay(p, &err);
	if (r == 0 && p->cfg.kernel_path) {
		r = launch(p, &err);
		p->api.started = r == 0;
	}
	if (r == 0 && p->cfg.replay_path)
		log_info("Successfully started microvm that was configured from one single json");
	if (r == 0)
		r = vm_wait(p->vm, &err);
	if (r == 0) {
		status = vm_exit_status(p->vm);
		vm_report_print(p->vm, stderr);
		if (p->cfg.timeline)
			timeline_print(&p->timeline, stderr);
	} else {
		status = fail(&err, p);
	}
	api_done(&p->api);
	resources_net_done(&p->res);
	fatal_done();
	if (vm_destroy(p->vm))
		free(p->vm);
	return status;
}

static int start(struct process *p, int argc, char **argv)
{
	struct volt_err err = { 0 };
	int r;

	if (sandbox_early(&err) < 0)
		return fail(&err, NULL);
	p->logs = persona_is_firecracker(argv[0]);
	if (!p->logs && snapshot_cmd_is(argc, argv))
		return snapshot_cmd_run(argc, argv);
	r = p->logs ? persona_configure(&p->cfg, argc, argv) : configure(&p->cfg, argc, argv);
	if (r >= 0)
		return r;
	if (close_inherited(&p->cfg, &err) < 0)
		return fail(&err, p);
	timeline_start(&p->timeline, p->cfg.start_time_us);
	if (resources_open_log(&p->res, &p->cfg, &err) < 0)
		return fail(&err, p);
	p->logs = true;
	persona_log_start(&p->cfg);
	if (p->cfg.metadata_path && resources_mmds_open(&p->res, &p->cfg, &err) < 0)
		return fail(&err, p);
	return run(p);
}

/*
 * The seed of its hash tables, against keys that collide by design. Left alone jansson opens
 * /dev/urandom for it, perhaps when that is forbidden.
 */
static void seed_jansson(void)
{
	uint32_t seed = 0;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = 0; /* jansson's own way */
	json_object_seed(seed);
}

int main(int argc, char **argv)
{
	struct process *p = calloc(1, sizeof(*p));
	int status;

	if (!p)
		return EXIT_ERROR;
	timeline_mark(&p->timeline, TIMELINE_MAIN);
	seed_jansson();
	resources_init(&p->res);
	status = start(p, argc, argv);
	if (p->logs)
		persona_log_exit(&p->cfg, status);
	resources_done(&p->res);
	vmcfg_done(&p->cfg);
	free(p);
	return status;
}
