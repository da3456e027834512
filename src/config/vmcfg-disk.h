/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks while the configuration is put together. Private to src/config and its tests. Main thread.
 */
#ifndef VOLT_VMCFG_DISK_H
#define VOLT_VMCFG_DISK_H

#include "vmcfg.h"

/* The argument of --disk: PATH[,ro][,root][,id=ID][,overlay=FILE][,io=sync|uring]... */
void vmcfg_disk_flag(struct vm_config *cfg, const char *spec, struct vmcfg_errors *errors);

/* Gives names to disks that have none, and puts the root disk first. */
void vmcfg_disk_settle(struct vm_config *cfg, struct vmcfg_errors *errors);

#endif
