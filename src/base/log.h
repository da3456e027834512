/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: one line per event, written with a single write(2), so that lines of several threads do
 * not mix and the log works after the sandbox is on. The line has Firecracker's form:
 *
 *	2026-11-21T13:00:00.123456789 [ID:THREAD:LEVEL:FILE:LINE] message
 *
 * LEVEL and FILE:LINE are shown as configured. Levels: error (someone must act), warn (we went on),
 * info (life cycle, a few lines per VM), debug. Each call site passes at most LOG_BURST lines in
 * LOG_PERIOD_NS, and then a warning says how many it kept back; log_debug() passes all. What a
 * guest can trigger goes through log_guest(), which has the limit at every level. Any thread after
 * log_init().
 */
#ifndef VOLT_LOG_H
#define VOLT_LOG_H

#include <stdatomic.h>
#include <stdbool.h>

#include "compiler.h"

enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

struct log_config {
	const char *id; /* instance id; copied */
	int fd;		/* borrowed until the next log_init(); -1: no log */
	enum log_level level;
	bool show_level;
	bool show_origin; /* file:line */
	const char *module; /* only lines from files whose name starts so; NULL: all. Copied. */
};

#define LOG_BURST     10 /* Firecracker's */
#define LOG_PERIOD_NS (5 * NSEC_PER_SEC)

struct log_site {
	_Atomic uint64_t window_ns;
	_Atomic uint32_t count;
};

/*
 * Main thread, while there is no other. Reads the time zone: call it before the sandbox. May be
 * called again, with another target too.
 */
void log_init(const struct log_config *cfg);

/* Name of the calling thread in log lines; name is borrowed for ever. Default "main". */
void log_set_thread(const char *name);
const char *log_thread(void);

/* Lines that could not be written, and lines that a call site kept back. */
const _Atomic uint64_t *log_missed(void);
const _Atomic uint64_t *log_rate_limited(void);

/* True if lines of that level are written at all. */
bool log_shows(enum log_level level);

/* Name <-> level, any letter case; "warning" is "warn". -1 if unknown. */
int log_level_from_name(const char *name);
const char *log_level_name(enum log_level level);

/* site: of the call, for its limit; NULL: none. For the macros below. */
void log_write(struct log_site *site, enum log_level level, const char *file, int line,
	const char *fmt, ...) PRINTF_LIKE(5, 6);

/* True if this call may write now, and then how many before it might not. For log_write(). */
bool log_site_pass(struct log_site *site, uint32_t *ret_suppressed);

#define log_guest(level, ...)                                                                      \
	do {                                                                                       \
		static struct log_site site_;                                                      \
		log_write(&site_, (level), __FILE_NAME__, __LINE__, __VA_ARGS__);                  \
	} while (0)

#define log_error(...) log_guest(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_guest(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_guest(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(NULL, LOG_DEBUG, __FILE_NAME__, __LINE__, __VA_ARGS__)

#endif
