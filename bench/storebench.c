/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of the store's library, for storebench.py: JSON lines of raw samples in nanoseconds.
 * Usage: storebench FOLDER MIB; FOLDER is a store, made before, that is written to.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "num.h"
#include "store.h"

#define PAGE   4096u
#define DIRTY  16u /* pages that each snapshot changes, in runs of four */
#define DEPTH  50u
#define ROUNDS 100u

static struct store *s;
static uint8_t *memory;
static size_t size;
static struct volt_err err;

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static void must(int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "storebench: %s\n", err.msg);
	exit(1);
}

static uint64_t now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t random64(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

static void fill(size_t page, uint64_t seed)
{
	uint64_t x = page * 0x9e3779b97f4a7c15u + seed + 1;

	for (size_t i = 0; i < PAGE; i += 8)
		num_put_le64(memory + page * PAGE + i, random64(&x));
}

static void say(const char *what, const char *value, uint64_t n)
{
	printf("{\"what\": \"%s\", \"%s\": %ju}\n", what, value, (uintmax_t)n);
}

/* Processor time too: what a core does, on a machine that does other things. */
static struct store_id put(const char *what, const char *name, const struct store_id *base,
	const struct store_run *runs, size_t n)
{
	struct store_region r = { .kind = STORE_MEMORY,
		.size = size,
		.mem = memory,
		.base = base,
		.runs = runs,
		.n_runs = n };
	struct store_txn *t;
	struct store_id id;
	uint64_t begun = now(), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID), put;

	must(store_begin(s, &t, &err));
	must(store_put_region(t, &r, &err));
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	put = now();
	must(store_commit(t, name, &id, &err));
	if (what) {
		printf("{\"what\": \"%s\", \"put_ns\": %ju, \"put_cpu_ns\": %ju, "
		       "\"commit_ns\": %ju}\n",
			what, (uintmax_t)(put - begun), (uintmax_t)cpu, (uintmax_t)(now() - put));
	}
	return id;
}

/* Opens and maps, as a restore does before the guest runs. */
static void restore(const char *what, const struct store_id *id)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		const struct store_plan_region *r;
		struct store_plan *p;
		uint64_t begun = now();
		uint8_t *map;

		must(store_plan_open(s, id, &p, &err));
		r = store_plan_at(p, 0);
		map = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (size_t k = 0; k < r->n; k++)
			if (mmap(map + r->extents[k].offset, r->extents[k].bytes,
				    PROT_READ | PROT_WRITE,
				    MAP_FIXED | MAP_PRIVATE | MAP_NORESERVE |
					    (r->extents[k].fd < 0 ? MAP_ANONYMOUS : 0),
				    r->extents[k].fd, (off_t)r->extents[k].fd_offset) == MAP_FAILED)
				must(volt_err_set(&err, ENOMEM, "mmap"));
		printf("{\"what\": \"%s\", \"ns\": %ju, \"extents\": %zu}\n", what,
			(uintmax_t)(now() - begun), r->n);
		munmap(map, size);
		store_plan_close(p);
	}
}

static uint64_t live(void)
{
	struct store_stat st;

	must(store_stat(s, &st, &err));
	return st.live_bytes;
}

/* The same pages each time, so that depth is all that differs. */
static void depths(const struct store_id *golden)
{
	struct store_run runs[DIRTY / 4];
	struct store_id id = *golden;

	for (unsigned i = 0; i < DIRTY / 4; i++)
		runs[i] = (struct store_run){ (size_t)i * (size / 4 / (DIRTY / 4)), 4 * PAGE };
	for (unsigned d = 1; d <= DEPTH; d++) {
		for (unsigned i = 0; i < DIRTY; i++)
			fill(runs[i / 4].offset / PAGE + i % 4, d);
		id = put("snapshot of 16 dirty pages", "deep", &id, runs, DIRTY / 4);
		if (d == 1)
			restore("restore, depth 1", &id);
	}
	restore("restore, depth 50", &id);
}

/* Clones that nobody calls clones: whole memories, 1% of the pages different. */
static void clones(void)
{
	uint64_t before = live(), x = 88172645463325252u;
	char name[16];

	for (unsigned c = 0; c < 10; c++) {
		for (size_t i = 0; i < size / PAGE; i++)
			fill(i, 0);
		for (size_t i = 0; i < size / PAGE / 100; i++)
			fill(random64(&x) % (size / PAGE), 1000 + c);
		snprintf(name, sizeof(name), "clone%u", c);
		put("clone, 1% of the pages differ", name, NULL, NULL, 0);
	}
	say("ten clones", "changed_bytes", size / PAGE / 100 * PAGE * 10);
	say("ten clones", "stored_bytes", live() - before);
	say("ten clones", "as_files_bytes", 10 * size);
}

int main(int argc, char **argv)
{
	struct store_id golden;
	uint64_t mib;

	if (argc != 3 || num_parse_u64(argv[2], 1, 65536, &mib) < 0)
		return 2;
	size = (size_t)(mib * MIB);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(store_open(argv[1], STORE_WRITE, &store_sys_real, &s, &err));
	put("put, all zeros", "zeros", NULL, NULL, 0);
	for (size_t i = 0; i < size / PAGE; i++)
		fill(i, 0);
	golden = put("put, no zeros", "golden", NULL, NULL, 0);
	restore("restore, an image", &golden);
	depths(&golden);
	clones();
	store_close(s);
	return 0;
}
