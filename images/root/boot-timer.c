// SPDX-License-Identifier: Apache-2.0
/*
 * Tells the monitor that user space runs: writes byte 123 at guest physical 0xC0000000, where a
 * monitor started with a boot timer has a one-byte device. Also callable as `volt-boot-timer`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

#define BOOT_TIMER_GPA 0xC0000000L
#define BOOT_TIMER_BYTE 123
#define BOOT_TIMER_MAP_BYTES 4096

int boot_timer_fire(void)
{
	volatile uint8_t *page;
	int fd;

	/* O_SYNC maps it uncached, as MMIO must be. */
	fd = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	page = mmap(
		NULL, BOOT_TIMER_MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, BOOT_TIMER_GPA);
	if (page == MAP_FAILED) {
		int r = -errno;

		close(fd);
		return r;
	}
	*page = BOOT_TIMER_BYTE;
	munmap((void *)page, BOOT_TIMER_MAP_BYTES);
	close(fd);
	return 0;
}
