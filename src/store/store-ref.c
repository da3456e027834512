/* SPDX-License-Identifier: Apache-2.0 */
/* Names of snapshots and leases on them, see store.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "store-core.h"

#define NAMES     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
#define REF_BYTES (STORE_ID_HEX + 1u)

static bool take_part(const char *from, size_t len, char *to)
{
	if (len < 1 || len > 64 || from[0] == '.' || strspn(from, NAMES) < len)
		return false;
	memcpy(to, from, len);
	to[len] = '\0';
	return true;
}

int store_ref_parse(const char *text, struct store_ref *ret, struct volt_err *err)
{
	const char *slash = strchr(text, '/'), *name = slash ? slash + 1 : text;

	if (!take_part(name, strlen(name), ret->name) ||
		!(slash ? take_part(text, (size_t)(slash - text), ret->ns)
			: take_part(STORE_NAMESPACE, strlen(STORE_NAMESPACE), ret->ns)))
		return volt_err_set(err, EINVAL,
			"'%.150s' is no name of a snapshot: NAME or SPACE/NAME, "
			"each of 1 to 64 letters, digits, '.', '_' and '-', no '.' at the "
			"beginning",
			text);
	return 0;
}

static int open_space(
	struct store *s, const struct store_ref *ref, bool make, int *ret, struct volt_err *err)
{
	const char *ns = ref->ns;
	int fd;

	if (make && s->sys->mkdirat(s->refsfd, ns, 0755) < 0 && errno != EEXIST)
		return volt_err_set(err, errno, "make refs/%s: %m", ns);
	fd = s->sys->openat(s->refsfd, ns, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
	if (fd < 0 && errno == ENOENT)
		return volt_err_set(err, ENOENT, "there is no snapshot %s/%s", ns, ref->name);
	if (fd < 0)
		return volt_err_set(err, errno, "open refs/%s: %m", ns);
	*ret = fd;
	return 0;
}

int store_resolve(struct store *s, const char *text, struct store_id *ret, struct volt_err *err)
{
	_cleanup_free_ char *data = NULL;
	_cleanup_close_ int fd = -1;
	struct store_ref ref;
	size_t len;
	int r = store_ref_parse(text, &ref, err);

	if (r == 0)
		r = open_space(s, &ref, false, &fd, err);
	if (r == 0)
		r = store_file_get(s, fd, ref.name, REF_BYTES, (void **)&data, &len, err);
	if (r == -ENOENT)
		return volt_err_set(err, ENOENT, "there is no snapshot %s/%s", ref.ns, ref.name);
	if (r < 0)
		return r;
	if (len != REF_BYTES || data[STORE_ID_HEX] != '\n' || store_id_parse(data, ret) < 0)
		return volt_err_set(
			err, EBADMSG, "the file refs/%s/%s is damaged", ref.ns, ref.name);
	return 0;
}

int store_ref_put(struct store *s, const struct store_ref *ref, const struct store_id *id,
	struct volt_err *err)
{
	_cleanup_close_ int fd = -1;
	char text[STORE_ID_HEX + 2];
	int r = open_space(s, ref, true, &fd, err);

	store_id_text(id, text);
	text[STORE_ID_HEX] = '\n';
	if (r == 0)
		r = store_dir_sync(s, s->refsfd, "refs", err);
	if (r == 0)
		r = store_file_put(s, fd, ref->name, text, REF_BYTES, err);
	if (r < 0)
		return r;
	if (s->sys->fsync(fd) < 0) {
		s->broken = true;
		return volt_err_set(err, errno,
			"sync refs/%s: %m; after a power cut %s may be the "
			"old or the new snapshot: look at the disk",
			ref->ns, ref->name);
	}
	return 0;
}

int store_remove(struct store *s, const char *text, struct volt_err *err)
{
	_cleanup_close_ int fd = -1;
	struct store_ref ref;
	int r = store_check_writable(s, err);

	if (r == 0)
		r = store_ref_parse(text, &ref, err);
	if (r == 0)
		r = open_space(s, &ref, false, &fd, err);
	if (r < 0)
		return r;
	if (s->sys->unlinkat(fd, ref.name, 0) < 0)
		return errno == ENOENT ? volt_err_set(err, ENOENT, "there is no snapshot %s/%s",
						 ref.ns, ref.name)
				       : volt_err_set(err, errno, "remove refs/%s/%s: %m", ref.ns,
						 ref.name);
	return store_dir_sync(s, fd, "refs", err);
}

/* The names of one space. */
static int each_in(struct store *s, const char *ns,
	int (*each)(void *ctx, const char *ref, int64_t mtime), void *ctx, struct volt_err *err)
{
	struct store_ref ref = { .name = "x" };
	_cleanup_close_ int fd = -1;
	struct store_names names = { 0 };
	char text[STORE_REF_MAX + 1];
	struct stat st;
	int r = 0;

	if (!take_part(ns, strlen(ns), ref.ns))
		return 0; /* not ours */
	r = open_space(s, &ref, false, &fd, err);
	if (r == 0)
		r = store_names_read(fd, &names, err);
	for (size_t i = 0; r == 0 && i < names.n; i++) {
		snprintf(text, sizeof(text), "%s/%s", ns, names.name[i]);
		if (take_part(names.name[i], strlen(names.name[i]), ref.name) &&
			fstatat(fd, names.name[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
			r = each(ctx, text, st.st_mtime);
	}
	store_names_done(&names);
	return r;
}

int store_each_ref(struct store *s, int (*each)(void *ctx, const char *ref, int64_t mtime),
	void *ctx, struct volt_err *err)
{
	struct store_names spaces;
	int r = store_names_read(s->refsfd, &spaces, err);

	for (size_t i = 0; r == 0 && i < spaces.n; i++)
		r = each_in(s, spaces.name[i], each, ctx, err);
	store_names_done(&spaces);
	return r;
}

/* Under the lock of the folder, which a collector holds while it decides: it saw this lease or not.
 */
static int make_lease(
	struct store *s, const struct store_id *id, const char *name, int fd, struct volt_err *err)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char text[STORE_ID_HEX + 2], manifest[STORE_NAME_MAX];
	int r;

	store_id_text(id, text);
	text[STORE_ID_HEX] = '\n';
	if (fcntl(fd, F_OFD_SETLK, &whole) < 0)
		return volt_err_set(err, errno, "lease: lock leases/%s: %m", name);
	r = store_sys_write(s->sys, fd, text, REF_BYTES, 0);
	if (r < 0)
		return volt_err_set(err, -r, "lease: write leases/%s: %m", name);
	store_id_name(id, 'm', manifest);
	if (faccessat(s->manifestsfd, manifest, F_OK, 0) < 0)
		return volt_err_set(err, errno, "lease: manifests/%s: %m", manifest);
	return 0;
}

/*
 * The lock, not the number of a process, says that a lease is in use: it holds across namespaces,
 * goes with its descriptor to another process, and ends with the last of them.
 */
int store_lease(struct store *s, const struct store_id *id, int *ret_fd, struct volt_err *err)
{
	_cleanup_close_ int fd = -1;
	uint64_t random[2];
	char name[STORE_NAME_MAX];
	int r;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return volt_err_set(err, EIO, "getrandom failed");
	snprintf(name, sizeof(name), "%016jx%016jx", (uintmax_t)random[0], (uintmax_t)random[1]);
	if (flock(s->leasesfd, LOCK_SH) < 0)
		return volt_err_set(err, errno, "lease: lock leases: %m");
	fd = s->sys->openat(s->leasesfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		r = volt_err_set(err, errno, "lease: create leases/%s: %m", name);
	} else {
		r = make_lease(s, id, name, fd, err);
		if (r < 0)
			s->sys->unlinkat(s->leasesfd, name, 0);
	}
	flock(s->leasesfd, LOCK_UN);
	if (r == 0)
		*ret_fd = take_fd(&fd);
	return r;
}

/* A lease without an owner is gone, and its lock with it. */
static bool lease_used(struct store *s, const char *name)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	_cleanup_close_ int fd =
		s->sys->openat(s->leasesfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);

	if (fd < 0)
		return errno != ENOENT;
	return fcntl(fd, F_OFD_GETLK, &whole) < 0 || whole.l_type != F_UNLCK;
}

int store_each_lease(struct store *s, bool clear,
	int (*each)(void *ctx, const char *name, const struct store_id *id), void *ctx,
	struct volt_err *err)
{
	struct store_names names;
	int r = store_names_read(s->leasesfd, &names, err);

	for (size_t i = 0; r == 0 && i < names.n; i++) {
		_cleanup_free_ char *text = NULL;
		struct store_id id;
		size_t len;

		if (!lease_used(s, names.name[i])) {
			if (clear)
				s->sys->unlinkat(s->leasesfd, names.name[i], 0);
			continue;
		}
		r = store_file_get(
			s, s->leasesfd, names.name[i], REF_BYTES, (void **)&text, &len, err);
		if (r == -ENOENT)
			r = 0;
		else if (r == 0 && (len != REF_BYTES || store_id_parse(text, &id) < 0))
			r = volt_err_set(err, EBADMSG, "leases/%s is damaged", names.name[i]);
		else if (r == 0)
			r = each(ctx, names.name[i], &id);
	}
	store_names_done(&names);
	return r;
}
