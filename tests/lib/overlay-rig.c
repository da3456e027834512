/* SPDX-License-Identifier: Apache-2.0 */
/* An overlay disk beside a model of it, and a host that fails; see overlay-rig.h. */
#include "overlay-rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "overlay-merge.h"

#define SECTOR	 512u
#define IMAGE_MAX (1u << 20)
#define FILES	 256

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

/* What is on the host's disk of a file; nothing before it was synced. */
struct durable {
	ino_t ino;
	uint8_t *data;
	size_t bytes;
	bool lost; /* a sync failed: later ones do not make up for it */
};

static struct {
	enum rig_fault fault;
	unsigned at, calls;
	bool dead;
	struct durable files[FILES];
	unsigned n_files;
} host;

static uint8_t data[RIG_SECTORS_MAX * SECTOR]; /* of the operation that is under way */

ssize_t __real_pwrite64(int fd, const void *p, size_t n, off_t at);
ssize_t __real_pwritev64(int fd, const struct iovec *iov, int n, off_t at);
ssize_t __real_preadv64(int fd, const struct iovec *iov, int n, off_t at);
int __real_fdatasync(int fd);
int __real_ftruncate64(int fd, off_t bytes);
int __real_fallocate64(int fd, int mode, off_t at, off_t bytes);

void rig_host_reset(void)
{
	for (unsigned i = 0; i < host.n_files; i++)
		free(host.files[i].data);
	memset(&host, 0, sizeof(host));
}

void rig_host_fail(enum rig_fault fault, unsigned call)
{
	host.fault = fault;
	host.at = call;
}

unsigned rig_host_calls(void)
{
	return host.calls;
}

bool rig_host_dead(void)
{
	return host.dead;
}

/* RIG_NONE: do the call as it is. */
static enum rig_fault next_call(void)
{
	bool now = host.fault != RIG_NONE && host.calls == host.at;

	host.calls++;
	if (host.dead) {
		errno = EIO;
		return RIG_KILL;
	}
	if (!now)
		return RIG_NONE;
	host.dead = host.fault == RIG_KILL || host.fault == RIG_TORN;
	errno = host.fault == RIG_ENOSPC ? ENOSPC : EIO;
	return host.fault;
}

ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int n, off_t at)
{
	enum rig_fault f = next_call();
	struct iovec half;

	if (f == RIG_NONE)
		return __real_pwritev64(fd, iov, n, at);
	if (f != RIG_TORN && f != RIG_SHORT)
		return -1;
	half = (struct iovec){ iov[0].iov_base, iov[0].iov_len / 2 / SECTOR * SECTOR };
	if (half.iov_len == 0)
		half.iov_len = f == RIG_SHORT ? iov[0].iov_len : 0;
	return __real_pwritev64(fd, &half, 1, at);
}

ssize_t __wrap_pwrite64(int fd, const void *p, size_t n, off_t at)
{
	struct iovec iov = { (void *)p, n };

	return __wrap_pwritev64(fd, &iov, 1, at);
}

ssize_t __wrap_preadv64(int fd, const struct iovec *iov, int n, off_t at)
{
	/* Reading is counted, too; a dead process does not. */
	enum rig_fault f = next_call();

	return f == RIG_NONE || f == RIG_SHORT ? __real_preadv64(fd, iov, n, at) : -1;
}

static uint8_t *image(int fd, size_t *ret_bytes)
{
	struct stat st;
	uint8_t *p;

	MUST(fstat(fd, &st) == 0 && st.st_size <= IMAGE_MAX);
	p = malloc(st.st_size + 1);
	MUST(p && pread(fd, p, st.st_size, 0) == st.st_size);
	*ret_bytes = st.st_size;
	return p;
}

static struct durable *durable_of(int fd)
{
	struct stat st;

	MUST(fstat(fd, &st) == 0);
	for (unsigned i = 0; i < host.n_files; i++)
		if (host.files[i].ino == st.st_ino)
			return &host.files[i];
	MUST(host.n_files < FILES);
	host.files[host.n_files] = (struct durable){ .ino = st.st_ino };
	return &host.files[host.n_files++];
}

static void make_durable(int fd)
{
	struct durable *d = durable_of(fd);

	if (d->lost)
		return;
	free(d->data);
	d->data = image(fd, &d->bytes);
}

int __wrap_fdatasync(int fd)
{
	enum rig_fault f = next_call();

	if (f == RIG_EIO || f == RIG_ENOSPC)
		durable_of(fd)->lost = true;
	if (f != RIG_NONE && f != RIG_SHORT)
		return -1;
	make_durable(fd);
	return 0;
}

int __wrap_ftruncate64(int fd, off_t bytes)
{
	enum rig_fault f = next_call();

	return f == RIG_NONE || f == RIG_SHORT ? __real_ftruncate64(fd, bytes) : -1;
}

int __wrap_fallocate64(int fd, int mode, off_t at, off_t bytes)
{
	enum rig_fault f = next_call();

	return f == RIG_NONE || f == RIG_SHORT ? __real_fallocate64(fd, mode, at, bytes) : -1;
}

