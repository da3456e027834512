/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Being called as "firecracker": its flags, defaults, texts and exit statuses (API level 1.17.0),
 * for clients that start that program. Main thread.
 */
#ifndef VOLT_PERSONA_H
#define VOLT_PERSONA_H

#include "vmcfg.h"

/* By the last part of argv[0]. */
bool persona_is_firecracker(const char *argv0);
/* -1 to go on, else the exit status; what is to be said was said. */
int persona_configure(struct vm_config *cfg, int argc, char **argv);
/* "Running Firecracker v1.17.0", or of ourselves. */
void persona_log_start(const struct vm_config *cfg);
/* "Firecracker exiting successfully. exit_code=0", or of ourselves. */
void persona_log_exit(const struct vm_config *cfg, int status);

#endif
