/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio devices that are saved in the middle of work, and loaded into new ones: the driver, which
 * knows nothing of it, goes on, and nothing is missing. Then what a file must not say.
 */
#include "test.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_mem.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pmem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "balloon.h"
#include "blk.h"
#include "console-port.h"
#include "fake-kvm.h"
#include "log.h"
#include "loop.h"
#include "nic.h"
#include "num.h"
#include "pmem.h"
#include "rng.h"
#include "state-sample.h"
#include "state.h"
#include "vcon.h"
#include "vmem.h"
#include "vmmio.h"
#include "vsock-guest.h"
#include "vsock-mux.h"
#include "vsock.h"

#define REQ    0x200000ull
#define DATA   0x210000ull
#define STATUS 0x2f0000ull
#define PMEM   (512 * GIB)
#define BLOCK  (2 * MIB)

struct rig {
	struct gmem mem;
	struct loop loop;
	struct virtio_dev *v;
	struct vmmio *m;
	struct drv d;
	int fd; /* of the disk's file */
	bool uring;
	struct virtio_dev *(*make)(struct rig *r);
};

static uint64_t soon(void)
{
	return loop_now_ns() + 10 * NSEC_PER_SEC;
}

static void attach(struct rig *r)
{
	struct vmmio_env env = { .mem = &r->mem, .loop = &r->loop, .vmfd = -1, .base = 0xc0001000 };

	r->v = r->make(r);
	assert_int_equal(vmmio_create(r->v, &env, &r->m, NULL), 0);
}

static void save(struct vmmio *m, struct state **ret, const void **ret_data, size_t *ret_len)
{
	assert_int_equal(state_new(ret), 0);
	vmmio_state(m, *ret, 0);
	assert_int_equal(state_finish(*ret, ret_data, ret_len, NULL), 0);
}

static int load(struct vmmio *m, const void *data, size_t len, struct volt_err *err)
{
	struct state *s;
	int r = state_read(data, len, STATE_LOAD, &s, err);

	assert_int_equal(r, 0);
	vmmio_state(m, s, 0);
	state_done(s);
	r = state_error(s, err);
	state_free(s);
	return r;
}

/* From m into a new device, which says the same. */
static void move_to(struct vmmio *from, struct vmmio *to)
{
	struct volt_err err = { 0 };
	const void *data, *again;
	struct state *s, *t;
	size_t len, len_again;

	assert_int_equal(virtio_pause(vmmio_virtio(from), soon()), 0);
	assert_int_equal(virtio_pause(vmmio_virtio(to), soon()), 0);
	save(from, &s, &data, &len);
	if (load(to, data, len, &err) < 0)
		fail_msg("%s", err.msg);
	save(to, &t, &again, &len_again);
	assert_int_equal(len, len_again);
	assert_memory_equal(data, again, len);
	state_free(s);
	state_free(t);
}

