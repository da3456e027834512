/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net: features, configuration, queues' numbers, link, life; see nic.h. */
#include "test.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "nic.h"
#include "num.h"

static uint8_t frame[NETIF_FRAME_MAX], back[NET_PACKET_MAX + 1];

static struct nic *make(const char *kind, unsigned n_queues, unsigned offloads,
	struct net_params params)
{
	struct nic *f = calloc(1, sizeof(*f));

	nic_make(f, params, sock_netif_create(kind, n_queues, offloads));
	return f;
}

static int setup(void **state)
{
	*state = make("tap", 1, NIC_ALL_OFFLOADS, (struct net_params){ 0 });
	return 0;
}

static int setup_mq(void **state)
{
	*state = make("tap", 4, NIC_ALL_OFFLOADS, (struct net_params){ 0 });
	return 0;
}

static int teardown(void **state)
{
	nic_done(*state);
	free(*state);
	return 0;
}

static struct virtio_net_config config(struct nic *f)
{
	struct virtio_net_config c;

	drv_read(&f->d, VIRTIO_MMIO_CONFIG, &c, sizeof(c));
	return c;
}

/* One frame out on transmit queue q, to the wire of `queue`. */
static void assert_sends(struct nic *f, unsigned q, unsigned queue, unsigned seed)
{
	uint32_t id, len;

	nic_fill(frame, 100, seed);
	nic_tx(f, q, NULL, frame, 100);
	drv_kick(&f->d, q);
	assert_true(drv_wait(&f->d, &f->loop, q, &id, &len));
	assert_int_equal(len, 0);
	assert_int_equal(sock_netif_get(f->s, queue, back, sizeof(back)), 112);
	assert_memory_equal(back + 12, frame, 100);
}

/* One frame in, from the wire of `queue`. The caller has posted a buffer of 64 KiB at NIC_RX. */
static void assert_receives(struct nic *f, unsigned q, unsigned queue, unsigned seed)
{
	uint32_t id, len;

	nic_fill(frame, 200, seed);
	nic_put(f, queue, NULL, frame, 200);
	assert_true(drv_wait(&f->d, &f->loop, q, &id, &len));
	assert_int_equal(len, 212);
	assert_int_equal(gmem_read(&f->mem, GPA(NIC_RX), back, 212), 0);
	assert_memory_equal(back + 12, frame, 200);
	assert_int_equal(num_get_le16(back + NET_HDR_BUFFERS), 1);
}

static void assert_works(struct nic *f, unsigned seed)
{
	assert_sends(f, 1, 0, seed);
	nic_post(f, 0, NIC_RX, NET_PACKET_MAX);
	assert_receives(f, 0, 0, seed);
}

static void offers_what_the_back_end_can_do(void **state)
{
	static const uint64_t always = VIRTIO_COMMON_FEATURES | NIC_F(MAC) | NIC_F(STATUS) |
		NIC_F(MRG_RXBUF) | NIC_F(CTRL_VQ) | NIC_F(CTRL_GUEST_OFFLOADS) |
		NIC_F(CTRL_MAC_ADDR);
	static const uint64_t csum = NIC_F(CSUM) | NIC_F(GUEST_CSUM);
	static const uint64_t tso = NIC_F(HOST_TSO4) | NIC_F(GUEST_TSO4) | NIC_F(HOST_TSO6) |
		NIC_F(GUEST_TSO6) | NIC_F(HOST_ECN) | NIC_F(GUEST_ECN);
	static const uint64_t uso = UINT64_C(7) << 54;
	static const struct {
		unsigned n_queues, offloads;
		uint16_t mtu;
		uint64_t more;
	} cases[] = {
		{ 1, 0, 0, 0 },
		{ 1, NETIF_CSUM, 0, csum },
		{ 1, NETIF_TSO4, 0, 0 }, /* worth nothing without the checksum */
		{ 1, NETIF_CSUM | NETIF_ECN, 0, csum },
		{ 1, NETIF_CSUM | NETIF_TSO4, 0, csum | NIC_F(HOST_TSO4) | NIC_F(GUEST_TSO4) },
		{ 1, NETIF_CSUM | NETIF_USO4, 0, csum }, /* only both */
		{ 1, NIC_ALL_OFFLOADS, 0, csum | tso | uso },
		{ 1, NIC_ALL_OFFLOADS & ~(NETIF_USO4 | NETIF_USO6), 0, csum | tso },
		{ 1, 0, 9000, NIC_F(MTU) },
		{ 2, 0, 0, NIC_F(MQ) },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nic *f = make("tap", cases[i].n_queues, cases[i].offloads,
			(struct net_params){ .mtu = cases[i].mtu });

		assert_int_equal(f->v->features, always | cases[i].more);
		assert_int_equal(f->v->n_queues, 2 * cases[i].n_queues + 1);
		assert_int_equal(config(f).mtu, cases[i].mtu);
		assert_int_equal(config(f).max_virtqueue_pairs, cases[i].n_queues);
		nic_done(f);
		free(f);
	}
}

