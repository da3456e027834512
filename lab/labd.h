/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lab's supervisor: what its two files share, and the wire format it speaks with the host.
 *
 * Wire: frames over one virtio-serial port. A frame is two little-endian 32-bit words and a
 * payload: channel, then type in the top byte and payload length below. One channel is one command.
 * Each of the streams of a channel has a window of LABD_WINDOW bytes; whoever takes bytes off a
 * stream hands the same number back with LABD_CREDIT, so a stalled reader stops its own stream and
 * nothing else. vlab/wire.py is the other end; the two must change together (LABD_HELLO carries the
 * version).
 */
#ifndef LABD_H
#define LABD_H

#include <stdint.h>

#define LABD_VERSION 1u
#define LABD_PORT_NAME "volt-lab"
#define LABD_PAYLOAD_MAX 32760u /* with its header one virtio-serial write */
#define LABD_WINDOW 262144u
#define LABD_PREP_MAX (4u << 20)

enum labd_type {
	LABD_HELLO = 1,	   /* to host: le32 version */
	LABD_TIME = 2,	   /* to lab: le64 ns since the epoch */
	LABD_PREP = 3,	   /* to lab: a piece of the start record, see chan_start() */
	LABD_START = 4,	   /* to lab: the record is complete, run it */
	LABD_STDIN = 5,	   /* to lab: bytes; none = end of file */
	LABD_STDOUT = 6,   /* to host: bytes */
	LABD_STDERR = 7,   /* to host: bytes */
	LABD_CREDIT = 8,   /* both: le32 stream (0 in, 1 out, 2 err, 3 tty), le32 bytes */
	LABD_WINSIZE = 9,  /* to lab: le16 rows, le16 columns */
	LABD_SIGNAL = 10,  /* to lab: le32 signal for the command's process group */
	LABD_ABANDON = 11, /* to lab: the client is gone, end the command */
	LABD_EXIT = 12,	   /* to host: le32 exit status, last frame of a channel */
	LABD_FAIL = 13,	   /* to host: le32 exit status, text; the command did not start */
	LABD_POWEROFF = 14, /* to lab: end the machine */
	LABD_TTYOUT = 15   /* to host: bytes the command wrote to its terminal */
};

enum labd_flag {
	LABD_TTY_IN = 1,
	LABD_TTY_OUT = 2,
	LABD_TTY_ERR = 4,
	LABD_FRESH = 8 /* forget cached host files first, so that changes on the host are seen */
};

/* Brings the lab from an empty initramfs to a usable system; ends the machine if it cannot. */
void boot_system(void);

/* Puts one line into the kernel log (which the host keeps) and powers the machine off. */
_Noreturn void boot_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Writes a short string to a file such as a sysctl; returns 0 or -errno. */
int boot_write_file(const char *path, const char *text);

#endif
