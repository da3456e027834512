/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net between a driver and a wire that the input plays both: negotiations, frames out with
 * headers of all kinds, frames in, control commands, a link that flaps, broken rings. The device
 * lives from one input to the next and is only reset in between. Oracles, as long as the driver has
 * done nothing wrong: a frame leaves just as a model of the rules says, or is counted as dropped;
 * frames arrive whole, in order and with a header that the driver can take; each command has the
 * model's answer; each buffer comes back once, or is one that the device has in hand.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "input.h"
#include "log.h"
#include "nic.h"
#include "num.h"

#define PAIRS	 2u
#define CTRL_Q	 (net_pairs_of(w) * 2)
#define SLOTS	 30u /* receive buffers of a queue */
#define SLOT	 0x11000u
#define BURST	 5u
#define TX_ROOM	 0x20000u
#define WIRE_MAX 64u
#define SMALL	 600u /* bytes of the frames that come in, mostly */

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

struct packet {
	size_t bytes; /* with the header; 0: it is to be dropped */
	uint8_t data[NET_PACKET_MAX + 64];
};

struct world {
	struct nic nic;
	bool sound; /* the driver has done nothing wrong since its start */
	uint64_t acked, offloads; /* model: negotiated; of these, what frames in may need now */
	unsigned active;	  /* model: pairs that are on */
	bool link;
	/* Receive queues: buffers that are posted and not yet back, in order. */
	uint16_t heads[PAIRS][SLOTS], n_heads[PAIRS];
	uint32_t room[PAIRS][SLOTS];
	/* What was put on the wires and has neither arrived nor been counted as lost. */
	struct {
		uint64_t seed;
		size_t bytes;
		uint8_t header[NETIF_HEADER_BYTES];
	} wire[PAIRS][WIRE_MAX];
	unsigned n_wire[PAIRS];
	uint64_t put, got, lost_before; /* frames in */
};

static struct packet expected[BURST], scratch;

static bool has(const struct world *w, unsigned bit)
{
	return w->acked & VIRTIO_BIT(bit);
}

static unsigned net_pairs_of(const struct world *w)
{
	return has(w, VIRTIO_NET_F_MQ) && has(w, VIRTIO_NET_F_CTRL_VQ) ? PAIRS : 1;
}

/* -- the model's rules ------------------------------------------------------------------------ */

static bool csum(const struct world *w)
{
	return has(w, VIRTIO_NET_F_CSUM);
}

static bool tso(const struct world *w)
{
	return csum(w) && (has(w, VIRTIO_NET_F_HOST_TSO4) || has(w, VIRTIO_NET_F_HOST_TSO6));
}

/* May a frame of `bytes` leave with this header? If so it becomes what must be on the wire. */
static bool model_tx(const struct world *w, uint8_t h[NETIF_HEADER_BYTES], size_t bytes)
{
	unsigned start = num_get_le16(h + 6), offset = num_get_le16(h + 8);
	bool needs = h[0] & 1, ok;

	if (bytes < 14 || bytes > NETIF_FRAME_MAX)
		return false;
	if (needs && (!csum(w) || start < 14 || start + offset + 2 > bytes))
		return false;
	ok = h[1] == 0 || (h[1] == 1 && csum(w) && has(w, VIRTIO_NET_F_HOST_TSO4)) ||
		(h[1] == 4 && csum(w) && has(w, VIRTIO_NET_F_HOST_TSO6)) ||
		(h[1] == 5 && csum(w) && has(w, VIRTIO_NET_F_HOST_USO)) ||
		(h[1] == 0x81 && tso(w) && has(w, VIRTIO_NET_F_HOST_TSO4) &&
			has(w, VIRTIO_NET_F_HOST_ECN)) ||
		(h[1] == 0x84 && tso(w) && has(w, VIRTIO_NET_F_HOST_TSO6) &&
			has(w, VIRTIO_NET_F_HOST_ECN));
	if (!ok || (h[1] && (!needs || num_get_le16(h + 4) == 0)))
		return false;
	h[0] = needs;
	if (!needs)
		memset(h + 6, 0, 4);
	if (h[1] == 0)
		memset(h + 2, 0, 4);
	else if (num_get_le16(h + 2) > bytes)
		num_put_le16(h + 2, 0);
	num_put_le16(h + 10, 0);
	return true;
}

