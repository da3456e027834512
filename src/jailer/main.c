/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volt-jailer: starts a monitor in a jail, as Firecracker's jailer does. main() reads as the order
 * of things. One thread; what it makes on the host it removes again if the program does not start.
 * docs/adr/0012-jailer.md has the decisions.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "jail-cgroup.h"
#include "jail-dir.h"
#include "jail-exec.h"
#include "jail-ns.h"
#include "jail-rights.h"
#include "jail-start.h"

#define EXIT_ERROR 1

struct jail {
	struct jail_args args;
	struct jail_dir dir;
	struct jail_cgroup cgroup;
	struct jail_undo undo;
	struct jail_start_times times;
	bool entered; /* this process is in the jail */
	int nullfd;
	mode_t mask; /* the caller's, for the program */
};

/* What is made on the host: files, then the cgroup. */
static int make(struct jail *j, struct volt_err *err)
{
	const struct jail_args *a = &j->args;
	char interp[JAIL_EXEC_INTERP];
	_cleanup_close_ int execfd = jail_exec_open(a->exec_file, interp, err);
	int r = MIN(execfd, 0);

	if (r == 0)
		r = jail_dir_make(a, &j->dir, &j->undo, err);
	if (r == 0)
		r = jail_exec_check_interp(interp, j->dir.rootfd, a, err);
	if (r == 0)
		r = jail_dir_fill(a, &j->dir, execfd, &j->undo, err);
	return r < 0 ? r : jail_cgroup_make(a, &j->cgroup, &j->undo, err);
}

/* From here on the host is out of reach, but for what is open. */
static int enter(struct jail *j, struct volt_err *err)
{
	const struct jail_args *a = &j->args;
	int r = 0;

	j->nullfd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (j->nullfd < 0)
		return volt_err_set(err, errno, "open /dev/null: %m");
	if (a->rootless)
		r = jail_ns_user(a, err);
	if (r == 0)
		r = jail_ns_mount(a, &j->dir, err);
	j->entered = r == 0;
	return r < 0 ? r : jail_rights_jailed(err);
}

static int say(const struct volt_err *err)
{
	fprintf(stderr, "%s\nError: Jailer(\"%s\")\n", err->msg, err->msg);
	return EXIT_ERROR;
}

static int run(struct jail *j)
{
	struct volt_err err = { 0 };
	bool failed = true;
	int r = jail_rights_descriptors(&j->args, &err);

	j->mask = umask(0); /* modes are as they are given */
	/* First, because /proc/PID/ns asks for more than we keep. */
	if (r == 0 && j->args.netns)
		r = jail_ns_net(j->args.netns, &err);
	if (r == 0)
		r = jail_rights_begin(&j->args, &err);
	if (r == 0)
		r = make(j, &err);
	if (r == 0)
		r = enter(j, &err);
	if (r == 0)
		r = jail_start(&j->args, &j->dir, &j->cgroup, &j->times, j->nullfd, j->mask,
			&failed, &err);
	if (r < 0 && failed) {
		say(&err);
		if (j->entered)
			jail_ns_undo(&j->args, &j->dir);
		jail_undo_run(&j->undo);
	}
	jail_undo_done(&j->undo);
	jail_cgroup_done(&j->cgroup);
	fd_close(j->dir.rootfd);
	fd_close(j->nullfd);
	return r < 0 ? EXIT_ERROR : 0;
}

int main(int argc, char **argv)
{
	struct jail *j = calloc(1, sizeof(*j));
	struct volt_err err = { 0 };
	int status = 0;

	if (!j)
		return EXIT_ERROR;
	j->dir.rootfd = j->nullfd = -1;
	jail_start_clock(&j->times);
	clearenv();
	if (jail_args_parse(argc, argv, &j->args, &err) < 0) {
		status = say(&err);
		fprintf(stderr, "\nFor more information try --help.\n");
	} else if (j->args.action == JAIL_ARGS_HELP) {
		jail_args_help(stdout);
	} else if (j->args.action == JAIL_ARGS_VERSION) {
		printf("Jailer v" JAIL_ARGS_LEVEL "\n\n");
	} else {
		status = run(j);
	}
	free(j);
	return status;
}
