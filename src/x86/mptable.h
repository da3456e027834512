/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MP table (Intel MultiProcessor Specification 1.4) for kernels without ACPI, at LAYOUT_SYSTEM:
 * processors, one ISA bus, one IOAPIC with its pins wired one to one. Main thread, before the guest
 * runs.
 */
#ifndef VOLT_MPTABLE_H
#define VOLT_MPTABLE_H

#include "gmem.h"

/* n_vcpus: 1..LIMIT_VCPUS. ret_end: first address behind the table, 16-byte aligned. */
int mptable_write(const struct gmem *m, unsigned n_vcpus, uint64_t *ret_end, struct volt_err *err);

#endif
