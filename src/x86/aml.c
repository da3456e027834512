/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI Machine Language, see aml.h. */
#include "aml.h"

#include <string.h>

#include "num.h"

#define OP_ZERO	       0x00
#define OP_ONE	       0x01
#define OP_NAME	       0x08
#define OP_BYTE	       0x0a
#define OP_WORD	       0x0b
#define OP_DWORD       0x0c
#define OP_STRING      0x0d
#define OP_QWORD       0x0e
#define OP_SCOPE       0x10
#define OP_BUFFER      0x11
#define OP_PACKAGE     0x12
#define OP_METHOD      0x14
#define OP_EXTENDED    0x5b
#define OP_ARG0	       0x68
#define OP_EXT_DEVICE  0x82
#define OP_NOTIFY      0x86
#define OP_LEQUAL      0x93
#define OP_IF	       0xa0
#define METHOD_SERIAL  0x08

#define RES_IO	       0x47 /* small, type 8, 7 bytes */
#define RES_END	       0x79
#define RES_MEMORY32   0x86
#define RES_INTERRUPT  0x89
#define INT_CONSUMER   0x01
#define INT_EDGE       0x02 /* active high and exclusive are 0 */

/* PkgLength in three bytes: 4 + 8 + 8 bits (20.2.4). A longer form than needed is allowed. */
#define PKG_LENGTH_BYTES 3
#define PKG_LENGTH_MAX	 0xfffff

static void add(struct aml *a, const void *p, size_t len)
{
	if (a->overflow || len > a->cap - a->len) {
		a->overflow = true;
		return;
	}
	memcpy(a->buf + a->len, p, len);
	a->len += len;
}

static void add_u8(struct aml *a, unsigned v)
{
	uint8_t b = (uint8_t)v;

	add(a, &b, sizeof(b));
}

static void add_segment(struct aml *a, const char *name)
{
	if (name[0] == '\\') {
		add_u8(a, '\\');
		name++;
	}
	assert(strlen(name) == 4);
	add(a, name, 4);
}

static struct aml_block begin(struct aml *a)
{
	struct aml_block block = { .length_at = a->len };

	add(a, (const uint8_t[PKG_LENGTH_BYTES]){ 0 }, PKG_LENGTH_BYTES);
	return block;
}

void aml_end(struct aml *a, struct aml_block block)
{
	size_t len = a->len - block.length_at;
	uint8_t *p = a->buf + block.length_at;

	if (len > PKG_LENGTH_MAX)
		a->overflow = true;
	if (a->overflow)
		return;
	p[0] = (uint8_t)((PKG_LENGTH_BYTES - 1) << 6 | (len & 0xf));
	p[1] = (uint8_t)(len >> 4);
	p[2] = (uint8_t)(len >> 12);
}

struct aml_block aml_begin_scope(struct aml *a, const char *name)
{
	struct aml_block block;

	add_u8(a, OP_SCOPE);
	block = begin(a);
	add_segment(a, name);
	return block;
}

struct aml_block aml_begin_device(struct aml *a, const char *name)
{
	struct aml_block block;

	add_u8(a, OP_EXTENDED);
	add_u8(a, OP_EXT_DEVICE);
	block = begin(a);
	add_segment(a, name);
	return block;
}

struct aml_block aml_begin_method(struct aml *a, const char *name, unsigned n_args)
{
	struct aml_block block;

	assert(n_args <= 7);
	add_u8(a, OP_METHOD);
	block = begin(a);
	add_segment(a, name);
	add_u8(a, n_args | METHOD_SERIAL);
	return block;
}

struct aml_block aml_begin_package(struct aml *a, uint8_t n_elements)
{
	struct aml_block block;

	add_u8(a, OP_PACKAGE);
	block = begin(a);
	add_u8(a, n_elements);
	return block;
}

struct aml_block aml_begin_if_arg0(struct aml *a, uint64_t v)
{
	struct aml_block block;

	add_u8(a, OP_IF);
	block = begin(a);
	add_u8(a, OP_LEQUAL);
	add_u8(a, OP_ARG0);
	aml_integer(a, v);
	return block;
}

void aml_name(struct aml *a, const char *name)
{
	add_u8(a, OP_NAME);
	add_segment(a, name);
}

void aml_integer(struct aml *a, uint64_t v)
{
	if (v <= 1) {
		add_u8(a, v ? OP_ONE : OP_ZERO);
	} else if (v <= UINT8_MAX) {
		add_u8(a, OP_BYTE);
		add(a, &v, 1);
	} else if (v <= UINT16_MAX) {
		add_u8(a, OP_WORD);
		add(a, &v, 2);
	} else if (v <= UINT32_MAX) {
		add_u8(a, OP_DWORD);
		add(a, &v, 4);
	} else {
		add_u8(a, OP_QWORD);
		add(a, &v, 8);
	}
}

void aml_string(struct aml *a, const char *s)
{
	add_u8(a, OP_STRING);
	add(a, s, strlen(s) + 1);
}

static unsigned hex(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* 19.6.37: three letters of five bits and four hexadecimal digits, big-endian. */
void aml_eisa_id(struct aml *a, const char *id)
{
	uint8_t b[4];

	assert(strlen(id) == 7);
	b[0] = (uint8_t)((id[0] - '@') << 2 | (id[1] - '@') >> 3);
	b[1] = (uint8_t)(((id[1] - '@') & 7) << 5 | (id[2] - '@'));
	b[2] = (uint8_t)(hex(id[3]) << 4 | hex(id[4]));
	b[3] = (uint8_t)(hex(id[5]) << 4 | hex(id[6]));
	add_u8(a, OP_DWORD);
	add(a, b, sizeof(b));
}

void aml_notify(struct aml *a, const char *name, uint64_t value)
{
	add_u8(a, OP_NOTIFY);
	add_segment(a, name);
	aml_integer(a, value);
}

struct aml_resources aml_begin_crs(struct aml *a)
{
	struct aml_resources r;

	aml_name(a, "_CRS");
	add_u8(a, OP_BUFFER);
	r.block = begin(a);
	add_u8(a, OP_WORD);
	r.size_at = a->len;
	add(a, (const uint8_t[2]){ 0 }, 2);
	return r;
}

void aml_end_crs(struct aml *a, struct aml_resources r)
{
	size_t bytes;

	add(a, (const uint8_t[2]){ RES_END, 0 }, 2); /* checksum 0: not used (6.4.2.9) */
	bytes = a->len - r.size_at - 2;
	if (bytes > UINT16_MAX)
		a->overflow = true;
	if (!a->overflow)
		num_put_le16(a->buf + r.size_at, (uint16_t)bytes);
	aml_end(a, r.block);
}

void aml_memory32(struct aml *a, uint32_t gpa, uint32_t bytes)
{
	add(a, (const uint8_t[]){ RES_MEMORY32, 9, 0, 1 }, 4);
	add(a, &gpa, sizeof(gpa));
	add(a, &bytes, sizeof(bytes));
}

void aml_io(struct aml *a, uint16_t port, uint8_t n)
{
	add(a, (const uint8_t[]){ RES_IO, 1 }, 2);
	add(a, &port, sizeof(port));
	add(a, &port, sizeof(port));
	add(a, (const uint8_t[]){ 1, n }, 2);
}

void aml_interrupt(struct aml *a, uint32_t gsi)
{
	add(a, (const uint8_t[]){ RES_INTERRUPT, 6, 0, INT_CONSUMER | INT_EDGE, 1 }, 5);
	add(a, &gsi, sizeof(gsi));
}
