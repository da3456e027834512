/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taps and macvtaps as network back ends, see tap.h: moving frames, offloads, queues. They are
 * opened in tap-open.c (by name), tap-from.c (an inherited descriptor) and tap-macvtap.c; their
 * link is watched in tap-link.c. Loop thread after creation.
 */
#include "tap.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>

#include "cleanup.h"
#include "helper.h"
#include "log.h"
#include "tap-core.h"
#include "tap-link.h"

#define OFFLOADS_TSO (NETIF_TSO4 | NETIF_TSO6)
#define OFFLOADS_USO (NETIF_USO4 | NETIF_USO6)

_Static_assert(NETIF_CSUM == TUN_F_CSUM && NETIF_TSO4 == TUN_F_TSO4 && NETIF_TSO6 == TUN_F_TSO6 &&
		NETIF_ECN == TUN_F_TSO_ECN, "ours are the kernel's");

struct tap {
	struct netif netif;
	struct tap_link link;
	struct helper helper; /* fd -1: none */
	unsigned n_active;    /* queues that are attached */
	/* To receive: the guest's buffers, and a byte that only a longer frame reaches. */
	struct iovec iov[LIMIT_QUEUE_SIZE + 1];
	uint8_t beyond;
};

static struct tap *get_tap(struct netif *n)
{
	return container_of(n, struct tap, netif);
}

static int send_frame(struct netif *n, unsigned queue, const struct iovec *iov, unsigned n_iov,
	size_t bytes UNUSED)
{
	/* #syscalls loop: writev */
	return writev(n->fds[queue], iov, (int)n_iov) < 0 ? -errno : 0;
}

/* The kernel cuts a frame that does not fit, and returns the bytes that did. */
static ssize_t recv_frame(struct netif *n, unsigned queue, const struct iovec *iov, unsigned n_iov)
{
	struct tap *t = get_tap(n);
	size_t room = 0;
	ssize_t r;

	if (n_iov > LIMIT_QUEUE_SIZE)
		return -EINVAL;
	for (unsigned i = 0; i < n_iov; i++) {
		t->iov[i] = iov[i];
		room += iov[i].iov_len;
	}
	t->iov[n_iov] = (struct iovec){ &t->beyond, sizeof(t->beyond) };
	/* #syscalls loop: readv */
	r = readv(n->fds[queue], t->iov, (int)n_iov + 1);
	if (r < 0)
		return -errno;
	return (size_t)r > room ? -EMSGSIZE : r;
}

/* What the kernel takes: no segments without checksums, ECN only with TCP, USO as a pair. */
static unsigned fit_offloads(unsigned offloads)
{
	if (!(offloads & NETIF_CSUM))
		return 0;
	if (!(offloads & OFFLOADS_TSO))
		offloads &= ~NETIF_ECN;
	if ((offloads & OFFLOADS_USO) != OFFLOADS_USO)
		offloads &= ~OFFLOADS_USO;
	return offloads;
}

/* One queue speaks for the whole tap. */
static int set_offloads(struct netif *n, unsigned offloads)
{
	unsigned long arg = fit_offloads(offloads & n->offloads);

	/* #syscalls loop: ioctl=TUNSETOFFLOAD */
	return ioctl(n->fds[0], TUNSETOFFLOAD, arg) < 0 ? -errno : 0;
}

static int attach(int fd, bool on)
{
	struct ifreq ifr = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	/* #syscalls loop: ioctl=TUNSETQUEUE */
	return ioctl(fd, TUNSETQUEUE, &ifr) < 0 ? -errno : 0;
}

static int set_queues(struct netif *n, unsigned n_active)
{
	struct tap *t = get_tap(n);
	int r = 0;

	if (n_active < 1 || n_active > n->n_queues)
		return -EINVAL;
	while (r == 0 && t->n_active < n_active) {
		r = attach(n->fds[t->n_active], true);
		t->n_active += r == 0;
	}
	while (r == 0 && t->n_active > n_active) {
		r = attach(n->fds[t->n_active - 1], false);
		t->n_active -= r == 0;
	}
	return r;
}

static void destroy(struct netif *n)
{
	struct tap *t = get_tap(n);

	tap_link_stop(&t->link);
	for (unsigned i = 0; i < n->n_queues; i++)
		fd_close(n->fds[i]);
	helper_done(&t->helper);
	free(t);
}

#define OPS(label)                                                                                 \
	{                                                                                          \
		.name = label, .can_vhost = true, .send = send_frame, .recv = recv_frame,          \
		.set_offloads = set_offloads, .set_queues = set_queues, .destroy = destroy,        \
	}

const struct netif_ops tap_ops = OPS("tap");
const struct netif_ops tap_ops_macvtap = OPS("macvtap");
const struct netif_ops tap_ops_networkd = OPS("networkd");

/* ---- creation ---- */

static void on_link(struct tap_link *l, bool up)
{
	struct netif *n = &container_of(l, struct tap, link)->netif;

	n->link_up = up;
	if (n->events.link)
		n->events.link(n->events.owner, up);
}

/* What this kernel can do; none is on afterwards, whatever an earlier user of the tap left. */
static unsigned probe_offloads(int fd)
{
	unsigned base = NETIF_CSUM | OFFLOADS_TSO | NETIF_ECN, ret = 0;

	if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)base) == 0)
		ret = base;
	if (ret && ioctl(fd, TUNSETOFFLOAD, (unsigned long)(base | OFFLOADS_USO)) == 0)
		ret |= OFFLOADS_USO; /* 6.2 */
	ioctl(fd, TUNSETOFFLOAD, 0ul);
	return ret;
}

