/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network driver that lies: headers, chains, buffers and control commands. After each lie the
 * disk works on, and after a reset at the latest the network does. The host sees what arrives:
 * frames of type 0x88b5 with "GOOD" in them, none with "EVIL"; and it compares the device's
 * counters with the lines "count NAME N".
 */
#include "vnet.h"

enum verdict {
	BROKEN,	   /* DEVICE_NEEDS_RESET */
	MALFORMED, /* the chain comes back, the frame goes nowhere, tx_dropped_malformed */
	OFFLOAD,   /* the same, tx_dropped_offload */
	ANYTHING,  /* but death; the frame may arrive */
};

#define NOWHERE UINT64_C(0xd0000000) /* in the MMIO gap */
#define BASIC	(NET_F_CTRL_VQ | NET_F_OFFLOADS | NET_F_CTRL_MAC | NET_F_MQ | F_INDIRECT)
#define OFFLOADS (NET_F_CSUM | NET_F_HOST_TSO4)

static struct virtq rx, tx, ctrl, disk_q;
static struct net n = { .rx = &rx, .tx = &tx, .ctrl = &ctrl };
static struct blk disk;
static struct net_header h;
static uint8_t frame[128], page[65536];
static unsigned malformed, offload, commands, refused;

/* A frame to everybody that the host can tell from others. */
static void fill(const char *word)
{
	memset(frame, 0, sizeof(frame));
	memset(frame, 0xff, 6);
	memcpy(frame + 6, n.mac, 6);
	net_put16(frame + 12, 0x88b5);
	memcpy(frame + 14, word, 4);
	memset(&h, 0, sizeof(h));
}

/* The frame behind its header, as one chain of two; returns the head. */
static uint16_t chain(uint32_t header, uint32_t len)
{
	struct seg segs[2] = { { &h, header, false }, { frame, len, false } };

	return virtq_add(&tx, segs, len ? 2 : 1);
}

static void whole(void)
{
	virtq_publish(&tx, chain(sizeof(h), 64));
}

/* ---- the lies of a transmitter; each is called with h and frame filled ---- */

static void header_short(void)
{
	virtq_publish(&tx, chain(11, 0));
}

static void header_alone(void)
{
	virtq_publish(&tx, chain(12, 0));
}

static void frame_13(void)
{
	virtq_publish(&tx, chain(12, 13));
}

static void frame_too_long(void)
{
	struct seg segs[3] = { { &h, sizeof(h), false }, { frame, 64, false },
		{ page, 65550 - 64 + 1, false } };

	virtq_publish(&tx, virtq_add(&tx, segs, 3));
}

static void frame_of_gigabytes(void)
{
	static struct desc table[64] __attribute__((aligned(16)));
	struct seg segs[2] = { { &h, sizeof(h), false }, { frame, 64, false } };
	uint16_t i = virtq_add_indirect(&tx, segs, 2, table);

	for (unsigned k = 1; k < 64; k++)
		table[k] = (struct desc){ 0x100000, 64 << 20, DESC_NEXT, (uint16_t)(k + 1) };
	table[63].flags = 0;
	tx.desc[i].len = sizeof(table);
	virtq_publish(&tx, i);
}

static void frame_writable(void)
{
	uint16_t i = chain(sizeof(h), 64);

	tx.desc[(i + 1U) % tx.size].flags |= DESC_WRITE;
	virtq_publish(&tx, i);
}

static void all_empty(void)
{
	uint16_t i = chain(sizeof(h), 64);

	tx.desc[i].len = tx.desc[(i + 1U) % tx.size].len = 0;
	virtq_publish(&tx, i);
}

static void frame_nowhere(void)
{
	uint16_t i = chain(sizeof(h), 64);

	tx.desc[(i + 1U) % tx.size].addr = NOWHERE;
	virtq_publish(&tx, i);
}

static void frame_on_registers(void)
{
	uint16_t i = chain(sizeof(h), 64);

	tx.desc[(i + 1U) % tx.size].addr = n.dev.base;
	virtq_publish(&tx, i);
}

static void header_nowhere(void)
{
	uint16_t i = chain(sizeof(h), 64);

	tx.desc[i].addr = UINT64_MAX - 5;
	virtq_publish(&tx, i);
}

static void checksum(unsigned start, unsigned offset)
{
	h.flags = 1;
	h.csum_start = (uint16_t)start;
	h.csum_offset = (uint16_t)offset;
	whole();
}

static void checksum_beyond(void)
{
	checksum(60, 3);
}

static void checksum_wraps(void)
{
	checksum(0xffff, 0xffff);
}

static void checksum_in_ethernet(void)
{
	checksum(4, 2);
}

static void gso(unsigned type, unsigned size, unsigned len)
{
	h.gso_type = (uint8_t)type;
	h.gso_size = (uint16_t)size;
	h.hdr_len = (uint16_t)len;
	checksum(34, 16);
}

static void gso_unknown(void)
{
	gso(0x7e, 100, 54);
}

static void gso_ufo(void)
{
	gso(3, 100, 42);
}

static void gso_ecn_alone(void)
{
	gso(0x80, 100, 54);
}

