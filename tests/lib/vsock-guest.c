/* SPDX-License-Identifier: Apache-2.0 */
/* See vsock-guest.h. */
#include "vsock-guest.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "dev.h"
#include "vmmio.h"
#include "vsock.h"

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

#define LIMIT_NS (10 * NSEC_PER_SEC)

void vg_open(struct vg *g, uint64_t features, unsigned n_rx, uint32_t rx_bytes)
{
	struct vmmio_env env = { .mem = &g->mem, .loop = &g->loop, .vmfd = -1, .base = 0xc0001000 };
	struct vsock_params p = { .cid = VG_CID, .path = g->path };
	int fd;

	memset(g, 0, sizeof(*g));
	snprintf(g->dir, sizeof(g->dir), "/tmp/volt-vsock-XXXXXX");
	MUST(mkdtemp(g->dir));
	snprintf(g->path, sizeof(g->path), "%s/v.sock", g->dir);
	MUST(gmem_map(&g->mem, 32 * MIB, NULL) == 0 && loop_init(&g->loop, NULL) == 0);
	fd = vsock_listen(g->path, NULL);
	MUST(fd >= 0 && vsock_create(&p, fd, &g->loop, &g->v, NULL) == 0);
	MUST(vmmio_create(g->v, &env, &g->m, NULL) == 0);
	drv_init(&g->d, &g->mem, vmmio_dev(g->m), 0x10000);
	vg_start(g, features, n_rx, rx_bytes);
}

void vg_start(struct vg *g, uint64_t features, unsigned n_rx, uint32_t rx_bytes)
{
	MUST(drv_start(&g->d, features, 3, VG_QUEUE) == 0xf);
	g->rx_bytes = rx_bytes;
	g->repost = true;
	g->rx_area = drv_alloc(&g->d, (size_t)VG_QUEUE * rx_bytes);
	g->tx_area = drv_alloc(&g->d, VG_DATA_MAX + 4096);
	vg_post(g, n_rx);
	drv_poll(&g->loop);
}

void vg_reset(struct vg *g)
{
	virtio_lock(g->v);
	g->v->ops->cancel(g->v);
	virtio_unlock(g->v);
	drv_reset(&g->d);
}

static void remove_sockets(const struct vg *g)
{
	DIR *d = opendir(g->dir);
	struct dirent *e;

	MUST(d);
	while ((e = readdir(d)))
		if (e->d_type == DT_SOCK)
			unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
}

void vg_close(struct vg *g)
{
	vmmio_destroy(g->m);
	loop_done(&g->loop);
	gmem_unmap(&g->mem);
	remove_sockets(g);
	MUST(rmdir(g->dir) == 0);
}

/* Kicks as a driver does: only if the device wants it for what was published since `before`. */
static void kick(struct vg *g, unsigned q, uint16_t before)
{
	const struct drv_queue *dq = &g->d.q[q];
	uint16_t event;

	if (virtio_acked(g->v, VIRTQ_F_EVENT_IDX)) {
		event = drv_get16(&g->d, dq->used + 4 + 8ull * dq->size);
		if ((uint16_t)(dq->avail_idx - event - 1) >= (uint16_t)(dq->avail_idx - before))
			return;
	} else if (drv_get16(&g->d, dq->used) & 1) {
		return;
	}
	drv_kick(&g->d, q);
}

void vg_post(struct vg *g, unsigned n)
{
	uint16_t before = g->d.q[0].avail_idx;

	for (unsigned i = 0; i < n; i++) {
		unsigned slot = g->d.q[0].next_desc;
		struct drv_buf b = { g->rx_area + (uint64_t)slot * g->rx_bytes, g->rx_bytes, true };

		g->rx[drv_add(&g->d, 0, &b, 1)] = b.gpa;
	}
	kick(g, 0, before);
}

void vg_send_raw(struct vg *g, const void *h, size_t h_len, const void *data, size_t len)
{
	struct drv_buf bufs[2] = { { g->tx_area, (uint32_t)h_len, false },
		{ g->tx_area + 4096, (uint32_t)len, false } };
	uint16_t before;
	uint32_t id, used;

	MUST(h_len <= 4096 && len <= VG_DATA_MAX);
	MUST(h_len == 0 || gmem_write(&g->mem, GPA(bufs[0].gpa), h, h_len) == 0);
	MUST(len == 0 || gmem_write(&g->mem, GPA(bufs[1].gpa), data, len) == 0);
	before = g->d.q[1].avail_idx;
	drv_add(&g->d, 1, bufs, len ? 2 : 1);
	kick(g, 1, before);
	MUST(drv_wait(&g->d, &g->loop, 1, &id, &used) && used == 0);
}

struct virtio_vsock_hdr vg_header(const struct vg_conn *c, uint16_t op, uint32_t flags,
	uint32_t len)
{
	return (struct virtio_vsock_hdr){
		.src_cid = VG_CID,
		.dst_cid = 2,
		.src_port = c->guest_port,
		.dst_port = c->host_port,
		.len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.flags = flags,
		.buf_alloc = c->alloc,
		.fwd_cnt = c->fwd,
	};
}

