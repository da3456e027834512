// SPDX-License-Identifier: Apache-2.0
/*
 * Turns the ACPI power button into a clean shutdown: waits for KEY_POWER on /dev/input/event* and
 * sends PID 1 the signal that `poweroff` sends. In a kernel without virtual terminals nobody else
 * looks for Ctrl-Alt-Del, so that is seen to as well. Runs as a child of init; does nothing where
 * there is no such device.
 */
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "guest.h"

#define POWERBTN_DEVICES_MAX 8

/* Opens input device n if it can send KEY_POWER; -1 if it is absent or cannot. */
static int open_if_power(int n)
{
	unsigned char keys[KEY_MAX / 8 + 1] = { 0 };
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/dev/input/event%d", n);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (ioctl(fd, (int)EVIOCGBIT(EV_KEY, sizeof(keys)), keys) < 0 ||
		!(keys[KEY_POWER / 8] & 1U << KEY_POWER % 8)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Follows the keys of all devices; held: which of Ctrl and Alt are down. */
static void key(const struct input_event *ev, unsigned *held)
{
	unsigned bit = ev->code == KEY_LEFTCTRL ? 1 : ev->code == KEY_LEFTALT ? 2 : 0;

	*held = ev->value ? *held | bit : *held & ~bit;
	if (ev->code == KEY_POWER && ev->value == 1)
		kill(1, SIGUSR2);
	if (ev->code == KEY_DELETE && ev->value == 1 && *held == 3 && access("/dev/tty0", F_OK) < 0)
		kill(1, SIGINT);
}

int powerbtn_run(void)
{
	unsigned held = 0;
	struct pollfd fds[POWERBTN_DEVICES_MAX];
	nfds_t count = 0;

	for (int n = 0; n < POWERBTN_DEVICES_MAX; n++) {
		int fd = open_if_power(n);

		if (fd >= 0)
			fds[count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}
	if (count == 0)
		return 0;

	for (;;) {
		if (poll(fds, count, -1) < 0)
			continue;
		for (nfds_t i = 0; i < count; i++) {
			struct input_event ev;

			if ((fds[i].revents & POLLIN) &&
				read(fds[i].fd, &ev, sizeof(ev)) == sizeof(ev) && ev.type == EV_KEY)
				key(&ev, &held);
		}
	}
}
