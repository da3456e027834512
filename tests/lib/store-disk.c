/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model of a disk below a folder, see store-shim.h. It promises no more than POSIX: data is there
 * after a sync of the file, a name after a sync of its folder, and nothing has an order else. After
 * a failed sync pages are clean without being on the disk, as on ext4, XFS and btrfs.
 */
#include "store-disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store-shim.h"

#define PAGE  4096u
#define PAGES 1024u /* the most that a file may have */

enum kind { FILE_AT, MAKE, RENAME, UNLINK, WRITE, TRUNCATE, SYNC, SYNC_FAILED };

struct change {
	enum kind kind;
	char path[256], to[256]; /* below the folder; of names */
	unsigned inode;
	off_t offset;
	size_t len;
	char *data;
};

static char root[512];
static struct change *changes;
static unsigned n_changes, n_first, n_inodes;
static struct {
	ino_t host;
	unsigned ours;
} known[4096];

static void PRINTF_LIKE(1, 2) die(const char *fmt, ...)
{
	int code = errno;
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", strerror(code));
	abort();
}

static struct change *add(enum kind kind)
{
	changes = realloc(changes, (n_changes + 1) * sizeof(*changes));
	if (!changes)
		die("memory");
	changes[n_changes] = (struct change){ .kind = kind };
	return &changes[n_changes++];
}

/* The path below the folder; false: it is not there, or nothing is remembered. */
static bool path_of(int fd, const char *name, char *to)
{
	char link[64], path[PATH_MAX];
	ssize_t n;

	if (!root[0])
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		die("readlink");
	path[n] = '\0';
	if (strncmp(path, root, strlen(root)) != 0)
		return false;
	snprintf(to, 256, "%s%s%s", path + strlen(root), name ? "/" : "", name ? name : "");
	return true;
}

static unsigned inode_of(int fd, bool fresh)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		die("fstat");
	for (unsigned i = n_inodes; !fresh && i-- > 0;)
		if (known[i].host == st.st_ino)
			return known[i].ours;
	if (n_inodes == sizeof(known) / sizeof(known[0]))
		die("too many files");
	known[n_inodes].host = st.st_ino;
	known[n_inodes].ours = n_inodes;
	return n_inodes++;
}

void store_disk_created(int dirfd, const char *name, int fd)
{
	char path[256];

	if (!path_of(dirfd, name, path))
		return;
	struct change *c = add(FILE_AT);
	memcpy(c->path, path, sizeof(path));
	c->inode = inode_of(fd, true);
}

void store_disk_made(int dirfd, const char *name)
{
	char path[256];

	if (path_of(dirfd, name, path))
		memcpy(add(MAKE)->path, path, sizeof(path));
}

void store_disk_renamed(int from, const char *name, int to, const char *to_name)
{
	char path[256], to_path[256];

	if (!path_of(from, name, path) || !path_of(to, to_name, to_path))
		return;
	struct change *c = add(RENAME);
	memcpy(c->path, path, sizeof(path));
	memcpy(c->to, to_path, sizeof(to_path));
}

void store_disk_unlinked(int dirfd, const char *name)
{
	char path[256];

	if (path_of(dirfd, name, path))
		memcpy(add(UNLINK)->path, path, sizeof(path));
}

void store_disk_wrote(int fd, const void *data, size_t len, off_t offset)
{
	char path[256];

	if (!path_of(fd, NULL, path))
		return;
	struct change *c = add(WRITE);
	c->inode = inode_of(fd, false);
	c->offset = offset;
	c->len = len;
	c->data = malloc(len);
	memcpy(c->data, data, len);
}

void store_disk_truncated(int fd, off_t bytes)
{
	char path[256];

	if (!path_of(fd, NULL, path))
		return;
	struct change *c = add(TRUNCATE);
	c->inode = inode_of(fd, false);
	c->offset = bytes;
}

void store_disk_synced(int fd, bool failed)
{
	char path[256];
	struct stat st;

	if (!path_of(fd, NULL, path) || fstat(fd, &st) < 0)
		return;
	struct change *c = add(failed ? SYNC_FAILED : SYNC);
	c->inode = UINT_MAX;
	if (S_ISDIR(st.st_mode))
		memcpy(c->path, path, sizeof(path));
	else
		c->inode = inode_of(fd, false);
}

