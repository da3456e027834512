/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The crash matrix: put (as a delta, and as an image), gc and import, at every call that changes
 * something: killed there; that call fails; the disk is full from there on; the power is cut after
 * it. Whatever happened, what was acknowledged before is there with its content, verify is clean,
 * and the name that was to be set means what it meant before or what it was to mean.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store-shim.h"
#include "store.h"
#include "test.h"

#define PAGES  120u /* of the memory */
#define MEMORY (PAGES * 4096u)
#define DISK   (3 * 65536u - 700)

static char top[64]; /* in memory where there is such a file system: nothing is synced for real */
static uint8_t memory[MEMORY] __attribute__((aligned(4096)));
static uint8_t disk[DISK];

/* Content number n: most of it as in 1, every fortieth page is zeros. */
static void make_content(unsigned n)
{
	memset(memory, 0, sizeof(memory));
	memset(disk, 0, sizeof(disk));
	for (unsigned i = 0; i < PAGES; i++)
		if (i % 40)
			memset(memory + i * 4096, (int)(i % 251 + 1), 4000 + i % 90);
	for (unsigned i = 0; i < DISK; i += 512)
		memset(disk + i, (int)(i / 512 % 255 + 1), 100);
	if (n == 1)
		return;
	for (unsigned i = n; i < n + 9; i++)
		memset(memory + i * 7 % PAGES * 4096, (int)n, 3000);
	memset(memory + (n + 40) % PAGES * 4096, 0, 4096);
	memset(disk + 65536 + n, (int)n, 5000);
}

static void copy_file(const char *from, const char *to)
{
	static char data[2 << 20];
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	ssize_t n = read(in, data, sizeof(data));

	assert_true(in >= 0 && out >= 0 && n >= 0 && n < (ssize_t)sizeof(data));
	assert_int_equal(write(out, data, (size_t)n), n);
	close(in);
	close(out);
}

