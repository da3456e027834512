/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a guest to its end, but in pieces: at moments that a seed chooses it is paused, its state
 * and its memory are saved, its process ends, and a new process with a new VM goes on from there.
 * Each loaded VM is saved again before it runs, and must say the same but for what time changes.
 * Prints the checksum of guest memory at the end.
 *
 * Usage: state-run STOPS SEED MS DIR FLAG-OF-VOLT-VMM...	MS: the longest piece
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "crc32c.h"
#include "layout.h"
#include "log.h"
#include "state.h"
#include "vm-state.h"
#include "vm.h"
#include "vmgenid.h"

#define STOPPED 100 /* status of a process that has saved its VM */

struct piece {
	unsigned number;
	bool last; /* goes on to the end */
	unsigned run_ms;
	int statefd, memfd, nextstatefd, nextmemfd;
	struct vm_config cfg;
	struct resources res;
	struct timeline timeline;
	struct vm vm;
};

static void die(const char *what, const struct volt_err *err)
{
	fprintf(stderr, "state-run: %s: %s\n", what, err ? err->msg : strerror(errno));
	exit(1);
}

static void try(int r, const char *what, const struct volt_err *err)
{
	if (r < 0)
		die(what, err);
}

/* -- guest memory ---------------------------------------------------------------------------- */

static void each_region(const struct vm *vm, void (*fn)(void *ctx, void *p, size_t n), void *ctx)
{
	struct iovec all;

	for (size_t i = 0; i < vm->mem.n_regions; i++) {
		const struct gmem_region *r = &vm->mem.regions[i];

		if (r->kind != GMEM_RAM)
			continue;
		if (gmem_slice(&vm->mem, GPA(r->gpa), r->bytes, &all) < 0)
			die("guest memory", NULL);
		fn(ctx, all.iov_base, all.iov_len);
	}
}

static void write_all(void *ctx, void *p, size_t n)
{
	for (ssize_t done; n > 0; p = (uint8_t *)p + done, n -= (size_t)done) {
		done = write(*(int *)ctx, p, n);
		if (done <= 0)
			die("write", NULL);
	}
}

static void read_all(void *ctx, void *p, size_t n)
{
	for (ssize_t done; n > 0; p = (uint8_t *)p + done, n -= (size_t)done) {
		done = read(*(int *)ctx, p, n);
		if (done <= 0)
			die("read", NULL);
	}
}

static void sum_up(void *ctx, void *p, size_t n)
{
	*(uint32_t *)ctx = crc32c_add(*(uint32_t *)ctx, p, n);
}

/* Differs from one machine to the next by intent: not a part of what the guest has computed. */
static void forget_generation(const struct vm *vm)
{
	static const uint8_t zeros[VMGENID_BYTES];

	if (gmem_write(&vm->mem, GPA(LAYOUT_VMGENID), zeros, sizeof(zeros)) < 0)
		die("generation ID", NULL);
}

/* -- saved twice ----------------------------------------------------------------------------- */

struct lines {
	char **line;
	size_t n;
};

static void add_line(void *ctx, const char *text)
{
	struct lines *l = ctx;

	l->line = realloc(l->line, (l->n + 1) * sizeof(*l->line));
	l->line[l->n++] = strdup(text);
}

/*
 * What time has done from the save to the load: as it stood still, the little that loading takes.
 * Returns false if it went back, or the clock on by more than a second. (A software KVM has no
 * offset for the time stamp counter, which goes on as the host's there.)
 */
static bool time_stood_still(const char *field, const char *was, const char *is, uint64_t khz)
{
	uint64_t from = strtoull(strchr(was, '=') + 1, NULL, 10);
	uint64_t to = strtoull(strchr(is, '=') + 1, NULL, 10);
	int64_t gained_us =
		(int64_t)(to - from) / (strcmp(field, "tsc") == 0 ? (int64_t)khz / 1000 : 1000);

	fprintf(stderr, "state-run: %s: +%lld us\n", field, (long long)gained_us);
	return gained_us >= 0 && (strcmp(field, "tsc") == 0 || gained_us < 1000000);
}

