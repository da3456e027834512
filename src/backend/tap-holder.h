/* SPDX-License-Identifier: Apache-2.0 */
/* Which process holds a tap, for the message that it is busy. Building thread. */
#ifndef VOLT_TAP_HOLDER_H
#define VOLT_TAP_HOLDER_H

#include <stdbool.h>

#define TAP_HOLDER_TEXT 96

/*
 * "process 4711 (qemu-system-x86)", or "this process itself (...)". False if none was found: a
 * process of another user can be seen by root only. One in our network namespace is preferred, for
 * another may have a tap of the same name.
 */
bool tap_holder_find(const char *name, char ret[TAP_HOLDER_TEXT]);

#endif
