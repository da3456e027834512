/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of volt-store, see store-cmd.h: each opens the store, does one thing, tells it. */
#include "store-cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cleanup.h"
#include "num.h"

static int open_store(const struct store_cmd_args *a, enum store_open_mode mode,
	struct store_bar *bar, struct store **ret, struct volt_err *err)
{
	struct store_progress p = { store_bar_tell, bar };
	int r = store_open(a->dir, mode, &store_sys_real, ret, err);

	if (r == 0)
		store_set_progress(*ret, &p);
	return r;
}

static void closep(struct store **s)
{
	store_close(*s);
}

static void plan_closep(struct store_plan **p)
{
	store_plan_close(*p);
}

#define _cleanup_store_ _cleanup_(closep)
#define _cleanup_plan_  _cleanup_(plan_closep)

/* ---- init, rm ---- */

static int cmd_init(const struct store_cmd_args *a, struct store_bar *bar, struct volt_err *err)
{
	(void)bar;
	return store_create(a->dir, &store_sys_real, err);
}

static int cmd_rm(const struct store_cmd_args *a, struct store_bar *bar, struct volt_err *err)
{
	_cleanup_store_ struct store *s = NULL;
	int r = open_store(a, STORE_WRITE, bar, &s, err);

	return r < 0 ? r : store_remove(s, a->word[0], err);
}

/* ---- put, get ---- */

/* memory0=FILE, disk1=FILE, state=FILE */
struct part {
	bool state;
	enum store_kind kind;
	uint16_t number;
	const char *path;
};

static int parse_part(const char *text, struct part *ret, struct volt_err *err)
{
	static const char form[] = "'%s': want memoryN=FILE, diskN=FILE or state=FILE, N from 0 to "
				   "65535";
	const char *equal = strchr(text, '=');
	char name[32];
	uint64_t n = 0;
	size_t len = equal ? (size_t)(equal - text) : 0;

	if (!len || len >= sizeof(name) || !equal[1])
		return volt_err_set(err, EINVAL, form, text);
	memcpy(name, text, len);
	name[len] = '\0';
	*ret = (struct part){ .path = equal + 1, .kind = STORE_MEMORY };
	if (strcmp(name, "state") == 0) {
		ret->state = true;
		return 0;
	}
	if (strncmp(name, "disk", 4) == 0)
		ret->kind = STORE_DISK;
	else if (strncmp(name, "memory", 6) != 0)
		return volt_err_set(err, EINVAL, form, text);
	len = ret->kind == STORE_DISK ? 4 : 6;
	if (name[len] && num_parse_u64(name + len, 0, UINT16_MAX, &n) < 0)
		return volt_err_set(err, EINVAL, form, text);
	ret->number = (uint16_t)n;
	return 0;
}

static int put_state(
	struct store_txn *t, int fd, const struct part *p, uint64_t size, struct volt_err *err)
{
	_cleanup_free_ void *data = NULL;
	int r;

	if (size < 1 || size > STORE_BLOB_MAX)
		return volt_err_set(
			err, EINVAL, "%s: a state has 1 to %u bytes", p->path, STORE_BLOB_MAX);
	data = malloc((size_t)size);
	if (!data)
		return volt_err_set(err, ENOMEM, "no memory for %s", p->path);
	r = store_sys_read(&store_sys_real, fd, data, (size_t)size, 0);
	if (r < 0)
		return volt_err_set(err, -r, "read %s: %m", p->path);
	return store_put_blob(t, STORE_BLOB_STATE, data, (size_t)size, err);
}

static int put_part(struct store_txn *t, const struct part *p, const struct store_id *base,
	struct volt_err *err)
{
	_cleanup_close_ int fd = open(p->path, O_RDONLY | O_CLOEXEC);
	struct store_region region = { .kind = p->kind, .number = p->number, .base = base };
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return volt_err_set(err, errno, "open %s: %m", p->path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return volt_err_set(err, EINVAL, "%s is neither a file nor a disk", p->path);
	region.size = (uint64_t)(S_ISBLK(st.st_mode) ? lseek(fd, 0, SEEK_END) : st.st_size);
	if (p->state)
		return put_state(t, fd, p, region.size, err);
	region.fd = fd;
	r = store_put_region(t, &region, err);
	return r < 0 ? volt_err_wrap(err, "%s", p->path) : 0;
}

static uint64_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? 0 : (uint64_t)st.st_size;
}

