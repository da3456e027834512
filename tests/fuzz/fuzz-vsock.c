/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock between a guest that sends what it likes and host programs on real sockets. The
 * virtqueues are used well (fuzz-vmmio breaks them); packets, their order, buffers, and what the
 * programs do come from the input. The device lives from one input to the next, reset in between.
 *
 * Oracles. Every byte of a stream is a function of its place: what arrives on either side is the
 * next part of what the device accepted, nothing lost, doubled or out of order. Buffers hold no
 * more than VSOCK_BUFFER_BYTES; the guest never gets more than its credit. When all is quiet no
 * wake-up was lost: no connection waits for what is there. After a reset no descriptor is left.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "input.h"
#include "log.h"
#include "vsock-guest.h"
#include "vsock-mux.h"

#define HOSTS	 8u /* host programs at a time */
#define PORT	 52u
#define ALLOC	 3000u
#define MOST_OPS 200

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

/* A host program, and what it knows of its connection. */
struct host {
	int fd; /* -1: none */
	bool greeted, lied; /* it has the OK; the guest lied about credit */
	bool complete; /* the guest said that this is all, and was not reset before that */
	bool deaf;     /* it has shut down reading */
	uint32_t host_port, guest_port;
	uint32_t wrote, got;	/* by the program */
	uint32_t taken, arrived; /* by the device from the guest, by the guest */
};

struct world {
	struct vg g;
	struct vsock *s;
	int listenfd, lowest_fd;
	struct host hosts[HOSTS];
	struct vg_packet p;
	uint8_t data[VG_DATA_MAX];
};

static uint32_t take_len(struct input *in, uint32_t most)
{
	uint32_t v = take(in);

	return (v < 0x80 ? v : (v & 0x7f) << 8 | take(in)) * (v & 1 ? 5 : 1) % (most + 1);
}

static uint8_t pattern(const struct host *h, uint32_t at)
{
	return (uint8_t)((at + h->guest_port * 77) * 2654435761u >> 13);
}

static void fill(struct world *w, const struct host *h, uint32_t at, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		w->data[i] = pattern(h, at + i);
}

static void compare(const uint8_t *p, const struct host *h, uint32_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		MUST(p[i] == pattern(h, at + (uint32_t)i));
}

static void leave(struct host *h)
{
	if (h->fd >= 0)
		close(h->fd);
	*h = (struct host){ .fd = -1 };
}

static struct host *find(struct world *w, uint32_t host_port, uint32_t guest_port)
{
	for (unsigned i = 0; i < HOSTS; i++) {
		struct host *h = &w->hosts[i];

		if (h->fd >= 0 && h->host_port == host_port && h->guest_port == guest_port)
			return h;
	}
	return NULL;
}

static struct vsock_conn *inner(const struct world *w, const struct host *h)
{
	return h->host_port ? vsock_mux_find(w->s, h->host_port, h->guest_port) : NULL;
}

/* -- what the guest does --------------------------------------------------------------------- */

static struct vg_conn as_guest(const struct host *h)
{
	return (struct vg_conn){ .host_port = h->host_port,
		.guest_port = h->guest_port,
		.alloc = ALLOC,
		.fwd = h->arrived };
}

static void guest_takes(struct world *w)
{
	while (vg_take(&w->g, &w->p)) {
		const struct virtio_vsock_hdr *v = &w->p.h;
		struct host *h = find(w, v->src_port, v->dst_port);

		MUST(v->op >= VIRTIO_VSOCK_OP_REQUEST && v->op <= VIRTIO_VSOCK_OP_CREDIT_REQUEST);
		MUST(v->len == 0 || v->op == VIRTIO_VSOCK_OP_RW);
		if (v->op == VIRTIO_VSOCK_OP_REQUEST)
			for (unsigned i = 0; i < HOSTS; i++)
				if (w->hosts[i].fd >= 0 && !w->hosts[i].host_port &&
					w->hosts[i].guest_port == v->dst_port && !h) {
					h = &w->hosts[i];
					h->host_port = v->src_port;
				}
		if (!h || v->op != VIRTIO_VSOCK_OP_RW)
			continue;
		compare(w->p.data, h, h->arrived, v->len);
		h->arrived += v->len;
		MUST(h->arrived <= h->wrote);
	}
}

