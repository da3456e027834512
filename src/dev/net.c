/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net: creation, features, configuration and life; see net.h and net-dev.h. Section numbers:
 * virtio 1.2.
 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "log.h"
#include "net-dev.h"
#include "state.h"
#include "vhost-net.h"

#define CONFIG_BYTES  offsetof(struct virtio_net_config, speed)
#define BACKEND_WATCH ((uint32_t)(EPOLLIN | EPOLLOUT | EPOLLET))

/* 5.1.3.1: a feature is worth something only with one of these. */
static const struct {
	unsigned feature;
	uint64_t any_of;
} requirements[] = {
	{ VIRTIO_NET_F_GUEST_TSO4, VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) },
	{ VIRTIO_NET_F_GUEST_TSO6, VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) },
	{ VIRTIO_NET_F_GUEST_USO4, VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) },
	{ VIRTIO_NET_F_GUEST_USO6, VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) },
	/* Ours: taps take the two only together. */
	{ VIRTIO_NET_F_GUEST_USO4, VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6) },
	{ VIRTIO_NET_F_GUEST_USO6, VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4) },
	{ VIRTIO_NET_F_GUEST_ECN,
		VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) },
	{ VIRTIO_NET_F_HOST_TSO4, VIRTIO_BIT(VIRTIO_NET_F_CSUM) },
	{ VIRTIO_NET_F_HOST_TSO6, VIRTIO_BIT(VIRTIO_NET_F_CSUM) },
	{ VIRTIO_NET_F_HOST_USO, VIRTIO_BIT(VIRTIO_NET_F_CSUM) },
	{ VIRTIO_NET_F_HOST_ECN,
		VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6) },
	{ VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_MQ, VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) },
};

/* What a back end must be able to do for a feature to be offered; for USO both. */
static const struct {
	unsigned netif;
	unsigned feature;
} offload_features[] = {
	{ NETIF_CSUM, VIRTIO_NET_F_CSUM },
	{ NETIF_CSUM, VIRTIO_NET_F_GUEST_CSUM },
	{ NETIF_TSO4, VIRTIO_NET_F_HOST_TSO4 },
	{ NETIF_TSO4, VIRTIO_NET_F_GUEST_TSO4 },
	{ NETIF_TSO6, VIRTIO_NET_F_HOST_TSO6 },
	{ NETIF_TSO6, VIRTIO_NET_F_GUEST_TSO6 },
	{ NETIF_ECN, VIRTIO_NET_F_HOST_ECN },
	{ NETIF_ECN, VIRTIO_NET_F_GUEST_ECN },
	{ NETIF_USO4 | NETIF_USO6, VIRTIO_NET_F_HOST_USO },
	{ NETIF_USO4, VIRTIO_NET_F_GUEST_USO4 },
	{ NETIF_USO6, VIRTIO_NET_F_GUEST_USO6 },
};

/* -- features -------------------------------------------------------------------------------- */

/* In the order of the table each row sees what the rows before have left. */
static uint64_t without_orphans(uint64_t features)
{
	for (size_t i = 0; i < ARRAY_SIZE(requirements); i++)
		if (!(features & requirements[i].any_of))
			features &= ~VIRTIO_BIT(requirements[i].feature);
	return features;
}

static uint64_t features_of(const struct net_params *p, const struct netif *netif)
{
	uint64_t f = VIRTIO_BIT(VIRTIO_NET_F_MAC) | VIRTIO_BIT(VIRTIO_NET_F_STATUS) |
		VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) |
		VIRTIO_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);

	for (size_t i = 0; i < ARRAY_SIZE(offload_features); i++)
		if ((netif->offloads & offload_features[i].netif) == offload_features[i].netif)
			f |= VIRTIO_BIT(offload_features[i].feature);
	/* A macvtap lets nothing through but frames to the address that it was made with. */
	if (strcmp(netif->ops->name, "macvtap") != 0)
		f |= VIRTIO_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR);
	if (p->mtu)
		f |= VIRTIO_BIT(VIRTIO_NET_F_MTU);
	if (netif->n_queues > 1)
		f |= VIRTIO_BIT(VIRTIO_NET_F_MQ);
	return without_orphans(f);
}

int net_set_offloads(struct net *n, uint64_t offloads)
{
	uint64_t effective = without_orphans(offloads) & NET_GUEST_OFFLOADS;
	unsigned netif = 0;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(offload_features); i++)
		if (effective & VIRTIO_BIT(offload_features[i].feature))
			netif |= offload_features[i].netif;
	r = n->netif->ops->set_offloads(n->netif, netif);
	if (r == 0)
		n->offloads = effective;
	return r;
}

/* -- the kernel's data path ------------------------------------------------------------------ */

