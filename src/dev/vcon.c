/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console, see vcon.h. Section numbers: virtio 1.2. */
#include "vcon.h"

#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cleanup.h"
#include "console-port.h"
#include "console-ring.h"
#include "virtio.h"

enum { QUEUE_RX, QUEUE_TX, QUEUES };

#define QUEUE_SIZE 256
#define BUDGET	   16 /* chains a round: each may keep us busy for as long as 4 MiB of copying */

struct vcon {
	struct virtio_dev v;
	struct console_port port;
	struct virtio_console_config config; /* 5.3.4: without its features all of it is unused */
	bool rx_wanted; /* the console has input that found no buffer */
	struct vcon_counters counters;
	struct console_ring out;
};

static struct vcon *vcon_of(struct virtio_dev *v)
{
	return container_of(v, struct vcon, v);
}

static void signal_console(struct vcon *s)
{
	uint64_t one = 1;

	/* Cannot fail or block: the counter never comes near its maximum. */
	/* #syscalls loop: write */
	if (write(s->port.eventfd, &one, sizeof(one)) < 0)
		return;
}

/* -- from the guest -------------------------------------------------------------------------- */

static void handle_tx(struct virtio_dev *v, unsigned q, const struct virtq_chain *c)
{
	struct vcon *s = vcon_of(v);
	bool filled = false;

	if (c->in_len > 0) {
		virtio_fail(v, "transmit buffer that is to be written to");
		return;
	}
	for (unsigned i = 0; i < c->n_out; i++)
		filled |= console_ring_put(&s->out, c->segs[i].iov_base, c->segs[i].iov_len);
	virtio_push(v, q, c->head, 0);
	if (filled)
		signal_console(s);
}

/* -- to the guest ---------------------------------------------------------------------------- */

/* Fills buffers of the guest: how many bytes went into them. */
static size_t fill(struct vcon *s, const uint8_t *data, size_t len)
{
	struct virtq *rx = &s->v.queues[QUEUE_RX];
	struct virtq_chain c;
	size_t n = 0, part;

	do {
		virtq_kicks_off(rx);
		while (n < len && virtio_pop(&s->v, QUEUE_RX, &c)) {
			part = MIN(len - n, c.in_len);
			if (c.out_len > 0 || !virtq_write(&c, 0, data + n, part)) {
				virtio_fail(&s->v, "receive buffer that is empty, or to be read");
				return n;
			}
			virtio_push(&s->v, QUEUE_RX, c.head, (uint32_t)part);
			n += part;
		}
		/* A device that has failed for a broken chain has no live queue. */
	} while (n < len && virtq_kicks_on(rx));
	virtio_notify(&s->v, QUEUE_RX);
	return n;
}

static size_t port_rx(struct console_port *p, const void *data, size_t len)
{
	struct vcon *s = container_of(p, struct vcon, port);
	size_t n = 0;

	virtio_lock(&s->v);
	if (len > 0 && virtio_running(&s->v))
		n = fill(s, data, len);
	s->rx_wanted = n < len;
	virtio_unlock(&s->v);
	atomic_fetch_add_explicit(&s->counters.rx_bytes, n, memory_order_relaxed);
	if (n < len)
		virtio_count(&s->counters.rx_no_buffers);
	return n;
}

static size_t port_tx(struct console_port *p, void *data, size_t len)
{
	struct vcon *s = container_of(p, struct vcon, port);
	size_t n;

	virtio_lock(&s->v);
	n = console_ring_take(&s->out, data, len);
	virtio_unlock(&s->v);
	return n;
}

static void port_disconnect(struct console_port *p)
{
	struct vcon *s = container_of(p, struct vcon, port);

	virtio_lock(&s->v);
	console_ring_disconnect(&s->out);
	virtio_unlock(&s->v);
}

static const struct console_port_ops port_ops = {
	.name = "virtio console",
	.rx = port_rx,
	.tx = port_tx,
	.disconnect = port_disconnect,
};

/* -- life ------------------------------------------------------------------------------------ */

static void kick(struct virtio_dev *v, unsigned q)
{
	struct vcon *s = vcon_of(v);

	if (q == QUEUE_TX) {
		virtio_drain(v, q, BUDGET, handle_tx);
	} else if (s->rx_wanted) { /* its first one after DRIVER_OK too */
		s->rx_wanted = false;
		signal_console(s);
	}
}

static const void *config(struct virtio_dev *v, size_t *ret_len)
{
	*ret_len = sizeof(struct virtio_console_config);
	return &vcon_of(v)->config;
}

static void destroy(struct virtio_dev *v)
{
	struct vcon *s = vcon_of(v);

	fd_close(s->port.eventfd);
	virtio_done(v);
	free(s);
}

static const struct virtio_ops vcon_ops = {
	.name = "console",
	.id = VIRTIO_ID_CONSOLE,
	.queue_max = QUEUE_SIZE,
	.config = config,
	.config_write = virtio_no_config_write,
	.activate = virtio_no_activate,
	.kick = kick,
	.cancel = virtio_no_cancel,
	.reset = virtio_no_reset,
	.destroy = destroy,
};

int vcon_create(bool connected, struct virtio_dev **ret, struct volt_err *err)
{
	_cleanup_free_ struct vcon *s = calloc(1, sizeof(*s));

	if (!s)
		return volt_err_set(err, ENOMEM, "virtio console: %m");
	s->port.ops = &port_ops;
	s->port.eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->port.eventfd < 0)
		return volt_err_set(err, errno, "virtio console: eventfd: %m");
	s->out.connected = connected;
	virtio_init(&s->v, &vcon_ops, "vcon", 0, QUEUES);
	*ret = &take_ptr(&s)->v;
	return 0;
}

struct console_port *vcon_port(struct virtio_dev *v)
{
	return &vcon_of(v)->port;
}

size_t vcon_tail(struct virtio_dev *v, void *data, size_t len)
{
	size_t n;

	virtio_lock(v);
	n = console_ring_tail(&vcon_of(v)->out, data, len);
	virtio_unlock(v);
	return n;
}

const struct console_ring *vcon_output(const struct virtio_dev *v)
{
	return &container_of(v, struct vcon, v)->out;
}

const struct vcon_counters *vcon_counters(const struct virtio_dev *v)
{
	return &container_of(v, struct vcon, v)->counters;
}
