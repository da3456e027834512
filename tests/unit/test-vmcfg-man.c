/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manuals say what the tables say: the lists of keys in volt-vm(5) are what is generated
 * here, and volt-vmm(8) has every flag. Run with VMCFG_WRITE=1 to write the lists anew.
 */
#include "test.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmcfg-option.h"
#include "vmcfg-row.h"

#define MAN	 SOURCE_ROOT "/docs/man/"
#define LINE_MAX 78

static char *slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 18);

	assert_non_null(f);
	assert_true(fread(text, 1, (1 << 18) - 1, f) > 0);
	fclose(f);
	return text;
}

/* Filled lines; a new sentence is on a new line, as mdoc wants it. */
static void fill(const char *text, FILE *out)
{
	size_t column = 0;

	while (*text) {
		size_t n = strcspn(text, " ");

		if (column && column + 1 + n > LINE_MAX) {
			fputc('\n', out);
			column = 0;
		} else if (column) {
			fputc(' ', out);
			column++;
		}
		fwrite(text, 1, n, out);
		column += n;
		if (n && text[n - 1] == '.') {
			fputc('\n', out);
			column = 0;
		}
		text += n + (text[n] == ' ');
	}
	if (column)
		fputc('\n', out);
}

static void write_row(const struct vmcfg_row *row, FILE *out)
{
	char accepts[128], line[256];

	fprintf(out, ".It Ic %s\n", row->key);
	if (row->type == VMCFG_NO_FLAG || row->type == VMCFG_NO_OBJECT) {
		fprintf(out, "Not supported; may be null%s.\n",
			row->type == VMCFG_NO_FLAG ? " or false" : "");
		return;
	}
	if (row->type == VMCFG_NESTED) {
		fprintf(out, "An object, a %s.\n", row->object->name);
		fill(row->doc, out);
		return;
	}
	vmcfg_row_accepts(row, accepts, sizeof(accepts));
	accepts[0] = (char)toupper(accepts[0]);
	if (row->required)
		snprintf(line, sizeof(line), "%s, required.", accepts);
	else if (row->type == VMCFG_IGNORED)
		snprintf(line, sizeof(line), "%s, ignored.", accepts);
	else if (row->type == VMCFG_WORDS || row->type == VMCFG_JSON ||
		(row->optional && !row->names))
		snprintf(line, sizeof(line), "%s.", accepts);
	else if (row->type == VMCFG_STRING)
		snprintf(line, sizeof(line), "%s%s%s.", accepts, row->def_text ? ", default " : "",
			row->def_text ? row->def_text : "");
	else if (row->names)
		snprintf(line, sizeof(line), "%s, default %s.", accepts, row->names[row->def]);
	else if (row->type == VMCFG_BOOL || row->type == VMCFG_NOT)
		snprintf(line, sizeof(line), "%s, default %s.", accepts,
			row->def ? "true" : "false");
	else
		snprintf(line, sizeof(line), "%s, default %" PRIu64 ".", accepts, row->def);
	fill(line, out);
	fill(row->doc, out);
}

/* From its marker on, up to the end of the list. */
static char *section_text(const struct vmcfg_section *s)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	fprintf(out, ".\\\" keys of %s\n.Bl -tag -width Ds\n", s->name);
	for (size_t i = 0; i < s->n_rows; i++)
		write_row(&s->rows[i], out);
	fputs(".El\n", out);
	fclose(out);
	return text;
}

static bool documented(const struct vmcfg_section *s)
{
	return s->kind != VMCFG_VALUE && s->kind != VMCFG_LAUNCH;
}

/* Top-level sections and what is nested in them; NULL behind the last. */
static const struct vmcfg_section *nth(size_t i)
{
	if (i < vmcfg_doc_n_sections)
		return &vmcfg_doc_sections[i];
	i -= vmcfg_doc_n_sections;
	return i == 0 ? &vmcfg_doc_limiter : i == 1 ? &vmcfg_doc_bucket : NULL;
}

static void rewrite_keys(void)
{
	char *page = slurp(MAN "volt-vm.5");
	const struct vmcfg_section *s;

	for (size_t i = 0; (s = nth(i)); i++) {
		char marker[64], *at, *end, *text, *all = NULL;

		if (!documented(s))
			continue;
		snprintf(marker, sizeof(marker), ".\\\" keys of %s\n", s->name);
		at = strstr(page, marker);
		assert_non_null(at);
		end = strstr(at, ".El\n");
		assert_non_null(end);
		text = section_text(s);
		assert_true(asprintf(&all, "%.*s%s%s", (int)(at - page), page, text, end + 4) > 0);
		free(page);
		free(text);
		page = all;
	}
	FILE *f = fopen(MAN "volt-vm.5", "w");
	fputs(page, f);
	fclose(f);
	free(page);
}

static void every_key_is_in_the_manual(void **state)
{
	const struct vmcfg_section *s;
	char *page;

	(void)state;
	if (getenv("VMCFG_WRITE"))
		rewrite_keys();
	page = slurp(MAN "volt-vm.5");
	for (size_t i = 0; (s = nth(i)); i++) {
		char *text;

		if (s->kind == VMCFG_VALUE)
			assert_non_null(strstr(page, s->name));
		if (!documented(s))
			continue;
		text = section_text(s);
		if (!strstr(page, text))
			fail_msg("volt-vm.5 does not have this, see VMCFG_WRITE:\n%s", text);
		free(text);
	}
	free(page);
}

static void every_flag_is_in_the_manual(void **state)
{
	char *page = slurp(MAN "volt-vmm.8"), line[128];

	(void)state;
	for (size_t i = 0; i < VMCFG_N_OPTIONS; i++) {
		const struct vmcfg_option *o = &vmcfg_option_table[i];

		snprintf(line, sizeof(line), ".It Fl -%s%s", o->name, o->arg ? " Ar " : "\n");
		if (o->does != VMCFG_REFUSE && !strstr(page, line))
			fail_msg("volt-vmm.8 lacks %s", line);
	}
	free(page);
}

static void every_flag_names_a_row(void **state)
{
	(void)state;
	for (size_t i = 0; i < VMCFG_N_OPTIONS; i++) {
		const struct vmcfg_option *o = &vmcfg_option_table[i];
		const struct vmcfg_section *s;
		const struct vmcfg_row *row;

		assert_non_null(o->name);
		assert_non_null(o->help);
		if (o->does != VMCFG_SET)
			continue;
		s = vmcfg_doc_section(o->section);
		assert_non_null(s);
		row = vmcfg_doc_row(s, o->key);
		assert_non_null(row);
		/* A flag without a value is a switch, and only switches have none. */
		assert_int_equal(!o->arg, row->type == VMCFG_BOOL || row->type == VMCFG_NOT);
	}
}

static void words_have_a_distance(void **state)
{
	(void)state;
	assert_int_equal(vmcfg_row_distance("", ""), 0);
	assert_int_equal(vmcfg_row_distance("abc", ""), 3);
	assert_int_equal(vmcfg_row_distance("", "ab"), 2);
	assert_int_equal(vmcfg_row_distance("kitten", "sitting"), 3);
	assert_int_equal(vmcfg_row_distance("is_readonly", "is_read_only"), 1);
	assert_true(vmcfg_row_distance("a", "a name that is much too long for a key") > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_is_in_the_manual),
		cmocka_unit_test(every_flag_is_in_the_manual),
		cmocka_unit_test(every_flag_names_a_row),
		cmocka_unit_test(words_have_a_distance),
	};

	return cmocka_run_group_tests_name("vmcfg-man", tests, NULL, NULL);
}
