/* SPDX-License-Identifier: Apache-2.0 */
/* What the jailer may do, see jail-rights.h. */
#include "jail-rights.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "sandbox.h"

#define BIT(cap) (UINT64_C(1) << (cap))

/* At the end: another user, no bounding set. In the jail: its processes and their number, too. */
#define LAST	(BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_SETPCAP))
#define FILES	(BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER))
#define JAILED	(LAST | FILES | BIT(CAP_SYS_ADMIN))
#define NEEDED	(JAILED | BIT(CAP_MKNOD))
#define WELCOME BIT(CAP_SYS_RESOURCE) /* to raise a limit */
/* To switch cpuset on (cgroup v2): it counts as setting the affinity of all processes below. */
#define CGROUP	BIT(CAP_SYS_NICE)

static int set_streams(struct volt_err *err)
{
	struct stat st;

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fstat(fd, &st) == 0) {
			if (S_ISDIR(st.st_mode)) /* a way out: openat(0, "..") */
				return volt_err_set(err, EISDIR, "descriptor %d is a folder, by "
					"which the program could leave the jail: give it another "
					"one, or close it", fd);
			continue;
		}
		/* The lowest free number is this one. */
		if (open("/dev/null", O_RDWR) != fd)
			return volt_err_set(err, errno, "open /dev/null as descriptor %d: %m", fd);
	}
	return 0;
}

int jail_rights_descriptors(const struct jail_args *a, struct volt_err *err)
{
	int r = set_streams(err);
	struct stat st;

	for (size_t i = 0; r == 0 && i < a->n_keep; i++)
		if (fstat(a->keep[i], &st) < 0)
			r = volt_err_set(err, errno, "keep-fd %d: %m", a->keep[i]);
		else if (S_ISDIR(st.st_mode))
			r = volt_err_set(err, EISDIR, "keep-fd %d: a folder is a way out of the "
				"jail", a->keep[i]);
	return r < 0 ? r : sandbox_close_fds(a->keep, a->n_keep, err);
}

/* Cuts all sets down to `keep`; *ret_had: what was permitted before. */
static int cut(uint64_t keep, uint64_t *ret_had, struct volt_err *err)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];

	*ret_had = 0;
	if (syscall(SYS_capget, &head, caps) < 0)
		return volt_err_set(err, errno, "read the capabilities: %m");
	*ret_had = caps[0].permitted | (uint64_t)caps[1].permitted << 32;
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
		caps[i].permitted &= (uint32_t)(keep >> (32 * i));
		caps[i].effective = caps[i].permitted;
		caps[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &head, caps) < 0)
		return volt_err_set(err, errno, "drop capabilities: %m");
	return 0;
}

int jail_rights_begin(const struct jail_args *a, struct volt_err *err)
{
	uint64_t had;
	int r = cut(NEEDED | WELCOME | CGROUP, &had, err);

	if (r < 0 || a->rootless)
		return r;
	if (geteuid() != 0 || (had & NEEDED) != NEEDED)
		return volt_err_set(err, EPERM, "the jailer needs root, with its capabilities for "
			"namespaces, devices and users; without it: --rootless");
	return 0;
}

int jail_rights_jailed(struct volt_err *err)
{
	uint64_t had;

	return cut(JAILED | WELCOME, &had, err);
}

static int limit(__rlimit_resource_t resource, uint64_t n, const char *name, struct volt_err *err)
{
	struct rlimit l = { (rlim_t)n, (rlim_t)n };

	if (setrlimit(resource, &l) < 0)
		return volt_err_set(err, errno, "resource-limit %s=%llu: %m", name,
			(unsigned long long)n);
	return 0;
}

static int set_limits(const struct jail_args *a, struct volt_err *err)
{
	uint64_t no_file = a->no_file;
	struct rlimit old;
	int r = 0;

	/* Without root the default may be more than the caller has. */
	if (a->rootless && !a->no_file_given && getrlimit(RLIMIT_NOFILE, &old) == 0)
		no_file = MIN(no_file, (uint64_t)old.rlim_max);
	if (a->fsize != JAIL_ARGS_UNLIMITED)
		r = limit(RLIMIT_FSIZE, a->fsize, "fsize", err);
	return r < 0 ? r : limit(RLIMIT_NOFILE, no_file, "no-file", err);
}

int jail_rights_end(const struct jail_args *a, struct volt_err *err)
{
	int r = set_limits(a, err);
	uint64_t had;

	if (r < 0)
		return r;
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return volt_err_set(err, errno, "drop capability %d for ever: %m", cap);
	/* A user namespace of one id cannot have other groups; it keeps the caller's. */
	if ((!a->rootless && setgroups(0, NULL) < 0) || setresgid(a->gid, a->gid, a->gid) < 0)
		return volt_err_set(err, errno, "become gid %u: %m", a->gid);
	if (setresuid(a->uid, a->uid, a->uid) < 0)
		return volt_err_set(err, errno, "become uid %u: %m", a->uid);
	r = cut(0, &had, err);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = volt_err_set(err, errno, "set no_new_privs: %m");
	return r;
}
