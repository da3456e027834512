/* SPDX-License-Identifier: Apache-2.0 */
/* See tap-host.h. */
#include "tap-host.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			perror(#x);                                                                \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

bool tap_host_enter(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		return false;
	fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		MUST(write(fd, "1", 1) == 1);
		close(fd);
	}
	return true;
}

int tap_host_open(void)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), header = 12;

	MUST(fd >= 0);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), TAP_HOST_NAME);
	MUST(ioctl(fd, TUNSETIFF, &ifr) == 0);
	MUST(ioctl(fd, TUNSETVNETHDRSZ, &header) == 0);
	return fd;
}

int tap_host_socket(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(TAP_HOST_TYPE));
	struct timeval limit = { .tv_sec = TAP_HOST_WAIT_MS / 1000 };
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(TAP_HOST_TYPE) };
	struct ifreq ifr = { .ifr_flags = 0 };

	MUST(fd >= 0);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), TAP_HOST_NAME);
	MUST(ioctl(fd, SIOCGIFFLAGS, &ifr) == 0);
	ifr.ifr_flags |= IFF_UP;
	MUST(ioctl(fd, SIOCSIFFLAGS, &ifr) == 0);
	at.sll_ifindex = (int)if_nametoindex(TAP_HOST_NAME);
	MUST(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
	return fd;
}

void tap_host_fill(uint8_t *frame, size_t len, unsigned seed)
{
	memset(frame, 0xff, 6);
	memcpy(frame + 6, "\x02\0\0\0\0\x01", 6);
	frame[12] = TAP_HOST_TYPE >> 8;
	frame[13] = TAP_HOST_TYPE & 0xff;
	for (size_t i = ETH_HLEN; i < len; i++)
		frame[i] = (uint8_t)(seed * 37 + i * 7 + (i >> 8));
}

void tap_host_send(int sock, size_t len, unsigned seed)
{
	uint8_t frame[TAP_HOST_MAX];

	tap_host_fill(frame, len, seed);
	MUST(send(sock, frame, len, 0) == (ssize_t)len);
}

bool tap_host_recv(int sock, size_t len, unsigned seed)
{
	uint8_t frame[TAP_HOST_MAX], want[TAP_HOST_MAX];

	tap_host_fill(want, len, seed);
	return recv(sock, frame, sizeof(frame), 0) == (ssize_t)len &&
		memcmp(frame, want, len) == 0;
}

bool tap_host_silent(int sock)
{
	uint8_t frame[TAP_HOST_MAX];

	return recv(sock, frame, sizeof(frame), MSG_DONTWAIT) < 0;
}
