/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error object: a code and a chain of context, "outer: inner: cause". It is owned by the
 * caller, never allocates, and works after the sandbox is on. Functions on cold paths take one as
 * their last parameter; hot paths return a bare -errno and count. Any thread, one object per
 * thread.
 */
#ifndef VOLT_ERR_H
#define VOLT_ERR_H

#include "compiler.h"

struct volt_err {
	int code; /* positive errno, 0 while unset */
	char msg[480];
};

/*
 * Records the first cause; a later call changes nothing. "%m" prints strerror(code). err may be
 * NULL. Returns -code.
 */
int volt_err_set(struct volt_err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "context: " in front of what is there. Returns -code (-EINVAL if nothing was set). */
int volt_err_wrap(struct volt_err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