static bool on(const struct world *w, unsigned bit)
{
	return w->offloads & VIRTIO_BIT(bit);
}

/* May a frame with this header be shown to the driver as its offloads are now? */
static bool model_rx(const struct world *w, const uint8_t *h, size_t bytes)
{
	bool sum = on(w, VIRTIO_NET_F_GUEST_CSUM), tso4 = sum && on(w, VIRTIO_NET_F_GUEST_TSO4),
	     tso6 = sum && on(w, VIRTIO_NET_F_GUEST_TSO6), ecn = on(w, VIRTIO_NET_F_GUEST_ECN),
	     uso = sum && on(w, VIRTIO_NET_F_GUEST_USO4) && on(w, VIRTIO_NET_F_GUEST_USO6);

	if (bytes < 14 || ((h[0] & 1) && !sum))
		return false;
	return h[1] == 0 || (h[1] == 1 && tso4) || (h[1] == 4 && tso6) || (h[1] == 5 && uso) ||
		(h[1] == 0x81 && tso4 && ecn) || (h[1] == 0x84 && tso6 && ecn);
}

static uint8_t model_ctrl(struct world *w, const uint8_t *c, size_t bytes)
{
	uint64_t v;

	if (bytes == 8 && c[0] == 1 && c[1] == 1 && has(w, VIRTIO_NET_F_CTRL_MAC_ADDR))
		return (c[2] & 1) || memcmp(c + 2, "\0\0\0\0\0", 6) == 0;
	if (bytes == 4 && c[0] == 4 && c[1] == 0 && has(w, VIRTIO_NET_F_MQ)) {
		v = num_get_le16(c + 2);
		if (v == 0 || v > PAIRS)
			return 1;
		w->active = (unsigned)v;
		return 0;
	}
	if (bytes == 10 && c[0] == 5 && c[1] == 0 && has(w, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)) {
		v = num_get_le64(c + 2);
		if (v & ~(w->acked & NET_GUEST_OFFLOADS))
			return 1;
		w->offloads = v;
		return 0;
	}
	return 1;
}

/* -- life ------------------------------------------------------------------------------------- */

static void make(struct world *w)
{
	log_init(&(struct log_config){ .id = "fuzz", .fd = -1 });
	nic_make(&w->nic, (struct net_params){ 0 },
		sock_netif_create("tap", PAIRS, NIC_ALL_OFFLOADS));
	w->link = true;
}

static uint64_t lost(const struct world *w)
{
	const struct net_counters *c = w->nic.c;

	return c->rx_dropped_too_long + c->rx_dropped_malformed + c->rx_dropped_link_down;
}

static void reset(struct world *w)
{
	drv_reset(&w->nic.d);
	drv_poll(&w->nic.loop);
	for (unsigned q = 0; q < PAIRS; q++) {
		while (sock_netif_get(w->nic.s, q, scratch.data, sizeof(scratch.data)) > 0)
			;
		/* Frames that nobody has read. */
		while (recv(w->nic.s->n.fds[q], scratch.data, 1, MSG_DONTWAIT) >= 0)
			;
		w->n_heads[q] = 0;
		w->n_wire[q] = 0;
	}
	MUST(w->nic.v->inflight == 0 && drv_status(&w->nic.d) == 0);
	w->sound = false;
}

