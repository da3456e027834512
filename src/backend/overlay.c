/* SPDX-License-Identifier: Apache-2.0 */
/* One layer of a copy-on-write disk, see overlay.h. */
#include "overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "crc32c.h"
#include "num.h"

#define VERSION	   1
#define PAGE	   4096u
#define DATA_ALIGN UINT64_C(65536)
#define PER_BYTE   4u /* blocks */
#define PER_PAGE   (PAGE * PER_BYTE)
#define PER_WORD   (8 * PER_BYTE)

/* Fields of the header; the rest is zero. */
enum {
	AT_MAGIC = 0,
	AT_VERSION = 8,
	AT_CHECKSUM = 12,
	AT_DISK_BYTES = 16,
	AT_SHIFT = 24,
	AT_ID = 32,
	AT_BELOW = 48,
	AT_END = 64,
};

static const char magic[8] = "VOLTOVL";

static void lay_out(struct overlay *o)
{
	uint64_t bytes;

	o->n_blocks = (o->disk_bytes + (UINT64_C(1) << o->shift) - 1) >> o->shift;
	bytes = (o->n_blocks + PER_BYTE - 1) / PER_BYTE;
	o->map_bytes = ALIGN_UP(bytes, (uint64_t)PAGE);
	o->data_at = ALIGN_UP(OVERLAY_HEADER_BYTES + o->map_bytes, DATA_ALIGN);
}

uint64_t overlay_file_bytes(const struct overlay *o)
{
	return o->data_at + (o->n_blocks << o->shift);
}

static bool possible(uint64_t disk_bytes, unsigned shift)
{
	return shift >= OVERLAY_SHIFT_MIN && shift <= OVERLAY_SHIFT_MAX && disk_bytes > 0 &&
		disk_bytes % 512 == 0 && disk_bytes <= OVERLAY_DISK_MAX;
}

