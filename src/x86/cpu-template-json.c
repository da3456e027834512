/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Custom CPU templates from and to JSON in Firecracker's form, see cpu-template.h. The value is
 * from a client or a file and may be anything. What is wrong with a text is said in Firecracker's
 * words, which clients see; no state; any thread.
 */
#include "cpu-template.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

#define SHOWN 128 /* bytes of a faulty text that a message repeats */

static const char *const reg_names[] = {
	[CPU_TEMPLATE_EAX] = "eax",
	[CPU_TEMPLATE_EBX] = "ebx",
	[CPU_TEMPLATE_ECX] = "ecx",
	[CPU_TEMPLATE_EDX] = "edx",
};

struct reader {
	char *where; /* of CPU_TEMPLATE_WHERE bytes */
	struct volt_err *err;
};

static void PRINTF_LIKE(2, 3) at(const struct reader *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->where, CPU_TEMPLATE_WHERE, fmt, ap);
	va_end(ap);
}

/* ---- texts ---- */

/* Digits of a base; NULL if all of s is a number up to max, else Rust's name of the fault. */
static const char *digits(const char *s, unsigned base, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (!*s)
		return "Empty";
	for (; *s; s++) {
		unsigned d = *s >= '0' && *s <= '9' ? (unsigned)(*s - '0')
			: *s >= 'a' && *s <= 'f'    ? (unsigned)(*s - 'a') + 10
			: *s >= 'A' && *s <= 'F'    ? (unsigned)(*s - 'A') + 10
						    : 16;

		if (d >= base)
			return "InvalidDigit";
		if (v > (max - d) / base)
			return "PosOverflow";
		v = v * base + d;
	}
	*ret = v;
	return NULL;
}

static int read_number(const struct reader *r, const char *s, uint32_t *ret)
{
	unsigned base = strncmp(s, "0b", 2) == 0 ? 2 : strncmp(s, "0x", 2) == 0 ? 16 : 0;
	const char *fault;
	uint64_t v;

	if (!base)
		return volt_err_set(r->err, EINVAL,
			"No supported number system prefix found in value [%.*s]. Make sure to "
			"prefix the number with '0x' for hexadecimal numbers or '0b' for binary "
			"numbers.",
			SHOWN, s);
	fault = digits(s + 2, base, UINT32_MAX, &v);
	if (fault)
		return volt_err_set(r->err, EINVAL,
			"Failed to parse string [%.*s] as a number for CPU template - "
			"ParseIntError { kind: %s }",
			SHOWN, s, fault);
	*ret = (uint32_t)v;
	return 0;
}

/* "0b1x0": the last digit is bit 0; x keeps a bit, and so does a digit that is not there. */
static int read_bitmap(const struct reader *r, const char *s, unsigned bits, uint64_t *ret_mask,
	uint64_t *ret_value)
{
	const char *first = strncmp(s, "0b", 2) == 0 ? s + 2 : s, *p = s + strlen(s);
	uint64_t mask = 0, value = 0;
	unsigned i = 0;

	while (p > first) {
		unsigned char c = (unsigned char)*--p;

		if (i == bits)
			return volt_err_set(r->err, EINVAL,
				"Failed to parse string [%.*s] as a bitmap - string is too long",
				SHOWN, s);
		if (c == '_')
			continue;
		if (c != '0' && c != '1' && c != 'x')
			return volt_err_set(r->err, EINVAL,
				"Failed to parse string [%.*s] as a bitmap - unknown character: %u",
				SHOWN, s, c);
		mask |= (uint64_t)(c != 'x') << i;
		value |= (uint64_t)(c == '1') << i;
		i++;
	}
	*ret_mask = mask;
	*ret_value = value;
	return 0;
}

