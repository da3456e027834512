/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An overlay disk beside a model of it, and a host that fails. The model knows for each sector the
 * values that it may have after a crash: the one that was flushed, and all that were written since.
 * The host counts the calls that change files, and makes one of them fail, or the last one. Link
 * with OVERLAY_RIG_WRAPS (see meson.build). One thread.
 */
#ifndef VOLT_OVERLAY_RIG_H
#define VOLT_OVERLAY_RIG_H

#include "disk-overlay.h"

#define RIG_SECTORS_MAX 600
#define RIG_FILES	64

enum rig_fault {
	RIG_NONE,
	RIG_EIO,    /* call n fails; of a sync: what it was to write is lost */
	RIG_ENOSPC, /* likewise */
	RIG_SHORT,  /* call n writes less than it was asked to */
	RIG_KILL,   /* neither call n nor a later one reaches the files */
	RIG_TORN,   /* call n does half of its work, no later one any */
};

struct rig {
	struct disk *disk; /* NULL: not open */
	int basefd;
	unsigned sectors, shift;
	int files[RIG_FILES]; /* of the layers, the topmost first; duplicates that the rig owns */
	unsigned n_files;
	uint8_t now[RIG_SECTORS_MAX];	       /* what a sector is filled with */
	uint32_t may[RIG_SECTORS_MAX][256 / 32]; /* values it may have after a crash: bits */
	const char *wrong; /* the first thing that was; NULL: nothing */
};

/* Host faults: none yet, calls counted from 0. */
void rig_host_reset(void);
void rig_host_fail(enum rig_fault fault, unsigned call);
unsigned rig_host_calls(void);
bool rig_host_dead(void);

/* A disk over a base of its own, whose sectors are filled with 1, 2, 3 ... */
void rig_open(struct rig *r, unsigned sectors, unsigned shift);
void rig_close(struct rig *r);
/* One operation; false: it failed. off and n in sectors. */
bool rig_write(struct rig *r, unsigned off, unsigned n, uint8_t value);
bool rig_zero(struct rig *r, unsigned off, unsigned n, bool unmap);
bool rig_discard(struct rig *r, unsigned off, unsigned n);
bool rig_flush(struct rig *r);
bool rig_freeze(struct rig *r);
bool rig_merge(struct rig *r);
void rig_check(struct rig *r); /* reads all of it */
/*
 * The process is gone, all the files are what they were; power: what was not synced is there or
 * not, sector by sector. Then it starts again, and what it finds is what the model allows.
 */
void rig_crash(struct rig *r, bool power, unsigned seed);
/* Any of the operations, made of two random numbers. */
bool rig_random(struct rig *r, uint32_t what, uint32_t where);

#endif
