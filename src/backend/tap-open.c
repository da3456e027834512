/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap by name: /dev/net/tun first, then TUNSETIFF, then everything is read back. What goes wrong
 * is told from what rtnetlink says about the link, because the kernel has one EINVAL, one EPERM and
 * one EBUSY for many causes. Building thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>

#include "cleanup.h"
#include "log.h"
#include "tap-core.h"
#include "tap-holder.h"
#include "tap-link.h"
#include "tap.h"

#define DEVICE "/dev/net/tun"

struct opening {
	const char *name;
	unsigned n_queues;
	bool found; /* by whoever looked: not made by us */
	struct tap_facts facts;
	int nlfd;
	int fds[LIMIT_NET_PAIRS];
	unsigned n_fds;
};

static int open_device(struct volt_err *err)
{
	int fd = open(DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return volt_err_set(err, errno, DEVICE ": %m: load the module ('modprobe tun'), or "
			"give the device to the container");
	case EACCES:
	case EPERM:
		return volt_err_set(err, errno, DEVICE ": %m: everybody may open it on most hosts "
			"('chmod 666 " DEVICE "'); a container must be allowed the device 10:200");
	}
	return volt_err_set(err, errno, DEVICE ": %m");
}

static int check_name(const char *name, struct volt_err *err)
{
	if (!*name || strlen(name) >= LIMIT_IFNAME)
		return volt_err_set(err, EINVAL, "tap '%s': the name of a link has 1 to %d letters",
			name, LIMIT_IFNAME - 1);
	/* The kernel would make a name of its own from a pattern. */
	if (strpbrk(name, "%/: \t\n") || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return volt_err_set(err, EINVAL, "tap '%s': a link cannot be called so", name);
	return 0;
}

/* What can be seen before it is tried. */
static int check_found(const struct opening *o, struct volt_err *err)
{
	const struct tap_facts *f = &o->facts;
	bool multi = o->n_queues > 1;

	if (strcmp(f->kind, "tun") != 0)
		return volt_err_set(err, EINVAL, "'%s' is not a tap but %s%s: name another link, "
			"or a new one", o->name, f->kind[0] ? "of kind " : "a network device",
			f->kind);
	if (f->has_type && !f->is_tap)
		return volt_err_set(err, EINVAL, "'%s' is a tun, which carries IP packets, not a "
			"tap: make it with 'ip tuntap add %s mode tap'", o->name, o->name);
	if (f->has_type && f->multi_queue && !multi)
		return volt_err_set(err, EINVAL, "tap '%s' is a multi-queue tap, and one queue "
			"pair is wanted: configure more queue pairs, or make it without "
			"multi_queue", o->name);
	if (f->has_type && !f->multi_queue && multi)
		return volt_err_set(err, EINVAL, "tap '%s' has a single queue, and %u queue pairs "
			"are wanted: make it with 'ip tuntap add %s mode tap multi_queue'",
			o->name, o->n_queues, o->name);
	return 0;
}

static int explain_denied(const struct opening *o, int code, struct volt_err *err)
{
	const char *multi = o->n_queues > 1 ? " multi_queue" : "";
	unsigned uid = geteuid();

	if (!o->found)
		return volt_err_set(err, code, "tap '%s': there is none, and making one needs "
			"CAP_NET_ADMIN: make it as root with 'ip tuntap add %s mode tap%s user "
			"%u', or run with CAP_NET_ADMIN", o->name, o->name, multi, uid);
	if (o->facts.owner >= 0)
		return volt_err_set(err, code, "tap '%s': it is for user %lld, we are user %u: "
			"make it with 'ip tuntap add %s mode tap%s user %u', or run with "
			"CAP_NET_ADMIN", o->name, (long long)o->facts.owner, uid, o->name, multi,
			uid);
	return volt_err_set(err, code, "tap '%s': we may not use it: make it with 'ip tuntap add "
		"%s mode tap%s user %u', or run with CAP_NET_ADMIN", o->name, o->name, multi, uid);
}

static int explain_busy(const struct opening *o, struct volt_err *err)
{
	char holder[TAP_HOLDER_TEXT];

	if (tap_holder_find(o->name, holder))
		return volt_err_set(err, EBUSY, "tap '%s': it is in use by %s", o->name, holder);
	return volt_err_set(err, EBUSY, "tap '%s': it is in use, by a process that we may not see: "
		"as root, grep -l 'iff:.%s$' /proc/*/fdinfo/*", o->name, o->name);
}

static int explain(const struct opening *o, int code, struct volt_err *err)
{
	switch (code) {
	case EPERM:
	case EACCES:
		return explain_denied(o, code, err);
	case EBUSY:
		return explain_busy(o, err);
	case E2BIG:
		return volt_err_set(err, code, "tap '%s': it has no free queue for %u queue pairs",
			o->name, o->n_queues);
	case EINVAL:
		return volt_err_set(err, code, "tap '%s': the kernel refuses the flags IFF_TAP | "
			"IFF_NO_PI | IFF_VNET_HDR%s", o->name,
			o->n_queues > 1 ? " | IFF_MULTI_QUEUE" : "");
	}
	return volt_err_set(err, code, "tap '%s': TUNSETIFF: %m", o->name);
}

/* Attaches a descriptor. EXCL makes sure that what we think we make is made. */
static int attach(const struct opening *o, int fd)
{
	int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	struct ifreq ifr = { 0 };

	flags |= o->n_queues > 1 ? IFF_MULTI_QUEUE : 0;
	flags |= o->found || o->n_fds > 0 ? 0 : IFF_TUN_EXCL;
	ifr.ifr_flags = (short)flags;
	memcpy(ifr.ifr_name, o->name, strlen(o->name));
	return ioctl(fd, TUNSETIFF, &ifr) < 0 ? -errno : 0;
}

static int look(struct opening *o, struct volt_err *err)
{
	int r = tap_link_query(o->nlfd, o->name, 0, &o->facts);

	o->found = r == 0;
	if (r == -ENODEV)
		return 0;
	if (r < 0)
		return volt_err_set(err, -r, "tap '%s': look for it: %m", o->name);
	return check_found(o, err);
}

static int open_queue(struct opening *o, struct volt_err *err)
{
	_cleanup_close_ int fd = open_device(err);
	char name[LIMIT_IFNAME];
	int r;

	if (fd < 0)
		return fd;
	r = o->n_fds > 0 ? 0 : look(o, err);
	if (r < 0)
		return r;
	r = attach(o, fd);
	if (r == -EBUSY && !o->found && o->n_fds == 0) { /* someone made it at this moment */
		r = look(o, err);
		if (r < 0)
			return r;
		r = attach(o, fd);
	}
	if (r < 0)
		return explain(o, -r, err);
	r = tap_check(fd, name, err);
	if (r < 0)
		return r;
	if (strcmp(name, o->name) != 0)
		return volt_err_set(err, EPROTO, "tap '%s': the kernel attached us to '%s'",
			o->name, name);
	o->fds[o->n_fds++] = take_fd(&fd);
	return 0;
}

/* What we made is ours to set up; a link that was found is not. */
static int set_up(const struct opening *o, uint16_t mtu, struct volt_err *err)
{
	struct ifreq ifr = { .ifr_mtu = mtu };

	memcpy(ifr.ifr_name, o->name, strlen(o->name));
	if (mtu && ioctl(o->nlfd, SIOCSIFMTU, &ifr) < 0)
		return volt_err_set(err, errno, "tap '%s': set its MTU to %u: %m", o->name, mtu);
	if (ioctl(o->nlfd, SIOCGIFFLAGS, &ifr) < 0)
		return volt_err_set(err, errno, "tap '%s': read its state: %m", o->name);
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(o->nlfd, SIOCSIFFLAGS, &ifr) < 0)
		return volt_err_set(err, errno, "tap '%s': set it up: %m", o->name);
	return 0;
}

