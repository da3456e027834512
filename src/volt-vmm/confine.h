/* SPDX-License-Identifier: Apache-2.0 */
/* What the process can still reach once its files are open. Main thread. */
#ifndef VOLT_CONFINE_H
#define VOLT_CONFINE_H

#include "resources.h"

/*
 * Landlock, and the handler of forbidden system calls; seccomp follows in vm_start(). From here on
 * nothing can be opened, but with an API socket, for PATCH /drives, files that exist in the
 * directories of the drives. Called as "firecracker", whose clients know of no such limit: any
 * file. Once.
 */
int confine_process(const struct vm_config *cfg, const struct resources *res, struct volt_err *err);

#endif
