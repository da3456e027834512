/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound ownership: a variable marked _cleanup_x_ gives up what it owns when it goes out of
 * scope, in reverse order of declaration. Handing over is always written: take_fd(), take_ptr().
 * Any thread; no state.
 */
#ifndef VOLT_CLEANUP_H
#define VOLT_CLEANUP_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn)  __attribute__((cleanup(fn)))
#define _cleanup_close_ _cleanup_(cleanup_closep)
#define _cleanup_free_	_cleanup_(cleanup_freep)
#define _cleanup_fclose_ _cleanup_(cleanup_fclosep)

/*
 * Closes an fd (negative: nothing) and keeps errno. Returns -1, so that "fd = fd_close(fd)" reads
 * well.
 */
static inline int fd_close(int fd)
{
	if (fd >= 0) {
		int saved = errno;

		/* #syscalls loop: close */
		close(fd);
		errno = saved;
	}
	return -1;
}

static inline void cleanup_closep(int *fd)
{
	*fd = fd_close(*fd);
}

static inline void cleanup_freep(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

/* Gives the fd to the caller and leaves -1 behind. */
static inline int take_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

/* Gives the pointer to the caller and leaves NULL behind. */
#define take_ptr(pp)                                                                               \
	({                                                                                         \
		__typeof__(*(pp)) taken_ = *(pp);                                                  \
		*(pp) = NULL;                                                                      \
		taken_;                                                                            \
	})

#endif