static int check_header(int fd, const char *name, struct volt_err *err)
{
	int size = NETIF_HEADER_BYTES, little = 1;

	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
		return volt_err_set(err, errno, "tap '%s': it does not take a header of %d bytes: "
			"%m", name, NETIF_HEADER_BYTES);
	if (ioctl(fd, TUNGETVNETHDRSZ, &size) < 0 || size != NETIF_HEADER_BYTES)
		return volt_err_set(err, EPROTO, "tap '%s': its header was set to %d bytes and is "
			"%d", name, NETIF_HEADER_BYTES, size);
	/* As virtio 1 has it, whoever chose otherwise before. A big-endian host needs it. */
	if (ioctl(fd, TUNSETVNETLE, &little) < 0)
		return volt_err_set(err, errno, "tap '%s': it does not take a little-endian "
			"header: %m", name);
	return 0;
}

/*
 * TUNGETIFF gives a tap's queue without a socket filter the flag IFF_NOFILTER, which has the value
 * of IFF_NO_PI: look again while there is a filter, one that lets everything pass. A macvtap has no
 * filters, and its flag is true.
 */
static bool has_no_pi(int fd)
{
	struct sock_filter pass = BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	struct sock_fprog prog = { .len = 1, .filter = &pass };
	struct ifreq ifr = { 0 };
	bool ret;

	if (ioctl(fd, TUNGETIFF, &ifr) < 0 || !(ifr.ifr_flags & IFF_NO_PI))
		return false;
	if (ioctl(fd, TUNATTACHFILTER, &prog) < 0)
		return true;
	ret = ioctl(fd, TUNGETIFF, &ifr) == 0 && (ifr.ifr_flags & IFF_NO_PI);
	ioctl(fd, TUNDETACHFILTER, &prog);
	return ret;
}

int tap_check(int fd, char ret_name[LIMIT_IFNAME], struct volt_err *err)
{
	static const char how[] = "open it with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR";
	struct ifreq ifr = { 0 };
	unsigned flags;

	if (ioctl(fd, TUNGETIFF, &ifr) < 0) {
		if (errno == EBADFD)
			return volt_err_set(err, EBADFD, "descriptor %d is of /dev/net/tun, but of "
				"no tap yet (TUNSETIFF), or of one that was deleted", fd);
		if (errno == ENOLINK)
			return volt_err_set(err, ENOLINK, "descriptor %d: its macvtap was deleted",
				fd);
		return volt_err_set(err, errno, "descriptor %d is not of a tap: %m", fd);
	}
	flags = (unsigned short)ifr.ifr_flags;
	if (!has_no_pi(fd))
		flags &= ~(unsigned)IFF_NO_PI;
	memcpy(ret_name, ifr.ifr_name, LIMIT_IFNAME - 1);
	ret_name[LIMIT_IFNAME - 1] = '\0';
	log_debug("tap %s: flags %#x:%s%s%s%s%s", ret_name, flags,
		flags & IFF_TAP ? " TAP" : "", flags & IFF_NO_PI ? " NO_PI" : "",
		flags & IFF_VNET_HDR ? " VNET_HDR" : "",
		flags & IFF_MULTI_QUEUE ? " MULTI_QUEUE" : "",
		flags & IFF_PERSIST ? " PERSIST" : "");
	if (!(flags & IFF_TAP))
		return volt_err_set(err, EINVAL, "'%s' is a tun, which carries IP packets, not a "
			"tap: %s", ret_name, how);
	if (!(flags & IFF_NO_PI))
		return volt_err_set(err, EINVAL, "tap '%s': it puts packet information before "
			"each frame (no IFF_NO_PI): %s", ret_name, how);
	if (!(flags & IFF_VNET_HDR))
		return volt_err_set(err, EINVAL, "tap '%s': it has no virtio header before each "
			"frame (no IFF_VNET_HDR): %s", ret_name, how);
	if (flags & IFF_DETACH_QUEUE)
		return volt_err_set(err, EINVAL, "tap '%s': this queue is detached: attach it with "
			"TUNSETQUEUE, IFF_ATTACH_QUEUE", ret_name);
	return check_header(fd, ret_name, err);
}

int tap_create(const struct tap_parts *parts, struct loop *loop, struct netif **ret,
	struct volt_err *err)
{
	struct tap *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return volt_err_set(err, ENOMEM, "tap '%s': %m", parts->name);
	t->helper = HELPER_NONE;
	t->n_active = parts->n_fds;
	t->link.fd = -1;
	t->link.changed = on_link;
	snprintf(t->link.name, sizeof(t->link.name), "%s", parts->name);
	snprintf(t->link.parent, sizeof(t->link.parent), "%s", parts->parent ? parts->parent : "");
	t->netif = (struct netif){ .ops = parts->ops, .n_queues = parts->n_fds, .link_up = true };
	for (unsigned i = 0; i < LIMIT_NET_PAIRS; i++)
		t->netif.fds[i] = i < parts->n_fds ? parts->fds[i] : -1;
	t->netif.offloads = probe_offloads(parts->fds[0]);
	/* A guest begins with one pair: frames in the other queues would wait for nobody. */
	r = set_queues(&t->netif, 1);
	if (r < 0)
		volt_err_set(err, -r, "tap '%s': detach queues: %m", parts->name);
	else if (parts->nlfd >= 0)
		r = tap_link_start(&t->link, parts->nlfd, parts->fds[0], loop, err);
	if (r < 0) {
		free(t);
		return r;
	}
	log_debug("tap %s: %u queues, offloads %#x", parts->name, parts->n_fds,
		t->netif.offloads);
	*ret = &t->netif;
	return 0;
}

void tap_keep_helper(struct netif *n, const struct netif_ops *ops, struct helper *h)
{
	n->ops = ops;
	get_tap(n)->helper = *h;
	h->fd = -1;
}
