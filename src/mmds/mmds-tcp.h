/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP connection of the guest to the metadata service, and the requests on it (RFC 9293, what a
 * server needs of it). The guest opens and the guest closes; requests are answered one after the
 * other, each when the answer before has been acknowledged.
 *
 *	SYN --> established == false -- ACK --> established -- FIN, and all is answered --> closing
 *	         |                               |                                           |
 *	         +---- RST, from either side ----+-------------- done <------- ACK of our FIN
 *
 * Bytes are taken in order only: a segment behind a gap is dropped and the gap acknowledged, so
 * that the guest sends again. What we send is sent again from the first byte not acknowledged
 * (go-back-N), every MMDS_TCP_RTO_NS, and MMDS_TCP_TRIES times without an answer; a window of zero
 * is probed by one byte in the same way. Options other than MSS are ignored, so windows are not
 * scaled.
 *
 * Memory: a receive buffer of the size of our window, a request of at most that many bytes in the
 * parser, one answer. Time is given by the caller (CLOCK_MONOTONIC). Loop thread.
 */
#ifndef VOLT_MMDS_TCP_H
#define VOLT_MMDS_TCP_H

#include "mmds-frame.h"
#include "mmds.h"

/*
 * Firecracker counts cycles of the processor, 1.2e9 and 40e9, and means these times at 4 GHz.
 */
#define MMDS_TCP_PORT	  80
#define MMDS_TCP_RTO_NS	  (300 * NSEC_PER_SEC / 1000)
#define MMDS_TCP_TRIES	  15
#define MMDS_TCP_IDLE_NS  (10 * NSEC_PER_SEC)
#define MMDS_TCP_MSS	  536 /* of a guest that names none (RFC 9293, 3.7.1) */
#define MMDS_TCP_MSS_MIN  64  /* a hostile one must not get its bytes one by one */
#define MMDS_TCP_NEVER	  UINT64_MAX

struct mmds_tcp;

/*
 * From the guest's SYN; iss is our first sequence number, mss_max the longest segment that the link
 * takes. NULL: out of memory.
 */
struct mmds_tcp *mmds_tcp_open(struct mmds *m, const struct mmds_frame_peer *peer,
	const struct mmds_frame_segment *syn, uint32_t iss, unsigned mss_max, uint64_t now_ns);
void mmds_tcp_free(struct mmds_tcp *t);

const struct mmds_frame_peer *mmds_tcp_peer(const struct mmds_tcp *t);

/* A segment came. False: it is nothing that a guest in its right mind sends; it was ignored. */
bool mmds_tcp_receive(struct mmds_tcp *t, const struct mmds_frame_segment *s, uint64_t now_ns);

/* The next segment to the guest; false: none is due now. ret borrows from the connection. */
bool mmds_tcp_send(struct mmds_tcp *t, struct mmds_frame_segment *ret, uint64_t now_ns);

/* When there is something to send: 0: now; MMDS_TCP_NEVER. */
uint64_t mmds_tcp_due_ns(const struct mmds_tcp *t);

/* It has ended, and is to be freed. */
bool mmds_tcp_done(const struct mmds_tcp *t);

/* When the last segment came. */
uint64_t mmds_tcp_heard_ns(const struct mmds_tcp *t);

/* The segment that ends the connection at once. */
void mmds_tcp_abort(const struct mmds_tcp *t, struct mmds_frame_segment *ret);

#endif
