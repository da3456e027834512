/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console behind the MMIO transport, between the test driver and the test, or the console.
 */
#include "test.h"

#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console-ring.h"
#include "console.h"
#include "drv.h"
#include "log.h"
#include "loop.h"
#include "port.h"
#include "serial.h"
#include "vcon.h"
#include "vmmio.h"

#define RX   0
#define TX   1
#define DATA 0x200000ull

struct fixture {
	struct gmem mem;
	struct loop loop;
	struct virtio_dev *v;
	struct vmmio *m;
	struct drv d;
	struct console_port *port;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct vmmio_env env = { .mem = &f->mem, .loop = &f->loop, .vmfd = -1, .base = 0xc0001000 };

	assert_int_equal(gmem_map(&f->mem, 4 * MIB, NULL), 0);
	assert_int_equal(loop_init(&f->loop, NULL), 0);
	assert_int_equal(vcon_create(true, &f->v, NULL), 0);
	assert_int_equal(vmmio_create(f->v, &env, &f->m, NULL), 0);
	f->port = vcon_port(f->v);
	drv_init(&f->d, &f->mem, vmmio_dev(f->m), 0x10000);
	*state = f;
	return 0;
}

static void start(struct fixture *f)
{
	assert_int_equal(drv_start(&f->d, VIRTIO_COMMON_FEATURES, 2, 64), 0xf);
	drv_poll(&f->loop);
}

static int setup_started(void **state)
{
	setup(state);
	start(*state);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vmmio_destroy(f->m);
	loop_done(&f->loop);
	gmem_unmap(&f->mem);
	free(f);
	return 0;
}

/* The guest writes: one chain, split in two, whose buffers come back at once. */
static void guest_writes(struct fixture *f, const char *text)
{
	uint32_t len = strlen(text), half = len / 2, id, used;
	struct drv_buf bufs[] = { { DATA, half, false }, { DATA + half, len - half, false } };

	assert_int_equal(gmem_write(&f->mem, GPA(DATA), text, len), 0);
	drv_add(&f->d, TX, half ? bufs : bufs + 1, half ? 2 : 1);
	drv_kick(&f->d, TX);
	assert_true(drv_wait(&f->d, &f->loop, TX, &id, &used));
	assert_int_equal(used, 0);
}

static void post(struct fixture *f, unsigned n, uint32_t bytes)
{
	for (unsigned i = 0; i < n; i++)
		drv_add(&f->d, RX, &(struct drv_buf){ DATA + 0x10000 + i * bytes, bytes, true }, 1);
	drv_kick(&f->d, RX);
	drv_poll(&f->loop);
}

static void describes_itself(void **state)
{
	struct fixture *f = *state;
	struct virtio_console_config c;

	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_CONSOLE);
	assert_int_equal(f->v->features, VIRTIO_COMMON_FEATURES);
	drv_read(&f->d, VIRTIO_MMIO_CONFIG, &c, sizeof(c));
	assert_int_equal(c.cols + c.rows + c.max_nr_ports, 0);
}

static void output_comes_in_order(void **state)
{
	struct fixture *f = *state;
	char got[64] = "";

	guest_writes(f, "a");
	assert_int_equal(loop_drain(f->port->eventfd), 1);
	guest_writes(f, "hello ");
	guest_writes(f, "world\n");
	assert_int_equal(loop_drain(f->port->eventfd), 0); /* it was not empty */
	assert_int_equal(port_tx(f->port, got, 3), 3);
	assert_int_equal(port_tx(f->port, got + 3, 60), 10);
	assert_string_equal(got, "ahello world\n");
	assert_int_equal(port_tx(f->port, got, 60), 0);
	assert_int_equal(vcon_output(f->v)->bytes, 13);
	assert_int_equal(vcon_tail(f->v, got, 6), 6);
	assert_memory_equal(got, "world\n", 6);
}

static void a_slow_reader_never_holds_the_guest_up(void **state)
{
	struct fixture *f = *state;
	static char big[10001], got[CONSOLE_RING_BYTES + 1];

	for (unsigned i = 0; i < 10000; i++)
		big[i] = 'a' + i % 26;
	for (unsigned i = 0; i < 10; i++)
		guest_writes(f, big);
	assert_int_equal(port_tx(f->port, got, sizeof(got)), CONSOLE_RING_BYTES);
	assert_memory_equal(got, big, 10000);
	assert_int_equal(vcon_output(f->v)->dropped, 100000 - CONSOLE_RING_BYTES);
	assert_int_equal(vcon_tail(f->v, got, sizeof(got)), CONSOLE_TAIL_BYTES);
	assert_memory_equal(got, big + 10000 - CONSOLE_TAIL_BYTES, CONSOLE_TAIL_BYTES);
	f->port->ops->disconnect(f->port);
	loop_drain(f->port->eventfd);
	guest_writes(f, "lost");
	assert_int_equal(loop_drain(f->port->eventfd), 0);
	assert_int_equal(port_tx(f->port, got, sizeof(got)), 0);
}

