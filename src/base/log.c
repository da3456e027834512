/* SPDX-License-Identifier: Apache-2.0 */
/* The log, see log.h. */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "limit.h"

/* The one log of the process; set by log_init() while no other thread runs. */
static struct {
	char id[LIMIT_ID + 1], module[LIMIT_ID + 1]; /* "": every file */
	int fd;
	enum log_level level;
	bool show_level, show_origin;
} config = { .id = "-", .fd = STDERR_FILENO, .level = LOG_INFO, .show_level = true };
static _Atomic uint64_t missed, rate_limited;
static _Thread_local const char *thread_name = "main";

static const char *const names[] = {
	[LOG_OFF] = "OFF",     [LOG_ERROR] = "ERROR", [LOG_WARN] = "WARN",
	[LOG_INFO] = "INFO",   [LOG_DEBUG] = "DEBUG", [LOG_TRACE] = "TRACE",
};

void log_init(const struct log_config *cfg)
{
	tzset(); /* localtime_r() must not open /etc/localtime later */
	config.fd = cfg->fd;
	config.level = cfg->level;
	config.show_level = cfg->show_level;
	config.show_origin = cfg->show_origin;
	snprintf(config.id, sizeof(config.id), "%s", cfg->id ? cfg->id : "-");
	snprintf(config.module, sizeof(config.module), "%s", cfg->module ? cfg->module : "");
}

void log_set_thread(const char *name)
{
	thread_name = name;
}

const char *log_thread(void)
{
	return thread_name;
}

const _Atomic uint64_t *log_missed(void)
{
	return &missed;
}

const _Atomic uint64_t *log_rate_limited(void)
{
	return &rate_limited;
}

int log_level_from_name(const char *name)
{
	if (strcasecmp(name, "warning") == 0)
		return LOG_WARN;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcasecmp(name, names[i]) == 0)
			return (int)i;
	return -1;
}

const char *log_level_name(enum log_level level)
{
	return names[level];
}

bool log_site_pass(struct log_site *site, uint32_t *ret_suppressed)
{
	struct timespec ts;
	uint64_t now, start;
	uint32_t n;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
	*ret_suppressed = 0;
	start = atomic_load_explicit(&site->window_ns, memory_order_relaxed);
	/* One of several threads begins the new window, and has the number to tell. */
	if ((!start || now - start > LOG_PERIOD_NS) &&
		atomic_compare_exchange_strong_explicit(&site->window_ns, &start, now,
			memory_order_relaxed, memory_order_relaxed)) {
		n = atomic_exchange_explicit(&site->count, 1, memory_order_relaxed);
		*ret_suppressed = n > LOG_BURST ? n - LOG_BURST : 0;
		return true;
	}
	n = atomic_fetch_add_explicit(&site->count, 1, memory_order_relaxed);
	return n < LOG_BURST;
}

/* Appends to line[0..size), never past size - 1; returns the new length. */
static size_t PRINTF_LIKE(4, 5)
	append(char *line, size_t size, size_t used, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line + used, size - used, fmt, ap);
	va_end(ap);
	return n < 0 ? used : MIN(used + (size_t)n, size - 1);
}

/* "2026-11-21T13:00:00.123456789 [ID:THREAD:LEVEL:FILE:LINE] " */
static size_t prefix(char *line, size_t size, enum log_level level, const char *file, int lineno)
{
	struct timespec ts;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &ts);
	localtime_r(&ts.tv_sec, &tm);
	n = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &tm);
	n = append(line, size, n, ".%09ld [%s:%s", ts.tv_nsec, config.id, thread_name);
	if (config.show_level)
		n = append(line, size, n, ":%s", names[level]);
	if (config.show_origin)
		n = append(line, size, n, ":%s:%d", file, lineno);
	return append(line, size, n, "] ");
}

bool log_shows(enum log_level level)
{
	return level <= config.level && config.fd >= 0;
}

static bool shown(enum log_level level, const char *file)
{
	return log_shows(level) &&
		strncmp(file, config.module, strlen(config.module)) == 0;
}

/* errno is the caller's, for %m. */
static void PRINTF_LIKE(4, 0)
	emit(enum log_level level, const char *file, int lineno, const char *fmt, va_list ap)
{
	int saved = errno, r;
	char line[1024];
	size_t n;

	n = prefix(line, sizeof(line) - 1, level, file, lineno);
	errno = saved;
	r = vsnprintf(line + n, sizeof(line) - 1 - n, fmt, ap);
	if (r > 0)
		n = MIN(n + (size_t)r, sizeof(line) - 2);
	line[n++] = '\n';
	/* #syscalls loop vcpu: write */
	if (write(config.fd, line, n) != (ssize_t)n)
		atomic_fetch_add_explicit(&missed, 1, memory_order_relaxed);
}

void log_write(struct log_site *site, enum log_level level, const char *file, int lineno,
	const char *fmt, ...)
{
	uint32_t suppressed = 0;
	int saved = errno;
	va_list ap;

	if (!shown(level, file))
		return;
	if (site && !log_site_pass(site, &suppressed)) {
		atomic_fetch_add_explicit(&rate_limited, 1, memory_order_relaxed);
		return;
	}
	if (suppressed)
		log_write(NULL, LOG_WARN, file, lineno,
			"%u messages were suppressed due to rate limiting", suppressed);
	errno = saved;
	va_start(ap, fmt);
	emit(level, file, lineno, fmt, ap);
	va_end(ap);
	errno = saved;
}