static void watch_backend(struct net *n, uint32_t events)
{
	for (unsigned i = 0; i < n->netif->n_queues; i++)
		if (n->pairs[i].src.fd >= 0)
			loop_mod(n->loop, &n->pairs[i].src, events);
}

/* The kernel serves the active pairs, if it can. */
static void start_path(struct net *n)
{
	/* Edge-triggered: an error of the descriptor, which is always told, is told once. */
	if (n->path && net_vhost_start(n->path, n->n_active) == 0)
		watch_backend(n, EPOLLET);
}

static void stop_path(struct net *n)
{
	if (!net_vhost_running(n->path))
		return;
	net_vhost_stop(n->path);
	watch_backend(n, BACKEND_WATCH);
}

/* A queue of a pair that the kernel serves. */
static bool kernels(const struct net *n, unsigned q)
{
	return net_vhost_running(n->path) && (q / 2 < n->n_active || q % 2 == 0);
}

static int set_pairs(struct net *n, unsigned n_active)
{
	int r = n->netif->n_queues > 1 ? n->netif->ops->set_queues(n->netif, n_active) : 0;

	if (r < 0)
		return r;
	n->n_active = n_active;
	/* Who waited for a queue may have another one now, and frames may wait in new ones. */
	for (unsigned i = 0; i < net_pairs(n); i++) {
		n->pairs[i].tx_blocked = false;
		n->pairs[i].readable = true;
		n->v.link->kick(n->v.link, 2 * i);
		n->v.link->kick(n->v.link, 2 * i + 1);
	}
	return 0;
}

/* The kernel takes no tap that is not attached, so it gets all pairs anew. */
int net_set_pairs(struct net *n, unsigned n_active)
{
	bool kernel = net_vhost_running(n->path);
	int r;

	stop_path(n);
	r = set_pairs(n, n_active);
	if (kernel)
		start_path(n);
	return r;
}

/* -- events: loop thread --------------------------------------------------------------------- */

/* Brackets what the loop thread does with the device; false: it has no business now. */
static bool enter(struct net *n)
{
	virtio_lock(&n->v);
	n->locked = true;
	return n->started && virtio_running(&n->v) && !net_vhost_running(n->path);
}

static void leave(struct net *n)
{
	n->locked = false;
	virtio_unlock(&n->v);
}

/* All pairs, each time beginning with another. */
static void run_all(struct net *n, struct net_dir *d, void (*run)(struct net *n, unsigned pair))
{
	unsigned pairs = net_pairs(n), first = d->turn++;

	for (unsigned i = 0; i < pairs; i++)
		run(n, (first + i) % pairs);
}

static void on_rx_timer(struct loop_src *src, uint32_t events)
{
	struct net *n = container_of(src, struct net, rx.throttle.src);
	bool running = enter(n);

	(void)events;
	throttle_expire(&n->rx.throttle, &n->counters.rx_limiter_events);
	if (running)
		run_all(n, &n->rx, net_rx_run);
	leave(n);
}

static void on_tx_timer(struct loop_src *src, uint32_t events)
{
	struct net *n = container_of(src, struct net, tx.throttle.src);
	bool running = enter(n);

	(void)events;
	if (throttle_expire(&n->tx.throttle, &n->counters.tx_limiter_events) && running)
		run_all(n, &n->tx, net_tx_run);
	leave(n);
}

/* A queue of the back end has room. */
static void unblock(struct net *n, unsigned queue)
{
	for (unsigned i = 0; i < net_pairs(n); i++) {
		if (!n->pairs[i].tx_blocked || net_tx_queue(n, i) != queue)
			continue;
		virtio_count(&n->counters.tx_events);
		n->pairs[i].tx_blocked = false;
		net_tx_run(n, i);
	}
}

static void on_backend(struct loop_src *src, uint32_t events)
{
	struct net_pair *p = container_of(src, struct net_pair, src);
	struct net *n = p->net;
	bool running = enter(n);

	if (events & ~(uint32_t)EPOLLOUT) {
		virtio_count(&n->counters.rx_events);
		p->readable = true;
		if (running)
			net_rx_run(n, p->index);
	}
	if (running && (events & ~(uint32_t)EPOLLIN))
		unblock(n, p->index);
	leave(n);
}

static void on_link(void *owner, bool up)
{
	struct net *n = owner;
	uint16_t status = up ? VIRTIO_NET_S_LINK_UP : 0;
	bool within = n->locked;

	if (!within)
		virtio_lock(&n->v);
	if (n->config.status != status) {
		n->config.status = status;
		virtio_count(&n->counters.link_changes);
		virtio_config_changed(&n->v);
	}
	if (!within)
		virtio_unlock(&n->v);
}

/* -- life ------------------------------------------------------------------------------------ */

