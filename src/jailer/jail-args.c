/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of the jailer, see jail-args.h. */
#include "jail-args.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "limit.h"
#include "num.h"
#include "version.h"

#define DEFAULT_BASE	"/srv/jailer"
#define DEFAULT_NO_FILE 2048

static const struct fcargs_flag flags[] = {
	{ "id", .has_value = true, .required = true, .help = "Jail ID." },
	{ "exec-file", .has_value = true, .required = true, .help = "File path to exec into." },
	{ "uid", .has_value = true,
		.help = "The user identifier the jailer switches to after exec." },
	{ "gid", .has_value = true,
		.help = "The group identifier the jailer switches to after exec." },
	{ "chroot-base-dir", .has_value = true,
		.help = "The base folder where chroot jails are located [default: " DEFAULT_BASE
			"]." },
	{ "netns", .has_value = true,
		.help = "Path to the network namespace this microVM should join." },
	{ "daemonize", .help = "Daemonize the jailer before exec, by invoking setsid(), and "
			       "redirecting the standard I/O file descriptors to /dev/null." },
	{ "new-pid-ns", .help = "Exec into a new PID namespace." },
	{ "cgroup", .has_value = true, .repeated = true,
		.help = "FILE=VALUE: a file of the VM's cgroup and what is written to it." },
	{ "cgroup-version", .has_value = true,
		.help = "Select the cgroup version used by the jailer, 1 or 2 [default: 1]." },
	{ "parent-cgroup", .has_value = true,
		.help = "Parent cgroup in which the VM's is made [default: the name of the exec "
			"file]." },
	{ "resource-limit", .has_value = true, .repeated = true,
		.help = "RESOURCE=VALUE: fsize (bytes), no-file (descriptors) [default: "
			"no-file=2048]." },
	{ "rootless", .help = "Without root, by a user namespace; uid and gid are yours outside. "
			      "Not in Firecracker." },
	{ "keep-fd", .has_value = true, .repeated = true,
		.help = "An inherited descriptor that the program gets. Not in Firecracker." },
	{ "help", .help = "Show the help message." },
	{ "version", .help = "Print the binary version number." },
};

#define N_FLAGS ARRAY_SIZE(flags)

static const char *get(const struct fcargs_value *values, const char *name)
{
	return fcargs_get(flags, N_FLAGS, values, name);
}

static const struct fcargs_value *all(const struct fcargs_value *values, const char *name)
{
	size_t i = 0;

	while (i < N_FLAGS && strcmp(flags[i].name, name) != 0)
		i++;
	return &values[i];
}

static int check_id(const char *id, struct volt_err *err)
{
	size_t len = strlen(id);

	if (len < 1 || len > LIMIT_ID)
		return volt_err_set(err, EINVAL, "Invalid instance ID: Invalid len (%zu);  the "
			"length must be between 1 and %d", len, LIMIT_ID);
	for (size_t i = 0; i < len; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-",
			    id[i]))
			return volt_err_set(err, EINVAL, "Invalid instance ID: Invalid char (%c) "
				"at position %zu", id[i], i);
	return 0;
}

/* The last part of the path, which names folders and the file in the jail. */
static int take_name(struct jail_args *a, struct volt_err *err)
{
	const char *slash = strrchr(a->exec_file, '/');

	a->exec_name = slash ? slash + 1 : a->exec_file;
	if (!*a->exec_name || strcmp(a->exec_name, ".") == 0 || strcmp(a->exec_name, "..") == 0)
		return volt_err_set(err, EINVAL, "exec-file '%s': its last part is no file name",
			a->exec_file);
	if (strlen(a->exec_name) > NAME_MAX - sizeof(".pid"))
		return volt_err_set(err, EINVAL, "exec-file: a file name of %zu bytes is too long",
			strlen(a->exec_name));
	return 0;
}

static int take_owner(const char *text, const char *name, bool rootless, id_t own, id_t *ret,
	struct volt_err *err)
{
	uint64_t n = own;

	if (!text && !rootless)
		return volt_err_set(err, EINVAL, "Argument '%s' required, but not found.", name);
	if (text && num_parse_u64(text, 0, UINT32_MAX - 1, &n) < 0)
		return volt_err_set(err, EINVAL, "%s '%s': it is no number from 0 to %u", name,
			text, UINT32_MAX - 1);
	*ret = (id_t)n;
	return 0;
}

static int take_cgroup(struct jail_args *a, const char *text, struct volt_err *err)
{
	struct jail_args_cgroup *c = &a->cgroups[a->n_cgroups];
	const char *equal = strchr(text, '='), *dot;
	size_t len = equal ? (size_t)(equal - text) : 0;

	if (!len || !equal[1])
		return volt_err_set(err, EINVAL, "cgroup '%s': it is not of the form FILE=VALUE, "
			"as in cpuset.cpus=0", text);
	if (len >= sizeof(c->file))
		return volt_err_set(err, EINVAL, "cgroup '%s': the file's name is too long", text);
	memcpy(c->file, text, len);
	c->file[len] = '\0';
	c->value = equal + 1;
	dot = strchr(c->file, '.');
	if (strchr(c->file, '/') || strstr(c->file, "..") || !dot || dot == c->file || !dot[1] ||
		(size_t)(dot - c->file) >= sizeof(c->controller))
		return volt_err_set(err, EINVAL, "cgroup '%s': '%s' is no file of a controller, "
			"such as cpuset.cpus", text, c->file);
	memcpy(c->controller, c->file, (size_t)(dot - c->file));
	c->controller[dot - c->file] = '\0';
	if (strcmp(c->controller, "cgroup") == 0)
		return volt_err_set(err, EINVAL, "cgroup '%s': the jailer's own to write", text);
	a->n_cgroups++;
	return 0;
}

