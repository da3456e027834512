/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docs/api/openapi.yaml is what the table of routes says. API_WRITE=1 in the environment writes it
 * anew.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api-route.h"
#include "test.h"

#define PAGE SOURCE_ROOT "/docs/api/openapi.yaml"

static const char *const methods[] = { "get", "put", "patch", "delete" };

static void write_object(FILE *out, const struct serde_object *o, int indent);

static void write_type(FILE *out, const struct serde_type *t, int indent)
{
	static const struct {
		const char *type, *format;
	} plain[] = {
		[SERDE_BOOL] = { "boolean", NULL },
		[SERDE_U8] = { "integer", "uint8" },
		[SERDE_U16] = { "integer", "uint16" },
		[SERDE_U32] = { "integer", "uint32" },
		[SERDE_U64] = { "integer", "uint64" },
		[SERDE_USIZE] = { "integer", "uint64" },
		[SERDE_STRING] = { "string", NULL },
		[SERDE_PATH] = { "string", NULL },
		[SERDE_IPV4] = { "string", "ipv4" },
		[SERDE_ENUM] = { "string", NULL },
		[SERDE_OBJECT] = { "object", NULL },
		[SERDE_LIST] = { "array", NULL },
		[SERDE_MAP] = { "object", NULL },
		[SERDE_ANY] = { NULL, NULL },
	};

	if (t->kind == SERDE_OBJECT) {
		write_object(out, t->object, indent);
		return;
	}
	if (plain[t->kind].type)
		fprintf(out, "%*stype: %s\n", indent, "", plain[t->kind].type);
	if (plain[t->kind].format)
		fprintf(out, "%*sformat: %s\n", indent, "", plain[t->kind].format);
	if (t->kind == SERDE_MAP)
		fprintf(out, "%*sadditionalProperties: { type: string }\n", indent, "");
	if (t->kind == SERDE_ENUM) {
		fprintf(out, "%*senum:", indent, "");
		for (size_t i = 0; t->names[i]; i++)
			fprintf(out, "%s\"%s\"", i ? ", " : " [", t->names[i]);
		fputs("]\n", out);
	}
	if (t->kind == SERDE_LIST) {
		fprintf(out, "%*sitems:\n", indent, "");
		if (t->item->kind == SERDE_ANY)
			fprintf(out, "%*s{}\n", indent + 2, "");
		else
			write_type(out, t->item, indent + 2);
	}
}

static void write_object(FILE *out, const struct serde_object *o, int indent)
{
	bool any = false;

	fprintf(out, "%*stype: object\n", indent, "");
	for (size_t i = 0; i < o->n_fields; i++) {
		if (!o->fields[i].required)
			continue;
		if (any)
			fputs(", ", out);
		else
			fprintf(out, "%*srequired: [", indent, "");
		fputs(o->fields[i].name, out);
		any = true;
	}
	if (any)
		fputs("]\n", out);
	if (o->deny_unknown)
		fprintf(out, "%*sadditionalProperties: false\n", indent, "");
	fprintf(out, "%*sproperties:\n", indent, "");
	for (size_t i = 0; i < o->n_fields; i++) {
		const struct serde_field *f = &o->fields[i];

		if (f->type.kind == SERDE_ANY) {
			fprintf(out, "%*s%s: {}\n", indent + 2, "", f->name);
			continue;
		}
		fprintf(out, "%*s%s:\n", indent + 2, "", f->name);
		if (f->ours)
			fprintf(out, "%*sdescription: Volt's own.\n", indent + 4, "");
		write_type(out, &f->type, indent + 4);
	}
}

static void write_answers(FILE *out, const struct api_route *r)
{
	fputs("      responses:\n", out);
	if (r->method == HTTP_GET)
		fputs("        \"200\": { description: The value. }\n", out);
	else
		fputs("        \"204\": { description: Done. }\n", out);
	fputs("        \"400\": { $ref: \"#/components/responses/Fault\" }\n", out);
}

static void write_route(FILE *out, const struct api_route *r)
{
	static const char *const stages[] = { "", "Before the start only.", "After the start only.",
		"Before and after the start." };

	fprintf(out, "    %s:\n      summary: \"%s\"\n      description: %s\n", methods[r->method],
		r->doc, stages[r->stage]);
	if (r->method == HTTP_PUT || r->method == HTTP_PATCH) {
		fprintf(out, "      requestBody:\n        required: %s\n        content:\n"
			     "          application/json:\n",
			r->body_optional ? "false" : "true");
		if (r->body) {
			fputs("            schema:\n", out);
			write_object(out, r->body, 14);
		} else {
			fputs("            schema: {}\n", out);
		}
	}
	write_answers(out, r);
}

/* True if a route before this one has its path, or it only has a fault. */
static bool seen(size_t i)
{
	if (!api_route_nth(i)->doc)
		return true;
	for (size_t k = 0; k < i; k++)
		if (api_route_nth(k)->doc &&
			strcmp(api_route_nth(k)->path, api_route_nth(i)->path) == 0)
			return true;
	return false;
}

static char *page(void)
{
	const struct api_route *r;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	fputs("# SPDX-License-Identifier: Apache-2.0\n"
	      "# Made from the table of routes by tests/unit/test-api-doc.c (API_WRITE=1).\n"
	      "openapi: 3.1.0\ninfo:\n  title: Volt's monitor, Firecracker's API\n"
	      "  version: " API_LEVEL "\n  license: { name: Apache-2.0, identifier: Apache-2.0 }\n"
	      "servers:\n  - url: http://localhost\n    description: Over a Unix socket.\n"
	      "components:\n  responses:\n    Fault:\n      description: What is wrong.\n"
	      "      content:\n        application/json:\n          schema:\n"
	      "            type: object\n            required: [fault_message]\n"
	      "            properties: { fault_message: { type: string } }\npaths:\n", out);
	for (size_t i = 0; (r = api_route_nth(i)); i++) {
		if (seen(i))
			continue;
		fprintf(out, "  %s:\n", r->path);
		if (strstr(r->path, "{id}"))
			fputs("    parameters:\n      - { name: id, in: path, required: true, "
			      "schema: { type: string } }\n", out);
		for (size_t k = i; api_route_nth(k); k++)
			if (strcmp(api_route_nth(k)->path, r->path) == 0)
				write_route(out, api_route_nth(k));
	}
	fclose(out);
	return text;
}

static void the_document_is_the_table(void **state)
{
	char *want = page(), *have = NULL;
	size_t size = 0;
	FILE *f;

	(void)state;
	if (getenv("API_WRITE")) {
		f = fopen(PAGE, "we");
		assert_non_null(f);
		fputs(want, f);
		fclose(f);
	}
	f = fopen(PAGE, "re");
	assert_non_null(f);
	assert_true(getdelim(&have, &size, '\0', f) > 0);
	fclose(f);
	if (strcmp(have, want) != 0)
		fail_msg("%s is not what the routes say: run this with API_WRITE=1", PAGE);
	free(have);
	free(want);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_document_is_the_table) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
