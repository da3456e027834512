/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock driver that lies: forged addresses, packets that make no sense, credit that it was not
 * given or does not have. After each lie a new connection to the echo server of the host (port 7)
 * works, and so does one that was there all the time. Port 9 is a server that never reads. The
 * host compares the device's counters with the lines "count NAME N".
 */
#include "vdev.h"

#define HOST	 2u
#define ECHO	 7u
#define STALLED	 9u
#define NOWHERE	 UINT64_C(0xd0000000)
#define BUFFERS	 16u
#define PATTERN	 64u

enum op { OP_INVALID, OP_REQUEST, OP_RESPONSE, OP_RST, OP_SHUTDOWN, OP_RW, OP_UPDATE, OP_ASK };

struct packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

static struct vdev d;
static struct virtq rx, tx, event, disk_q;
static struct blk disk;
static uint8_t in[BUFFERS][2048], data[65536];
static uint64_t cid;
static uint32_t port = 1000, fwd; /* of the connection in use: what we took of it */
static unsigned forged, malformed, over_credit;

static void post(void *buffer)
{
	struct seg s = { buffer, sizeof(in[0]), true };

	virtq_publish(&rx, virtq_add(&rx, &s, 1));
}

static void start(void)
{
	vdev_negotiate(&d, F_EVENT_IDX | F_INDIRECT);
	cid = rd64(d.base + REG_CONFIG);
	virtq_init(&rx, &d, 0, 0);
	virtq_init(&tx, &d, 1, 0);
	virtq_init(&event, &d, 2, 0);
	vdev_ok(&d);
	for (unsigned i = 0; i < BUFFERS; i++)
		post(in[i]);
	virtq_kick(&rx);
}

static struct packet packet(enum op op, uint32_t to, uint32_t len)
{
	return (struct packet){ cid, HOST, port, to, len, 1, op, 0, 1 << 20, fwd };
}

/* Exactly what is said, with `bytes` of data behind it. */
static void send(const struct packet *p, uint32_t header, uint32_t bytes)
{
	static struct packet copy;
	struct seg segs[2] = { { &copy, header, false }, { data, bytes, false } };

	copy = *p;
	virtq_publish(&tx, virtq_add(&tx, segs, bytes ? 2 : 1));
	virtq_kick(&tx);
	CHECK(virtq_wait(&tx, NULL, NULL), "a packet of kind %u was not taken", p->op);
}

static void say(enum op op, uint32_t to, uint32_t len)
{
	struct packet p = packet(op, to, len);

	send(&p, sizeof(p), len);
}

/*
 * The next packet to the port in use; its data is at *ret_data until the next call. Others (answers
 * to the lies, which ports tell apart) are passed over.
 */
static struct packet next(const char *when, uint8_t **ret_data)
{
	static uint8_t *last;
	struct packet p;
	uint32_t head, len;

	do {
		if (last) {
			post(last);
			virtq_kick(&rx);
		}
		last = NULL;
		CHECK(virtq_wait(&rx, &head, &len), "%s: no answer", when);
		last = (uint8_t *)rx.desc[head].addr;
		memcpy(&p, last, sizeof(p));
		CHECK(len == sizeof(p) + p.len, "%s: %u bytes for a packet of %u", when, len,
			p.len);
		CHECK(p.src_cid == HOST && p.dst_cid == cid, "%s: from %lx to %lx", when, p.src_cid,
			p.dst_cid);
	} while (p.dst_port != port);
	if (ret_data)
		*ret_data = last + sizeof(p);
	return p;
}

static struct packet expect(enum op op, const char *when)
{
	struct packet p;

	do
		p = next(when, NULL);
	while (p.op == OP_UPDATE && op != OP_UPDATE);
	CHECK(p.op == op, "%s: answered with %u, not %u", when, p.op, op);
	return p;
}

static struct packet open_to(uint32_t to, const char *when)
{
	port++;
	fwd = 0;
	say(OP_REQUEST, to, 0);
	return expect(OP_RESPONSE, when);
}

static void echo(const char *when)
{
	uint32_t got = 0;
	uint8_t *p;

	for (uint32_t i = 0; i < PATTERN; i++)
		data[i] = (uint8_t)(i ^ port);
	say(OP_RW, ECHO, PATTERN);
	while (got < PATTERN) {
		struct packet h = next(when, &p);

		if (h.op == OP_UPDATE)
			continue;
		CHECK(h.op == OP_RW && h.len <= PATTERN - got, "%s: the echo is %u, %u bytes", when,
			h.op, h.len);
		CHECK(memcmp(p, data + got, h.len) == 0, "%s: the echo differs", when);
		got += h.len;
	}
	fwd += got;
}