static void start(struct world *w, struct input *in)
{
	static const uint64_t usual[] = { ~0ull, 0, ~NIC_F(MQ), ~NIC_F(MRG_RXBUF), ~NIC_F(CTRL_VQ),
		~NIC_F(GUEST_CSUM), ~NIC_F(CSUM), ~(7ull << 54) };
	uint8_t f = take(in);
	uint64_t wanted = usual[f % 8];

	if (f & 0x40)
		wanted ^= (uint64_t)take16(in) << (f & 0x20 ? 0 : 11);
	reset(w);
	wanted &= w->nic.v->features;
	MUST(drv_start(&w->nic.d, wanted, 2 * PAIRS + 1, (uint16_t)(64u << (f >> 7))) == 0xf);
	drv_poll(&w->nic.loop);
	MUST(drv_status(&w->nic.d) == 0xf);
	w->acked = w->nic.v->acked;
	if (!has(w, VIRTIO_NET_F_CTRL_VQ))
		w->acked &= ~(NIC_F(MQ) | NIC_F(CTRL_MAC_ADDR) | NIC_F(CTRL_GUEST_OFFLOADS));
	w->offloads = w->acked & NET_GUEST_OFFLOADS;
	w->active = 1;
	w->put = w->got = 0;
	w->lost_before = lost(w);
	w->sound = true;
}

/* -- steps of a driver that behaves, and of the wire ------------------------------------------- */

static size_t frame_length(struct input *in)
{
	static const size_t special[] = { 0, 1, 13, 14, 1514, 9000, 65549, 65550, 65551, 2049 };
	uint8_t l = take(in);

	return l < 0xe0 ? 14 + 2 * l : special[l % ARRAY_SIZE(special)];
}

static void make_header(struct input *in, uint8_t *h, size_t bytes)
{
	static const uint8_t types[] = { 0, 1, 4, 5, 0x81, 0x84, 0x80, 3 };
	uint8_t how = take(in);

	memset(h, 0, NETIF_HEADER_BYTES);
	if (how < 0x20)
		return;
	h[0] = how & 1 ? 1 : take(in);
	h[1] = how < 0xf0 ? types[how / 2 % 8] : take(in);
	num_put_le16(h + 2, how & 0x10 ? 54 : take16(in));
	num_put_le16(h + 4, how & 0x20 ? 1448 : take16(in));
	num_put_le16(h + 6, how & 0x40 ? 34 : take16(in));
	num_put_le16(h + 8, how & 0x80 ? 6 : take16(in));
	num_put_le16(h + 10, how);
	if ((how & 0x60) == 0x60) /* the checksum just so inside the frame, or not */
		num_put_le16(h + 6, (uint16_t)(bytes - num_get_le16(h + 8) - 2 + how % 4 / 3));
}

/* Adds a frame to the transmit queue; true if it must appear on the wire, as *want. */
static bool add_frame(struct world *w, struct input *in, unsigned q, unsigned i,
	struct packet *want)
{
	uint64_t gpa = NIC_TX + i * TX_ROOM;
	size_t bytes = frame_length(in), total = NETIF_HEADER_BYTES + bytes;
	unsigned a = take(in), b = take(in);
	struct drv_buf bufs[3];

	make_header(in, want->data, bytes);
	nic_fill(want->data + NETIF_HEADER_BYTES, bytes, take(in));
	MUST(gmem_write(&w->nic.mem, GPA(gpa), want->data, total) == 0);
	a = a % (total + 1);
	b = b % (total - a + 1);
	bufs[0] = (struct drv_buf){ gpa, a, false };
	bufs[1] = (struct drv_buf){ gpa + a, b, false };
	bufs[2] = (struct drv_buf){ gpa + a + b, (uint32_t)total - a - b, false };
	if (has(w, VIRTQ_F_INDIRECT) && (bytes & 2))
		drv_add_indirect(&w->nic.d, q, bufs, 3);
	else
		drv_add(&w->nic.d, q, bufs, 3);
	want->bytes = model_tx(w, want->data, bytes) ? total : 0;
	return want->bytes > 0;
}

