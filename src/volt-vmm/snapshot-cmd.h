/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "volt-vmm snapshot ...": what is done with files of machine state, without a machine. Main
 * thread.
 */
#ifndef VOLT_SNAPSHOT_CMD_H
#define VOLT_SNAPSHOT_CMD_H

#include <stdbool.h>

/* The command line begins with "snapshot". */
bool snapshot_cmd_is(int argc, char **argv);
/* The exit status; what is to be said was said. */
int snapshot_cmd_run(int argc, char **argv);

#endif
