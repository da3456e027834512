/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cgroups of a jail, see jail-cgroup.h. Version 1: below each controller's mount point
 * PARENT/ID, cpuset's masks filled from above where they are empty, because no process can enter a
 * cpuset that has none. Version 2: below the one mount point PARENT/ID, controllers switched on
 * along the way down.
 */
#include "jail-cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

#define VALUE_BYTES 2048

bool jail_cgroup_has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += len) {
		bool begins = at == list || strchr(", \n", at[-1]);

		if (begins && (!at[len] || strchr(", \n", at[len])))
			return true;
	}
	return false;
}

int jail_cgroup_find(FILE *mounts, const char *controller, char *ret, size_t size)
{
	const char *type = controller ? "cgroup" : "cgroup2";
	char line[VALUE_BYTES];
	struct mntent m;

	while (getmntent_r(mounts, &m, line, sizeof(line))) {
		if (strcmp(m.mnt_type, type) != 0 ||
			(controller && !jail_cgroup_has_word(m.mnt_opts, controller)))
			continue;
		return snprintf(ret, size, "%s", m.mnt_dir) < (int)size ? 0 : -ENAMETOOLONG;
	}
	return -ENOENT;
}

/* ---- files of a cgroup ---- */

/* Reads a file of one line; "" if it is empty. */
static int read_value(int dirfd, const char *file, char *ret, size_t size)
{
	_cleanup_close_ int fd = openat(dirfd, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);

	if (n < 0)
		return -errno;
	if (n == (ssize_t)size - 1)
		return -E2BIG; /* half a list is another list */
	ret[n] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
	return 0;
}

