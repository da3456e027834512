/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage: volt-helper-macvtap PARENT MODE MAC MTU        MTU 0: the parent's
 * Makes a macvtap over the link PARENT in a network namespace of its own and answers with two
 * descriptors: the macvtap's character device, and a netlink socket of that namespace that hears of
 * links. Both hold the namespace, and nothing else does once this program has ended, so that the
 * kernel removes the macvtap when volt-vmm's descriptors go, whatever ends it.
 * Started by volt-vmm, see helper.h. Needs CAP_SYS_ADMIN (namespace) and CAP_NET_ADMIN. One thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "helper.h"
#include "limit.h"
#include "num.h"

#define NAME	      "macvtap0" /* alone in its namespace */
#define MESSAGE_BYTES 4096
#define LEAVING_MS    3000 /* for the kernel to remove the macvtap of a monitor that was killed */
#define LOOK_MS	      20
#define ANSWER_BYTES  6144 /* a link with all its attributes */
#define IPV6_NO_ADDR  1 /* IN6_ADDR_GEN_MODE_NONE */

static const struct mode {
	const char *name;
	uint32_t value;
} modes[] = {
	{ "bridge", MACVLAN_MODE_BRIDGE },
	{ "vepa", MACVLAN_MODE_VEPA },
	{ "private", MACVLAN_MODE_PRIVATE },
	{ "passthru", MACVLAN_MODE_PASSTHRU },
};

struct plan {
	const char *parent;
	uint32_t mode;
	uint8_t mac[6];
	uint16_t mtu;
	unsigned ifindex; /* of the macvtap, random */
};

struct parent {
	unsigned ifindex, flags, type, mtu, master;
};

/* ---- netlink ---- */

static struct mnl_socket *open_netlink(int bus, unsigned groups, struct volt_err *err)
{
	struct mnl_socket *nl = mnl_socket_open2(bus, SOCK_CLOEXEC);
	int on = 1;

	if (nl && mnl_socket_bind(nl, groups, MNL_SOCKET_AUTOPID) < 0) {
		int saved = errno;

		mnl_socket_close(nl);
		errno = saved;
		nl = NULL;
	}
	if (!nl) {
		volt_err_set(err, errno, "open a netlink socket: %m");
		return NULL;
	}
	mnl_socket_setsockopt(nl, NETLINK_EXT_ACK, &on, sizeof(on)); /* words of the kernel */
	return nl;
}

static int on_word(const struct nlattr *attr, void *arg)
{
	const char **ret = arg;

	if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG &&
		mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
		*ret = mnl_attr_get_str(attr);
	return MNL_CB_OK;
}

/* The kernel's own words behind an error, or "". */
static const char *read_words(const struct nlmsghdr *h)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
	size_t skip = sizeof(*e);
	const char *words = "";

	if (!(h->nlmsg_flags & NLM_F_CAPPED))
		skip += MAX(e->msg.nlmsg_len, sizeof(e->msg)) - sizeof(e->msg);
	if ((h->nlmsg_flags & NLM_F_ACK_TLVS) && mnl_nlmsg_get_payload_len(h) >= skip)
		mnl_attr_parse(h, (unsigned)skip, on_word, &words);
	return words;
}

/* Sends h and waits for the answer to it: 0, or -errno with the kernel's words in err. */
static int ask(struct mnl_socket *nl, struct nlmsghdr *h, mnl_cb_t cb, void *arg,
	struct volt_err *err)
{
	_Alignas(struct nlmsghdr) char buf[ANSWER_BYTES];
	const struct nlmsghdr *a = (const struct nlmsghdr *)(void *)buf;
	ssize_t n;

	h->nlmsg_seq = (unsigned)h->nlmsg_type + 1;
	if (mnl_socket_sendto(nl, h, h->nlmsg_len) < 0)
		return volt_err_set(err, errno, "%m");
	for (;;) {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (n < 0)
			return volt_err_set(err, errno, "%m");
		if (!mnl_nlmsg_ok(a, (int)n))
			return volt_err_set(err, EPROTO, "a malformed answer of the kernel");
		if (a->nlmsg_seq != h->nlmsg_seq)
			continue; /* news of links */
		if (a->nlmsg_type == NLMSG_ERROR) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(a);
			const char *words = read_words(a);

			if (!e->error)
				return 0;
			return volt_err_set(err, -e->error, "%m%s%s", *words ? ": " : "", words);
		}
		cb(a, arg);
		return 0;
	}
}

static int on_parent_attr(const struct nlattr *attr, void *arg)
{
	struct parent *p = arg;

	if (mnl_attr_get_type(attr) == IFLA_MTU)
		p->mtu = mnl_attr_get_u32(attr);
	if (mnl_attr_get_type(attr) == IFLA_MASTER)
		p->master = mnl_attr_get_u32(attr);
	return MNL_CB_OK;
}