/* The device goes on as another one. */
static void move(struct rig *r)
{
	struct vmmio *old = r->m;

	attach(r);
	move_to(old, r->m);
	vmmio_destroy(old);
	r->d.dev = vmmio_dev(r->m);
	assert_int_equal(drv_get(&r->d, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_ISR_CONFIG, 0);
	virtio_resume(r->v);
	assert_int_equal(
		drv_get(&r->d, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_ISR_USED, VIRTIO_ISR_USED);
}

static void start(struct rig *r, uint64_t features, unsigned n_queues, uint16_t size)
{
	assert_int_equal(loop_init(&r->loop, NULL), 0);
	attach(r);
	drv_init(&r->d, &r->mem, vmmio_dev(r->m), 0x10000);
	assert_int_equal(drv_start(&r->d, features, n_queues, size), 0xf);
	drv_poll(&r->loop);
}

static void *new_rig(struct virtio_dev *(*make)(struct rig *r))
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_int_equal(gmem_map(&r->mem, 4 * MIB, NULL), 0);
	r->make = make;
	r->fd = -1;
	return r;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	vmmio_destroy(r->m);
	loop_done(&r->loop);
	gmem_unmap(&r->mem);
	if (r->fd >= 0)
		close(r->fd);
	free(r);
	return 0;
}

static unsigned answers(struct rig *r, unsigned q)
{
	uint32_t id, len;
	unsigned n = 0;

	drv_poll(&r->loop);
	while (drv_used(&r->d, q, &id, &len))
		n++;
	return n;
}

/* -- disk ------------------------------------------------------------------------------------ */

static struct virtio_dev *make_blk(struct rig *r)
{
	struct blk_params p = { .id = "disk", .n_queues = 1 };
	struct virtio_dev *v;

	assert_int_equal(blk_create(&p, dup(r->fd), r->uring, &r->loop, &v, NULL), 0);
	return v;
}

static int setup_blk(void **state, bool uring, uint64_t features)
{
	struct rig *r = *state = new_rig(make_blk);

	r->uring = uring;
	r->fd = memfd_create("blk", MFD_CLOEXEC);
	assert_int_equal(ftruncate(r->fd, MIB), 0);
	start(r, features, 1, 256);
	return 0;
}

static int setup_sync(void **state)
{
	return setup_blk(state, false, VIRTIO_COMMON_FEATURES);
}

static int setup_uring(void **state)
{
	return setup_blk(state, true, VIRTIO_COMMON_FEATURES);
}

static int setup_plain(void **state)
{
	return setup_blk(state, false, VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE));
}

static void read_request(struct rig *r)
{
	uint8_t raw[16] = { 0 };

	num_put_le32(raw, VIRTIO_BLK_T_IN);
	assert_int_equal(gmem_write(&r->mem, GPA(REQ), raw, sizeof(raw)), 0);
	drv_add(&r->d, 0,
		(struct drv_buf[]){ { REQ, 16, false }, { DATA, 4096, true }, { STATUS, 1, true } },
		3);
}

static void a_disk_goes_on_with_what_is_waiting(void **state)
{
	struct rig *r = *state;

	for (unsigned i = 0; i < 80; i++)
		read_request(r);
	virtio_lock(r->v);
	virtio_kick(r->v, 0); /* takes VIRTIO_BATCH of them */
	virtio_unlock(r->v);
	move(r);
	for (uint64_t end = soon(); r->d.q[0].used_idx < 80 && loop_now_ns() < end;)
		answers(r, 0);
	assert_int_equal(r->d.q[0].used_idx, 80);
	assert_true(blk_counters(r->v)->reads < 80);
	for (unsigned i = 0; i < 3; i++) {
		move(r);
		read_request(r);
		drv_kick(&r->d, 0);
		for (uint64_t end = soon(); answers(r, 0) == 0 && loop_now_ns() < end;)
			;
		assert_int_equal(r->d.q[0].used_idx, 81 + i);
	}
	assert_int_equal(drv_status(&r->d), 0xf);
}

/* NO_NOTIFY, which the old device has set in the ring, must not silence the driver for ever. */
static void a_disk_without_event_idx_asks_for_kicks_again(void **state)
{
	struct rig *r = *state;
	uint8_t off = 0;

	drv_write(&r->d, VIRTIO_MMIO_CONFIG + offsetof(struct virtio_blk_config, wce), &off, 1);
	virtio_lock(r->v);
	virtq_kicks_off(&r->v->queues[0]);
	virtio_unlock(r->v);
	assert_int_equal(drv_get16(&r->d, r->d.q[0].used) & 1, 1);
	move(r);
	answers(r, 0);
	assert_int_equal(drv_get16(&r->d, r->d.q[0].used) & 1, 0);
	drv_read(&r->d, VIRTIO_MMIO_CONFIG + offsetof(struct virtio_blk_config, wce), &off, 1);
	assert_int_equal(off, 0);
}

