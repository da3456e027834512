/* SPDX-License-Identifier: Apache-2.0 */
/* Raw mode and back, see console-tty.h. */
#include "console-tty.h"

#include <errno.h>
#include <stdatomic.h>
#include <termios.h>
#include <unistd.h>

/* At file scope because handlers of fatal signals restore the terminal and are given nothing. */
static struct termios saved;
static _Atomic int raw_fd = -1; /* set after `saved` is complete; -1: nothing to restore */

bool console_tty_is_ours(int fd)
{
	/* #syscalls loop vcpu: ioctl=TIOCGPGRP getpgrp */
	pid_t foreground = tcgetpgrp(fd);

	return foreground < 0 ? errno == ENOTTY : foreground == getpgrp();
}

int console_tty_take(int fd)
{
	struct termios before, raw;

	/* #syscalls loop: ioctl=TCGETS */
	if (tcgetattr(fd, &before) < 0)
		return -errno;
	raw = before;
	cfmakeraw(&raw);
	raw.c_oflag = before.c_oflag; /* log lines end in "\n" only */
	/* #syscalls loop vcpu: ioctl=TCSETS */
	if (tcsetattr(fd, TCSANOW, &raw) < 0)
		return -errno;
	if (atomic_load(&raw_fd) < 0) {
		saved = before;
		atomic_store(&raw_fd, fd);
	}
	return 0;
}

void console_tty_release(void)
{
	atomic_store(&raw_fd, -1);
}

void console_tty_restore(void)
{
	int kept = errno, fd = atomic_load(&raw_fd);

	if (fd >= 0 && console_tty_is_ours(fd))
		tcsetattr(fd, TCSANOW, &saved);
	errno = kept;
}