static int read_capability(const struct reader *r, const char *s, struct cpu_template_cap *ret)
{
	uint64_t v;
	const char *fault;

	ret->drop = *s == '!';
	fault = digits(s + ret->drop, 10, UINT32_MAX, &v);
	if (fault)
		return volt_err_set(r->err, EINVAL,
			"Failed to parse string [%.*s] as a kvm capability - can not convert to "
			"numeric: %s",
			SHOWN, s,
			*fault == 'E'		? "cannot parse integer from empty string"
				: *fault == 'I' ? "invalid digit found in string"
						: "number too large to fit in target type");
	ret->number = (uint32_t)v;
	return 0;
}

/* ---- values ---- */

/* The text of a key that must be there, or NULL (reported). r->where is the object's. */
static const char *text_of(const struct reader *r, const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);
	size_t used = strlen(r->where);

	snprintf(r->where + used, CPU_TEMPLATE_WHERE - used, ".%s", key);
	if (!v)
		volt_err_set(r->err, EINVAL, "missing field `%s`", key);
	else if (!json_is_string(v))
		volt_err_set(r->err, EINVAL, "invalid type: expected a string");
	return json_string_value(v);
}

/* An object with no other keys than these, or -EINVAL. */
static int only(const struct reader *r, const json_t *v, const char *const *keys, size_t n)
{
	const char *key;
	json_t *ignored;

	if (!json_is_object(v))
		return volt_err_set(r->err, EINVAL, "invalid type: expected an object");
	json_object_foreach((json_t *)(uintptr_t)v, key, ignored) {
		size_t i = 0;

		while (i < n && strcmp(keys[i], key) != 0)
			i++;
		if (i == n)
			return volt_err_set(r->err, EINVAL, "unknown field `%.*s`", SHOWN, key);
	}
	return 0;
}

/* The length of an array under a key, 0 if there is none; or -errno. */
static ssize_t length_of(const struct reader *r, const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);

	at(r, "%s", key);
	if (!v)
		return 0;
	if (!json_is_array(v))
		return volt_err_set(r->err, EINVAL, "invalid type: expected a sequence");
	if (json_array_size(v) > CPU_TEMPLATE_MAX)
		return volt_err_set(r->err, E2BIG, "has %zu entries, and the maximum is %d",
			json_array_size(v), CPU_TEMPLATE_MAX);
	return (ssize_t)json_array_size(v);
}

static int read_register(const struct reader *r, const json_t *v, struct cpu_template_leaf *leaf)
{
	static const char *const keys[] = { "register", "bitmap" };
	const size_t used = strlen(r->where);
	int e = only(r, v, keys, ARRAY_SIZE(keys));
	uint64_t mask, value;
	const char *text;
	size_t i = 0;

	text = e < 0 ? NULL : text_of(r, v, "register");
	if (!text)
		return -EINVAL;
	while (i < ARRAY_SIZE(reg_names) && strcmp(reg_names[i], text) != 0)
		i++;
	if (i == ARRAY_SIZE(reg_names))
		return volt_err_set(r->err, EINVAL,
			"unknown variant `%.*s`, expected one of `eax`, `ebx`, `ecx`, `edx`", SHOWN,
			text);
	r->where[used] = '\0';
	text = text_of(r, v, "bitmap");
	if (!text || read_bitmap(r, text, 32, &mask, &value) < 0)
		return -EINVAL;
	/* A register that is named twice is changed twice. */
	leaf->regs[i].mask |= (uint32_t)mask;
	leaf->regs[i].value = (leaf->regs[i].value & ~(uint32_t)mask) | (uint32_t)value;
	return 0;
}

static int read_flags(const struct reader *r, const json_t *object, uint32_t *ret)
{
	const json_t *v = json_object_get(object, "flags");
	json_int_t n = json_integer_value(v);

	if (!v)
		return volt_err_set(r->err, EINVAL, "missing field `flags`");
	if (!json_is_integer(v) || n < 0 || n > UINT32_MAX)
		return volt_err_set(r->err, EINVAL, "flags: invalid value: expected u32");
	*ret = (uint32_t)n;
	return 0;
}