static int on_parent(const struct nlmsghdr *h, void *arg)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(h);
	struct parent *p = arg;

	*p = (struct parent){ (unsigned)ifi->ifi_index, ifi->ifi_flags, ifi->ifi_type, 0, 0 };
	return mnl_attr_parse(h, sizeof(*ifi), on_parent_attr, p);
}

static struct nlmsghdr *begin(char *buf, uint16_t type, uint16_t flags, int ifindex)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;

	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
	ifi->ifi_family = AF_UNSPEC;
	ifi->ifi_index = ifindex;
	return h;
}

/* ---- the steps ---- */

static int check_parent(struct mnl_socket *nl, const struct plan *plan, struct parent *ret,
	struct volt_err *err)
{
	_Alignas(struct nlmsghdr) char buf[MESSAGE_BYTES];
	struct nlmsghdr *h = begin(buf, RTM_GETLINK, 0, 0);
	int r;

	mnl_attr_put_strz(h, IFLA_IFNAME, plan->parent);
	r = ask(nl, h, on_parent, ret, NULL);
	if (r == -ENODEV)
		return volt_err_set(err, ENODEV, "there is no link of that name: see 'ip link'");
	if (r < 0)
		return volt_err_set(err, -r, "look for the parent: %m");
	if (ret->type != ARPHRD_ETHER || (ret->flags & IFF_LOOPBACK))
		return volt_err_set(err, EINVAL, "the parent is no Ethernet link, and cannot carry "
			"a macvtap");
	if (plan->mtu > ret->mtu)
		return volt_err_set(err, EINVAL, "the parent's MTU is %u, less than the %u that "
			"the guest wants: 'ip link set %s mtu %u', or a smaller mtu", ret->mtu,
			plan->mtu, plan->parent, plan->mtu);
	return 0;
}

/* Creates it from here into the namespace nsfd. */
static int create(struct mnl_socket *nl, const struct plan *plan, const struct parent *parent,
	int nsfd, struct volt_err *err)
{
	_Alignas(struct nlmsghdr) char buf[MESSAGE_BYTES];
	struct nlmsghdr *h = begin(buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK,
		(int)plan->ifindex);
	struct nlattr *info, *data;
	struct volt_err why = { 0 };
	int r;

	mnl_attr_put_strz(h, IFLA_IFNAME, NAME);
	mnl_attr_put_u32(h, IFLA_LINK, parent->ifindex);
	mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)nsfd);
	mnl_attr_put(h, IFLA_ADDRESS, sizeof(plan->mac), plan->mac);
	if (plan->mtu)
		mnl_attr_put_u32(h, IFLA_MTU, plan->mtu);
	info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "macvtap");
	data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	mnl_attr_put_u32(h, IFLA_MACVLAN_MODE, plan->mode);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	r = ask(nl, h, NULL, NULL, &why);
	switch (-r) {
	case 0:
		return 0;
	case EPERM:
		return volt_err_set(err, EPERM, "making one needs CAP_NET_ADMIN: run volt-vmm as "
			"root, or make it beforehand and pass its descriptor");
	case EOPNOTSUPP:
		return volt_err_set(err, EOPNOTSUPP, "this kernel has no macvtap "
			"(CONFIG_MACVTAP): modprobe macvtap");
	case EBUSY:
		return volt_err_set(err, EBUSY, "the parent is busy: %s", parent->master ?
			"it is a port of a bridge or a bond, so take that as the parent" :
			"something else takes its frames");
	case EINVAL:
		return volt_err_set(err, EINVAL, "the kernel refuses to make it: %s (mode passthru "
			"wants the parent for itself, without other macvtaps and macvlans)",
			why.msg);
	}
	return volt_err_set(err, -r, "create the macvtap: %s", why.msg);
}

/*
 * The guest alone speaks with this address: without a link-local address of the host's own, no
 * neighbour solicitation of ours goes out. A kernel without IPv6 refuses, and has no need.
 */
static void silence(struct mnl_socket *nl, const struct plan *plan)
{
	_Alignas(struct nlmsghdr) char buf[MESSAGE_BYTES];
	struct nlmsghdr *h = begin(buf, RTM_SETLINK, NLM_F_ACK, (int)plan->ifindex);
	struct nlattr *spec = mnl_attr_nest_start(h, IFLA_AF_SPEC);
	struct nlattr *inet6 = mnl_attr_nest_start(h, AF_INET6);

	mnl_attr_put_u8(h, IFLA_INET6_ADDR_GEN_MODE, IPV6_NO_ADDR);
	mnl_attr_nest_end(h, inet6);
	mnl_attr_nest_end(h, spec);
	ask(nl, h, NULL, NULL, NULL);
}

