/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal's mode. There is at most one terminal in a process that is raw because of us; how it
 * was before is kept at file scope, where a signal handler finds it. Loop thread, but for
 * console_tty_restore().
 */
#ifndef VOLT_CONSOLE_TTY_H
#define VOLT_CONSOLE_TTY_H

#include <stdbool.h>

/*
 * True if fd, a terminal, may be read and set by us: we are in its foreground process group, or it
 * is not the terminal that controls our jobs.
 */
bool console_tty_is_ours(int fd);

/*
 * Puts fd into raw mode, remembering how it was. fd is borrowed until console_tty_release(). Called
 * again, it keeps what it remembered the first time. 0 or -errno.
 */
int console_tty_take(int fd);

/* Forgets the terminal without touching it. */
void console_tty_release(void);

/* Puts the terminal back if it is raw because of us and still ours. Any thread, signal handlers. */
void console_tty_restore(void);

#endif