static int write_value(int dirfd, const char *file, const char *value)
{
	_cleanup_close_ int fd = openat(dirfd, file, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 || write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

/* Why a folder or file of a cgroup could not be had. */
static int refuse(const struct jail_args *a, int r, const char *what, struct volt_err *err)
{
	if ((r == -EACCES || r == -EPERM) && a->rootless)
		return volt_err_set(err, -r, "cgroup: %s: %m; without root only below a cgroup "
			"that was delegated to you (--parent-cgroup): systemd-run --user -p "
			"Delegate=yes", what);
	if (r == -EBUSY && a->cgroup_version == 2)
		return volt_err_set(err, -r, "cgroup: %s: %m; a cgroup of version 2 that passes "
			"controllers on may hold no process itself", what);
	return volt_err_set(err, -r, "cgroup: %s: %m", what);
}

/* ---- the way down ---- */

/* A step: what is done in the folder above before the one below is made, and in that one then. */
struct way {
	const struct jail_args *a;
	const char *controller; /* version 1 */
	struct jail_undo *undo;
	int rootfd; /* of the hierarchy */
};

static int open_folder(int dirfd, const char *name)
{
	return openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Version 2: the controllers that --cgroup names, for the folders below. */
static int pass_on(const struct way *w, int fd, struct volt_err *err)
{
	char known[VALUE_BYTES], on[VALUE_BYTES], word[JAIL_ARGS_CONTROLLER + 1];
	int r = read_value(fd, "cgroup.controllers", known, sizeof(known));

	if (r == 0)
		r = read_value(fd, "cgroup.subtree_control", on, sizeof(on));
	for (size_t i = 0; r == 0 && i < w->a->n_cgroups; i++) {
		const char *controller = w->a->cgroups[i].controller;

		if (!jail_cgroup_has_word(known, controller))
			return volt_err_set(err, ENOENT, "cgroup: there is no controller '%s' "
				"here; of version 2 there is: %s", controller,
				*known ? known : "none");
		if (jail_cgroup_has_word(on, controller))
			continue; /* above a delegated cgroup it could not be written */
		snprintf(word, sizeof(word), "+%s", controller);
		r = write_value(fd, "cgroup.subtree_control", word);
	}
	return r < 0 ? refuse(w->a, r, "switch controllers on in cgroup.subtree_control", err) : 0;
}

/* Version 1: fills cpuset's masks of the folder below. */
static int inherit(const struct way *w, int above, int below, struct volt_err *err)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	char value[VALUE_BYTES];
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++) {
		r = read_value(below, files[i], value, sizeof(value));
		if (r < 0 || *value)
			continue;
		r = read_value(above, files[i], value, sizeof(value));
		if (r == 0 && *value)
			r = write_value(below, files[i], value);
	}
	return r < 0 ? refuse(w->a, r, "take cpuset's masks from above", err) : 0;
}

/* Makes the folder `name` below fd, which is closed. */
static int descend(const struct way *w, int fd, const char *name, struct volt_err *err)
{
	_cleanup_close_ int above = fd, below = -1;
	int r = w->controller ? 0 : pass_on(w, above, err);

	if (r < 0)
		return r;
	if (mkdirat(above, name, 0755) == 0) {
		int procs = openat(w->rootfd, "cgroup.procs", O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

		r = jail_undo_add(w->undo, JAIL_UNDO_CGROUP, above, name, procs, err);
	} else if (errno != EEXIST) {
		r = refuse(w->a, -errno, name, err);
	}
	if (r < 0)
		return r;
	below = open_folder(above, name);
	if (below < 0)
		return refuse(w->a, -errno, name, err);
	r = w->controller && strcmp(w->controller, "cpuset") == 0 ? inherit(w, above, below, err)
								   : 0;
	return r < 0 ? r : take_fd(&below);
}

/* PARENT, part by part, then ID. Returns a handle. */
static int go_down(const struct way *w, struct volt_err *err)
{
	_cleanup_free_ char *parent = strdup(w->a->parent_cgroup);
	char *rest = parent, *name;
	int fd = fcntl(w->rootfd, F_DUPFD_CLOEXEC, 0);

	if (!parent || fd < 0) {
		fd_close(fd);
		return volt_err_set(err, errno, "cgroup: %m");
	}
	while (fd >= 0 && (name = strsep(&rest, "/")))
		fd = descend(w, fd, name, err);
	return fd < 0 ? fd : descend(w, fd, w->a->id, err);
}

/* ---- one hierarchy ---- */

static int open_hierarchy(const char *controller, struct volt_err *err)
{
	_cleanup_fclose_ FILE *mounts = fopen("/proc/self/mounts", "re");
	char path[VALUE_BYTES];
	int r = mounts ? jail_cgroup_find(mounts, controller, path, sizeof(path)) : -errno, fd;

	if (r == -ENOENT && controller)
		return volt_err_set(err, ENOENT, "cgroup: no hierarchy of version 1 with the "
			"controller '%s' is mounted; is --cgroup-version 2 meant?", controller);
	if (r == -ENOENT)
		return volt_err_set(err, ENOENT, "cgroup: no hierarchy of version 2 is mounted; "
			"is --cgroup-version 1 meant?");
	fd = r < 0 ? r : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? volt_err_set(err, r < 0 ? -r : errno, "cgroup: look for the hierarchies: "
		"%m") : fd;
}

static int keep_procs(struct jail_cgroup *c, const struct jail_args *a, int fd,
	struct volt_err *err)
{
	/* tasks would take one thread, and we are one; this is right for both versions. */
	int procs = openat(fd, "cgroup.procs", O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

	if (procs < 0)
		return refuse(a, -errno, "cgroup.procs", err);
	c->procs[c->n++] = procs;
	return 0;
}

/* The folder and its values, of one controller (version 1) or of all. */
static int make_one(const struct jail_args *a, const char *controller, struct jail_cgroup *ret,
	struct jail_undo *undo, struct volt_err *err)
{
	_cleanup_close_ int rootfd = open_hierarchy(controller, err);
	struct way w = { a, controller, undo, rootfd };
	_cleanup_close_ int fd = rootfd < 0 ? rootfd : go_down(&w, err);
	int r = MIN(fd, 0);

	for (size_t i = 0; r == 0 && i < a->n_cgroups; i++) {
		const struct jail_args_cgroup *c = &a->cgroups[i];

		if (controller && strcmp(controller, c->controller) != 0)
			continue;
		r = write_value(fd, c->file, c->value);
		if (r < 0)
			return volt_err_set(err, -r, "cgroup: write '%s' to %s: %m", c->value,
				c->file);
	}
	return r < 0 ? r : keep_procs(ret, a, fd, err);
}

static bool is_first(const struct jail_args *a, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(a->cgroups[k].controller, a->cgroups[i].controller) == 0)
			return false;
	return true;
}

/* Version 2, a parent but no values: the parent itself, if it exists. */
static int take_parent(const struct jail_args *a, struct jail_cgroup *ret, struct volt_err *err)
{
	_cleanup_free_ char *parent = strdup(a->parent_cgroup);
	char *rest = parent, *name;
	_cleanup_close_ int fd = open_hierarchy(NULL, err);

	if (fd < 0)
		return fd;
	while ((name = strsep(&rest, "/"))) {
		int next = open_folder(fd, name);

		if (next < 0 && errno == ENOENT)
			return 0;
		fd_close(fd);
		fd = next;
		if (fd < 0)
			return refuse(a, -errno, name, err);
	}
	return keep_procs(ret, a, fd, err);
}

int jail_cgroup_make(const struct jail_args *a, struct jail_cgroup *ret, struct jail_undo *undo,
	struct volt_err *err)
{
	int r = 0;

	if (!a->n_cgroups)
		return a->cgroup_version == 2 && a->parent_cgroup_given ? take_parent(a, ret, err)
									 : 0;
	if (a->cgroup_version == 2)
		return make_one(a, NULL, ret, undo, err);
	for (size_t i = 0; r == 0 && i < a->n_cgroups; i++)
		if (is_first(a, i))
			r = make_one(a, a->cgroups[i].controller, ret, undo, err);
	return r;
}

int jail_cgroup_enter(const struct jail_cgroup *c, struct volt_err *err)
{
	for (size_t i = 0; i < c->n; i++)
		if (write(c->procs[i], "0", 1) < 0)
			return volt_err_set(err, errno, "cgroup: enter it: %m");
	return 0;
}

void jail_cgroup_done(struct jail_cgroup *c)
{
	while (c->n > 0)
		fd_close(c->procs[--c->n]);
}
