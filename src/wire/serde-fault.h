/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a fault, put together piece by piece in Rust's notation; see serde.h. What does not
 * fit is cut between two characters, the position behind it is never cut. No state; any thread.
 */
#ifndef VOLT_SERDE_FAULT_H
#define VOLT_SERDE_FAULT_H

#include "serde.h"

struct serde_say {
	struct serde_fault *fault;
	size_t used;
	bool cut, done; /* done: nothing may be added */
};

/* The length of the UTF-8 character at the start of n > 0 bytes, or 0 if there is none. */
size_t serde_fault_decode(const char *text, size_t n, uint32_t *ret);

void serde_fault_start(struct serde_say *s, struct serde_fault *fault);
void serde_fault_put(struct serde_say *s, const char *text);
/* n bytes of UTF-8 as they are, a zero byte as \0. */
void serde_fault_put_raw(struct serde_say *s, const char *text, size_t n);
/* n bytes of UTF-8 in double quotes, as {:?} writes a str. */
void serde_fault_put_quoted(struct serde_say *s, const char *text, size_t n);
/* The shortest digits that read back as d, which is finite: "1.0", "1.5e-7", "1e+16". */
void serde_fault_put_real(struct serde_say *s, double d);
void serde_fault_put_number(struct serde_say *s, bool negative, uint64_t magnitude);
/* Ends the text with the position behind the first `at` bytes of a JSON text. */
void serde_fault_place(struct serde_say *s, const char *text, size_t at);
/* Instead of all that was put. */
void serde_fault_memory(struct serde_say *s);

#endif
