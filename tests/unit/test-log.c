/* SPDX-License-Identifier: Apache-2.0 */
/* The form of a line, what is left out, and the limit on what a guest can cause. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
	init(LOG_WARN, false, NULL);
	assert_true(log_shows(LOG_WARN));
	assert_false(log_shows(LOG_INFO));
	log_init(&(struct log_config){ .fd = -1, .level = LOG_DEBUG });
	assert_false(log_shows(LOG_ERROR));
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

static unsigned lines_written(void)
{
	unsigned lines = 0;

	for (const char *p = written(); *p; p++)
		lines += *p == '\n';
	return lines;
}

static void each_call_site_has_a_limit(void **state)
{
	uint64_t before = *log_rate_limited();

	(void)state;
	init(LOG_DEBUG, false, NULL);
	for (int i = 0; i < 1000; i++)
		log_guest(LOG_WARN, "bad queue %d", i);
	assert_int_equal(lines_written(), LOG_BURST);
	for (int i = 0; i < 20; i++) {
		log_error("e");
		log_warn("w");
		log_info("i");
	}
	assert_int_equal(lines_written(), 3 * LOG_BURST);
	for (int i = 0; i < 20; i++)
		log_guest(LOG_DEBUG, "what a guest can do");
	assert_int_equal(lines_written(), LOG_BURST);
	assert_int_equal(*log_rate_limited() - before, 990 + 3 * 10 + 10);
	for (int i = 0; i < 20; i++)
		log_debug("d");
	assert_int_equal(lines_written(), 20);
}

static void what_is_not_shown_is_not_counted(void **state)
{
	uint64_t before = *log_rate_limited();

	(void)state;
	for (int i = 0; i < 30; i++) {
		init(i < 20 ? LOG_WARN : LOG_INFO, false, NULL);
		log_info("i");
	}
	assert_int_equal(lines_written(), 10);
	assert_int_equal(*log_rate_limited(), before);
}

static void a_warning_says_how_many_were_suppressed(void **state)
{
	static struct log_site site;

	(void)state;
	init(LOG_INFO, false, NULL);
	for (int i = 0; i < 13; i++)
		log_write(&site, LOG_INFO, "f.c", 1, "line %d", i);
	assert_matches(written(), "INFO\\] line 9\n$");
	site.window_ns -= LOG_PERIOD_NS + NSEC_PER_SEC;
	log_write(&site, LOG_INFO, "f.c", 1, "next");
	assert_matches(written(), "^[^\n]*WARN\\] 3 messages were suppressed due to rate limiting\n"
				  "[^\n]*INFO\\] next\n$");
}

#define FLOOD_THREADS 4

static void *flood(void *site)
{
	for (int i = 0; i < 5000; i++)
		log_write(site, LOG_INFO, "f.c", 1, "flood");
	return NULL;
}

/* Every line is written or counted, whoever begins a window. */
static void threads_share_a_limit(void **state)
{
	uint64_t before = *log_rate_limited();
	struct log_site site = { 0 };
	pthread_t threads[FLOOD_THREADS];
	unsigned lines;

	(void)state;
	init(LOG_INFO, false, NULL);
	for (int i = 0; i < FLOOD_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, flood, &site), 0);
	for (int i = 0; i < FLOOD_THREADS; i++)
		pthread_join(threads[i], NULL);
	lines = lines_written();
	assert_true(lines >= LOG_BURST);
	assert_int_equal(lines + *log_rate_limited() - before, FLOOD_THREADS * 5000);
}

/* PUT /logger, again and again: the texts are copied, and another target takes over at once. */
static void it_can_be_set_up_again(void **state)
{
	char path[] = "/tmp/test-log-XXXXXX", module[] = "test-log", id[] = "vm2", text[200];
	int fd = mkstemp(path);
	ssize_t n;

	(void)state;
	assert_true(fd >= 0);
	init(LOG_INFO, true, NULL);
	log_init(&(struct log_config){ .id = id, .fd = fd, .level = LOG_DEBUG, .module = module });
	id[2] = '3';
	module[0] = 'x';
	log_debug("here");
	assert_string_equal(written(), "");
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	assert_matches(text, " \\[vm2:main\\] here\n$");
	close(fd);
	unlink(path);
	init(LOG_INFO, false, NULL);
	log_info("back");
	assert_matches(written(), " \\[vm1:main:INFO\\] back\n$");
}

static void a_fifo_without_a_reader_does_not_block(void **state)
{
	char path[64];
	uint64_t before;
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/test-log-fifo-%d", (int)getpid());
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	before = *log_missed();
	log_init(&(struct log_config){ .fd = fd, .level = LOG_DEBUG });
	alarm(20);
	for (int i = 0; i < 5000; i++)
		log_debug("a line of some length, so that the FIFO is full before the loop ends");
	alarm(0);
	assert_true(*log_missed() > before);
	close(fd);
	unlink(path);
}

static void the_next_window_tells_what_was_kept_back(void **state)
{
	struct log_site site = { 0 };
	uint32_t kept = 7;

	(void)state;
	for (int i = 0; i < LOG_BURST + 5; i++)
		assert_int_equal(log_site_pass(&site, &kept), i < LOG_BURST);
	site.window_ns -= LOG_PERIOD_NS + NSEC_PER_SEC;
	assert_true(log_site_pass(&site, &kept));
	assert_int_equal(kept, 5);
	site.window_ns -= LOG_PERIOD_NS + NSEC_PER_SEC;
	assert_true(log_site_pass(&site, &kept));
	assert_int_equal(kept, 0);
}

static void a_full_pipe_is_counted_not_waited_for(void **state)
{
	uint64_t before = *log_missed();

	(void)state;
	init(LOG_DEBUG, false, NULL);
	for (int i = 0; i < 2000; i++)
		log_debug("a line of some length, so that the pipe is full before the loop ends");
	assert_true(*log_missed() > before);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_line_has_firecrackers_form),
		TEST(levels_and_modules_leave_lines_out),
		TEST(a_long_line_is_cut_and_ends),
		TEST(each_call_site_has_a_limit),
		TEST(what_is_not_shown_is_not_counted),
		TEST(a_warning_says_how_many_were_suppressed),
		TEST(threads_share_a_limit),
		TEST(it_can_be_set_up_again),
		TEST(a_fifo_without_a_reader_does_not_block),
		TEST(the_next_window_tells_what_was_kept_back),
		TEST(a_full_pipe_is_counted_not_waited_for),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