/* Sends a packet, whatever it says, with the right bytes if it goes to a connection. */
static void send_packet(struct world *w, struct virtio_vsock_hdr v, uint32_t payload)
{
	struct host *h = find(w, v.dst_port, v.src_port);
	struct vsock_conn *c = h ? inner(w, h) : NULL;
	uint32_t before = c ? c->received : 0;
	uint64_t resets = w->s->counters.connections_reset;
	int fd;

	if (v.op == VIRTIO_VSOCK_OP_REQUEST)
		guest_takes(w); /* or it would take the rest of an old connection for a new one's */
	if (h)
		fill(w, h, h->taken, payload);
	if (h && (v.buf_alloc != ALLOC || v.fwd_cnt != h->arrived))
		h->lied = true;
	vg_send_raw(&w->g, &v, sizeof(v), w->data, payload);
	/* The slot of a connection that ended keeps its numbers until it is used again. */
	if (c && c->host_port == v.dst_port && c->guest_port == v.src_port &&
		c->state != VSOCK_FREE)
		h->taken += c->received - before;
	if (h && w->s->counters.connections_reset != resets)
		h->complete = false;
	else if (h && c && c->state == VSOCK_OPEN && v.op == VIRTIO_VSOCK_OP_SHUTDOWN)
		h->complete = c->shut_got & VIRTIO_VSOCK_SHUTDOWN_SEND;
	if (!c)
		c = vsock_mux_find(w->s, v.dst_port, v.src_port);
	if (c && c->fd >= 0) /* so that a program that does not read is soon felt */
		setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &(int){ 1 }, sizeof(int));
	while ((fd = accept4(w->listenfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		unsigned i = 0;

		if (h)
			leave(h); /* its ports are used again */
		while (i < HOSTS && w->hosts[i].fd >= 0)
			i++;
		if (i == HOSTS) {
			close(fd);
			continue;
		}
		w->hosts[i] = (struct host){ .fd = fd,
			.greeted = true,
			.lied = v.buf_alloc != ALLOC || v.fwd_cnt != 0,
			.host_port = v.dst_port,
			.guest_port = v.src_port };
	}
}

/* -- what host programs do ------------------------------------------------------------------- */

static void host_connects(struct world *w, struct host *h, uint32_t guest_port, bool whole)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "CONNECT %u\n", guest_port);

	leave(h);
	/* One request is on its way at a time, so that it is known which is whose. */
	for (unsigned i = 0; i < HOSTS; i++)
		if (w->hosts[i].fd >= 0 && !w->hosts[i].host_port)
			return;
	drv_poll(&w->g.loop);
	guest_takes(w);
	h->fd = vg_host_connect(&w->g);
	h->guest_port = guest_port;
	MUST(write(h->fd, line, whole ? (size_t)n : 3) > 0);
}

static void host_writes(struct world *w, struct host *h, uint32_t len)
{
	ssize_t n;

	if (h->fd < 0 || !h->greeted)
		return;
	fill(w, h, h->wrote, len);
	n = send(h->fd, w->data, len, MSG_NOSIGNAL);
	h->wrote += n > 0 ? (uint32_t)n : 0;
}

static void host_reads(struct world *w, struct host *h, uint32_t len)
{
	char line[32];
	ssize_t n;

	if (h->fd < 0)
		return;
	if (!h->greeted) {
		n = read(h->fd, line, 14); /* "OK 1073741824\n" */
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			leave(h);
			return;
		}
		MUST(n == 14 && memcmp(line, "OK ", 3) == 0 && line[13] == '\n');
		MUST((uint32_t)strtoul(line + 3, NULL, 10) == h->host_port);
		h->greeted = true;
	}
	n = read(h->fd, w->data, len);
	if (n > 0) {
		compare(w->data, h, h->got, (size_t)n);
		h->got += (uint32_t)n;
		MUST(h->got <= h->taken);
	}
	if (n == 0 && len > 0 && h->complete && !h->deaf)
		MUST(h->got == h->taken);
}