void vg_send(struct vg *g, struct vg_conn *c, uint16_t op, uint32_t flags, const void *data,
	uint32_t len)
{
	struct virtio_vsock_hdr h = vg_header(c, op, flags, len);

	c->sent += len;
	vg_send_raw(g, &h, sizeof(h), data, len);
}

bool vg_take(struct vg *g, struct vg_packet *ret)
{
	uint32_t id, len;
	uint64_t gpa;

	if (!drv_used(&g->d, 0, &id, &len))
		return false;
	MUST(id < VG_QUEUE && len >= sizeof(ret->h) && len <= g->rx_bytes);
	gpa = g->rx[id];
	MUST(gmem_read(&g->mem, GPA(gpa), &ret->h, sizeof(ret->h)) == 0);
	MUST(ret->h.len == len - sizeof(ret->h));
	MUST(gmem_read(&g->mem, GPA(gpa + sizeof(ret->h)), ret->data, ret->h.len) == 0);
	MUST(ret->h.src_cid == 2 && ret->h.dst_cid == VG_CID);
	MUST(ret->h.op == VIRTIO_VSOCK_OP_RST || ret->h.buf_alloc == VSOCK_BUFFER_BYTES);
	if (g->repost)
		vg_post(g, 1);
	return true;
}

/* Waits at most so long for events, dispatches them. */
static void run_loop(struct vg *g, int ms)
{
	struct pollfd p = { .fd = g->loop.epollfd, .events = POLLIN };

	if (poll(&p, 1, ms) > 0)
		MUST(loop_poll(&g->loop, 0) == 0);
}

bool vg_wait(struct vg *g, struct vg_packet *ret)
{
	uint64_t end = loop_now_ns() + LIMIT_NS;

	while (!vg_take(g, ret)) {
		if (loop_now_ns() > end)
			return false;
		run_loop(g, 20);
	}
	return true;
}

void vg_account(struct vg_conn *c, const struct vg_packet *p)
{
	c->peer_alloc = p->h.buf_alloc;
	c->peer_fwd = p->h.fwd_cnt;
	c->got += p->h.len;
}

uint32_t vg_credit(const struct vg_conn *c)
{
	return c->peer_alloc - (c->sent - c->peer_fwd);
}

static int open_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	MUST(fd >= 0);
	return fd;
}

int vg_host_connect(const struct vg *g)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = open_socket();

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", g->path);
	MUST(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

int vg_host_listen(const struct vg *g, uint32_t port, int backlog)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = open_socket();

	snprintf(a.sun_path, sizeof(a.sun_path), "%s_%u", g->path, port);
	unlink(a.sun_path);
	MUST(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, backlog) == 0);
	return fd;
}

ssize_t vg_host_read(struct vg *g, int fd, void *buf, size_t len)
{
	drv_poll(&g->loop);
	return read(fd, buf, len);
}

size_t vg_host_expect(struct vg *g, int fd, void *buf, size_t len, bool *ret_end)
{
	uint64_t end = loop_now_ns() + LIMIT_NS;
	size_t got = 0;

	*ret_end = false;
	while (got < len && loop_now_ns() < end) {
		ssize_t n = vg_host_read(g, fd, (uint8_t *)buf + got, len - got);

		if (n > 0)
			got += (size_t)n;
		else if (n == 0 || errno != EAGAIN)
			break;
		else
			run_loop(g, 20);
		*ret_end = n == 0;
	}
	return got;
}

void vg_call(struct vg *g, struct vg_conn *c, int listenfd, int *ret_fd)
{
	struct vg_packet *p = malloc(sizeof(*p));

	vg_send(g, c, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
	*ret_fd = accept4(listenfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	MUST(*ret_fd >= 0 && vg_wait(g, p) && p->h.op == VIRTIO_VSOCK_OP_RESPONSE);
	MUST(p->h.src_port == c->host_port && p->h.dst_port == c->guest_port);
	vg_account(c, p);
	free(p);
}

int vg_answer(struct vg *g, struct vg_conn *c, uint32_t port)
{
	int fd = vg_host_connect(g);
	struct vg_packet *p = malloc(sizeof(*p));
	char line[32];
	int n = snprintf(line, sizeof(line), "CONNECT %u\n", port);

	MUST(write(fd, line, (size_t)n) == n);
	MUST(vg_wait(g, p) && p->h.op == VIRTIO_VSOCK_OP_REQUEST && p->h.dst_port == port);
	c->guest_port = port;
	c->host_port = p->h.src_port;
	vg_account(c, p);
	vg_send(g, c, VIRTIO_VSOCK_OP_RESPONSE, 0, NULL, 0);
	n = snprintf(line, sizeof(line), "OK %u\n", c->host_port);
	MUST(read(fd, p->data, sizeof(p->data)) == n && memcmp(p->data, line, (size_t)n) == 0);
	free(p);
	return fd;
}
