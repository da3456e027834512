/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that the configuration names: there, readable (writable), of a possible kind and size.
 * What is opened is closed again, and what will be created is not created. This serves people, not
 * security: a file can change before it is opened for use, and that is handled there. Main thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "vmcfg.h"

#define KERNEL_BYTES_MIN 64		/* an ELF header; a bzImage needs far more */
#define SECTOR		 512
#define LOW_RAM_MAX	 (3 * GIB)	/* an initrd lies below the MMIO gap */
#define LOW_RAM_RESERVED (1 * MIB)	/* boot tables; no kernel or initrd lies there */

struct file {
	struct stat st;
	uint64_t bytes;
};

static const char *kind_of(const struct stat *st)
{
	switch (st->st_mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFCHR:
		return "a character device";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFBLK:
		return "a block device";
	default:
		return "a file";
	}
}

/* Opens path as `how` and closes it again. False if that cannot be (reported). */
static bool probe(const char *where, const char *path, int how, bool block_ok, struct file *ret,
	struct vmcfg_errors *errors)
{
	_cleanup_close_ int fd = -1;
	off_t end;

	if (stat(path, &ret->st) < 0) {
		vmcfg_error(errors, where, "%s cannot be found: %m; check the path", path);
		return false;
	}
	if (!S_ISREG(ret->st.st_mode) && !(block_ok && S_ISBLK(ret->st.st_mode))) {
		vmcfg_error(errors, where, "%s is %s; give a regular file%s", path,
			kind_of(&ret->st), block_ok ? " or a block device" : "");
		return false;
	}
	fd = open(path, how | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		vmcfg_error(errors, where, "%s cannot be opened for %s: %m; %s", path,
			how == O_RDWR ? "writing" : "reading",
			how == O_RDWR ? "allow it, or attach the disk read-only" :
					"check its owner and mode");
		return false;
	}
	end = lseek(fd, 0, SEEK_END); /* st_size is 0 for a block device */
	if (end < 0) {
		vmcfg_error(errors, where, "the size of %s cannot be found out: %m", path);
		return false;
	}
	ret->bytes = (uint64_t)end;
	return true;
}

static void check_kernel(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	struct file f;

	if (!cfg->kernel_path || !probe("kernel", cfg->kernel_path, O_RDONLY, false, &f, errors))
		return;
	if (f.bytes < KERNEL_BYTES_MIN)
		vmcfg_error(errors, "kernel",
			"%s has only %" PRIu64 " bytes; give an ELF vmlinux or a bzImage",
			cfg->kernel_path, f.bytes);
}

static void check_initrd(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	uint64_t room = MIN(cfg->mem_bytes, LOW_RAM_MAX);
	struct file f;

	room -= MIN(room, LOW_RAM_RESERVED);
	if (!cfg->initrd_path || !probe("initrd", cfg->initrd_path, O_RDONLY, false, &f, errors))
		return;
	if (f.bytes == 0)
		vmcfg_error(errors, "initrd", "%s is empty", cfg->initrd_path);
	else if (f.bytes > room)
		vmcfg_error(errors, "initrd",
			"%s has %" PRIu64 " bytes, and %" PRIu64
			" MiB of memory leave room for %" PRIu64
			"; give the guest more memory or a smaller initrd",
			cfg->initrd_path, f.bytes, cfg->mem_bytes / MIB, room);
}

static bool reads_only(const struct disk_config *d)
{
	return d->read_only || d->overlay;
}

static void check_disk(const struct disk_config *d, const char *where, struct file *ret,
	struct vmcfg_errors *errors)
{
	if (!probe(where, d->path, reads_only(d) ? O_RDONLY : O_RDWR, true, ret, errors))
		ret->st.st_mode = 0;
	else if (ret->bytes == 0)
		vmcfg_error(errors, where, "%s is empty", d->path);
	else if (ret->bytes % SECTOR)
		vmcfg_error(errors, where,
			"%s has %" PRIu64 " bytes, which is not a multiple of %d; give a raw image "
			"(truncate -s %%%d rounds it up)",
			d->path, ret->bytes, SECTOR, SECTOR);
}

static bool same(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode))
		return a->st_rdev == b->st_rdev;
	return a->st_mode && b->st_mode && a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The folder of path: "." if it has none. */
static void parent_of(const char *path, char buf[LIMIT_PATH])
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		snprintf(buf, LIMIT_PATH, ".");
	else
		snprintf(buf, LIMIT_PATH, "%.*s", (int)MAX(slash - path, 1), path);
}

/* The folder of path: there, and `what` can be made in it. */
static void check_parent(const char *where, const char *path, const char *what,
	struct vmcfg_errors *errors)
{
	char parent[LIMIT_PATH];
	struct stat st;

	parent_of(path, parent);
	if (stat(parent, &st) < 0)
		vmcfg_error(errors, where, "the directory %s cannot be found: %m; make it first",
			parent);
	else if (!S_ISDIR(st.st_mode))
		vmcfg_error(errors, where, "%s is not a directory", parent);
	else if (faccessat(AT_FDCWD, parent, W_OK | X_OK, AT_EACCESS) < 0)
		vmcfg_error(errors, where, "no %s can be made in %s: %m", what, parent);
}

/* Both write to the one file, or one does to what the other takes for constant. */
static bool conflict(const struct disk_config *a, const struct disk_config *b)
{
	return (!reads_only(a) && (!reads_only(b) || b->overlay)) || (a->overlay && !reads_only(b));
}