/* Loop thread, the first kick after DRIVER_OK. */
static void start(struct net *n)
{
	int r;

	throttle_forget(&n->rx.throttle);
	throttle_forget(&n->tx.throttle);
	for (unsigned i = 0; i < n->netif->n_queues; i++) {
		struct net_pair *p = &n->pairs[i];

		if (p->held)
			NET_DROP(n, i, rx_dropped_reset);
		p->tx_blocked = p->starving = p->hasty = p->crowded = false;
		p->tx_paid = p->starving_ns = p->bytes = 0;
		p->held = 0;
		p->held_chains = p->held_iov = 0;
		p->held_room = 0;
		p->n_chains = p->n_iov = 0;
	}
	n->features = without_orphans(n->v.acked);
	r = net_set_pairs(n, n->n_active);
	if (r == 0)
		r = net_set_offloads(n, n->offloads);
	if (r < 0) {
		log_guest(LOG_ERROR, "%s: the %s refuses the driver's offloads or queues: %s",
			n->v.name, n->netif->ops->name, strerror(-r));
		virtio_fail(&n->v, "no back end for what was negotiated");
		return;
	}
	n->started = true;
	start_path(n);
}

static void kick(struct virtio_dev *v, unsigned q)
{
	struct net *n = net_of(v);

	n->locked = true;
	TRACE2(net_kick, v->name, q);
	if (q < 2 * n->netif->n_queues)
		virtio_count(q % 2 ? &n->counters.tx_kicks : &n->counters.rx_kicks);
	if (!n->started)
		start(n);
	if (!n->started)
		; /* it has failed */
	else if (q < 2 * net_pairs(n) && kernels(n, q))
		; /* rung before the kernel got it */
	else if (q < 2 * net_pairs(n) && q % 2 == 0)
		net_rx_run(n, q / 2);
	else if (q < 2 * net_pairs(n))
		net_tx_run(n, q / 2);
	else if (q == 2 * net_pairs(n) && net_has(n, VIRTIO_NET_F_CTRL_VQ))
		net_ctrl_run(n, q);
	n->locked = false;
}

static const void *config(struct virtio_dev *v, size_t *ret_len)
{
	*ret_len = CONFIG_BYTES;
	return &net_of(v)->config;
}

static int activate(struct virtio_dev *v)
{
	struct net *n = net_of(v);

	n->n_active = 1; /* 5.1.6.5.5: until the driver says otherwise */
	n->offloads = v->acked & NET_GUEST_OFFLOADS;
	return 0;
}

/* A reset waits, or the device has failed. */
static void cancel(struct virtio_dev *v)
{
	stop_path(net_of(v));
}

static int hold(struct virtio_dev *v, uint64_t deadline_ns)
{
	struct net *n = net_of(v);

	(void)deadline_ns;
	enter(n);
	n->path_paused = net_vhost_running(n->path);
	stop_path(n);
	watch_backend(n, EPOLLET);
	for (unsigned i = 0; n->started && i < net_pairs(n); i++)
		net_rx_give_back(n, i);
	leave(n);
	return 0;
}

static void go_on(struct virtio_dev *v)
{
	struct net *n = net_of(v);
	bool running = enter(n);

	/* Also for edges that came meanwhile: what is there is told again. */
	watch_backend(n, BACKEND_WATCH);
	if (running && n->path_paused)
		start_path(n);
	n->path_paused = false;
	on_link(n, n->netif->link_up);
	leave(n);
}

/* The link may have changed with the host; then go_on() tells the driver. */
static void fields(struct virtio_dev *v, struct state *s)
{
	struct net *n = net_of(v);
	uint64_t offloads = n->offloads;

	state_bytes(s, "mac", n->mac, sizeof(n->mac));
	state_bytes(s, "mac-now", n->config.mac, sizeof(n->config.mac));
	state_fixed(s, "mtu", n->config.mtu);
	n->config.status =
		(uint16_t)state_value(s, "link", n->config.status, VIRTIO_NET_S_LINK_UP);
	n->n_active = (unsigned)state_value(s, "pairs", n->n_active, n->netif->n_queues);
	state_u64(s, "offloads", &offloads);
	throttle_state(&n->rx.throttle, s);
	throttle_state(&n->tx.throttle, s);
	if (!state_loading(s))
		return;
	if (offloads & ~(v->acked & NET_GUEST_OFFLOADS))
		state_refuse(s, "offloads", "0x%llx were not negotiated",
			(unsigned long long)(offloads & ~(v->acked & NET_GUEST_OFFLOADS)));
	if (virtio_alive(v) && (n->n_active == 0 ||
		(n->n_active > 1 && !virtio_acked(v, VIRTIO_NET_F_MQ))))
		state_refuse(s, "pairs", "%u were not negotiated", n->n_active);
	n->offloads = offloads;
}

