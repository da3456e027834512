/* SPDX-License-Identifier: Apache-2.0 */
/* Real taps in a network namespace of each test, see tapenv.h. */
#include "tapenv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "tap-link.h"

#define MARK 0x88b5 /* EtherType for local experiments */

static int logfd;
int tapenv_sh(const char *fmt, ...)
{
	char command[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	return system(command);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd >= 0 && write(fd, text, strlen(text)) < 0)
		print_message("%s: %s\n", path, strerror(errno));
	close(fd);
}

void tapenv_clear_log(void)
{
	assert_int_equal(ftruncate(logfd, 0), 0);
}

bool tapenv_in_log(const char *words)
{
	static char text[65536];
	ssize_t n = pread(logfd, text, sizeof(text) - 1, 0);

	text[MAX(n, 0)] = '\0';
	return strstr(text, words) != NULL;
}

void tapenv_enter_namespace(void)
{
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	/* the kernel's own packets would only be in the way */
	write_text("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
}

int tapenv_setup(void **state)
{
	struct tapenv *f = calloc(1, sizeof(*f));

	*state = f;
	tapenv_enter_namespace();
	tapenv_clear_log();
	return loop_init(&f->loop, NULL);
}

int tapenv_teardown(void **state)
{
	struct tapenv *f = *state;

	netif_destroy(f->n);
	loop_done(&f->loop);
	free(f);
	return 0;
}

bool tapenv_exists(const char *name)
{
	struct ifreq ifr = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), r;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	r = ioctl(fd, SIOCGIFFLAGS, &ifr);
	close(fd);
	return r == 0;
}

bool tapenv_is_up(const char *name)
{
	struct tap_facts facts;
	int fd = tap_link_socket(NULL);

	assert_int_equal(tap_link_query(fd, name, 0, &facts), 0);
	close(fd);
	return facts.flags & IFF_UP;
}

static void on_link(void *owner, bool up)
{
	struct tapenv *f = owner;

	f->link_calls++;
	f->link_up = up;
}

void tapenv_watch(struct tapenv *f)
{
	f->n->events = (struct netif_events){ on_link, f };
	f->link_up = f->n->link_up;
}

void tapenv_expect(const struct volt_err *err, int r, int code, const char *words)
{
	if (r != -code || !strstr(err->msg, words))
		fail_msg("%d, '%s', wanted %d, '%s'", r, err->msg, -code, words);
}

void tapenv_wait_link(struct tapenv *f, bool up, const char *words)
{
	uint64_t end = loop_now_ns() + LIMIT_NS;

	while (f->link_up != up || f->n->link_up != up || !tapenv_in_log(words)) {
		if (loop_now_ns() > end)
			fail_msg("link %d, wanted %d, '%s'", f->link_up, up, words);
		loop_poll(&f->loop, 10);
	}
}

/* The network's side of a link: a raw socket on it. */
int tapenv_open_wire(const char *name)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct tap_facts facts;
	int nl = tap_link_socket(NULL), fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);

	assert_int_equal(tap_link_query(nl, name, 0, &facts), 0);
	close(nl);
	addr.sll_ifindex = facts.ifindex;
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

void tapenv_fill_frame(uint8_t *frame, size_t bytes, uint8_t value)
{
	memset(frame, value, bytes);
	memcpy(frame, mac, 6);
	memset(frame + 6, 2, 6);
	frame[12] = MARK >> 8;
	frame[13] = MARK & 0xff;
}

bool tapenv_is_marked(const uint8_t *frame)
{
	return frame[12] == MARK >> 8 && frame[13] == (MARK & 0xff);
}

/* Our next frame off the wire; others are not ours. */
ssize_t tapenv_read_wire(int fd, uint8_t *buf, size_t size)
{
	struct pollfd p = { fd, POLLIN, 0 };
	ssize_t n;

	while (poll(&p, 1, 5000) == 1) {
		n = recv(fd, buf, size, 0);
		if (n > 14 && tapenv_is_marked(buf))
			return n;
	}
	return -1;
}

/* What recv says to our next frame. */
ssize_t tapenv_read_netif(struct netif *n, unsigned queue, struct iovec *iov, unsigned n_iov)
{
	struct pollfd p = { n->fds[queue], POLLIN, 0 };
	ssize_t r = -EAGAIN;

	while (poll(&p, 1, 5000) == 1) {
		r = n->ops->recv(n, queue, iov, n_iov);
		if (r != -EAGAIN && (r < 26 || tapenv_is_marked((uint8_t *)iov[0].iov_base + 12)))
			return r;
	}
	return r;
}

void tapenv_empty_dev(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("none", "/dev", "tmpfs", 0, NULL) < 0 || mkdir("/dev/net", 0755) < 0)
		_exit(1);
}

void tapenv_become_nobody(void)
{
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
		setresuid(NOBODY, NOBODY, NOBODY) < 0)
		_exit(2);
}

int tapenv_main(const struct CMUnitTest *tests, size_t n)
{
	struct log_config log = { .id = "test", .level = LOG_DEBUG };
	int fd = open("/dev/net/tun", O_RDWR);

	if (fd < 0 || geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
		printf("needs /dev/net/tun, root and network namespaces: %s\n", strerror(errno));
		return 77;
	}
	close(fd);
	setenv("VOLT_HELPER_DIR", HELPER_BUILD, 1);
	log.fd = logfd = memfd_create("log", MFD_CLOEXEC);
	fcntl(logfd, F_SETFL, O_APPEND);
	log_init(&log);
	return _cmocka_run_group_tests("tap", tests, n, NULL, NULL);
}