static int read_leaf(const struct reader *r, size_t index, const json_t *v,
	struct cpu_template_leaf *ret)
{
	static const char *const keys[] = { "leaf", "subleaf", "flags", "modifiers" };
	const struct { const char *key; uint32_t *ret; } numbers[] = {
		{ "leaf", &ret->leaf }, { "subleaf", &ret->subleaf },
	};
	const json_t *array, *item;
	size_t i;

	at(r, "cpuid_modifiers[%zu]", index);
	if (only(r, v, keys, ARRAY_SIZE(keys)) < 0 || read_flags(r, v, &ret->flags) < 0)
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		const char *text;

		at(r, "cpuid_modifiers[%zu]", index);
		text = text_of(r, v, numbers[i].key);
		if (!text || read_number(r, text, numbers[i].ret) < 0)
			return -EINVAL;
	}
	at(r, "cpuid_modifiers[%zu]", index);
	array = json_object_get(v, "modifiers");
	if (!array)
		return volt_err_set(r->err, EINVAL, "missing field `modifiers`");
	if (!json_is_array(array))
		return volt_err_set(r->err, EINVAL, "modifiers: invalid type: expected a sequence");
	json_array_foreach(array, i, item) {
		at(r, "cpuid_modifiers[%zu].modifiers[%zu]", index, i);
		if (read_register(r, item, ret) < 0)
			return -EINVAL;
	}
	return 0;
}

static int read_msr(const struct reader *r, size_t index, const json_t *v,
	struct cpu_template_msr *ret)
{
	static const char *const keys[] = { "addr", "bitmap" };
	const char *text;

	at(r, "msr_modifiers[%zu]", index);
	text = only(r, v, keys, ARRAY_SIZE(keys)) < 0 ? NULL : text_of(r, v, "addr");
	if (!text || read_number(r, text, &ret->index) < 0)
		return -EINVAL;
	at(r, "msr_modifiers[%zu]", index);
	text = text_of(r, v, "bitmap");
	return text ? read_bitmap(r, text, 64, &ret->mask, &ret->value) : -EINVAL;
}

static int read_cap(const struct reader *r, size_t index, const json_t *v,
	struct cpu_template_cap *ret)
{
	at(r, "kvm_capabilities[%zu]", index);
	if (!json_is_string(v))
		return volt_err_set(r->err, EINVAL, "invalid type: expected a string");
	return read_capability(r, json_string_value(v), ret);
}

/* ---- the whole ---- */

/* The arrays behind the template: one allocation. */
struct block {
	struct cpu_template t;
	struct cpu_template_msr *msrs;
	struct cpu_template_leaf *leaves;
	struct cpu_template_cap *caps;
};

static struct block *allocate(size_t n_caps, size_t n_leaves, size_t n_msrs)
{
	struct block *b = calloc(1, sizeof(*b) + n_msrs * sizeof(*b->msrs) +
			n_leaves * sizeof(*b->leaves) + n_caps * sizeof(*b->caps));

	if (!b)
		return NULL;
	b->msrs = (void *)(b + 1);
	b->leaves = (void *)(b->msrs + n_msrs);
	b->caps = (void *)(b->leaves + n_leaves);
	b->t = (struct cpu_template){ .leaves = b->leaves, .msrs = b->msrs, .caps = b->caps,
		.n_leaves = n_leaves, .n_msrs = n_msrs, .n_caps = n_caps };
	return b;
}