/* vCPU thread, the loop thread is not in here: nothing of ours is in flight then. */
static void reset(struct virtio_dev *v)
{
	struct net *n = net_of(v);

	n->started = false;
	memcpy(n->config.mac, n->mac, sizeof(n->mac));
}

static void unwatch(struct net *n)
{
	for (unsigned i = 0; i < n->netif->n_queues; i++)
		loop_del(n->loop, &n->pairs[i].src);
}

static void release(struct net *n)
{
	throttle_close(&n->rx.throttle);
	throttle_close(&n->tx.throttle);
	virtio_done(&n->v);
	free(n);
}

static void destroy(struct virtio_dev *v)
{
	struct net *n = net_of(v);

	net_vhost_destroy(n->path); /* before the taps that it uses */
	unwatch(n);
	netif_destroy(n->netif); /* it may still tell of its link */
	release(n);
}

static const struct virtio_ops net_ops = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.queue_max = LIMIT_QUEUE_SIZE,
	.config = config,
	.config_write = virtio_no_config_write,
	.activate = activate,
	.kick = kick,
	.cancel = cancel,
	.pause = hold,
	.resume = go_on,
	.reset = reset,
	.state = fields,
	.destroy = destroy,
};

static int open_pairs(struct net *n, struct volt_err *err)
{
	for (unsigned i = 0; i < n->netif->n_queues; i++) {
		struct net_pair *p = &n->pairs[i];
		int fd = n->netif->fds[i];
		int r = fd < 0 ? 0 : loop_add(n->loop, &p->src, fd, BACKEND_WATCH);

		if (r < 0)
			return volt_err_set(err, -r, "watch the %s: %m", n->netif->ops->name);
	}
	return 0;
}

static void fill_config(struct net *n, const struct net_params *p)
{
	n->config = (struct virtio_net_config){
		.status = n->netif->link_up ? VIRTIO_NET_S_LINK_UP : 0,
		.max_virtqueue_pairs = (uint16_t)n->netif->n_queues,
		.mtu = p->mtu,
	};
	memcpy(n->mac, p->mac, sizeof(n->mac));
	memcpy(n->config.mac, p->mac, sizeof(n->mac));
}

int net_create(const struct net_params *p, struct netif *netif, struct vhost_net *vhost,
	struct loop *loop, struct virtio_dev **ret, struct volt_err *err)
{
	struct net *n = calloc(1, sizeof(*n) + netif->n_queues * sizeof(n->pairs[0]));
	int r;

	assert(netif->n_queues > 0 && netif->n_queues <= LIMIT_NET_PAIRS);
	if (!n)
		return volt_err_set(err, ENOMEM, "interface '%s': %m", p->id);
	assert(!p->detour || !vhost);
	n->netif = netif;
	n->loop = loop;
	n->detour = p->detour;
	n->detour_owner = p->detour_owner;
	for (unsigned i = 0; i < netif->n_queues; i++) {
		struct net_pair *pair = &n->pairs[i];

		pair->src = (struct loop_src){ on_backend, "net back end", -1 };
		pair->net = n;
		pair->index = i;
	}
	fill_config(n, p);
	virtio_init(&n->v, &net_ops, p->id, features_of(p, netif), 2 * netif->n_queues + 1);
	if (vhost)
		n->v.features = without_orphans(n->v.features & vhost_net_features(vhost));
	r = throttle_open(&n->rx.throttle, loop, &p->rx, "net rx", on_rx_timer, err);
	if (r == 0)
		r = throttle_open(&n->tx.throttle, loop, &p->tx, "net tx", on_tx_timer, err);
	if (r == 0)
		r = open_pairs(n, err);
	if (r == 0 && vhost)
		r = net_vhost_create(
			&n->v, netif, vhost, loop, &n->counters, &n->path, err);
	if (r < 0) {
		unwatch(n);
		release(n);
		return volt_err_wrap(err, "interface '%s'", p->id);
	}
	netif->events = (struct netif_events){ on_link, n };
	*ret = &n->v;
	return 0;
}

int net_set_limiters(struct virtio_dev *v, const struct limiter_change *rx,
	const struct limiter_change *tx, struct volt_err *err)
{
	struct net *n = net_of(v);

	if (n->path)
		return volt_err_set(err, EINVAL,
			"interface '%s' has no rate limit: the host's kernel moves its frames",
			v->name);
	virtio_lock(v);
	throttle_change(&n->rx.throttle, rx);
	throttle_change(&n->tx.throttle, tx);
	virtio_unlock(v);
	return 0;
}

const struct net_counters *net_counters(const struct virtio_dev *v)
{
	return &container_of(v, struct net, v)->counters;
}
