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

/* The one log of the process; set once by log_init() before any thread starts. */
static struct log_config config = { .fd = STDERR_FILENO, .level = LOG_INFO, .show_level = true };
static _Atomic uint64_t missed;
static _Thread_local const char *thread_name = "main";

static const char *const names[] = {
	[LOG_OFF] = "OFF",     [LOG_ERROR] = "ERROR", [LOG_WARN] = "WARN",
	[LOG_INFO] = "INFO",   [LOG_DEBUG] = "DEBUG", [LOG_TRACE] = "TRACE",
};

void log_init(const struct log_config *cfg)
{
	tzset(); /* localtime_r() must not open /etc/localtime later */
	config = *cfg;
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
	start = atomic_load_explicit(&site->window_ns, memory_order_relaxed);
	if (!start || now - start > LOG_GUEST_PERIOD_NS) {
		atomic_store_explicit(&site->window_ns, now, memory_order_relaxed);
		n = atomic_exchange_explicit(&site->count, 1, memory_order_relaxed);
		*ret_suppressed = n > LOG_GUEST_BURST ? n - LOG_GUEST_BURST : 0;
		return true;
	}
	n = atomic_fetch_add_explicit(&site->count, 1, memory_order_relaxed);
	return n < LOG_GUEST_BURST;
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
	n = append(line, size, n, ".%09ld [%s:%s", ts.tv_nsec, config.id ? config.id : "-",
		thread_name);
	if (config.show_level)
		n = append(line, size, n, ":%s", names[level]);
	if (config.show_origin)
		n = append(line, size, n, ":%s:%d", file, lineno);
	return append(line, size, n, "] ");
}

void log_write(enum log_level level, const char *file, int lineno, const char *fmt, ...)
{
	int saved = errno;
	char line[1024];
	va_list ap;
	size_t n;
	int r;

	if (level > config.level || config.fd < 0)
		return;
	if (config.module && strncmp(file, config.module, strlen(config.module)) != 0)
		return;
	n = prefix(line, sizeof(line) - 1, level, file, lineno);
	errno = saved; /* for %m */
	va_start(ap, fmt);
	r = vsnprintf(line + n, sizeof(line) - 1 - n, fmt, ap);
	va_end(ap);
	if (r > 0)
		n = MIN(n + (size_t)r, sizeof(line) - 2);
	line[n++] = '\n';
	/* #syscalls loop vcpu: write */
	if (write(config.fd, line, n) != (ssize_t)n)
		atomic_fetch_add_explicit(&missed, 1, memory_order_relaxed);
	errno = saved;
}