static int write_all(int fd, const void *data, size_t len, uint64_t at)
{
	const uint8_t *p = data;

	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int read_all(int fd, void *data, size_t len, uint64_t at)
{
	uint8_t *p = data;

	while (len > 0) {
		/* #syscalls loop: pread64 */
		ssize_t n = pread(fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* -- making ------------------------------------------------------------------------------------ */

/* Is there nothing yet, or the header alone of one whose making was interrupted? */
static int check_unused(int fd, struct volt_err *err)
{
	struct stat st;

	/* #syscalls loop: fstat newfstatat */
	if (fstat(fd, &st) < 0)
		return volt_err_set(err, errno, "overlay: fstat: %m");
	if (!S_ISREG(st.st_mode))
		return volt_err_set(err, EINVAL, "overlay: not a regular file");
	if (st.st_size != 0 && st.st_size != OVERLAY_HEADER_BYTES)
		return volt_err_set(err, EEXIST, "overlay: the file is not empty");
	return 0;
}

static void make_header(const struct overlay *o, uint8_t header[OVERLAY_HEADER_BYTES])
{
	memset(header, 0, OVERLAY_HEADER_BYTES);
	memcpy(header + AT_MAGIC, magic, sizeof(magic));
	num_put_le32(header + AT_VERSION, VERSION);
	num_put_le64(header + AT_DISK_BYTES, o->disk_bytes);
	num_put_le32(header + AT_SHIFT, o->shift);
	memcpy(header + AT_ID, o->id, sizeof(o->id));
	memcpy(header + AT_BELOW, o->below, sizeof(o->below));
	num_put_le32(header + AT_CHECKSUM, crc32c_add(0, header, OVERLAY_HEADER_BYTES));
}

int overlay_format(int fd, uint64_t disk_bytes, unsigned shift, const uint8_t *below,
	struct volt_err *err)
{
	struct overlay o = { .disk_bytes = disk_bytes, .shift = shift };
	uint8_t header[OVERLAY_HEADER_BYTES];
	int r = check_unused(fd, err);

	if (r < 0)
		return r;
	if (!possible(disk_bytes, shift))
		return volt_err_set(err, EINVAL,
			"overlay: no disk of %" PRIu64 " bytes can have one; it needs a multiple "
			"of 512 up to 4 TiB",
			disk_bytes);
	lay_out(&o);
	/* #syscalls loop: getrandom */
	if (getrandom(o.id, sizeof(o.id), 0) != sizeof(o.id))
		return volt_err_set(err, EIO, "overlay: no random numbers for its id");
	if (below)
		memcpy(o.below, below, sizeof(o.below));
	make_header(&o, header);
	/* A file that has its length has its header: a crash in between leaves nothing to doubt. */
	r = write_all(fd, header, sizeof(header), 0);
	/* #syscalls loop: pwrite64 fdatasync ftruncate */
	if (r == 0 && (fdatasync(fd) < 0 || ftruncate(fd, (off_t)overlay_file_bytes(&o)) < 0 ||
			      fdatasync(fd) < 0))
		r = -errno;
	return r < 0 ? volt_err_set(err, -r, "overlay: make it: %m") : 0;
}

/* -- opening ----------------------------------------------------------------------------------- */

static int read_header(struct overlay *o, struct volt_err *err)
{
	uint8_t header[OVERLAY_HEADER_BYTES];
	struct stat st;
	uint32_t sum;
	int r;

	if (fstat(o->fd, &st) < 0)
		return volt_err_set(err, errno, "overlay: fstat: %m");
	if (!S_ISREG(st.st_mode))
		return volt_err_set(err, EINVAL, "overlay: not a regular file");
	if (st.st_size < (off_t)sizeof(header))
		return volt_err_set(err, EBADMSG, "overlay: the file is too short for a header");
	r = read_all(o->fd, header, sizeof(header), 0);
	if (r < 0)
		return volt_err_set(err, -r, "overlay: read its header: %m");
	if (memcmp(header + AT_MAGIC, magic, sizeof(magic)) != 0)
		return volt_err_set(err, EBADMSG, "overlay: the file is none: no magic number");
	if (num_get_le32(header + AT_VERSION) != VERSION)
		return volt_err_set(err, ENOTSUP,
			"overlay: version %u of the format; this program knows version %d",
			num_get_le32(header + AT_VERSION), VERSION);
	sum = num_get_le32(header + AT_CHECKSUM);
	num_put_le32(header + AT_CHECKSUM, 0);
	if (crc32c_add(0, header, sizeof(header)) != sum)
		return volt_err_set(err, EBADMSG, "overlay: the header's checksum is wrong");
	for (size_t i = AT_END; i < sizeof(header); i++)
		if (header[i])
			return volt_err_set(err, EBADMSG,
				"overlay: byte %zu of the header has no meaning but a value", i);
	o->disk_bytes = num_get_le64(header + AT_DISK_BYTES);
	o->shift = num_get_le32(header + AT_SHIFT);
	if (num_get_le32(header + AT_SHIFT + 4) != 0 || !possible(o->disk_bytes, o->shift))
		return volt_err_set(err, EBADMSG,
			"overlay: a disk of %" PRIu64 " bytes in blocks of 2^%u cannot be",
			o->disk_bytes, o->shift);
	memcpy(o->id, header + AT_ID, sizeof(o->id));
	memcpy(o->below, header + AT_BELOW, sizeof(o->below));
	lay_out(o);
	if ((uint64_t)st.st_size != overlay_file_bytes(o))
		return volt_err_set(err, EBADMSG,
			"overlay: the file has %" PRIu64 " bytes, and should have %" PRIu64,
			(uint64_t)st.st_size, overlay_file_bytes(o));
	return 0;
}

/* Reads the parts of the map that the file has; the rest is zero, and stays out of memory. */
static int read_map(struct overlay *o)
{
	uint64_t end = OVERLAY_HEADER_BYTES + o->map_bytes, at = OVERLAY_HEADER_BYTES;

	while (at < end) {
		/* #syscalls loop: lseek */
		off_t data = lseek(o->fd, (off_t)at, SEEK_DATA), hole;
		int r;

		if (data < 0 && errno == ENXIO)
			return 0;
		if (data < 0)
			return -errno;
		if ((uint64_t)data >= end)
			return 0;
		hole = lseek(o->fd, data, SEEK_HOLE);
		if (hole <= data)
			return hole < 0 ? -errno : -EIO;
		at = MIN((uint64_t)hole, end);
		r = read_all(o->fd, o->map + ((uint64_t)data - OVERLAY_HEADER_BYTES),
			at - (uint64_t)data, (uint64_t)data);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Whether pages reached the disk is unknown once this fails, and the next call would not say so. */
static int sync_file(struct overlay *o)
{
	if (fdatasync(o->fd) == 0)
		return 0;
	o->failed = true;
	return -errno;
}

static unsigned get(const struct overlay *o, uint64_t b)
{
	return (unsigned)o->map[b / PER_BYTE] >> b % PER_BYTE * 2 & 3u;
}

/* No state is 3, and none is behind the end. */
static int check_map(const struct overlay *o, struct volt_err *err)
{
	for (uint64_t i = 0; i < o->map_bytes; i += 8) {
		uint64_t w = num_get_le64(o->map + i);

		if (w & w >> 1 & UINT64_C(0x5555555555555555))
			return volt_err_set(err, EBADMSG,
				"overlay: the map is unsound near block %" PRIu64, i * PER_BYTE);
	}
	for (uint64_t b = o->n_blocks; b < o->map_bytes * PER_BYTE; b++)
		if (get(o, b))
			return volt_err_set(err, EBADMSG,
				"overlay: the map speaks of block %" PRIu64 " of %" PRIu64, b,
				o->n_blocks);
	return 0;
}

static int load_map(struct overlay *o, const void *map, size_t map_len, struct volt_err *err)
{
	int r;

	/* #syscalls loop: mmap munmap */
	void *p = mmap(NULL, o->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		0);

	if (p == MAP_FAILED)
		return volt_err_set(err, errno, "overlay: map of %" PRIu64 " bytes: %m",
			o->map_bytes);
	o->map = p;
	o->stale = calloc(o->map_bytes / PAGE, 1);
	if (!o->stale)
		return volt_err_set(err, ENOMEM, "overlay: %m");
	if (map && map_len != o->map_bytes)
		return volt_err_set(err, EBADMSG,
			"overlay: a map of %zu bytes was given, and should have %" PRIu64, map_len,
			o->map_bytes);
	if (map) {
		memcpy(o->map, map, map_len);
	} else {
		r = read_map(o);
		if (r < 0)
			return volt_err_set(err, -r, "overlay: read its map: %m");
	}
	return check_map(o, err);
}

int overlay_open(int fd, bool writable, const void *map, size_t map_len, struct overlay **ret,
	struct volt_err *err)
{
	struct overlay *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return volt_err_set(err, ENOMEM, "overlay: %m");
	o->fd = fd;
	o->writable = writable;
	/* Who had it before may have been killed: what it wrote is to be seen, but not durable. */
	o->unsynced = writable;
	r = read_header(o, err);
	if (r == 0)
		r = load_map(o, map, map_len, err);
	if (r < 0) {
		o->fd = -1;
		overlay_close(o);
		return r;
	}
	*ret = o;
	return 0;
}

int overlay_draft(int fd, const struct overlay *upper, const struct overlay *lower,
	struct overlay **ret, struct volt_err *err)
{
	struct overlay *o;
	int r = check_unused(fd, err);

	if (r < 0)
		return r;
	o = calloc(1, sizeof(*o));
	if (!o)
		return volt_err_set(err, ENOMEM, "overlay: %m");
	o->fd = fd;
	o->writable = true;
	o->disk_bytes = upper->disk_bytes;
	o->shift = upper->shift;
	memcpy(o->id, upper->id, sizeof(o->id));
	memcpy(o->below, lower->below, sizeof(o->below));
	lay_out(o);
	/* To nothing first: what an interrupted making left would be a header. */
	if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)overlay_file_bytes(o)) < 0)
		r = volt_err_set(err, errno, "overlay: make it: %m");
	if (r == 0)
		r = load_map(o, NULL, 0, err);
	if (r < 0) {
		o->fd = -1;
		overlay_close(o);
		return r;
	}
	*ret = o;
	return 0;
}

int overlay_publish(struct overlay *o)
{
	uint8_t header[OVERLAY_HEADER_BYTES];
	int r = overlay_sync(o);

	if (r < 0)
		return r;
	make_header(o, header);
	r = write_all(o->fd, header, sizeof(header), 0);
	return r < 0 ? r : sync_file(o);
}

void overlay_close(struct overlay *o)
{
	if (!o)
		return;
	if (o->map)
		munmap(o->map, o->map_bytes);
	free(o->stale);
	/* #syscalls loop: close */
	fd_close(o->fd);
	free(o);
}

/* -- use --------------------------------------------------------------------------------------- */

uint64_t overlay_run(const struct overlay *o, uint64_t b, uint64_t max, enum overlay_block *ret)
{
	unsigned state = get(o, b);
	uint64_t whole = state * UINT64_C(0x5555555555555555), n = 0;

	while (n < max) {
		if ((b + n) % PER_WORD == 0 && max - n >= PER_WORD &&
			num_get_le64(o->map + (b + n) / PER_BYTE) == whole)
			n += PER_WORD;
		else if (get(o, b + n) == state)
			n++;
		else
			break;
	}
	*ret = (enum overlay_block)state;
	return n;
}

void overlay_set(struct overlay *o, uint64_t b, uint64_t n, enum overlay_block state)
{
	assert(o->writable && b <= o->n_blocks && n <= o->n_blocks - b);
	for (; n > 0; n--, b++) {
		uint8_t *byte = &o->map[b / PER_BYTE];
		unsigned at = b % PER_BYTE * 2;

		if (get(o, b) == (unsigned)state)
			continue;
		*byte = (uint8_t)((*byte & ~(3u << at)) | (unsigned)state << at);
		o->stale[b / PER_PAGE] = 1;
		o->any_stale = true;
	}
}

static int write_map(struct overlay *o)
{
	for (uint64_t i = 0; i < o->map_bytes / PAGE; i++) {
		int r = 0;

		if (o->stale[i])
			r = write_all(o->fd, o->map + i * PAGE, PAGE,
				OVERLAY_HEADER_BYTES + i * PAGE);
		if (r < 0)
			return r;
	}
	return 0;
}

int overlay_sync(struct overlay *o)
{
	int r;

	if (o->failed)
		return -EIO;
	r = o->unsynced ? sync_file(o) : 0;
	if (r < 0)
		return r;
	o->unsynced = false;
	if (!o->any_stale)
		return 0;
	r = write_map(o);
	if (r == 0)
		r = sync_file(o);
	if (r < 0)
		return r;
	memset(o->stale, 0, o->map_bytes / PAGE);
	o->any_stale = false;
	return 0;
}

const void *overlay_map(const struct overlay *o, size_t *ret_len)
{
	*ret_len = o->map_bytes;
	return o->map;
}
