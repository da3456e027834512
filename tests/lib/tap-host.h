/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of a tap in tests: a multi-queue tap in the network namespace of the caller, which
 * has one of its own, and a packet socket on it that sees the frames of one type. Frames are made
 * from a length and a seed, so that each can be recognized. Helpers that set up abort on failure.
 */
#ifndef VOLT_TAP_HOST_H
#define VOLT_TAP_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAP_HOST_NAME	 "vt0"
#define TAP_HOST_TYPE	 0x88b5 /* IEEE: for local experiments */
#define TAP_HOST_MAX	 2048u	/* bytes of a frame */
#define TAP_HOST_WAIT_MS 10000

/*
 * A network namespace for this process, whose links do not speak by themselves (IPv6 does). False,
 * with errno: it cannot have one.
 */
bool tap_host_enter(void);

/* Another queue of the tap, non-blocking, with a header of 12 bytes. */
int tap_host_open(void);
/* Sets the tap up; it has to exist. */
int tap_host_socket(void);

/* An Ethernet frame to all; len: 14..TAP_HOST_MAX. */
void tap_host_fill(uint8_t *frame, size_t len, unsigned seed);
void tap_host_send(int sock, size_t len, unsigned seed);
/* Waits, and says whether the next frame is this one. */
bool tap_host_recv(int sock, size_t len, unsigned seed);
/* No frame is there now. */
bool tap_host_silent(int sock);

#endif
