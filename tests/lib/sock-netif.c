/* SPDX-License-Identifier: Apache-2.0 */
/* See sock-netif.h. */
#include "sock-netif.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sock_netif *sock_of(struct netif *n)
{
	return container_of(n, struct sock_netif, n);
}

static int send_packet(struct netif *n, unsigned queue, const struct iovec *iov, unsigned n_iov,
	size_t bytes)
{
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = n_iov };
	ssize_t r;

	if (sock_of(n)->send_error)
		return sock_of(n)->send_error;
	if (queue >= sock_of(n)->n_active)
		return -EBADFD; /* as a tap's queue that is switched off */
	r = sendmsg(n->fds[queue], &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (r >= 0 && (size_t)r != bytes)
		abort();
	return r < 0 ? -errno : 0;
}

static ssize_t recv_packet(struct netif *n, unsigned queue, const struct iovec *iov, unsigned n_iov)
{
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = n_iov };
	ssize_t r;

	if (sock_of(n)->link_from_recv)
		n->events.link(n->events.owner, false);
	if (sock_of(n)->recv_error)
		return sock_of(n)->recv_error;
	if (queue >= sock_of(n)->n_active)
		abort();
	r = recvmsg(n->fds[queue], &m, MSG_DONTWAIT);
	if (r < 0)
		return -errno;
	return m.msg_flags & MSG_TRUNC ? -EMSGSIZE : r;
}

static int set_offloads(struct netif *n, unsigned offloads)
{
	struct sock_netif *s = sock_of(n);

	if (offloads & ~n->offloads)
		abort();
	s->calls++;
	if (s->refuse)
		return s->refuse;
	s->offloads = offloads;
	return 0;
}

static int set_queues(struct netif *n, unsigned n_active)
{
	struct sock_netif *s = sock_of(n);

	if (n_active == 0 || n_active > n->n_queues)
		abort();
	s->calls++;
	if (s->refuse)
		return s->refuse;
	s->n_active = n_active;
	return 0;
}

static void destroy(struct netif *n)
{
	struct sock_netif *s = sock_of(n);

	if (n->events.link)
		n->events.link(n->events.owner, false); /* some do */
	for (unsigned i = 0; i < n->n_queues; i++) {
		close(n->fds[i]);
		close(s->wires[i]);
	}
	free((void *)n->ops);
	free(s);
}

struct sock_netif *sock_netif_create(const char *kind, unsigned n_queues, unsigned offloads)
{
	struct sock_netif *s = calloc(1, sizeof(*s));
	struct netif_ops *ops = malloc(sizeof(*ops));

	if (!s || !ops)
		abort();
	*ops = (struct netif_ops){ kind, false, send_packet, recv_packet, set_offloads, set_queues,
		destroy };
	s->n = (struct netif){ .ops = ops, .n_queues = n_queues, .offloads = offloads,
		.link_up = true };
	s->n_active = n_queues > 1 ? 0 : 1;
	for (unsigned i = 0; i < n_queues; i++) {
		int fds[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
			abort();
		s->n.fds[i] = fds[0];
		s->wires[i] = fds[1];
	}
	return s;
}

bool sock_netif_put(struct sock_netif *s, unsigned queue, const void *packet, size_t bytes)
{
	return send(s->wires[queue], packet, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)bytes;
}

ssize_t sock_netif_get(struct sock_netif *s, unsigned queue, void *packet, size_t room)
{
	return recv(s->wires[queue], packet, room, MSG_DONTWAIT);
}