static void print_id(const struct store_id *id)
{
	char text[STORE_ID_HEX + 1];

	store_id_text(id, text);
	printf("%s\n", text);
}

static int put_all(struct store *s, const struct store_cmd_args *a, const struct part *parts,
	const struct store_id *base, struct volt_err *err)
{
	uint64_t total = 0;
	struct store_txn *t;
	struct store_id id;
	int r = store_begin(s, &t, err);

	if (r < 0)
		return r;
	for (int i = 0; i < a->n - 1; i++)
		total += parts[i].state ? 0 : size_of(parts[i].path);
	store_set_total(s, total);
	for (int i = 0; r == 0 && i < a->n - 1; i++)
		r = put_part(t, &parts[i], base, err);
	if (r < 0) {
		store_abort(t);
		return r;
	}
	r = store_commit(t, a->word[0], &id, err);
	if (r == 0)
		print_id(&id);
	return r;
}

static int parse_parts(const struct store_cmd_args *a, struct part **ret, struct volt_err *err)
{
	int r = 0;

	*ret = calloc((size_t)a->n, sizeof(**ret));
	if (!*ret)
		return volt_err_set(err, ENOMEM, "no memory");
	for (int i = 1; r == 0 && i < a->n; i++)
		r = parse_part(a->word[i], &(*ret)[i - 1], err);
	return r;
}

static int cmd_put(const struct store_cmd_args *a, struct store_bar *bar, struct volt_err *err)
{
	_cleanup_store_ struct store *s = NULL;
	_cleanup_free_ struct part *parts = NULL;
	struct store_id base;
	int r = parse_parts(a, &parts, err);

	if (r == 0)
		r = open_store(a, STORE_WRITE, bar, &s, err);
	if (r == 0 && a->base)
		r = store_resolve(s, a->base, &base, err);
	return r < 0 ? r : put_all(s, a, parts, a->base ? &base : NULL, err);
}

static int open_name(const struct store_cmd_args *a, struct store_bar *bar, struct store **ret_s,
	struct store_plan **ret, struct volt_err *err)
{
	struct store_id id;
	int r = open_store(a, STORE_READ, bar, ret_s, err);

	if (r == 0)
		r = store_resolve(*ret_s, a->word[0], &id, err);
	return r < 0 ? r : store_plan_open(*ret_s, &id, ret, err);
}

static int get_into(struct store *s, struct store_plan *plan, const struct part *p, int fd,
	struct volt_err *err)
{
	const struct store_plan_region *region;
	_cleanup_free_ void *data = NULL;
	size_t len;
	int r;

	if (p->state) {
		r = store_plan_blob(plan, STORE_BLOB_STATE, &data, &len, err);
		if (r == 0) {
			r = store_sys_write(&store_sys_real, fd, data, len, 0);
			if (r < 0)
				volt_err_set(err, -r, "%m");
		}
		return r;
	}
	region = store_plan_find(plan, p->kind, p->number);
	if (!region)
		return volt_err_set(err, ENOENT, "the snapshot has no %s%u",
			p->kind == STORE_DISK ? "disk" : "memory", p->number);
	store_set_total(s, region->size);
	return store_plan_copy(plan, region, fd, err);
}

/* A file that was not there before and is whole, or is not there. */
static int new_file(const char *path, int *ret, struct volt_err *err)
{
	*ret = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	return *ret < 0 ? volt_err_set(err, errno, "create %s: %m", path) : 0;
}

static int end_file(const char *path, int fd, int r, struct volt_err *err)
{
	if (r == 0 && fsync(fd) < 0)
		r = volt_err_set(err, errno, "%m");
	if (r < 0) {
		unlink(path);
		volt_err_wrap(err, "%s", path);
	}
	return r;
}

