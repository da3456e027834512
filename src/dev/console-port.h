/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the console sees of a device of the guest that it is connected to: the serial port, the
 * virtio console. A device embeds it and finds itself by container_of. Loop thread.
 */
#ifndef VOLT_CONSOLE_PORT_H
#define VOLT_CONSOLE_PORT_H

#include <stddef.h>

struct console_port;

struct console_port_ops {
	const char *name;
	/* Gives input to the guest: how many bytes were taken, from the front. Else see eventfd. */
	size_t (*rx)(struct console_port *p, const void *data, size_t len);
	/* Takes up to len bytes of output; 0 if there is none. */
	size_t (*tx)(struct console_port *p, void *data, size_t len);
	/* Nobody reads the output any more: what is there is dropped, and all that follows. */
	void (*disconnect)(struct console_port *p);
};

struct console_port {
	const struct console_port_ops *ops;
	int eventfd; /* owned; readable: output is waiting, or there is room for input again */
};

#endif
