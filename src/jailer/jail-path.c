/* SPDX-License-Identifier: Apache-2.0 */
/* Folders by handle, see jail-path.h. */
#include "jail-path.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

/*
 * With the sticky bit, as on /tmp, others can add names but not take away ours; what they added
 * before us shows by its owner.
 */
static int check_folder(int fd, const struct jail_path_owners *owners, const char *where,
	struct volt_err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return volt_err_set(err, errno, "'%s': %m", where);
	if (st.st_uid != 0 && st.st_uid != owners->caller && st.st_uid != owners->jailed)
		return volt_err_set(err, EPERM, "'%s' belongs to uid %u, who could put another "
			"folder in the place of the jail: choose a folder below root's alone",
			where, st.st_uid);
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) && !(st.st_mode & S_ISVTX))
		return volt_err_set(err, EPERM, "'%s' (mode %04o) can be written by others, who "
			"could put another folder in the place of the jail: chmod go-w it", where,
			st.st_mode & 07777);
	return 0;
}

static int step(int dirfd, const char *name, int flags)
{
	return openat(dirfd, name, flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* From the root down. */
static int walk(char *path, uid_t caller, struct volt_err *err)
{
	const struct jail_path_owners owners = { caller, caller };
	_cleanup_close_ int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? volt_err_set(err, errno, "'/': %m") : check_folder(fd, &owners, "/", err);
	char *name;

	while (r == 0 && (name = strsep(&path, "/"))) {
		int next = *name ? step(fd, name, O_PATH) : take_fd(&fd);

		fd_close(fd);
		fd = next;
		r = fd < 0 ? volt_err_set(err, errno, "'%s': %m", name)
			   : check_folder(fd, &owners, *name ? name : "/", err);
	}
	return r < 0 ? r : take_fd(&fd);
}

int jail_path_open(const char *path, uid_t caller, struct volt_err *err)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	int r;

	if (!real)
		return volt_err_set(err, errno, "folder of jails '%s': %m; make it, or name "
			"another one by --chroot-base-dir", path);
	r = walk(real, caller, err);
	return r < 0 ? volt_err_wrap(err, "folder of jails '%s'", path) : r;
}

int jail_path_enter(int dirfd, const char *name, mode_t mode,
	const struct jail_path_owners *owners, struct jail_undo *undo, const char *where,
	struct volt_err *err)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (mkdirat(dirfd, name, mode) == 0)
		r = jail_undo_add(undo, JAIL_UNDO_FOLDER, dirfd, name, -1, err);
	else
		r = errno == EEXIST ? 0 : volt_err_set(err, errno, "make '%s': %m", where);
	if (r < 0)
		return r;
	fd = step(dirfd, name, O_RDONLY);
	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		return volt_err_set(err, errno, "'%s' is no folder but a link or a file: the "
			"jailer follows none, remove it", where);
	if (fd < 0)
		return volt_err_set(err, errno, "open '%s': %m", where);
	r = check_folder(fd, owners, where, err);
	return r < 0 ? r : take_fd(&fd);
}
