/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firecracker's configuration file, read as it does: each key is the body of the request that has
 * its meaning, in the order in which Firecracker applies them. Loop thread, before the start.
 */
#ifndef VOLT_API_FILE_H
#define VOLT_API_FILE_H

#include "api.h"

/* -EINVAL: err holds Firecracker's text. */
int api_file(struct api *a, const char *path, struct volt_err *err);

#endif