static void a_macvtap_keeps_its_address(void **state)
{
	struct nic *f = make("macvtap", 1, 0, (struct net_params){ 0 });

	(void)state;
	assert_false(f->v->features & NIC_F(CTRL_MAC_ADDR));
	nic_done(f);
	free(f);
}

static void shows_its_configuration(void **state)
{
	struct nic *f = *state;
	struct virtio_net_config c = config(f);
	uint8_t one = 1;

	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_DEVICE_ID), 1);
	assert_memory_equal(c.mac, nic_mac, sizeof(nic_mac));
	assert_int_equal(c.status, VIRTIO_NET_S_LINK_UP);
	assert_int_equal(c.speed, 0); /* behind the end */
	assert_int_equal(drv_start(&f->d, ~0ull, 3, 64), 0xf);
	drv_write(&f->d, VIRTIO_MMIO_CONFIG, &one, 1);
	assert_int_equal(f->v->counters.bad_config, 1);
	c = config(f);
	assert_memory_equal(c.mac, nic_mac, sizeof(nic_mac));
}

static void tells_the_guest_of_the_link(void **state)
{
	struct nic *f = *state;
	const struct netif_events *e = &f->s->n.events;
	uint32_t generation;

	e->link(e->owner, false); /* nobody listens yet */
	assert_int_equal(config(f).status, 0);
	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	e->link(e->owner, true);
	assert_int_equal(drv_start(&f->d, ~0ull, 3, 64), 0xf);
	drv_poll(&f->loop);
	generation = drv_get(&f->d, VIRTIO_MMIO_CONFIG_GENERATION);
	e->link(e->owner, true); /* no news */
	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	e->link(e->owner, false);
	assert_int_equal(config(f).status, 0);
	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_CONFIG_GENERATION), generation + 1);
	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_ISR_CONFIG);
	assert_int_equal(f->c->link_changes, 3);
	/* Frames from the guest are the back end's matter; none come to the guest. */
	assert_sends(f, 1, 0, 1);
	nic_post(f, 0, NIC_RX, NET_PACKET_MAX);
	nic_put(f, 0, NULL, frame, 100);
	drv_poll(&f->loop);
	assert_int_equal(f->c->rx_dropped_link_down, 1);
	e->link(e->owner, true);
	assert_receives(f, 0, 0, 2);
}

static void the_link_may_go_while_we_receive(void **state)
{
	struct nic *f = *state;

	assert_int_equal(drv_start(&f->d, ~0ull, 3, 64), 0xf);
	nic_post(f, 0, NIC_RX, NET_PACKET_MAX);
	f->s->link_from_recv = true;
	nic_put(f, 0, NULL, frame, 100);
	drv_poll(&f->loop);
	assert_int_equal(config(f).status, 0);
	assert_int_equal(f->c->rx_dropped_link_down, 1);
}

