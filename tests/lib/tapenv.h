/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests with real taps: each in a network namespace of its own, with the log in memory. Frames of
 * the tests carry an EtherType of their own, what else is on the wire is passed over.
 */
#ifndef VOLT_TAPENV_H
#define VOLT_TAPENV_H

#include "test.h"

#include <stdbool.h>

#include "loop.h"
#include "netif.h"

#define NOBODY	 65534
#define LIMIT_NS (20 * NSEC_PER_SEC)

struct tapenv {
	struct loop loop;
	struct netif *n;
	struct volt_err err;
	unsigned link_calls;
	bool link_up;
};

static const uint8_t mac[6] UNUSED = { 0x02, 0, 0, 0, 0x47, 0x11 }; /* of the guest */

/* Status 77 where taps cannot be made. */
int tapenv_main(const struct CMUnitTest *tests, size_t n);
int tapenv_setup(void **state);
int tapenv_teardown(void **state);

/* A shell command. */
int tapenv_sh(const char *fmt, ...) PRINTF_LIKE(1, 2);
#define SH(...) assert_int_equal(tapenv_sh(__VA_ARGS__), 0)

void tapenv_clear_log(void);
bool tapenv_in_log(const char *words);
void tapenv_enter_namespace(void);
bool tapenv_exists(const char *name);
bool tapenv_is_up(const char *name);

/* The call returned -code, with these words in its error. */
void tapenv_expect(const struct volt_err *err, int r, int code, const char *words);

/* From now on the link's changes are counted. */
void tapenv_watch(struct tapenv *f);
/* Runs the loop until the link is so and the words are in the log. */
void tapenv_wait_link(struct tapenv *f, bool up, const char *words);

/* The network's side of a link: a raw socket on it. */
int tapenv_open_wire(const char *name);
/* A frame of ours to the guest. */
void tapenv_fill_frame(uint8_t *frame, size_t bytes, uint8_t value);
bool tapenv_is_marked(const uint8_t *frame);
/* The next frame of ours; -1: none came. */
ssize_t tapenv_read_wire(int fd, uint8_t *buf, size_t size);
/* What recv says to the next frame of ours; iov[0] has room for its head. */
ssize_t tapenv_read_netif(struct netif *n, unsigned queue, struct iovec *iov, unsigned n_iov);

/* For a child: a /dev with nothing in it but net/; no rights at all. */
void tapenv_empty_dev(void);
void tapenv_become_nobody(void);

#endif
