/* SPDX-License-Identifier: Apache-2.0 */
/* A store: what is put comes out again, is kept once, and damage is told. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store.h"
#include "test.h"

#define PAGE   4096u
#define MEMORY (4096 * PAGE)

static char top[64];
static struct store *s;
static uint8_t *memory;
static struct volt_err err;

#define ok(x)                                                                                      \
	do {                                                                                       \
		if ((x) < 0)                                                                       \
			fail_msg("%s: %s", #x, err.msg);                                           \
	} while (0)

static void fill(unsigned page, unsigned seed)
{
	for (unsigned i = 0; i < PAGE; i += 4)
		memcpy(memory + page * PAGE + i, &(uint32_t){ page * 40503 + seed * 7919 + i + 1 },
			4);
}

/* Half of the pages, in one run in each 16, unlike each other. */
static void fill_all(void)
{
	memset(memory, 0, MEMORY);
	for (unsigned i = 0; i < MEMORY / PAGE; i++)
		if (i % 16 < 8)
			fill(i, 1);
}

static int put(const char *name, const struct store_id *base, const struct store_run *runs,
	size_t n, struct store_id *ret)
{
	struct store_region r = { .kind = STORE_MEMORY,
		.size = MEMORY,
		.mem = memory,
		.base = base,
		.runs = runs,
		.n_runs = n };
	struct store_txn *t;
	int e;

	memset(&err, 0, sizeof(err));
	e = store_begin(s, &t, &err);
	if (e < 0)
		return e;
	e = store_put_region(t, &r, &err);
	if (e < 0) {
		store_abort(t);
		return e;
	}
	return store_commit(t, name, ret, &err);
}

/* As a restore would: nothing but mmap, in order. Returns the number of extents. */
static size_t check_mapped(const struct store_id *id)
{
	struct store_plan *p;
	const struct store_plan_region *r;
	uint8_t *map;
	size_t n;

	ok(store_plan_open(s, id, &p, &err));
	r = store_plan_find(p, STORE_MEMORY, 0);
	assert_non_null(r);
	map = mmap(NULL, MEMORY, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < r->n; i++) {
		const struct store_extent *e = &r->extents[i];

		assert_true(mmap(map + e->offset, e->bytes, PROT_READ | PROT_WRITE,
				    MAP_FIXED | MAP_PRIVATE | (e->fd < 0 ? MAP_ANONYMOUS : 0),
				    e->fd, (off_t)e->fd_offset) != MAP_FAILED);
	}
	assert_memory_equal(map, memory, MEMORY);
	munmap(map, MEMORY);
	n = r->n;
	store_plan_close(p);
	return n;
}

/* By the store's own account: a tmpfs gives pages to the holes of what is mapped. */
static uint64_t needed(void)
{
	struct store_stat st;

	ok(store_stat(s, &st, &err));
	return st.live_bytes;
}

static void twice(void **state)
{
	struct store_id a, b;
	uint64_t one;

	(void)state;
	fill_all();
	ok(put("a", NULL, NULL, 0, &a));
	one = needed();
	assert_in_range(one, MEMORY / 2, MEMORY / 2 + MEMORY / 50); /* no zeros */
	assert_int_equal(check_mapped(&a), 1);
	ok(put("b", NULL, NULL, 0, &b));
	assert_true(store_id_same(&a, &b));
	assert_int_equal(needed(), one);
}

/* Without being told what it is a copy of. */
static void clones(void **state)
{
	struct store_id id;
	uint64_t before;
	char name[16];

	(void)state;
	fill_all();
	ok(put("a", NULL, NULL, 0, &id));
	before = needed();
	for (unsigned c = 0; c < 10; c++) {
		fill_all();
		for (unsigned i = 0; i < 20; i++)
			fill(i * 201 + c, 100 + c);
		snprintf(name, sizeof(name), "clone%u", c);
		ok(put(name, NULL, NULL, 0, &id));
		check_mapped(&id);
	}
	assert_in_range(needed() - before, 10 * 20 * PAGE, 10 * 20 * PAGE * 11 / 10);
}

/* Fifty snapshots of each other: there is still an image and one delta, and each cost its change.
 */
