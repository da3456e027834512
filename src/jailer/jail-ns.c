/* SPDX-License-Identifier: Apache-2.0 */
/* The namespaces of a jail, see jail-ns.h. */
#include "jail-ns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

#define PATH_BYTES 64

int jail_ns_net(const char *path, struct volt_err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return volt_err_set(err, errno, "netns '%s': %m", path);
	if (setns(fd, CLONE_NEWNET) == 0)
		return 0;
	if (errno == EPERM)
		return volt_err_set(err, errno, "netns '%s': %m; entering it takes root", path);
	return volt_err_set(err, errno, "netns '%s': %m; it is no network namespace, such as those "
		"in /run/netns", path);
}

static int write_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int jail_ns_user(const struct jail_args *a, struct volt_err *err)
{
	char uid_map[PATH_BYTES], gid_map[PATH_BYTES];
	int r;

	snprintf(uid_map, sizeof(uid_map), "%u %u 1", a->uid, geteuid());
	snprintf(gid_map, sizeof(gid_map), "%u %u 1", a->gid, getegid());
	if (unshare(CLONE_NEWUSER) < 0)
		return volt_err_set(err, errno, "make a user namespace: %m; this host may forbid "
			"it to users: see sysctl user.max_user_namespaces, "
			"kernel.unprivileged_userns_clone and "
			"kernel.apparmor_restrict_unprivileged_userns");
	r = write_file("/proc/self/uid_map", uid_map);
	if (r == 0)
		r = write_file("/proc/self/setgroups", "deny"); /* asked for by gid_map */
	if (r == 0)
		r = write_file("/proc/self/gid_map", gid_map);
	return r < 0 ? volt_err_set(err, -r, "write the maps of the user namespace: %m") : 0;
}

static void name_device(const struct jail_dir_device *dev, char path[PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "/dev/%s%s%s", dev->folder ? dev->folder : "",
		dev->folder ? "/" : "", dev->name);
}

/* The host's node over the file of that name; the current folder is the jail's root. */
static int mount_device(const struct jail_dir_device *dev, struct volt_err *err)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	_cleanup_close_ int from = -1, to = -1;
	char path[PATH_BYTES];

	name_device(dev, path);
	from = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (from < 0 && errno == ENOENT && strcmp(dev->name, "kvm") != 0)
		return 0; /* a host without it: what needs it will say so */
	if (from >= 0)
		to = (int)syscall(SYS_openat2, AT_FDCWD, path + 1, &how, sizeof(how));
	if (from < 0 || to < 0 || move_mount(from, "", to, "", MOVE_MOUNT_F_EMPTY_PATH |
			MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return volt_err_set(err, errno, "mount the host's '%s' in the jail: %m", path);
	return 0;
}

/*
 * Mounts the jail over itself, because only a mount can become the root. The copy is made and put
 * there by handle and by the current folder, which unshare() carries over; no path is walked.
 */
static int mount_self(struct volt_err *err)
{
	_cleanup_close_ int tree = -1;

	tree = open_tree(AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (tree < 0 || move_mount(tree, "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return volt_err_set(err, errno, "mount the jail: %m");
	return fchdir(tree) < 0 ? volt_err_set(err, errno, "enter the jail: %m") : 0;
}

/* The old root lies on the new one for a moment: no folder is needed for it. */
static int change_root(struct volt_err *err)
{
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return volt_err_set(err, errno, "make the jail the root: %m%s", errno == EINVAL ?
			"; a jailer that was started in a chroot, or on an initramfs, cannot" : "");
	if (umount2(".", MNT_DETACH) < 0)
		return volt_err_set(err, errno, "take the host's root away: %m");
	return chdir("/") < 0 ? volt_err_set(err, errno, "chdir to the jail's root: %m") : 0;
}

/* In a mount namespace of our own, from which nothing goes back to the host's. */
static int build(const struct jail_args *a, const struct jail_dir *d, struct volt_err *err)
{
	int r = mount_self(err);

	for (size_t i = 0; a->rootless && r == 0 && i < d->n_devices; i++)
		r = mount_device(&d->devices[i], err);
	if (r == 0)
		r = change_root(err);
	if (r < 0) {
		jail_ns_undo(a, d);
		umount2(".", MNT_DETACH); /* what mount_self() did; else it is no mount */
	}
	return r;
}

int jail_ns_mount(const struct jail_args *a, const struct jail_dir *d, struct volt_err *err)
{
	if (fchdir(d->rootfd) < 0 || unshare(CLONE_NEWNS | CLONE_NEWIPC) < 0)
		return volt_err_set(err, errno, "make namespaces for mounts and IPC: %m");
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return volt_err_set(err, errno, "keep mounts from going out: %m%s",
			errno == EINVAL ? "; a jailer that was started in a chroot cannot" : "");
	return build(a, d, err);
}

void jail_ns_undo(const struct jail_args *a, const struct jail_dir *d)
{
	char path[PATH_BYTES];

	for (size_t i = 0; a->rootless && i < d->n_devices; i++) {
		name_device(&d->devices[i], path);
		umount2(path + 1, MNT_DETACH); /* the current folder is the jail's root */
	}
}
