/* SPDX-License-Identifier: Apache-2.0 */
/* A store is made, opened and closed, see store.h. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "store-pack.h"
#include "store-txn.h"

#define FORMAT      "FORMAT"
#define FORMAT_MAX  4096u
#define FORMAT_FORM "stellarium 1\nhash sha256\nuuid "

static const struct {
	const char *name;
	size_t fd; /* where in struct store */
} folders[] = {
	{ "packs", offsetof(struct store, packsfd) },
	{ "manifests", offsetof(struct store, manifestsfd) },
	{ "layouts", offsetof(struct store, layoutsfd) },
	{ "refs", offsetof(struct store, refsfd) },
	{ "leases", offsetof(struct store, leasesfd) },
	{ "tmp", offsetof(struct store, tmpfd) },
};

static int *folder_fd(struct store *s, size_t i)
{
	return (int *)(void *)((char *)s + folders[i].fd);
}

static struct store *new_store(const char *path, const struct store_sys *sys)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->sys = sys;
	s->rootfd = s->lockfd = -1;
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		*folder_fd(s, i) = -1;
	s->path = strdup(path);
	s->chunk = aligned_alloc(STORE_PAGE, STORE_CHUNK);
	s->log = calloc(1, sizeof(*s->log));
	if (!s->path || !s->chunk || !s->log) {
		store_close(s);
		return NULL;
	}
	s->log->pkfd = s->log->pxfd = -1;
	return s;
}

static int open_folders(struct store *s, struct volt_err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		int fd = s->sys->openat(
			s->rootfd, folders[i].name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

		if (fd < 0)
			return volt_err_set(err, errno, "open %s/%s: %m", s->path, folders[i].name);
		*folder_fd(s, i) = fd;
	}
	return 0;
}