static void gso_size_zero(void)
{
	gso(1, 0, 54);
}

static void gso_without_checksum(void)
{
	h.gso_type = 1;
	h.gso_size = 100;
	whole();
}

static void gso_of_nothing(void)
{
	gso(1, 1, 54);
}

static void gso_header_huge(void)
{
	gso(1, 40, 0xffff);
}

static void gso_size_huge(void)
{
	gso(1, 0xffff, 54);
}

static void flags_unknown(void)
{
	memset(&h, 0xf4, sizeof(h)); /* not NEEDS_CSUM */
	h.gso_type = 0;
	whole();
}

static void source_forged(void)
{
	frame[6] ^= 0x40;
	whole();
}

static const struct {
	const char *name, *word;
	void (*lie)(void);
	uint64_t features;
	enum verdict verdict;
} lies[] = {
	{ "header of 11 bytes", "EVIL", header_short, 0, MALFORMED },
	{ "header alone", "EVIL", header_alone, 0, MALFORMED },
	{ "frame of 13 bytes", "EVIL", frame_13, 0, MALFORMED },
	{ "frame of 65551 bytes", "EVIL", frame_too_long, 0, MALFORMED },
	{ "frame of gigabytes", "EVIL", frame_of_gigabytes, 0, MALFORMED },
	{ "frame writable", "EVIL", frame_writable, 0, BROKEN },
	{ "empty descriptors", "EVIL", all_empty, 0, BROKEN },
	{ "frame outside RAM", "EVIL", frame_nowhere, 0, BROKEN },
	{ "frame in the device's own registers", "EVIL", frame_on_registers, 0, BROKEN },
	{ "header at the end of the address space", "EVIL", header_nowhere, 0, BROKEN },
	{ "checksum not negotiated", "EVIL", checksum_in_ethernet, 0, OFFLOAD },
	{ "checksum beyond the frame", "EVIL", checksum_beyond, OFFLOADS, OFFLOAD },
	{ "checksum beyond 65535", "EVIL", checksum_wraps, OFFLOADS, OFFLOAD },
	{ "checksum in the Ethernet header", "EVIL", checksum_in_ethernet, OFFLOADS, OFFLOAD },
	{ "segmentation not negotiated", "EVIL", gso_of_nothing, NET_F_CSUM, OFFLOAD },
	{ "segmentation of a kind that is not", "EVIL", gso_unknown, OFFLOADS, OFFLOAD },
	{ "segmentation as UFO", "EVIL", gso_ufo, OFFLOADS, OFFLOAD },
	{ "ECN without segmentation", "EVIL", gso_ecn_alone, OFFLOADS, OFFLOAD },
	{ "segments of 0 bytes", "EVIL", gso_size_zero, OFFLOADS, OFFLOAD },
	{ "segments without checksums", "EVIL", gso_without_checksum, OFFLOADS, OFFLOAD },
	{ "segments of what is not TCP", "LIES", gso_of_nothing, OFFLOADS, ANYTHING },
	{ "a header length of 65535", "LIES", gso_header_huge, OFFLOADS, ANYTHING },
	{ "segments of 65535 bytes", "LIES", gso_size_huge, OFFLOADS, ANYTHING },
	{ "flags that must be ignored", "GOOD", flags_unknown, 0, ANYTHING },
	{ "a forged source", "SPOO", source_forged, 0, ANYTHING },
};

static void works(const char *when)
{
	fill("GOOD");
	memcpy(frame + 20, when, strlen(when) < 60 ? strlen(when) : 60);
	net_send(&n, frame, 100);
	blk_must_work(&disk, when);
}

static void transmit(unsigned i)
{
	uint32_t got;

	net_start(&n, BASIC | lies[i].features);
	works(lies[i].name);
	fill(lies[i].word);
	lies[i].lie();
	virtq_kick(&tx);
	if (lies[i].verdict == BROKEN) {
		CHECK(vdev_broken(&n.dev), "%s: no DEVICE_NEEDS_RESET", lies[i].name);
		blk_must_work(&disk, lies[i].name);
		return;
	}
	CHECK(virtq_wait(&tx, NULL, &got) && got == 0, "%s: the chain did not come back",
		lies[i].name);
	CHECK(!(vdev_status(&n.dev) & STATUS_NEEDS_RESET), "%s: needs a reset", lies[i].name);
	malformed += lies[i].verdict == MALFORMED;
	offload += lies[i].verdict == OFFLOAD;
	works(lies[i].name);
}

/* ---- receive buffers; the host sends frames all the time ---- */

static const struct {
	const char *name;
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
} bad_buffers[] = {
	{ "receive buffer outside RAM", NOWHERE, NET_BUFFER, DESC_WRITE },
	{ "receive buffer across the end of the address space", UINT64_MAX - 99, 200, DESC_WRITE },
	{ "receive buffer of 4 GiB", 0x100000, 0xffffffff, DESC_WRITE },
	{ "receive buffer read-only", 0, NET_BUFFER, 0 },
	{ "receive buffer of 0 bytes", 0, 0, DESC_WRITE },
	{ "receive buffer of 11 bytes", 0, 11, DESC_WRITE },
};

