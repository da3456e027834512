/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest for virtio-vsock: the device behind its MMIO transport with a real Unix socket in a
 * directory of its own, and a driver that posts rx buffers and sends packets one by one. It keeps
 * the credit of each connection as the specification says, and does all else by hand. Helpers that
 * set up what every test needs abort on failure.
 */
#ifndef VOLT_VSOCK_GUEST_H
#define VOLT_VSOCK_GUEST_H

#include <linux/virtio_vsock.h>

#include "drv.h"
#include "loop.h"

#define VG_CID	     3u
#define VG_QUEUE     256u
#define VG_RX_BYTES  4096u
#define VG_DATA_MAX  (128u * 1024)

struct vg {
	struct gmem mem;
	struct loop loop;
	struct virtio_dev *v;
	struct vmmio *m;
	struct drv d;
	char dir[64], path[80];
	uint32_t rx_bytes;	/* size of each rx buffer */
	bool repost;		/* an rx buffer goes back when its packet was taken */
	uint64_t rx[VG_QUEUE]; /* buffer of each head */
	uint64_t rx_area, tx_area;
};

/* One connection, seen from the guest. */
struct vg_conn {
	uint32_t host_port, guest_port;
	uint32_t alloc, fwd, got; /* what we grant, have consumed, have received */
	uint32_t peer_alloc, peer_fwd, sent;
};

struct vg_packet {
	struct virtio_vsock_hdr h;
	uint8_t data[VG_DATA_MAX];
};

void vg_open(struct vg *g, uint64_t features, unsigned n_rx, uint32_t rx_bytes);
/* The driver starts (again), with so many rx buffers. */
void vg_start(struct vg *g, uint64_t features, unsigned n_rx, uint32_t rx_bytes);
void vg_close(struct vg *g);
/* A reset of the driver, where the loop's thread is the same as the driver's. */
void vg_reset(struct vg *g);
/* Posts n more rx buffers, and kicks if the device wants to know. */
void vg_post(struct vg *g, unsigned n);

/* Sends these bytes behind h, split into `parts` descriptors, and waits until they are taken. */
void vg_send_raw(struct vg *g, const void *h, size_t h_len, const void *data, size_t len);
/* A packet of c with its credit. */
void vg_send(struct vg *g, struct vg_conn *c, uint16_t op, uint32_t flags, const void *data,
	uint32_t len);
/* The header that vg_send() would use. */
struct virtio_vsock_hdr vg_header(const struct vg_conn *c, uint16_t op, uint32_t flags,
	uint32_t len);

/* The next packet for the guest, if there is one now, or within 10 s. */
bool vg_take(struct vg *g, struct vg_packet *ret);
bool vg_wait(struct vg *g, struct vg_packet *ret);
/* Takes over the peer's credit from a packet, counts its data. */
void vg_account(struct vg_conn *c, const struct vg_packet *p);
/* Bytes that the device would take now. */
uint32_t vg_credit(const struct vg_conn *c);

/* Host programs: non-blocking sockets. */
int vg_host_connect(const struct vg *g);
int vg_host_listen(const struct vg *g, uint32_t port, int backlog);
/* All that is there now, at most len bytes; -1 with errno, 0: the end. */
ssize_t vg_host_read(struct vg *g, int fd, void *buf, size_t len);

/* Reads until it has len bytes, or the end came, or 10 s are over: the bytes. */
size_t vg_host_expect(struct vg *g, int fd, void *buf, size_t len, bool *ret_end);

/* Whole set-ups: the guest connects to the host program behind listenfd, whose end is *ret_fd... */
void vg_call(struct vg *g, struct vg_conn *c, int listenfd, int *ret_fd);
/* ...and a host program, the fd, connects to a port of the guest. */
int vg_answer(struct vg *g, struct vg_conn *c, uint32_t port);

#endif