static void input_fills_what_there_is_and_waits_for_more(void **state)
{
	struct fixture *f = *state;
	uint32_t id, len;
	char got[8];

	assert_int_equal(port_rx(f->port, "early", 5), 0);
	assert_int_equal(vcon_counters(f->v)->rx_no_buffers, 1);
	post(f, 3, 2);
	assert_int_equal(loop_drain(f->port->eventfd), 1);
	assert_int_equal(port_rx(f->port, "early", 5), 5);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(drv_used(&f->d, RX, &id, &len));
		assert_int_equal(len, i < 2 ? 2 : 1);
	}
	assert_int_equal(gmem_read(&f->mem, GPA(DATA + 0x10000), got, 5), 0);
	assert_memory_equal(got, "early", 5);
	post(f, 1, 2);
	assert_int_equal(loop_drain(f->port->eventfd), 0); /* nobody waits */
	assert_int_equal(port_rx(f->port, "late", 4), 2);
	post(f, 1, 2);
	assert_int_equal(loop_drain(f->port->eventfd), 1);
	assert_int_equal(port_rx(f->port, "te", 2), 2);
	assert_int_equal(vcon_counters(f->v)->rx_bytes, 9);
}

/* Typed before the driver is there: it is told when it may try. */
static void input_waits_for_the_driver(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(port_rx(f->port, "x", 1), 0);
	start(f);
	post(f, 1, 16);
	assert_true(loop_drain(f->port->eventfd) > 0);
	assert_int_equal(port_rx(f->port, "x", 1), 1);
	/* And while it is paused. */
	post(f, 1, 16);
	assert_int_equal(virtio_pause(f->v, loop_now_ns()), 0);
	assert_int_equal(port_rx(f->port, "y", 1), 0);
	virtio_resume(f->v);
	drv_poll(&f->loop);
	assert_true(loop_drain(f->port->eventfd) > 0);
	assert_int_equal(port_rx(f->port, "y", 1), 1);
}

static void broken_drivers_need_a_reset(void **state)
{
	static const struct {
		unsigned q;
		struct drv_buf buf;
	} cases[] = {
		{ TX, { DATA, 16, true } },
		{ RX, { DATA, 16, false } },
		{ RX, { DATA, 0, true } },
		{ RX, { UINT64_MAX - 100, 16, true } },
		{ TX, { UINT64_MAX - 100, 16, false } },
	};
	struct fixture *f = *state;
	char got[64];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		drv_add(&f->d, cases[i].q, &cases[i].buf, 1);
		drv_kick(&f->d, cases[i].q);
		drv_poll(&f->loop);
		assert_int_equal(port_rx(f->port, "in", 2), 0);
		assert_int_equal(drv_status(&f->d) & 0x40, 0x40);
		drv_reset(&f->d);
		start(f);
		guest_writes(f, "good");
		assert_int_equal(port_tx(f->port, got, sizeof(got)), 4);
		post(f, 1, 16);
		assert_int_equal(port_rx(f->port, "in", 2), 2);
		drv_reset(&f->d);
		start(f);
	}
}

/* -- with the console, beside the serial port ------------------------------------------------ */

static void on_escape(void *owner, enum console_escape what)
{
	(void)owner;
	(void)what;
}

static void console_serves_both_and_the_input_is_ours(void **state)
{
	struct fixture *f = *state;
	struct console_params p = { .on_escape = on_escape };
	struct serial *serial;
	struct console *c;
	int in[2], out[2];
	char got[64] = "";

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	p.infd = in[0];
	p.outfd = out[1];
	assert_int_equal(serial_create(NULL, true, &serial, NULL), 0);
	assert_int_equal(console_create(&f->loop, &serial->port, &p, &c, NULL), 0);
	port_out(&serial->dev, 0, 's');
	drv_poll(&f->loop);
	assert_int_equal(console_add(c, f->port, NULL), 0);
	guest_writes(f, "virtio");
	drv_poll(&f->loop);
	port_out(&serial->dev, 0, 's');
	drv_poll(&f->loop);
	assert_int_equal(read(out[0], got, sizeof(got)), 8);
	assert_string_equal(got, "svirtios");
	/* Input waits in the pipe until the driver has room, and goes nowhere else. */
	assert_int_equal(write(in[1], "typed", 5), 5);
	drv_poll(&f->loop);
	assert_int_equal(vcon_counters(f->v)->rx_bytes, 0);
	post(f, 1, 64);
	assert_int_equal(vcon_counters(f->v)->rx_bytes, 5);
	assert_int_equal(serial->rx_bytes, 0);
	assert_int_equal(console_stats(c)->out_bytes, 8);
	/* A reader that leaves ends the output of both. */
	close(out[0]);
	guest_writes(f, "gone");
	drv_poll(&f->loop);
	assert_false(vcon_output(f->v)->connected);
	assert_false(serial->out.connected);
	console_destroy(c);
	serial_destroy(serial);
	close(out[1]);
	close(in[0]);
	close(in[1]);
}

int main(void)
{
#define T(fn, how) cmocka_unit_test_setup_teardown(fn, how, teardown)
	const struct CMUnitTest tests[] = {
		T(describes_itself, setup),
		T(output_comes_in_order, setup_started),
		T(a_slow_reader_never_holds_the_guest_up, setup_started),
		T(input_fills_what_there_is_and_waits_for_more, setup_started),
		T(input_waits_for_the_driver, setup),
		T(broken_drivers_need_a_reset, setup_started),
		T(console_serves_both_and_the_input_is_ours, setup_started),
	};

	signal(SIGPIPE, SIG_IGN);
	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("vcon", tests, NULL, NULL);
}
