/* SPDX-License-Identifier: Apache-2.0 */
/* Files of machine state: round trips, versions, and everything that is to be refused. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "loop.h"
#include "state-sample.h"

struct file {
	uint8_t *data;
	size_t len;
};

static const struct sample filled = {
	.flag = true,
	.u8 = 200,
	.u16 = 0xabcd,
	.u32 = 0xdeadbeef,
	.u64 = UINT64_MAX,
	.value = SAMPLE_VALUE_MAX,
	.later = 7,
	.elements = { 1, 2, 3 },
	.bytes = { 1, 2, [23] = 9 },
	.blob = { 4, 5, 6 },
	.blob_len = 3,
	.text = "printable ~",
};

static struct file save(const struct sample *parts, unsigned n)
{
	struct file f;
	struct state *s;
	const void *data;

	assert_int_equal(state_new(&s), 0);
	for (unsigned i = 0; i < n; i++) {
		struct sample x = parts[i];

		sample_visit(&x, s, i);
	}
	assert_int_equal(state_finish(s, &data, &f.len, NULL), 0);
	f.data = malloc(f.len);
	memcpy(f.data, data, f.len);
	state_free(s);
	return f;
}

/* Reads `n` parts; the code and the text of the error. */
static int load(const struct file *f, enum state_mode mode, struct sample *parts, unsigned n,
	struct volt_err *err)
{
	struct state *s;
	int r;

	*err = (struct volt_err){ 0 };
	r = state_read(f->data, f->len, mode, &s, err);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < n; i++)
		sample_visit(&parts[i], s, i);
	state_done(s);
	r = state_error(s, err);
	state_free(s);
	return r;
}

static void what_is_saved_is_loaded(void **state)
{
	struct sample in[2] = { filled, { 0 } }, out[2] = { { 0 }, { .u8 = 1, .text = "x" } };
	struct volt_err err;
	struct file f = save(in, 2), again;

	(void)state;
	assert_int_equal(load(&f, STATE_LOAD, out, 2, &err), 0);
	assert_memory_equal(in, out, sizeof(in));
	again = save(out, 2);
	assert_int_equal(again.len, f.len);
	assert_memory_equal(again.data, f.data, f.len);
	free(again.data);
	free(f.data);
}

static void nothing_is_a_state_too(void **state)
{
	struct volt_err err;
	struct file f = save(NULL, 0);

	(void)state;
	assert_int_equal(f.len, 36);
	assert_int_equal(load(&f, STATE_LOAD, NULL, 0, &err), 0);
	free(f.data);
}

static void a_difference_is_told_and_nothing_changed(void **state)
{
	struct sample in = filled, here = filled;
	struct volt_err err;
	struct file f = save(&in, 1);

	(void)state;
	assert_int_equal(load(&f, STATE_COMPARE, &here, 1, &err), 0);
	here.u16 = 3;
	assert_int_equal(load(&f, STATE_COMPARE, &here, 1, &err), -EILSEQ);
	assert_string_equal(err.msg, "sample 0: u16: is 3, and 43981 in the file");
	assert_int_equal(here.u16, 3);
	here = filled;
	here.bytes[7] = 0xee;
	assert_int_equal(load(&f, STATE_COMPARE, &here, 1, &err), -EILSEQ);
	assert_string_equal(err.msg, "sample 0: bytes: byte 7 is 0xee, and 0x00 in the file");
	here = filled;
	here.blob_len = 2;
	assert_int_equal(load(&f, STATE_COMPARE, &here, 1, &err), -EILSEQ);
	free(f.data);
}

static void every_bit_counts(void **state)
{
	struct sample in = filled, out = { 0 };
	struct volt_err err;
	struct file f = save(&in, 1);

	(void)state;
	for (size_t i = 0; i < 8 * f.len; i++) {
		f.data[i / 8] ^= 1u << i % 8;
		assert_true(load(&f, STATE_LOAD, &out, 1, &err) < 0);
		assert_true(err.msg[0] != '\0');
		f.data[i / 8] ^= 1u << i % 8;
	}
	assert_int_equal(load(&f, STATE_LOAD, &out, 1, &err), 0);
	free(f.data);
}

