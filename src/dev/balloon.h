/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon (virtio 1.2, section 5.5): the guest gives memory back to the host. It does so
 * because it is asked to (inflate, up to a target), by itself (free page reporting), or all at once
 * in a run that the host starts (free page hinting); and it tells how it is (statistics). Pages are
 * given back at once and read as zero when the guest takes them again, without a word: deflating
 * needs no work. Functions: loop thread, unless they say something else.
 */
#ifndef VOLT_BALLOON_H
#define VOLT_BALLOON_H

#include <stdatomic.h>
#include <stdbool.h>

#include "err.h"

#define BALLOON_PAGES_PER_MIB 256u /* the device counts pages of 4 KiB */

struct loop;
struct virtio_dev;

struct balloon_params {
	uint32_t amount_mib;	   /* target; at most the guest's memory */
	uint16_t stats_interval_s; /* 0: no statistics */
	bool deflate_on_oom;	   /* the guest may take memory back before it kills */
	bool hinting, reporting;
};

struct balloon_counters {
	/* Times that the queue was served. */
	_Atomic uint64_t inflates, deflates;
	_Atomic uint64_t inflated_pages, deflated_pages;
	_Atomic uint64_t skipped_pages; /* named by the guest, and not RAM */
	_Atomic uint64_t discards;	/* calls that gave inflated pages back: runs of them */
	_Atomic uint64_t discard_errors;
	_Atomic uint64_t malformed; /* buffers of a wrong size, or more than their queue may have */
	_Atomic uint64_t stats_updates;
	_Atomic uint64_t stats_failed;	/* of these: of a wrong size, or one too many */
	_Atomic uint64_t stats_unknown; /* values whose tag is not known */
	_Atomic uint64_t report_ranges, report_bytes, report_errors;
	_Atomic uint64_t hint_ranges, hint_bytes, hint_errors;
	_Atomic uint64_t hint_stale; /* ranges of no run, or of an earlier one: left alone */
};

/* In the order of their tags, which is that of balloon_stat_names. */
#define BALLOON_STATS 16

struct balloon_stats {
	uint32_t target_pages, actual_pages;
	uint32_t known; /* bit n: the guest has sent value n */
	uint64_t values[BALLOON_STATS];
};
extern const char *const balloon_stat_names[BALLOON_STATS];

/* Command ids of hinting; a run has one from BALLOON_HINT_RUN on. */
#define BALLOON_HINT_STOP 0u /* the guest has told all; nothing runs */
#define BALLOON_HINT_DONE 1u /* the guest may use the pages again */
#define BALLOON_HINT_RUN  2u

struct balloon_hinting {
	uint32_t host_cmd, guest_cmd;
	bool has_guest_cmd; /* the guest has sent one */
};

/*
 * Building thread. The loop is borrowed for the life of the device. vmmio_create() takes ownership
 * of the device.
 */
int balloon_create(const struct balloon_params *params, struct loop *loop, struct virtio_dev **ret,
	struct volt_err *err);

/* v was made by balloon_create() and is attached. */

/* As it is now: the target may have been changed, and the interval. */
void balloon_read_params(struct virtio_dev *v, struct balloon_params *ret);
/* 0; -ENXIO: no driver runs the device; -ERANGE: more than the guest's memory. */
int balloon_set_target(struct virtio_dev *v, uint32_t amount_mib);

/* What the guest sent last. 0; -ENOTSUP: there are no statistics. */
int balloon_read_stats(struct virtio_dev *v, struct balloon_stats *ret);
/* Also asks the guest at once. 0; -ENOTSUP: they cannot be switched on or off. */
int balloon_set_interval(struct virtio_dev *v, uint16_t interval_s);

/*
 * Asks the guest for all its free pages; with ack it may use them again when it has told all, else
 * after balloon_stop_hinting(). 0; -ENOTSUP: without hinting; -ENXIO: no driver runs the device.
 */
int balloon_start_hinting(struct virtio_dev *v, bool ack);
int balloon_stop_hinting(struct virtio_dev *v);
/* 0 or -ENOTSUP. */
int balloon_read_hinting(struct virtio_dev *v, struct balloon_hinting *ret);

/* Any thread. */
const struct balloon_counters *balloon_counters(const struct virtio_dev *v);

#endif