static void depth(void **state)
{
	struct store_id id;
	uint64_t before;
	size_t n = 0;

	(void)state;
	fill_all();
	ok(put("a", NULL, NULL, 0, &id));
	before = needed();
	for (unsigned i = 1; i <= 50; i++) {
		struct store_run runs[2] = { { 100 * PAGE, 4 * PAGE },
			{ (1000 + i) * PAGE, PAGE } };

		for (unsigned k = 0; k < 4; k++)
			fill(100 + k, i + 1);
		fill(1000 + i, i + 1);
		ok(put("deep", &id, runs, 2, &id));
		n = check_mapped(&id);
	}
	assert_in_range(n, 3, 1 + 1 + 50);
	assert_in_range(needed() - before, 50 * 5 * PAGE, 50 * 5 * PAGE * 11 / 10);
}

/* What was data is zeros, what was changed is changed back. */
static void zeros(void **state)
{
	struct store_run run = { 0, 32 * PAGE };
	struct store_id a, b, c;

	(void)state;
	fill_all();
	ok(put("a", NULL, NULL, 0, &a));
	memset(memory, 0, 4 * PAGE);
	fill(9, 5);
	ok(put("b", &a, &run, 1, &b));
	check_mapped(&b);
	fill_all();
	ok(put("c", &b, &run, 1, &c));
	assert_true(store_id_same(&a, &c));
	check_mapped(&c);
}

/* A delta that has grown too large becomes an image; what the runs do not name is the base's. */
static void image_again(void **state)
{
	struct store_run run = { 0, MEMORY / 2 };
	struct store_id a, b;
	uint64_t before;

	(void)state;
	fill_all();
	ok(put("a", NULL, NULL, 0, &a));
	before = needed();
	for (unsigned i = 0; i < MEMORY / PAGE / 2; i++)
		fill(i, 9);
	ok(put("b", &a, &run, 1, &b));
	assert_int_equal(check_mapped(&b), 1);
	assert_in_range(needed() - before, MEMORY * 3 / 4, MEMORY * 3 / 4 + MEMORY / 50);
}

static void arguments(void **state)
{
	struct store_run outside = { MEMORY - PAGE, 2 * PAGE }, fine = { 0, PAGE };
	struct store_id none = { { 1 } }, a;
	struct store *other;

	(void)state;
	fill_all();
	ok(put("a", NULL, NULL, 0, &a));
	assert_int_equal(put("b", &a, &outside, 1, NULL), -EINVAL);
	assert_int_equal(put("b", &none, &fine, 1, NULL), -ENOENT);
	assert_int_equal(put("../b", NULL, NULL, 0, NULL), -EINVAL);
	assert_int_equal(put("x/y/z", NULL, NULL, 0, NULL), -EINVAL);
	assert_int_equal(put(".x", NULL, NULL, 0, NULL), -EINVAL);
	memset(&err, 0, sizeof(err));
	assert_int_equal(store_resolve(s, "b", &a, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "default/b"));
	memset(&err, 0, sizeof(err));
	assert_int_equal(store_open(top, STORE_WRITE, &store_sys_real, &other, &err), -EBUSY);
	memset(&err, 0, sizeof(err));
	ok(store_open(top, STORE_READ, &store_sys_real, &other, &err)); /* beside the writer */
	ok(store_resolve(other, "a", &a, &err));
	assert_int_equal(store_remove(other, "a", &err), -EROFS);
	store_close(other);
	memset(&err, 0, sizeof(err));
	assert_int_equal(store_create(top, &store_sys_real, &err), -EEXIST);
}

/* What is mapped and what is leased outlives its name; what is neither goes. */
static void leases(void **state)
{
	struct store_gc_result res;
	struct store_plan *p;
	struct store_id a;
	int fd;

	(void)state;
	fill_all();
	ok(put("a", NULL, NULL, 0, &a));
	ok(store_lease(s, &a, &fd, &err));
	ok(store_remove(s, "a", &err));
	ok(store_gc(s, 0, &res, &err));
	assert_int_equal(res.packs, 0);
	check_mapped(&a);
	ok(store_plan_open(s, &a, &p, &err));
	close(fd);
	ok(store_gc(s, 3600, &res, &err)); /* young */
	assert_int_equal(res.packs, 0);
	ok(store_gc(s, 0, &res, &err));
	assert_int_equal(res.manifests, 1);
	assert_int_equal(res.packs, 1);
	assert_true(res.freed_bytes >= MEMORY / 2);
	assert_int_equal(pread(store_plan_at(p, 0)->extents[0].fd, memory, PAGE, 0), PAGE);
	store_plan_close(p);
	assert_int_equal(store_lease(s, &a, &fd, &err), -ENOENT);
}

