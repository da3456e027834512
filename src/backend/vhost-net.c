/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-net, see vhost-net.h. Ring 0 of a descriptor receives, ring 1 transmits. Building thread,
 * then loop thread: there is no state that two of them share.
 */
#include "vhost-net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cleanup.h"

#define PATH	"/dev/vhost-net"
#define BIT(n)	(UINT64_C(1) << (n))
#define N_RINGS 2u /* of a descriptor */

/*
 * The features that concern the kernel, all of which it must have (it does since Linux 4.0). Not
 * among them is VHOST_NET_F_VIRTIO_NET_HDR, by which vhost would make the headers: its bit is that
 * of VIRTIO_F_ANY_LAYOUT, and never set.
 */
static const uint64_t wanted = BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
	BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_F_VERSION_1);

struct vhost_net {
	unsigned n_pairs;	  /* opened */
	unsigned n_rings;	  /* that the kernel serves: 0..n_rings-1 */
	int fds[LIMIT_NET_PAIRS]; /* owned */
	int errfd;		  /* owned */
	bool memory;		  /* the kernel knows it */
	uint16_t bases[N_RINGS * LIMIT_NET_PAIRS];
};

/* -- opening --------------------------------------------------------------------------------- */

static int fail_open(int code, struct volt_err *err)
{
	switch (code) {
	case ENOENT:
		return volt_err_set(err, code,
			PATH " does not exist: the module vhost_net is not loaded, or the "
			     "monitor's /dev lacks it");
	case ENODEV:
	case ENXIO:
		return volt_err_set(
			err, ENODEV, PATH " has no driver behind it: load the module vhost_net");
	case EACCES:
	case EPERM:
		return volt_err_set(err, EACCES,
			"no permission to open " PATH ": it must be readable and writable for the "
			"user of the monitor");
	default:
		return volt_err_set(err, code, PATH ": %m");
	}
}

static int open_one(int *ret, struct volt_err *err)
{
	_cleanup_close_ int fd = open(PATH, O_RDWR | O_CLOEXEC);
	uint64_t has;

	if (fd < 0)
		return fail_open(errno, err);
	if (ioctl(fd, VHOST_SET_OWNER, 0) < 0)
		return volt_err_set(err, errno, PATH ": VHOST_SET_OWNER: %m");
	if (ioctl(fd, VHOST_GET_FEATURES, &has) < 0)
		return volt_err_set(err, errno, PATH ": VHOST_GET_FEATURES: %m");
	if (wanted & ~has)
		return volt_err_set(err, ENOTSUP,
			PATH ": this kernel's lacks the virtio features 0x%llx",
			(unsigned long long)(wanted & ~has));
	*ret = take_fd(&fd);
	return 0;
}

int vhost_net_open(unsigned n_pairs, struct vhost_net **ret, struct volt_err *err)
{
	struct vhost_net *v;
	int r = 0;

	assert(n_pairs > 0 && n_pairs <= LIMIT_NET_PAIRS);
	v = calloc(1, sizeof(*v));
	if (!v)
		return volt_err_set(err, ENOMEM, PATH ": %m");
	v->errfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->errfd < 0)
		r = volt_err_set(err, errno, PATH ": eventfd: %m");
	while (r == 0 && v->n_pairs < n_pairs) {
		r = open_one(&v->fds[v->n_pairs], err);
		if (r == 0)
			v->n_pairs++;
	}
	if (r < 0) {
		vhost_net_destroy(v);
		return r;
	}
	*ret = v;
	return 0;
}

/* Closing a descriptor ends all that the kernel does for it. */
static void close_all(struct vhost_net *v)
{
	for (unsigned i = 0; i < v->n_pairs; i++)
		v->fds[i] = fd_close(v->fds[i]);
	v->n_pairs = v->n_rings = 0;
}

void vhost_net_destroy(struct vhost_net *v)
{
	if (!v)
		return;
	vhost_net_stop(v);
	close_all(v);
	fd_close(v->errfd);
	free(v);
}