static void every_length_but_its_own_is_refused(void **state)
{
	struct sample in = filled, out = { 0 };
	struct volt_err err;
	struct file f = save(&in, 1);
	size_t len = f.len;

	(void)state;
	for (f.len = 0; f.len < len; f.len++) {
		/* In a buffer of that size, for the address sanitizer to see. */
		struct file cut = { malloc(f.len + 1), f.len };

		memcpy(cut.data, f.data, f.len);
		assert_int_equal(load(&cut, STATE_LOAD, &out, 1, &err), -EBADMSG);
		sample_repair(cut.data, cut.len);
		assert_true(load(&cut, STATE_LOAD, &out, 1, &err) < 0);
		free(cut.data);
	}
	free(f.data);
}

/* The file with one byte changed and its checksums right, and what is said about it. */
static void changed(size_t at, uint8_t v, int code, const char *text)
{
	struct sample in = filled, out = filled;
	struct volt_err err;
	struct file f = save(&in, 1);

	f.data[at] = v;
	sample_repair(f.data, f.len);
	assert_int_equal(load(&f, STATE_LOAD, &out, 1, &err), -code);
	assert_string_equal(err.msg, text);
	free(f.data);
}

static void hostile_files_are_refused_in_words(void **state)
{
	const size_t section = 24, field = section + 48;

	(void)state;
	changed(0, 'X', EBADMSG,
		"this is no state of a virtual machine: it does not begin with VOLTSTAT");
	changed(8, 2, ENOTSUP,
		"format 2 is newer than this program, which knows 1: use the version of Volt that "
		"has written it, or a newer one");
	changed(8, 0, EBADMSG, "there is no format 0");
	changed(14, 1, EBADMSG, "65537 sections, more than 4096");
	changed(section, 'S', EBADMSG, "byte 24: section 0 has no name");
	changed(section + 10, 'x', EBADMSG, "byte 24: bytes behind the name of sample");
	changed(section + 36, 3, ENOTSUP,
		"sample 0: version 3 is newer than this program, which knows 2: use a newer Volt");
	changed(section + 36, 0, EBADMSG, "sample 0: there is no version 0");
	changed(section + 43, 1, EBADMSG, "byte 24: sample 0 goes beyond the end");
	changed(section + 32, 1, EBADMSG, "sample 0: this part is missing");
	changed(field, 0, EBADMSG, "sample 0: byte 0: a field of no known type");
	changed(field, 8, EBADMSG, "sample 0: byte 0: a field of no known type");
	changed(field, 2, EBADMSG, "sample 0: flag: is u8, not bool");
	changed(field, 3, EBADMSG, "sample 0: byte 0: a number of another length than its type's");
	changed(field + 1, 0, EBADMSG, "sample 0: byte 0: a field has no name");
	changed(field + 5, 0xff, EBADMSG, "sample 0: byte 0: a field goes beyond its section");
	changed(field + 6, 'F', EBADMSG, "sample 0: byte 0: a field has no name");
	changed(field + 6, 'g', EBADMSG, "sample 0: flag: is missing; there is glag instead");
	changed(field + 10, 2, EBADMSG, "sample 0: byte 0: a bool that is neither 0 nor 1");
	changed(field + 11 + 8, 201, EBADMSG, "sample 0: u8: is more than 200");
}

/* What one field is, by a visitor that expects something else. */
static int mismatch(void (*saver)(struct state *s), void (*loader)(struct state *s), char *ret)
{
	struct volt_err err = { 0 };
	const void *data;
	struct state *s, *l;
	size_t len;
	int r;

	assert_int_equal(state_new(&s), 0);
	state_begin(s, "part", 3, 1);
	saver(s);
	state_end(s);
	assert_int_equal(state_finish(s, &data, &len, NULL), 0);
	assert_int_equal(state_read(data, len, STATE_LOAD, &l, NULL), 0);
	state_begin(l, "part", 3, 1);
	loader(l);
	state_end(l);
	state_done(l);
	r = state_error(l, &err);
	snprintf(ret, sizeof(err.msg), "%s", err.msg);
	state_free(l);
	state_free(s);
	return r;
}

static void save_long(struct state *s)
{
	uint8_t data[8] = { 0 };

	state_bytes(s, "data", data, 8);
}

static void load_short(struct state *s)
{
	uint8_t data[4] = { 0 };

	state_bytes(s, "data", data, 4);
}

