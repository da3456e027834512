/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process passt: started before the sandbox, watched on the loop thread, gone with its socket.
 * Private to passt.c.
 */
#ifndef VOLT_PASST_PROC_H
#define VOLT_PASST_PROC_H

#include <stdbool.h>
#include <sys/types.h>

#include "err.h"

#define PASST_PORTS_MAX 64 /* forwards of one interface */
/*
 * What passt tells the guest by DHCP where the configuration says nothing. Frames of up to about
 * 35 KiB reach a stream socket in one piece; for the second piece of a larger one passt of 2023
 * stops all else and waits, and a third would make it lose its place in the stream.
 */
#define PASST_MTU_DEFAULT 32768
#define PASST_MTU_MAX	  65520

struct passt_proc {
	pid_t pid; /* 0: none, or reaped */
	int pidfd; /* owned; readable when it has ended */
	int errfd; /* owned; its stderr, non-blocking; it must be read, or passt may wait for us */
	char said[256]; /* the last lines from there, joined by "; " */
};

/* sock is passt's end, and stays the caller's. Returns when passt serves it. Building thread. */
int passt_proc_start(const char *ports, uint16_t mtu, int sock, struct passt_proc *ret,
	struct volt_err *err);

/* Takes new lines of stderr into said. False: there will be no more. */
bool passt_proc_read(struct passt_proc *p);

/* Reaps it if it has ended and says how in text. False: it still runs. */
bool passt_proc_reap(struct passt_proc *p, char *text, size_t size);

/* After its socket was closed: waits a second at most for its end, so that it leaves no zombie. */
void passt_proc_done(struct passt_proc *p);

#endif
