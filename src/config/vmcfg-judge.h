/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The texts of a configuration that have a syntax of their own: 0, or -EINVAL and what is wrong
 * with it. The judges of the tables' rows. Private to src/config and its tests. Main thread; no
 * state.
 */
#ifndef VOLT_VMCFG_JUDGE_H
#define VOLT_VMCFG_JUDGE_H

#include <stdbool.h>

#include "err.h"

/* The name of a network interface of the host. */
int vmcfg_judge_link(const char *text, struct volt_err *err);

/* A MAC address that a guest can have. */
int vmcfg_judge_mac(const char *text, struct volt_err *err);

/* "tcp:8080:80" or "udp:53:53": a port of the host, a port of the guest. */
int vmcfg_judge_port(const char *text, struct volt_err *err);

/* The JSON text of an object whose values are all texts. */
int vmcfg_judge_texts(const char *text, struct volt_err *err);

/* What such a port means; false if text is none. */
struct vmcfg_judge_forward {
	bool udp;
	uint64_t host, guest;
};
bool vmcfg_judge_forward(const char *text, struct vmcfg_judge_forward *ret);

#endif
