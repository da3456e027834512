/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage: volt-helper-unlink PATH
 * Removes the socket PATH when volt-vmm has gone, however it ended: it cannot do so itself once
 * Landlock is on, or when it was killed. What has come to stand at PATH meanwhile stays.
 * Started by volt-vmm, see helper.h. Confined to the folder of the socket. One thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "helper.h"
#include "limit.h"
#include "sandbox.h"

#define CAP_BIT(cap) (1u << (cap))

struct socket_file {
	char dir[LIMIT_SOCKET_PATH];
	const char *name; /* in dir */
	int dirfd;
	struct stat st;
};

static bool is_same(const struct stat *a, const struct stat *b)
{
	return S_ISSOCK(b->st_mode) && a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Splits the path, so that the folder may be renamed while we wait. */
static int look(const char *path, struct socket_file *f, struct volt_err *err)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)MAX(slash - path, 1) : 1;

	if (strlen(path) >= sizeof(f->dir))
		return volt_err_set(err, ENAMETOOLONG, "'%s': longer than a socket's path can be",
			path);
	memcpy(f->dir, slash ? path : ".", len);
	f->dir[len] = '\0';
	f->name = slash ? slash + 1 : path;
	f->dirfd = open(f->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (f->dirfd < 0)
		return volt_err_set(err, errno, "folder '%s': %m", f->dir);
	if (fstatat(f->dirfd, f->name, &f->st, AT_SYMLINK_NOFOLLOW) < 0)
		return volt_err_set(err, errno, "'%s': %m", path);
	if (!S_ISSOCK(f->st.st_mode))
		return volt_err_set(err, ENOTSOCK, "'%s': it is no socket", path);
	return 0;
}

/* Keeps what root needs to remove a file of another user, and no other privilege. */
static int drop_capabilities(struct volt_err *err)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
	uint32_t keep = CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_FOWNER);

	if (syscall(SYS_capget, &head, caps) < 0)
		return volt_err_set(err, errno, "read the capabilities: %m");
	caps[0].permitted &= keep;
	caps[0].effective = caps[0].permitted;
	caps[0].inheritable = 0;
	memset(&caps[1], 0, sizeof(caps[1]));
	if (syscall(SYS_capset, &head, caps) < 0)
		return volt_err_set(err, errno, "drop capabilities: %m");
	return 0;
}

static int confine(const char *dir, struct volt_err *err)
{
	const struct sandbox_path path = { .path = dir, .writable = true };
	struct volt_err warning = { 0 };
	int r;

	r = sandbox_landlock(&path, 1, &warning); /* 0: a kernel without it, which volt-vmm tells */
	if (r < 0)
		return volt_err_set(err, warning.code, "%s", warning.msg);
	return drop_capabilities(err);
}

int main(int argc, char **argv)
{
	struct socket_file f = { .dirfd = -1 };
	struct volt_err err = { 0 };
	struct stat now;
	int r;

	if (argc != 2)
		r = volt_err_set(&err, EINVAL, "usage: volt-helper-unlink PATH, by volt-vmm");
	else
		r = sandbox_early(&err);
	if (r == 0)
		r = look(argv[1], &f, &err);
	if (r == 0)
		r = confine(f.dir, &err);
	if (r < 0)
		volt_err_wrap(&err, "volt-helper-unlink");
	if (helper_reply(&err, NULL, 0) < 0) {
		fprintf(stderr, "volt-helper-unlink: it is started by volt-vmm: %s\n", err.msg);
		return 1;
	}
	if (r < 0)
		return 1;
	helper_wait();
	if (fstatat(f.dirfd, f.name, &now, AT_SYMLINK_NOFOLLOW) == 0 && is_same(&f.st, &now) &&
		unlinkat(f.dirfd, f.name, 0) < 0)
		fprintf(stderr, "volt-helper-unlink: '%s': %s\n", argv[1], strerror(errno));
	return 0;
}