static int read_all(const struct reader *r, const json_t *v, struct block *b)
{
	const json_t *caps = json_object_get(v, "kvm_capabilities");
	const json_t *leaves = json_object_get(v, "cpuid_modifiers");
	const json_t *msrs = json_object_get(v, "msr_modifiers");

	for (size_t i = 0; i < b->t.n_caps; i++)
		if (read_cap(r, i, json_array_get(caps, i), &b->caps[i]) < 0)
			return -EINVAL;
	for (size_t i = 0; i < b->t.n_leaves; i++)
		if (read_leaf(r, i, json_array_get(leaves, i), &b->leaves[i]) < 0)
			return -EINVAL;
	for (size_t i = 0; i < b->t.n_msrs; i++)
		if (read_msr(r, i, json_array_get(msrs, i), &b->msrs[i]) < 0)
			return -EINVAL;
	return 0;
}

struct cpu_template *cpu_template_json_read(const json_t *v, char where[CPU_TEMPLATE_WHERE],
	struct volt_err *err)
{
	static const char *const keys[] = { "kvm_capabilities", "cpuid_modifiers",
		"msr_modifiers" };
	char unused[CPU_TEMPLATE_WHERE];
	struct reader r = { where ? where : unused, err };
	_cleanup_free_ struct block *b = NULL;
	ssize_t n[ARRAY_SIZE(keys)];

	at(&r, "%s", "");
	if (only(&r, v, keys, ARRAY_SIZE(keys)) < 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		n[i] = length_of(&r, v, keys[i]);
		if (n[i] < 0)
			return NULL;
	}
	b = allocate((size_t)n[0], (size_t)n[1], (size_t)n[2]);
	if (!b) {
		volt_err_set(err, ENOMEM, "CPU template: %m");
		return NULL;
	}
	if (read_all(&r, v, b) < 0)
		return NULL;
	at(&r, "%s", "");
	return &take_ptr(&b)->t;
}

/* ---- writing ---- */

/* "0b" and a digit for each bit. */
static json_t *bitmap(uint64_t mask, uint64_t value, unsigned bits)
{
	char text[2 + 64 + 1] = "0b";

	for (unsigned i = 0; i < bits; i++) {
		unsigned bit = bits - 1 - i;

		text[2 + i] = (char)(mask >> bit & 1 ? '0' + (int)(value >> bit & 1) : 'x');
	}
	return json_string(text);
}

static json_t *hex(uint32_t v)
{
	return json_sprintf("0x%" PRIx32, v);
}

static json_t *registers(const struct cpu_template_leaf *l)
{
	json_t *array = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(l->regs); i++) {
		json_t *v;

		if (!l->regs[i].mask)
			continue;
		v = json_pack("{s:s, s:o}", "register", reg_names[i], "bitmap",
			bitmap(l->regs[i].mask, l->regs[i].value, 32));
		if (json_array_append_new(array, v) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *leaf(const struct cpu_template_leaf *l)
{
	return json_pack("{s:o, s:o, s:I, s:o}", "leaf", hex(l->leaf), "subleaf", hex(l->subleaf),
		"flags", (json_int_t)l->flags, "modifiers", registers(l));
}

json_t *cpu_template_json_write(const struct cpu_template *t)
{
	json_t *caps = json_array(), *leaves = json_array(), *msrs = json_array(), *all;
	bool ok = true;

	for (size_t i = 0; i < t->n_caps; i++)
		ok = json_array_append_new(caps, json_sprintf("%s%" PRIu32,
				t->caps[i].drop ? "!" : "", t->caps[i].number)) == 0 && ok;
	for (size_t i = 0; i < t->n_leaves; i++)
		ok = json_array_append_new(leaves, leaf(&t->leaves[i])) == 0 && ok;
	for (size_t i = 0; i < t->n_msrs; i++)
		ok = json_array_append_new(msrs, json_pack("{s:o, s:o}", "addr",
				hex(t->msrs[i].index), "bitmap",
				bitmap(t->msrs[i].mask, t->msrs[i].value, 64))) == 0 && ok;
	all = json_pack("{s:o, s:o, s:o}", "kvm_capabilities", caps, "cpuid_modifiers", leaves,
		"msr_modifiers", msrs);
	if (ok)
		return all;
	json_decref(all);
	return NULL;
}