/* What time changes, and nothing else. */
static bool is_time(const char *field, const char *row)
{
	static const char *const times[] = { "clock-ns", "host-tsc", "realtime-ns", "tsc",
		"tsc-offset", "tsc-deadline", "tokens" };

	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		if (strcmp(field, times[i]) == 0)
			return true;
	/* Current count of the local APIC's timer. */
	return strcmp(field, "lapic") == 0 && row && strncmp(row, "    0380 ", 9) == 0;
}

static void compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
	struct lines was = { 0 }, is = { 0 };
	char field[64] = "", section[64] = "";
	unsigned bad = 0;
	uint64_t khz = 1000;

	try(state_print(a, a_len, add_line, &was, NULL), "print", NULL);
	try(state_print(b, b_len, add_line, &is, NULL), "print", NULL);
	if (was.n != is.n) {
		fprintf(stderr, "state-run: %zu lines of state, then %zu\n", was.n, is.n);
		exit(1);
	}
	for (size_t i = 0; i < was.n; i++) {
		const char *l = was.line[i];
		bool row = strncmp(l, "    ", 4) == 0;

		if (*l != ' ')
			snprintf(section, sizeof(section), "%.40s", l);
		else if (!row)
			sscanf(l, "  %63s", field);
		if (strcmp(field, "tsc-khz") == 0)
			khz = strtoull(strchr(l, '=') + 1, NULL, 10);
		if ((strcmp(field, "tsc") == 0 || strcmp(field, "clock-ns") == 0) && *l == ' ') {
			bad += !time_stood_still(field, l, is.line[i], khz);
			continue;
		}
		if (strcmp(l, is.line[i]) == 0 || is_time(field, row ? l : NULL))
			continue;
		fprintf(stderr, "state-run: %s: %s:\n  was %s\n  is  %s\n", section, field, l,
			is.line[i]);
		bad++;
	}
	if (bad)
		exit(1);
}

static const void *save(struct vm *vm, struct state **s, size_t *len)
{
	struct volt_err err = { 0 };
	const void *data;

	try(state_new(s), "state", NULL);
	try(vm_save(vm, *s, &err), "vm_save", &err);
	try(state_finish(*s, &data, len, &err), "state", &err);
	return data;
}

/* -- one process ----------------------------------------------------------------------------- */

static void load(struct piece *p)
{
	static uint8_t file[STATE_BYTES_MAX];
	struct volt_err err = { 0 };
	ssize_t n = pread(p->statefd, file, sizeof(file), 0);
	struct state *s, *again;
	uint64_t start_ns;
	size_t len;

	try((int)n, "read state", NULL);
	each_region(&p->vm, read_all, &p->memfd);
	start_ns = loop_now_ns();
	try(state_read(file, (size_t)n, STATE_LOAD, &s, &err), "state_read", &err);
	try(vm_load(&p->vm, s, &err), "vm_load", &err);
	fprintf(stderr, "state-run: %zd bytes loaded in %llu us\n", n,
		(unsigned long long)(loop_now_ns() - start_ns) / 1000);
	state_free(s);
	const void *data = save(&p->vm, &again, &len);

	compare(file, (size_t)n, data, len);
	state_free(again);
}

static void stop(struct piece *p)
{
	struct volt_err err = { 0 };
	struct state *s;
	uint64_t start_ns = loop_now_ns(), paused_ns;
	size_t len;

	if (vm_pause(&p->vm, &err) < 0 && vm_ended(&p->vm))
		return;
	try(vm_paused(&p->vm) ? 0 : -1, "vm_pause", &err);
	paused_ns = loop_now_ns();
	const void *data = save(&p->vm, &s, &len);

	fprintf(stderr, "state-run: paused in %llu us, %zu bytes saved in %llu us\n",
		(unsigned long long)(paused_ns - start_ns) / 1000, len,
		(unsigned long long)(loop_now_ns() - paused_ns) / 1000);
	write_all(&p->nextstatefd, (void *)(uintptr_t)data, len);
	each_region(&p->vm, write_all, &p->nextmemfd);
	state_free(s);
	vm_end(&p->vm, VM_END_QUIT, NULL, "saved");
}

