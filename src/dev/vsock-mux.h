/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to vsock*.c and their tests: the device and its table of connections. Loop thread with
 * the device's lock held, unless it says otherwise.
 *
 * The table has a fixed number of slots and one buffer for each, reserved and not committed, so
 * that nothing is allocated later. A connection that has something for the guest is in one of two
 * queues, served in turn: `urgent` if it is a packet without payload, which is pending as a flag of
 * the connection and so cannot be lost, `bulk` if bytes of the host are to be read.
 *
 * While there are connections the device holds one virtio_begin() for each: a reset of the driver,
 * which comes on a vCPU thread, waits until the loop thread has closed them.
 */
#ifndef VOLT_VSOCK_MUX_H
#define VOLT_VSOCK_MUX_H

#include <linux/virtio_vsock.h>
#include <sys/queue.h>

#include "loop.h"
#include "virtio.h"
#include "vsock.h"

#define VSOCK_HOST_CID	     2
#define VSOCK_TIMEOUT_NS     (2 * NSEC_PER_SEC)	       /* CONNECT line, answer, grace: each */
#define VSOCK_RETRY_NS	     (NSEC_PER_SEC / 50)       /* connect(), while a backlog is full */
#define VSOCK_GATE_NS	     (NSEC_PER_SEC / 100)      /* between two looks at the gate */
#define VSOCK_PAUSE_NS	     (NSEC_PER_SEC / 10)       /* accept(), while there is no fd */
#define VSOCK_TICK_NS	     (NSEC_PER_SEC / 100)      /* what deadlines are rounded up to */
#define VSOCK_HOST_PORT	     (UINT32_C(1) << 30)       /* the first of those we assign */
#define VSOCK_HOST_PORT_LAST ((UINT32_C(1) << 31) - 1)
#define VSOCK_HEADER_BYTES   44
#define VSOCK_RX_BATCH	     16	   /* buffers of the guest that are filled at once */
#define VSOCK_RX_IOVS	     512
#define VSOCK_RESETS	     128   /* pending resets of what is no connection */
#define VSOCK_BUCKETS	     1024
#define VSOCK_LINE_MAX	     32	   /* "CONNECT PORT\n" */

static_assert(sizeof(struct virtio_vsock_hdr) == VSOCK_HEADER_BYTES, "virtio 1.2, 5.10.6");
static_assert(IS_POW2(VSOCK_BUFFER_BYTES), "the counters of a connection index its buffer");

enum vsock_state {
	VSOCK_FREE,
	VSOCK_GREETING,	 /* a host program has connected and not yet said to whom */
	VSOCK_REQUESTED, /* the guest has not answered yet */
	VSOCK_CALLING,	 /* the host program's backlog is full: connect() will be tried again */
	VSOCK_OPEN,
	VSOCK_LINGER, /* the guest is done with it, its last bytes are flushed; not in the table */
	VSOCK_ENDED,  /* the socket is closed, a RST is owed to the guest */
};

/* Packets that are pending for the guest, in the order in which they are sent. */
enum vsock_want {
	VSOCK_WANT_REQUEST = 1 << 0,
	VSOCK_WANT_RESPONSE = 1 << 1,
	VSOCK_WANT_CREDIT_UPDATE = 1 << 2,
	VSOCK_WANT_CREDIT_REQUEST = 1 << 3,
	VSOCK_WANT_SHUTDOWN = 1 << 4,
	VSOCK_WANT_RST = 1 << 5,
};

struct vsock;
TAILQ_HEAD(vsock_queue, vsock_conn);
LIST_HEAD(vsock_bucket, vsock_conn);

struct vsock_conn {
	struct loop_src src; /* edge-triggered: the flags below remember */
	struct vsock *s;     /* borrowed: the one whose slot this is */
	int fd;		     /* owned; -1: none */
	enum vsock_state state;
	uint32_t host_port, guest_port;
	uint64_t deadline_ns; /* 0: none */
	uint64_t give_up_ns;  /* CALLING: the last try */

	unsigned want;	    /* VSOCK_WANT_* */
	bool readable;	    /* the socket may have something for us */
	bool writable;	    /* it may take something from us */
	bool half;	    /* EPOLLRDHUP was seen: behind what is readable comes the end */
	bool gone;	    /* EPOLLHUP was seen: nobody is there */
	bool at_end;	    /* nothing more will be read from it */
	bool deaf;	    /* it takes nothing any more: what the guest sends is dropped */
	bool fin;	    /* our end is shut down for writing */
	bool bulk;	    /* the last read filled all it was given */
	bool credit_asked;  /* since the guest last gave some */
	bool buffer_used;   /* the buffer has pages */
	bool counted;	    /* in connections_added */
	uint32_t shut_due;  /* VIRTIO_VSOCK_SHUTDOWN_*: what the guest is to know */
	uint32_t shut_told; /* what it was told */
	uint32_t shut_got;  /* what it told us */

	/* To the guest: bytes sent, and its side as of its last packet. All of these wrap. */
	uint32_t sent, peer_alloc, peer_fwd;
	/* From the guest: bytes received, given to the host, and of the latter told. */
	uint32_t received, forwarded, told;
	uint8_t *buffer; /* received - forwarded bytes, from forwarded % VSOCK_BUFFER_BYTES on */

	struct vsock_queue *queue; /* which of the two it is in; NULL: none */
	TAILQ_ENTRY(vsock_conn) link;  /* in that queue, or of the free list */
	LIST_ENTRY(vsock_conn) same;   /* of its bucket */
	bool hashed;
};

/* A RST that answers a packet without a connection. */
struct vsock_reset {
	uint32_t host_port, guest_port;
	uint16_t type;
};

