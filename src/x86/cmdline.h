/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's command line: the user's, then what the monitor knows, in Firecracker's order,
 * before a " -- " that separates the arguments of init. Main thread.
 */
#ifndef VOLT_CMDLINE_H
#define VOLT_CMDLINE_H

#include <stdbool.h>

#include "err.h"
#include "layout.h"
#include "limit.h"

struct cmdline_config {
	const char *user;
	bool pci_off;	  /* "pci=off" */
	const char *root; /* NULL, "/dev/vda" or "PARTUUID=..." */
	bool root_read_only;
	unsigned n_virtio; /* virtio_mmio.device=, for kernels that do not read the DSDT; 0: none */
	const struct layout_slot *virtio;
};

/*
 * -EINVAL: a character that is not printable ASCII, and where; -E2BIG: too long, and by how much.
 * ret is a NUL-terminated string, defined only on success.
 */
int cmdline_build(const struct cmdline_config *cfg, char ret[LIMIT_CMDLINE], struct volt_err *err);

#endif