static void a_driver_that_has_not_begun_begins(void **state)
{
	struct rig *r = *state;

	drv_reset(&r->d);
	drv_set(&r->d, VIRTIO_MMIO_STATUS, 3);
	struct vmmio *old = r->m;

	attach(r);
	move_to(old, r->m);
	vmmio_destroy(old);
	r->d.dev = vmmio_dev(r->m);
	virtio_resume(r->v);
	assert_int_equal(drv_status(&r->d), 3);
	assert_int_equal(drv_get(&r->d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	assert_int_equal(drv_start(&r->d, VIRTIO_COMMON_FEATURES, 1, 64), 0xf);
	read_request(r);
	drv_kick(&r->d, 0);
	for (uint64_t end = soon(); answers(r, 0) == 0 && loop_now_ns() < end;)
		;
	assert_int_equal(r->d.q[0].used_idx, 1);
}

static void a_failed_device_stays_failed_until_its_reset(void **state)
{
	struct rig *r = *state;
	struct vmmio *old = r->m;

	virtio_lock(r->v);
	virtio_fail(r->v, "a test");
	virtio_unlock(r->v);
	attach(r);
	move_to(old, r->m);
	vmmio_destroy(old);
	r->d.dev = vmmio_dev(r->m);
	virtio_resume(r->v);
	assert_int_equal(drv_status(&r->d), 0x4f);
	assert_false(r->v->queues[0].live);
	drv_reset(&r->d);
	assert_int_equal(drv_start(&r->d, VIRTIO_COMMON_FEATURES, 1, 64), 0xf);
}

/* -- hostile files --------------------------------------------------------------------------- */

/* Where the value of a field is in a file with one section that has it. */
static uint8_t *field(uint8_t *p, size_t len, const char *name)
{
	uint8_t *at = p;

	/* The length of a name is five bytes before it. */
	do
		at = memmem(at + 1, len - (size_t)(at + 1 - p), name, strlen(name));
	while (at && at[-5] != strlen(name));
	assert_non_null(at);
	return at + strlen(name);
}

static void refused(
	struct rig *r, const char *name, uint64_t value, unsigned bytes, const char *text)
{
	struct vmmio *old = r->m;
	struct volt_err err = { 0 };
	const void *data;
	struct state *s;
	uint8_t *file;
	size_t len;

	assert_int_equal(virtio_pause(r->v, soon()), 0);
	save(old, &s, &data, &len);
	file = malloc(len);
	memcpy(file, data, len);
	memcpy(field(file, len, name), &value, bytes);
	sample_repair(file, len);
	attach(r);
	assert_int_equal(virtio_pause(r->v, soon()), 0);
	assert_int_equal(load(r->m, file, len, &err), -EBADMSG);
	if (strcmp(err.msg, text) != 0)
		fail_msg("%s", err.msg);
	vmmio_destroy(r->m);
	r->m = old;
	r->v = vmmio_virtio(old);
	free(file);
	state_free(s);
}

static void hostile_state_is_refused(void **state)
{
	struct rig *r = *state;

	refused(r, "desc", 4 * MIB, 8,
		"virtio-mmio 0: queue: 0 is not in guest memory, or of no possible size");
	refused(r, "avail", r->d.q[0].avail + 1, 8,
		"virtio-mmio 0: queue: 0 is not in guest memory, or of no possible size");
	refused(r, "size", 255, 2,
		"virtio-mmio 0: queue: 0 is not in guest memory, or of no possible size");
	refused(r, "size", 1024, 2, "virtio-mmio 0: size: is 1024, more than 256");
	refused(r, "next-avail", 9, 2, "virtio-mmio 0: next-used: 9 requests are in flight");
	refused(r, "status", 6, 8, "virtio-mmio 0: status: 0x6 is none that a device can have");
	refused(r, "acked", UINT64_C(1) << 62 | UINT64_C(1) << 32, 8,
		"virtio-mmio 0: acked: 0x4000000100000000: this device does not have the features "
		"0x4000000000000000");
	refused(r, "isr", 4, 8, "virtio-mmio 0: isr: is 4, more than 3");
	refused(r, "queues", 2, 8,
		"virtio-mmio 0: queues: is 2 in the file, and this machine's is 1");
	refused(r, "capacity", 7, 8,
		"virtio-blk 0: capacity: is 7 in the file, and this machine's is 2048");
	refused(r, "wce", 2, 8, "virtio-blk 0: wce: is 2, more than 1");
	read_request(r);
	drv_kick(&r->d, 0);
	virtio_resume(r->v);
	for (uint64_t end = soon(); answers(r, 0) == 0 && loop_now_ns() < end;)
		;
	assert_int_equal(r->d.q[0].used_idx, 1);
}

/* -- entropy, console ------------------------------------------------------------------------ */

static struct virtio_dev *make_rng(struct rig *r)
{
	struct limiter_params limit = { .bandwidth = { 1000, 1000000, 0 } };
	struct virtio_dev *v;

	assert_int_equal(rng_create(&limit, &r->loop, &v, NULL), 0);
	return v;
}

static int setup_rng(void **state)
{
	start(*state = new_rig(make_rng), VIRTIO_COMMON_FEATURES, 1, 64);
	return 0;
}

static void a_rate_limit_is_no_larger_afterwards(void **state)
{
	struct rig *r = *state;

	drv_add(&r->d, 0, &(struct drv_buf){ DATA, 900, true }, 1);
	drv_kick(&r->d, 0);
	assert_int_equal(answers(r, 0), 1);
	drv_add(&r->d, 0, &(struct drv_buf){ DATA, 100, true }, 1);
	drv_add(&r->d, 0, &(struct drv_buf){ DATA, 100, true }, 1);
	move(r);
	assert_int_equal(answers(r, 0), 1); /* the second needs 100 s */
	assert_int_equal(rng_counters(r->v)->throttled, 1);
}

static struct virtio_dev *make_vcon(struct rig *r)
{
	struct virtio_dev *v;

	(void)r;
	assert_int_equal(vcon_create(true, &v, NULL), 0);
	return v;
}

static int setup_vcon(void **state)
{
	start(*state = new_rig(make_vcon), VIRTIO_COMMON_FEATURES, 2, 64);
	return 0;
}

static void a_console_takes_both_ways(void **state)
{
	struct rig *r = *state;
	struct console_port *port;
	char text[8] = "";

	drv_add(&r->d, 0, &(struct drv_buf){ DATA, 16, true }, 1);
	assert_int_equal(gmem_write(&r->mem, GPA(REQ), "out", 3), 0);
	drv_add(&r->d, 1, &(struct drv_buf){ REQ, 3, false }, 1); /* and no kick */
	move(r);
	assert_int_equal(answers(r, 1), 1);
	port = vcon_port(r->v);
	assert_int_equal(port->ops->tx(port, text, sizeof(text)), 3);
	assert_string_equal(text, "out");
	assert_int_equal(port->ops->rx(port, "in", 2), 2);
	assert_int_equal(answers(r, 0), 1);
}

/* -- balloon --------------------------------------------------------------------------------- */

static struct virtio_dev *make_balloon(struct rig *r)
{
	const struct balloon_params p = { .amount_mib = 1, .stats_interval_s = 1, .hinting = true };
	struct virtio_dev *v;

	assert_int_equal(balloon_create(&p, &r->loop, &v, NULL), 0);
	return v;
}

static int setup_balloon(void **state)
{
	start(*state = new_rig(make_balloon), ~UINT64_C(0), 4, 64);
	return 0;
}

static void a_balloon_keeps_its_target_and_asks_for_statistics(void **state)
{
	struct rig *r = *state;
	struct balloon_params p;
	struct balloon_stats stats;
	uint8_t raw[10] = { VIRTIO_BALLOON_S_MEMFREE, 0, 77 };
	uint32_t actual = 9, id, len;
	uint16_t head;

	assert_int_equal(balloon_set_target(r->v, 3), 0);
	drv_write(&r->d, VIRTIO_MMIO_CONFIG + 4, &actual, 4);
	assert_int_equal(gmem_write(&r->mem, GPA(REQ), raw, sizeof(raw)), 0);
	head = drv_add(&r->d, 2, &(struct drv_buf){ REQ, sizeof(raw), false }, 1);
	drv_kick(&r->d, 2);
	assert_int_equal(answers(r, 2), 0); /* it is held */
	drv_set(&r->d, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	move(r);
	assert_int_equal(answers(r, 2), 0); /* and still is */
	move(r);
	assert_int_equal(balloon_read_stats(r->v, &stats), 0);
	assert_int_equal(stats.values[VIRTIO_BALLOON_S_MEMFREE], 77);
	assert_int_equal(stats.actual_pages, 9);
	balloon_read_params(r->v, &p);
	assert_int_equal(p.amount_mib, 3);
	assert_true(drv_wait(&r->d, &r->loop, 2, &id, &len)); /* the timer asks for new ones */
	assert_int_equal(id, head);
}

/* -- memory ---------------------------------------------------------------------------------- */

static struct virtio_dev *make_pmem(struct rig *r)
{
	const struct pmem_params p = { .id = "root",
		.region = &r->mem.regions[r->mem.n_regions - 1] };
	struct virtio_dev *v;

	assert_int_equal(pmem_create(&p, dup(r->fd), &r->loop, &v, NULL), 0);
	return v;
}

static int setup_pmem(void **state)
{
	struct rig *r = *state = new_rig(make_pmem);

	r->fd = memfd_create("pmem", MFD_CLOEXEC);
	assert_int_equal(ftruncate(r->fd, 2 * MIB), 0);
	assert_int_equal(gmem_add_file(&r->mem, PMEM, r->fd, 2 * MIB, false, NULL), 0);
	start(r, VIRTIO_COMMON_FEATURES, 1, 64);
	return 0;
}

static void a_flush_that_waits_is_done(void **state)
{
	struct rig *r = *state;

	assert_int_equal(gmem_fill(&r->mem, GPA(REQ), 0, 16), 0);
	drv_add(&r->d, 0, (struct drv_buf[]){ { REQ, 4, false }, { DATA, 4, true } }, 2);
	move(r);
	for (uint64_t end = soon(); answers(r, 0) == 0 && loop_now_ns() < end;)
		;
	assert_int_equal(pmem_counters(r->v)->flushes, 1);
}

static struct virtio_dev *make_vmem(struct rig *r)
{
	struct vmem_params p = { .mem = &r->mem,
		.vmfd = FAKE_KVM_FD,
		.first_slot = 1,
		.slot_bytes = 4 * BLOCK,
		.wanted_bytes = 8 * BLOCK };
	struct virtio_dev *v;

	assert_int_equal(vmem_create(&p, &v, NULL), 0);
	return v;
}

static int setup_vmem(void **state)
{
	struct rig *r = *state = new_rig(make_vmem);

	fake_kvm_reset();
	assert_int_equal(gmem_add_blocks(&r->mem, PMEM, 12 * BLOCK, BLOCK, NULL), 0);
	start(r, VIRTIO_COMMON_FEATURES | VIRTIO_BIT(VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE), 1, 64);
	return 0;
}

static uint16_t ask(struct rig *r, uint16_t type, uint64_t first, uint16_t n)
{
	uint8_t raw[24] = { 0 };
	uint32_t id, len;

	num_put_le16(raw, type);
	num_put_le64(raw + 8, PMEM + first * BLOCK);
	num_put_le16(raw + 16, n);
	assert_int_equal(gmem_write(&r->mem, GPA(REQ), raw, sizeof(raw)), 0);
	drv_add(&r->d, 0, (struct drv_buf[]){ { REQ, 24, false }, { DATA, 10, true } }, 2);
	drv_kick(&r->d, 0);
	assert_true(drv_wait(&r->d, &r->loop, 0, &id, &len));
	return drv_get16(&r->d, DATA);
}

static void what_was_plugged_is_plugged(void **state)
{
	struct rig *r = *state;
	struct vmem_status status;

	assert_int_equal(ask(r, VIRTIO_MEM_REQ_PLUG, 1, 2), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(ask(r, VIRTIO_MEM_REQ_PLUG, 9, 3), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(vmem_want(r->v, 6 * BLOCK), 0);
	drv_set(&r->d, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	/* As in a new process: memory without blocks, a KVM without slots. */
	fake_kvm_reset();
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(fake_kvm.regions[1 + i].memory_size, 0);
	move(r);
	assert_int_equal(fake_kvm.regions[1].memory_size, 4 * BLOCK);
	assert_int_equal(fake_kvm.regions[2].memory_size, 0);
	assert_int_equal(fake_kvm.regions[3].memory_size, 4 * BLOCK);
	vmem_status(r->v, &status);
	assert_int_equal(status.plugged_bytes, 5 * BLOCK);
	assert_int_equal(status.wanted_bytes, 6 * BLOCK);
	assert_int_equal(ask(r, VIRTIO_MEM_REQ_UNPLUG, 9, 3), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(fake_kvm.regions[3].memory_size, 0);
	refused(r, "requested-size", 12 * BLOCK + 1, 8,
		"virtio-mem 0: requested-size: 0x1800001 is not a number of blocks");
	refused(r, "plugged", 0xf000, 2, "virtio-mem 0: plugged: a block behind the last one");
}

/* -- network --------------------------------------------------------------------------------- */

static unsigned used(struct nic *f, unsigned q)
{
	uint32_t id, len;
	unsigned n = 0;

	drv_poll(&f->loop);
	while (drv_used(&f->d, q, &id, &len))
		n++;
	return n;
}

static void an_interface_goes_on_with_its_buffers(void **state)
{
	struct nic old = { 0 }, f;
	uint8_t frame[100], got[200];
	uint64_t wanted = VIRTIO_COMMON_FEATURES | NIC_F(MRG_RXBUF) | NIC_F(GUEST_CSUM) |
			  NIC_F(GUEST_TSO4) | NIC_F(CTRL_VQ) | NIC_F(CTRL_MAC_ADDR);
	struct vmmio_env env;
	struct net_params p = { .id = "eth0" };

	(void)state;
	nic_make(&old, (struct net_params){ 0 }, sock_netif_create("tap", 1, NIC_ALL_OFFLOADS));
	assert_int_equal(drv_start(&old.d, wanted, 3, 256), 0xf);
	drv_poll(&old.loop);
	nic_fill(frame, sizeof(frame), 1);
	nic_post_many(&old, 0, 64, 1600);
	drv_kick(&old.d, 0);
	nic_put(&old, 0, NULL, frame, sizeof(frame));
	assert_int_equal(used(&old, 0), 1); /* and others are taken, for frames to come */
	nic_tx(&old, 1, NULL, frame, sizeof(frame)); /* without a kick */

	f = old;
	env = (struct vmmio_env){ .mem = &f.mem, .loop = &f.loop, .vmfd = -1, .base = 0xc0001000 };
	f.s = sock_netif_create("tap", 1, NIC_ALL_OFFLOADS);
	f.s->n.link_up = false; /* the new link is down */
	assert_int_equal(net_create(&p, &f.s->n, NULL, &f.loop, &f.v, NULL), 0);
	assert_int_equal(vmmio_create(f.v, &env, &f.m, NULL), 0);
	f.c = net_counters(f.v);
	move_to(old.m, f.m);
	vmmio_destroy(old.m);
	f.d.dev = vmmio_dev(f.m);
	drv_set(&f.d, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	virtio_resume(f.v);
	assert_int_equal(drv_get(&f.d, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	f.s->n.link_up = true;
	f.s->n.events.link(f.s->n.events.owner, true);
	assert_int_equal(used(&f, 1), 1);
	assert_int_equal(sock_netif_get(f.s, 0, got, sizeof(got)), NETIF_HEADER_BYTES + 100);
	assert_int_equal(f.s->offloads, NETIF_CSUM | NETIF_TSO4);
	for (unsigned i = 0; i < 63; i++)
		nic_put(&f, 0, NULL, frame, sizeof(frame));
	/* Every buffer that there was; it waits a while for more, before it takes the last ones. */
	for (uint64_t end = soon(); f.d.q[0].used_idx < 64 && loop_now_ns() < end;)
		used(&f, 0);
	assert_int_equal(f.d.q[0].used_idx, 64);
	assert_int_equal(nic_drops(&f), 0);
	vmmio_destroy(f.m);
	loop_done(&f.loop);
	gmem_unmap(&f.mem);
}

/* -- vsock ----------------------------------------------------------------------------------- */

static struct vg_packet packet;

static void a_guest_is_told_that_its_connections_are_gone(void **state)
{
	struct vg *g = calloc(1, sizeof(*g)), old;
	struct vg_conn c = { .alloc = 256 * 1024 }, next = { .alloc = 256 * 1024 };
	struct vmmio_env env;
	struct vsock_params p;
	struct drv_buf b;
	uint32_t id, len, port;
	int fd, late;

	(void)state;
	vg_open(g, VIRTIO_COMMON_FEATURES, 64, VG_RX_BYTES);
	fd = vg_answer(g, &c, 52);
	port = container_of(g->v, struct vsock, v)->next_port;
	b = (struct drv_buf){ drv_alloc(&g->d, 4096), 4, true };
	drv_add(&g->d, 2, &b, 1);
	drv_kick(&g->d, 2);
	drv_poll(&g->loop);
	old = *g;
	env = (struct vmmio_env){
		.mem = &g->mem, .loop = &g->loop, .vmfd = -1, .base = 0xc0001000
	};
	p = (struct vsock_params){ .cid = VG_CID, .path = g->path };
	unlink(g->path);
	assert_int_equal(vsock_create(&p, vsock_listen(g->path, NULL), &g->loop, &g->v, NULL), 0);
	assert_int_equal(vmmio_create(g->v, &env, &g->m, NULL), 0);
	move_to(old.m, g->m);
	vmmio_destroy(old.m);
	g->d.dev = vmmio_dev(g->m);
	assert_int_equal(container_of(g->v, struct vsock, v)->next_port, port);

	late = vg_host_connect(g);
	assert_int_equal(send(late, "CONNECT 52\n", 11, MSG_NOSIGNAL), 11);
	virtio_resume(g->v);
	assert_true(drv_wait(&g->d, &g->loop, 2, &id, &len));
	assert_int_equal(drv_get8(&g->d, b.gpa), VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	drv_poll(&g->loop);
	assert_false(vg_take(g, &packet)); /* nobody is let in before the guest has seen it */
	drv_add(&g->d, 2, &b, 1); /* without a kick: the device looks by itself */
	assert_true(vg_wait(g, &packet));
	assert_int_equal(packet.h.op, VIRTIO_VSOCK_OP_REQUEST);
	next.guest_port = 52;
	next.host_port = packet.h.src_port;
	vg_account(&next, &packet);
	vg_send(g, &next, VIRTIO_VSOCK_OP_RESPONSE, 0, NULL, 0);
	/* What the guest says on the old connection is answered with a reset. */
	vg_send(g, &c, VIRTIO_VSOCK_OP_RW, 0, "lost", 4);
	assert_true(vg_wait(g, &packet));
	assert_int_equal(packet.h.op, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(packet.h.src_port, c.host_port);
	close(late);
	close(fd);
	vg_close(g);
	free(g);
}

#define RIG(test, setup) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG(a_disk_goes_on_with_what_is_waiting, setup_sync),
		RIG(a_disk_goes_on_with_what_is_waiting, setup_uring),
		RIG(a_disk_without_event_idx_asks_for_kicks_again, setup_plain),
		RIG(a_driver_that_has_not_begun_begins, setup_sync),
		RIG(a_failed_device_stays_failed_until_its_reset, setup_sync),
		RIG(hostile_state_is_refused, setup_sync),
		RIG(a_rate_limit_is_no_larger_afterwards, setup_rng),
		RIG(a_console_takes_both_ways, setup_vcon),
		RIG(a_balloon_keeps_its_target_and_asks_for_statistics, setup_balloon),
		RIG(a_flush_that_waits_is_done, setup_pmem),
		RIG(what_was_plugged_is_plugged, setup_vmem),
		cmocka_unit_test(an_interface_goes_on_with_its_buffers),
		cmocka_unit_test(a_guest_is_told_that_its_connections_are_gone),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests(tests, NULL, NULL);
}
