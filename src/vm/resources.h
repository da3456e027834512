/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything the configuration names, opened once and before the sandbox: from then on the process
 * opens nothing but connections to the Unix sockets beside the vsock path, and what the API asks
 * for. The API opens pieces before the whole: what is open already is not opened again. Main
 * thread.
 */
#ifndef VOLT_RESOURCES_H
#define VOLT_RESOURCES_H

#include "helper.h"
#include "vmcfg.h"

struct cpu_template;
struct loop;
struct mmds;
struct netif;
struct vhost_net;

struct resources {
	int kvmfd;
	int kernelfd, initrdfd;	     /* initrdfd -1: none */
	int diskfds[LIMIT_DISKS];    /* -1 once a device owns it */
	int overlayfds[LIMIT_DISKS]; /* likewise; -1 also without an overlay */
	struct cpu_template *cpu_template; /* the custom one; NULL: none */
	int pmemfds[LIMIT_PMEMS];    /* likewise */
	int logfd;		     /* -1: stderr */
	int metricsfd;		     /* -1: none */
	struct netif *nets[LIMIT_NETS];	     /* NULL once a device owns it; likewise: */
	struct vhost_net *vhosts[LIMIT_NETS]; /* NULL also without vhost */
	int vsockfd;			     /* listens; -1: none, or a device owns it */
	struct mmds *mmds; /* owned; NULL: none yet; the VM must not outlive it */
	struct helper vsock_cleaner;	     /* removes the socket file when we are gone */
};

void resources_init(struct resources *r);
/* Log first, so that it gets the messages of the rest; its target is log.path or standard error. */
int resources_open_log(struct resources *r, const struct vm_config *cfg, struct volt_err *err);
/* Gives the log another file, which no line is written to before resources_log_init(). */
int resources_reopen_log(struct resources *r, const char *path, struct volt_err *err);
void resources_log_init(const struct resources *r, const struct vm_config *cfg);
/* The file of the metrics; nothing without metrics_path. */
int resources_open_metrics(struct resources *r, const struct vm_config *cfg, struct volt_err *err);
/* A file for reading; -1 with errno. */
int resources_open_read(const char *path, int *ret);
/* A backing file for a disk, opened and locked, see below; for reading only under an overlay. */
int resources_open_disk(const struct disk_config *d, const char *path, int *ret,
	struct volt_err *err);
/* The overlay of a disk that has one, made if it is not there, locked for us alone. */
int resources_open_overlay(const struct disk_config *d, int *ret, struct volt_err *err);
/*
 * Files, then /dev/kvm. A disk, or a pmem device's file, is locked (open file description lock):
 * shared when read-only, exclusive when writable, so that two monitors cannot write to one. That of
 * a CPU template is read.
 */
int resources_open(struct resources *r, const struct vm_config *cfg, struct volt_err *err);
/* /dev/kvm alone; says what to do if it cannot be had. */
int resources_open_kvm(struct resources *r, struct volt_err *err);
/*
 * The files of pmem devices that are not open yet, locked like disks; the API opens them at the
 * start only, as Firecracker does. Part of resources_open().
 */
int resources_open_pmems(struct resources *r, const struct vm_config *cfg, struct volt_err *err);
void resources_done(struct resources *r);

/* Interface i. */
int resources_open_net(struct resources *r, const struct vm_config *cfg, size_t i,
	struct loop *loop, struct volt_err *err);
void resources_net_forget(struct resources *r, size_t i);
int resources_open_vsock(struct resources *r, const struct vm_config *cfg, struct volt_err *err);
/* Closes the socket and removes its file. */
void resources_close_vsock(struct resources *r);

/*
 * The metadata service, with the data of --metadata; nothing if it is there. Before the sandbox.
 */
int resources_mmds_open(struct resources *r, const struct vm_config *cfg, struct volt_err *err);
void resources_mmds_done(struct resources *r);

/*
 * Interfaces and the vsock socket; the loop, which watches the state of links, must outlive them.
 * Processes are started here: before the sandbox.
 */
int resources_net_open(struct resources *r, const struct vm_config *cfg, struct loop *loop,
	struct volt_err *err);
/* What no device has taken. */
void resources_net_done(struct resources *r);

#endif