static int cmd_get(const struct store_cmd_args *a, struct store_bar *bar, struct volt_err *err)
{
	_cleanup_store_ struct store *s = NULL;
	_cleanup_plan_ struct store_plan *plan = NULL;
	_cleanup_free_ struct part *parts = NULL;
	int r = parse_parts(a, &parts, err);

	if (r == 0)
		r = open_name(a, bar, &s, &plan, err);
	for (int i = 0; r == 0 && i < a->n - 1; i++) {
		_cleanup_close_ int fd = -1;

		r = new_file(parts[i].path, &fd, err);
		if (r == 0)
			r = end_file(parts[i].path, fd, get_into(s, plan, &parts[i], fd, err), err);
	}
	return r;
}

/* ---- ls, stat ---- */

static int print_ref(void *ctx, const char *ref, int64_t mtime)
{
	struct volt_err err = { 0 };
	char text[STORE_ID_HEX + 1], when[32] = "?";
	time_t t = (time_t)mtime;
	struct store_id id;
	struct tm tm;

	if (gmtime_r(&t, &tm))
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (store_resolve(ctx, ref, &id, &err) < 0)
		snprintf(text, sizeof(text), "damaged");
	else
		store_id_text(&id, text);
	printf("%.12s  %s  %s\n", text, when, ref);
	return 0;
}

static int cmd_ls(const struct store_cmd_args *a, struct store_bar *bar, struct volt_err *err)
{
	_cleanup_store_ struct store *s = NULL;
	int r = open_store(a, STORE_READ, bar, &s, err);

	return r < 0 ? r : store_each_ref(s, print_ref, s, err);
}

static void print_line(const char *what, uint64_t n)
{
	printf("%-24s %" PRIu64 "\n", what, n);
}

static int stat_name(const struct store_cmd_args *a, struct store_bar *bar, struct volt_err *err)
{
	_cleanup_store_ struct store *s = NULL;
	_cleanup_plan_ struct store_plan *plan = NULL;
	const struct store_manifest *m;
	int r = open_name(a, bar, &s, &plan, err);

	if (r < 0)
		return r;
	m = store_plan_manifest(plan);
	for (unsigned i = 0; i < m->n_blobs; i++)
		printf("%s%u: %u bytes\n",
			m->blobs[i].type == STORE_BLOB_STATE ? "state, blob " : "blob ",
			m->blobs[i].type, m->blobs[i].len);
	for (unsigned i = 0; i < m->n_regions; i++) {
		const struct store_plan_region *region = store_plan_at(plan, i);
		char image[STORE_ID_HEX + 1];

		store_id_text(&m->regions[i].image, image);
		printf("%s%u: %" PRIu64 " bytes, image %.12s, %zu units of %u bytes differ, %zu "
		       "extents\n",
			region->kind == STORE_DISK ? "disk" : "memory", region->number,
			region->size, store_id_is_zero(&m->regions[i].image) ? "none" : image,
			m->regions[i].n, 1u << store_kind_unit_log2(region->kind), region->n);
	}
	return 0;
}

static int cmd_stat(const struct store_cmd_args *a, struct store_bar *bar, struct volt_err *err)
{
	_cleanup_store_ struct store *s = NULL;
	struct store_stat st;
	int r;

	if (a->n)
		return stat_name(a, bar, err);
	r = open_store(a, STORE_READ, bar, &s, err);
	if (r == 0)
		r = store_stat(s, &st, err);
	if (r < 0)
		return r;
	print_line("snapshots", st.refs);
	print_line("leases", st.leases);
	print_line("manifests", st.manifests);
	print_line("packs", st.packs);
	print_line("images among them", st.images);
	print_line("bytes of all snapshots", st.region_bytes);
	print_line("bytes needed", st.live_bytes);
	print_line("bytes on disk", st.disk_bytes);
	print_line("bytes of indices", st.index_bytes);
	print_line("bytes of manifests", st.manifest_bytes);
	if (st.disk_bytes)
		printf("%-24s %.2f\n", "snapshots per disk byte",
			(double)st.region_bytes / (double)st.disk_bytes);
	return 0;
}