int tap_open(const char *name, unsigned n_queues, uint16_t mtu, struct loop *loop,
	struct netif **ret, struct volt_err *err)
{
	struct opening o = { .name = name, .n_queues = n_queues, .nlfd = -1 };
	struct tap_parts parts = { .ops = &tap_ops, .fds = o.fds, .n_fds = n_queues, .name = name };
	int r = check_name(name, err);

	if (r < 0)
		return r;
	if (n_queues < 1 || n_queues > LIMIT_NET_PAIRS)
		return volt_err_set(err, EINVAL, "tap '%s': 1 to %d queue pairs, not %u", name,
			LIMIT_NET_PAIRS, n_queues);
	o.nlfd = tap_link_socket(err);
	if (o.nlfd < 0)
		return o.nlfd;
	while (r == 0 && o.n_fds < n_queues)
		r = open_queue(&o, err);
	if (r == 0 && !o.found)
		r = set_up(&o, mtu, err);
	parts.nlfd = o.nlfd;
	if (r == 0)
		r = tap_create(&parts, loop, ret, err);
	if (r == 0) {
		log_info("tap %s: %s", name, o.found ? "attached" : "made, it goes with us");
		return 0;
	}
	while (o.n_fds > 0)
		fd_close(o.fds[--o.n_fds]);
	fd_close(o.nlfd);
	return r;
}
