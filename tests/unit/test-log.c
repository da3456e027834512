/* SPDX-License-Identifier: Apache-2.0 */
/* The form of a line, what is left out, and the limit on what a guest can cause. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

static int pipefd[2];

static int setup(void **state)
{
	(void)state;
	if (pipe2(pipefd, O_NONBLOCK | O_CLOEXEC) < 0)
		return -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	log_init(&(struct log_config){ .fd = -1 });
	close(pipefd[0]);
	close(pipefd[1]);
	return 0;
}

static void init(enum log_level level, bool origin, const char *module)
{
	log_init(&(struct log_config){ .id = "vm1",
		.fd = pipefd[1],
		.level = level,
		.show_level = true,
		.show_origin = origin,
		.module = module });
}

/* Everything written since the last call. */
static const char *written(void)
{
	static char text[16384];
	ssize_t n = read(pipefd[0], text, sizeof(text) - 1);

	text[n < 0 ? 0 : n] = 0;
	return text;
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t re;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&re, text, 0, NULL, 0) != 0)
		fail_msg("'%s' does not match '%s'", text, pattern);
	regfree(&re);
}

static void a_line_has_firecrackers_form(void **state)
{
	(void)state;
	init(LOG_INFO, true, NULL);
	errno = ENOENT;
	log_warn("disk %d: %m", 3);
	assert_int_equal(errno, ENOENT);
	assert_matches(written(),
		"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{9} "
		"\\[vm1:main:WARN:test-log\\.c:[0-9]+\\] disk 3: No such file or "
		"directory\n$");
	log_set_thread("vcpu0");
	assert_string_equal(log_thread(), "vcpu0");
	init(LOG_INFO, false, NULL);
	log_info("x");
	assert_matches(written(), " \\[vm1:vcpu0:INFO\\] x\n$");
	log_set_thread("main");
}

static void levels_and_modules_leave_lines_out(void **state)
{
	(void)state;
	init(LOG_WARN, false, NULL);
	log_info("no");
	log_debug("no");
	log_warn("w");
	log_error("e");
	assert_matches(written(), "WARN\\] w\n.*ERROR\\] e\n$");
	init(LOG_TRACE, false, "other");
	log_error("no");
	assert_string_equal(written(), "");
	init(LOG_TRACE, false, "test-log");
	log_debug("d");
	assert_matches(written(), "DEBUG\\] d\n$");
	assert_int_equal(log_level_from_name("Warning"), LOG_WARN);
	assert_int_equal(log_level_from_name("OFF"), LOG_OFF);
	assert_int_equal(log_level_from_name("verbose"), -1);
	assert_string_equal(log_level_name(LOG_ERROR), "ERROR");
}

static void a_long_line_is_cut_and_ends(void **state)
{
	char text[3000];
	const char *line;

	(void)state;
	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	init(LOG_INFO, false, NULL);
	log_info("%s", text);
	line = written();
	assert_in_range(strlen(line), 1000, 1024);
	assert_int_equal(line[strlen(line) - 1], '\n');
}

static void a_guest_cannot_flood_it(void **state)
{
	unsigned lines = 0;

	(void)state;
	init(LOG_INFO, false, NULL);
	for (int i = 0; i < 1000; i++)
		log_guest(LOG_WARN, "bad queue %d", i);
	for (const char *p = written(); *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, LOG_GUEST_BURST);
}

static void the_next_window_tells_what_was_kept_back(void **state)
{
	struct log_site site = { 0 };
	uint32_t kept = 7;

	(void)state;
	for (int i = 0; i < LOG_GUEST_BURST + 5; i++)
		assert_int_equal(log_site_pass(&site, &kept), i < LOG_GUEST_BURST);
	site.window_ns -= LOG_GUEST_PERIOD_NS + NSEC_PER_SEC;
	assert_true(log_site_pass(&site, &kept));
	assert_int_equal(kept, 5);
	site.window_ns -= LOG_GUEST_PERIOD_NS + NSEC_PER_SEC;
	assert_true(log_site_pass(&site, &kept));
	assert_int_equal(kept, 0);
}

static void a_full_pipe_is_counted_not_waited_for(void **state)
{
	uint64_t before = *log_missed();

	(void)state;
	init(LOG_INFO, false, NULL);
	for (int i = 0; i < 2000; i++)
		log_info("a line of some length, so that the pipe is full before the loop ends");
	assert_true(*log_missed() > before);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_line_has_firecrackers_form),
		TEST(levels_and_modules_leave_lines_out),
		TEST(a_long_line_is_cut_and_ends),
		TEST(a_guest_cannot_flood_it),
		TEST(the_next_window_tells_what_was_kept_back),
		TEST(a_full_pipe_is_counted_not_waited_for),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