/* An io_uring lets go of its files, and of their locks, some time after its process has ended. */
static void open_resources(struct piece *p)
{
	const struct timespec moment = { .tv_nsec = 10000000 };
	struct volt_err err = { 0 };

	for (unsigned i = 0; resources_open(&p->res, &p->cfg, &err) < 0; i++) {
		if (i == 200)
			die("resources", &err);
		resources_done(&p->res);
		resources_init(&p->res);
		err = (struct volt_err){ 0 };
		nanosleep(&moment, NULL);
	}
}

static int run(struct piece *p, int argc, char **argv)
{
	struct vmcfg_errors errors = { 0 };
	enum vmcfg_action action;
	struct volt_err err = { 0 };
	uint64_t end_ns;
	bool stopped = false;
	uint32_t sum = 0;

	vmcfg_defaults(&p->cfg);
	vmcfg_cli(&p->cfg, argc, argv, &action, &errors);
	vmcfg_check(&p->cfg, &errors);
	if (errors.n) {
		vmcfg_errors_print(&errors, stderr);
		return 1;
	}
	timeline_start(&p->timeline, 0);
	resources_init(&p->res);
	try(resources_open_log(&p->res, &p->cfg, &err), "log", &err);
	open_resources(p);
	if (p->number > 0)
		p->res.kernelfd = fd_close(p->res.kernelfd);
	try(vm_open(&p->vm, &p->cfg, &p->timeline, &err), "vm_open", &err);
	try(vm_open_console(&p->vm, &err), "console", &err);
	try(resources_net_open(&p->res, &p->cfg, &p->vm.loop, &err), "net", &err);
	try(vm_create(&p->vm, &p->res, &err), "vm_create", &err);
	if (p->number > 0)
		load(p);
	try(vm_start(&p->vm, &err), "vm_start", &err);
	vm_resume(&p->vm);
	end_ns = loop_now_ns() + p->run_ms * NSEC_PER_MSEC;
	while (!p->last && !vm_ended(&p->vm) && loop_now_ns() < end_ns)
		loop_poll(&p->vm.loop, 1);
	if (!p->last && !vm_ended(&p->vm)) {
		stop(p);
		stopped = p->vm.end == VM_END_QUIT;
	}
	try(vm_wait(&p->vm, &err), "vm_wait", &err);
	if (stopped)
		return STOPPED;
	vm_report_print(&p->vm, stderr);
	forget_generation(&p->vm);
	each_region(&p->vm, sum_up, &sum);
	fprintf(stderr, "state-run: memory %08x after %u stops\n", sum, p->number);
	return vm_exit_status(&p->vm);
}

static int file_in(const char *dir, const char *name, unsigned number)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s%u", dir, name, number % 2);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		die(path, NULL);
	return fd;
}

int main(int argc, char **argv)
{
	struct piece *p = calloc(1, sizeof(*p));
	unsigned stops, seed, most_ms;
	int status = 0;

	if (argc < 6) {
		fputs("usage: state-run STOPS SEED MS DIR FLAG...\n", stderr);
		return 1;
	}
	stops = (unsigned)strtoul(argv[1], NULL, 10);
	seed = (unsigned)strtoul(argv[2], NULL, 10);
	most_ms = (unsigned)strtoul(argv[3], NULL, 10);
	p->nextstatefd = p->nextmemfd = -1;
	for (p->number = 0; p->number <= stops; p->number++) {
		pid_t pid;

		p->statefd = p->nextstatefd;
		p->memfd = p->nextmemfd;
		if (p->memfd >= 0)
			lseek(p->memfd, 0, SEEK_SET);
		p->nextstatefd = file_in(argv[4], "state", p->number);
		p->nextmemfd = file_in(argv[4], "memory", p->number);
		seed = seed * 1103515245u + 12345u;
		p->run_ms = 1 + (seed >> 8) % most_ms;
		p->last = p->number == stops;
		fflush(NULL);
		pid = fork();
		if (pid == 0)
			_exit(run(p, argc - 4, argv + 4));
		if (waitpid(pid, &status, 0) < 0)
			die("waitpid", NULL);
		fd_close(p->statefd);
		fd_close(p->memfd);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != STOPPED)
			break;
	}
	free(p);
	if (WIFSIGNALED(status))
		fprintf(stderr, "state-run: killed by signal %d\n", WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