static int open_root(struct store *s, struct volt_err *err)
{
	s->rootfd = s->sys->openat(AT_FDCWD, s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	return s->rootfd < 0 ? volt_err_set(err, errno, "open %s: %m", s->path) : 0;
}

static int read_format(struct store *s, struct volt_err *err)
{
	static const char form[] = FORMAT_FORM;
	_cleanup_free_ char *text = NULL;
	struct store_id padded;
	char hex[STORE_ID_HEX + 1];
	size_t len;
	int r = store_file_get(s, s->rootfd, FORMAT, FORMAT_MAX, (void **)&text, &len, err);

	if (r == -ENOENT)
		return volt_err_set(err, ENOENT,
			"%s is no store: it has no file " FORMAT "; make one with volt-store init",
			s->path);
	if (r < 0)
		return r;
	memset(hex, '0', sizeof(hex));
	if (len == sizeof(form) - 1 + STORE_UUID * 2 + 1 &&
		memcmp(text, form, sizeof(form) - 1) == 0)
		memcpy(hex, text + sizeof(form) - 1, STORE_UUID * 2);
	else
		hex[0] = 'x';
	if (store_id_parse(hex, &padded) < 0 || text[len - 1] != '\n')
		return volt_err_set(err, ENOTSUP,
			"%s/" FORMAT " is not of a store that this program "
			"knows",
			s->path);
	memcpy(s->uuid, padded.b, STORE_UUID);
	return 0;
}

static int write_format(struct store *s, struct volt_err *err)
{
	struct store_id id = { { 0 } };
	char hex[STORE_ID_HEX + 1], text[FORMAT_MAX];
	int n, r;

	if (getrandom(id.b, STORE_UUID, 0) != STORE_UUID)
		return volt_err_set(err, EIO, "getrandom failed");
	store_id_text(&id, hex);
	n = snprintf(text, sizeof(text), "%s%.*s\n", FORMAT_FORM, STORE_UUID * 2, hex);
	r = store_file_put(s, s->rootfd, FORMAT, text, (size_t)n, err);
	return r < 0 ? r : store_dir_sync(s, s->rootfd, s->path, err);
}

/* A folder in which nothing is but what a store begins with: a creation that was cut off. */
static int check_empty(struct store *s, struct volt_err *err)
{
	struct store_names names;
	int r = store_names_read(s->rootfd, &names, err);

	for (size_t i = 0; r == 0 && i < names.n; i++) {
		bool own = strcmp(names.name[i], "LOCK") == 0;

		for (size_t k = 0; k < ARRAY_SIZE(folders); k++)
			own |= strcmp(names.name[i], folders[k].name) == 0;
		if (!own)
			r = volt_err_set(err, EEXIST,
				strcmp(names.name[i], FORMAT) == 0
					? "%s: it is a store already (%s)"
					: "%s: the folder is not empty: it holds %s",
				s->path, names.name[i]);
	}
	store_names_done(&names);
	return r;
}

static int make_folders(struct store *s, struct volt_err *err)
{
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (s->sys->mkdirat(s->rootfd, folders[i].name, 0755) < 0 && errno != EEXIST)
			return volt_err_set(err, errno, "make %s/%s: %m", s->path, folders[i].name);
	fd = s->sys->openat(s->rootfd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return volt_err_set(err, errno, "create %s/LOCK: %m", s->path);
	fd_close(fd);
	fd = s->sys->openat(s->rootfd, "refs", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0 || (s->sys->mkdirat(fd, STORE_NAMESPACE, 0755) < 0 && errno != EEXIST)) {
		fd_close(fd);
		return volt_err_set(err, errno, "make %s/refs/" STORE_NAMESPACE ": %m", s->path);
	}
	fd_close(fd);
	return 0;
}

static int lock(struct store *s, struct volt_err *err)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	s->lockfd = s->sys->openat(s->rootfd, "LOCK", O_RDWR | O_CLOEXEC, 0);
	if (s->lockfd < 0)
		return volt_err_set(err, errno, "open %s/LOCK: %m", s->path);
	if (fcntl(s->lockfd, F_OFD_SETLK, &whole) < 0) {
		int code = errno == EAGAIN || errno == EACCES ? EBUSY : errno;

		s->lockfd = fd_close(s->lockfd);
		return code == EBUSY ? volt_err_set(err, EBUSY,
					       "%s: another process writes to this "
					       "store: wait for its end",
					       s->path)
				     : volt_err_set(err, code, "lock %s/LOCK: %m", s->path);
	}
	return 0;
}

int store_create(const char *path, const struct store_sys *sys, struct volt_err *err)
{
	struct store *s = new_store(path, sys);
	int r;

	if (!s)
		return volt_err_set(err, ENOMEM, "no memory for a store");
	if (sys->mkdirat(AT_FDCWD, path, 0755) < 0 && errno != EEXIST)
		r = volt_err_set(err, errno, "make %s: %m", path);
	else
		r = open_root(s, err);
	if (r == 0)
		r = check_empty(s, err);
	if (r == 0)
		r = make_folders(s, err);
	if (r == 0)
		r = lock(s, err); /* of two that create one, the second finds a FORMAT, or this */
	if (r == 0)
		r = check_empty(s, err);
	if (r == 0)
		r = open_folders(s, err);
	if (r == 0)
		r = store_clear_tmp(s, err);
	if (r == 0)
		r = store_dir_sync(s, s->refsfd, "refs", err);
	if (r == 0)
		r = write_format(s, err); /* last: without it there is no store */
	store_close(s);
	return r;
}

int store_clear_tmp(struct store *s, struct volt_err *err)
{
	struct store_names names;
	int r = store_names_read(s->tmpfd, &names, err);

	for (size_t i = 0; r == 0 && i < names.n; i++)
		if (s->sys->unlinkat(s->tmpfd, names.name[i], 0) < 0)
			r = volt_err_set(
				err, errno, "remove %s/tmp/%s: %m", s->path, names.name[i]);
	store_names_done(&names);
	return r;
}

/* Numbers of packs are not used again while anything has them. */
static int find_next_pack(struct store *s, struct volt_err *err)
{
	struct store_names names;
	int r = store_names_read(s->packsfd, &names, err);

	for (size_t i = 0; r == 0 && i < names.n; i++) {
		int64_t n = MAX(store_pack_number(names.name[i], "pk"),
			store_pack_number(names.name[i], "px"));

		s->next_pack = MAX(s->next_pack, (uint32_t)(n + 1));
	}
	store_names_done(&names);
	return r;
}

int store_open(const char *path, enum store_open_mode mode, const struct store_sys *sys,
	struct store **ret, struct volt_err *err)
{
	struct store *s = new_store(path, sys);
	int r;

	if (!s)
		return volt_err_set(err, ENOMEM, "no memory for a store");
	r = open_root(s, err);
	if (r == 0)
		r = read_format(s, err);
	if (r == 0)
		r = open_folders(s, err);
	if (r == 0)
		r = store_hasher_new(&s->hasher, err);
	if (r == 0 && mode == STORE_WRITE)
		r = lock(s, err);
	if (r == 0 && mode == STORE_WRITE)
		r = store_clear_tmp(s, err);
	if (r == 0 && mode == STORE_WRITE)
		r = find_next_pack(s, err);
	if (r < 0)
		store_close(s);
	else
		*ret = s;
	return r;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	store_abort(s->txn);
	if (s->log) {
		store_log_close(s);
		free(s->log->buffer);
	}
	free(s->log);
	store_index_done(&s->index);
	store_hasher_free(s->hasher);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		fd_close(*folder_fd(s, i));
	fd_close(s->lockfd);
	fd_close(s->rootfd);
	free(s->chunk);
	free(s->path);
	free(s);
}

void store_set_progress(struct store *s, const struct store_progress *p)
{
	s->progress = *p;
}

void store_set_total(struct store *s, uint64_t total)
{
	store_tell_total(s, total);
}