uint64_t vhost_net_features(const struct vhost_net *v)
{
	(void)v; /* one that lacks a feature was not opened */
	return ~BIT(VIRTIO_F_ANY_LAYOUT);
}

int vhost_net_set_memory(
	struct vhost_net *v, const struct vhost_region *regions, size_t n, struct volt_err *err)
{
	_Alignas(struct vhost_memory) uint8_t raw[sizeof(struct vhost_memory) +
		VHOST_NET_REGIONS_MAX * sizeof(struct vhost_memory_region)] = { 0 };
	struct vhost_memory *table = (void *)raw;

	assert(n <= VHOST_NET_REGIONS_MAX);
	table->nregions = (uint32_t)n;
	for (size_t i = 0; i < n; i++)
		table->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = regions[i].gpa,
			.memory_size = regions[i].bytes,
			.userspace_addr = regions[i].host,
		};
	for (unsigned i = 0; i < v->n_pairs; i++)
		if (ioctl(v->fds[i], VHOST_SET_MEM_TABLE, table) < 0)
			return volt_err_set(err, errno, "VHOST_SET_MEM_TABLE: %m");
	v->memory = true;
	return 0;
}

/* -- running --------------------------------------------------------------------------------- */

/* The tap of ring i of a descriptor, or -1: the kernel's worker is done with the ring then. */
static int set_backend(int fd, unsigned i, int tapfd)
{
	struct vhost_vring_file file = { .index = i, .fd = tapfd };

	/* #syscalls loop: ioctl=VHOST_NET_SET_BACKEND */
	return ioctl(fd, VHOST_NET_SET_BACKEND, &file) < 0 ? -errno : 0;
}

static int set_kick(int fd, unsigned i, int kickfd)
{
	struct vhost_vring_file file = { .index = i, .fd = kickfd };

	/* #syscalls loop: ioctl=VHOST_SET_VRING_KICK */
	return ioctl(fd, VHOST_SET_VRING_KICK, &file) < 0 ? -errno : 0;
}

/* Tells the kernel all about ring i, but for the tap. */
static int set_ring(const struct vhost_net *v, int fd, unsigned i, const struct vhost_ring *ring,
	struct volt_err *err)
{
	struct vhost_vring_state num = { .index = i, .num = ring->size };
	struct vhost_vring_state base = { .index = i, .num = ring->base };
	struct vhost_vring_addr addr = {
		.index = i,
		.desc_user_addr = ring->desc,
		.avail_user_addr = ring->avail,
		.used_user_addr = ring->used,
	};
	struct vhost_vring_file call = { .index = i, .fd = ring->callfd };
	struct vhost_vring_file error = { .index = i, .fd = v->errfd };

	/* #syscalls loop: ioctl=VHOST_SET_VRING_NUM ioctl=VHOST_SET_VRING_BASE */
	if (ioctl(fd, VHOST_SET_VRING_NUM, &num) < 0)
		return volt_err_set(err, errno, "VHOST_SET_VRING_NUM: %m");
	if (ioctl(fd, VHOST_SET_VRING_BASE, &base) < 0)
		return volt_err_set(err, errno, "VHOST_SET_VRING_BASE: %m");
	/* #syscalls loop: ioctl=VHOST_SET_VRING_ADDR */
	if (ioctl(fd, VHOST_SET_VRING_ADDR, &addr) < 0)
		return volt_err_set(err, errno, "VHOST_SET_VRING_ADDR: %m");
	/* #syscalls loop: ioctl=VHOST_SET_VRING_CALL ioctl=VHOST_SET_VRING_ERR */
	if (ioctl(fd, VHOST_SET_VRING_CALL, &call) < 0)
		return volt_err_set(err, errno, "VHOST_SET_VRING_CALL: %m");
	if (ioctl(fd, VHOST_SET_VRING_ERR, &error) < 0)
		return volt_err_set(err, errno, "VHOST_SET_VRING_ERR: %m");
	return 0;
}