static void transmit(struct world *w, struct input *in)
{
	const struct net_counters *c = w->nic.c;
	uint8_t how = take(in);
	unsigned pair = how & 1 ? net_pairs_of(w) - 1 : 0, n = 1 + how / 2 % BURST;
	unsigned q = 2 * pair + 1;
	unsigned queue = pair < w->active ? pair : 0, sent = 0, used = 0, expect = 0;
	uint64_t packets = c->tx_packets, heap = w->nic.d.heap;
	uint64_t drops = c->tx_dropped_malformed + c->tx_dropped_offload;
	uint32_t id, len;

	for (unsigned i = 0; i < n; i++)
		expect += add_frame(w, in, q, i, &expected[i]);
	drv_kick(&w->nic.d, q);
	drv_poll(&w->nic.loop);
	for (unsigned i = 0; i < n; i++) {
		if (expected[i].bytes == 0)
			continue;
		MUST(sock_netif_get(w->nic.s, queue, scratch.data, sizeof(scratch.data)) ==
			(ssize_t)expected[i].bytes);
		MUST(memcmp(scratch.data, expected[i].data, expected[i].bytes) == 0);
		sent++;
		drv_poll(&w->nic.loop); /* there is room now, if there was none */
	}
	for (unsigned i = 0; i < PAIRS; i++)
		MUST(sock_netif_get(w->nic.s, i, scratch.data, sizeof(scratch.data)) < 0);
	while (drv_used(&w->nic.d, q, &id, &len)) {
		MUST(len == 0);
		used++;
	}
	MUST(sent == expect && used == n);
	MUST(c->tx_packets == packets + sent);
	MUST(c->tx_dropped_malformed + c->tx_dropped_offload == drops + n - sent);
	w->nic.d.heap = heap;
}

static void control(struct world *w, struct input *in)
{
	uint8_t c[16] = { 0 }, how = take(in);
	static const uint8_t sizes[] = { 8, 4, 10, 2, 0, 1, 9, 16 };
	size_t bytes = how < 0x80 ? sizes[how % 3] : sizes[how % 8];
	uint64_t refused = w->nic.c->ctrl_refused;
	unsigned q = CTRL_Q;
	uint8_t answer;
	uint32_t len;

	c[0] = bytes == 8 ? 1 : bytes == 4 ? 4 : 5;
	c[1] = bytes == 8;
	if (how >= 0xc0)
		c[take(in) % 2] = take(in);
	for (size_t i = 2; i < bytes; i++)
		c[i] = take(in);
	if (bytes == 4 && how < 0x60)
		c[3] = 0;
	if (bytes == 10 && how < 0x60)
		num_put_le64(c + 2,
			NET_GUEST_OFFLOADS & num_get_le16(c + 2) * UINT64_C(0x1000100010001));
	answer = model_ctrl(w, c, bytes);
	if (!has(w, VIRTIO_NET_F_CTRL_VQ)) {
		MUST(nic_ctrl(&w->nic, q, c, bytes, &len) == -1);
		return;
	}
	MUST(nic_ctrl(&w->nic, q, c, bytes, &len) == answer && len == 1);
	MUST(w->nic.c->ctrl_refused == refused + answer);
}

static bool slot_taken(const struct world *w, unsigned pair, unsigned slot)
{
	for (unsigned i = 0; i < w->n_heads[pair]; i++)
		if (w->heads[pair][i] % SLOTS == slot)
			return true;
	return false;
}

static uint16_t post_one(
	struct world *w, unsigned pair, unsigned slot, uint32_t bytes, bool split)
{
	uint64_t gpa = NIC_RX + (pair * SLOTS + slot) * SLOT;
	uint32_t first = bytes < 20 ? 5 : bytes / 3;

	if (!split)
		return nic_post(&w->nic, 2 * pair, gpa, bytes);
	return drv_add(&w->nic.d, 2 * pair,
		(struct drv_buf[]){ { gpa, first, true }, { gpa + first, bytes - first, true } },
		2);
}

static void post(struct world *w, struct input *in)
{
	static const uint32_t merged[] = { 2048, 1526, 4096, 65562, 2048, 100, 12, 1 << 15 };
	uint8_t how = take(in);
	unsigned pair = how & 1 ? net_pairs_of(w) - 1 : 0;
	uint32_t bytes = has(w, VIRTIO_NET_F_MRG_RXBUF) ? merged[how / 2 % 8] : NET_PACKET_MAX;

	for (unsigned n = how >> 4; n > 0 && w->n_heads[pair] < SLOTS; n--) {
		unsigned slot = w->nic.d.q[2 * pair].next_desc % SLOTS, i = w->n_heads[pair];

		if (slot_taken(w, pair, slot))
			break; /* at the ring's end */
		w->n_heads[pair]++;
		w->heads[pair][i] = post_one(w, pair, slot, bytes, how & 0x40);
		w->room[pair][i] = bytes;
	}
	drv_kick(&w->nic.d, 2 * pair);
	drv_poll(&w->nic.loop);
}

