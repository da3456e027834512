/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's data path of virtio-net, see net-vhost.h. Loop thread. */
#include "net-vhost.h"

#include <errno.h>
#include <stdlib.h>

#include "gmem.h"
#include "log.h"
#include "loop.h"
#include "net.h"
#include "netif.h"
#include "vhost-net.h"
#include "virtio.h"

struct net_vhost {
	struct virtio_dev *v;	     /* borrowed */
	const struct netif *netif;   /* borrowed */
	struct vhost_net *kernel;    /* owned */
	struct loop *loop;	     /* borrowed */
	struct net_counters *counters; /* borrowed */
	struct loop_src err_src;     /* the kernel found a broken ring */
	unsigned n_queues;	     /* lent to the kernel: 0..n_queues-1; 0: it does not run */
};

int net_vhost_set_memory(struct vhost_net *vhost, const struct gmem *mem, struct volt_err *err)
{
	struct vhost_region regions[GMEM_REGIONS_MAX];
	size_t n = 0;

	static_assert(GMEM_REGIONS_MAX <= VHOST_NET_REGIONS_MAX, "more regions than vhost-net.h");
	for (size_t i = 0; i < mem->n_regions; i++) {
		uint64_t gpa = mem->regions[i].gpa, bytes = mem->regions[i].bytes;
		struct iovec all;
		int r;

		if (mem->regions[i].kind == GMEM_BLOCKS) /* it would not learn which are plugged */
			return volt_err_set(err, EOPNOTSUPP,
				"vhost does not go with memory-hotplug: switch one of them off");
		r = gmem_view(mem, GPA(gpa), bytes, &all);
		if (r < 0)
			return volt_err_set(err, -r, "vhost-net: guest memory: %m");
		regions[n++] = (struct vhost_region){ gpa, bytes, (uintptr_t)all.iov_base };
	}
	return vhost_net_set_memory(vhost, regions, n, err);
}

/* Lock held. The doorbells come back, and the queues stand where the kernel left them. */
static void take_back(struct net_vhost *n, unsigned n_queues)
{
	for (unsigned q = 0; q < n_queues; q++)
		n->v->link->reclaim(n->v->link, q);
	virtio_kernel_path(n->v, false);
}

/* Lock held. Where queue q is in this process; false if the driver has not set it up. */
static bool find(const struct net_vhost *n, unsigned q, struct vhost_ring *ret)
{
	const struct virtq *vq = &n->v->queues[q];
	struct iovec areas[3];

	if (!vq->live || virtq_areas(vq, areas) < 0)
		return false;
	*ret = (struct vhost_ring){
		.size = vq->size,
		.desc = (uintptr_t)areas[0].iov_base,
		.avail = (uintptr_t)areas[1].iov_base,
		.used = (uintptr_t)areas[2].iov_base,
		.base = vq->next_avail,
		.callfd = n->v->link->callfd,
	};
	return true;
}

/* Lock held. */
static int start(struct net_vhost *n, struct vhost_ring *rings, unsigned n_pairs,
	struct volt_err *err)
{
	struct virtio_link *link = n->v->link;
	int r;

	if (link->callfd < 0)
		return volt_err_set(err, EINVAL, "vhost-net: its transport has no irqfd");
	/* Before the first interrupt that the kernel may raise. */
	virtio_kernel_path(n->v, true);
	for (unsigned q = 0; q < 2 * n_pairs; q++)
		rings[q].kickfd = link->lend(link, q);
	r = vhost_net_start(n->kernel, n->v->acked, rings, n->netif->fds, n_pairs, err);
	if (r < 0)
		take_back(n, 2 * n_pairs);
	return r;
}

int net_vhost_start(struct net_vhost *n, unsigned n_pairs)
{
	struct vhost_ring rings[2 * LIMIT_NET_PAIRS];
	struct volt_err err = { 0 };
	int r;

	if (n->n_queues || !virtio_running(n->v) || n_pairs == 0 || n_pairs > n->netif->n_queues)
		return -ENODATA;
	for (unsigned q = 0; q < 2 * n_pairs; q++)
		if (!find(n, q, &rings[q]))
			return -ENODATA;
	r = start(n, rings, n_pairs, &err);
	if (r < 0) {
		virtio_count(&n->counters->vhost_errors);
		log_guest(LOG_WARN, "%s: %s; the monitor moves the frames itself", n->v->name,
			err.msg);
		return r;
	}
	n->n_queues = 2 * n_pairs;
	virtio_begin(n->v);
	virtio_count(&n->counters->vhost_starts);
	return 0;
}

void net_vhost_stop(struct net_vhost *n)
{
	unsigned n_queues = n->n_queues;
	int r;

	if (n_queues == 0)
		return;
	r = vhost_net_stop(n->kernel);
	loop_drain(vhost_net_errfd(n->kernel)); /* what it said is of the past */
	n->n_queues = 0;
	virtio_count(&n->counters->vhost_stops);
	if (r < 0) {
		virtio_count(&n->counters->vhost_errors);
		virtio_fail(n->v, "vhost-net cannot be stopped in order");
	}
	for (unsigned q = 0; r == 0 && q < n_queues; q++)
		virtq_resume(&n->v->queues[q], vhost_net_base(n->kernel, q));
	take_back(n, n_queues);
	virtio_end(n->v);
}

bool net_vhost_running(const struct net_vhost *n)
{
	return n && n->n_queues > 0;
}

/* Loop thread. The driver broke the protocol, and the kernel noticed; ops->cancel follows. */
static void on_error(struct loop_src *src, uint32_t events)
{
	struct net_vhost *n = container_of(src, struct net_vhost, err_src);

	(void)events;
	virtio_lock(n->v);
	if (loop_drain(src->fd) && n->n_queues) {
		virtio_count(&n->counters->vhost_errors);
		virtio_fail(n->v, "vhost-net found a broken ring or descriptor");
	}
	virtio_unlock(n->v);
}

int net_vhost_create(struct virtio_dev *v, const struct netif *netif, struct vhost_net *vhost,
	struct loop *loop, struct net_counters *counters, struct net_vhost **ret,
	struct volt_err *err)
{
	struct net_vhost *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return volt_err_set(err, ENOMEM, "vhost-net: %m");
	*n = (struct net_vhost){
		.v = v,
		.netif = netif,
		.kernel = vhost,
		.loop = loop,
		.counters = counters,
		.err_src = { on_error, "vhost-net", -1 },
	};
	r = loop_add(loop, &n->err_src, vhost_net_errfd(vhost), EPOLLIN);
	if (r < 0) {
		free(n);
		return volt_err_set(err, -r, "vhost-net: watch an eventfd: %m");
	}
	*ret = n;
	return 0;
}

void net_vhost_destroy(struct net_vhost *n)
{
	if (!n)
		return;
	loop_del(n->loop, &n->err_src);
	vhost_net_destroy(n->kernel);
	free(n);
}