static void the_run_begins_with_what_was_negotiated(void **state)
{
	struct nic *f = *state;
	static const struct {
		uint64_t acked;
		unsigned offloads;
	} cases[] = {
		{ 0, 0 },
		{ ~0ull, NIC_ALL_OFFLOADS },
		{ NIC_F(GUEST_CSUM), NETIF_CSUM },
		{ NIC_F(GUEST_TSO4), 0 },
		{ NIC_F(GUEST_CSUM) | NIC_F(GUEST_ECN), NETIF_CSUM },
		{ NIC_F(GUEST_CSUM) | NIC_F(GUEST_TSO6) | NIC_F(GUEST_ECN),
			NETIF_CSUM | NETIF_TSO6 | NETIF_ECN },
		{ NIC_F(GUEST_CSUM) | NIC_F(GUEST_USO4), NETIF_CSUM },
		{ NIC_F(GUEST_CSUM) | NIC_F(GUEST_USO4) | NIC_F(GUEST_USO6),
			NETIF_CSUM | NETIF_USO4 | NETIF_USO6 },
		{ NIC_F(CSUM) | NIC_F(HOST_TSO4), 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(drv_start(&f->d, cases[i].acked, 3, 64), 0xf);
		assert_int_equal(f->s->calls, i); /* not on the vCPU's thread */
		drv_poll(&f->loop);
		assert_int_equal(f->s->calls, i + 1); /* once, whatever the number of kicks */
		assert_int_equal(f->s->offloads, cases[i].offloads);
		drv_reset(&f->d);
	}
}

static void a_back_end_that_refuses_fails_the_device(void **state)
{
	struct nic *f = *state;

	f->s->refuse = -EINVAL;
	drv_start(&f->d, ~0ull, 3, 64);
	drv_poll(&f->loop);
	assert_int_equal(drv_status(&f->d), 0x4f);
	f->s->refuse = 0;
	drv_reset(&f->d);
	assert_int_equal(drv_start(&f->d, ~0ull, 3, 64), 0xf);
	assert_works(f, 1);
}

/* 5.1.2: without MQ the control queue is queue 2. */
static void a_driver_without_mq_has_another_control_queue(void **state)
{
	struct nic *f = *state;
	const uint8_t command[] = { VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, 2, 1, 2, 3,
		4, 5 };
	uint32_t len;

	assert_int_equal(drv_start(&f->d, ~NIC_F(MQ), 9, 64), 0xf);
	drv_poll(&f->loop);
	assert_int_equal(f->s->n_active, 1);
	assert_int_equal(nic_ctrl(f, 2, command, sizeof(command), &len), VIRTIO_NET_OK);
	assert_works(f, 1);
	assert_int_equal(nic_ctrl(f, 8, command, sizeof(command), &len), -1); /* nobody's queue */
	assert_int_equal(drv_status(&f->d), 0xf);

	drv_reset(&f->d);
	assert_int_equal(drv_start(&f->d, ~0ull, 9, 64), 0xf);
	drv_poll(&f->loop);
	assert_int_equal(nic_ctrl(f, 8, command, sizeof(command), &len), VIRTIO_NET_OK);
	assert_int_equal(f->c->ctrl_commands, 2);
	assert_works(f, 2);

	drv_reset(&f->d); /* MQ is nothing without a control queue to switch the pairs with */
	assert_int_equal(drv_start(&f->d, NIC_F(MQ), 9, 64), 0xf);
	assert_works(f, 3);
	assert_int_equal(nic_ctrl(f, 2, command, sizeof(command), &len), -1);
	assert_int_equal(nic_ctrl(f, 8, command, sizeof(command), &len), -1);
}

static void pairs_work_when_they_are_switched_on(void **state)
{
	struct nic *f = *state;
	uint8_t command[] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 4, 0 };
	uint32_t id, len;

	assert_int_equal(drv_start(&f->d, ~0ull, 9, 64), 0xf);
	for (unsigned pair = 0; pair < 4; pair++)
		nic_post(f, 2 * pair, NIC_RX, NET_PACKET_MAX);
	nic_fill(frame, 200, 9);
	nic_put(f, 3, NULL, frame, 200); /* it waits */
	drv_poll(&f->loop);
	assert_false(drv_used(&f->d, 6, &id, &len));
	assert_sends(f, 7, 0, 1); /* through the first queue */
	assert_int_equal(nic_ctrl(f, 8, command, sizeof(command), &len), VIRTIO_NET_OK);
	assert_int_equal(f->s->n_active, 4);
	assert_true(drv_wait(&f->d, &f->loop, 6, &id, &len));
	assert_int_equal(len, 212);
	for (unsigned pair = 0; pair < 4; pair++) {
		assert_sends(f, 2 * pair + 1, pair, pair);
		if (pair == 3)
			nic_post(f, 6, NIC_RX, NET_PACKET_MAX);
		assert_receives(f, 2 * pair, pair, pair + 10);
	}
	command[2] = 2;
	assert_int_equal(nic_ctrl(f, 8, command, sizeof(command), &len), VIRTIO_NET_OK);
	assert_sends(f, 3, 1, 5);
	assert_sends(f, 5, 0, 6);
	drv_reset(&f->d);
	assert_int_equal(drv_start(&f->d, ~0ull, 9, 64), 0xf);
	drv_poll(&f->loop);
	assert_int_equal(f->s->n_active, 1);
	assert_int_equal(nic_drops(f), 0);
}

static void reset_negotiate_io_any_number_of_times(void **state)
{
	struct nic *f = *state;

	for (unsigned round = 0; round < 8; round++) {
		assert_int_equal(drv_start(&f->d, round % 2 ? ~0ull : 0, 3, 64), 0xf);
		assert_works(f, round);
		drv_reset(&f->d);
	}
	assert_int_equal(nic_drops(f), 0);
}

