/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata: put, merge patch with the cases of RFC 7396, size limit, paths, both forms. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mmds-store.h"

static json_t *parse(const char *text)
{
	json_t *v = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(v);
	return v;
}

static int put(struct mmds_store *s, const char *text)
{
	json_t *v = parse(text);
	int r = mmds_store_put(s, v);

	json_decref(v);
	return r;
}

static int patch(struct mmds_store *s, const char *text)
{
	json_t *v = parse(text);
	int r = mmds_store_patch(s, v);

	json_decref(v);
	return r;
}

static void assert_get(const struct mmds_store *s, const char *path, bool imds, const char *want)
{
	char *text = NULL;
	size_t len;

	assert_int_equal(mmds_store_get(s, path, imds, &text, &len), 0);
	assert_string_equal(text, want);
	assert_int_equal(len, strlen(want));
	free(text);
}

static void assert_no(const struct mmds_store *s, const char *path, bool imds, int error)
{
	char *text;
	size_t len;

	assert_int_equal(mmds_store_get(s, path, imds, &text, &len), -error);
}

/* RFC 7396, appendix A: target, patch, result. */
static const char *const merges[][3] = {
	{ "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
	{ "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}" },
	{ "{\"a\":\"b\"}", "{\"a\":null}", "{}" },
	{ "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}" },
	{ "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
	{ "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}" },
	{ "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}" },
	{ "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}" },
	{ "[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]" },
	{ "{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]" },
	{ "{\"a\":\"foo\"}", "null", "null" },
	{ "{\"a\":\"foo\"}", "\"bar\"", "\"bar\"" },
	{ "{\"e\":null}", "{\"a\":1}", "{\"a\":1,\"e\":null}" },
	{ "[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}" },
	{ "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}" },
};

static void patches_merge_as_the_rfc_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(merges); i++) {
		struct mmds_store s = { .limit = 1000 };

		assert_int_equal(put(&s, merges[i][0]), 0);
		assert_int_equal(patch(&s, merges[i][1]), 0);
		assert_get(&s, "/", false, merges[i][2]);
		mmds_store_done(&s);
	}
}

static void nothing_is_patched_before_the_first_put(void **state)
{
	struct mmds_store s = { .limit = 1000 };

	(void)state;
	assert_int_equal(patch(&s, "{}"), -ENOENT);
	assert_get(&s, "/", false, "null");
	assert_get(&s, "", false, "null");
	assert_no(&s, "/", true, ENOTSUP);
	assert_no(&s, "/a", false, ENOENT);
	mmds_store_done(&s);
}

static void the_size_is_that_of_the_compact_text(void **state)
{
	struct mmds_store s = { .limit = 9 };

	(void)state;
	assert_int_equal(put(&s, "{ \"a\" : \"bc\" }"), -E2BIG); /* 10 */
	assert_null(s.value);
	assert_int_equal(put(&s, "{ \"a\" : \"b\" }"), 0); /* 9 */
	assert_int_equal(patch(&s, "{\"a\":\"bc\"}"), -E2BIG);
	assert_int_equal(patch(&s, "{\"b\":\"\"}"), -E2BIG);
	assert_get(&s, "/", false, "{\"a\":\"b\"}"); /* all or nothing */
	assert_int_equal(patch(&s, "{\"a\":null,\"b\":\"c\"}"), 0);
	assert_get(&s, "/b", true, "c");
	mmds_store_done(&s);
}

static void what_was_put_is_not_changed_by_a_patch(void **state)
{
	struct mmds_store s = { .limit = 1000 };
	json_t *v = parse("{\"a\":{\"b\":1}}"), *same = json_deep_copy(v);

	(void)state;
	assert_int_equal(mmds_store_put(&s, v), 0);
	assert_int_equal(patch(&s, "{\"a\":{\"b\":2,\"c\":3}}"), 0);
	assert_true(json_equal(v, same));
	json_decref(v);
	json_decref(same);
	mmds_store_done(&s);
}

static void paths_lead_into_the_data(void **state)
{
	struct mmds_store s = { .limit = 1000 };

	(void)state;
	assert_int_equal(put(&s, "{\"b\":{\"x\":\"y\"},\"a\":[10,[\"in\"],null],\"\":\"empty\","
				 "\"~t\":\"tilde\",\"s/l\":\"slash\",\"n\":1.5,\"t\":true}"), 0);
	assert_get(&s, "/b", false, "{\"x\":\"y\"}");
	assert_get(&s, "/b/", false, "{\"x\":\"y\"}");
	assert_get(&s, "/b/x", false, "\"y\"");
	assert_get(&s, "/b/x/", true, "y");
	assert_get(&s, "/a/0", false, "10");
	assert_get(&s, "/a/1/0", true, "in");
	assert_get(&s, "/a/2", false, "null");
	assert_get(&s, "/~0t", true, "tilde");
	assert_get(&s, "/s~1l", true, "slash");
	assert_get(&s, "//", true, "empty");
	assert_get(&s, "/n", false, "1.5");
	assert_no(&s, "/c", false, ENOENT);
	assert_no(&s, "/b/x/z", false, ENOENT);
	assert_no(&s, "/a/3", false, ENOENT);
	assert_no(&s, "/a/00", false, ENOENT);
	assert_no(&s, "/a/0x1", false, ENOENT);
	assert_no(&s, "/a/-", false, ENOENT);
	assert_no(&s, "/a/99999999999999999999999", false, ENOENT);
	assert_no(&s, "/~", false, ENOENT);
	assert_no(&s, "/~2", false, ENOENT);
	assert_no(&s, "b", false, ENOENT);
	mmds_store_done(&s);
}

static void imds_lists_keys_and_knows_no_other_values(void **state)
{
	struct mmds_store s = { .limit = 1000 };

	(void)state;
	assert_int_equal(put(&s, "{\"z\":1,\"a\":{\"k\":\"v\"},\"m\":[],\"e\":{},"
				 "\"s\":\"two\\nlines\"}"), 0);
	assert_get(&s, "/", true, "a/\ne/\nm\ns\nz");
	assert_get(&s, "/a", true, "k");
	assert_get(&s, "/e", true, "");
	assert_get(&s, "/s", true, "two\nlines");
	assert_no(&s, "/z", true, ENOTSUP);
	assert_no(&s, "/m", true, ENOTSUP);
	/* Keys are sorted, whatever their order was. */
	assert_get(&s, "/", false,
		"{\"a\":{\"k\":\"v\"},\"e\":{},\"m\":[],\"s\":\"two\\nlines\",\"z\":1}");
	mmds_store_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patches_merge_as_the_rfc_says),
		cmocka_unit_test(nothing_is_patched_before_the_first_put),
		cmocka_unit_test(the_size_is_that_of_the_compact_text),
		cmocka_unit_test(what_was_put_is_not_changed_by_a_patch),
		cmocka_unit_test(paths_lead_into_the_data),
		cmocka_unit_test(imds_lists_keys_and_knows_no_other_values),
	};

	return cmocka_run_group_tests_name("mmds-store", tests, NULL, NULL);
}
