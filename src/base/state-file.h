/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a file of machine state (docs/snapshot-format.md), for state.c and state-print.c:
 * takes them apart, and checks as it goes that everything is inside of what it is part of. Nothing
 * is allocated. Errors are -EBADMSG, or -ENOTSUP for a newer format.
 */
#ifndef VOLT_STATE_FILE_H
#define VOLT_STATE_FILE_H

#include "state.h"

#define STATE_FILE_MAGIC   "VOLTSTAT"
#define STATE_FILE_END     "VOLTSEND"
#define STATE_FILE_VERSION 1u

#define STATE_FILE_HEADER  24u /* magic, version, sections, bytes of the file */
#define STATE_FILE_SECTION 48u /* type, instance, version, bytes, CRC */
#define STATE_FILE_FIELD   6u /* type, length of the name, of the value */
#define STATE_FILE_TRAILER 12u /* magic, CRC */

#define STATE_FILE_TYPE_BYTES (STATE_NAME_MAX + 1)

enum state_file_type {
	STATE_FILE_BOOL = 1,
	STATE_FILE_U8,
	STATE_FILE_U16,
	STATE_FILE_U32,
	STATE_FILE_U64,
	STATE_FILE_BYTES,
	STATE_FILE_TEXT,
};

struct state_file {
	const uint8_t *data;
	size_t bytes, at;
	uint32_t n_sections, seen;
	uint32_t crc; /* of what the trailer's is of, up to `at` */
};

struct state_section {
	char type[STATE_FILE_TYPE_BYTES];
	uint32_t instance, version, crc;
	const uint8_t *body;
	uint32_t bytes;
};

struct state_field {
	enum state_file_type type;
	unsigned name_len;
	const char *name; /* not terminated */
	const uint8_t *value;
	uint32_t bytes;
};

int state_file_open(struct state_file *f, const void *data, size_t len, struct volt_err *err);
/* 1: the next section; 0: there is none, and the trailer is right. */
int state_file_section(struct state_file *f, struct state_section *ret, struct volt_err *err);
int state_file_check_crc(const struct state_section *s, struct volt_err *err);
/* 1: the field at *at of the section, which moves on; 0: there is none. */
int state_file_field(
	const struct state_section *s, uint32_t *at, struct state_field *ret, struct volt_err *err);
/* The same of a section that was gone through before: no error can be. */
bool state_file_next(const struct state_section *s, uint32_t *at, struct state_field *ret);

/* Bytes of a value of a type, 0 if they vary; and the type's name. */
uint32_t state_file_bytes(enum state_file_type type);
const char *state_file_type_name(enum state_file_type type);

#endif
