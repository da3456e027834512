/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cold boot: kernel, initrd, command line, firmware tables and vCPU state. Main thread, once, after
 * the devices exist (the tables name them) and before a vCPU runs.
 */
#ifndef VOLT_BOOT_LOAD_H
#define VOLT_BOOT_LOAD_H

#include "err.h"

struct resources;
struct vm;

int boot_load(struct vm *vm, const struct resources *res, struct volt_err *err);

#endif
