/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net's control queue; see nic.h. */
#include "test.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "nic.h"
#include "num.h"

#define Q 2 /* of a device with one pair */

static struct nic *start(unsigned n_queues, uint64_t features)
{
	struct nic *f = calloc(1, sizeof(*f));

	nic_make(f, (struct net_params){ 0 }, sock_netif_create("tap", n_queues, NIC_ALL_OFFLOADS));
	assert_int_equal(drv_start(&f->d, features, 2 * n_queues + 1, 256), 0xf);
	drv_poll(&f->loop);
	return f;
}

static int setup(void **state)
{
	*state = start(1, ~0ull);
	return 0;
}

static int setup_mq(void **state)
{
	*state = start(4, ~0ull);
	return 0;
}

static int setup_none(void **state)
{
	*state = start(1, NIC_F(CTRL_VQ));
	return 0;
}

static int teardown(void **state)
{
	nic_done(*state);
	free(*state);
	return 0;
}

static void command(struct nic *f, unsigned q, const void *raw, size_t bytes, int answer)
{
	uint32_t len = 0;

	assert_int_equal(nic_ctrl(f, q, raw, bytes, &len), answer);
	assert_int_equal(len, 1);
}

static void assert_mac(struct nic *f, const uint8_t *mac)
{
	uint8_t got[NET_MAC_BYTES];

	drv_read(&f->d, VIRTIO_MMIO_CONFIG, got, sizeof(got));
	assert_memory_equal(got, mac, sizeof(got));
}

