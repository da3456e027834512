/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that do not block, see console-fd.h. */
#include "console-fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"

/*
 * What fits for certain after POLLOUT. A pipe then has a free page; a pty has room in steps of 256
 * bytes, and output processing makes at most eight of one (a tab).
 */
#define SHARED_PIECE 32

/* Opening the master side of a pty again would make another pty (5:2 is /dev/ptmx). */
static bool reopens_to_itself(int fd, const struct stat *st)
{
	if (S_ISFIFO(st->st_mode))
		return true;
	return S_ISCHR(st->st_mode) && isatty(fd) && st->st_rdev != makedev(5, 2);
}

int console_fd_from(int fd, int access, struct console_fd *ret, struct volt_err *err)
{
	enum console_fd_kind kind = CONSOLE_FD_SHARED;
	int newfd = -1;
	char link[32];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return volt_err_set(err, errno, "console: fstat: %m");
	if (reopens_to_itself(fd, &st)) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		newfd = open(link, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	if (newfd >= 0 || S_ISREG(st.st_mode))
		kind = CONSOLE_FD_OWN;
	else if (S_ISSOCK(st.st_mode))
		kind = CONSOLE_FD_SOCKET;
	if (newfd < 0)
		newfd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (newfd < 0)
		return volt_err_set(err, errno, "console: duplicate descriptor: %m");
	*ret = (struct console_fd){ newfd, kind };
	return 0;
}

int console_fd_open(const char *path, struct console_fd *ret, struct volt_err *err)
{
	int flags = O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = open(path, O_WRONLY | flags, 0600);

	/*
	 * A FIFO that nobody reads yet: with a reading end of our own it can be opened, and filled.
	 */
	if (fd < 0 && errno == ENXIO)
		fd = open(path, O_RDWR | flags, 0600);
	if (fd < 0)
		return volt_err_set(err, errno, "console: open '%s': %m", path);
	*ret = (struct console_fd){ fd, CONSOLE_FD_OWN };
	return 0;
}

void console_fd_close(struct console_fd *f)
{
	f->fd = fd_close(f->fd);
}

/*
 * 0 if a transfer will not block, or -EAGAIN. A hang-up alone makes a read return, but not a write:
 * the master of a pty whose other side is closed still blocks when it is full. That is -EIO.
 */
static int ready(int fd, short event)
{
	struct pollfd p = { .fd = fd, .events = event };

	/* #syscalls loop: poll */
	if (poll(&p, 1, 0) <= 0)
		return -EAGAIN;
	if (event == POLLOUT && (p.revents & (POLLOUT | POLLHUP)) == POLLHUP)
		return -EIO;
	return 0;
}

static ssize_t result(ssize_t n)
{
	if (n >= 0)
		return n;
	return errno == EINTR ? -EAGAIN : -errno;
}

ssize_t console_fd_read(const struct console_fd *f, void *data, size_t len)
{
	if (f->kind == CONSOLE_FD_SOCKET)
		/* #syscalls loop: recvfrom */
		return result(recv(f->fd, data, len, MSG_DONTWAIT));
	if (f->kind == CONSOLE_FD_SHARED && ready(f->fd, POLLIN) < 0)
		return -EAGAIN;
	/* #syscalls loop: read */
	return result(read(f->fd, data, len));
}

ssize_t console_fd_write(const struct console_fd *f, const void *data, size_t len)
{
	if (f->kind == CONSOLE_FD_SOCKET)
		/* #syscalls loop: sendto */
		return result(send(f->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL));
	if (f->kind == CONSOLE_FD_SHARED) {
		int r = ready(f->fd, POLLOUT);

		if (r < 0)
			return r;
		len = MIN(len, (size_t)SHARED_PIECE);
	}
	/* #syscalls loop: write */
	return result(write(f->fd, data, len));
}
