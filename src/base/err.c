/* SPDX-License-Identifier: Apache-2.0 */
/* The error object, see err.h. */
#include "err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int volt_err_set(struct volt_err *err, int code, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (!err || err->code)
		return -code;
	err->code = code;
	errno = code; /* for %m */
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	errno = saved;
	return -code;
}

int volt_err_wrap(struct volt_err *err, const char *fmt, ...)
{
	char inner[sizeof(err->msg)];
	size_t used;
	va_list ap;
	int n;

	if (!err)
		return -EINVAL;
	if (!err->code)
		err->code = EINVAL;
	memcpy(inner, err->msg, sizeof(inner));
	va_start(ap, fmt);
	n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	used = n < 0 ? 0 : MIN((size_t)n, sizeof(err->msg) - 1);
	if (inner[0])
		snprintf(err->msg + used, sizeof(err->msg) - used, ": %s", inner);
	return -err->code;
}