static void sets_the_address(void **state)
{
	static const uint8_t set[] = { 1, 1, 0x0a, 1, 2, 3, 4, 5 };
	static const uint8_t group[] = { 1, 1, 0x01, 1, 2, 3, 4, 5 };
	static const uint8_t zero[8] = { 1, 1 };
	struct nic *f = *state;
	uint8_t frame[60];
	uint32_t generation = drv_get(&f->d, VIRTIO_MMIO_CONFIG_GENERATION);

	command(f, Q, group, sizeof(group), VIRTIO_NET_ERR);
	command(f, Q, zero, sizeof(zero), VIRTIO_NET_ERR);
	assert_mac(f, nic_mac);
	assert_int_equal(drv_get(&f->d, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	command(f, Q, set, sizeof(set), VIRTIO_NET_OK);
	assert_mac(f, set + 2);
	assert_int_not_equal(drv_get(&f->d, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	nic_fill(frame, sizeof(frame), 1); /* from the old address */
	nic_tx(f, 1, NULL, frame, sizeof(frame));
	drv_kick(&f->d, 1);
	drv_poll(&f->loop);
	assert_int_equal(f->c->tx_spoofed_mac, 1);
	drv_reset(&f->d);
	assert_mac(f, nic_mac);
	assert_int_equal(f->c->ctrl_commands, 3);
	assert_int_equal(f->c->ctrl_refused, 2);
}

static void sets_the_number_of_pairs(void **state)
{
	struct nic *f = *state;
	uint8_t raw[] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 0, 0 };
	static const struct {
		uint16_t pairs;
		bool ok;
	} cases[] = { { 0, false }, { 5, false }, { 4, true }, { 256, false }, { 1, true },
		{ 65535, false }, { 3, true } };
	unsigned now = 1;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		num_put_le16(raw + 2, cases[i].pairs);
		command(f, 8, raw, sizeof(raw), cases[i].ok ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
		now = cases[i].ok ? cases[i].pairs : now;
		assert_int_equal(f->s->n_active, now);
	}
	f->s->refuse = -EIO;
	command(f, 8, raw, sizeof(raw), VIRTIO_NET_ERR);
}

static void sets_the_offloads(void **state)
{
	struct nic *f = *state;
	uint8_t raw[10] = { VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET };
	static const struct {
		uint64_t bits;
		int netif; /* -1: refused */
	} cases[] = {
		{ 0, 0 },
		{ NIC_F(GUEST_CSUM), NETIF_CSUM },
		{ NET_GUEST_OFFLOADS, NIC_ALL_OFFLOADS },
		{ NIC_F(GUEST_TSO4), 0 }, /* sound, but nothing without the checksum */
		{ NIC_F(GUEST_CSUM) | NIC_F(GUEST_TSO4), NETIF_CSUM | NETIF_TSO4 },
		{ NIC_F(GUEST_UFO), -1 },
		{ NIC_F(CSUM), -1 },
		{ NIC_F(GUEST_CSUM) | NIC_F(MRG_RXBUF), -1 },
		{ UINT64_MAX, -1 },
	};
	int now = NIC_ALL_OFFLOADS;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		num_put_le64(raw + 2, cases[i].bits);
		command(f, Q, raw, sizeof(raw),
			cases[i].netif < 0 ? VIRTIO_NET_ERR : VIRTIO_NET_OK);
		now = cases[i].netif < 0 ? now : cases[i].netif;
		assert_int_equal(f->s->offloads, now);
	}
	f->s->refuse = -EINVAL;
	num_put_le64(raw + 2, 0);
	command(f, Q, raw, sizeof(raw), VIRTIO_NET_ERR);
	assert_int_equal(f->s->offloads, now);
}

static void offloads_must_have_been_negotiated(void **state)
{
	uint8_t raw[10] = { VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET };
	struct nic *f = start(1,
		NIC_F(CTRL_VQ) | NIC_F(CTRL_GUEST_OFFLOADS) | NIC_F(GUEST_CSUM));

	(void)state;
	num_put_le64(raw + 2, NIC_F(GUEST_CSUM));
	command(f, Q, raw, sizeof(raw), VIRTIO_NET_OK);
	num_put_le64(raw + 2, NIC_F(GUEST_CSUM) | NIC_F(GUEST_TSO4));
	command(f, Q, raw, sizeof(raw), VIRTIO_NET_ERR);
	assert_int_equal(f->s->offloads, NETIF_CSUM);
	nic_done(f);
	free(f);
}

static void nothing_works_that_was_not_negotiated(void **state)
{
	static const uint8_t raws[][10] = { { 1, 1, 2, 1, 2, 3, 4, 5 }, { 4, 0, 1, 0 }, { 5, 0 } };
	static const size_t bytes[] = { 8, 4, 10 };
	struct nic *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(raws); i++)
		command(f, Q, raws[i], bytes[i], VIRTIO_NET_ERR);
	assert_mac(f, nic_mac);
}

/* Every class, number and length but the right ones. */
static void wrong_commands_are_answered_with_an_error(void **state)
{
	struct nic *f = *state;
	uint8_t raw[300] = { 0 };
	unsigned accepted = 0;
	uint32_t len;

	raw[2] = 2; /* so that right ones succeed */
	for (unsigned class = 0; class < 8; class++)
		for (unsigned number = 0; number < 4; number++)
			for (size_t bytes = 0; bytes < 16; bytes++) {
				raw[0] = (uint8_t)class;
				raw[1] = (uint8_t)number;
				accepted += nic_ctrl(f, 8, raw, bytes, &len) == VIRTIO_NET_OK;
				assert_int_equal(len, 1);
			}
	assert_int_equal(accepted, 3); /* the address, the pairs, the offload that is bit 1 */
	raw[0] = raw[1] = 1;
	command(f, 8, raw, 256, VIRTIO_NET_ERR);
	raw[0] = 255;
	command(f, 8, raw, 8, VIRTIO_NET_ERR);
	assert_int_equal(drv_status(&f->d), 0xf);
	assert_int_equal(f->c->ctrl_commands - f->c->ctrl_refused, 3);
}

static void any_layout_of_descriptors_is_the_same_command(void **state)
{
	static const uint8_t raw[] = { 1, 1, 2, 0xaa, 0xbb, 0xcc, 0xdd, 0xee };
	struct nic *f = *state;
	struct drv_buf bufs[10];
	uint32_t id, len;

	assert_int_equal(gmem_write(&f->mem, GPA(NIC_CTRL), raw, sizeof(raw)), 0);
	for (unsigned piece = 1; piece <= 8; piece++)
		for (unsigned indirect = 0; indirect < 2; indirect++) {
			unsigned n = 0;

			for (unsigned at = 0; at < 8; at += piece)
				bufs[n++] = (struct drv_buf){ NIC_CTRL + at, MIN(piece, 8 - at),
					false };
			bufs[n++] = (struct drv_buf){ NIC_CTRL + 100, 0, true };
			bufs[n++] = (struct drv_buf){ NIC_CTRL + 101, 5, true };
			drv_put8(&f->d, NIC_CTRL + 101, 0xee);
			drv_put8(&f->d, NIC_CTRL + 102, 0xee);
			if (indirect)
				drv_add_indirect(&f->d, Q, bufs, n);
			else
				drv_add(&f->d, Q, bufs, n);
			drv_kick(&f->d, Q);
			assert_true(drv_wait(&f->d, &f->loop, Q, &id, &len));
			assert_int_equal(len, 1);
			assert_int_equal(drv_get8(&f->d, NIC_CTRL + 101), VIRTIO_NET_OK);
			assert_int_equal(drv_get8(&f->d, NIC_CTRL + 102), 0xee);
		}
	assert_mac(f, raw + 2);
}

static void without_room_for_the_answer_the_device_fails(void **state)
{
	struct nic *f = *state;

	drv_add(&f->d, Q, &(struct drv_buf){ NIC_CTRL, 8, false }, 1);
	drv_kick(&f->d, Q);
	drv_poll(&f->loop);
	assert_int_equal(drv_status(&f->d), 0x4f);
	drv_reset(&f->d);
	assert_int_equal(drv_start(&f->d, ~0ull, 3, 256), 0xf);
	command(f, Q, "\1\1\2\1\1\1\1\1", 8, VIRTIO_NET_OK);
}

int main(void)
{
#define T(fn, how) cmocka_unit_test_setup_teardown(fn, how, teardown)
	const struct CMUnitTest tests[] = {
		T(sets_the_address, setup),
		T(sets_the_number_of_pairs, setup_mq),
		T(sets_the_offloads, setup),
		cmocka_unit_test(offloads_must_have_been_negotiated),
		T(nothing_works_that_was_not_negotiated, setup_none),
		T(wrong_commands_are_answered_with_an_error, setup_mq),
		T(any_layout_of_descriptors_is_the_same_command, setup),
		T(without_room_for_the_answer_the_device_fails, setup),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });
	return cmocka_run_group_tests_name("net-ctrl", tests, NULL, NULL);
}
