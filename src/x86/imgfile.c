/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads from image files, see imgfile.h. */
#include "imgfile.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int imgfile_size(int fd, uint64_t *ret_bytes, struct volt_err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return volt_err_set(err, errno, "fstat: %m");
	if (!S_ISREG(st.st_mode))
		return volt_err_set(err, EINVAL, "not a regular file");
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

int imgfile_read(int fd, uint64_t off, void *dst, size_t len, const char *what,
	struct volt_err *err)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)dst + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return volt_err_set(err, errno, "read %s: %m", what);
		if (n == 0)
			return volt_err_set(err, EIO,
				"the file ends inside %s, at offset 0x%llx: it is truncated", what,
				(unsigned long long)(off + done));
		done += (size_t)n;
	}
	return 0;
}

int imgfile_load(int fd, uint64_t off, const struct gmem *m, uint64_t gpa, uint64_t len,
	const char *what, struct volt_err *err)
{
	struct iovec to;

	if (len == 0)
		return 0;
	if (gmem_slice(m, GPA(gpa), len, &to) < 0)
		return volt_err_set(err, ENOMEM, "%s at 0x%llx is outside guest memory", what,
			(unsigned long long)gpa);
	return imgfile_read(fd, off, to.iov_base, to.iov_len, what, err);
}

const char *imgfile_size_text(uint64_t bytes, char buf[IMGFILE_SIZE_TEXT])
{
	if (bytes < MIB)
		snprintf(buf, IMGFILE_SIZE_TEXT, "%llu bytes", (unsigned long long)bytes);
	else
		snprintf(buf, IMGFILE_SIZE_TEXT, "%llu MiB",
			(unsigned long long)(bytes / MIB + (bytes % MIB != 0)));
	return buf;
}
