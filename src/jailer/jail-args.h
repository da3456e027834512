/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of the jailer: Firecracker's flags and texts, and --rootless and --keep-fd of
 * our own. Everything that can be judged without looking at the host is judged here. Main thread.
 */
#ifndef VOLT_JAIL_ARGS_H
#define VOLT_JAIL_ARGS_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "fcargs.h"

#define JAIL_ARGS_LEVEL	     "1.17.0" /* of Firecracker's jailer, whose flags these are */
#define JAIL_ARGS_VALUES     FCARGS_VALUES_MAX
#define JAIL_ARGS_CONTROLLER 32 /* bytes of a controller's name with the NUL */
#define JAIL_ARGS_UNLIMITED  UINT64_MAX

enum jail_args_action {
	JAIL_ARGS_RUN,
	JAIL_ARGS_HELP,
	JAIL_ARGS_VERSION,
};

/* --cgroup FILE=VALUE */
struct jail_args_cgroup {
	char controller[JAIL_ARGS_CONTROLLER]; /* what stands before the first dot of file */
	char file[64];
	const char *value;
};

/* Strings are argv's. */
struct jail_args {
	enum jail_args_action action;
	const char *id, *exec_file, *exec_name; /* exec_name: the last part of exec_file */
	const char *base, *netns;		/* netns NULL: the caller's */
	const char *parent_cgroup;		/* exec_name if not given */
	bool parent_cgroup_given;
	uid_t uid;
	gid_t gid;
	bool daemonize, new_pid_ns, rootless;
	unsigned cgroup_version; /* 1, 2 */
	struct jail_args_cgroup cgroups[JAIL_ARGS_VALUES];
	size_t n_cgroups;
	uint64_t fsize, no_file; /* JAIL_ARGS_UNLIMITED: fsize stays as it is */
	bool no_file_given;
	int keep[JAIL_ARGS_VALUES]; /* inherited descriptors that the program gets */
	size_t n_keep;
	char **rest; /* what follows "--", ends with NULL */
};

/* -EINVAL: err has the text. */
int jail_args_parse(int argc, char **argv, struct jail_args *ret, struct volt_err *err);
void jail_args_help(FILE *f);

#endif