static void count_problem(void *ctx, const char *text)
{
	(void)text;
	++*(int *)ctx;
}

static void flip(const char *folder, const char *end, off_t at)
{
	char command[256];
	uint8_t byte;
	FILE *f;
	int fd;

	snprintf(command, sizeof(command), "%s/%s", top, folder);
	/* the first file there whose name ends so */
	snprintf(command, sizeof(command), "ls %s/%s/*%s", top, folder, end);
	f = popen(command, "r");
	assert_non_null(fgets(command, sizeof(command), f));
	pclose(f);
	command[strcspn(command, "\n")] = '\0';
	fd = open(command, O_RDWR);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 4;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void damage(void **state)
{
	static const struct {
		const char *folder, *end;
		off_t at;
		bool repaired; /* by what the store knows besides */
	} places[] = { { "packs", ".pk", 5 * PAGE + 77, false }, { "packs", ".px", 100, false },
		{ "manifests", ".m", 40, false }, { "refs/default", "a", 3, false },
		{ "layouts", ".l", 30, true } };
	struct store_plan *p;
	struct store_id a;
	int n, fd, r;

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		fill_all();
		ok(put("a", NULL, NULL, 0, &a));
		flip(places[i].folder, places[i].end, places[i].at);
		memset(&err, 0, sizeof(err));
		r = store_resolve(s, "a", &a, &err);
		if (r == 0)
			r = store_plan_open(s, &a, &p, &err);
		if (r == 0) {
			fd = memfd_create("copy", MFD_CLOEXEC);
			r = store_plan_copy(p, store_plan_at(p, 0), fd, &err);
			close(fd);
			store_plan_close(p);
		}
		if (places[i].repaired)
			assert_int_equal(r, 0);
		else
			assert_true(r < 0 && err.msg[0]);
		n = 0;
		ok(store_verify(s, count_problem, &n, &err));
		assert_int_equal(n > 0, !places[i].repaired);
		flip(places[i].folder, places[i].end, places[i].at);
		assert_int_equal(store_verify(s, count_problem, &n, &err), 0);
	}
}

/* A file with holes, larger than its data; and a source that ends before the region does. */
static void files(void **state)
{
	struct store_region r = { .kind = STORE_DISK, .number = 3, .size = (1 << 30) + 700 };
	int fd = memfd_create("disk", MFD_CLOEXEC), copy = memfd_create("copy", MFD_CLOEXEC);
	struct store_txn *t;
	struct store_plan *p;
	struct store_id a;
	uint8_t got[8];

	(void)state;
	assert_int_equal(pwrite(fd, "at last", 8, 1 << 30), 8);
	assert_int_equal(pwrite(fd, "at first", 8, 0), 8);
	r.fd = fd;
	memset(&err, 0, sizeof(err));
	ok(store_begin(s, &t, &err));
	ok(store_put_region(t, &r, &err));
	ok(store_commit(t, "d", &a, &err));
	assert_in_range(needed(), 1, 3 * 65536);
	ok(store_plan_open(s, &a, &p, &err));
	ok(store_plan_copy(p, store_plan_find(p, STORE_DISK, 3), copy, &err));
	assert_int_equal(lseek(copy, 0, SEEK_END), r.size);
	assert_int_equal(pread(copy, got, 8, 1 << 30), 8);
	assert_memory_equal(got, "at last", 8);
	store_plan_close(p);
	close(fd);
	close(copy);
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

static int set_up(void **state)
{
	(void)state;
	memset(&err, 0, sizeof(err));
	snprintf(top, sizeof(top), "%s/volt-store-XXXXXX",
		access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	assert_non_null(mkdtemp(top));
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ok(store_create(top, &store_sys_real, &err));
	ok(store_open(top, STORE_WRITE, &store_sys_real, &s, &err));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	store_close(s);
	munmap(memory, MEMORY);
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = { ROW(twice), ROW(clones), ROW(depth), ROW(zeros),
		ROW(image_again), ROW(arguments), ROW(leases), ROW(damage), ROW(files) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
