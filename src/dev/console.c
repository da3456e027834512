/* SPDX-License-Identifier: Apache-2.0 */
/* The host side of the console, see console.h. */
#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "console-fd.h"
#include "console-port.h"
#include "console-ring.h"
#include "console-tty.h"
#include "log.h"
#include "loop.h"

#define PREFIX_KEY 0x01 /* Ctrl-A */
#define READ_PIECE 256
/* Output moved in one go; then other sources of the loop have their turn. */
#define TURN_BYTES CONSOLE_RING_BYTES

static const char help_text[] = "\r\n"
				"Ctrl-A x  stop the VM at once\r\n"
				"Ctrl-A p  press the power button\r\n"
				"Ctrl-A h  this help\r\n"
				"Ctrl-A Ctrl-A  send Ctrl-A to the guest\r\n";

struct output {
	struct console_fd fd;
	struct loop_src src; /* watched while the reader is slow */
	struct limiter limiter;
	size_t at, used;     /* buf[at..used) is still to be written */
	uint8_t buf[CONSOLE_OUTPUT_BYTES + sizeof(help_text)];
};

struct input {
	struct console_fd fd;
	struct loop_src src; /* watched while more may be read */
	bool tty;
	bool unpollable;   /* a regular file: always ready, epoll refuses it */
	bool after_prefix; /* Ctrl-A was typed */
	bool held;	   /* by console_hold() */
	size_t used;
	uint8_t buf[CONSOLE_INPUT_BYTES]; /* for the guest */
};

/* A device of the guest. */
struct guest {
	struct loop_src src; /* its eventfd */
	struct console *c;   /* borrowed: the one that embeds this */
	struct console_port *port; /* borrowed */
};

struct console {
	struct loop *loop;	/* borrowed */
	struct guest ports[CONSOLE_PORTS_MAX];
	unsigned n_ports; /* input goes to the last */
	unsigned turn;	  /* the port whose output comes next */
	void (*on_escape)(void *owner, enum console_escape what);
	void *owner;
	struct output out;
	struct input in;
	struct console_stats stats;
};

static void close_output(struct console *c)
{
	loop_del(c->loop, &c->out.src);
	console_fd_close(&c->out.fd);
	c->stats.out_dropped += c->out.used - c->out.at;
	c->out.at = c->out.used = 0;
	for (unsigned i = 0; i < c->n_ports; i++)
		c->ports[i].port->ops->disconnect(c->ports[i].port);
}

/* A write failed for another reason than a slow reader. */
static void output_failed(struct console *c, int error)
{
	c->stats.out_failures++;
	errno = error; /* for %m */
	if (error == EPIPE || error == EIO || error == ECONNRESET || error == EBADF) {
		log_warn("console: nobody reads the output any more: %m");
		close_output(c);
		return;
	}
	if (c->stats.out_failures == 1)
		log_warn("console: output is lost: %m");
	c->stats.out_dropped += c->out.used - c->out.at;
	c->out.at = c->out.used = 0;
}

/* Of n bytes at the beginning of the buffer: those that the limit lets pass. */
static size_t limit(struct console *c, size_t n)
{
	size_t some = n;

	if (!limiter_off(&c->out.limiter))
		some = limiter_take_some(&c->out.limiter, n, loop_now_ns());
	c->stats.out_limited += n - some;
	return some;
}

/* The next piece of the guest's output into the buffer: its length. Ports take turns. */
static size_t take_output(struct console *c, void *buf, size_t room)
{
	size_t n = 0;

	for (unsigned i = 0; i < c->n_ports && n == 0; i++) {
		struct console_port *p = c->ports[c->turn++ % c->n_ports].port;

		n = p->ops->tx(p, buf, room);
	}
	return n;
}

/*
 * Moves one buffer's worth of the guest's output. 0: done or something was lost, there may be more;
 * -ENODATA: nothing left; -EAGAIN: the reader is slow.
 */
static int move_output(struct console *c)
{
	struct output *o = &c->out;
	ssize_t n;

	if (o->fd.fd < 0)
		return -ENODATA;
	if (o->at == o->used) {
		o->at = 0;
		o->used = take_output(c, o->buf, CONSOLE_OUTPUT_BYTES);
		if (o->used == 0)
			return -ENODATA;
		o->used = limit(c, o->used);
		if (o->used == 0)
			return 0;
	}
	n = console_fd_write(&o->fd, o->buf + o->at, o->used - o->at);
	if (n == -EAGAIN)
		return -EAGAIN;
	if (n < 0) {
		output_failed(c, (int)-n);
		return 0;
	}
	o->at += (size_t)n;
	c->stats.out_bytes += (uint64_t)n;
	return 0;
}