static void load_blob(struct state *s)
{
	uint8_t data[4] = { 0 };
	size_t n = 0;

	state_blob(s, "data", data, &n, 4);
}

static void load_none(struct state *s)
{
	(void)s;
}

static void save_large(struct state *s)
{
	state_value(s, "n", 11, 11);
}

static void load_small(struct state *s)
{
	assert_int_equal(state_value(s, "n", 3, 10), 3);
}

static void load_more(struct state *s)
{
	state_value(s, "n", 3, 11);
	state_value(s, "m", 3, 11);
}

static void save_fixed(struct state *s)
{
	state_fixed(s, "cpus", 2);
	state_fixed_text(s, "kind", "blk");
}

static void load_fixed(struct state *s)
{
	state_fixed(s, "cpus", 4);
}

static void load_fixed_text(struct state *s)
{
	state_fixed(s, "cpus", 2);
	state_fixed_text(s, "kind", "net");
}

static void fields_that_do_not_fit_are_refused(void **state)
{
	char text[480];

	(void)state;
	assert_int_equal(mismatch(save_long, load_short, text), -EBADMSG);
	assert_string_equal(text, "part 3: data: has 8 bytes, not 4");
	assert_int_equal(mismatch(save_long, load_blob, text), -EBADMSG);
	assert_string_equal(text, "part 3: data: has 8 bytes, more than 4");
	assert_int_equal(mismatch(save_long, load_none, text), -EBADMSG);
	assert_string_equal(text, "part 3: data: is not expected here");
	assert_int_equal(mismatch(save_large, load_small, text), -EBADMSG);
	assert_string_equal(text, "part 3: n: is 11, more than 10");
	assert_int_equal(mismatch(save_large, load_more, text), -EBADMSG);
	assert_string_equal(text, "part 3: m: is missing");
	assert_int_equal(mismatch(save_fixed, load_fixed, text), -EBADMSG);
	assert_string_equal(text, "part 3: cpus: is 2 in the file, and this machine's is 4");
	assert_int_equal(mismatch(save_fixed, load_fixed_text, text), -EBADMSG);
	assert_string_equal(
		text, "part 3: kind: is 'blk' in the file, and this machine's is 'net'");
	assert_int_equal(mismatch(save_fixed, save_fixed, text), 0);
}

static void the_first_error_sticks(void **state)
{
	struct sample in[2] = { filled, filled }, out[2] = { { 0 }, { 0 } };
	struct volt_err err;
	struct file f = save(in, 2);

	(void)state;
	f.data[24 + 48 + 11 + 8] = 250; /* u8 of the first part: refused at its end */
	sample_repair(f.data, f.len);
	assert_int_equal(load(&f, STATE_LOAD, out, 2, &err), -EBADMSG);
	assert_string_equal(err.msg, "sample 0: u8: is more than 200");
	assert_int_equal(out[1].u64, 0); /* was not visited any more */
	free(f.data);
}

static void parts_too_many_and_twice(void **state)
{
	struct sample in[2] = { filled, filled }, out[2] = { { 0 }, { 0 } };
	struct volt_err err;
	struct file f = save(in, 2);
	size_t second = 24 + 48 + num_get_le32(f.data + 24 + 40);

	(void)state;
	assert_int_equal(load(&f, STATE_LOAD, out, 1, &err), -EBADMSG);
	assert_string_equal(err.msg, "sample 1: this machine has no such part");
	f.data[second + 32] = 0;
	sample_repair(f.data, f.len);
	assert_int_equal(load(&f, STATE_LOAD, out, 1, &err), -EBADMSG);
	assert_string_equal(err.msg, "sample 0 is there twice");
	free(f.data);
}

static void an_older_part_lacks_what_came_later(void **state)
{
	struct sample in = filled, out = { .later = 99 };
	struct volt_err err;
	struct file f = save(&in, 1);
	size_t later = 6 + 5 + 8;

	(void)state;
	/* As version 1 wrote it. */
	memmove(f.data + f.len - 12 - later, f.data + f.len - 12, 12);
	f.len -= later;
	num_put_le32(f.data + 24 + 36, 1);
	num_put_le32(f.data + 24 + 40, num_get_le32(f.data + 24 + 40) - later);
	sample_repair(f.data, f.len);
	assert_int_equal(load(&f, STATE_LOAD, &out, 1, &err), 0);
	assert_int_equal(out.later, 99);
	assert_int_equal(out.u64, filled.u64);
	free(f.data);
}