static void put(struct world *w, struct input *in)
{
	uint8_t how = take(in);
	unsigned queue = how & 1 ? w->active - 1 : 0, i = w->n_wire[queue];
	size_t bytes = how < 0xf0 ? how * 4u % SMALL : frame_length(in);

	if (i == WIRE_MAX || bytes > NETIF_FRAME_MAX)
		return;
	w->wire[queue][i].seed = take(in);
	w->wire[queue][i].bytes = bytes;
	make_header(in, w->wire[queue][i].header, bytes);
	memcpy(scratch.data, w->wire[queue][i].header, NETIF_HEADER_BYTES);
	nic_fill(scratch.data + NETIF_HEADER_BYTES, bytes, (unsigned)w->wire[queue][i].seed);
	if (!sock_netif_put(w->nic.s, queue, scratch.data, NETIF_HEADER_BYTES + bytes))
		return; /* full */
	w->n_wire[queue]++;
	w->put++;
	drv_poll(&w->nic.loop);
}

static void forget_buffer(struct world *w, unsigned pair)
{
	w->n_heads[pair]--;
	memmove(w->heads[pair], w->heads[pair] + 1, w->n_heads[pair] * sizeof(w->heads[0][0]));
	memmove(w->room[pair], w->room[pair] + 1, w->n_heads[pair] * sizeof(w->room[0][0]));
}

/* Collects the buffers of one frame into scratch; false: there is none. */
static bool collect(struct world *w, unsigned pair)
{
	unsigned n = 1;
	uint32_t id, len;

	scratch.bytes = 0;
	for (unsigned i = 0; i < n; i++) {
		uint64_t gpa = NIC_RX;

		if (!drv_used(&w->nic.d, 2 * pair, &id, &len)) {
			MUST(i == 0);
			return false;
		}
		/* In the order in which they were posted, each once. */
		MUST(w->n_heads[pair] > 0 && id == w->heads[pair][0]);
		MUST(len > 0 && len <= w->room[pair][0]);
		gpa += (pair * SLOTS + id % SLOTS) * SLOT;
		MUST(scratch.bytes + len <= sizeof(scratch.data));
		MUST(gmem_read(&w->nic.mem, GPA(gpa), scratch.data + scratch.bytes, len) == 0);
		scratch.bytes += len;
		if (i == 0)
			n = num_get_le16(scratch.data + NET_HDR_BUFFERS);
		MUST(n > 0 && n <= SLOTS && (has(w, VIRTIO_NET_F_MRG_RXBUF) || n == 1));
		MUST(i + 1 == n || len == w->room[pair][0]);
		forget_buffer(w, pair);
	}
	return true;
}

/* Is scratch this packet, as the driver may see it? */
static bool is_packet(const struct world *w, unsigned pair, unsigned i)
{
	static uint8_t want[NET_PACKET_MAX];
	const uint8_t *h = w->wire[pair][i].header;
	size_t bytes = w->wire[pair][i].bytes;
	uint8_t flags = h[0] & 3;

	if (scratch.bytes != NETIF_HEADER_BYTES + bytes || scratch.data[1] != h[1])
		return false;
	nic_fill(want, bytes, (unsigned)w->wire[pair][i].seed);
	return memcmp(scratch.data + NETIF_HEADER_BYTES, want, bytes) == 0 &&
		(scratch.data[0] == flags || scratch.data[0] == 0) &&
		memcmp(scratch.data + 2, h + 2, NET_HDR_BUFFERS - 2) == 0;
}

