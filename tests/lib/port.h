/* SPDX-License-Identifier: Apache-2.0 */
/* Register accesses as the bus makes them: under the device's lock, data zeroed before a read. */
#ifndef VOLT_PORT_H
#define VOLT_PORT_H

#include "console-port.h"
#include "dev.h"

static inline uint8_t port_in(struct dev *d, uint64_t off)
{
	uint8_t v = 0;

	pthread_mutex_lock(&d->lock);
	d->ops->read(d, off, &v, 1);
	pthread_mutex_unlock(&d->lock);
	return v;
}

static inline void port_out(struct dev *d, uint64_t off, uint8_t v)
{
	pthread_mutex_lock(&d->lock);
	d->ops->write(d, off, &v, 1);
	pthread_mutex_unlock(&d->lock);
}

/* What the console does with a device. */
static inline size_t port_rx(struct console_port *p, const void *data, size_t len)
{
	return p->ops->rx(p, data, len);
}

static inline size_t port_tx(struct console_port *p, void *data, size_t len)
{
	return p->ops->tx(p, data, len);
}

#endif