/* -- with a loop thread of its own ------------------------------------------------------------ */

struct runner {
	struct nic *f;
	struct loop_src src;
	pthread_t thread;
	int pipefd[2];
};

static void on_quit(struct loop_src *src, uint32_t events)
{
	(void)events;
	loop_quit(&container_of(src, struct runner, src)->f->loop);
}

static void *run_loop(void *arg)
{
	loop_run(&((struct runner *)arg)->f->loop);
	return NULL;
}

static void *flood(void *arg)
{
	struct nic *f = arg;
	uint8_t packet[112] = { 0 };

	while (write(f->s->wires[0], packet, sizeof(packet)) > 0) /* which may be cancelled */
		;
	return NULL;
}

/* The vCPU (this thread) resets while the loop thread is busy with frames both ways. */
static void reset_under_load(void **state)
{
	struct nic *f = *state;
	struct runner r = { .f = f, .src = { on_quit, "quit", -1 } };
	pthread_t flooder;
	uint64_t received = 0, sent = 0;

	assert_int_equal(pipe(r.pipefd), 0);
	assert_int_equal(loop_add(&f->loop, &r.src, r.pipefd[0], EPOLLIN), 0);
	assert_int_equal(pthread_create(&r.thread, NULL, run_loop, &r), 0);
	assert_int_equal(pthread_create(&flooder, NULL, flood, f), 0);
	nic_fill(frame, 100, 1);
	for (unsigned round = 0; round < 100; round++) {
		uint64_t end = loop_now_ns() + 10 * NSEC_PER_SEC;
		uint32_t id, len;

		assert_int_equal(drv_start(&f->d, round % 2 ? ~0ull : 0, 3, 256), 0xf);
		for (unsigned i = 0; i < 60; i++)
			nic_post(f, 0, NIC_RX + i * 2048, 2048);
		drv_kick(&f->d, 0);
		for (unsigned i = 0; i < 60; i++) {
			nic_tx(f, 1, NULL, frame, 100);
			drv_kick(&f->d, 1);
		}
		while (!drv_used(&f->d, round % 4 < 2, &id, &len))
			assert_true(loop_now_ns() < end);
		while (sock_netif_get(f->s, 0, back, sizeof(back)) > 0)
			sent++;
		while (drv_used(&f->d, 0, &id, &len))
			received++;
		drv_reset(&f->d);
		assert_int_equal(drv_status(&f->d), 0);
	}
	assert_true(received > 0 && sent > 0);
	pthread_cancel(flooder);
	pthread_join(flooder, NULL);
	assert_int_equal(write(r.pipefd[1], "q", 1), 1);
	pthread_join(r.thread, NULL);
	loop_del(&f->loop, &r.src);
	close(r.pipefd[0]);
	close(r.pipefd[1]);
}

static void creation_says_what_is_wrong_and_leaves_the_back_end(void **state)
{
	struct net_params p = { .id = "eth0" };
	struct sock_netif *s = sock_netif_create("tap", 1, 0);
	struct volt_err err = { 0 };
	struct virtio_dev *v;
	int fd = s->n.fds[0];
	struct loop loop;

	(void)state;
	assert_int_equal(loop_init(&loop, NULL), 0);
	s->n.fds[0] = 1000000; /* no descriptor */
	assert_int_equal(net_create(&p, &s->n, NULL, &loop, &v, &err), -EBADF);
	assert_non_null(strstr(err.msg, "interface 'eth0': watch the tap: "));
	s->n.fds[0] = fd;
	netif_destroy(&s->n);
	loop_done(&loop);
}

int main(void)
{
#define T(fn, how) cmocka_unit_test_setup_teardown(fn, how, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offers_what_the_back_end_can_do),
		cmocka_unit_test(a_macvtap_keeps_its_address),
		cmocka_unit_test(creation_says_what_is_wrong_and_leaves_the_back_end),
		T(shows_its_configuration, setup),
		T(tells_the_guest_of_the_link, setup),
		T(the_link_may_go_while_we_receive, setup),
		T(the_run_begins_with_what_was_negotiated, setup),
		T(a_back_end_that_refuses_fails_the_device, setup),
		T(a_driver_without_mq_has_another_control_queue, setup_mq),
		T(pairs_work_when_they_are_switched_on, setup_mq),
		T(reset_negotiate_io_any_number_of_times, setup),
		T(reset_under_load, setup),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