/* ---- verify, gc ---- */

static void print_problem(void *ctx, const char *text)
{
	store_bar_done(ctx);
	printf("%s\n", text);
}

static int cmd_verify(const struct store_cmd_args *a, struct store_bar *bar, struct volt_err *err)
{
	_cleanup_store_ struct store *s = NULL;
	int r = open_store(a, STORE_READ, bar, &s, err);

	if (r == 0)
		r = store_verify(s, print_problem, bar, err);
	store_bar_done(bar);
	if (r == 0)
		printf("all is well\n");
	return MIN(r, 1);
}

static int cmd_gc(const struct store_cmd_args *a, struct store_bar *bar, struct volt_err *err)
{
	_cleanup_store_ struct store *s = NULL;
	struct store_gc_result res;
	int r = open_store(a, STORE_WRITE, bar, &s, err);

	if (r == 0)
		r = store_gc(s, a->grace_s, &res, err);
	if (r == 0)
		printf("removed %" PRIu64 " manifests and %" PRIu64 " packs; %" PRIu64
		       " bytes freed, %" PRIu64 " moved\n",
			res.manifests, res.packs, res.freed_bytes, res.moved_bytes);
	return r;
}

/* ---- export, import ---- */

static int cmd_export(const struct store_cmd_args *a, struct store_bar *bar, struct volt_err *err)
{
	_cleanup_store_ struct store *s = NULL;
	_cleanup_close_ int fd = -1;
	struct store_id id;
	int r = open_store(a, STORE_READ, bar, &s, err);

	if (r == 0)
		r = store_resolve(s, a->word[0], &id, err);
	if (r == 0 && strcmp(a->word[1], "-") == 0)
		return store_export(s, &id, STDOUT_FILENO, err);
	if (r == 0)
		r = new_file(a->word[1], &fd, err);
	return r < 0 ? r : end_file(a->word[1], fd, store_export(s, &id, fd, err), err);
}

static int cmd_import(const struct store_cmd_args *a, struct store_bar *bar, struct volt_err *err)
{
	_cleanup_store_ struct store *s = NULL;
	_cleanup_close_ int own = -1;
	int fd = STDIN_FILENO, r;
	struct store_id id;

	if (strcmp(a->word[0], "-") != 0) {
		fd = own = open(a->word[0], O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return volt_err_set(err, errno, "open %s: %m", a->word[0]);
	}
	r = open_store(a, STORE_WRITE, bar, &s, err);
	if (r < 0)
		return r;
	store_set_total(s, own < 0 ? 0 : size_of(a->word[0]));
	r = store_import(s, fd, a->word[1], &id, err);
	if (r == 0)
		print_id(&id);
	return r;
}

const struct store_cmd store_cmd_list[] = {
	{ "init", "DIR", 0, 0, "make a store", cmd_init },
	{ "put", "DIR NAME WHAT=FILE...", 2, -1,
		"store files as one snapshot: memory0=, disk0=, state=", cmd_put },
	{ "get", "DIR NAME WHAT=FILE...", 2, -1, "write parts of a snapshot into new files",
		cmd_get },
	{ "ls", "DIR", 0, 0, "list the snapshots", cmd_ls },
	{ "rm", "DIR NAME", 1, 1, "remove a name; gc frees what it held", cmd_rm },
	{ "stat", "DIR [NAME]", 0, 1, "sizes of the store, or of one snapshot", cmd_stat },
	{ "verify", "DIR", 0, 0, "read and check everything", cmd_verify },
	{ "gc", "DIR", 0, 0, "free what no snapshot and no lease needs", cmd_gc },
	{ "export", "DIR NAME FILE|-", 2, 2, "write a snapshot into one file", cmd_export },
	{ "import", "DIR FILE|- NAME", 2, 2, "read such a file, check it, store it", cmd_import },
	{ NULL, NULL, 0, 0, NULL, NULL },
};
