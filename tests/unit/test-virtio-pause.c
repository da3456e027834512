/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices that stand still and go on (virtio_pause(), virtio_resume()), one of each kind: while
 * they are paused they take nothing from the guest and nothing from the host, and afterwards
 * nothing is missing, without a kick and without a new event.
 */
#include "test.h"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "blk.h"
#include "dev.h"
#include "drv.h"
#include "log.h"
#include "loop.h"
#include "nic.h"
#include "num.h"
#include "rng.h"
#include "vmmio.h"
#include "vsock-guest.h"
#include "vsock-mux.h"

#define HDR    0x200000ull
#define DATA   0x210000ull
#define STATUS 0x2f0000ull
#define PORT   52u

static uint64_t soon(void)
{
	return loop_now_ns() + 10 * NSEC_PER_SEC;
}

/* -- disk and entropy ------------------------------------------------------------------------ */

struct fixture {
	struct gmem mem;
	struct loop loop;
	struct virtio_dev *v;
	struct vmmio *m;
	struct drv d;
};

static void *setup(struct fixture *f, struct virtio_dev *v)
{
	struct vmmio_env env = { .mem = &f->mem, .loop = &f->loop, .vmfd = -1, .base = 0xc0001000 };

	f->v = v;
	assert_int_equal(gmem_map(&f->mem, 4 * MIB, NULL), 0);
	assert_int_equal(vmmio_create(v, &env, &f->m, NULL), 0);
	drv_init(&f->d, &f->mem, vmmio_dev(f->m), 0x10000);
	assert_int_equal(drv_start(&f->d, VIRTIO_COMMON_FEATURES, 1, v->ops->queue_max),
		0xf);
	drv_poll(&f->loop);
	return f;
}

static int setup_disk(void **state, bool uring)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct blk_params p = { .id = "disk", .n_queues = 1 };
	int fd = memfd_create("blk", MFD_CLOEXEC);
	struct virtio_dev *v;

	assert_int_equal(ftruncate(fd, MIB), 0);
	assert_int_equal(loop_init(&f->loop, NULL), 0);
	assert_int_equal(blk_create(&p, fd, uring, &f->loop, &v, NULL), 0);
	*state = setup(f, v);
	return 0;
}

static int setup_sync(void **state)
{
	return setup_disk(state, false);
}

static int setup_uring(void **state)
{
	return setup_disk(state, true);
}

static int setup_rng(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct virtio_dev *v;

	assert_int_equal(loop_init(&f->loop, NULL), 0);
	assert_int_equal(rng_create(&(struct limiter_params){ 0 }, &f->loop, &v, NULL), 0);
	*state = setup(f, v);
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

static void read_request(struct fixture *f)
{
	uint8_t raw[16] = { 0 };

	num_put_le32(raw, VIRTIO_BLK_T_IN);
	assert_int_equal(gmem_write(&f->mem, GPA(HDR), raw, sizeof(raw)), 0);
	drv_add(&f->d, 0,
		(struct drv_buf[]){
			{ HDR, 16, false }, { DATA, 4096, true }, { STATUS, 1, true } },
		3);
}

static unsigned answers(struct fixture *f)
{
	uint32_t id, len;
	unsigned n = 0;

	drv_poll(&f->loop);
	while (drv_used(&f->d, 0, &id, &len))
		n++;
	return n;
}

static void disk_finishes_what_it_took_and_takes_no_more(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 80; i++)
		read_request(f);
	virtio_lock(f->v);
	virtio_kick(f->v, 0); /* takes VIRTIO_BATCH of them */
	virtio_unlock(f->v);
	assert_int_equal(virtio_pause(f->v, soon()), 0);
	assert_int_equal(f->v->inflight, 0);
	drv_kick(&f->d, 0);
	assert_int_equal(answers(f), VIRTIO_BATCH);
	virtio_resume(f->v);
	for (uint64_t end = soon(); f->d.q[0].used_idx < 80 && loop_now_ns() < end;)
		answers(f);
	assert_int_equal(f->d.q[0].used_idx, 80);
	assert_int_equal(blk_counters(f->v)->reads, 80);
}

