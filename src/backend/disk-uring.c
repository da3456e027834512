/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk back end over io_uring, see disk.h. One ring per disk, with the disk as its only
 * registered file. Before the ring is enabled it is restricted to the four opcodes below on that
 * file, and to another file in its place, so that a monitor that has been taken over gains nothing
 * by it; after that the only system call is io_uring_enter(2), once per batch, but for a change of
 * the file. Completions ring an eventfd that the loop watches.
 * Loop thread.
 */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cleanup.h"
#include "disk-call.h"
#include "loop.h"

#define REAP_BATCH 64

struct disk_uring {
	struct disk d;
	struct io_uring ring;
	struct loop *loop; /* borrowed */
	struct loop_src src;
	int eventfd; /* owned */
	unsigned in_flight;
};

static const uint8_t opcodes[] = {
	IORING_OP_READV,
	IORING_OP_WRITEV,
	IORING_OP_FSYNC,
	IORING_OP_FALLOCATE,
};

/* Puts the request's next call into the ring, which has room for all requests. */
static int prepare(struct disk_uring *u, struct disk_req *req)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	struct disk_call c;

	if (!sqe)
		return -EBUSY;
	disk_next(&u->d, req, &c);
	switch (c.kind) {
	case DISK_CALL_READV:
		io_uring_prep_readv(sqe, 0, c.iov, c.n_iov, c.offset);
		break;
	case DISK_CALL_WRITEV:
		io_uring_prep_writev(sqe, 0, c.iov, c.n_iov, c.offset);
		break;
	case DISK_CALL_FDATASYNC:
		io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
		break;
	case DISK_CALL_FALLOCATE:
		/* io_uring_prep_fallocate() has taken different types over the years. */
		io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, 0, NULL, (unsigned)c.mode, c.offset);
		sqe->addr = c.bytes;
		break;
	}
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data(sqe, req);
	return 0;
}

static int uring_submit(struct disk *d, struct disk_req *req)
{
	struct disk_uring *u = container_of(d, struct disk_uring, d);
	int r;

	disk_begin(req);
	r = prepare(u, req);
	if (r < 0)
		return r;
	u->in_flight++;
	return -EINPROGRESS;
}

static void uring_commit(struct disk *d)
{
	struct disk_uring *u = container_of(d, struct disk_uring, d);
	uint64_t one = 1;
	ssize_t n;
	int r;

	while (io_uring_sq_ready(&u->ring) > 0) {
		/* #syscalls loop: io_uring_enter */
		r = io_uring_submit(&u->ring);
		if (r > 0 || r == -EINTR)
			continue;
		/* Short of memory, or completions must be reaped first: again in the next round. */
		/* #syscalls loop: write */
		n = write(u->eventfd, &one, sizeof(one));
		(void)n;
		return;
	}
}

/*
 * Reaps one batch; false if there was nothing. Results of finished requests go to done() if asked.
 */
static bool reap(struct disk_uring *u, bool report)
{
	struct io_uring_cqe *cqes[REAP_BATCH];
	struct disk_result results[REAP_BATCH];
	unsigned n_results = 0, n = io_uring_peek_batch_cqe(&u->ring, cqes, REAP_BATCH);

	for (unsigned i = 0; i < n; i++) {
		struct disk_req *req = io_uring_cqe_get_data(cqes[i]);
		int r = disk_step(req, cqes[i]->res);

		if (r > 0 && report)
			r = prepare(u, req) < 0 ? -EBUSY : 1;
		if (r > 0 && report)
			continue;
		results[n_results++] = (struct disk_result){ req, r };
	}
	io_uring_cq_advance(&u->ring, n);
	u->in_flight -= n_results;
	if (report && n_results > 0)
		u->d.params.done(u->d.params.owner, results, n_results);
	return n > 0;
}

static void on_completion(struct loop_src *src, uint32_t events)
{
	struct disk_uring *u = container_of(src, struct disk_uring, src);

	(void)events;
	loop_drain(u->eventfd);
	while (reap(u, true))
		;
	uring_commit(&u->d);
}

