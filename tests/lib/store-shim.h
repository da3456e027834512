/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's calls of the system, counted. Every call that changes something has a number from 0
 * on; at one of them the process is killed, or it fails. And a model of the disk below: what the
 * calls that were made so far may have left behind when the power is cut. One thread.
 */
#ifndef VOLT_TEST_STORE_SHIM_H
#define VOLT_TEST_STORE_SHIM_H

#include "store-sys.h"

extern const struct store_sys store_shim;

enum store_shim_what {
	STORE_SHIM_PASS,
	STORE_SHIM_KILL, /* SIGKILL at the call; a write does half of it before */
	STORE_SHIM_FAIL, /* this one call fails */
	STORE_SHIM_STICKY, /* it and all later ones that need space or write */
	STORE_SHIM_DEAD, /* it and all later ones: nothing can be taken back either */
	STORE_SHIM_SHORT, /* writes write half, all of them */
};

/* Counts from 0 again. code: errno of the failure. */
void store_shim_set(enum store_shim_what what, unsigned at, int code);
/* Calls since. */
unsigned store_shim_count(void);
/* The call that failed was an fsync or fdatasync. */
unsigned store_shim_failed_syncs(void);

/* ---- The disk ---- */

/* The folder as it is now is on the disk; from now on all changes below it are remembered. */
void store_disk_begin(const char *folder);
unsigned store_disk_changes(void);
enum store_disk_loss { STORE_DISK_DROP_ALL, STORE_DISK_KEEP_ALL, STORE_DISK_RANDOM };
/*
 * Makes in a new folder what is left when the power is cut after the first n changes: what was
 * synced, and of the rest, by pages of 4 KiB and by names, nothing, all, or some.
 */
void store_disk_cut(unsigned n, enum store_disk_loss loss, unsigned seed, const char *folder);
void store_disk_end(void);

#endif