/* -- oracles --------------------------------------------------------------------------------- */

static void check_one(const struct world *w, const struct vsock_conn *c, bool quiet)
{
	uint32_t room = vsock_conn_room(c), left = c->received - c->forwarded;
	struct pollfd out = { .fd = c->fd, .events = POLLOUT };
	char byte;

	MUST(left <= VSOCK_BUFFER_BYTES);
	MUST((c->fd >= 0) == (c->state != VSOCK_ENDED));
	MUST(c->hashed == (c->state != VSOCK_GREETING && c->state != VSOCK_LINGER));
	MUST(!c->want == (c->queue != &w->s->urgent));
	MUST(c->queue != &w->s->bulk || room > 0);
	if (c->state == VSOCK_OPEN)
		MUST(c->queue || room == 0);
	if (!quiet)
		return;
	MUST(!c->queue);
	if (c->state == VSOCK_OPEN && c->sent - c->peer_fwd < c->peer_alloc && !c->at_end)
		MUST(recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN);
	if (left > 0)
		MUST(poll(&out, 1, 0) == 0);
	if (c->state == VSOCK_LINGER)
		MUST(left > 0);
}

static void check(struct world *w, bool quiet)
{
	unsigned used = 0;

	MUST(drv_status(&w->g.d) == 0xf);
	for (unsigned i = 0; i < w->s->n_fresh; i++) {
		if (w->s->conns[i].state == VSOCK_FREE)
			continue;
		used++;
		check_one(w, &w->s->conns[i], quiet);
	}
	MUST(used == w->g.v->inflight);
	for (unsigned i = 0; i < HOSTS; i++) {
		const struct host *h = &w->hosts[i];
		const struct vsock_conn *c = h->fd >= 0 ? inner(w, h) : NULL;

		if (c && c->state == VSOCK_OPEN && !h->lied)
			MUST(c->sent - h->arrived <= ALLOC);
	}
}

/* Buffers for all, then nothing may be left to do; and all that was accepted can be read. */
static void settle(struct world *w)
{
	for (unsigned left = 1; left > 0;) {
		uint64_t before = w->s->counters.rx_packets;

		guest_takes(w);
		drv_poll(&w->g.loop);
		left = w->s->counters.rx_packets != before;
	}
	check(w, true);
	for (unsigned i = 0; i < HOSTS; i++) {
		struct host *h = &w->hosts[i];
		uint32_t got;

		do {
			got = h->got;
			host_reads(w, h, 60000);
			drv_poll(&w->g.loop);
		} while (h->got != got);
		if (h->fd >= 0 && h->greeted && inner(w, h) && inner(w, h)->state == VSOCK_OPEN &&
			!inner(w, h)->deaf)
			MUST(h->got == h->taken);
	}
}

/* -- one input ------------------------------------------------------------------------------- */

static void make(struct world *w)
{
	log_init(&(struct log_config){ .id = "fuzz", .fd = -1 });
	vg_open(&w->g, VIRTIO_COMMON_FEATURES, 0, VG_RX_BYTES);
	w->s = container_of(w->g.v, struct vsock, v);
	w->listenfd = vg_host_listen(&w->g, PORT, 128);
	for (unsigned i = 0; i < HOSTS; i++)
		w->hosts[i].fd = -1;
	vg_reset(&w->g); /* an input starts it */
}

static int lowest_free_fd(const struct world *w)
{
	int fd = dup(w->listenfd);

	close(fd);
	return fd;
}

static void start(struct world *w, struct input *in)
{
	uint8_t f = take(in);

	/* Not kept from one input to the next: the fuzzer opens descriptors in between. */
	w->lowest_fd = lowest_free_fd(w);
	vg_start(&w->g, f & 1 ? VIRTIO_COMMON_FEATURES : 0, f >> 1 & 31, 45 + (f >> 6) * 1300u);
	/* What programs had asked for when they left. */
	drv_poll(&w->g.loop);
}