static void shut(uint32_t to, const char *when)
{
	struct packet p = packet(OP_SHUTDOWN, to, 0);

	p.flags = 3;
	send(&p, sizeof(p), 0);
	(void)expect(OP_RST, when);
}

/* A connection of before, and a new one. */
static void works(uint32_t old, const char *when)
{
	uint32_t keep = port, keep_fwd = fwd;
	static uint32_t old_fwd;

	if (old) {
		port = old;
		fwd = old_fwd;
		echo(when);
		old_fwd = fwd;
		port = keep;
		fwd = keep_fwd;
	} else {
		old_fwd = 0;
	}
	(void)open_to(ECHO, when);
	echo(when);
	shut(ECHO, when);
	blk_must_work(&disk, when);
}

/* ---- lies that belong to no connection ---- */

static void forge(uint64_t src, uint64_t dst, enum op op)
{
	struct packet p;

	port++;
	p = packet(op, ECHO, op == OP_RW ? 10 : 0);
	p.src_cid = src;
	p.dst_cid = dst;
	send(&p, sizeof(p), p.len);
	forged++;
}

static void forgeries(void)
{
	static const uint64_t others[] = { 0, 1, 2, 4, 0xffffffff, UINT64_C(0x100000003),
		UINT64_MAX };
	uint64_t own = cid;

	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (others[i] != own)
			forge(others[i], HOST, i & 1 ? OP_REQUEST : OP_RW);
		if (others[i] != HOST)
			forge(own, others[i], i & 1 ? OP_RW : OP_REQUEST);
	}
	forge(own, own, OP_REQUEST);
}

/* A request that is wrong in one way. answered: a RST must come, as to any stranger. */
static void wrong(const char *what, void (*spoil)(struct packet *p), uint32_t header,
	uint32_t bytes, bool answered)
{
	struct packet p;

	port++;
	p = packet(OP_REQUEST, ECHO, 0);
	if (spoil)
		spoil(&p);
	send(&p, header, bytes);
	malformed++;
	if (answered)
		(void)expect(OP_RST, what);
}

static void type_2(struct packet *p)
{
	p->type = 2;
}

static void op_0(struct packet *p)
{
	p->op = OP_INVALID;
}

static void op_8(struct packet *p)
{
	p->op = 8;
}

static void len_huge(struct packet *p)
{
	p->op = OP_RW;
	p->len = UINT32_MAX;
}

static void len_less(struct packet *p)
{
	p->op = OP_RW;
	p->len = 5;
}

static void request_with_data(struct packet *p)
{
	p->len = 10;
}

static void strangers(void)
{
	static const enum op ops[] = { OP_RESPONSE, OP_SHUTDOWN, OP_RW, OP_UPDATE, OP_ASK };

	wrong("header of 43 bytes", NULL, sizeof(struct packet) - 1, 0, false);
	wrong("one byte", NULL, 1, 0, false);
	wrong("type 2", type_2, sizeof(struct packet), 0, true);
	wrong("operation 0", op_0, sizeof(struct packet), 0, true);
	wrong("operation 8", op_8, sizeof(struct packet), 0, true);
	wrong("length of 4 GiB", len_huge, sizeof(struct packet), 10, true);
	wrong("length less than the data", len_less, sizeof(struct packet), 10, true);
	wrong("request with data", request_with_data, sizeof(struct packet), 10, true);
	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		port++;
		say(ops[i], ECHO, ops[i] == OP_RW ? 20 : 0);
		(void)expect(OP_RST, "a packet of no connection");
	}
	port++;
	say(OP_RST, ECHO, 0); /* never answered */
	port++;
	say(OP_REQUEST, 12345, 0);
	(void)expect(OP_RST, "a port that nobody listens on");
}

/* ---- lies about credit ---- */

