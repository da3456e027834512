/* SPDX-License-Identifier: Apache-2.0 */
/* Files and folders of the store, see store-core.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "store-core.h"

int store_check_writable(struct store *s, struct volt_err *err)
{
	if (s->lockfd < 0)
		return volt_err_set(err, EROFS, "%s was opened to read", s->path);
	if (s->broken)
		return volt_err_set(err, EUCLEAN,
			"%s: an fsync failed before: look at the disk, "
			"then open the store again",
			s->path);
	return 0;
}

/*
 * After a failed fsync the kernel may take the pages for written: another fsync would succeed and
 * prove nothing. So there is no other, and no more of what might rely on it.
 */
int store_broke(struct store *s, int code, const char *what, struct volt_err *err)
{
	s->broken = true;
	return volt_err_set(err, code,
		"sync %s: %m; nothing was committed, and this process writes "
		"no more into the store",
		what);
}

void store_tell_total(struct store *s, uint64_t total)
{
	s->done = 0;
	s->total = total;
	store_tell(s, 0);
}

void store_tell(struct store *s, uint64_t more)
{
	s->done += more;
	if (s->progress.tell)
		s->progress.tell(s->progress.ctx, s->done, s->total);
}

void store_tmp_name(struct store *s, char *name)
{
	snprintf(name, STORE_NAME_MAX, "%u", s->next_tmp++);
}

int store_file_put(struct store *s, int dirfd, const char *name, const void *data, size_t len,
	struct volt_err *err)
{
	_cleanup_close_ int fd = -1;
	char tmp[STORE_NAME_MAX];
	int r;

	store_tmp_name(s, tmp);
	fd = s->sys->openat(s->tmpfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return volt_err_set(err, errno, "create %s: %m", name);
	r = store_sys_write(s->sys, fd, data, len, 0);
	if (r < 0)
		r = volt_err_set(err, -r, "write %s: %m", name);
	else if (s->sys->fsync(fd) < 0)
		r = store_broke(s, errno, name, err);
	else if (s->sys->renameat(s->tmpfd, tmp, dirfd, name) < 0)
		r = volt_err_set(err, errno, "rename to %s: %m", name);
	if (r < 0)
		s->sys->unlinkat(s->tmpfd, tmp, 0);
	return r;
}

int store_file_size(int fd, uint64_t *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*ret = (uint64_t)st.st_size;
	return 0;
}

uint64_t store_file_blocks(int dirfd, const char *name)
{
	struct stat st;

	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? 0
								  : (uint64_t)st.st_blocks * 512;
}

int store_file_get(struct store *s, int dirfd, const char *name, size_t max, void **ret_data,
	size_t *ret_len, struct volt_err *err)
{
	_cleanup_free_ void *data = NULL;
	_cleanup_close_ int fd =
		s->sys->openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
	uint64_t size;
	int r;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : volt_err_set(err, errno, "open %s: %m", name);
	r = store_file_size(fd, &size);
	if (r < 0)
		return volt_err_set(err, -r, "%s is no plain file: %m", name);
	if (size > max)
		return volt_err_set(err, EBADMSG, "%s has %ju bytes, %zu is the most", name,
			(uintmax_t)size, max);
	data = malloc(MAX((size_t)size, 1u));
	if (!data)
		return volt_err_set(
			err, ENOMEM, "no memory for %s, %ju bytes", name, (uintmax_t)size);
	r = store_sys_read(s->sys, fd, data, (size_t)size, 0);
	if (r < 0)
		return volt_err_set(err, -r, "read %s: %m", name);
	*ret_data = take_ptr(&data);
	*ret_len = (size_t)size;
	return 0;
}

int store_dir_sync(struct store *s, int dirfd, const char *what, struct volt_err *err)
{
	return s->sys->fsync(dirfd) < 0 ? store_broke(s, errno, what, err) : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int take_name(struct store_names *names, const char *name)
{
	char *copy;

	if ((names->n & (names->n - 1)) == 0) {
		void *more = realloc(names->name, MAX(names->n * 2, 16u) * sizeof(*names->name));

		if (!more)
			return -ENOMEM;
		names->name = more;
	}
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	names->name[names->n++] = copy;
	return 0;
}

int store_names_read(int dirfd, struct store_names *ret, struct volt_err *err)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	*ret = (struct store_names){ 0 };
	if (!dir) {
		r = volt_err_set(err, errno, "read a folder of the store: %m");
		fd_close(fd);
		return r;
	}
	errno = 0;
	while (r == 0 && (e = readdir(dir)) != NULL)
		if (e->d_name[0] != '.')
			r = take_name(ret, e->d_name);
	if (r == 0 && errno)
		r = -errno;
	closedir(dir);
	if (r < 0) {
		store_names_done(ret);
		return volt_err_set(err, -r, "read a folder of the store: %m");
	}
	if (ret->n)
		qsort(ret->name, ret->n, sizeof(*ret->name), by_name);
	return 0;
}

void store_names_done(struct store_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->name[i]);
	free(names->name);
	*names = (struct store_names){ 0 };
}

void store_id_name(const struct store_id *id, char ext, char *name)
{
	store_id_text(id, name);
	name[STORE_ID_HEX] = '.';
	name[STORE_ID_HEX + 1] = ext;
	name[STORE_ID_HEX + 2] = '\0';
}

int store_id_of_name(const char *name, char ext, struct store_id *ret)
{
	if (strlen(name) != STORE_ID_HEX + 2 || name[STORE_ID_HEX] != '.' ||
		name[STORE_ID_HEX + 1] != ext)
		return -EINVAL;
	return store_id_parse(name, ret);
}