static void end(struct world *w)
{
	vg_reset(&w->g);
	for (unsigned i = 0; i < HOSTS; i++)
		leave(&w->hosts[i]);
	MUST(w->g.v->inflight == 0);
	MUST(lowest_free_fd(w) == w->lowest_fd);
}

static void send_some(struct world *w, struct input *in, struct host *h)
{
	static const uint16_t ops[] = { VIRTIO_VSOCK_OP_RESPONSE, VIRTIO_VSOCK_OP_RW,
		VIRTIO_VSOCK_OP_RW, VIRTIO_VSOCK_OP_CREDIT_UPDATE, VIRTIO_VSOCK_OP_CREDIT_REQUEST,
		VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_OP_RST, VIRTIO_VSOCK_OP_REQUEST };
	uint8_t b = take(in);
	uint16_t op = ops[b & 7];
	uint32_t len = op == VIRTIO_VSOCK_OP_RW ? take_len(in, VG_DATA_MAX) : 0;
	struct vg_conn c = as_guest(h);
	const struct vsock_conn *device = inner(w, h);
	struct virtio_vsock_hdr v;

	if (device && !(b & 8)) /* within its credit, most of the time */
		len = MIN(len, VSOCK_BUFFER_BYTES - (device->received - device->forwarded));
	v = vg_header(&c, op, b >> 4 & 3, len);
	if (b & 0x80)
		switch (take(in) % 8) {
		case 0:
			v.len += take(in);
			break;
		case 1:
			v.buf_alloc = take(in);
			break;
		case 2:
			v.fwd_cnt += take(in);
			break;
		case 3:
			v.op = take(in);
			break;
		case 4:
			v.type = take(in);
			break;
		case 5:
			v.src_cid ^= 1ull << take(in) % 64;
			break;
		case 6:
			v.dst_cid ^= 1ull << take(in) % 64;
			break;
		default:
			v.dst_port ^= 1u << take(in) % 32;
		}
	send_packet(w, v, len);
}

static void act(struct world *w, struct input *in)
{
	uint8_t op = take(in);
	struct host *h = &w->hosts[op >> 4 & 7];
	struct vg_conn c = { PORT + (op >> 6 & 1), 1000u + (op >> 4), .alloc = ALLOC };

	switch (op & 15) {
	case 0:
	case 1:
		send_packet(w, vg_header(&c, VIRTIO_VSOCK_OP_REQUEST, 0, 0), 0);
		break;
	case 2:
		host_connects(w, h, 5, op < 0x80);
		break;
	case 3:
	case 4:
	case 5:
		if (h->fd >= 0)
			send_some(w, in, h);
		break;
	case 6:
	case 7:
		host_writes(w, h, take_len(in, 60000));
		break;
	case 8:
	case 9:
		host_reads(w, h, take_len(in, 60000));
		break;
	case 10:
		if (h->fd >= 0) {
			int how = take(in) % 3;

			h->deaf = h->deaf || how != SHUT_WR;
			shutdown(h->fd, how);
		}
		break;
	case 11:
		leave(h);
		break;
	case 12:
		if (w->g.d.q[0].avail_idx - w->g.d.q[0].used_idx < 200)
			vg_post(&w->g, op >> 4);
		break;
	case 13:
		guest_takes(w);
		break;
	default:
		drv_poll(&w->g.loop);
	}
}

static struct world the_world;

/* The sockets' directory must not outlive the program. */
static void remove_sockets(void)
{
	close(the_world.listenfd);
	vg_close(&the_world.g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct world *w = &the_world;

	if (!w->s) {
		make(w);
		atexit(remove_sockets);
	}
	start(w, &in);
	for (unsigned i = 0; i < MOST_OPS && in.left > 0; i++) {
		act(w, &in);
		check(w, false);
	}
	vg_post(&w->g, 20);
	settle(w);
	end(w);
	return 0;
}