static void too_much(void)
{
	struct packet p = open_to(STALLED, "the server that does not read");
	uint32_t credit = p.buf_alloc, sent = 0;

	CHECK(credit > 0 && credit <= 1 << 20, "a credit of %u", credit);
	/* The host's socket takes some before its reader stalls; then what we may is enough. */
	for (unsigned i = 0; i < 200; i++) {
		p = packet(OP_RW, STALLED, 32768);
		send(&p, sizeof(p), 32768);
		sent += 32768;
		if (virtq_more(&rx)) {
			p = next("beyond the credit", NULL);
			if (p.op == OP_RST)
				break;
		}
	}
	CHECK(p.op == OP_RST, "%u bytes were taken without a reader", sent);
	over_credit++;
}

static void credit_lies(void)
{
	struct packet p;

	(void)open_to(ECHO, "credit from the future");
	p = packet(OP_UPDATE, ECHO, 0);
	p.fwd_cnt = 0x7fffffff; /* we took what was never sent */
	send(&p, sizeof(p), 0);
	p.fwd_cnt = 0;
	p.buf_alloc = UINT32_MAX;
	send(&p, sizeof(p), 0);
	p.buf_alloc = 0; /* and take it all back */
	send(&p, sizeof(p), 0);
	port++;
	(void)open_to(ECHO, "no credit");
	p = packet(OP_RW, ECHO, PATTERN);
	p.buf_alloc = 0;
	for (unsigned i = 0; i < 8; i++)
		send(&p, sizeof(p), PATTERN);
}

/* A connection that is opened twice, answered, shut down with all flags. */
static void out_of_order(void)
{
	static const enum op ops[] = { OP_REQUEST, OP_RESPONSE };

	for (unsigned i = 0; i < 2; i++) {
		(void)open_to(ECHO, "out of order");
		say(ops[i], ECHO, 0);
		(void)expect(OP_RST, "out of order");
		malformed++;
	}
	for (unsigned i = 0; i < 2; i++) {
		struct packet p;

		(void)open_to(ECHO, "strange flags");
		p = packet(OP_SHUTDOWN, ECHO, 0);
		p.flags = i ? UINT32_MAX : 0xfffffff4;
		send(&p, sizeof(p), 0);
	}
}

/* ---- lies in the rings ---- */

static void broken(const char *what, struct virtq *q, uint64_t addr, uint32_t len, bool writable)
{
	static struct packet p;
	struct seg s = { &p, len, writable };
	uint16_t head;

	vdev_negotiate(&d, F_INDIRECT);
	virtq_init(&rx, &d, 0, 0);
	virtq_init(&tx, &d, 1, 0);
	virtq_init(&event, &d, 2, 0);
	vdev_ok(&d);
	p = packet(OP_REQUEST, 12345, 0);
	if (q == &rx) { /* something that must be answered, into the bad buffer */
		struct seg request = { &p, sizeof(p), false };

		virtq_publish(&tx, virtq_add(&tx, &request, 1));
	}
	head = virtq_add(q, &s, 1);
	if (addr)
		q->desc[head].addr = addr;
	virtq_publish(q, head);
	virtq_kick(q);
	if (q == &rx)
		virtq_kick(&tx);
	CHECK(vdev_broken(&d), "%s: no DEVICE_NEEDS_RESET", what);
	blk_must_work(&disk, what);
	start();
	works(0, what);
}

int main(void)
{
	uint32_t old;

	vdev_find(&d, 19, 0);
	vdev_find(&disk.dev, 2, 0);
	blk_start(&disk, &disk_q, F_EVENT_IDX | F_INDIRECT);
	start();
	CHECK(cid == boot_number("expect.cid", 3), "CID %lx", cid);
	works(0, "at first");
	(void)open_to(ECHO, "a connection that stays");
	old = port;
	works(old, "a connection that stays");
	console_print("forged addresses\n");
	forgeries();
	works(old, "forged addresses");
	console_print("malformed packets\n");
	strangers();
	works(old, "malformed packets");
	console_print("more than the credit\n");
	too_much();
	works(old, "more than the credit");
	console_print("lies about credit\n");
	credit_lies();
	works(old, "lies about credit");
	console_print("out of order\n");
	out_of_order();
	works(old, "out of order");
	console_print("rings\n");
	broken("packet outside RAM", &tx, NOWHERE, sizeof(struct packet), false);
	broken("buffer outside RAM", &rx, NOWHERE, sizeof(in[0]), true);
	broken("buffer read-only", &rx, 0, sizeof(struct packet), false);
	broken("buffer of 10 bytes", &rx, 0, 10, true);
	console_print("count tx_forged %u\ncount tx_malformed %u\ncount tx_over_credit %u\n",
		forged, malformed, over_credit);
	return 0;
}
