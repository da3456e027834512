/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of the console that never block and leave the flags of the caller's alone; console.h
 * says how. Opening: main thread, before the sandbox. Reading and writing: loop thread.
 */
#ifndef VOLT_CONSOLE_FD_H
#define VOLT_CONSOLE_FD_H

#include <sys/types.h>

#include "err.h"

enum console_fd_kind {
	CONSOLE_FD_OWN, /* our own description with O_NONBLOCK, or a file, which does not block */
	CONSOLE_FD_SHARED, /* a duplicate: ask poll(2) first, small pieces */
	CONSOLE_FD_SOCKET, /* a duplicate: MSG_DONTWAIT */
};

struct console_fd {
	int fd; /* owned; -1: none */
	enum console_fd_kind kind;
};

/* From an open descriptor, which stays with the caller. access: O_RDONLY or O_WRONLY. */
int console_fd_from(int fd, int access, struct console_fd *ret, struct volt_err *err);

/* Opens path for appending output, and creates it. */
int console_fd_open(const char *path, struct console_fd *ret, struct volt_err *err);

void console_fd_close(struct console_fd *f);

/* Bytes moved, or -errno: -EAGAIN when it would block, never -EINTR. A read of 0 is the end. */
ssize_t console_fd_read(const struct console_fd *f, void *data, size_t len);
ssize_t console_fd_write(const struct console_fd *f, const void *data, size_t len);

#endif