static void too_large_is_an_error(void **state)
{
	struct volt_err err = { 0 };
	const void *data;
	struct state *s;
	size_t n = STATE_BYTES_MAX / 2;
	uint8_t *big = calloc(1, n);

	(void)state;
	assert_int_equal(state_new(&s), 0);
	state_begin(s, "big", 0, 1);
	state_bytes(s, "a", big, n);
	state_bytes(s, "b", big, n);
	state_end(s);
	assert_int_equal(state_finish(s, &data, &n, &err), -EFBIG);
	assert_string_equal(err.msg, "big 0: the state is larger than 16777216 bytes");
	state_free(s);
	free(big);

	assert_int_equal(state_new(&s), 0);
	for (unsigned i = 0; i <= STATE_SECTIONS_MAX; i++) {
		state_begin(s, "many", i, 1);
		state_end(s);
	}
	err.code = 0;
	assert_int_equal(state_finish(s, &data, &n, &err), -EFBIG);
	state_free(s);
}

struct lines {
	char text[4096];
};

static void add_line(void *ctx, const char *text)
{
	struct lines *l = ctx;

	strncat(l->text, text, sizeof(l->text) - strlen(l->text) - 2);
	strcat(l->text, "\n");
}

static void it_prints_what_it_does_not_know(void **state)
{
	struct volt_err err = { 0 };
	struct lines l = { "" };
	struct sample in = filled;
	struct file f = save(&in, 1);

	(void)state;
	f.data[24 + 36] = 77; /* a version that nobody knows */
	sample_repair(f.data, f.len);
	assert_int_equal(state_print(f.data, f.len, add_line, &l, &err), 0);
	assert_non_null(strstr(l.text, "sample 0: version 77, "));
	assert_non_null(strstr(l.text, "  flag = yes\n"));
	assert_non_null(strstr(l.text, "  u16 = 43981 (0xabcd)\n"));
	assert_non_null(strstr(l.text, "  element = 1\n  element = 2\n  element = 3\n"));
	assert_non_null(strstr(l.text, "  blob = 040506\n"));
	assert_non_null(strstr(l.text, "  text = \"printable ~\"\n"));
	f.data[f.len - 20] ^= 1;
	l.text[0] = '\0';
	assert_int_equal(state_print(f.data, f.len, add_line, &l, &err), -EBADMSG);
	assert_string_equal(err.msg, "sample 0: its checksum is wrong: it is damaged");
	free(f.data);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* A figure for whoever reads the log; nothing depends on it. */
static void a_whole_machine_takes_this_long(void **state)
{
	const unsigned n_parts = 200;
	enum { ROUNDS = 101 };
	struct sample *in = calloc(n_parts, sizeof(*in));
	uint64_t took_ns[ROUNDS];
	struct volt_err err;
	struct file f;

	(void)state;
	for (unsigned i = 0; i < n_parts; i++)
		in[i] = filled;
	f = save(in, n_parts);
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t start_ns = loop_now_ns();

		assert_int_equal(load(&f, STATE_LOAD, in, n_parts, &err), 0);
		took_ns[i] = loop_now_ns() - start_ns;
	}
	qsort(took_ns, ROUNDS, sizeof(took_ns[0]), by_size);
	print_message("%zu bytes, %u fields: read in %llu ns (median)\n", f.len, n_parts * 15,
		(unsigned long long)took_ns[ROUNDS / 2]);
	free(f.data);
	free(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_saved_is_loaded),
		cmocka_unit_test(nothing_is_a_state_too),
		cmocka_unit_test(a_difference_is_told_and_nothing_changed),
		cmocka_unit_test(every_bit_counts),
		cmocka_unit_test(every_length_but_its_own_is_refused),
		cmocka_unit_test(hostile_files_are_refused_in_words),
		cmocka_unit_test(fields_that_do_not_fit_are_refused),
		cmocka_unit_test(the_first_error_sticks),
		cmocka_unit_test(parts_too_many_and_twice),
		cmocka_unit_test(an_older_part_lacks_what_came_later),
		cmocka_unit_test(too_large_is_an_error),
		cmocka_unit_test(it_prints_what_it_does_not_know),
		cmocka_unit_test(a_whole_machine_takes_this_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