/* What has arrived: a subsequence of what was put on the wire; what is missing was counted. */
static void check_received(struct world *w)
{
	unsigned waiting = 0;

	for (unsigned pair = 0; pair < PAIRS; pair++) {
		unsigned from = 0;

		while (collect(w, pair)) {
			while (from < w->n_wire[pair] && !is_packet(w, pair, from))
				from++;
			MUST(from < w->n_wire[pair]);
			/* Offloads change only when no frame is on its way to a buffer. */
			MUST(model_rx(w, w->wire[pair][from].header,
				w->wire[pair][from].bytes));
			MUST(scratch.data[0] == 0 || on(w, VIRTIO_NET_F_GUEST_CSUM));
			from++;
			w->got++;
		}
		w->n_wire[pair] -= from;
		memmove(w->wire[pair], w->wire[pair] + from,
			w->n_wire[pair] * sizeof(w->wire[0][0]));
		waiting += w->n_wire[pair];
	}
	/* Nothing is lost uncounted, nor counted and delivered. */
	MUST(w->got + (lost(w) - w->lost_before) <= w->put);
	MUST(w->got + (lost(w) - w->lost_before) + waiting >= w->put);
}

/* Every buffer that was taken is in hand, and every one in hand was posted. */
static void check_conserved(struct world *w)
{
	const struct net *n = container_of(w->nic.v, struct net, v);

	for (unsigned q = 0; q < w->nic.v->n_queues; q++) {
		const struct virtq *vq = &w->nic.v->queues[q];
		unsigned pair = q / 2;

		if (q % 2 || q >= 2 * net_pairs_of(w)) {
			MUST(!vq->live || virtq_in_flight(vq) == 0);
			continue;
		}
		MUST(virtq_in_flight(vq) == n->pairs[pair].n_chains);
		MUST(n->pairs[pair].n_chains <= w->n_heads[pair]);
		for (unsigned i = 0; i < n->pairs[pair].n_chains; i++) {
			MUST(n->pairs[pair].chains[i].head == w->heads[pair][i]);
			MUST(n->pairs[pair].chains[i].len == w->room[pair][i]);
		}
	}
}

/* Anything in the rings. */
static void tamper(struct world *w, struct input *in)
{
	static const uint32_t lens[] = { 12, 1, 26, 2048, 0, 65562, 0x100000, 0xffffffff };
	unsigned q = take(in) % (2 * PAIRS + 1), what = take(in);
	struct drv_queue *dq = &w->nic.d.q[q];

	w->sound = false;
	if (dq->size == 0)
		return;
	if (what < 0xa0)
		drv_desc(&w->nic.d, what & 0x10 ? 0x1e0000 : dq->desc, what % 16,
			(uint64_t)take16(in) << 7, lens[take(in) % 8], take(in) % 8, take(in) % 16);
	else if (what < 0xf0)
		drv_publish(&w->nic.d, q, what % 64);
	else
		drv_put16(&w->nic.d, dq->avail + 2, take16(in));
	drv_kick(&w->nic.d, q);
	drv_poll(&w->nic.loop);
}

static void flap(struct world *w)
{
	const struct netif_events *e = &w->nic.s->n.events;
	uint16_t status;

	w->link = !w->link;
	e->link(e->owner, w->link);
	drv_read(&w->nic.d, 0x106, &status, sizeof(status));
	MUST(status == (w->link ? VIRTIO_NET_S_LINK_UP : 0));
}

static void step(struct world *w, struct input *in)
{
	uint8_t op = take(in);

	if (!w->sound && op % 16 < 10) {
		start(w, in);
	} else if (op % 16 < 4) {
		transmit(w, in);
	} else if (op % 16 < 6) {
		control(w, in);
	} else if (op % 16 < 8) {
		post(w, in);
	} else if (op % 16 < 11) {
		if (w->sound)
			put(w, in);
	} else if (op % 16 == 11) {
		flap(w);
	} else if (op % 16 < 14) {
		drv_kick(&w->nic.d, op >> 4);
		drv_poll(&w->nic.loop);
	} else if (op % 16 == 14) {
		tamper(w, in);
	} else {
		start(w, in);
	}
	if (w->sound) {
		MUST(drv_status(&w->nic.d) == 0xf);
		check_received(w);
		check_conserved(w);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct input in = { data, size };

	if (!w.nic.m)
		make(&w);
	start(&w, &in);
	if (!w.link)
		flap(&w);
	for (unsigned n = 0; n < 40 && in.left > 0; n++)
		step(&w, &in);
	return 0;
}