static int set_up(struct mnl_socket *nl, const struct plan *plan, struct volt_err *err)
{
	_Alignas(struct nlmsghdr) char buf[MESSAGE_BYTES];
	struct nlmsghdr *h = begin(buf, RTM_NEWLINK, NLM_F_ACK, (int)plan->ifindex);
	struct ifinfomsg *ifi = mnl_nlmsg_get_payload(h);
	struct volt_err why = { 0 };
	int r;

	ifi->ifi_flags = IFF_UP;
	ifi->ifi_change = IFF_UP;
	r = ask(nl, h, NULL, NULL, &why);
	if (r == -EADDRINUSE || r == -EBUSY)
		return volt_err_set(err, -r, "the MAC address of the guest is in use, by the "
			"parent or by another macvtap over it");
	return r < 0 ? volt_err_set(err, -r, "set the macvtap up: %s", why.msg) : 0;
}

/*
 * A monitor that is started anew at once may meet the macvtap of the one before, with its address
 * or (passthru) its claim on the parent: the kernel removes it within milliseconds, later.
 */
static bool wait_for_leaving(unsigned *waited_ms)
{
	if (*waited_ms >= LEAVING_MS)
		return false;
	poll(NULL, 0, LOOK_MS);
	*waited_ms += LOOK_MS;
	return true;
}

/* The kernel told us of the character device when it was made, as MAJOR= and MINOR=. */
static int read_device(struct mnl_socket *uevents, dev_t *ret, struct volt_err *err)
{
	_Alignas(struct nlmsghdr) char buf[MESSAGE_BYTES];

	for (;;) {
		ssize_t n = recv(mnl_socket_get_fd(uevents), buf, sizeof(buf) - 1, MSG_DONTWAIT);
		uint64_t major = 0, minor = 0;
		bool macvtap = false;

		if (n < 0)
			return volt_err_set(err, errno, "learn the number of its device from "
				"the kernel's uevents: %m");
		buf[n] = '\0';
		for (const char *p = buf; p < buf + n; p += strlen(p) + 1) {
			macvtap |= strcmp(p, "SUBSYSTEM=macvtap") == 0;
			if (strncmp(p, "MAJOR=", 6) == 0)
				num_parse_u64(p + 6, 0, UINT32_MAX, &major);
			if (strncmp(p, "MINOR=", 6) == 0)
				num_parse_u64(p + 6, 0, UINT32_MAX, &minor);
		}
		if (macvtap && major) {
			*ret = makedev((unsigned)major, (unsigned)minor);
			return 0;
		}
	}
}

