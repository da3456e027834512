/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions about links and the watch over one, see tap-link.h. The monitor has no library for
 * this: a request is a header, an answer a list of attributes.
 */
#include "tap-link.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "log.h"

#define MESSAGE_BYTES 6144 /* a link with all its attributes; what is cut off is not needed */
#define ANSWER_MS     2000
#define TUN_TYPE_TAP  2	   /* IFLA_TUN_TYPE: the kernel's IFF_TAP */
#define BATCH	      64   /* messages per event, so that a flood does not stall the loop */
#define SEQ	      1

struct request {
	struct nlmsghdr head;
	struct ifinfomsg ifi;
	struct rtattr name_head;
	char name[LIMIT_IFNAME];
};

union message {
	struct nlmsghdr head;
	char bytes[MESSAGE_BYTES];
};

int tap_link_socket(struct volt_err *err)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return volt_err_set(err, errno, "open a netlink socket: %m");
	return take_fd(&fd);
}

/* Asks for a link; the answer is a message like the news are. */
static int ask(int nlfd, const char *name, int ifindex)
{
	struct request q = {
		.head = { .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST, .nlmsg_seq = SEQ,
			.nlmsg_len = offsetof(struct request, name_head) },
		.ifi = { .ifi_family = AF_UNSPEC, .ifi_index = ifindex },
	};

	if (name) {
		size_t len = strnlen(name, sizeof(q.name) - 1) + 1;

		q.name_head = (struct rtattr){ (unsigned short)RTA_LENGTH(len), IFLA_IFNAME };
		memcpy(q.name, name, len - 1);
		q.head.nlmsg_len += (uint32_t)RTA_SPACE(len);
	}
	/* #syscalls loop: sendto */
	return send(nlfd, &q, q.head.nlmsg_len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* One message of the kernel. Its length; 0: nobody's, ignore it; -EAGAIN: none waits; -errno. */
static int next(int nlfd, union message *m)
{
	struct sockaddr_nl from = { 0 };
	socklen_t len = sizeof(from);
	/* #syscalls loop: recvfrom */
	ssize_t n = recvfrom(nlfd, m, sizeof(*m), MSG_DONTWAIT, (struct sockaddr *)&from, &len);

	if (n < 0)
		return -errno;
	if (from.nl_pid != 0 || n < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		return 0;
	return (int)n;
}

/* Of a message of the type NLMSG_ERROR: 0 or -errno. */
static int get_error(const union message *m)
{
	return ((const struct nlmsgerr *)(const void *)(m->bytes + NLMSG_HDRLEN))->error;
}

static const struct ifinfomsg *get_info(const union message *m)
{
	return (const struct ifinfomsg *)(const void *)(m->bytes + NLMSG_HDRLEN);
}

/* The attribute `type` in a list of them, or NULL. */
static const struct rtattr *find(const struct rtattr *a, size_t bytes, int type)
{
	while (bytes >= sizeof(*a) && a->rta_len >= sizeof(*a) && a->rta_len <= bytes) {
		size_t step = RTA_ALIGN(a->rta_len);

		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
		if (step >= bytes)
			break;
		bytes -= step;
		a = (const struct rtattr *)(const void *)((const char *)a + step);
	}
	return NULL;
}

/* RTA_DATA() would take the const away. */
static const void *get_payload(const struct rtattr *a)
{
	return (const char *)a + RTA_LENGTH(0);
}

static const struct rtattr *find_in(const struct rtattr *nest, int type)
{
	return nest ? find(get_payload(nest), RTA_PAYLOAD(nest), type) : NULL;
}

/* An unsigned number of 1 or 4 bytes; -1: it is absent. */
static int64_t get_number(const struct rtattr *a)
{
	uint32_t v;

	if (a && RTA_PAYLOAD(a) == 1)
		return *(const uint8_t *)get_payload(a);
	if (!a || RTA_PAYLOAD(a) < sizeof(v))
		return -1;
	memcpy(&v, get_payload(a), sizeof(v));
	return v;
}

static void read_facts(const union message *m, size_t bytes, struct tap_facts *ret)
{
	const struct ifinfomsg *ifi = get_info(m);
	const size_t head = NLMSG_SPACE(sizeof(*ifi));
	const struct rtattr *info = find((const struct rtattr *)(const void *)(m->bytes + head),
		bytes - head, IFLA_LINKINFO);
	const struct rtattr *kind = find_in(info, IFLA_INFO_KIND);
	const struct rtattr *data = find_in(info, IFLA_INFO_DATA);

	*ret = (struct tap_facts){ .ifindex = ifi->ifi_index, .flags = ifi->ifi_flags };
	if (kind)
		memcpy(ret->kind, get_payload(kind), MIN(RTA_PAYLOAD(kind), sizeof(ret->kind) - 1));
	ret->owner = strcmp(ret->kind, "tun") == 0 ? get_number(find_in(data, IFLA_TUN_OWNER)) : -1;
	if (strcmp(ret->kind, "tun") == 0 && data) {
		ret->has_type = true;
		ret->is_tap = get_number(find_in(data, IFLA_TUN_TYPE)) == TUN_TYPE_TAP;
		ret->multi_queue = get_number(find_in(data, IFLA_TUN_MULTI_QUEUE)) == 1;
	}
}

int tap_link_query(int nlfd, const char *name, int ifindex, struct tap_facts *ret)
{
	union message m;
	bool lost = true; /* nothing was asked yet */
	int r = 0;

	while (r >= 0) {
		struct pollfd p = { .fd = nlfd, .events = POLLIN };

		r = next(nlfd, &m);
		if (r == -ENOBUFS) { /* among the news that were lost may be the answer */
			lost = true;
			r = 0;
		} else if (r == -EAGAIN && lost) {
			lost = false;
			r = ask(nlfd, name, name ? 0 : ifindex);
		} else if (r == -EAGAIN) {
			r = poll(&p, 1, ANSWER_MS) == 1 ? 0 : -ETIMEDOUT;
		} else if (r > 0 && m.head.nlmsg_seq == SEQ) {
			if (m.head.nlmsg_type == NLMSG_ERROR)
				return get_error(&m);
			read_facts(&m, MIN((size_t)r, m.head.nlmsg_len), ret);
			return 0;
		}
	}
	return r;
}

/* ---- the watch ---- */

bool tap_link_up(const struct tap_link *l)
{
	return l->state == TAP_LINK_UP;
}

static void tell(const struct tap_link *l)
{
	const char *over = l->parent[0] ? " of the macvtap over " : "";

	switch (l->state) {
	case TAP_LINK_UP:
		log_info("link %s%s%s is up", l->name, over, l->parent);
		break;
	case TAP_LINK_DOWN:
		log_warn("link %s%s%s is down, and so is the guest's; to set it up: "
			"ip link set %s up", l->name, over, l->parent, l->name);
		break;
	case TAP_LINK_NO_CARRIER:
		log_warn("link %s%s%s has no carrier, so the guest's link is down%s%s%s", l->name,
			over, l->parent, l->parent[0] ? "; is " : "", l->parent,
			l->parent[0] ? " up and connected?" : "");
		break;
	case TAP_LINK_GONE:
		log_warn("link %s%s%s was deleted: the guest's link is down for good", l->name,
			over, l->parent);
		break;
	}
}

static void set_state(struct tap_link *l, enum tap_link_state state)
{
	bool was_up = tap_link_up(l);

	if (state == l->state)
		return;
	l->state = state;
	tell(l);
	if (tap_link_up(l) != was_up && l->changed)
		l->changed(l, !was_up);
}

static enum tap_link_state judge(unsigned flags)
{
	if (!(flags & IFF_UP))
		return TAP_LINK_DOWN;
	return flags & IFF_LOWER_UP ? TAP_LINK_UP : TAP_LINK_NO_CARRIER;
}

/* It left our sight: deleted, or moved to another network namespace, where it works on. */
static void lose(struct tap_link *l)
{
	struct ifreq ifr;

	/* #syscalls loop: ioctl=TUNGETIFF */
	if (ioctl(l->tapfd, TUNGETIFF, &ifr) < 0) {
		set_state(l, TAP_LINK_GONE);
		return;
	}
	log_warn("link %s was moved to another network namespace and cannot be watched any more; "
		"it is taken as up", l->name);
	set_state(l, TAP_LINK_UP);
}

/* A message of the kernel. Bridges speak of their ports in the same words, with another family. */
static void hear(struct tap_link *l, const union message *m)
{
	const struct ifinfomsg *ifi = get_info(m);
	bool ours = ifi->ifi_family == AF_UNSPEC && ifi->ifi_index == l->ifindex;

	if (m->head.nlmsg_type == NLMSG_ERROR) {
		if (get_error(m) == -ENODEV)
			lose(l);
	} else if (m->head.nlmsg_type == RTM_NEWLINK && ours) {
		set_state(l, judge(ifi->ifi_flags));
	} else if (m->head.nlmsg_type == RTM_DELLINK && ours) {
		lose(l);
	}
}

static void on_news(struct loop_src *src, uint32_t events UNUSED)
{
	struct tap_link *l = container_of(src, struct tap_link, src);
	union message m;

	for (unsigned i = 0; i < BATCH; i++) {
		int r = next(l->fd, &m);

		if (r > 0)
			hear(l, &m);
		if (r == -ENOBUFS) {
			l->lost = true;
			continue;
		}
		if (r == -EAGAIN) {
			if (!l->lost)
				return;
			/* How is it now? Not before: a full socket would lose the answer too. */
			l->lost = false;
			r = ask(l->fd, NULL, l->ifindex);
		}
		if (r < 0) {
			log_warn("link %s cannot be watched any more: %s", l->name, strerror(-r));
			loop_del(l->loop, &l->src);
			return;
		}
	}
}

int tap_link_start(
	struct tap_link *l, int nlfd, int tapfd, struct loop *loop, struct volt_err *err)
{
	struct tap_facts facts;
	int r;

	l->fd = -1;
	l->tapfd = tapfd;
	l->loop = loop;
	l->src = (struct loop_src){ on_news, "link", -1 };
	l->state = TAP_LINK_UP;
	r = tap_link_query(nlfd, l->name, 0, &facts);
	if (r < 0)
		return volt_err_set(err, -r, "ask for the state of link '%s': %m", l->name);
	l->ifindex = facts.ifindex;
	set_state(l, judge(facts.flags));
	r = loop_add(loop, &l->src, nlfd, EPOLLIN);
	if (r < 0)
		return volt_err_set(err, -r, "watch link '%s': %m", l->name);
	l->fd = nlfd;
	return 0;
}

void tap_link_stop(struct tap_link *l)
{
	if (l->fd < 0)
		return;
	loop_del(l->loop, &l->src);
	l->fd = fd_close(l->fd);
}
