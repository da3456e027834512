/* SPDX-License-Identifier: Apache-2.0 */
/* See nic.h. */
#include "nic.h"

#include <stdlib.h>
#include <string.h>

#include "vhost-net.h"

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

const uint8_t nic_mac[NET_MAC_BYTES] = { 0x02, 0x10, 0x20, 0x30, 0x40, 0x50 };

void nic_make(struct nic *f, struct net_params params, struct sock_netif *s)
{
	struct vmmio_env env = { .mem = &f->mem, .loop = &f->loop, .vmfd = -1, .base = 0xc0001000 };

	params.id = "eth0";
	memcpy(params.mac, nic_mac, sizeof(nic_mac));
	if (f->mem.n_regions == 0)
		MUST(gmem_map(&f->mem, NIC_BYTES, NULL) == 0);
	MUST(loop_init(&f->loop, NULL) == 0);
	f->s = s;
	MUST(net_create(&params, &s->n, NULL, &f->loop, &f->v, NULL) == 0);
	MUST(vmmio_create(f->v, &env, &f->m, NULL) == 0);
	f->c = net_counters(f->v);
	drv_init(&f->d, &f->mem, vmmio_dev(f->m), 0x10000);
}

void nic_done(struct nic *f)
{
	vmmio_destroy(f->m);
	loop_done(&f->loop);
	gmem_unmap(&f->mem);
}

void nic_fill(uint8_t *frame, size_t bytes, unsigned seed)
{
	for (size_t i = 0; i < bytes; i++)
		frame[i] = (uint8_t)(i * 7 + i / 251 + seed * 31);
	if (bytes >= NET_ETH_BYTES)
		memcpy(frame + NET_MAC_BYTES, nic_mac, sizeof(nic_mac));
}

uint16_t nic_tx(struct nic *f, unsigned q, const uint8_t *header, const uint8_t *frame,
	size_t bytes)
{
	static const uint8_t zero[NETIF_HEADER_BYTES];

	MUST(gmem_write(&f->mem, GPA(NIC_TX), header ? header : zero, NETIF_HEADER_BYTES) == 0);
	MUST(gmem_write(&f->mem, GPA(NIC_TX + NETIF_HEADER_BYTES), frame, bytes) == 0);
	return drv_add(&f->d, q,
		&(struct drv_buf){ NIC_TX, (uint32_t)(NETIF_HEADER_BYTES + bytes), false }, 1);
}

uint16_t nic_post(struct nic *f, unsigned q, uint64_t gpa, uint32_t bytes)
{
	return drv_add(&f->d, q, &(struct drv_buf){ gpa, bytes, true }, 1);
}

void nic_post_many(struct nic *f, unsigned q, unsigned n, uint32_t bytes)
{
	for (unsigned i = 0; i < n; i++)
		nic_post(f, q, NIC_RX + (uint64_t)i * bytes, bytes);
}

void nic_put(struct nic *f, unsigned queue, const uint8_t *header, const uint8_t *frame,
	size_t bytes)
{
	static uint8_t packet[NET_PACKET_MAX + 4096];

	MUST(bytes + NETIF_HEADER_BYTES <= sizeof(packet));
	memset(packet, 0, NETIF_HEADER_BYTES);
	if (header)
		memcpy(packet, header, NETIF_HEADER_BYTES);
	memcpy(packet + NETIF_HEADER_BYTES, frame, bytes);
	MUST(sock_netif_put(f->s, queue, packet, NETIF_HEADER_BYTES + bytes));
}

int nic_ctrl(struct nic *f, unsigned q, const void *command, size_t bytes, uint32_t *ret_len)
{
	struct drv_buf bufs[] = { { NIC_CTRL, (uint32_t)bytes, false },
		{ NIC_CTRL + 0x1000, 1, true } };
	uint32_t id;

	if (bytes)
		MUST(gmem_write(&f->mem, GPA(NIC_CTRL), command, bytes) == 0);
	drv_put8(&f->d, NIC_CTRL + 0x1000, 0xee);
	drv_add(&f->d, q, bytes ? bufs : bufs + 1, bytes ? 2 : 1);
	drv_kick(&f->d, q);
	drv_poll(&f->loop);
	return drv_used(&f->d, q, &id, ret_len) ? drv_get8(&f->d, NIC_CTRL + 0x1000) : -1;
}

uint64_t nic_drops(const struct nic *f)
{
	return f->c->rx_dropped_too_long + f->c->rx_dropped_malformed +
	       f->c->rx_dropped_link_down + f->c->tx_dropped_malformed +
	       f->c->tx_dropped_offload + f->c->tx_dropped_backend + f->c->rx_errors;
}