/* A node of our own, in a tmpfs that nobody else sees and that ends with us. */
static int open_own_node(dev_t dev)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("volt", "/dev", "tmpfs", MS_NOEXEC | MS_NOSUID, "size=64k,mode=700") < 0 ||
		mknod("/dev/macvtap", S_IFCHR | 0600, dev) < 0)
		return -1;
	return open("/dev/macvtap", O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

/* /dev/tapN if it is that device (a container's /dev may have none, or that of another). */
static int open_device(const struct plan *plan, dev_t dev, int *ret, struct volt_err *err)
{
	_cleanup_close_ int fd = -1;
	struct ifreq ifr = { 0 };
	struct stat st;
	char path[32];

	snprintf(path, sizeof(path), "/dev/tap%u", plan->ifindex);
	if (stat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == dev)
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		fd = open_own_node(dev);
	if (fd < 0)
		return volt_err_set(err, errno, "open its device %u:%u: %m%s", major(dev),
			minor(dev), errno == EPERM ? " (a container must have CAP_MKNOD and be "
			"allowed devices of that major number)" : "");
	/* No TUNSETIFF: it is this macvtap's by its number. See that it is. */
	if (ioctl(fd, SIOCGIFHWADDR, &ifr) < 0)
		return volt_err_set(err, errno, "ask its device: %m");
	if (plan->mode != MACVLAN_MODE_PASSTHRU &&
		memcmp(ifr.ifr_hwaddr.sa_data, plan->mac, sizeof(plan->mac)) != 0)
		return volt_err_set(err, ENODEV, "the device %u:%u is another macvtap's",
			major(dev), minor(dev));
	*ret = take_fd(&fd);
	return 0;
}

static int enter_namespace(struct volt_err *err)
{
	if (unshare(CLONE_NEWNET) == 0)
		return 0;
	if (errno == EPERM)
		return volt_err_set(err, errno, "its network namespace needs CAP_SYS_ADMIN: run "
			"volt-vmm as root, or make a macvtap beforehand and pass its descriptor");
	return volt_err_set(err, errno, "make a network namespace (CONFIG_NET_NS): %m");
}

static void close_netlink(struct mnl_socket **nl)
{
	if (*nl)
		mnl_socket_close(*nl);
}

/* Under an index that is free: beyond those that count up from 1, for /dev/tapN is the host's. */
static int create_somewhere(struct mnl_socket *home, struct plan *plan, const struct parent *parent,
	struct volt_err *err)
{
	_cleanup_close_ int nsfd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	unsigned waited_ms = 0;
	int r;

	if (nsfd < 0)
		return volt_err_set(err, errno, "/proc/self/ns/net: %m");
	do {
		if (getrandom(&plan->ifindex, sizeof(plan->ifindex), 0) < 0)
			return volt_err_set(err, errno, "getrandom: %m");
		plan->ifindex = (plan->ifindex & 0x3fffffff) | 0x40000000;
		*err = (struct volt_err){ 0 };
		r = create(home, plan, parent, nsfd, err);
	} while ((r == -EEXIST || r == -EINVAL || r == -EBUSY) && !parent->master &&
		wait_for_leaving(&waited_ms));
	return r;
}

static int make(struct plan *plan, int fds[2], struct volt_err *err)
{
	_cleanup_(close_netlink) struct mnl_socket *home = NULL, *links = NULL, *uevents = NULL;
	struct parent parent;
	unsigned waited_ms = 0;
	dev_t dev;
	int r;

	home = open_netlink(NETLINK_ROUTE, 0, err);
	if (!home)
		return -err->code;
	r = check_parent(home, plan, &parent, err);
	if (r == 0)
		r = enter_namespace(err);
	if (r < 0)
		return r;
	uevents = open_netlink(NETLINK_KOBJECT_UEVENT, 1, err);
	if (uevents)
		links = open_netlink(NETLINK_ROUTE, RTMGRP_LINK, err);
	if (!links)
		return -err->code;
	r = create_somewhere(home, plan, &parent, err);
	if (r < 0)
		return r;
	silence(links, plan);
	do {
		*err = (struct volt_err){ 0 };
		r = set_up(links, plan, err);
	} while ((r == -EADDRINUSE || r == -EBUSY) && wait_for_leaving(&waited_ms));
	if (r == 0)
		r = read_device(uevents, &dev, err);
	if (r == 0)
		r = open_device(plan, dev, &fds[0], err);
	if (r < 0)
		return r;
	fds[1] = fcntl(mnl_socket_get_fd(links), F_DUPFD_CLOEXEC, 0);
	return fds[1] < 0 ? volt_err_set(err, errno, "keep the netlink socket: %m") : 0;
}

/* ---- arguments ---- */

static int parse_mac(const char *s, uint8_t ret[6])
{
	char hex[5] = "0x";
	uint64_t v;

	if (strlen(s) != 17)
		return -EINVAL;
	for (int i = 0; i < 6; i++, s += 3) {
		memcpy(hex + 2, s, 2);
		if (num_parse_u64(hex, 0, UINT8_MAX, &v) < 0 || (s[2] && s[2] != ':'))
			return -EINVAL;
		ret[i] = (uint8_t)v;
	}
	return 0;
}

static int parse(int argc, char **argv, struct plan *ret, struct volt_err *err)
{
	const struct mode *mode = modes;
	uint64_t mtu;

	if (argc != 5)
		return volt_err_set(err, EINVAL, "usage: volt-helper-macvtap PARENT MODE MAC MTU, "
			"by volt-vmm");
	ret->parent = argv[1];
	if (strlen(ret->parent) >= LIMIT_IFNAME)
		return volt_err_set(err, EINVAL, "the name of a link has at most 15 letters");
	while (mode < modes + ARRAY_SIZE(modes) && strcmp(mode->name, argv[2]) != 0)
		mode++;
	if (mode == modes + ARRAY_SIZE(modes))
		return volt_err_set(err, EINVAL, "unknown mode '%s'", argv[2]);
	ret->mode = mode->value;
	if (parse_mac(argv[3], ret->mac) < 0)
		return volt_err_set(err, EINVAL, "'%s' is no MAC address", argv[3]);
	if (num_parse_u64(argv[4], 0, UINT16_MAX, &mtu) < 0)
		return volt_err_set(err, EINVAL, "'%s' is no MTU", argv[4]);
	ret->mtu = (uint16_t)mtu;
	return 0;
}

int main(int argc, char **argv)
{
	struct volt_err err = { 0 };
	struct plan plan = { 0 };
	int fds[2], r;

	r = parse(argc, argv, &plan, &err);
	if (r == 0)
		r = make(&plan, fds, &err);
	if (r < 0)
		volt_err_wrap(&err, "macvtap over '%s'", plan.parent ? plan.parent : "");
	if (helper_reply(&err, fds, r < 0 ? 0 : 2) < 0) {
		fprintf(stderr, "volt-helper-macvtap: it is started by volt-vmm: %s\n", err.msg);
		return 1;
	}
	return r < 0;
}