static void copy_folder(const char *from, const char *to)
{
	char sub[256], to_sub[256];
	DIR *dir = opendir(from);
	struct dirent *e;

	assert_non_null(dir);
	assert_int_equal(mkdir(to, 0755), 0);
	while ((e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		assert_true(snprintf(sub, sizeof(sub), "%s/%s", from, e->d_name) < 256);
		assert_true(snprintf(to_sub, sizeof(to_sub), "%s/%s", to, e->d_name) < 256);
		if (e->d_type == DT_DIR)
			copy_folder(sub, to_sub);
		else
			copy_file(sub, to_sub);
	}
	closedir(dir);
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

static void remove_folder(const char *path)
{
	assert_non_null(strstr(path, "/volt-store-"));
	assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static const char *path(const char *name)
{
	static char text[4][96];
	static unsigned next;

	next = (next + 1) % 4;
	snprintf(text[next], sizeof(text[next]), "%s/%s", top, name);
	return text[next];
}

/* Content n under the name. base NULL: none. Result of the first call that fails. */
static int put(struct store *s, const char *name, const char *base, unsigned n)
{
	struct volt_err err = { 0 };
	struct store_region r = { .kind = STORE_MEMORY, .size = MEMORY, .mem = memory };
	struct store_region d = { .kind = STORE_DISK, .size = DISK, .mem = disk };
	uint8_t state[100];
	struct store_txn *t;
	struct store_id id;
	int e;

	make_content(n);
	memset(state, (int)n, sizeof(state));
	if (base) {
		e = store_resolve(s, base, &id, &err);
		if (e < 0)
			return e;
		r.base = d.base = &id;
	}
	e = store_begin(s, &t, &err);
	if (e < 0)
		return e;
	e = store_put_region(t, &r, &err);
	if (e == 0)
		e = store_put_region(t, &d, &err);
	if (e == 0)
		e = store_put_blob(t, STORE_BLOB_STATE, state, sizeof(state), &err);
	if (e < 0) {
		store_abort(t);
		return e;
	}
	return store_commit(t, name, NULL, &err);
}

static void check_region(struct store_plan *p, enum store_kind kind, const void *want, size_t len)
{
	struct volt_err err = { 0 };
	const struct store_plan_region *r = store_plan_find(p, kind, 0);
	int fd = memfd_create("copy", MFD_CLOEXEC);
	void *got;

	assert_non_null(r);
	assert_int_equal(r->size, len);
	if (store_plan_copy(p, r, fd, &err) < 0)
		fail_msg("%s", err.msg);
	got = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(got != MAP_FAILED);
	assert_memory_equal(got, want, len);
	munmap(got, len);
	close(fd);
}

/* The name leads to content n, all of it. */
static void check_content(struct store *s, const char *name, unsigned n)
{
	struct volt_err err = { 0 };
	struct store_id id;
	struct store_plan *p = NULL;
	uint8_t *state = NULL, want[100];
	size_t len;

	if (store_resolve(s, name, &id, &err) < 0 || store_plan_open(s, &id, &p, &err) < 0)
		fail_msg("%s: %s", name, err.msg);
	make_content(n);
	check_region(p, STORE_MEMORY, memory, MEMORY);
	check_region(p, STORE_DISK, disk, DISK);
	assert_int_equal(store_plan_blob(p, STORE_BLOB_STATE, (void **)&state, &len, &err), 0);
	memset(want, (int)n, sizeof(want));
	assert_int_equal(len, sizeof(want));
	assert_memory_equal(state, want, len);
	free(state);
	store_plan_close(p);
}

static unsigned state_of(struct store *s, const char *name)
{
	struct volt_err err = { 0 };
	struct store_id id;
	struct store_plan *p = NULL;
	uint8_t *state = NULL;
	size_t len;
	unsigned n;
	int r = store_resolve(s, name, &id, &err);

	if (r == -ENOENT)
		return 0;
	if (r < 0 || store_plan_open(s, &id, &p, &err) < 0 ||
		store_plan_blob(p, STORE_BLOB_STATE, (void **)&state, &len, &err) < 0)
		fail_msg("%s: %s", name, err.msg);
	n = state[0];
	free(state);
	store_plan_close(p);
	return n;
}

static void print_problem(void *ctx, const char *text)
{
	(void)ctx;
	print_message("verify: %s\n", text);
}

struct op {
	const char *name;
	int (*run)(struct store *s);
	const char *target; /* the name that it sets; NULL: none */
	unsigned before, after; /* contents of it */
};

static int run_delta(struct store *s)
{
	return put(s, "c", "b", 5);
}

static int run_image(struct store *s)
{
	return put(s, "fresh", NULL, 1) ? -EIO : put(s, "new/x", NULL, 77);
}

static int run_gc(struct store *s)
{
	struct store_gc_result res;

	return store_gc(s, 0, &res, NULL);
}

static int run_import(struct store *s)
{
	int fd = open(path("stream"), O_RDONLY | O_CLOEXEC), r;

	r = store_import(s, fd, "c", NULL, NULL);
	close(fd);
	return r;
}

static const struct op ops[] = {
	{ "put of a delta", run_delta, "c", 4, 5 },
	{ "put of images", run_image, "new/x", 0, 77 },
	{ "gc", run_gc, NULL, 0, 0 },
	{ "import", run_import, "c", 4, 6 },
};

/* One run on a fresh copy of the store. -ECHILD: it could not even be opened. */
static int run_op(const struct op *op, const char *folder)
{
	struct volt_err err = { 0 };
	struct store *s;
	int r;

	if (store_open(folder, STORE_WRITE, &store_shim, &s, &err) < 0)
		return -ECHILD;
	r = op->run(s);
	store_close(s);
	return r;
}

/* The promise. done: the operation has been acknowledged. */
static void check_store(const char *folder, const struct op *op, bool done, bool later)
{
	struct volt_err err = { 0 };
	struct store_gc_result res;
	struct store *s;
	unsigned n;

	store_shim_set(STORE_SHIM_PASS, 0, 0);
	if (store_open(folder, STORE_WRITE, &store_shim, &s, &err) < 0)
		fail_msg("open: %s", err.msg);
	for (int round = 0; round < 2; round++) {
		if (store_verify(s, print_problem, NULL, &err) != 0)
			fail_msg("verify is not clean %s", err.msg);
		check_content(s, "a", 1);
		check_content(s, "b", 3);
		if (op->target) {
			n = state_of(s, op->target);
			if (n != op->after && (done || n != op->before))
				fail_msg("%s holds content %u", op->target, n);
			if (n)
				check_content(s, op->target, n);
		}
		if (round || !later)
			break;
		/* and life goes on */
		if (put(s, "later", "b", 9) < 0 || store_gc(s, 0, &res, &err) < 0)
			fail_msg("later: %s", err.msg);
		check_content(s, "later", 9);
	}
	store_close(s);
}

static unsigned count_calls(const struct op *op)
{
	unsigned n;

	copy_folder(path("base"), path("run"));
	store_shim_set(STORE_SHIM_PASS, 0, 0);
	assert_int_equal(run_op(op, path("run")), 0);
	n = store_shim_count();
	check_store(path("run"), op, true, true);
	remove_folder(path("run"));
	assert_in_range(n, 5, 500);
	return n;
}

static void killed(void **state)
{
	const struct op *op = *state;
	unsigned n = count_calls(op);

	for (unsigned i = 0; i < n; i++) {
		int status;
		pid_t pid;

		copy_folder(path("base"), path("run"));
		pid = fork();
		if (pid == 0) {
			store_shim_set(STORE_SHIM_KILL, i, 0);
			run_op(op, path("run"));
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		check_store(path("run"), op, false, true);
		remove_folder(path("run"));
	}
	print_message("%s: killed at each of %u calls\n", op->name, n);
}

static void failing(void **state)
{
	static const struct {
		enum store_shim_what what;
		int code;
	} ways[] = { { STORE_SHIM_FAIL, EIO }, { STORE_SHIM_FAIL, ENOSPC },
		{ STORE_SHIM_STICKY, ENOSPC } };
	const struct op *op = *state;
	unsigned n = count_calls(op), refused = 0;

	for (unsigned w = 0; w < sizeof(ways) / sizeof(ways[0]); w++)
		for (unsigned i = 0; i < n; i++) {
			int r;

			copy_folder(path("base"), path("run"));
			store_shim_set(ways[w].what, i, ways[w].code);
			r = run_op(op, path("run"));
			refused += r < 0;
			check_store(path("run"), op, r == 0, i % 3 == w);
			remove_folder(path("run"));
		}
	copy_folder(path("base"), path("run"));
	store_shim_set(STORE_SHIM_SHORT, 0, 0);
	assert_int_equal(run_op(op, path("run")), 0);
	check_store(path("run"), op, true, true);
	remove_folder(path("run"));
	assert_true(refused > n);
	print_message("%s: %u calls failed in 3 ways, %u runs refused\n", op->name, n, refused);
}

static void cut(void **state)
{
	const struct op *op = *state;
	unsigned changes, states = 0;

	copy_folder(path("base"), path("run"));
	store_disk_begin(path("run"));
	store_shim_set(STORE_SHIM_PASS, 0, 0);
	assert_int_equal(run_op(op, path("run")), 0);
	changes = store_disk_changes();
	remove_folder(path("run"));
	for (unsigned n = 0; n <= changes; n++)
		for (unsigned seed = 0; seed < 4; seed++) {
			enum store_disk_loss loss = seed == 0   ? STORE_DISK_DROP_ALL
						    : seed == 1 ? STORE_DISK_KEEP_ALL
								: STORE_DISK_RANDOM;

			store_disk_cut(n, loss, n * 8 + seed, path("cut"));
			check_store(path("cut"), op, n == changes, seed == 3);
			remove_folder(path("cut"));
			states++;
		}
	store_disk_end();
	print_message("%s: the power cut after each of %u changes, %u disks\n", op->name, changes,
		states);
}

/*
 * A sync of a file fails, so that its pages are clean and not on the disk, and nothing can be taken
 * back; the next process tries
 * again, is told that all is well, and then the power is cut.
 */
static void sync_lost(void **state)
{
	const struct op *op = *state;
	unsigned n = count_calls(op), lost = 0;

	for (unsigned i = 0; i < n; i++) {
		int r;

		copy_folder(path("base"), path("run"));
		store_disk_begin(path("run"));
		store_shim_set(STORE_SHIM_DEAD, i, EIO);
		r = run_op(op, path("run"));
		if (store_shim_failed_syncs()) {
			assert_int_equal(r, -EIO);
			store_shim_set(STORE_SHIM_PASS, 0, 0);
			assert_int_equal(run_op(op, path("run")), 0);
			for (unsigned seed = 0; seed < 3; seed++) {
				store_disk_cut(store_disk_changes(),
					seed ? STORE_DISK_RANDOM : STORE_DISK_DROP_ALL,
					i * 4 + seed, path("cut"));
				check_store(path("cut"), op, true, true);
				remove_folder(path("cut"));
			}
			lost++;
		}
		store_disk_end();
		remove_folder(path("run"));
	}
	assert_true(lost > 3);
	print_message("%s: %u syncs lost and tried again\n", op->name, lost);
}

/* a: 1, b: 3 (delta on a), c: 4; something else in the log of b, and an image that nobody needs. */
static int set_up(void **state)
{
	struct store *s;
	struct store_id id;
	int fd;

	(void)state;
	snprintf(top, sizeof(top), "%s/volt-store-XXXXXX",
		access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	assert_non_null(mkdtemp(top));
	assert_int_equal(store_create(path("base"), &store_shim, NULL), 0);
	assert_int_equal(store_open(path("base"), STORE_WRITE, &store_shim, &s, NULL), 0);
	assert_int_equal(put(s, "a", NULL, 1), 0);
	assert_int_equal(put(s, "b", "a", 3), 0);
	for (unsigned n = 100; n < 110; n++)
		assert_int_equal(put(s, "gone", "b", n), 0);
	assert_int_equal(put(s, "c", "a", 4), 0);
	assert_int_equal(put(s, "gone", "a", 6), 0);
	fd = open(path("stream"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(store_resolve(s, "gone", &id, NULL), 0);
	assert_int_equal(store_export(s, &id, fd, NULL), 0);
	close(fd);
	assert_int_equal(store_remove(s, "gone", NULL), 0);
	store_close(s);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	remove_folder(top);
	return 0;
}

#define ROW(test, i)                                                                               \
	{                                                                                          \
#test "_" #i, test, NULL, NULL, (void *)(uintptr_t)&ops[i]                         \
	}

/* test-store-crash [PATTERN] */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ROW(killed, 0),
		ROW(killed, 1),
		ROW(killed, 2),
		ROW(killed, 3),
		ROW(failing, 0),
		ROW(failing, 1),
		ROW(failing, 2),
		ROW(failing, 3),
		ROW(cut, 0),
		ROW(cut, 1),
		ROW(cut, 2),
		ROW(cut, 3),
		ROW(sync_lost, 0),
		ROW(sync_lost, 1),
		ROW(sync_lost, 2),
		ROW(sync_lost, 3),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
