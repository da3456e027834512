/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata service on the interfaces that are listed for it: its network stacks as detours of
 * the devices, which know nothing of it. Main thread while the VM is built, then loop thread.
 */
#ifndef VOLT_MACHINE_MMDS_H
#define VOLT_MACHINE_MMDS_H

#include "err.h"
#include "net.h"

struct net_config;
struct resources;
struct vm;

/* Fills in the detour of an interface that is listed; nothing for another. */
int machine_mmds_attach(struct vm *vm, struct resources *res, const struct net_config *net,
	struct net_params *params, struct volt_err *err);
/* After the devices. */
void machine_mmds_destroy(struct vm *vm);

#endif