static void pausing_and_resuming_twice_is_the_same(void **state)
{
	struct fixture *f = *state;

	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(virtio_pause(f->v, soon()), 0);
		assert_int_equal(virtio_pause(f->v, soon()), 0);
		drv_add(&f->d, 0, &(struct drv_buf){ DATA, 64, true }, 1);
		drv_kick(&f->d, 0);
		assert_int_equal(answers(f), 0);
		virtio_resume(f->v);
		virtio_resume(f->v);
		assert_int_equal(answers(f), 1);
	}
}

static void survives_a_reset_while_it_is_paused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(virtio_pause(f->v, soon()), 0);
	drv_reset(&f->d);
	assert_int_equal(drv_start(&f->d, VIRTIO_COMMON_FEATURES, 1, 64), 0xf);
	drv_add(&f->d, 0, &(struct drv_buf){ DATA, 64, true }, 1);
	assert_int_equal(answers(f), 0);
	virtio_resume(f->v);
	assert_int_equal(answers(f), 1);
}

/* Work that may wait for a guest does not go on, and the configuration is there as ever. */
static void change_of_the_configuration_is_told_at_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(virtio_pause(f->v, soon()), 0);
	virtio_lock(f->v);
	assert_false(virtio_running(f->v));
	assert_true(virtio_alive(f->v));
	virtio_config_changed(f->v);
	virtio_unlock(f->v);
	assert_int_equal(virtio_isr(f->v) & VIRTIO_ISR_CONFIG, VIRTIO_ISR_CONFIG);
	virtio_resume(f->v);
}

/* -- network --------------------------------------------------------------------------------- */

static int setup_nic(void **state)
{
	struct nic *f = calloc(1, sizeof(*f));

	nic_make(f, (struct net_params){ 0 }, sock_netif_create("tap", 1, 0));
	assert_int_equal(drv_start(&f->d, VIRTIO_COMMON_FEATURES, 2, 256), 0xf);
	drv_poll(&f->loop);
	*state = f;
	return 0;
}

static int teardown_nic(void **state)
{
	nic_done(*state);
	free(*state);
	return 0;
}

static unsigned used(struct nic *f, unsigned q)
{
	uint32_t id, len;
	unsigned n = 0;

	drv_poll(&f->loop);
	while (drv_used(&f->d, q, &id, &len))
		n++;
	return n;
}

static void network_loses_no_frame(void **state)
{
	struct nic *f = *state;
	uint8_t frame[100], got[200];

	nic_fill(frame, sizeof(frame), 1);
	nic_post_many(f, 0, 64, 1600);
	drv_kick(&f->d, 0);
	nic_put(f, 0, NULL, frame, sizeof(frame));
	assert_int_equal(used(f, 0), 1);
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(virtio_pause(f->v, soon()), 0);
		for (unsigned i = 0; i < 5; i++)
			nic_put(f, 0, NULL, frame, sizeof(frame));
		for (unsigned i = 0; i < 5; i++)
			nic_tx(f, 1, NULL, frame, sizeof(frame));
		drv_kick(&f->d, 1);
		assert_int_equal(used(f, 0), 0);
		assert_int_equal(used(f, 1), 0);
		assert_int_equal(sock_netif_get(f->s, 0, got, sizeof(got)), -1);
		virtio_resume(f->v);
		assert_int_equal(used(f, 0), 5);
		assert_int_equal(used(f, 1), 5);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(sock_netif_get(f->s, 0, got, sizeof(got)),
				NETIF_HEADER_BYTES + sizeof(frame));
	}
	assert_int_equal(nic_drops(f), 0);
}

/* -- vsock ----------------------------------------------------------------------------------- */

static int setup_vsock(void **state)
{
	struct vg *g = calloc(1, sizeof(*g));

	vg_open(g, VIRTIO_COMMON_FEATURES, 64, VG_RX_BYTES);
	*state = g;
	return 0;
}

static int teardown_vsock(void **state)
{
	vg_close(*state);
	free(*state);
	return 0;
}

static struct vg_packet packet;

static bool packet_comes(struct vg *g)
{
	drv_poll(&g->loop);
	return vg_take(g, &packet);
}