/* Writes what there is, for one turn; arranges to be called again if there is more. */
static void drain_output(struct console *c)
{
	uint64_t one = 1, end = c->stats.out_bytes + c->stats.out_limited + TURN_BYTES;
	int r = 0;

	while (r == 0 && c->stats.out_bytes + c->stats.out_limited < end)
		r = move_output(c);
	if (r == -EAGAIN) {
		if (c->out.src.fd >= 0)
			return;
		r = loop_add(c->loop, &c->out.src, c->out.fd.fd, EPOLLOUT);
		if (r < 0)
			output_failed(c, -r);
		return;
	}
	if (c->out.fd.fd >= 0)
		loop_del(c->loop, &c->out.src);
	/* #syscalls loop: write */
	if (r == 0 && write(c->ports[0].port->eventfd, &one, sizeof(one)) < 0)
		c->stats.out_failures++;
}

static void on_output_ready(struct loop_src *src, uint32_t events)
{
	struct console *c = container_of(src, struct console, out.src);

	(void)events;
	drain_output(c);
}

static void print_help(struct console *c)
{
	struct output *o = &c->out;
	size_t len = sizeof(help_text) - 1;

	if (o->fd.fd < 0 || sizeof(o->buf) - o->used < len)
		return;
	memcpy(o->buf + o->used, help_text, len);
	o->used += len;
	drain_output(c);
}

static void queue_input(struct console *c, uint8_t byte)
{
	if (c->in.used == sizeof(c->in.buf)) {
		c->stats.in_dropped++;
		return;
	}
	c->in.buf[c->in.used++] = byte;
}

/* The key after Ctrl-A. */
static void escape(struct console *c, uint8_t key)
{
	switch (key) {
	case 'x':
		c->on_escape(c->owner, CONSOLE_STOP);
		break;
	case 'p':
		c->on_escape(c->owner, CONSOLE_POWER_BUTTON);
		break;
	case 'h':
		print_help(c);
		break;
	case PREFIX_KEY:
		queue_input(c, PREFIX_KEY);
		break;
	default:
		queue_input(c, PREFIX_KEY);
		queue_input(c, key);
		break;
	}
}

static void typed(struct console *c, uint8_t byte)
{
	if (c->in.after_prefix) {
		c->in.after_prefix = false;
		escape(c, byte);
	} else if (c->in.tty && byte == PREFIX_KEY) {
		c->in.after_prefix = true;
	} else {
		queue_input(c, byte);
	}
}

static void close_input(struct console *c)
{
	loop_del(c->loop, &c->in.src);
	if (c->in.tty) {
		console_tty_restore();
		console_tty_release();
	}
	console_fd_close(&c->in.fd);
}

/* Reads once. 0: something was read; -EAGAIN: nothing there now; -ENODATA: the input is closed. */
static int read_input(struct console *c)
{
	uint8_t piece[READ_PIECE];
	ssize_t n;

	n = console_fd_read(&c->in.fd, piece, sizeof(piece));
	if (n == -EAGAIN)
		return -EAGAIN;
	/*
	 * A terminal says EIO when we went to the background just now: wait for console_refresh().
	 */
	if (n == -EIO && c->in.tty && !console_tty_is_ours(c->in.fd.fd)) {
		loop_del(c->loop, &c->in.src);
		return -EAGAIN;
	}
	if (n <= 0) {
		close_input(c);
		return -ENODATA;
	}
	c->stats.in_bytes += (uint64_t)n;
	for (ssize_t i = 0; i < n; i++)
		typed(c, piece[i]);
	return 0;
}

/* Gives the guest what it takes. Returns true if all was taken. */
static bool push_input(struct console *c)
{
	struct console_port *p = c->ports[c->n_ports - 1].port;
	struct input *in = &c->in;
	size_t n;

	if (in->held)
		return false;
	n = p->ops->rx(p, in->buf, in->used);
	in->used -= n;
	memmove(in->buf, in->buf + n, in->used);
	return in->used == 0;
}

static void watch_input(struct console *c)
{
	struct input *in = &c->in;

	if (in->fd.fd < 0 || in->src.fd >= 0 || in->unpollable)
		return;
	if (in->tty && !console_tty_is_ours(in->fd.fd))
		return;
	if (loop_add(c->loop, &in->src, in->fd.fd, EPOLLIN) < 0)
		in->unpollable = true;
}

/* Moves input as far as guest and source allow. */
static void pump_input(struct console *c)
{
	bool taken = push_input(c);

	while (taken && c->in.unpollable && c->in.fd.fd >= 0 && read_input(c) == 0)
		taken = push_input(c);
	if (!taken && !c->in.tty)
		loop_del(c->loop, &c->in.src); /* let the writer wait */
	else
		watch_input(c);
}

