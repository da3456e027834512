/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything the configuration names, opened once and before the sandbox: from then on the process
 * opens nothing. Main thread.
 */
#ifndef VOLT_RESOURCES_H
#define VOLT_RESOURCES_H

#include "vmcfg.h"

struct resources {
	int kvmfd;
	int kernelfd, initrdfd;	     /* initrdfd -1: none */
	int diskfds[LIMIT_DISKS];    /* -1 once a device owns it */
	int logfd;		     /* -1: stderr */
	int metricsfd;		     /* -1: none */
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

#endif