static int start_ring(const struct vhost_net *v, int fd, unsigned i, const struct vhost_ring *ring,
	int tapfd, struct volt_err *err)
{
	int r = set_ring(v, fd, i, ring, err);

	if (r < 0)
		return r;
	r = set_kick(fd, i, ring->kickfd);
	if (r < 0)
		return volt_err_set(err, -r, "VHOST_SET_VRING_KICK: %m");
	r = set_backend(fd, i, tapfd);
	if (r < 0) {
		set_kick(fd, i, VHOST_FILE_UNBIND);
		return volt_err_set(err, -r, "VHOST_NET_SET_BACKEND: %m");
	}
	return 0;
}

static int stop_ring(int fd, unsigned i, uint16_t *ret_base)
{
	struct vhost_vring_state state = { .index = i };

	/* #syscalls loop: ioctl=VHOST_GET_VRING_BASE */
	if (set_backend(fd, i, VHOST_FILE_UNBIND) < 0 ||
		ioctl(fd, VHOST_GET_VRING_BASE, &state) < 0)
		return -EIO;
	*ret_base = (uint16_t)state.num;
	/* Nothing hangs on this: a worker that is woken finds no tap and leaves. */
	set_kick(fd, i, VHOST_FILE_UNBIND);
	return 0;
}

int vhost_net_stop(struct vhost_net *v)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < v->n_rings; i++)
		r = stop_ring(v->fds[i / N_RINGS], i % N_RINGS, &v->bases[i]);
	v->n_rings = 0;
	if (r < 0)
		close_all(v);
	return r;
}

static int check(const struct vhost_net *v, unsigned n_pairs, struct volt_err *err)
{
	if (v->n_rings)
		return volt_err_set(err, EBUSY, "it runs already");
	if (!v->memory)
		return volt_err_set(err, EINVAL, "guest memory was not set");
	if (n_pairs == 0 || n_pairs > v->n_pairs)
		return volt_err_set(err, EINVAL, "%u queue pairs of %u", n_pairs, v->n_pairs);
	return 0;
}

int vhost_net_start(struct vhost_net *v, uint64_t features, const struct vhost_ring *rings,
	const int *tapfds, unsigned n_pairs, struct volt_err *err)
{
	uint64_t one = 1;
	int r = check(v, n_pairs, err);

	if (r < 0)
		return volt_err_wrap(err, "vhost-net");
	features &= wanted;
	for (unsigned i = 0; i < N_RINGS * n_pairs; i++) {
		int fd = v->fds[i / N_RINGS];

		/* #syscalls loop: ioctl=VHOST_SET_FEATURES */
		if (i % N_RINGS == 0 && ioctl(fd, VHOST_SET_FEATURES, &features) < 0)
			r = volt_err_set(err, errno, "VHOST_SET_FEATURES: %m");
		if (r == 0)
			r = start_ring(v, fd, i % N_RINGS, &rings[i], tapfds[i / N_RINGS], err);
		if (r < 0) {
			vhost_net_stop(v);
			return volt_err_wrap(err, "vhost-net: queue %u", i);
		}
		v->n_rings++;
	}
	/*
	 * What was queued before, or kicked while there was no tap, would be seen by nobody. A
	 * counter at its maximum refuses, and that has woken the kernel too.
	 */
	for (unsigned i = 0; i < v->n_rings; i++)
		/* #syscalls loop: write */
		if (write(rings[i].kickfd, &one, sizeof(one)) < 0)
			continue;
	return 0;
}

bool vhost_net_running(const struct vhost_net *v)
{
	return v->n_rings > 0;
}

uint16_t vhost_net_base(const struct vhost_net *v, unsigned i)
{
	assert(i < ARRAY_SIZE(v->bases));
	return v->bases[i];
}

int vhost_net_errfd(const struct vhost_net *v)
{
	return v->errfd;
}
