/* SPDX-License-Identifier: Apache-2.0 */
/* Opening what the configuration names, see resources.h. */
#include "resources.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cleanup.h"
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
		r->diskfds[i] = -1;
}

void resources_done(struct resources *r)
{
	int *const fds[] = { &r->kvmfd, &r->kernelfd, &r->initrdfd, &r->metricsfd };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		*fds[i] = fd_close(*fds[i]);
	for (size_t i = 0; i < LIMIT_DISKS; i++)
		r->diskfds[i] = fd_close(r->diskfds[i]);
}

static int open_file(const char *what, const char *path, int flags, int *ret, struct volt_err *err)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		return volt_err_set(err, errno, "%s: open '%s': %m", what, path);
	*ret = fd;
	return 0;
}

int resources_open_log(struct resources *r, const struct vm_config *cfg, struct volt_err *err)
{
	if (!cfg->log.path)
		return 0;
	/* O_NONBLOCK: a FIFO whose reader sleeps must not stop the VM. */
	return open_file("log", cfg->log.path, O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK, &r->logfd,
		err);
}

static int lock_disk(int fd, const struct disk_config *d, struct volt_err *err)
{
	struct flock lock = {
		.l_type = d->read_only ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	if (errno != EAGAIN && errno != EACCES) {
		/* Some file systems have no locks: then there is none of another to respect. */
		log_warn("disk '%s': '%s' cannot be locked (%m); nothing keeps others from writing",
			d->id, d->path);
		return 0;
	}
	return volt_err_set(err, EBUSY,
		"disk '%s': '%s' is in use by another process that holds a lock on it: stop that "
		"one first%s",
		d->id, d->path, d->read_only ? "" : ", or attach the disk read-only to both");
}

static int open_disks(struct resources *r, const struct vm_config *cfg, struct volt_err *err)
{
	for (size_t i = 0; i < cfg->n_disks; i++) {
		const struct disk_config *d = &cfg->disks[i];
		int flags = d->read_only ? O_RDONLY : O_RDWR;
		int e = open_file("disk", d->path, flags, &r->diskfds[i], err);

		if (e == 0)
			e = lock_disk(r->diskfds[i], d, err);
		if (e < 0)
			return e;
	}
	return 0;
}

static int open_kvm(struct resources *r, struct volt_err *err)
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
	int e = open_file("kernel", cfg->kernel_path, O_RDONLY, &r->kernelfd, err);

	if (e == 0 && cfg->initrd_path)
		e = open_file("initrd", cfg->initrd_path, O_RDONLY, &r->initrdfd, err);
	if (e == 0)
		e = open_disks(r, cfg, err);
	if (e == 0 && cfg->metrics_path)
		e = open_file("metrics", cfg->metrics_path,
			O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK, &r->metricsfd, err);
	return e < 0 ? e : open_kvm(r, err);
}
