/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of a jail, see jail-dir.h. */
#include "jail-dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "jail-exec.h"
#include "jail-path.h"
#include "num.h"

#define USED "this jail was used, by a VM that runs or ran: take another id, or remove '%s'"

/* The minor number of a misc device; -ENOENT: this kernel has none. */
static int find_misc(const char *name)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/misc", "re");
	char line[128];

	while (f && fgets(line, sizeof(line), f)) {
		char *at = line + strspn(line, " "), *end = strchr(at, ' ');
		uint64_t minor;

		if (!end || strncmp(end + 1, name, strlen(name)) != 0 ||
			end[1 + strlen(name)] != '\n')
			continue;
		*end = '\0';
		if (num_parse_u64(at, 0, 1 << 20, &minor) == 0)
			return (int)minor;
	}
	return -ENOENT;
}

static void list_devices(struct jail_dir *d)
{
	int uffd = find_misc("userfaultfd");
	size_t n = 0;

	d->devices[n++] = (struct jail_dir_device){ NULL, "kvm", 10, 232, false };
	d->devices[n++] = (struct jail_dir_device){ "net", "tun", 10, 200, false };
	d->devices[n++] = (struct jail_dir_device){ NULL, "urandom", 1, 9, true };
	if (uffd >= 0)
		d->devices[n++] = (struct jail_dir_device){ NULL, "userfaultfd", 10,
			(unsigned)uffd, false };
	d->n_devices = n;
}

/* A jail whose file system refuses what must work in it is of no use. */
static int check_mount(const struct jail_args *a, const struct jail_dir *d, struct volt_err *err)
{
	struct statvfs st;

	if (fstatvfs(d->rootfd, &st) < 0)
		return volt_err_set(err, errno, "'%s': %m", d->path);
	if ((st.f_flag & ST_NODEV) && !a->rootless)
		return volt_err_set(err, EACCES, "'%s' is on a file system that is mounted nodev, "
			"where /dev/kvm cannot be opened: choose another --chroot-base-dir",
			d->path);
	if (st.f_flag & ST_NOEXEC)
		return volt_err_set(err, EACCES, "'%s' is on a file system that is mounted "
			"noexec, where no program runs: choose another --chroot-base-dir",
			d->path);
	return 0;
}

/* Gives a folder of the jail to its tenant. */
static int hand_over(const struct jail_args *a, int fd, const char *where, struct volt_err *err)
{
	if (fchmod(fd, 0700) < 0 || (!a->rootless && fchown(fd, a->uid, a->gid) < 0))
		return volt_err_set(err, errno, "give '%s' to uid %u: %m", where, a->uid);
	return 0;
}

