/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network interfaces and vsock while the configuration is put together. Private to src/config and
 * its tests. Main thread.
 */
#ifndef VOLT_VMCFG_NET_H
#define VOLT_VMCFG_NET_H

#include "vmcfg.h"

/* The argument of --net: BACKEND[,OPTION...] */
void vmcfg_net_flag(struct vm_config *cfg, const char *spec, struct vmcfg_errors *errors);

/* The argument of --vsock: PATH[,cid=N] */
void vmcfg_net_vsock_flag(struct vm_config *cfg, const char *spec, struct vmcfg_errors *errors);

/* Gives names to interfaces that have none, and decides on the MAC address of each. */
void vmcfg_net_settle(struct vm_config *cfg, struct vmcfg_errors *errors);

/*
 * What the values of interfaces, and of the metadata service on them, mean together; a part of
 * vmcfg_check_values().
 */
void vmcfg_net_check(const struct vm_config *cfg, struct vmcfg_errors *errors);

#endif