static void receive(unsigned i, uint64_t features)
{
	struct seg s = { page, NET_BUFFER, true };
	uint16_t head;

	net_prepare(&n, BASIC | features);
	head = virtq_add(&rx, &s, 1);
	if (bad_buffers[i].addr)
		rx.desc[head].addr = bad_buffers[i].addr;
	rx.desc[head].len = bad_buffers[i].len;
	rx.desc[head].flags = bad_buffers[i].flags;
	virtq_publish(&rx, head);
	virtq_kick(&rx);
	CHECK(vdev_broken(&n.dev), "%s: no DEVICE_NEEDS_RESET", bad_buffers[i].name);
	blk_must_work(&disk, bad_buffers[i].name);
	net_start(&n, BASIC | features);
	works(bad_buffers[i].name);
}

/* Frames wait for buffers that do not come, then for one that takes only a part of them. */
static void too_small(void)
{
	net_prepare(&n, BASIC | NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 40; i++) {
		struct seg s = { page + (size_t)i * 64, 64, true };

		virtq_publish(&rx, virtq_add(&rx, &s, 1));
	}
	virtq_kick(&rx);
	CHECK(virtq_wait(&rx, NULL, NULL), "40 buffers of 64 bytes took no frame");
	works("small buffers");
}

/* ---- control commands ---- */

static bool is_command(const uint8_t *c, unsigned len)
{
	return (c[0] == 1 && c[1] == 1 && len == 8) || (c[0] == 4 && c[1] == 0 && len == 4) ||
	       (c[0] == 5 && c[1] == 0 && len == 10);
}

static void refuse(const void *command, unsigned len, const char *what)
{
	const uint8_t *c = command;
	int answer = net_command(&n, command, len);

	commands++;
	refused++;
	CHECK(answer == 1, "%s: class %u number %u of %u bytes: answer %d", what, c[0], c[1], len,
		answer);
}

static void wrong_lengths(void)
{
	uint8_t c[80];

	memset(c, 0, sizeof(c));
	for (c[0] = 0; c[0] < 7; c[0]++)
		for (c[1] = 0; c[1] < 3; c[1]++)
			for (unsigned len = 0; len < 14; len++)
				if (!is_command(c, len))
					refuse(c, len, "wrong length");
	c[0] = 1;
	c[1] = 1;
	refuse(c, sizeof(c), "far too long");
	c[0] = c[1] = 0xff;
	refuse(c, 3, "unknown");
}

static void wrong_values(void)
{
	static const uint8_t group[8] = { 1, 1, 1, 0, 0x5e, 0, 0, 1 }, nobody[8] = { 1, 1 },
			     no_pairs[4] = { 4, 0, 0, 0 }, pairs[4] = { 4, 0, 0xff, 0xff },
			     all[10] = { 5, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	refuse(group, 8, "the MAC of a group");
	refuse(nobody, 8, "the MAC 0");
	refuse(no_pairs, 4, "no queue pairs");
	refuse(pairs, 4, "65535 queue pairs");
	refuse(all, 10, "offloads that were not negotiated");
}

static void commands_broken(void)
{
	static uint8_t c[8] = { 1, 1, 2, 3, 4, 5, 6, 7 };
	struct seg segs[2] = { { c, 8, false }, { page, 1, true } };
	uint16_t head;

	virtq_publish(&ctrl, virtq_add(&ctrl, segs, 1));
	virtq_kick(&ctrl);
	CHECK(vdev_broken(&n.dev), "command without room for the answer: no DEVICE_NEEDS_RESET");
	for (unsigned i = 0; i < 2; i++) {
		net_start(&n, BASIC);
		works("a command that broke the device");
		head = virtq_add(&ctrl, segs, 2);
		ctrl.desc[(head + i) % ctrl.size].addr = NOWHERE;
		virtq_publish(&ctrl, head);
		virtq_kick(&ctrl);
		CHECK(vdev_broken(&n.dev), "%s outside RAM: no DEVICE_NEEDS_RESET",
			i ? "answer" : "command");
	}
}

int main(void)
{
	vdev_find(&n.dev, 1, 0);
	vdev_find(&disk.dev, 2, 0);
	blk_start(&disk, &disk_q, F_EVENT_IDX | F_INDIRECT);
	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		console_print("%s\n", lies[i].name);
		transmit(i);
	}
	for (unsigned i = 0; i < sizeof(bad_buffers) / sizeof(bad_buffers[0]); i++) {
		console_print("%s\n", bad_buffers[i].name);
		receive(i, 0);
		receive(i, NET_F_MRG_RXBUF);
	}
	console_print("small buffers\n");
	too_small();
	console_print("control commands\n");
	net_start(&n, BASIC);
	wrong_lengths();
	wrong_values();
	commands_broken();
	net_start(&n, 0);
	works("at the end");
	console_print("count tx_dropped_malformed %u\ncount tx_dropped_offload %u\n", malformed,
		offload);
	console_print("count tx_spoofed_mac 1\ncount ctrl_commands %u\ncount ctrl_refused %u\n",
		commands, refused);
	return 0;
}
