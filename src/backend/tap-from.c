/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap or macvtap by inherited descriptor. Its link may be in another network namespace than ours,
 * where names mean nothing: the watch is opened there if we may, else there is none. Building
 * thread; the namespace of the calling thread is the same before and after.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cleanup.h"
#include "log.h"
#include "tap-core.h"
#include "tap-link.h"
#include "tap.h"

#define TUN_DEVICE makedev(10, 200) /* a macvtap has a number of its own */

#define OWN_NAMESPACE "/proc/thread-self/ns/net"

/* A netlink socket in the namespace nsfd; -EPERM and the like: we may not. */
static int open_there(int nsfd, struct volt_err *err)
{
	_cleanup_close_ int home = open(OWN_NAMESPACE, O_RDONLY | O_CLOEXEC);
	int fd, r;

	if (home < 0 || setns(nsfd, CLONE_NEWNET) < 0)
		return -errno;
	fd = tap_link_socket(NULL);
	r = fd < 0 ? -errno : fd;
	if (setns(home, CLONE_NEWNET) < 0) {
		fd_close(fd);
		return volt_err_set(err, errno, "come back from the tap's network namespace: %m");
	}
	return r;
}

static bool is_home(int nsfd)
{
	struct stat own, other;

	return stat(OWN_NAMESPACE, &own) == 0 && fstat(nsfd, &other) == 0 &&
		own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

/* Where the kernel does not tell the namespace: is there such a link in ours, with its address? */
static bool looks_home(int fd, int nlfd, const char *name)
{
	struct ifreq theirs = { 0 }, ours = { 0 };

	snprintf(ours.ifr_name, sizeof(ours.ifr_name), "%s", name);
	return ioctl(fd, SIOCGIFHWADDR, &theirs) == 0 && ioctl(nlfd, SIOCGIFHWADDR, &ours) == 0 &&
		memcmp(theirs.ifr_hwaddr.sa_data, ours.ifr_hwaddr.sa_data, 6) == 0;
}

/* A netlink socket where the link is, -1: it cannot be watched. err is set if all must end. */
static int open_watch(int fd, const char *name, struct volt_err *err)
{
	_cleanup_close_ int nsfd = ioctl(fd, TUNGETDEVNETNS); /* of a tap, with CAP_NET_ADMIN */
	int nlfd;

	if (nsfd >= 0 && !is_home(nsfd)) {
		nlfd = open_there(nsfd, err);
	} else {
		nlfd = tap_link_socket(NULL);
		if (nlfd >= 0 && nsfd < 0 && !looks_home(fd, nlfd, name))
			nlfd = fd_close(nlfd);
	}
	if (nlfd >= 0)
		return nlfd;
	log_info("link %s is in a network namespace that we cannot look into: taken as up", name);
	return -1;
}

static int set_flags(int fd, struct volt_err *err)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
		fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return volt_err_set(err, errno, "descriptor %d: %m", fd);
	if ((flags & O_ACCMODE) != O_RDWR)
		return volt_err_set(err, EBADF, "descriptor %d: it is not open for reading and "
			"writing", fd);
	return 0;
}

int tap_from_fd(int fd, struct loop *loop, struct netif **ret, struct volt_err *err)
{
	char name[LIMIT_IFNAME];
	struct tap_parts parts = { .fds = &fd, .n_fds = 1, .name = name };
	struct volt_err fatal = { 0 };
	struct stat st;
	int r = tap_check(fd, name, err);

	if (r == 0)
		r = set_flags(fd, err);
	if (r < 0)
		return r;
	parts.ops = fstat(fd, &st) == 0 && st.st_rdev == TUN_DEVICE ? &tap_ops : &tap_ops_macvtap;
	parts.nlfd = open_watch(fd, name, &fatal);
	if (fatal.code)
		return volt_err_set(err, fatal.code, "%s", fatal.msg);
	r = tap_create(&parts, loop, ret, err);
	if (r < 0)
		fd_close(parts.nlfd);
	return r;
}
