/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI Machine Language, byte by byte (ACPI 6.5, chapter 20; resource descriptors chapter 6.4).
 * What does not fit sets `overflow` and is dropped, so that a caller checks once at the end. Any
 * thread.
 */
#ifndef VOLT_AML_H
#define VOLT_AML_H

#include <stdbool.h>

#include "compiler.h"

struct aml {
	uint8_t *buf; /* borrowed */
	size_t cap, len;
	bool overflow;
};

/* A construct with a length in front, open until aml_end(). */
struct aml_block {
	size_t length_at; /* of PkgLength */
};

/* Names are NameSegs: exactly four characters, padded with '_'. A leading '\\' is kept. */
struct aml_block aml_begin_scope(struct aml *a, const char *name);
struct aml_block aml_begin_device(struct aml *a, const char *name);
/* Serialized, sync level 0. */
struct aml_block aml_begin_method(struct aml *a, const char *name, unsigned n_args);
struct aml_block aml_begin_package(struct aml *a, uint8_t n_elements);
/* If (LEqual (Arg0, v)) { <what is added next> }. */
struct aml_block aml_begin_if_arg0(struct aml *a, uint64_t v);
void aml_end(struct aml *a, struct aml_block block);

/* Name (name, <what is added next>). */
void aml_name(struct aml *a, const char *name);
void aml_integer(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
/* EISAID ("PNP0501"). */
void aml_eisa_id(struct aml *a, const char *id);
/* Notify (name, value). */
void aml_notify(struct aml *a, const char *name, uint64_t value);

/* Name (_CRS, ResourceTemplate () { ... }). */
struct aml_resources {
	struct aml_block block;
	size_t size_at;
};

struct aml_resources aml_begin_crs(struct aml *a);
void aml_end_crs(struct aml *a, struct aml_resources r);

/* Memory32Fixed (ReadWrite, gpa, bytes). */
void aml_memory32(struct aml *a, uint32_t gpa, uint32_t bytes);
/* IO (Decode16, port, port, 1, n). */
void aml_io(struct aml *a, uint16_t port, uint8_t n);
/* Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { gsi }. */
void aml_interrupt(struct aml *a, uint32_t gsi);

#endif
