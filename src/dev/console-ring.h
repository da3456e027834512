/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest writes to a console, on its way to the host: a ring of fixed size, and its end, kept
 * aside for crash reports. If the reader is slower than the guest the ring fills, and further bytes
 * are dropped and counted: the guest is never held up, and what is in the ring stays in order. No
 * thread and no lock of its own, but for the counters.
 */
#ifndef VOLT_CONSOLE_RING_H
#define VOLT_CONSOLE_RING_H

#include <stdatomic.h>
#include <stdbool.h>

#include "compiler.h"

#define CONSOLE_RING_BYTES (64 * KIB)
#define CONSOLE_TAIL_BYTES (4 * KIB)

/* Zeroed, it is empty and not connected. A quiet guest uses only its first pages. */
struct console_ring {
	bool connected; /* output goes to the ring; otherwise only to the tail */
	size_t head, used;
	uint64_t tail_count; /* bytes ever written by the guest */
	_Atomic uint64_t bytes, dropped; /* written by the guest; and not taken up by the ring */
	uint8_t tail[CONSOLE_TAIL_BYTES];
	uint8_t ring[CONSOLE_RING_BYTES];
};

/* The guest writes. True: the ring was empty and is not any more. */
bool console_ring_put(struct console_ring *r, const void *data, size_t len);
/* Takes up to len bytes out of the ring; 0 if there is none. */
size_t console_ring_take(struct console_ring *r, void *data, size_t len);
/* Empties the ring and keeps it so. */
void console_ring_disconnect(struct console_ring *r);
/* The end of the output, oldest byte first; returns its length. */
size_t console_ring_tail(const struct console_ring *r, void *data, size_t len);

#endif
