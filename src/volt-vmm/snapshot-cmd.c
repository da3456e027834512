/* SPDX-License-Identifier: Apache-2.0 */
/* Commands for files of machine state, see snapshot-cmd.h. */
#include "snapshot-cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "state.h"

static const char usage[] = "usage: volt-vmm snapshot inspect FILE\n";

bool snapshot_cmd_is(int argc, char **argv)
{
	return argc > 1 && strcmp(argv[1], "snapshot") == 0;
}

static void print_line(void *ctx, const char *text)
{
	FILE *f = ctx;

	fputs(text, f);
	fputc('\n', f);
}

/* All of a file that is not larger than a state may be; for free(). O_NONBLOCK: a FIFO opens. */
static int read_file(const char *path, uint8_t **ret, size_t *ret_len, struct volt_err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ uint8_t *data = NULL;
	size_t len = 0;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return volt_err_set(err, errno, "%m");
	if (!S_ISREG(st.st_mode))
		return volt_err_set(err, EINVAL, "is not a file");
	if (st.st_size > STATE_BYTES_MAX)
		return volt_err_set(err, EFBIG,
			"has %lld bytes, and no state of a machine has more than %u",
			(long long)st.st_size, STATE_BYTES_MAX);
	data = malloc((size_t)st.st_size + 1);
	if (!data)
		return volt_err_set(err, ENOMEM, "%m");
	do {
		n = read(fd, data + len, (size_t)st.st_size - len);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0)
		return volt_err_set(err, errno, "%m");
	*ret = take_ptr(&data);
	*ret_len = len;
	return 0;
}

static int inspect(const char *path)
{
	_cleanup_free_ uint8_t *data = NULL;
	struct volt_err err = { 0 };
	size_t len;
	int r = read_file(path, &data, &len, &err);

	if (r == 0)
		r = state_print(data, len, print_line, stdout, &err);
	if (fflush(stdout) == EOF && r == 0)
		r = volt_err_set(&err, errno, "standard output: %m");
	if (r < 0)
		fprintf(stderr, "volt-vmm: '%s': %s\n", path, err.msg);
	return r < 0;
}

int snapshot_cmd_run(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[2], "inspect") == 0)
		return inspect(argv[3]);
	fputs(usage, stderr);
	return 1;
}