static int uring_drain(struct disk *d, uint64_t deadline_ns)
{
	struct disk_uring *u = container_of(d, struct disk_uring, d);

	while (u->in_flight > 0) {
		struct pollfd p = { .fd = u->eventfd, .events = POLLIN };
		uint64_t now_ns = loop_now_ns();

		if (now_ns >= deadline_ns)
			return -ETIMEDOUT;
		uring_commit(d);
		/* #syscalls loop: poll */
		poll(&p, 1, (int)MIN((deadline_ns - now_ns) / NSEC_PER_MSEC + 1, 1000u));
		loop_drain(u->eventfd);
		while (reap(u, true))
			;
	}
	return 0;
}

static int uring_set_file(struct disk *d, int fd)
{
	struct disk_uring *u = container_of(d, struct disk_uring, d);
	/* #syscalls loop: io_uring_register=IORING_REGISTER_FILES_UPDATE */
	int r = io_uring_register_files_update(&u->ring, 0, &fd, 1);

	return r < 0 ? r : 0;
}

/* The kernel reads and writes guest memory and request slots until the last request is back. */
static void uring_destroy(struct disk *d)
{
	struct disk_uring *u = container_of(d, struct disk_uring, d);
	int r = 0;

	while (u->in_flight > 0 && (r >= 0 || r == -EINTR)) {
		r = io_uring_submit_and_wait(&u->ring, 1);
		reap(u, false);
	}
	loop_del(u->loop, &u->src);
	/* #syscalls loop: munmap close */
	io_uring_queue_exit(&u->ring);
	fd_close(u->eventfd);
	free(u);
}

static const struct disk_ops uring_ops = {
	.name = "uring",
	.submit = uring_submit,
	.commit = uring_commit,
	.drain = uring_drain,
	.set_file = uring_set_file,
	.destroy = uring_destroy,
};

static int restrict_ring(struct io_uring *ring)
{
	struct io_uring_restriction res[ARRAY_SIZE(opcodes) + 2] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
		res[i].opcode = IORING_RESTRICTION_SQE_OP;
		res[i].sqe_op = opcodes[i];
	}
	res[ARRAY_SIZE(opcodes)].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	res[ARRAY_SIZE(opcodes)].sqe_flags = IOSQE_FIXED_FILE;
	res[ARRAY_SIZE(opcodes) + 1].opcode = IORING_RESTRICTION_REGISTER_OP;
	res[ARRAY_SIZE(opcodes) + 1].register_op = IORING_REGISTER_FILES_UPDATE;
	return io_uring_register_restrictions(ring, res, ARRAY_SIZE(res));
}

/* All that has to be done between the creation of the ring and its first use. */
static int set_up_ring(struct disk_uring *u, const char **ret_what)
{
	int r;

	*ret_what = "register the file";
	r = io_uring_register_files(&u->ring, &u->d.fd, 1);
	if (r < 0)
		return r;
	*ret_what = "register the eventfd";
	r = io_uring_register_eventfd(&u->ring, u->eventfd);
	if (r < 0)
		return r;
	*ret_what = "restrict the ring";
	r = restrict_ring(&u->ring);
	if (r < 0)
		return r;
	*ret_what = "enable the ring";
	return io_uring_enable_rings(&u->ring);
}

static unsigned power_of_two(unsigned n)
{
	unsigned p = 1;

	while (p < n)
		p <<= 1;
	return p;
}

int disk_uring_create(const struct disk *common, struct loop *loop, struct disk **ret,
	const char **ret_what)
{
	unsigned entries = power_of_two(common->params.in_flight);
	struct io_uring_params params = {
		.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE,
		.cq_entries = 2 * entries,
	};
	_cleanup_free_ struct disk_uring *u = calloc(1, sizeof(*u));
	_cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r;

	*ret_what = "allocate";
	if (!u || fd < 0)
		return -ENOMEM;
	u->d = *common;
	u->d.ops = &uring_ops;
	u->loop = loop;
	u->src = (struct loop_src){ .fn = on_completion, .name = "disk.uring", .fd = -1 };
	u->eventfd = fd;
	*ret_what = "set up a ring";
	r = io_uring_queue_init_params(entries, &u->ring, &params);
	if (r < 0)
		return r;
	r = set_up_ring(u, ret_what);
	if (r == 0) {
		*ret_what = "watch the eventfd";
		r = loop_add(loop, &u->src, fd, EPOLLIN);
	}
	if (r < 0) {
		io_uring_queue_exit(&u->ring);
		return r;
	}
	take_fd(&fd);
	*ret = &take_ptr(&u)->d;
	return 0;
}
