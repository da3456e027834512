/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host side of the console: descriptors on one side, devices of the guest on the other, by what
 * console-port.h says of them. All of it runs on the loop thread, but for console_restore().
 *
 * Devices. The output of all goes to the same place, in pieces as they come: a guest that writes to
 * two of them at a time gets them mixed. The input goes to the one that was connected last.
 *
 * Descriptors. The caller's descriptors are often shared (a terminal is one open file description
 * for the shell and all its children), so their flags are never changed. Pipes and terminals are
 * opened again by /proc/self/fd/N, which gives a description of our own with O_NONBLOCK; that must
 * happen before the sandbox. Where it is refused (a terminal of another user, a pipe without
 * reader) a duplicate is used and written in small pieces after poll(2) said that it has room.
 * Sockets use MSG_DONTWAIT. Regular files are duplicated, because a second description would start
 * at offset 0.
 *
 * Output. A reader that is slow is waited for with epoll, while the ring takes what the guest
 * writes. A reader that is gone (EPIPE, EIO) ends the output: it is counted, the VM goes on. Other
 * errors (disk full) drop that piece and are counted. So does a rate limit with what is too much.
 *
 * Input. End of file ends the input, not the VM. From a pipe no more is read than the guest takes.
 * From a terminal everything is read, because an escape must work while the guest hangs; what the
 * guest does not take within CONSOLE_INPUT_BYTES is dropped and counted.
 *
 * Terminal. If the input is a terminal and this process is in its foreground process group, it is
 * put into raw mode (output processing stays as it is, so that "\n" in the log still returns the
 * carriage), and console_restore() puts it back. In the background the terminal is not touched and
 * not read: no SIGTTIN, no SIGTTOU. The process must ignore SIGPIPE, SIGTTIN and SIGTTOU, and call
 * console_refresh() when it is told SIGCONT, which is how a shell says "you are in the foreground".
 *
 * Escapes, on a terminal only: Ctrl-A, then x, p, h, or Ctrl-A for itself. Another key is passed on
 * with the Ctrl-A before it.
 */
#ifndef VOLT_CONSOLE_H
#define VOLT_CONSOLE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "bucket.h"
#include "err.h"

#define CONSOLE_PORTS_MAX    2
#define CONSOLE_INPUT_BYTES  1024
#define CONSOLE_OUTPUT_BYTES 4096
#define CONSOLE_FLUSH_MS     1000

struct console;
struct console_port;
struct loop;

enum console_escape {
	CONSOLE_STOP,	      /* Ctrl-A x: end the VM at once */
	CONSOLE_POWER_BUTTON, /* Ctrl-A p */
};

struct console_params {
	int infd, outfd;  /* borrowed until console_create() returns; -1: none */
	struct bucket_params limit; /* of the output, in bytes; what is too much is dropped */
	const char *path; /* output goes to this file instead of outfd; NULL: none */
	/* Called on the loop thread; the console must not be destroyed from within. */
	void (*on_escape)(void *owner, enum console_escape what);
	void *owner;
};

struct console_stats {
	_Atomic uint64_t out_bytes, in_bytes;
	_Atomic uint64_t out_dropped;  /* bytes that could not be written */
	_Atomic uint64_t out_limited;  /* bytes that the limit dropped */
	_Atomic uint64_t out_failures; /* writes that failed, not counting a full pipe */
	_Atomic uint64_t in_dropped;   /* typed but not taken by the guest */
};

/*
 * Main thread, before the sandbox. l and port are borrowed until console_destroy(). A path is
 * opened for appending and created with mode 0600; a FIFO without a reader is kept open by
 * ourselves.
 */
int console_create(struct loop *l, struct console_port *port, const struct console_params *p,
	struct console **ret, struct volt_err *err);

/*
 * Connects another device, at most CONSOLE_PORTS_MAX in all; it gets the input from now on.
 * Building thread; borrowed until console_destroy().
 */
int console_add(struct console *c, struct console_port *port, struct volt_err *err);

/* Flushes for at most CONSOLE_FLUSH_MS, restores the terminal, closes. NULL is allowed. */
void console_destroy(struct console *c);

/* Writes what the guest has written so far, waiting at most timeout_ms for a slow reader. */
void console_flush(struct console *c, unsigned timeout_ms);

/* While it is held, input does not reach the guest; escapes do work. Loop thread. */
void console_hold(struct console *c, bool held);

/* After SIGCONT: looks again whether the terminal is ours and takes it, or leaves it alone. */
void console_refresh(struct console *c);

/* Any thread. */
const struct console_stats *console_stats(const struct console *c);

/*
 * Puts the terminal back as it was before console_create(), if it was changed and is still ours.
 * Any thread, any number of times, also in a signal handler.
 */
void console_restore(void);

#endif
