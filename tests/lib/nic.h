/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-net device behind the MMIO transport, between a guest driver and a wire that are both in
 * the test's hands. For unit tests and the fuzz target; helpers abort on failure.
 */
#ifndef VOLT_NIC_H
#define VOLT_NIC_H

#include "drv.h"
#include "loop.h"
#include "net-dev.h"
#include "sock-netif.h"
#include "vmmio.h"

#define NIC_ALL_OFFLOADS                                                                           \
	(NETIF_CSUM | NETIF_TSO4 | NETIF_TSO6 | NETIF_ECN | NETIF_USO4 | NETIF_USO6)
#define NIC_F(name) VIRTIO_BIT(VIRTIO_NET_F_##name)

/* Where in guest memory tests may put packets. */
#define NIC_TX	  0x200000ull
#define NIC_RX	  0x300000ull
#define NIC_CTRL  0x1f0000ull
#define NIC_BYTES (8 * MIB)

struct nic {
	struct gmem mem;
	struct loop loop;
	struct virtio_dev *v;
	struct vmmio *m;
	struct drv d;
	struct sock_netif *s;
	const struct net_counters *c;
};

extern const uint8_t nic_mac[NET_MAC_BYTES];

/* params: id and mac are filled in. Guest memory is made if f->mem is empty. */
void nic_make(struct nic *f, struct net_params params, struct sock_netif *s);
void nic_done(struct nic *f);

/* A frame: from nic_mac to anywhere, every byte after that different and dependent on seed. */
void nic_fill(uint8_t *frame, size_t bytes, unsigned seed);

/* A packet into guest memory at NIC_TX, as one chain; the head. */
uint16_t nic_tx(struct nic *f, unsigned q, const uint8_t *header, const uint8_t *frame,
	size_t bytes);
/* Posts a receive buffer. */
uint16_t nic_post(struct nic *f, unsigned q, uint64_t gpa, uint32_t bytes);
/* Posts n buffers of `bytes` each, from NIC_RX on, one behind the other. */
void nic_post_many(struct nic *f, unsigned q, unsigned n, uint32_t bytes);

/* Sends a packet onto the wire of a queue. */
void nic_put(struct nic *f, unsigned queue, const uint8_t *header, const uint8_t *frame,
	size_t bytes);

/* One control command: the answer, or -1 if there was none; *ret_len: what the used ring says. */
int nic_ctrl(struct nic *f, unsigned q, const void *command, size_t bytes, uint32_t *ret_len);

uint64_t nic_drops(const struct nic *f);

#endif
