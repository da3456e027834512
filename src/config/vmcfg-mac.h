/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MAC addresses of guests: read, and made for those who give none. A made one is unicast and
 * locally administered (IEEE 802, clause 8.4), so that it cannot be that of a real card. Private to
 * src/config and its tests. Main thread; no state.
 */
#ifndef VOLT_VMCFG_MAC_H
#define VOLT_VMCFG_MAC_H

#include <stdbool.h>

#include "err.h"

#define VMCFG_MAC_BYTES 6
#define VMCFG_MAC_TEXT	17 /* "02:fc:00:00:00:01" */

/* -EINVAL, with a corrected example: not an address, or not one that a sender can have. */
int vmcfg_mac_parse(const char *text, uint8_t ret[VMCFG_MAC_BYTES], struct volt_err *err);

void vmcfg_mac_format(const uint8_t mac[VMCFG_MAC_BYTES], char buf[VMCFG_MAC_TEXT + 1]);

/*
 * The address of an interface that was given none: always the same for the same two ids, in every
 * version of ours, because guests and DHCP servers remember it.
 */
void vmcfg_mac_make(const char *vm_id, const char *iface_id, uint8_t ret[VMCFG_MAC_BYTES]);

/* Another one each time; for VMs that have no id to tell them apart. 0 or -errno. */
int vmcfg_mac_random(uint8_t ret[VMCFG_MAC_BYTES], struct volt_err *err);

#endif