static void on_input_ready(struct loop_src *src, uint32_t events)
{
	struct console *c = container_of(src, struct console, in.src);

	(void)events;
	if (c->in.tty && !console_tty_is_ours(c->in.fd.fd)) {
		loop_del(c->loop, &c->in.src);
		return;
	}
	read_input(c);
	pump_input(c);
}

static void on_guest(struct loop_src *src, uint32_t events)
{
	struct console *c = container_of(src, struct guest, src)->c;

	(void)events;
	loop_drain(src->fd);
	drain_output(c);
	pump_input(c);
}

static void take_terminal(struct console *c)
{
	if (c->in.tty && console_tty_is_ours(c->in.fd.fd))
		console_tty_take(c->in.fd.fd);
}

static int open_ends(struct console *c, const struct console_params *p, struct volt_err *err)
{
	int r = 0;

	if (p->path)
		r = console_fd_open(p->path, &c->out.fd, err);
	else if (p->outfd >= 0)
		r = console_fd_from(p->outfd, O_WRONLY, &c->out.fd, err);
	if (r == 0 && p->infd >= 0)
		r = console_fd_from(p->infd, O_RDONLY, &c->in.fd, err);
	return r;
}

static void console_destroyp(struct console **c)
{
	console_destroy(*c);
}

static int add_port(struct console *c, struct console_port *port, struct volt_err *err)
{
	struct guest *g = &c->ports[c->n_ports];
	int r;

	*g = (struct guest){ .src = { on_guest, port->ops->name, -1 }, .c = c, .port = port };
	r = loop_add(c->loop, &g->src, port->eventfd, EPOLLIN);
	if (r < 0)
		return volt_err_set(err, -r, "console: watch the %s: %m", port->ops->name);
	c->n_ports++;
	if (c->out.fd.fd < 0)
		port->ops->disconnect(port);
	return 0;
}

int console_create(struct loop *l, struct console_port *port, const struct console_params *p,
	struct console **ret, struct volt_err *err)
{
	_cleanup_(console_destroyp) struct console *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return volt_err_set(err, ENOMEM, "console: %m");
	c->loop = l;
	c->on_escape = p->on_escape;
	c->owner = p->owner;
	c->out.src = (struct loop_src){ .fn = on_output_ready, .name = "console-out", .fd = -1 };
	c->in.src = (struct loop_src){ .fn = on_input_ready, .name = "console-in", .fd = -1 };
	limiter_init(&c->out.limiter, &(struct limiter_params){ .bandwidth = p->limit },
		loop_now_ns());
	c->out.fd.fd = c->in.fd.fd = -1;
	r = open_ends(c, p, err);
	if (r < 0)
		return r;
	r = add_port(c, port, err);
	if (r < 0)
		return r;
	c->in.tty = c->in.fd.fd >= 0 && isatty(c->in.fd.fd);
	take_terminal(c);
	watch_input(c);
	pump_input(c);
	*ret = take_ptr(&c);
	return 0;
}

int console_add(struct console *c, struct console_port *port, struct volt_err *err)
{
	int r;

	assert(c->n_ports < CONSOLE_PORTS_MAX);
	r = add_port(c, port, err);
	if (r == 0)
		pump_input(c);
	return r;
}

void console_destroy(struct console *c)
{
	if (!c)
		return;
	console_flush(c, CONSOLE_FLUSH_MS);
	close_input(c);
	for (unsigned i = 0; i < c->n_ports; i++)
		loop_del(c->loop, &c->ports[i].src);
	loop_del(c->loop, &c->out.src);
	console_fd_close(&c->out.fd);
	free(c);
}

void console_flush(struct console *c, unsigned timeout_ms)
{
	uint64_t now = loop_now_ns(), end = now + timeout_ms * UINT64_C(1000000);
	int r = 0;

	while (r != -ENODATA && now <= end) {
		struct pollfd p = { .fd = c->out.fd.fd, .events = POLLOUT };

		r = move_output(c);
		/* #syscalls loop: poll */
		if (r == -EAGAIN && poll(&p, 1, (int)((end - now) / 1000000)) == 0)
			return;
		now = loop_now_ns();
	}
}

void console_hold(struct console *c, bool held)
{
	c->in.held = held;
	pump_input(c);
}

void console_refresh(struct console *c)
{
	take_terminal(c);
	watch_input(c);
}

const struct console_stats *console_stats(const struct console *c)
{
	return &c->stats;
}

void console_restore(void)
{
	console_tty_restore();
}