/* Sector by sector what is durable or what was last written. */
static void cut_power(int fd, unsigned *seed)
{
	size_t bytes;
	uint8_t *now = image(fd, &bytes);
	const struct durable *was = durable_of(fd);

	for (size_t at = 0; at < bytes; at += SECTOR)
		if (at + SECTOR > was->bytes) {
			if (rand_r(seed) & 1)
				memset(now + at, 0, SECTOR);
		} else if (rand_r(seed) & 1) {
			memcpy(now + at, was->data + at, SECTOR);
		}
	MUST(__real_pwrite64(fd, now, bytes, 0) == (ssize_t)bytes);
	free(now);
}

/* ---- the model ---- */

static void wrong(struct rig *r, const char *what)
{
	if (!r->wrong)
		r->wrong = what;
}

static void allow(struct rig *r, unsigned sector, uint8_t value)
{
	r->may[sector][value / 32] |= 1u << value % 32;
}

static void only(struct rig *r, unsigned sector)
{
	memset(r->may[sector], 0, sizeof(r->may[sector]));
	allow(r, sector, r->now[sector]);
}

static bool allowed(const struct rig *r, unsigned sector, uint8_t value)
{
	return r->may[sector][value / 32] >> value % 32 & 1;
}

static int temp(void)
{
	int fd = memfd_create("rig", MFD_CLOEXEC);

	MUST(fd >= 0);
	return fd;
}

static void on_done(void *owner, const struct disk_result *results, unsigned n)
{
	(void)owner, (void)results, (void)n;
	abort(); /* everything is done at once */
}

/* Opens the disk on the files as they are. */
static bool start(struct rig *r)
{
	const struct disk_params params = { .in_flight = 16, .done = on_done };
	struct overlay *layers[DISK_OVERLAY_LAYERS];
	unsigned n = 0;

	for (; n < r->n_files; n++)
		if (overlay_open(fcntl(r->files[n], F_DUPFD_CLOEXEC, 3), true, NULL, 0, &layers[n],
			    NULL) < 0)
			break;
	if (n == r->n_files && disk_overlay_create(fcntl(r->basefd, F_DUPFD_CLOEXEC, 3), layers, n,
				       &params, &r->disk, NULL) == 0)
		return true;
	while (n > 0)
		overlay_close(layers[--n]);
	return false;
}

void rig_open(struct rig *r, unsigned sectors, unsigned shift)
{
	uint8_t sector[SECTOR];

	memset(r, 0, sizeof(*r));
	MUST(sectors <= RIG_SECTORS_MAX);
	r->sectors = sectors;
	r->shift = shift;
	r->basefd = temp();
	for (unsigned i = 0; i < sectors; i++) {
		r->now[i] = (uint8_t)(i % 200 + 1);
		only(r, i);
		memset(sector, r->now[i], SECTOR);
		MUST(__real_pwrite64(r->basefd, sector, SECTOR, i * SECTOR) == SECTOR);
	}
	r->files[0] = temp();
	r->n_files = 1;
	MUST(overlay_format(r->files[0], sectors * SECTOR, shift, NULL, NULL) == 0);
	MUST(start(r));
}

static void forget(struct rig *r)
{
	/* What a process that is gone does: nothing, but what it had open is closed. */
	bool dead = host.dead;

	host.dead = true;
	disk_destroy(r->disk);
	host.dead = dead;
	r->disk = NULL;
}

void rig_close(struct rig *r)
{
	if (r->disk)
		forget(r);
	for (unsigned i = 0; i < r->n_files; i++)
		close(r->files[i]);
	close(r->basefd);
}

/* By way of data[]. */
static int transfer(struct rig *r, enum disk_op op, unsigned off, unsigned n)
{
	/* In three pieces, none of which ends with a sector. */
	size_t bytes = n * SECTOR, third = bytes / 3 | 1;
	struct iovec iov[3] = { { data, third }, { data + third, third },
		{ data + 2 * third, bytes - 2 * third } };
	struct disk_req req = { .op = op, .offset = off * SECTOR, .bytes = bytes, .iov = iov,
		.n_iov = 3 };

	return disk_submit(r->disk, &req);
}

/* What is there now, after an operation that need not have one outcome; false: not readable. */
static bool adopt(struct rig *r, unsigned off, unsigned n)
{
	/* The fault may be in this one, and there is but one. */
	if (transfer(r, DISK_READ, off, n) < 0 && transfer(r, DISK_READ, off, n) < 0)
		return false;
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *s = data + i * SECTOR;

		if (memcmp(s, s + 1, SECTOR - 1) != 0)
			wrong(r, "a sector is torn");
		if (!allowed(r, off + i, s[0]))
			wrong(r, "a sector has what was never written");
		r->now[off + i] = s[0];
	}
	return true;
}