/* What is there at the beginning, as changes that are synced. */
static void take_folder(const char *path)
{
	char full[1024];
	DIR *dir;
	struct dirent *e;

	snprintf(full, sizeof(full), "%s%s", root, path);
	dir = opendir(full);
	if (!dir)
		die("%s", full);
	while ((e = readdir(dir)) != NULL) {
		char sub[256];

		if (e->d_name[0] == '.')
			continue;
		if (snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name) >= (int)sizeof(sub))
			die("a long name");
		if (e->d_type == DT_DIR) {
			memcpy(add(MAKE)->path, sub, sizeof(sub));
			take_folder(sub);
			continue;
		}
		int fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_CLOEXEC);
		struct stat st;
		char *data;

		if (fd < 0 || fstat(fd, &st) < 0)
			die("%s", sub);
		store_disk_created(dirfd(dir), e->d_name, fd);
		data = malloc((size_t)st.st_size + 1);
		if (pread(fd, data, (size_t)st.st_size, 0) != st.st_size)
			die("%s", sub);
		store_disk_truncated(fd, st.st_size);
		store_disk_wrote(fd, data, (size_t)st.st_size, 0);
		store_disk_synced(fd, false);
		free(data);
		close(fd);
	}
	struct change *c = add(SYNC);
	c->inode = UINT_MAX;
	snprintf(c->path, sizeof(c->path), "%s", path);
	closedir(dir);
}

void store_disk_begin(const char *folder)
{
	store_disk_end();
	char *real = realpath(folder, NULL);

	if (!real || snprintf(root, sizeof(root), "%s", real) >= (int)sizeof(root))
		die("%s", folder);
	free(real);
	take_folder("");
	n_first = n_changes;
}

unsigned store_disk_changes(void)
{
	return n_changes - n_first;
}

void store_disk_end(void)
{
	for (unsigned i = 0; i < n_changes; i++)
		free(changes[i].data);
	free(changes);
	changes = NULL;
	n_changes = n_first = n_inodes = 0;
	root[0] = '\0';
}

/* ---- The power is cut ---- */

struct file { /* in pages; NULL: zeros */
	char *cached[PAGES], *durable[PAGES];
	bool dirty[PAGES];
	size_t size, durable_size;
	bool size_dirty;
};

struct name {
	char path[256];
	unsigned inode; /* UINT_MAX: a folder */
	bool gone;
};

struct disk {
	struct file *files;
	struct name names[2048]; /* that are durable */
	unsigned n_names;
	struct name now[2048]; /* that the process sees */
	unsigned n_now;
	unsigned pending[4096]; /* changes of names that no sync has made durable */
	unsigned n_pending;
};

static void set_page(char **page, const char *from)
{
	free(*page);
	*page = NULL;
	if (from) {
		*page = malloc(PAGE);
		memcpy(*page, from, PAGE);
	}
}

static void write_file(struct file *f, const struct change *c)
{
	for (size_t i = 0; i < c->len; i++) {
		size_t at = (size_t)c->offset + i, page = at / PAGE;

		if (page >= PAGES)
			die("the model has only files of %u bytes", PAGE * PAGES);
		if (!f->cached[page])
			f->cached[page] = calloc(1, PAGE);
		f->cached[page][at % PAGE] = c->data[i];
		f->dirty[page] = true;
		if (at + 1 > f->size) {
			f->size = at + 1;
			f->size_dirty = true;
		}
	}
}

static void truncate_file(struct file *f, size_t size)
{
	for (size_t page = 0; page < PAGES; page++) {
		if (page * PAGE >= size && f->cached[page])
			set_page(&f->cached[page], NULL);
		else if (f->cached[page] && page * PAGE + PAGE > size) {
			memset(f->cached[page] + size % PAGE, 0, PAGE - size % PAGE);
			f->dirty[page] = true;
		}
	}
	f->size = size;
	f->size_dirty = true;
}

static void sync_file(struct file *f, bool failed)
{
	for (size_t page = 0; page < PAGES; page++) {
		if (f->dirty[page] && !failed)
			set_page(&f->durable[page], f->cached[page]);
		f->dirty[page] = false;
	}
	if (!failed && f->size_dirty)
		f->durable_size = f->size;
	f->size_dirty = false;
}

static unsigned lookup(const struct name *names, unsigned n, const char *path)
{
	for (unsigned i = n; i-- > 0;)
		if (!names[i].gone && strcmp(names[i].path, path) == 0)
			return i;
	return UINT_MAX;
}

static void put_name(struct name *names, unsigned *n, const char *path, unsigned inode)
{
	unsigned i = lookup(names, *n, path);

	if (i == UINT_MAX)
		i = (*n)++;
	if (i == 2048)
		die("too many names");
	snprintf(names[i].path, sizeof(names[i].path), "%s", path);
	names[i].inode = inode;
	names[i].gone = false;
}

static void drop_name(struct name *names, unsigned n, const char *path)
{
	unsigned i = lookup(names, n, path);

	if (i != UINT_MAX)
		names[i].gone = true;
}