/* Parts that are names: no absolute path, no "..", nothing empty. */
static int check_parent(const char *path, struct volt_err *err)
{
	for (const char *part = path, *end;; part = end + 1) {
		size_t len;

		end = strchrnul(part, '/');
		len = (size_t)(end - part);
		if (!len || len > NAME_MAX || (part[0] == '.' && (len == 1 ||
			    (len == 2 && part[1] == '.'))))
			return volt_err_set(err, EINVAL, "parent-cgroup '%s': it is no relative "
				"path of names, such as vms/blue", path);
		if (!*end)
			return 0;
	}
}

static int take_limit(struct jail_args *a, const char *text, struct volt_err *err)
{
	static const char form[] = "it is not fsize=BYTES or no-file=NUMBER";
	const char *equal = strchr(text, '=');
	bool fsize = strncmp(text, "fsize=", 6) == 0;
	uint64_t n;

	if (!equal || (!fsize && strncmp(text, "no-file=", 8) != 0))
		return volt_err_set(err, EINVAL, "resource-limit '%s': %s", text, form);
	if (num_parse_u64(equal + 1, 0, INT64_MAX, &n) < 0)
		return volt_err_set(err, EINVAL, "resource-limit '%s': '%s' is no number", text,
			equal + 1);
	if (fsize)
		a->fsize = n;
	else
		a->no_file = n;
	a->no_file_given |= !fsize;
	return 0;
}

static int take_keep(struct jail_args *a, const char *text, struct volt_err *err)
{
	uint64_t n;

	if (num_parse_u64(text, STDERR_FILENO + 1, 1 << 20, &n) < 0)
		return volt_err_set(err, EINVAL, "keep-fd '%s': it is no number of a descriptor "
			"from 3", text);
	a->keep[a->n_keep++] = (int)n;
	return 0;
}

typedef int (*taker)(struct jail_args *a, const char *text, struct volt_err *err);

static int take_each(struct jail_args *a, const struct fcargs_value *v, taker take,
	struct volt_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < v->n; i++)
		r = take(a, v->text[i], err);
	return r;
}

static int take_lists(struct jail_args *a, const struct fcargs_value *values,
	struct volt_err *err)
{
	int r = take_each(a, all(values, "cgroup"), take_cgroup, err);

	if (r == 0)
		r = take_each(a, all(values, "resource-limit"), take_limit, err);
	return r < 0 ? r : take_each(a, all(values, "keep-fd"), take_keep, err);
}

static int take_version(const char *text, unsigned *ret, struct volt_err *err)
{
	uint64_t n = 1;

	if (text && num_parse_u64(text, 1, 2, &n) < 0)
		return volt_err_set(err, EINVAL, "cgroup-version '%s': it is neither 1 nor 2",
			text);
	*ret = (unsigned)n;
	return 0;
}

static int take_all(struct jail_args *a, const struct fcargs_value *values, struct volt_err *err)
{
	const char *base = get(values, "chroot-base-dir"), *parent = get(values, "parent-cgroup");
	int r;

	a->id = get(values, "id");
	a->exec_file = get(values, "exec-file");
	a->base = base ? base : DEFAULT_BASE;
	a->netns = get(values, "netns");
	a->rootless = get(values, "rootless") != NULL;
	a->daemonize = get(values, "daemonize") != NULL;
	/* Rootless, the program has the caller's uid outside, and could signal all that is his. */
	a->new_pid_ns = a->rootless || get(values, "new-pid-ns");
	r = take_owner(get(values, "uid"), "uid", a->rootless, geteuid(), &a->uid, err);
	if (r == 0)
		r = take_owner(get(values, "gid"), "gid", a->rootless, getegid(), &a->gid, err);
	if (r == 0)
		r = check_id(a->id, err);
	if (r == 0)
		r = take_name(a, err);
	if (r == 0)
		r = take_version(get(values, "cgroup-version"), &a->cgroup_version, err);
	if (r < 0)
		return r;
	a->parent_cgroup = parent ? parent : a->exec_name;
	a->parent_cgroup_given = parent != NULL;
	r = check_parent(a->parent_cgroup, err);
	return r < 0 ? r : take_lists(a, values, err);
}

int jail_args_parse(int argc, char **argv, struct jail_args *ret, struct volt_err *err)
{
	struct fcargs_value values[N_FLAGS];
	int r;

	*ret = (struct jail_args){ .fsize = JAIL_ARGS_UNLIMITED, .no_file = DEFAULT_NO_FILE };
	r = fcargs_parse(flags, N_FLAGS, argc, argv, values, &ret->rest, err);
	if (r < 0)
		return r;
	if (get(values, "help"))
		ret->action = JAIL_ARGS_HELP;
	else if (get(values, "version"))
		ret->action = JAIL_ARGS_VERSION;
	else
		return take_all(ret, values, err);
	return 0;
}

void jail_args_help(FILE *f)
{
	fprintf(f, "Jailer v" JAIL_ARGS_LEVEL "\n\nThis is volt-jailer " VOLT_VERSION ".\n\n");
	for (size_t i = 0; i < N_FLAGS; i++)
		fprintf(f, "  --%s%s\n      %s\n", flags[i].name,
			flags[i].has_value ? " <value>" : "", flags[i].help);
	fprintf(f, "  -- <argument>...\n      Arguments of the program.\n");
}