struct vsock {
	struct virtio_dev v;
	struct vsock_counters counters;
	struct virtio_vsock_config config;
	struct loop *loop; /* borrowed */
	char path[LIMIT_SOCKET_PATH];

	struct loop_src listener;
	int listenfd; /* owned */
	struct loop_src timer;
	int timerfd;	    /* owned */
	uint64_t armed_ns;  /* when it fires; 0: not armed */
	uint64_t accept_ns; /* accepting pauses until then; 0: it does not */
	uint64_t paused_ns; /* when the VM was paused */
	uint32_t next_port; /* host port of the next connection from the host */

	struct vsock_conn *conns; /* VSOCK_CONNECTIONS slots */
	uint8_t *buffers;	  /* VSOCK_BUFFER_BYTES for each */
	unsigned n_fresh;	  /* slots from here on were never used */
	struct vsock_queue free, urgent, bulk;
	struct vsock_bucket buckets[VSOCK_BUCKETS];

	struct vsock_reset resets[VSOCK_RESETS];
	unsigned reset_at, n_resets;
	bool event_due;
	/*
	 * The guest is to close its connections, and has not done so: a new one would be lost with
	 * them, so nothing goes on before it has.
	 */
	bool gated;
	uint16_t gate_idx;	/* what the event queue's driver had given when it was told */
	uint64_t gate_until_ns; /* then it goes on anyway */

	/* What is being filled; too large for a stack. */
	struct virtq_chain rx[VSOCK_RX_BATCH];
	struct iovec iov[VSOCK_RX_IOVS];
};

/* -- vsock.c -------------------------------------------------------------------------------- */

/* Gives the guest what is pending, as far as it has buffers. */
void vsock_pump(struct vsock *s);
/* True if the guest has taken the reset of the transport, or there is none; else looks again. */
bool vsock_passed(struct vsock *s);

/* -- vsock-mux.c ---------------------------------------------------------------------------- */

/* Building thread. vsock_mux_done() undoes it in any state, also after a failure. */
int vsock_mux_init(struct vsock *s, struct volt_err *err);
void vsock_mux_done(struct vsock *s);

/* Around a callback of the loop: takes the lock; false if the device does not run: then leave. */
bool vsock_mux_enter(struct vsock *s);
void vsock_mux_leave(struct vsock *s);

/* A free slot as a connection in state GREETING, in no list; NULL if there is none. */
struct vsock_conn *vsock_mux_add(struct vsock *s);
/* Watches its socket. 0 or -errno. */
int vsock_mux_watch(struct vsock_conn *c);
/* While the VM is paused nothing is looked at, and no time passes. */
void vsock_mux_pause(struct vsock *s);
void vsock_mux_resume(struct vsock *s);
/* Closes its socket; the connection stays. */
void vsock_mux_close(struct vsock_conn *c);
/* Closes and forgets it. */
void vsock_mux_free(struct vsock_conn *c);
/* All of them, and stops listening. */
void vsock_mux_drop(struct vsock *s);

/* The connection of these two ports, or NULL. */
struct vsock_conn *vsock_mux_find(const struct vsock *s, uint32_t host_port, uint32_t guest_port);
/* Makes it be found by its ports, counts it. */
void vsock_mux_insert(struct vsock_conn *c);
void vsock_mux_remove(struct vsock_conn *c);

/* Puts it at the end of a queue, unless it is in it, and out of the other; NULL: out of both. */
void vsock_mux_enqueue(struct vsock_conn *c, struct vsock_queue *queue);

/* Calls vsock_conn_expire(), or vsock_host_retry(), that much later; 0: not at all. */
void vsock_mux_deadline(struct vsock_conn *c, uint64_t delay_ns);
/* Makes the timer fire at that time at the latest. */
void vsock_mux_arm(struct vsock *s, uint64_t at_ns);

/* -- vsock-host.c --------------------------------------------------------------------------- */

/* Starts to accept, unless it does or pauses; the callback of the listener. */
void vsock_host_listen(struct vsock *s);
void vsock_host_accept(struct loop_src *src, uint32_t events);
/* State GREETING: the socket is readable or gone. May free c. */
void vsock_host_greet(struct vsock_conn *c);
/* State CALLING: connects to the host's socket for c->host_port, or refuses. */
void vsock_host_call(struct vsock_conn *c);

/* -- vsock-conn.c --------------------------------------------------------------------------- */

/* The functions that return nothing may free c. */

/* Its socket has these EPOLL* events. */
void vsock_conn_event(struct vsock_conn *c, uint32_t events);
/* The guest sent this packet, whose payload is behind the header in `chain`. */
void vsock_conn_packet(struct vsock_conn *c, const struct virtio_vsock_hdr *h,
	const struct virtq_chain *chain);
/* Its deadline has passed. */
void vsock_conn_expire(struct vsock_conn *c);
/* Both sides agree: from now on it carries data. */
void vsock_conn_open(struct vsock_conn *c);
/* Closes the socket now, resets the guest's side: in good order; because of an error. */
void vsock_conn_end(struct vsock_conn *c);
void vsock_conn_abort(struct vsock_conn *c);

/* Takes the first of the pending packets, c->want is not 0. */
void vsock_conn_control(struct vsock_conn *c, struct virtio_vsock_hdr *ret);
/* How many bytes the guest would take now. */
uint32_t vsock_conn_room(const struct vsock_conn *c);
/* Reads what the host sent: the bytes read, or 0. `room`: what the buffers hold. */
size_t vsock_conn_read(struct vsock_conn *c, const struct iovec *iov, unsigned n, size_t room);
/* The header of a packet to the guest. */
void vsock_conn_header(struct vsock_conn *c, uint16_t op, uint32_t len,
	struct virtio_vsock_hdr *ret);
/* After its turn to read. */
void vsock_conn_turn_done(struct vsock_conn *c);

#endif