static int check_unused(const struct jail_dir *d, const char *name, struct volt_err *err)
{
	struct stat st;

	if (fstatat(d->rootfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return volt_err_set(err, EEXIST, "'/%s' is there already: " USED, name, d->path);
	return errno == ENOENT ? 0 : volt_err_set(err, errno, "'%s/%s': %m", d->path, name);
}

int jail_dir_make(const struct jail_args *a, struct jail_dir *ret, struct jail_undo *undo,
	struct volt_err *err)
{
	const struct jail_path_owners owners = { geteuid(), geteuid() }, in = { geteuid(), a->uid };
	const char *const names[] = { a->exec_name, a->id, "root" };
	_cleanup_close_ int fd = jail_path_open(a->base, geteuid(), err);
	size_t n = strlen(a->base);
	int r;

	ret->rootfd = -1;
	list_devices(ret);
	snprintf(ret->path, sizeof(ret->path), "%s", a->base);
	for (size_t i = 0; fd >= 0 && i < ARRAY_SIZE(names); i++) {
		bool last = i == ARRAY_SIZE(names) - 1;
		int next;

		if (n + strlen(names[i]) + 2 > sizeof(ret->path))
			return volt_err_set(err, ENAMETOOLONG, "the path of the jail is too long");
		snprintf(ret->path + n, sizeof(ret->path) - n, "/%s", names[i]);
		n += strlen(names[i]) + 1;
		next = jail_path_enter(fd, names[i], last ? 0700 : 0755,
			last && !a->rootless ? &in : &owners, undo, ret->path, err);
		fd_close(fd);
		fd = next;
	}
	if (fd < 0)
		return fd;
	snprintf(ret->pid_file, sizeof(ret->pid_file), "%s.pid", a->exec_name);
	ret->rootfd = fd;
	r = check_mount(a, ret, err);
	if (r == 0)
		r = check_unused(ret, ret->pid_file, err);
	if (r == 0)
		take_fd(&fd);
	else
		ret->rootfd = -1;
	return r;
}

/*
 * The node is given away by its handle, once it was seen to be the node: a process of an earlier
 * tenant with the same uid could put another file in its place.
 */
static int give_node(const struct jail_args *a, int dirfd, const struct jail_dir_device *dev)
{
	_cleanup_close_ int fd = openat(dirfd, dev->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(dev->major, dev->minor))
		return -EBUSY;
	return fchownat(fd, "", a->uid, a->gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int make_device(const struct jail_args *a, const struct jail_dir *d, int dirfd,
	const struct jail_dir_device *dev, struct jail_undo *undo, struct volt_err *err)
{
	mode_t type = a->rootless ? S_IFREG : S_IFCHR;
	int r = mknodat(dirfd, dev->name, type | 0600, makedev(dev->major, dev->minor));

	r = r < 0 ? -errno : 0;
	if (r == -EEXIST)
		return volt_err_set(err, EEXIST, "'/dev/%s' is there already: " USED, dev->name,
			d->path);
	if (r == 0)
		r = jail_undo_add(undo, JAIL_UNDO_FILE, dirfd, dev->name, -1, err);
	if (r == 0 && !a->rootless)
		r = give_node(a, dirfd, dev);
	if (r < 0 && dev->optional) {
		fprintf(stderr, "volt-jailer: warning: no /dev/%s in the jail: %s\n", dev->name,
			strerror(-r));
		return 0;
	}
	return r < 0 ? volt_err_set(err, -r, "make '/dev/%s' in the jail: %m", dev->name) : 0;
}

static int enter(const struct jail_args *a, int dirfd, const char *name, struct jail_undo *undo,
	struct volt_err *err)
{
	const struct jail_path_owners owners = { geteuid(), a->rootless ? geteuid() : a->uid };
	_cleanup_close_ int fd = jail_path_enter(dirfd, name, 0700, &owners, undo, name, err);
	int r = fd < 0 ? fd : hand_over(a, fd, name, err);

	return r < 0 ? volt_err_wrap(err, "in the jail") : take_fd(&fd);
}

static int fill_dev(const struct jail_args *a, const struct jail_dir *d, struct jail_undo *undo,
	struct volt_err *err)
{
	_cleanup_close_ int devfd = enter(a, d->rootfd, "dev", undo, err);
	int r = MIN(devfd, 0);

	/* kvm is the first: who has made it has the jail, if two start with one id. */
	for (size_t i = 0; r == 0 && i < d->n_devices; i++) {
		const struct jail_dir_device *dev = &d->devices[i];
		_cleanup_close_ int netfd = dev->folder ? enter(a, devfd, dev->folder, undo, err)
							: -1;

		r = dev->folder && netfd < 0 ? netfd : make_device(a, d,
			dev->folder ? netfd : devfd, dev, undo, err);
	}
	return r;
}

int jail_dir_fill(const struct jail_args *a, const struct jail_dir *d, int execfd,
	struct jail_undo *undo, struct volt_err *err)
{
	int r = fill_dev(a, d, undo, err), runfd;

	if (r < 0)
		return r;
	runfd = enter(a, d->rootfd, "run", undo, err);
	if (runfd < 0)
		return runfd;
	fd_close(runfd);
	r = jail_exec_copy(execfd, d->rootfd, a, undo, err);
	if (r == 0)
		r = jail_undo_add(undo, JAIL_UNDO_FILE, d->rootfd, d->pid_file, -1, err);
	return r < 0 ? r : hand_over(a, d->rootfd, d->path, err);
}

int jail_dir_write_pid(const struct jail_args *a, const struct jail_dir *d, pid_t pid,
	struct volt_err *err)
{
	_cleanup_close_ int fd = openat(d->rootfd, d->pid_file,
		O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);

	if (fd < 0 || dprintf(fd, "%d", (int)pid) < 0 ||
		(!a->rootless && fchown(fd, a->uid, a->gid) < 0))
		return volt_err_set(err, errno, "write '/%s' in the jail: %m", d->pid_file);
	return 0;
}
