/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of the metadata service: Ethernet with ARP for one address (RFC 826), or with IPv4
 * (RFC 791) and TCP (RFC 9293) in it. Reading, which trusts nothing, and writing. Checksums are
 * written and not verified: between the guest and us nothing can spoil a frame, and a guest that
 * leaves them to its network card leaves them unset. Addresses are numbers in the host's order. No
 * state; any thread.
 */
#ifndef VOLT_MMDS_FRAME_H
#define VOLT_MMDS_FRAME_H

#include <stdbool.h>

#include "compiler.h"

#define MMDS_FRAME_MAC_BYTES 6
#define MMDS_FRAME_HEAD	     42 /* what must be seen of a frame to know whose it is: that of ARP */
#define MMDS_FRAME_TCP_HEAD  54 /* Ethernet, IPv4 and TCP without options */
#define MMDS_FRAME_WINDOW    2500 /* bytes that a guest may send ahead; Firecracker's */
/* Longer frames are cut to this: what is lost is beyond the window. */
#define MMDS_FRAME_MAX (14 + 60 + 60 + MMDS_FRAME_WINDOW)

#define MMDS_FRAME_FIN 0x01u
#define MMDS_FRAME_SYN 0x02u
#define MMDS_FRAME_RST 0x04u
#define MMDS_FRAME_PSH 0x08u
#define MMDS_FRAME_ACK 0x10u

extern const uint8_t mmds_frame_mac[MMDS_FRAME_MAC_BYTES]; /* ours: Firecracker's, too */

/* The guest's end of a connection, or who asked. */
struct mmds_frame_peer {
	uint8_t mac[MMDS_FRAME_MAC_BYTES];
	uint16_t port;
	uint32_t ipv4;
};

struct mmds_frame_segment {
	uint32_t seq, ack;
	uint16_t port; /* ours */
	uint8_t flags; /* FIN is not set if the data was cut */
	uint16_t window;
	uint16_t mss; /* of the option; 0: none */
	const uint8_t *data; /* borrowed */
	size_t len;
};

enum mmds_frame_kind {
	MMDS_FRAME_ARP,	   /* asks for our address; *peer has who */
	MMDS_FRAME_TCP,	   /* *peer and *segment */
	MMDS_FRAME_OTHER,  /* for us by its address, and nothing that we speak */
	MMDS_FRAME_BROKEN, /* its lengths cannot be */
	MMDS_FRAME_SHORT,  /* not even an Ethernet header */
};

/* Whether a frame is for the address, from its first n bytes: MMDS_FRAME_HEAD, or all of it. */
bool mmds_frame_wants(const uint8_t *head, size_t n, uint32_t ipv4);

/* n is MMDS_FRAME_MAX if the frame was cut. mmds_frame_wants() need not have been asked. */
enum mmds_frame_kind mmds_frame_read(const uint8_t *frame, size_t n,
	struct mmds_frame_peer *peer, struct mmds_frame_segment *segment);

/* Write a frame and return its length: 42 bytes, and up to MMDS_FRAME_TCP_HEAD + 4 + len. */
size_t mmds_frame_write_arp(uint8_t *frame, uint32_t ipv4, const struct mmds_frame_peer *peer);
size_t mmds_frame_write_tcp(uint8_t *frame, uint32_t ipv4, const struct mmds_frame_peer *peer,
	const struct mmds_frame_segment *segment);

#endif
