/* SPDX-License-Identifier: Apache-2.0 */
/* Opening what the configuration names, see resources.h. */
#include "resources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "cpu-setup.h"
#include "kvm.h"
#include "log.h"

void resources_init(struct resources *r)
{
	*r = (struct resources){
		.kvmfd = -1,
		.kernelfd = -1,
		.initrdfd = -1,
		.logfd = -1,
		.metricsfd = -1,
		.vsockfd = -1,
		.vsock_cleaner = HELPER_NONE,
	};
	for (size_t i = 0; i < LIMIT_DISKS; i++)
		r->diskfds[i] = r->overlayfds[i] = -1;
	for (size_t i = 0; i < LIMIT_PMEMS; i++)
		r->pmemfds[i] = -1;
}

void resources_done(struct resources *r)
{
	int *const fds[] = { &r->kvmfd, &r->kernelfd, &r->initrdfd, &r->metricsfd };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		*fds[i] = fd_close(*fds[i]);
	free(r->cpu_template);
	r->cpu_template = NULL;
	for (size_t i = 0; i < LIMIT_DISKS; i++) {
		r->diskfds[i] = fd_close(r->diskfds[i]);
		r->overlayfds[i] = fd_close(r->overlayfds[i]);
	}
	for (size_t i = 0; i < LIMIT_PMEMS; i++)
		r->pmemfds[i] = fd_close(r->pmemfds[i]);
	resources_mmds_done(r);
}

static int open_file(const char *what, const char *path, int flags, int *ret, struct volt_err *err)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		return volt_err_set(err, errno, "%s: open '%s': %m", what, path);
	*ret = fd;
	return 0;
}

/* O_NONBLOCK: a FIFO whose reader sleeps must not stop the VM. */
static int open_output(const char *what, const char *path, int *ret, struct volt_err *err)
{
	return open_file(what, path, O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK, ret, err);
}

int resources_reopen_log(struct resources *r, const char *path, struct volt_err *err)
{
	int fd = -1, e = open_output("log", path, &fd, err);

	if (e < 0)
		return e;
	/* The number stays: a line that is written meanwhile goes to one file or the other. */
	if (r->logfd >= 0) {
		dup3(fd, r->logfd, O_CLOEXEC);
		close(fd);
	} else {
		r->logfd = fd;
	}
	return 0;
}

void resources_log_init(const struct resources *r, const struct vm_config *cfg)
{
	bool standard = r->logfd < 0;
	const struct log_config log = {
		.id = cfg->id,
		.fd = !standard ? r->logfd : cfg->firecracker ? STDOUT_FILENO : STDERR_FILENO,
		.level = cfg->log.level,
		.show_level = cfg->log.show_level || (standard && !cfg->firecracker),
		.show_origin = cfg->log.show_origin,
		.module = cfg->log.module,
	};

	log_init(&log);
}

int resources_open_log(struct resources *r, const struct vm_config *cfg, struct volt_err *err)
{
	int e = cfg->log.path ? resources_reopen_log(r, cfg->log.path, err) : 0;

	if (e == 0)
		resources_log_init(r, cfg);
	return e;
}

int resources_open_metrics(struct resources *r, const struct vm_config *cfg, struct volt_err *err)
{
	if (!cfg->metrics_path || r->metricsfd >= 0)
		return 0;
	return open_output("metrics", cfg->metrics_path, &r->metricsfd, err);
}

int resources_open_read(const char *path, int *ret)
{
	*ret = open(path, O_RDONLY | O_CLOEXEC);
	return *ret < 0 ? -errno : 0;
}

/* what: "disk" or "pmem", for messages. */
static int lock_file(int fd, const char *what, const char *id, const char *path, bool read_only,
	struct volt_err *err)
{
	struct flock lock = {
		.l_type = read_only ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	if (errno != EAGAIN && errno != EACCES) {
		/* Some file systems have no locks: then there is none of another to respect. */
		log_warn("%s '%s': '%s' cannot be locked (%m); nothing keeps others from writing",
			what, id, path);
		return 0;
	}
	return volt_err_set(err, EBUSY,
		"%s '%s': '%s' is in use by another process that holds a lock on it: stop that "
		"one first%s%s%s",
		what, id, path, read_only ? "" : ", or attach the ", read_only ? "" : what,
		read_only ? "" : " read-only to both");
}

int resources_open_disk(const struct disk_config *d, const char *path, int *ret,
	struct volt_err *err)
{
	bool read_only = d->read_only || d->overlay;
	int fd = -1, e = open_file("disk", path, read_only ? O_RDONLY : O_RDWR, &fd, err);

