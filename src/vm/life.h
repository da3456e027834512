/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals and the orderly end. SIGTERM, SIGINT and SIGHUP ask the guest to stop: its power button
 * at once, Ctrl-Alt-Del after a third of the time-out, the end by force after all of it. A second
 * signal ends the VM at once. Loop thread.
 */
#ifndef VOLT_LIFE_H
#define VOLT_LIFE_H

#include "loop.h"

struct vm;

enum life_stage { LIFE_RUNNING, LIFE_BUTTON, LIFE_CTRL_ALT_DEL };

struct life {
	struct vm *vm; /* borrowed */
	enum life_stage stage;
	int signalfd, timerfd; /* owned */
	struct loop_src signal_src, timer_src;
};

/* Blocks the signals in the calling thread and those it starts later. */
int life_init(struct life *l, struct vm *vm, struct volt_err *err);
void life_done(struct life *l);

/* Asks the guest to stop, as a signal does; `why` is for the log. */
void life_ask(struct life *l, const char *why);

#endif