/* moved: the inode that a rename moves, which may have no durable name yet. */
static void change_names(struct name *names, unsigned *n, const struct change *c, unsigned moved)
{
	if (c->kind == FILE_AT)
		put_name(names, n, c->path, c->inode);
	else if (c->kind == MAKE)
		put_name(names, n, c->path, UINT_MAX);
	else
		drop_name(names, *n, c->path);
	if (c->kind == RENAME)
		put_name(names, n, c->to, moved);
}

static bool is_in(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 && path[len] == '/' && !strchr(path + len + 1, '/');
}

static void sync_folder(struct disk *d, const char *folder, const unsigned *moved)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < d->n_pending; i++) {
		const struct change *c = &changes[d->pending[i]];

		if (is_in(c->path, folder) || (c->kind == RENAME && is_in(c->to, folder)))
			change_names(d->names, &d->n_names, c, moved[d->pending[i]]);
		else
			d->pending[kept++] = d->pending[i];
	}
	d->n_pending = kept;
}

static void replay(struct disk *d, unsigned n, unsigned *moved)
{
	for (unsigned i = 0; i < n_first + n; i++) {
		const struct change *c = &changes[i];
		struct file *f = c->inode < n_inodes ? &d->files[c->inode] : NULL;
		unsigned at;

		switch (c->kind) {
		case FILE_AT:
		case MAKE:
		case RENAME:
		case UNLINK:
			at = lookup(d->now, d->n_now, c->path);
			moved[i] = at == UINT_MAX ? UINT_MAX : d->now[at].inode;
			change_names(d->now, &d->n_now, c, moved[i]);
			d->pending[d->n_pending++] = i;
			break;
		case WRITE:
			write_file(f, c);
			break;
		case TRUNCATE:
			truncate_file(f, (size_t)c->offset);
			break;
		case SYNC:
		case SYNC_FAILED:
			if (f)
				sync_file(f, c->kind == SYNC_FAILED);
			else if (c->kind == SYNC)
				sync_folder(d, c->path, moved);
		}
	}
}

static unsigned depth(const char *path)
{
	unsigned n = 0;

	for (; *path; path++)
		n += *path == '/';
	return n;
}

static void write_file_out(const struct file *f, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0) /* its folder did not survive */
		return;
	for (unsigned p = 0; p < PAGES; p++)
		if (f->durable[p] && p * PAGE < f->durable_size &&
			pwrite(fd, f->durable[p], PAGE, p * PAGE) < 0)
			die("%s", path);
	if (ftruncate(fd, (off_t)f->durable_size) < 0)
		die("%s", path);
	close(fd);
}

static void write_out(const struct disk *d, const char *folder)
{
	char path[1024];

	for (unsigned level = 1; level < 5; level++)
		for (unsigned i = 0; i < d->n_names; i++) {
			const struct name *e = &d->names[i];

			snprintf(path, sizeof(path), "%s%s", folder, e->path);
			if (e->gone || depth(e->path) != level)
				continue;
			if (e->inode == UINT_MAX)
				mkdir(path, 0755); /* or what it was in did not survive */
			else
				write_file_out(&d->files[e->inode], path);
		}
}

static bool survives(enum store_disk_loss loss)
{
	return loss == STORE_DISK_KEEP_ALL || (loss == STORE_DISK_RANDOM && random() % 2);
}

void store_disk_cut(unsigned n, enum store_disk_loss loss, unsigned seed, const char *folder)
{
	struct disk *d = calloc(1, sizeof(*d));
	unsigned *moved = calloc(n_changes + 1, sizeof(*moved));

	d->files = calloc(n_inodes + 1, sizeof(*d->files));
	srandom(seed);
	replay(d, n, moved);
	for (unsigned i = 0; i < d->n_pending; i++)
		if (survives(loss))
			change_names(d->names, &d->n_names, &changes[d->pending[i]],
				moved[d->pending[i]]);
	for (unsigned i = 0; i < n_inodes; i++) {
		struct file *f = &d->files[i];

		for (unsigned p = 0; p < PAGES; p++)
			if (f->dirty[p] && survives(loss))
				set_page(&f->durable[p], f->cached[p]);
		if (f->size_dirty && survives(loss))
			f->durable_size = f->size;
	}
	if (mkdir(folder, 0755) < 0)
		die("%s", folder);
	write_out(d, folder);
	for (unsigned i = 0; i < n_inodes; i++)
		for (unsigned p = 0; p < PAGES; p++) {
			free(d->files[i].cached[p]);
			free(d->files[i].durable[p]);
		}
	free(d->files);
	free(moved);
	free(d);
}
