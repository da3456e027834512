/* SPDX-License-Identifier: Apache-2.0 */
/* Output of a guest on its way to the console, see console-ring.h. */
#include "console-ring.h"

#include <string.h>

/* Copies into a circular buffer, from `at` on; len is at most `size`. */
static void wrap_in(uint8_t *buf, size_t size, size_t at, const uint8_t *data, size_t len)
{
	size_t first = MIN(len, size - at);

	memcpy(buf + at, data, first);
	memcpy(buf, data + first, len - first);
}

static void wrap_out(const uint8_t *buf, size_t size, size_t at, uint8_t *data, size_t len)
{
	size_t first = MIN(len, size - at);

	memcpy(data, buf + at, first);
	memcpy(data + first, buf, len - first);
}

static void put_tail(struct console_ring *r, const uint8_t *data, size_t len)
{
	size_t last = MIN(len, CONSOLE_TAIL_BYTES);

	r->tail_count += len;
	wrap_in(r->tail, CONSOLE_TAIL_BYTES, (r->tail_count - last) % CONSOLE_TAIL_BYTES,
		data + len - last, last);
}

bool console_ring_put(struct console_ring *r, const void *data, size_t len)
{
	size_t fits = MIN(len, CONSOLE_RING_BYTES - r->used);
	bool was_empty = r->used == 0;

	put_tail(r, data, len);
	atomic_fetch_add_explicit(&r->bytes, len, memory_order_relaxed);
	if (!r->connected)
		return false;
	if (fits < len)
		atomic_fetch_add_explicit(&r->dropped, len - fits, memory_order_relaxed);
	wrap_in(r->ring, CONSOLE_RING_BYTES, (r->head + r->used) % CONSOLE_RING_BYTES, data, fits);
	r->used += fits;
	return was_empty && fits > 0;
}

size_t console_ring_take(struct console_ring *r, void *data, size_t len)
{
	size_t n = MIN(len, r->used);

	wrap_out(r->ring, CONSOLE_RING_BYTES, r->head, data, n);
	r->used -= n;
	/* An empty ring starts over, so that a quiet guest keeps using the same few pages. */
	r->head = r->used ? (r->head + n) % CONSOLE_RING_BYTES : 0;
	return n;
}

void console_ring_disconnect(struct console_ring *r)
{
	atomic_fetch_add_explicit(&r->dropped, r->used, memory_order_relaxed);
	r->head = r->used = 0;
	r->connected = false;
}

size_t console_ring_tail(const struct console_ring *r, void *data, size_t len)
{
	size_t n = (size_t)MIN(r->tail_count, MIN((uint64_t)len, CONSOLE_TAIL_BYTES));

	wrap_out(r->tail, CONSOLE_TAIL_BYTES, (r->tail_count - n) % CONSOLE_TAIL_BYTES, data, n);
	return n;
}
