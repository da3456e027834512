/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: one line per event, written with a single write(2), so that lines of several threads do
 * not mix and the log works after the sandbox is on. The line has Firecracker's form:
 *
 *	2026-11-21T13:00:00.123456789 [ID:THREAD:LEVEL:FILE:LINE] message
 *
 * LEVEL and FILE:LINE are shown as configured. Levels: error (someone must act), warn (we went on),
 * info (life cycle, a few lines per VM), debug. What a guest can trigger goes through log_guest(),
 * which passes at most LOG_GUEST_BURST lines per call site and LOG_GUEST_PERIOD, and says how many
 * it kept back. Any thread after log_init().
 */
#ifndef VOLT_LOG_H
#define VOLT_LOG_H

#include <stdatomic.h>
#include <stdbool.h>

#include "compiler.h"

enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

struct log_config {
	const char *id; /* instance id; borrowed until the process ends */
	int fd;		/* borrowed until the process ends; -1: no log */
	enum log_level level;
	bool show_level;
	bool show_origin; /* file:line */
	const char *module; /* only lines from files whose name starts so; NULL: all. Borrowed. */
};

#define LOG_GUEST_BURST	    10
#define LOG_GUEST_PERIOD_NS (5 * NSEC_PER_SEC)

struct log_site {
	_Atomic uint64_t window_ns;
	_Atomic uint32_t count;
};

/* Main thread, before any other thread exists. Reads the time zone: call it before the sandbox. */
void log_init(const struct log_config *cfg);

/* Name of the calling thread in log lines; name is borrowed for ever. Default "main". */
void log_set_thread(const char *name);
const char *log_thread(void);

/* Lines that could not be written. */
const _Atomic uint64_t *log_missed(void);

/* Name <-> level, any letter case; "warning" is "warn". -1 if unknown. */
int log_level_from_name(const char *name);
const char *log_level_name(enum log_level level);

void log_write(enum log_level level, const char *file, int line, const char *fmt, ...)
	PRINTF_LIKE(4, 5);

/* True if this call may write now; used by log_guest() only. */
bool log_site_pass(struct log_site *site, uint32_t *ret_suppressed);

#define volt_log(level, ...) log_write(level, __FILE_NAME__, __LINE__, __VA_ARGS__)
#define log_error(...)	     volt_log(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)	     volt_log(LOG_WARN, __VA_ARGS__)
#define log_info(...)	     volt_log(LOG_INFO, __VA_ARGS__)
#define log_debug(...)	     volt_log(LOG_DEBUG, __VA_ARGS__)

#define log_guest(level, fmt, ...)                                                                 \
	do {                                                                                       \
		static struct log_site site_;                                                      \
		uint32_t kept_ = 0;                                                                \
		if (log_site_pass(&site_, &kept_)) {                                               \
			if (kept_)                                                                 \
				volt_log(level, "%u lines like the next one were suppressed",      \
					kept_);                                                    \
			volt_log(level, fmt __VA_OPT__(, ) __VA_ARGS__);                           \
		}                                                                                  \
	} while (0)

#endif