static void connection_goes_on_where_it_stood(void **state)
{
	struct vg *g = *state;
	struct vg_conn c = { .alloc = 256 * 1024 };
	int fd = vg_answer(g, &c, PORT), late;
	char got[16];
	bool end;

	assert_int_equal(virtio_pause(g->v, soon()), 0);
	assert_int_equal(send(fd, "hello", 5, MSG_NOSIGNAL), 5);
	late = vg_host_connect(g);
	assert_int_equal(send(late, "CONNECT 52\n", 11, MSG_NOSIGNAL), 11);
	assert_false(packet_comes(g));
	virtio_resume(g->v);
	for (unsigned i = 0; i < 2; i++) { /* in either order */
		assert_true(vg_wait(g, &packet));
		if (packet.h.op == VIRTIO_VSOCK_OP_RW)
			assert_memory_equal(packet.data, "hello", 5);
		else
			assert_int_equal(packet.h.op, VIRTIO_VSOCK_OP_REQUEST);
	}
	vg_send(g, &c, VIRTIO_VSOCK_OP_RW, 0, "again", 5);
	assert_int_equal(vg_host_expect(g, fd, got, 5, &end), 5);
	assert_memory_equal(got, "again", 5);
	close(late);
	close(fd);
}

static void closed_meanwhile_is_told_afterwards(void **state)
{
	struct vg *g = *state;
	struct vg_conn c = { .alloc = 256 * 1024 };
	int fd = vg_answer(g, &c, PORT);

	assert_int_equal(virtio_pause(g->v, soon()), 0);
	close(fd);
	assert_false(packet_comes(g));
	virtio_resume(g->v);
	assert_true(vg_wait(g, &packet));
	assert_int_equal(packet.h.op, VIRTIO_VSOCK_OP_SHUTDOWN);
}

/* What the guest must answer in a certain time it need not answer while it stands still. */
static void no_time_passes(void **state)
{
	struct vg *g = *state;
	struct vsock *s = container_of(g->v, struct vsock, v);
	int fd = vg_host_connect(g);
	uint64_t before;

	assert_int_equal(send(fd, "CONNECT 52\n", 11, MSG_NOSIGNAL), 11);
	assert_true(vg_wait(g, &packet));
	before = s->conns[0].deadline_ns;
	assert_int_equal(virtio_pause(g->v, soon()), 0);
	s->paused_ns -= 100 * NSEC_PER_SEC; /* as if it had been that long */
	virtio_resume(g->v);
	assert_true(s->conns[0].deadline_ns >= before + 100 * NSEC_PER_SEC);
	assert_false(packet_comes(g));
	close(fd);
}

static void *reset_driver(void *arg)
{
	struct vg *g = arg;

	drv_reset(&g->d);
	return NULL;
}

/* A vCPU that resets a paused device is not left waiting for a loop that does not turn. */
static void reset_of_a_paused_device_needs_no_loop(void **state)
{
	struct vg *g = *state;
	struct vg_conn c = { .alloc = 256 * 1024 };
	int fd = vg_answer(g, &c, PORT);
	uint64_t end = soon();
	pthread_t vcpu;

	assert_int_equal(virtio_pause(g->v, soon()), 0);
	assert_int_equal(pthread_create(&vcpu, NULL, reset_driver, g), 0);
	while (pthread_tryjoin_np(vcpu, NULL) != 0) {
		assert_true(loop_now_ns() < end);
		virtio_settle(g->v);
	}
	assert_int_equal(g->v->inflight, 0);
	virtio_resume(g->v);
	vg_start(g, VIRTIO_COMMON_FEATURES, 64, VG_RX_BYTES);
	close(fd);
	close(vg_answer(g, &c, PORT));
}

int main(void)
{
#define T(fn, how) { #fn "/" #how, fn, setup_##how, teardown, NULL }
	const struct CMUnitTest tests[] = {
		T(disk_finishes_what_it_took_and_takes_no_more, sync),
		T(disk_finishes_what_it_took_and_takes_no_more, uring),
		T(pausing_and_resuming_twice_is_the_same, rng),
		T(survives_a_reset_while_it_is_paused, rng),
		T(change_of_the_configuration_is_told_at_once, rng),
		cmocka_unit_test_setup_teardown(network_loses_no_frame, setup_nic, teardown_nic),
#define V(fn) cmocka_unit_test_setup_teardown(fn, setup_vsock, teardown_vsock)
		V(connection_goes_on_where_it_stood),
		V(closed_meanwhile_is_told_afterwards),
		V(no_time_passes),
		V(reset_of_a_paused_device_needs_no_loop),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("virtio-pause", tests, NULL, NULL);
}