bool rig_write(struct rig *r, unsigned off, unsigned n, uint8_t value)
{
	memset(data, value, n * SECTOR);
	for (unsigned i = off; i < off + n; i++)
		allow(r, i, value);
	if (transfer(r, DISK_WRITE, off, n) < 0) {
		adopt(r, off, n);
		return false;
	}
	memset(r->now + off, value, n);
	return true;
}

static bool clear(struct rig *r, enum disk_op op, unsigned off, unsigned n, bool unmap)
{
	struct disk_req req = { .op = op, .unmap = unmap, .offset = off * SECTOR,
		.bytes = n * SECTOR };
	int res;

	for (unsigned i = off; i < off + n; i++)
		allow(r, i, 0);
	res = disk_submit(r->disk, &req);
	if (res < 0 || op == DISK_DISCARD)
		adopt(r, off, n);
	else
		memset(r->now + off, 0, n);
	return res == 0;
}

bool rig_zero(struct rig *r, unsigned off, unsigned n, bool unmap)
{
	return clear(r, DISK_WRITE_ZEROES, off, n, unmap);
}

bool rig_discard(struct rig *r, unsigned off, unsigned n)
{
	return clear(r, DISK_DISCARD, off, n, false);
}

bool rig_flush(struct rig *r)
{
	struct disk_req req = { .op = DISK_FLUSH };

	if (disk_submit(r->disk, &req) < 0)
		return false;
	for (unsigned i = 0; i < r->sectors; i++)
		only(r, i);
	return true;
}

bool rig_freeze(struct rig *r)
{
	const struct overlay *top = disk_overlay_layer(r->disk, 0);
	struct overlay *next;
	int fd;

	if (r->n_files == DISK_OVERLAY_LAYERS)
		return rig_merge(r);
	fd = temp();
	if (overlay_format(fd, top->disk_bytes, r->shift, top->id, NULL) < 0 ||
		overlay_open(fcntl(fd, F_DUPFD_CLOEXEC, 3), true, NULL, 0, &next, NULL) < 0) {
		close(fd);
		return false;
	}
	MUST(disk_overlay_freeze(r->disk, next, NULL) == 0);
	memmove(&r->files[1], &r->files[0], r->n_files * sizeof(r->files[0]));
	r->files[0] = fd;
	r->n_files++;
	return true;
}

bool rig_merge(struct rig *r)
{
	struct overlay *merged;
	int fd;

	if (r->n_files < DISK_OVERLAY_LAYERS)
		return true;
	fd = temp();
	if (overlay_merge(disk_overlay_layer(r->disk, 1), disk_overlay_layer(r->disk, 2), fd, NULL,
		    NULL) < 0) {
		MUST(host.fault != RIG_NONE && host.fault != RIG_SHORT);
		/* Nobody takes it for a layer, unless all of it is there. */
		close(fd);
		return false;
	}
	MUST(overlay_open(fcntl(fd, F_DUPFD_CLOEXEC, 3), true, NULL, 0, &merged, NULL) == 0);
	MUST(disk_overlay_replace(r->disk, merged, NULL) == 0);
	close(r->files[1]);
	close(r->files[2]);
	r->files[1] = fd;
	r->n_files = 2;
	/* The merged file holds what the frozen ones had not flushed yet: that is allowed. */
	return true;
}

void rig_check(struct rig *r)
{
	if (transfer(r, DISK_READ, 0, r->sectors) < 0) {
		wrong(r, "a read failed");
		return;
	}
	for (unsigned i = 0; i < r->sectors; i++) {
		uint8_t want[SECTOR];

		memset(want, r->now[i], SECTOR);
		if (memcmp(data + i * SECTOR, want, SECTOR) != 0)
			wrong(r, "a sector is not what was written");
	}
}

void rig_crash(struct rig *r, bool power, unsigned seed)
{
	forget(r);
	for (unsigned i = 0; i < r->n_files && power; i++)
		cut_power(r->files[i], &seed);
	host.fault = RIG_NONE;
	host.dead = false;
	for (unsigned i = 0; i < r->n_files; i++) {
		durable_of(r->files[i])->lost = false;
		if (power)
			make_durable(r->files[i]);
	}
	if (!start(r)) {
		wrong(r, "the disk cannot be opened after a crash");
		return;
	}
	if (!adopt(r, 0, r->sectors))
		wrong(r, "the disk cannot be read after a crash");
}

bool rig_random(struct rig *r, uint32_t what, uint32_t where)
{
	unsigned off = where % r->sectors, n = 1 + (where >> 12) % 24;
	unsigned align = (what >> 8) % 3 ? (1u << r->shift) / SECTOR : 1;

	off -= off % align;
	n = (n + align - 1) / align * align;
	if (n > r->sectors - off)
		n = r->sectors - off;
	switch (what % 16) {
	case 0:
	case 1:
		return rig_flush(r);
	case 2:
		return rig_discard(r, off, n);
	case 3:
	case 4:
		return rig_zero(r, off, n, what >> 10 & 1);
	case 5:
		return rig_freeze(r);
	case 6:
		return rig_merge(r);
	default:
		return rig_write(r, off, n, (uint8_t)(what >> 16 | 1));
	}
}