	/* #syscalls api: openat fcntl=F_OFD_SETLK close */
	if (e == 0)
		e = lock_file(fd, "disk", d->id, path, read_only, err);
	if (e < 0)
		fd = fd_close(fd);
	*ret = fd;
	return e;
}

/* A file that was just made is found again after a power cut only if its folder says so. */
static int sync_folder(const char *path, struct volt_err *err)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) :
					      strdup(".");
	_cleanup_close_ int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	/* A folder that we may write to but not read cannot be synced. */
	if (fd < 0 && errno == EACCES)
		return 0;
	/* #syscalls api: fsync */
	if (fd < 0 || fsync(fd) < 0)
		return volt_err_set(err, errno, "disk: sync the folder of '%s': %m", path);
	return 0;
}

int resources_open_overlay(const struct disk_config *d, int *ret, struct volt_err *err)
{
	int fd = -1, e = open_file("disk", d->overlay, O_RDWR | O_CREAT, &fd, err);

	if (e == 0)
		e = lock_file(fd, "disk", d->id, d->overlay, false, err);
	if (e == 0)
		e = sync_folder(d->overlay, err);
	if (e < 0)
		fd = fd_close(fd);
	*ret = fd;
	return e;
}

static int open_disks(struct resources *r, const struct vm_config *cfg, struct volt_err *err)
{
	for (size_t i = 0; i < cfg->n_disks; i++) {
		const struct disk_config *d = &cfg->disks[i];
		int e = r->diskfds[i] >= 0 ? 0
					   : resources_open_disk(d, d->path, &r->diskfds[i], err);

		if (e == 0 && d->overlay && r->overlayfds[i] < 0)
			e = resources_open_overlay(d, &r->overlayfds[i], err);
		if (e < 0)
			return e;
	}
	return 0;
}

static int open_pmem(const struct pmem_config *p, int *ret, struct volt_err *err)
{
	int e = open_file("pmem", p->path, p->read_only ? O_RDONLY : O_RDWR, ret, err);
	off_t end;

	if (e == 0)
		e = lock_file(*ret, "pmem", p->id, p->path, p->read_only, err);
	if (e < 0)
		return e;
	end = lseek(*ret, 0, SEEK_END);
	if (end < 0)
		return volt_err_set(err, errno, "pmem '%s': the size of '%s': %m", p->id, p->path);
	if (end == 0) /* Firecracker's words, and the name of the file */
		return volt_err_set(err, EINVAL, "pmem '%s': Error backing file size is 0: '%s'",
			p->id, p->path);
	return 0;
}

int resources_open_pmems(struct resources *r, const struct vm_config *cfg, struct volt_err *err)
{
	for (size_t i = 0; i < cfg->n_pmems; i++) {
		int e = r->pmemfds[i] >= 0 ? 0 : open_pmem(&cfg->pmems[i], &r->pmemfds[i], err);

		if (e < 0) {
			r->pmemfds[i] = fd_close(r->pmemfds[i]);
			return e;
		}
	}
	return 0;
}

int resources_open_kvm(struct resources *r, struct volt_err *err)
{
	int fd = kvm_open();

	if (fd >= 0) {
		r->kvmfd = fd;
		return 0;
	}
	switch (-fd) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return volt_err_set(err, -fd,
			"/dev/kvm is missing: load kvm_intel or kvm_amd and enable virtualization "
			"in "
			"the firmware, or run in the lab: lab/volt-lab run -- volt-vmm ...");
	case EACCES:
	case EPERM:
		return volt_err_set(err, -fd,
			"/dev/kvm: %m: join the group that owns it (usually: usermod -aG kvm USER, "
			"then log in again)");
	case ENOTSUP:
	case ENOTTY:
		return volt_err_set(err, -fd,
			"/dev/kvm does not speak KVM API version 12: it is not Linux's KVM device");
	default:
		return volt_err_set(err, -fd, "open /dev/kvm: %m");
	}
}

int resources_open(struct resources *r, const struct vm_config *cfg, struct volt_err *err)
{
	int e = 0;

	if (r->kernelfd < 0)
		e = open_file("kernel", cfg->kernel_path, O_RDONLY, &r->kernelfd, err);
	if (e == 0 && cfg->initrd_path && r->initrdfd < 0)
		e = open_file("initrd", cfg->initrd_path, O_RDONLY, &r->initrdfd, err);
	if (e == 0)
		e = open_disks(r, cfg, err);
	if (e == 0) {
		e = cpu_setup_load(cfg, &r->cpu_template, err);
		if (e < 0)
			volt_err_wrap(err, "cpu-config");
	}
	if (e == 0)
		e = resources_open_pmems(r, cfg, err);
	if (e == 0)
		e = resources_open_metrics(r, cfg, err);
	if (e == 0 && cfg->mmds.present)
		e = resources_mmds_open(r, cfg, err);
	return e < 0 || r->kvmfd >= 0 ? e : resources_open_kvm(r, err);
}
