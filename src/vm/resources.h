/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything the configuration names, opened once and before the sandbox: from then on the process
 * opens nothing but connections to the Unix sockets beside the vsock path. Main thread.
 */
#ifndef VOLT_RESOURCES_H
#define VOLT_RESOURCES_H

#include "helper.h"
#include "vmcfg.h"

struct loop;
struct netif;
struct vhost_net;

struct resources {
	int kvmfd;
	int kernelfd, initrdfd;	     /* initrdfd -1: none */
	int diskfds[LIMIT_DISKS];    /* -1 once a device owns it */
	int logfd;		     /* -1: stderr */
	int metricsfd;		     /* -1: none */
	struct netif *nets[LIMIT_NETS];	     /* NULL once a device owns it; likewise: */
	struct vhost_net *vhosts[LIMIT_NETS]; /* NULL also without vhost */
	int vsockfd;			     /* listens; -1: none, or a device owns it */
	struct helper vsock_cleaner;	     /* removes the socket file when we are gone */
};

void resources_init(struct resources *r);
/* Log first, so that it gets the messages of the rest. */
int resources_open_log(struct resources *r, const struct vm_config *cfg, struct volt_err *err);
/*
 * Files, then /dev/kvm. A disk is locked (open file description lock): shared when read-only,
 * exclusive when writable, so that two monitors cannot write to one disk.
 */
int resources_open(struct resources *r, const struct vm_config *cfg, struct volt_err *err);
void resources_done(struct resources *r);

/*
 * Interfaces and the vsock socket; the loop, which watches the state of links, must outlive them.
 * Processes are started here: before the sandbox.
 */
int resources_net_open(struct resources *r, const struct vm_config *cfg, struct loop *loop,
	struct volt_err *err);
/* What no device has taken. */
void resources_net_done(struct resources *r);

#endif
