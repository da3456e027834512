/* SPDX-License-Identifier: Apache-2.0 */
/* The program in the jail, see jail-exec.h. */
#include "jail-exec.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

#define PROGRAM_HEADERS_MAX 64

/* The name in PT_INTERP, if there is one. */
static int read_interp(int fd, const Elf64_Ehdr *h, const char *path,
	char interp[JAIL_EXEC_INTERP], struct volt_err *err)
{
	Elf64_Phdr ph[PROGRAM_HEADERS_MAX];
	size_t n = MIN(h->e_phnum, PROGRAM_HEADERS_MAX), bytes = n * sizeof(ph[0]);

	if (h->e_phentsize != sizeof(ph[0]) ||
		pread(fd, ph, bytes, (off_t)h->e_phoff) != (ssize_t)bytes)
		return volt_err_set(err, ENOEXEC, "exec-file '%s': its program headers are cut "
			"off or of another form", path);
	for (size_t i = 0; i < n; i++) {
		if (ph[i].p_type != PT_INTERP)
			continue;
		if (ph[i].p_filesz < 2 || ph[i].p_filesz > JAIL_EXEC_INTERP ||
			pread(fd, interp, ph[i].p_filesz, (off_t)ph[i].p_offset) !=
				(ssize_t)ph[i].p_filesz ||
			interp[ph[i].p_filesz - 1] != '\0' || interp[0] != '/')
			return volt_err_set(err, ENOEXEC, "exec-file '%s': the name of its "
				"dynamic linker is cut off or no path", path);
	}
	return 0;
}

int jail_exec_open(const char *path, char interp[JAIL_EXEC_INTERP], struct volt_err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	Elf64_Ehdr h = { 0 };
	struct stat st;
	int r = 0;

	interp[0] = '\0';
	if (fd < 0 || fstat(fd, &st) < 0)
		return volt_err_set(err, errno, "exec-file '%s': %m", path);
	if (!S_ISREG(st.st_mode))
		return volt_err_set(err, EINVAL, "exec-file '%s': it is no regular file", path);
	if (!(st.st_mode & S_IXUSR))
		return volt_err_set(err, EACCES, "exec-file '%s': it is not executable (mode "
			"%04o)", path, st.st_mode & 07777);
	/* A script is run by what its first line names, and the kernel looks for that. */
	if (pread(fd, &h, sizeof(h), 0) == sizeof(h) && memcmp(h.e_ident, ELFMAG, SELFMAG) == 0 &&
		h.e_ident[EI_CLASS] == ELFCLASS64)
		r = read_interp(fd, &h, path, interp, err);
	else if (memcmp(h.e_ident, "#!", 2) != 0)
		r = volt_err_set(err, ENOEXEC, "exec-file '%s': it is no 64-bit ELF program",
			path);
	return r < 0 ? r : take_fd(&fd);
}

/* What may lie there already; leaves the name free. */
static int clear(int rootfd, const char *name, struct volt_err *err)
{
	struct stat st;

	if (fstatat(rootfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : volt_err_set(err, errno, "'/%s' in the jail: %m",
			name);
	if (!S_ISREG(st.st_mode))
		return volt_err_set(err, EEXIST, "'/%s' in the jail is %s, and the program is not "
			"copied through it: remove it", name,
			S_ISLNK(st.st_mode) ? "a symbolic link" : "no regular file");
	if (st.st_nlink > 1)
		return volt_err_set(err, EMLINK, "'/%s' in the jail is a hard link, one of %lu "
			"names of a file that may be in use elsewhere: remove it", name,
			(unsigned long)st.st_nlink);
	/* Not written into: an earlier tenant may hold it open. */
	return unlinkat(rootfd, name, 0) < 0 ? volt_err_set(err, errno, "'/%s' in the jail: %m",
		name) : 0;
}

static int copy(int from, int to, const struct stat *st)
{
	off_t at = 0;

	while (at < st->st_size) {
		ssize_t n = sendfile(to, from, &at, (size_t)(st->st_size - at));

		if (n < 0)
			return -errno;
		if (n == 0)
			break; /* it was cut meanwhile */
	}
	return 0;
}

int jail_exec_copy(int execfd, int rootfd, const struct jail_args *a, struct jail_undo *undo,
	struct volt_err *err)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r = clear(rootfd, a->exec_name, err);

	if (r < 0)
		return r;
	fd = openat(rootfd, a->exec_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		0700);
	if (fd < 0)
		return volt_err_set(err, errno, "make '/%s' in the jail: %m", a->exec_name);
	r = jail_undo_add(undo, JAIL_UNDO_FILE, rootfd, a->exec_name, -1, err);
	if (r < 0)
		return r;
	r = fstat(execfd, &st) < 0 ? -errno : copy(execfd, fd, &st);
	if (r == 0 && !a->rootless && fchown(fd, a->uid, a->gid) < 0)
		r = -errno;
	if (r == 0 && fchmod(fd, st.st_mode & 0777) < 0)
		r = -errno;
	if (r < 0)
		return volt_err_set(err, -r, "copy '%s' into the jail: %m", a->exec_file);
	return 0;
}

int jail_exec_check_interp(const char *interp, int rootfd, const struct jail_args *a,
	struct volt_err *err)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	int fd;

	if (!interp[0])
		return 0;
	fd = (int)syscall(SYS_openat2, rootfd, interp, &how, sizeof(how));
	if (fd < 0)
		return volt_err_set(err, errno, "exec-file '%s' is linked dynamically, and '%s' is "
			"not in the jail: take a static program (volt-vmm's is installed as "
			"'firecracker'), or put that and the libraries there", a->exec_file,
			interp);
	fd_close(fd);
	return 0;
}
