/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock (Documentation/userspace-api/landlock.rst): the kernel refuses every path, TCP port,
 * abstract socket and foreign process, also to code that has taken over this process. The constants
 * are our own, because the headers of a build machine are older than the kernels we run on.
 * Main thread, before any other exists: a domain belongs to a thread and is inherited.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "sandbox.h"

#define NR_CREATE_RULESET 444
#define NR_ADD_RULE	  445
#define NR_RESTRICT_SELF  446

#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH      1

enum {
	FS_EXECUTE = 1 << 0,
	FS_WRITE_FILE = 1 << 1,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_REMOVE_FILE = 1 << 5,
	FS_MAKE_REG = 1 << 8,
	FS_MAKE_SOCK = 1 << 9,
	FS_ALL_1 = (1 << 13) - 1, /* all rights of ABI 1 */
	FS_REFER = 1 << 13,
	FS_TRUNCATE = 1 << 14,
	FS_IOCTL_DEV = 1 << 15,
	NET_BIND_TCP = 1 << 0,
	NET_CONNECT_TCP = 1 << 1,
	SCOPE_ABSTRACT_UNIX = 1 << 0,
	SCOPE_SIGNAL = 1 << 1,
};

struct ruleset_attr {
	uint64_t fs, net, scoped;
};

struct path_beneath_attr {
	uint64_t allowed;
	int32_t parentfd;
} PACKED;

/* What each ABI can refuse: we handle all of it. ABI 7 added flags for its audit log only. */
static const struct ruleset_attr handled[SANDBOX_LANDLOCK_ABI + 1] = {
	[1] = { FS_ALL_1, 0, 0 },
	[2] = { FS_ALL_1 | FS_REFER, 0, 0 },
	[3] = { FS_ALL_1 | FS_REFER | FS_TRUNCATE, 0, 0 },
	[4] = { FS_ALL_1 | FS_REFER | FS_TRUNCATE, NET_BIND_TCP | NET_CONNECT_TCP, 0 },
	[5] = { FS_ALL_1 | FS_REFER | FS_TRUNCATE | FS_IOCTL_DEV, NET_BIND_TCP | NET_CONNECT_TCP,
		0 },
	[6] = { FS_ALL_1 | FS_REFER | FS_TRUNCATE | FS_IOCTL_DEV, NET_BIND_TCP | NET_CONNECT_TCP,
		SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL },
	[7] = { FS_ALL_1 | FS_REFER | FS_TRUNCATE | FS_IOCTL_DEV, NET_BIND_TCP | NET_CONNECT_TCP,
		SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL },
};

/* Rights on one allowed path, before they are cut down to what the ABI knows. */
static uint64_t rights(const struct sandbox_path *p, bool is_dir)
{
	uint64_t r = FS_READ_FILE;

	if (p->writable)
		r |= FS_WRITE_FILE | FS_TRUNCATE;
	if (is_dir)
		r |= FS_READ_DIR;
	if (is_dir && p->writable && !p->existing)
		r |= FS_MAKE_REG | FS_MAKE_SOCK | FS_REMOVE_FILE;
	return r;
}

static int add_path(int rulesetfd, const struct sandbox_path *p, uint64_t known,
	struct volt_err *err)
{
	_cleanup_close_ int fd = open(p->path, O_PATH | O_CLOEXEC);
	struct path_beneath_attr attr = { .parentfd = fd };
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return volt_err_set(err, errno, "landlock: '%s': %m", p->path);
	attr.allowed = rights(p, S_ISDIR(st.st_mode)) & known;
	if (syscall(NR_ADD_RULE, rulesetfd, RULE_PATH_BENEATH, &attr, 0) < 0)
		return volt_err_set(err, errno, "landlock: allow '%s': %m", p->path);
	return 0;
}

int sandbox_landlock(const struct sandbox_path *paths, size_t n_paths, struct volt_err *err)
{
	long abi = syscall(NR_CREATE_RULESET, NULL, 0, CREATE_RULESET_VERSION);
	_cleanup_close_ int rulesetfd = -1;
	int r;

	if (abi < 0 && (errno == ENOSYS || errno == EOPNOTSUPP)) {
		volt_err_set(err, errno, "Landlock is off in this kernel, files are not confined; "
			"to enable it: CONFIG_SECURITY_LANDLOCK=y and landlock in the lsm= "
			"boot parameter");
		return 0;
	}
	if (abi < 1)
		return volt_err_set(err, abi < 0 ? errno : EPROTO, "landlock: read its ABI: %m");
	abi = MIN(abi, SANDBOX_LANDLOCK_ABI);
	/* The whole structure for every ABI: a kernel takes a longer one whose rest is zero. */
	rulesetfd = (int)syscall(NR_CREATE_RULESET, &handled[abi], sizeof(handled[abi]), 0);
	if (rulesetfd < 0)
		return volt_err_set(err, errno, "landlock: create a ruleset: %m");
	for (size_t i = 0; i < n_paths; i++) {
		r = add_path(rulesetfd, &paths[i], handled[abi].fs, err);
		if (r < 0)
			return r;
	}
	if (syscall(NR_RESTRICT_SELF, rulesetfd, 0) < 0)
		return volt_err_set(err, errno, "landlock: restrict this process: %m");
	return (int)abi;
}