/* The overlay is a file of this disk alone; one that is not there yet will be made. */
static void check_overlay(const struct vm_config *cfg, size_t i, const struct file *files,
	struct file *overlays, const char *where, struct vmcfg_errors *errors)
{
	const char *path = cfg->disks[i].overlay;
	struct stat *st = &overlays[i].st;

	if (stat(path, st) < 0 && errno == ENOENT) {
		check_parent(where, path, "overlay", errors);
		st->st_mode = 0;
	} else if (!probe(where, path, O_RDWR, false, &overlays[i], errors)) {
		st->st_mode = 0;
		return;
	}
	for (size_t j = 0; j < cfg->n_disks; j++) {
		const char *other = cfg->disks[j].overlay;

		if (!cfg->disks[j].id || (!same(st, &files[j].st) && (j >= i || !other ||
			(!same(st, &overlays[j].st) && strcmp(path, other) != 0))))
			continue;
		vmcfg_error(errors, where,
			"its overlay %s is also a file of disk '%s'; give each its own", path,
			cfg->disks[j].id);
		return;
	}
}

static void check_disks(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	struct file files[LIMIT_DISKS] = { 0 }, overlays[LIMIT_DISKS] = { 0 };
	char where[LIMIT_DISK_ID + 16];

	for (size_t i = 0; i < cfg->n_disks; i++) {
		const struct disk_config *d = &cfg->disks[i];

		if (!d->path || !d->id)
			continue;
		snprintf(where, sizeof(where), "disk '%.64s'", d->id);
		check_disk(d, where, &files[i], errors);
		for (size_t j = 0; j < i; j++) {
			if (!conflict(d, &cfg->disks[j]) || !same(&files[i].st, &files[j].st))
				continue;
			vmcfg_error(errors, where,
				"%s is also disk '%s', and %s, which would destroy it; "
				"attach it once, or read-only",
				d->path, cfg->disks[j].id,
				reads_only(d) || reads_only(&cfg->disks[j]) ?
					"one writes to what the other has an overlay over" :
					"both may write");
			break;
		}
	}
	for (size_t i = 0; i < cfg->n_disks; i++) {
		if (!cfg->disks[i].overlay || !cfg->disks[i].id)
			continue;
		snprintf(where, sizeof(where), "disk '%.64s'", cfg->disks[i].id);
		check_overlay(cfg, i, files, overlays, where, errors);
	}
}

static void check_pmems(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	char where[LIMIT_PMEM_ID + 16];
	struct file f;

	for (size_t i = 0; i < cfg->n_pmems; i++) {
		const struct pmem_config *p = &cfg->pmems[i];

		if (!p->path || !p->id)
			continue;
		snprintf(where, sizeof(where), "pmem '%.64s'", p->id);
		if (probe(where, p->path, p->read_only ? O_RDONLY : O_RDWR, true, &f, errors) &&
			f.bytes == 0)
			vmcfg_error(errors, where, "%s is empty", p->path);
	}
}

/* A file that will be written, and created if it is not there. */
static void check_output(const char *where, const char *path, struct vmcfg_errors *errors)
{
	struct stat st;

	if (!path)
		return;
	if (stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode) || S_ISSOCK(st.st_mode) || S_ISBLK(st.st_mode))
			vmcfg_error(errors, where, "%s is %s; give the path of a file or FIFO",
				path, kind_of(&st));
		else if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0)
			vmcfg_error(errors, where, "%s cannot be written: %m", path);
		return;
	}
	if (errno != ENOENT) {
		vmcfg_error(errors, where, "%s cannot be written: %m", path);
		return;
	}
	check_parent(where, path, "file", errors);
}

/* The socket is bound when the VM is built: a stale one is replaced then. */
static void check_vsock(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	const char *path = cfg->vsock_path;
	struct stat st;

	if (!path)
		return;
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		vmcfg_error(errors, "vsock", "%s is %s, and is not overwritten; give another path",
			path, S_ISLNK(st.st_mode) ? "a symbolic link" : kind_of(&st));
	else
		check_parent("vsock", path, "socket", errors);
}

/* Descriptors that we were given; nothing else is open above 2 now. */
static void check_nets(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	char where[LIMIT_NET_ID + 32];

	for (size_t i = 0; i < cfg->n_nets; i++) {
		const struct net_config *net = &cfg->nets[i];

		if (!net->id || net->fd < 0 || fcntl(net->fd, F_GETFD) >= 0)
			continue;
		snprintf(where, sizeof(where), "interface '%.64s'.fd", net->id);
		vmcfg_error(errors, where,
			"%d is not open; whoever starts volt-vmm has to leave it open for it",
			net->fd);
	}
}

static void check_metadata(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	struct file f;

	if (cfg->metadata_path)
		probe("metadata", cfg->metadata_path, O_RDONLY, false, &f, errors);
}

void vmcfg_check_files(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	check_kernel(cfg, errors);
	check_initrd(cfg, errors);
	check_disks(cfg, errors);
	check_pmems(cfg, errors);
	check_output("console", cfg->console_path, errors);
	check_output("log", cfg->log.path, errors);
	check_output("metrics", cfg->metrics_path, errors);
	check_vsock(cfg, errors);
	check_nets(cfg, errors);
	check_metadata(cfg, errors);
}
